"""All checks in their order, each for itself: one that can't look says so and stops no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from farebox.care import ready
from farebox.kit.errors import CommandError, FareboxError
from farebox.look import refusals

from . import backups, books, goods, keys, machine, post, trail
from .finding import Check, Finding, Look, wrong

_STORE = "Fix this first: the checks of the store were left out."


def examine(look: Look) -> list[Finding]:
    """Everything that was found, in the order in which a person should read it.

    CommandError where there is no store at all.
    """
    chosen = look.chosen
    if chosen.on_sqlite and not chosen.sqlite_file.exists():
        raise CommandError(
            f"There is no store at {chosen.sqlite_file} yet. Run `farebox migrate` first, or name another data "
            "folder with FAREBOX_DATA_DIR."
        )
    found = [*_looked(look, machine.CHECKS), *_looked(look, keys.FILES), *_looked(look, books.FILES)]
    found += _looked(look, backups.CHECKS)
    try:
        ready.django()
        ready.foreign()
        ready.schema()
    except FareboxError as refusal:
        return [*found, *_file(look), wrong("schema", refusals.of(refusal, "cli"), _STORE)]
    found.append(Finding("schema", "ok", "that of this program"))
    return [
        *found,
        *_looked(look, _store(look)),
        *_looked(look, keys.CHECKS),
        *_looked(look, books.CHECKS + trail.CHECKS + goods.CHECKS + post.CHECKS),
    ]


def _store(look: Look) -> tuple[tuple[str, Check], ...]:
    if look.chosen.on_sqlite:
        from . import sqlite

        return sqlite.CHECKS
    from . import postgresql

    return postgresql.CHECKS


def _file(look: Look) -> Iterator[Finding]:
    """Where the tables can't be read the file can be, and may say why."""
    if look.chosen.on_sqlite:
        from . import sqlite

        yield from _looked(look, (("file", sqlite.whole),))


def _looked(look: Look, checks: Iterable[tuple[str, Check]]) -> Iterator[Finding]:
    for name, check in checks:
        look.tell(f"Looking at: {name} …")
        try:
            yield from check(look)
        except FareboxError as refusal:
            yield wrong(name, refusals.of(refusal, "cli"), "Fix this, then look again.")
        except Exception as fault:  # a damaged store breaks in many ways, and each is news
            yield wrong(name, f"can't be looked at: {type(fault).__name__}: {str(fault)[:160]}", "Run farebox prove.")
