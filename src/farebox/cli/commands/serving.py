"""`farebox serve`, `sandbox`, `demo`: what runs until it is stopped."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from farebox.care import ready
from farebox.cli import addresses
from farebox.kit import options
from farebox.kit.errors import CommandError

from .base import Command

# The roof, named as Django names its settings: nothing here imports upwards.
ROOF = "farebox.site.serve"


class SandboxCommand(Command):
    """`farebox sandbox`, whose help lists what the sandbox can do."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The text, then one line for each behaviour."""
        from farebox.sandbox.behaviours import BEHAVIOURS

        super().format_help_text(ctx, formatter)
        with formatter.section("Behaviours"):
            formatter.write_dl([(name, text.partition(": ")[2]) for name, text in BEHAVIOURS.items()])


@click.command(
    "serve",
    cls=Command,
    example="farebox serve\nFAREBOX_DATABASE=postgresql://shop@db/shop farebox serve --role api --port 8081",
)
@click.option(
    "--role",
    type=click.Choice(["all", "api", "console"]),
    default="all",
    show_default=True,
    help="What this process serves; on SQLite only all.",
)
@click.option("--host", help="Address to listen on, instead of the option host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on, instead of the option port.")
def serve(role: str, host: str | None, port: int | None) -> None:
    """Serve until SIGTERM or Ctrl-C; calls under way may then continue for drain_s seconds.

    On SQLite one process serves everything. On PostgreSQL several can run, also on several machines, each
    with a data folder of its own; `--role api` serves no pages, `--role console` only pages, so that busy pages
    do not slow down calls.
    """
    chosen = options.current()
    chosen.host = host if host is not None else chosen.host
    chosen.port = port if port is not None else chosen.port
    if chosen.on_sqlite and role != "all":
        raise CommandError(
            "On SQLite one process serves everything: use --role all, or a PostgreSQL database (FAREBOX_DATABASE)."
        )
    from farebox.gateway.http import head, hops

    head.Networks(chosen.trusted_proxies)
    hops.check_field(chosen.forwarded_header)
    ready.logs()
    ready.store()
    ready.warn_of_modes()
    from farebox.care import setup  # what it needs takes a tenth of a second to import

    code = setup.first_code() if role != "api" else ""
    host_shown = f"[{chosen.host}]" if ":" in chosen.host else chosen.host

    def listening(port: int) -> None:
        click.echo(f"{chosen.shop_name} serves on http://{host_shown}:{port} until Ctrl-C.")
        if code:
            link = addresses.office(code)
            click.echo(f"Nobody works in its office yet. Become the administrator within an hour:\n  {link}")

    importlib.import_module(ROOF).run(chosen, role=role, ready=listening)


@click.command("sandbox", cls=SandboxCommand, example="farebox sandbox --port 9000 --pace-ms 20")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="Port; 0 picks a free one."
)
@click.option("--key", help="Accept only this key; by default any key.")
@click.option(
    "--pace-ms",
    type=click.IntRange(0, 60_000),
    default=0,
    show_default=True,
    help="Milliseconds between the events of a stream.",
)
@click.option(
    "--journal",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append one JSON object per request to this file.",
)
def sandbox(host: str, port: int, key: str | None, pace_ms: int, journal: Path | None) -> None:
    """An upstream of our own, to try things with: it speaks the OpenAI API, echoes the input, and is free.

    It answers any model name, and misbehaves on demand: by what follows a + in the model name
    (gpt-4+cut=5), by the header `x-sandbox: cut=5`, or by the first line of the last message (sandbox: cut=5).
    Several are joined with +.
    """
    from farebox import sandbox as room

    try:
        room.run(host, port, key=key, journal=journal, pace_ms=pace_ms)
    except OSError as fault:
        raise CommandError(f"The sandbox can't listen on {host}:{port}: {fault.strerror or fault}.") from None


@click.command("demo", cls=Command, example="farebox demo\nfarebox demo --openai --port 8090")
@click.option(
    "--openai",
    is_flag=True,
    help="Sell the real OpenAI, with the key in FAREBOX_DEMO_OPENAI_KEY, instead of the sandbox.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on, instead of the option port.")
def demo(openai: bool, port: int | None) -> None:
    """A filled shop to try out, served until Ctrl-C; the next run continues with the same store.

    Sells a real small model that runs on this machine (SmolLM2-135M) and, through the sandbox, nine models of
    OpenAI. Prints a key with 5 USD and writes var/demo.env for programs. `make run` is this.
    """
    from farebox.demo import run as demo

    chosen = options.current()
    chosen.port = port if port is not None else chosen.port
    ready.logs()
    demo.run(importlib.import_module, real=openai)


COMMANDS = (demo, serve, sandbox)
