"""What one check found, and in which light it looked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from farebox.kit.chain import Head
from farebox.kit.options import Options

Verdict = Literal["ok", "warning", "wrong"]
Tell = Callable[[str], None]
VERDICTS: Final[dict[Verdict, str]] = {
    "ok": "As it should be.",
    "warning": "Works, but a person should weigh it.",
    "wrong": "Money, keys or the store are in danger: fix it before taking money or upgrading.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the doctor's table: the check, its verdict, what was seen, what to do (empty where all is well)."""

    check: str
    verdict: Verdict
    seen: str
    todo: str = ""


@dataclass(slots=True)
class Look:
    """What the doctor looks at: the options in force, a folder of backups if named, and whether it may connect.

    `heads` of the audit trail's chain were noted elsewhere and are looked for in it.
    `drifted` gathers ledger accounts whose balance is not the sum of their postings (I04).
    """

    chosen: Options
    tell: Tell = lambda _sentence: None
    backups: Path | None = None
    probe: bool = False
    heads: tuple[Head, ...] = ()
    drifted: list[str] = field(default_factory=list)


Check = Callable[[Look], Iterator[Finding]]


def ok(check: str, seen: str) -> Finding:
    """As it should be."""
    return Finding(check, "ok", seen)


def warning(check: str, seen: str, todo: str) -> Finding:
    """For a person to weigh."""
    return Finding(check, "warning", seen, todo)


def wrong(check: str, seen: str, todo: str) -> Finding:
    """In danger."""
    return Finding(check, "wrong", seen, todo)


def some(things: list[str], most: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    more = len(things) - most
    return ", ".join(things[:most]) + (f" and {more} more" if more > 0 else "")


def span(seconds: int) -> str:
    """A length of time as people say it: `40 s`, `12 min`, `5 h`, `3 days`."""
    for unit_s, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s} {unit}"
    return f"{seconds} s"
