"""Limits per minute, and of concurrent calls: what one key, member, project or account may do."""

from __future__ import annotations

from dataclasses import dataclass

from farebox.kit.errors import CommandError
from farebox.kit.refusal import word

RPM_MAX = 100_000
TPM_MAX = 1_000_000_000
CONCURRENCY_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Pace:
    """The limits of one scope: calls and text tokens within a minute, calls at one time; None is no limit.

    `kind` is `key`, `member`, `project` or `account`, `scope` the id under which it is counted; `said` is the id that
    people are told where that is another one.
    """

    kind: str
    scope: str
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    said: str = ""


def check(*, rpm: int | None, tpm: int | None, concurrency: int | None) -> None:
    """CommandError for a limit that is no whole number of 1 or more, or too large to mean anything."""
    for value, most, what in (
        (rpm, RPM_MAX, "rpm"),
        (tpm, TPM_MAX, "tpm"),
        (concurrency, CONCURRENCY_MAX, "concurrency"),
    ):
        if value is not None and not (type(value) is int and 1 <= value <= most):
            raise CommandError("limit.range", limit=word("limit_name", what), most=most)
