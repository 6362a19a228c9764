"""Changes that one proposes and another, or a person with a fresh proof, approves: one table and one set of verbs.

What a kind of change is of, how it is now and how it is made, its room says (`ChangeKind`). The approval makes it in
the same transaction, once, and only if what it changes is still as it was when it was proposed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from . import audit, ids, refusal
from .db import Tx
from .errors import CommandError
from .models import Proposal, Version

LAPSES_US = 72 * 3600 * 1_000_000
WHY_CHARS_MAX = 300
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class ChangeKind:
    """A kind of change. `read(tx, object, after)` is what `after` would replace, JSON-able; `make` makes the change.

    `check(tx, object, after)` raises CommandError for a change that can't be. `two_people`: another person approves it.
    """

    name: str
    two_people: bool
    read: Callable[[Tx, str, Any], Any]
    make: Callable[..., Any]
    check: Callable[[Tx, str, Any], None] = lambda _tx, _object, _after: None


def propose(
    tx: Tx,
    kind: ChangeKind,
    of: str,
    after: Any,
    *,
    why: str = "",
    requester: str,
    actor: str,
    now_us: int,
) -> Proposal:
    """Write a change down; nothing changes yet. CommandError where it can't be, or would change nothing."""
    if len(why) > WHY_CHARS_MAX or not why.isprintable():
        raise CommandError("proposal.reason", chars_max=WHY_CHARS_MAX)
    kind.check(tx, of, after)
    before = kind.read(tx, of, after)
    if _same(before, after):
        raise CommandError("proposal.no_change")
    row = Proposal.objects.create(
        id=ids.new("prp", now_us),
        kind=kind.name,
        object=of,
        before=_encode(before).decode(),
        after=_encode(after).decode(),
        why=why.strip(),
        two_people=kind.two_people,
        requester=requester,
        proposed_us=now_us,
    )
    audit.record(tx, actor=actor, verb="proposal.make", object=of, after=view(row, now_us=now_us))
    return row


def approve(
    tx: Tx, kind: ChangeKind, proposal: str, *, approver: str, single_person: bool, actor: str, now_us: int
) -> Proposal:
    """Make the change, once; or drop the proposal where what it changes is no longer as it was: its state says which.

    `single_person` says that this shop lets one person do both; the row says so too then. CommandError for one's own,
    for one that is decided or has lapsed, and where the change can't be made.
    """
    _one_at_a_time()
    row = _locked(proposal)
    alone = row.two_people and row.requester == approver
    if alone and not single_person:
        raise CommandError("proposal.own")
    after = msgspec.json.decode(row.after)
    if not _same(kind.read(tx, row.object, after), msgspec.json.decode(row.before)):
        _decide(row, to="dropped", decider=approver, now_us=now_us)
    else:
        _decide(row, to="approved", decider=approver, now_us=now_us, single_person=alone)
        kind.check(tx, row.object, after)
        kind.make(tx, row.object, after, actor=actor, now_us=now_us)
    row = find(row.id)
    verb = "proposal.approve" if row.state == "approved" else "proposal.drop"
    audit.record(tx, actor=actor, verb=verb, object=row.object, after=view(row, now_us=now_us))
    return row


def decline(tx: Tx, proposal: str, *, decider: str, note: str = "", actor: str, now_us: int) -> Proposal:
    """Say no to what somebody proposed; its own requester withdraws it so."""
    row = _locked(proposal)
    if len(note) > WHY_CHARS_MAX or not note.isprintable():
        raise CommandError("proposal.note", chars_max=WHY_CHARS_MAX)
    to = "withdrawn" if row.requester == decider else "declined"
    _decide(row, to=to, decider=decider, now_us=now_us, note=note.strip())
    row = find(row.id)
    audit.record(tx, actor=actor, verb="proposal.decline", object=row.object, after=view(row, now_us=now_us))
    return row


def find(proposal: str) -> Proposal:
    """The proposal of this id; CommandError otherwise."""
    row = Proposal.objects.filter(id=proposal).first()
    if row is None:
        raise CommandError("proposal.unknown")
    return row


def listed(tx: Tx, *, state: str = "", before: str = "", limit: int = 50, now_us: int) -> list[Proposal]:
    """Proposals, newest first, older than the id `before`; of one state (also `lapsed`), or of all."""
    del tx  # the ORM reads in the same transaction
    rows = Proposal.objects.order_by("-id")
    if before:
        rows = rows.filter(id__lt=before)
    if state == "proposed":
        rows = rows.filter(state="proposed", proposed_us__gt=now_us - LAPSES_US)
    elif state == "lapsed":
        rows = rows.filter(state="proposed", proposed_us__lte=now_us - LAPSES_US)
    elif state:
        rows = rows.filter(state=state)
    return list(rows[:limit])


def state(row: Proposal, *, now_us: int) -> str:
    """The state as people see it: what is proposed has `lapsed` after 72 hours."""
    return "lapsed" if row.state == "proposed" and row.proposed_us <= now_us - LAPSES_US else str(row.state)


def view(row: Proposal, *, now_us: int) -> dict[str, Any]:
    """What may be shown of a row, JSON-able."""
    names = "id kind object why two_people single_person requester proposed_us decider decided_us note".split()
    return {name: getattr(row, name) for name in names} | {
        "before": msgspec.json.decode(row.before),
        "after": msgspec.json.decode(row.after),
        "state": state(row, now_us=now_us),
        "lapses_us": row.proposed_us + LAPSES_US,
    }


def _same(one: Any, other: Any) -> bool:
    return bool(_encode(one) == _encode(other))


def _one_at_a_time() -> None:
    """Two proposals of the same thing that are approved at one time: the second one sees what the first has made."""
    Version.objects.get_or_create(name="proposals")
    list(Version.objects.select_for_update(no_key=True).filter(name="proposals"))


def _locked(proposal: str) -> Proposal:
    """The row, held until the transaction ends: of two who decide at once one is too late."""
    list(Proposal.objects.select_for_update(no_key=True).filter(id=proposal))
    return find(proposal)


def _decide(row: Proposal, *, to: str, decider: str, now_us: int, **facts: Any) -> None:
    waiting = Proposal.objects.filter(id=row.id, state="proposed", proposed_us__gt=now_us - LAPSES_US)
    if waiting.update(state=to, decider=decider, decided_us=now_us, **facts) != 1:
        raise CommandError("proposal.decided", state=refusal.word("state", state(find(row.id), now_us=now_us)))
