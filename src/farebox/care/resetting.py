"""`farebox clock reset`: the mark of a clock that had run ahead goes back, and what ended in the jump comes back.

Every process is stopped. The jump is written down first; then what expired in it is given back, account by account, and
the mark moves last. Interrupted, the next run goes on with the same jump.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from farebox.kit import audit, clock, db, options, settings, sql, timing
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.lock import FolderLock
from farebox.kit.machine import Machine

RESETS = "clock_resets"  # the jumps that were put right, [from, until], newest last
_RESETS_KEPT = 20
_LITTLE_US = 60_000_000
_DAY_US = 86_400_000_000


def run(*, actor: str, reason: str, trust_clock: bool) -> dict[str, Any]:
    """Put the mark back to the machine's clock; what was listed and given back.

    CommandError while anything serves, where the books are not ahead, or where nobody but this machine says what time
    it is: then `trust_clock` says that a person has looked, which counts in a shop of a single person alone.
    """
    if not reason.strip() or len(reason) > 300 or not reason.isprintable():
        raise CommandError("Say why, in one line of at most 300 characters: the trail keeps it.")
    with _stopped():
        jump = db.write(_begin, actor=actor, reason=reason.strip(), trust_clock=trust_clock)
        from_us, until_us = int(jump["from_us"]), int(jump["until_us"])
        lots = []
        for account in db.read(_accounts, from_us):
            for lot, amount_micro in db.write(_give_back, account, actor=actor, from_us=from_us):
                lots.append({"account": account, "lot": lot, "amount_micro": amount_micro})
        found = db.read(_listed, from_us, until_us)
        db.write(_end, actor=actor, from_us=from_us, until_us=until_us)
    return {"from_us": from_us, "until_us": until_us, "lots": lots, **found}


@contextlib.contextmanager
def _stopped() -> Iterator[None]:
    """While nothing serves this store: on SQLite the folder's lock says so, else that no heart beats."""
    chosen = options.current()
    if chosen.on_sqlite:
        with FolderLock(chosen.data, wait_s=2):
            yield
        return
    before = dict(db.read(_beats))
    if before:
        time.sleep(chosen.lease_beat_ms / 1000 * chosen.lease_beats_missed)
    if any(before.get(epoch) != beats for epoch, beats in db.read(_beats)):
        raise CommandError("A process serves this shop. Stop every one of them first.")
    yield


def _beats(tx: Tx) -> list[tuple[str, int]]:
    return [(str(epoch), int(beats)) for epoch, beats in tx.all(sql.OPEN_EPOCHS)]


def _begin(tx: Tx, *, actor: str, reason: str, trust_clock: bool) -> dict[str, int]:
    """Write the jump down, with who says so and by which witnesses; one that was begun before goes on."""
    begun: dict[str, int] = settings.get(tx, timing.JUMP, {})
    if begun:
        return begun
    machine = Machine()
    now_us, mark_us = machine.wall_us(), timing.mark_us(tx)
    if mark_us - now_us <= _LITTLE_US:
        raise CommandError("The books are not ahead of this machine's clock: there is nothing to put right.")
    known = timing.stored(tx, machine)
    known.nodes, known.confirmed = [], {}
    heard = [each for each in timing.witnesses(known, machine) if abs(each.at_us - now_us) <= timing.HOUR_US]
    if not heard and not (trust_clock and options.current().single_person):
        raise CommandError(
            "Nobody but this machine's clock says what time it is. Let NTP set it"
            + (", or look at it yourself and add --trust-clock." if options.current().single_person else ".")
        )
    jump = {"from_us": now_us, "until_us": mark_us}
    settings.keep(tx, timing.JUMP, jump)
    said = jump | {"reason": reason, "witnesses": sorted({each.kind for each in heard}), "trusted": not heard}
    audit.record(tx, actor=actor, verb="clock.reset", object="installation", after=said)
    return jump


def _accounts(tx: Tx, from_us: int) -> list[str]:
    from farebox.ledger import ahead

    return sorted({*ahead.accounts(tx, from_us=from_us), *ahead.closed(tx, from_us=from_us)})


def _give_back(tx: Tx, account: str, *, actor: str, from_us: int) -> list[tuple[str, int]]:
    from farebox.ledger import ahead

    given = ahead.give_back(tx, account, from_us=from_us, at_us=Machine().wall_us())
    if given:
        after = {"lots": dict(given), "amount_micro": sum(amount_micro for _, amount_micro in given)}
        audit.record(tx, actor=actor, verb="clock.give_back", object=account, after=after)
    return given


def _listed(tx: Tx, from_us: int, until_us: int) -> dict[str, Any]:
    """What else ended, or began, in the jump: it needs nobody, since the time is what it was."""
    from farebox.accounts.models import ApiKey
    from farebox.ledger import ahead
    from farebox.ledger.models import CreditLot

    keys = ApiKey.objects.filter(expires_us__gt=from_us, expires_us__lte=until_us).order_by("id")
    open_again = CreditLot.objects.filter(expires_us__gt=from_us, expires_us__lte=until_us, closed=False).order_by("id")
    return {
        "keys": [{"id": row.id, "name": row.name, "account": row.account_id} for row in keys],
        "caps": ahead.caps(tx, after=_day(from_us)),
        "lots_open": [{"id": row.id, "account": row.account, "expires_us": row.expires_us} for row in open_again],
    }


def _end(tx: Tx, *, actor: str, from_us: int, until_us: int) -> None:
    """Move the mark; sessions and links of the jump end, and what is done once a day is due again."""
    from farebox.accounts.models import Link, Session
    from farebox.kit.models import Setting

    tx.execute(sql.MOVE_TIMES_BACK, (from_us,) * 13)
    Session.objects.filter(created_us__gt=from_us).delete()
    Session.objects.filter(seen_us__gt=from_us).update(seen_us=from_us)
    Link.objects.filter(expires_us__gt=from_us + _DAY_US).delete()
    days = Setting.objects.filter(value__gt=f'"{_day(from_us)}"', value__regex=r'^"[0-9]{4}-[0-9]{2}-[0-9]{2}"$')
    days.delete()
    before = settings.get(tx, RESETS, [])
    settings.keep(tx, RESETS, [*before, [from_us, until_us]][-_RESETS_KEPT:])
    settings.forget(tx, timing.JUMP)
    timing.confirm(tx, Machine().wall_us())
    audit.record(tx, actor=actor, verb="clock.reset_done", object="installation", after={"mark_us": from_us})


def _day(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).date().isoformat()


def shown(tx: Tx) -> dict[str, Any]:
    """What `farebox clock` shows: the machine's clock, the mark, the last sure time, who says what, and the verdict."""
    machine = Machine()
    mark_us = timing.mark_us(tx)
    now_us = max(clock.now_us(), mark_us)
    own = timing.inspect(tx, now_us, machine)
    living = timing.living(tx)
    found = living[0][1] if living else own
    return {
        "state": found.state,
        "ahead_us": found.ahead_us,
        "machine_us": machine.wall_us(),
        "mark_us": mark_us,
        "sure_us": timing.stored(tx, machine).last_us,
        "synchronised": machine.synchronised(),
        "witnesses": [{"kind": each.kind, "at_us": each.at_us} for each in found.heard],
        "processes": [{"node": node, "state": each.state, "ahead_us": each.ahead_us} for node, each in living],
        "reset_begun": bool(settings.get(tx, timing.JUMP)),
    }
