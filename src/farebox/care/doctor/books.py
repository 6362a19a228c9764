"""The books: the proof, drift, receipts, what is held by whom, what waits on the disk, and time that went back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from farebox.care import proof
from farebox.kit import appendlog, db, epochs, secrets
from farebox.kit.errors import CommandError

from .finding import Check, Finding, Look, ok, some, span, warning, wrong

BEHIND_WRONG_US = 5_000_000
DRIFT_WARNING_US = 2_000_000
DRIFT_WRONG_US = 60_000_000
WAITING_WRONG = 1_000
_JITTER_US = 1_000_000
_DRIFT = re.compile(r"I04 (?:ledger|memo) account (\S+) ")
_SENTENCES = 2


def clocks(look: Look) -> Iterator[Finding]:
    """The machine's clock against the newest time in the books, and against the database's."""
    newest_us = db.read(_newest_us)
    behind_us = newest_us - time.time_ns() // 1000
    if behind_us > _JITTER_US:
        seen = f"{span(behind_us // 1_000_000)} behind the newest time in the books"
        todo = "Set the clock right. If it is right, it ran ahead once: `farebox clock reset` puts the books right."
        yield wrong("clock", seen, todo) if behind_us > BEHIND_WRONG_US else warning("clock", seen, todo)
    else:
        yield ok("clock", "not behind the books")
    if not look.chosen.on_sqlite:
        off_us = abs(db.read(lambda tx: epochs.drift_us(tx, time.time_ns() // 1000)))
        seen, todo = f"{off_us // 1000:,} ms apart from the database's", "Synchronise both machines' clocks by NTP."
        if off_us > DRIFT_WRONG_US:
            yield wrong("clock and database", seen, todo)
        elif off_us > DRIFT_WARNING_US:
            yield warning("clock and database", seen, todo)
        else:
            yield ok("clock and database", seen)


def sure(look: Look) -> Iterator[Finding]:
    """Whether anybody but the shop's own clock says that its time is right (promises 4.7)."""
    del look
    from farebox.care import resetting
    from farebox.kit import timing

    found = db.read(resetting.shown)
    by = ", ".join(sorted({each["kind"] for each in found["witnesses"]}))
    gap = span(found["ahead_us"] // 1_000_000)
    if found["reset_begun"]:
        yield wrong("time", "a reset of the clock was interrupted", "Run farebox clock reset again: it continues.")
    elif found["state"] == timing.AHEAD:
        seen = f"{gap} ahead of all who say what time it is ({by}); the shop takes no calls"
        yield wrong("time", seen, "Set the clock right, stop the shop, run farebox clock reset.")
    elif found["state"] == timing.UNPROVEN:
        seen = f"{gap} since the last sure time, and nobody says that it is right; what takes by time waits"
        yield warning("time", seen, "Look at the clock, then confirm it: office, Clock, or farebox clock confirm.")
    else:
        yield ok("time", f"sure, by {by}" if by else "sure: it has gone on without a gap")


def _newest_us(tx: db.Tx) -> int:
    from farebox.calls.models import Call
    from farebox.care import resetting
    from farebox.kit import settings
    from farebox.kit.models import AuditEvent
    from farebox.ledger.models import Entry

    calls, entries, events = Call.objects.order_by("-id"), Entry.objects.order_by("-id"), AuditEvent.objects.all()
    for span_us in settings.get(tx, resetting.RESETS, []):  # a clock had run ahead, and that was put right
        calls = calls.exclude(opened_us__range=span_us)
        entries = entries.exclude(at_us__range=span_us)
        events = events.exclude(at_us__range=span_us)
    rows: tuple[Any, ...] = (
        calls.values_list("opened_us", flat=True).first(),
        entries.values_list("at_us", flat=True).first(),
        events.order_by("-at_us").values_list("at_us", flat=True).first(),
    )
    return max(epochs.newest_us(tx), *(int(row or 0) for row in rows))


def proved(look: Look) -> Iterator[Finding]:
    """`farebox prove`, with drift (I04) and receipts (I09) in rows of their own."""
    try:
        have = set(secrets.peppers(look.chosen))
    except CommandError:  # said already; the rest is proved all the same
        have = _peppers_in_use()
    found = proof.prove(lambda room: look.tell(f"Proving {room} …"), peppers=have)
    sentences = [(room, sentence) for room, listed in found.findings.items() for sentence in listed]
    drift = [sentence for _, sentence in sentences if _DRIFT.match(sentence)]
    receipts = [sentence for _, sentence in sentences if sentence.startswith("I09 ")]
    rest = [f"{room}: {sentence}" for room, sentence in sentences if sentence not in (*drift, *receipts)]
    look.drifted = [named[1] for sentence in drift if (named := _DRIFT.match(sentence))]
    yield _proof(
        "balances", drift, "every balance is the sum of its postings", "Run farebox doctor --freeze, then look."
    )
    yield _proof("receipts", receipts, "every receipt recomputes to its charge", "Run farebox call show on each.")
    if found.warnings:
        yield warning("references", "; ".join(found.warnings[:_SENTENCES]), "Run farebox prove for all of them.")
    yield _proof("proof", rest, f"{found.postings:,} postings, every room is clean", "Run farebox prove for all of it.")


def _peppers_in_use() -> set[int]:
    from farebox.accounts.models import ApiKey

    return set(ApiKey.objects.values_list("pepper_n", flat=True).distinct())


def _proof(check: str, found: list[str], clean: str, todo: str) -> Finding:
    if not found:
        return ok(check, clean)
    more = f" (and {len(found) - _SENTENCES} more)" if len(found) > _SENTENCES else ""
    return wrong(check, "; ".join(found[:_SENTENCES]) + more, todo)


def frozen(look: Look) -> Iterator[Finding]:
    """Ledger accounts that take no hold since their balance had drifted."""
    del look
    from farebox.ledger.models import LedgerAccount

    found = list(LedgerAccount.objects.filter(frozen=True).order_by("id").values_list("id", flat=True))
    if found:
        seen = f"spending of {some(found)} is frozen"
        yield warning("frozen accounts", seen, "Once the cause is fixed: farebox doctor --unfreeze ACCOUNT.")
    else:
        yield ok("frozen accounts", "none")


def held(look: Look) -> Iterator[Finding]:
    """The oldest open hold, and holds that a dead process left (I15)."""
    from farebox.kit.models import Epoch
    from farebox.ledger.models import Hold

    oldest = Hold.objects.filter(state="open").order_by("placed_us").first()
    if oldest is None:
        yield ok("holds", "none is open")
        return
    now_us, grace_us = time.time_ns() // 1000, proof.hold_grace_us()
    many = Hold.objects.filter(state="open").count()
    age_s = max(0, (now_us - oldest.placed_us) // 1_000_000)
    of = set(Hold.objects.filter(state="open").values_list("epoch", flat=True).distinct())
    alive = set(Epoch.objects.filter(id__in=of, ended_us=None).values_list("id", flat=True))
    late = set(Epoch.objects.filter(id__in=of, ended_us__gte=now_us - grace_us).values_list("id", flat=True))
    left = sorted(of - alive - late)
    seen = f"{many:,} open, the oldest for {span(age_s)}, of process {oldest.epoch}"
    if left:
        todo = "Start a server: it ends what dead processes left. If one runs, restart it and look at its log."
        yield wrong("holds", f"{seen}; {some(left)} ended and left holds", todo)
    elif age_s > look.chosen.call_s_max + look.chosen.drain_s + look.chosen.settle_wait_s:
        yield warning("holds", f"{seen}, longer than a call may last", "Is its server still running? Start one.")
    else:
        yield ok("holds", seen)


def processes(look: Look) -> Iterator[Finding]:
    """Who serves, and ended processes whose refunds (R25) and holds nobody has looked after."""
    del look
    from farebox.kit.models import Epoch

    serving = list(Epoch.objects.filter(ended_us=None).order_by("id").values_list("node", flat=True))
    before_us = time.time_ns() // 1000 - proof.hold_grace_us()
    late = [epoch for epoch, ended_us, _, _ in db.read(epochs.uncleared) if ended_us < before_us]
    seen = f"{len(serving)} serve" + (f", on {some(sorted(set(serving)))}" if serving else "")
    if serving and late:
        todo = "Look at the log of the server: it should look after them within its lease and grace."
        yield warning("processes", f"{seen}; {some(late)} ended and were not looked after", todo)
    else:
        yield ok("processes", seen)


def waiting(look: Look) -> Iterator[Finding]:
    """Settlements that wait on the disk because the store was away (R23)."""
    records = cut = 0
    files = sorted((look.chosen.data / "journal").glob("*.log"))
    for file in files:
        whole, broken = appendlog.parse(file.read_bytes())
        records += len(whole)
        cut += broken
    seen = f"{records:,} settlements in {len(files)} files" + (f", {cut} lines are cut" if cut else "")
    todo = "Start a server on this data folder, with the store in reach: it writes them into the books."
    if records > WAITING_WRONG:
        yield wrong("journal", seen, todo)
    elif records or cut:
        yield warning("journal", seen, todo)
    else:
        yield ok("journal", "no settlement waits on the disk")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("clock", clocks),
    ("time", sure),
    ("proof", proved),
    ("frozen accounts", frozen),
    ("holds", held),
    ("processes", processes),
)
FILES: tuple[tuple[str, Check], ...] = (("journal", waiting),)
