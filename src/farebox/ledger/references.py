"""References from outside: of payments, codes, bank lines and scripts; each stands for one entry (promises 4.8, I17).

They have a table of their own, which no call writes: unique by kind, source and reference, whatever account is
booked. The row is written in the transaction that books; of two nodes with one reference the later one begins again
and then finds what the first has booked.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from farebox.kit import dbfaults, errors
from farebox.kit.db import Tx
from farebox.kit.refusal import Amount

from . import sql

MANUAL: Final = "manual"
# What sort of thing a reference names: what people and scripts book by hand, and what comes in by itself.
KINDS: Final = (MANUAL, "payment", "code", "bank")
REFERENCE_CHARS_MAX = 200
_SOURCE = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}\Z")


@dataclass(frozen=True, slots=True)
class Outside:
    """A reference as its source writes it; `kind` is one of KINDS."""

    kind: str
    source: str
    reference: str


def named(kind: str, source: str, reference: str) -> Outside | None:
    """The reference from outside that this names, None where neither is given; CommandError for half of one.

    A source is written in small letters, so that it has one spelling; ends of a reference are stripped, and what
    Unicode can write in two ways counts as one (NFC).
    """
    if kind not in KINDS:
        raise ValueError(kind)
    # Copied from a bank's page or typed, one reference has to be the same text, or it would be booked twice.
    reference = unicodedata.normalize("NFC", reference).strip()
    if not source and not reference:
        return None
    if not source or not reference:
        raise errors.CommandError("reference.half")
    if not _SOURCE.match(source):
        raise errors.CommandError("reference.source")
    if len(reference) > REFERENCE_CHARS_MAX or not reference.isprintable():
        raise errors.CommandError("reference.number", chars_max=REFERENCE_CHARS_MAX)
    return Outside(kind, source, reference)


def entry_of(tx: Tx, outside: Outside) -> str | None:
    """The entry that this reference stands for; None while nothing was booked under it."""
    row = tx.one(sql.FIND_REFERENCE, (outside.kind, outside.source, outside.reference))
    return None if row is None else str(row[0])


def take(tx: Tx, outside: Outside, entry: str, *, at_us: int) -> None:
    """Let this reference stand for `entry`, of the same transaction.

    Raced if another transaction has taken it meanwhile: whoever opened this one runs it anew.
    """
    row = (entry, outside.kind, outside.source, outside.reference, at_us)
    if tx.execute(sql.TAKE_REFERENCE, row) != 1:
        raise dbfaults.Raced(f"reference {outside.reference} of {outside.source}")


def refusal(tx: Tx, outside: Outside, entry: str) -> errors.CommandError:
    """Why nothing else is booked under a reference: it names what was."""
    head = tx.one(sql.READ_ENTRY, (entry,)) or ("", "", "", "")
    lines = tx.all(sql.READ_POSTINGS, (entry,))
    moved_micro = sum(int(amount_micro) for account, amount_micro in lines if account == head[0])
    return errors.CommandError(
        "reference.booked",
        reference=outside.reference,
        source=outside.source,
        entry=entry,
        kind=str(head[1]),
        amount=Amount(moved_micro, str(head[3])),
        account=str(head[0]),
    )
