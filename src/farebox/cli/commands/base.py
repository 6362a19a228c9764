"""What every command of `farebox` has: help with an example, `--json`, errors as one sentence, exit codes 0, 1, 2."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import click

from farebox.kit.errors import CommandError, FareboxError

_JSON_HELP = "Print JSON for scripts."


class Command(click.Command):
    """A verb: `example` is shown at the end of its help; `--json` is an option of all of them."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.params.append(
            click.Option(["--json", "as_json"], is_flag=True, expose_value=False, callback=_json, help=_JSON_HELP)
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The example, as it can be typed."""
        if self.example:
            with formatter.section("Example"):
                for line in self.example.strip().splitlines():
                    formatter.write(f"{' ' * formatter.current_indent}{line.strip()}\n")


class Group(click.Group):
    """A noun with its verbs."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(["--json", "as_json"], is_flag=True, expose_value=False, callback=_json, help=_JSON_HELP)
        )

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """The verbs in the order in which they were written, which is that of use."""
        return list(self.commands)


class Tour(Group):
    """The whole of `farebox`: nouns and verbs by theme, read from top to bottom by whoever starts."""

    group_class = Group

    def __init__(self, *args: Any, themes: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.themes = themes

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """One section a theme; a command of no theme would be lost, so it is an error."""
        lost = set(self.commands) - {name for names in self.themes.values() for name in names}
        if lost:
            raise AssertionError(f"no theme for {sorted(lost)}")
        for theme, names in self.themes.items():
            with formatter.section(theme):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit=100)) for name in names])

    def invoke(self, ctx: click.Context) -> Any:
        """Run; a refusal is one sentence on standard error and exit 1 (wrong usage is exit 2, by click)."""
        try:
            return super().invoke(ctx)
        except FareboxError as refusal:
            _refuse(refusal)


def as_json(ctx: click.Context | None = None) -> bool:
    """Whether this run prints JSON."""
    found = ctx or click.get_current_context(silent=True)
    return bool(found and found.find_root().meta.get("farebox.json"))


def emit(data: Any, table: Callable[[], object]) -> None:
    """Print `data` as JSON if that was asked for, else what `table` shows."""
    if as_json():
        click.echo(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        table()


def write(verb: str, **args: Any) -> Any:
    """Carry out a write verb, by the running server if there is one."""
    from farebox.cli import admin

    return admin.carry_out(verb, args)


def read(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`fn(tx, …)` on the store of this data folder, for reading."""
    from farebox.kit import db

    return db.read(fn, *args, **kwargs)


def secret(source: str | None, environment: str | None, what: str) -> str:
    """A secret from a file (`-` is standard input), from a variable of the environment, or asked for unseen.

    Never from the command line, which a shell remembers and a process list shows.
    """
    import os
    from pathlib import Path

    if environment is not None:
        if environment not in os.environ:
            raise CommandError(f"There is no variable {environment} in the environment.")
        return os.environ[environment].strip()
    if source == "-":
        return sys.stdin.read().strip()
    if source is not None:
        try:
            return Path(source).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise CommandError(f"{source} can't be read: {fault}.") from None
    if not sys.stdin.isatty():
        raise CommandError(f"Give {what} with --secret-file FILE (- for standard input) or --secret-env NAME.")
    return str(click.prompt(what[:1].upper() + what[1:], hide_input=True))


def secret_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The two options that `secret` reads."""
    command = click.option("--secret-env", metavar="NAME", help="Read the secret from this environment variable.")(
        command
    )
    return click.option("--secret-file", metavar="FILE", help="Read the secret from this file; - is standard input.")(
        command
    )


def _json(ctx: click.Context, _param: click.Parameter, value: object) -> None:
    if value:
        ctx.find_root().meta["farebox.json"] = True


def _refuse(refusal: FareboxError) -> NoReturn:
    from farebox.look import refusals

    said = refusals.of(refusal, "cli")
    if as_json():
        click.echo(json.dumps({"error": refusal.body()["error"] | {"message": said}}), err=True)
    else:
        click.echo(f"farebox: {said}", err=True)
    sys.exit(1)
