"""The operations that meet, the scene they meet on, and what may come of it.

Each run has an account of its own with two grants, a neighbour, a cap, an open hold `h`, one of a process that lives
(`k`), a settled one (`r`) of which somebody has proposed to give a part back, and an API key, so that no run sees
another's rows. The amounts are such that what one operation takes, the other misses.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from farebox.accounts import accounts
from farebox.accounts.keys import keys
from farebox.accounts.models import ApiKey, Project
from farebox.calls import log
from farebox.calls.log import CallEnd, CallStart
from farebox.catalog.models import PriceList
from farebox.kit import db, dbfaults, settings
from farebox.kit.commits import Committer, PendingWrite
from farebox.kit.errors import FareboxError
from farebox.ledger import adjustments, allowance, holds, journal, lots, references
from farebox.ledger.allowance import AllowanceTerms
from farebox.ledger.holds import HoldEnded, Purse
from ledger.books import Books, Refused

USD = "USD"
CAP = 1_050
NOW = 1_795_500_000_000_000
REFUSED = -1
BY_HAND = 50
PLENTY = 10**9
# Of the allowance, what it begins with, and what each call that is forgiven is worth: two of them are more than there is.
TERMS = AllowanceTerms(begin_micro=200, growth_percent=3, most_micro=1_000)
WORTH, WORTH_BEFORE, MOST = 130, 40, 90


@dataclass(frozen=True)
class Scene:
    """One run's rows, by their ids; the second grant is an entry, `proposed` what a person would give back."""

    account: str
    second_grant: str = ""
    proposed: str = ""

    @property
    def cap(self) -> str:
        return f"cap:key_{self.account}:ever"

    @property
    def key(self) -> str:
        return f"key_{self.account}"

    @property
    def purses(self) -> tuple[Purse, ...]:
        return Purse(self.account), Purse(self.cap, CAP)

    @property
    def neighbour(self) -> str:
        return f"{self.account}.neighbour"

    def hold(self, name: str) -> str:
        return f"{self.account}.{name}"

    @property
    def forgiven(self) -> tuple[str, ...]:
        """Calls of version 2 that end in their failure: one by each actor, and one that has."""
        return tuple(self.hold(name) for name in ("f0", "f1", "fr"))


def books_of(scene: Scene) -> Books:
    """The scene in plain ints."""
    books = Books(scene.account)
    purses = ((scene.account, None), (scene.cap, CAP))
    books.grant(ref="one", amount=900)
    books.grant(ref="two", amount=600)
    for name, amount, epoch in (("h", 300, "dying"), ("k", 350, "living"), ("r", 100, "living")):
        books.place(scene.hold(name), purses=purses, want=amount, least=amount, epoch=epoch)
    books.settle(scene.hold("r"), charge=80)
    for hold in scene.forgiven:
        books.place(hold, purses=purses, want=5, least=5, epoch="living")
    books.settle(scene.hold("fr"), charge=3)
    books.allowance = {"begun": 200, "drawn": WORTH_BEFORE, "returned": 0, "most": None}
    return books


def open_shop(tx: db.Tx) -> str:
    """What all scenes share; the id of the project that their keys lie in."""
    settings.ensure_installation(tx)
    PriceList.objects.create(name="standard", currency=USD)
    accounts.open_account(tx, name="Acme", currency=USD, price_list="standard", now_us=NOW, actor="test")
    return str(Project.objects.get(account__name="Acme").id)


def set_scene(tx: db.Tx, account: str, project: str) -> Scene:
    """Fill one account with production's own functions."""
    scene = Scene(account)
    journal.open_account(tx, id=account, kind="customer", currency=USD, floor_micro=0)
    journal.open_account(tx, id=scene.neighbour, kind="customer", currency=USD, floor_micro=0)
    _grant(tx, scene, "one", 900)
    entry = _grant(tx, scene, "two", 600)
    for name, amount, epoch in (("h", 300, f"dying.{account}"), ("k", 350, "living"), ("r", 100, "living")):
        _place(tx, scene, name, amount, amount, epoch)
    holds.settle(tx, hold=scene.hold("r"), purses=scene.purses, currency=USD, charge_micro=80, now_us=NOW)
    for hold in scene.forgiven:
        log.open_call(tx, _call(scene, hold), 5, lambda _have: -1)
    log.end_call(tx, _call(scene, scene.hold("fr")), _ended(3, WORTH_BEFORE + 3))
    owner = Project.objects.get(id=project).account_id
    ApiKey.objects.create(
        id=scene.key, account_id=owner, project_id=project, name=scene.key, digest=scene.key, hint="x", created_us=NOW
    )
    row = adjustments.propose(
        tx,
        account=account,
        currency=USD,
        kind="refund",
        amount_micro=BY_HAND,
        reason="test",
        call=scene.hold("r"),
        day_max_micro=PLENTY,
        requester=f"one.{account}",
        actor="test",
        now_us=NOW,
    )
    return Scene(account, entry, row.id)


def _call(scene: Scene, hold: str) -> CallStart:
    return CallStart(
        hold, scene.account, "prj", scene.key, None, "chat", "plain", "plain", stream=True, epoch="living",
        currency=USD, limit_tokens=None, price_list="standard", price_version=1, prices="{}", rule_version=2,
        opened_us=NOW, purses=scene.purses, allowance=TERMS,
    )  # fmt: skip


def _ended(charge: int, worth: int) -> CallEnd:
    return CallEnd(
        "failed", "R14", 200, charge, {}, "counted", "", [], [], NOW,
        value_micro=worth, most_micro=worth, draws=True, cause="failed",
    )  # fmt: skip


def _forgive(tx: db.Tx, scene: Scene, who: str) -> int:
    """A call that failed after output is settled: free, as far as the allowance reaches."""
    return log.end_call(tx, _call(scene, scene.hold(f"f{who}")), _ended(0, WORTH)).charge_micro


def _set_most(tx: db.Tx, scene: Scene) -> int:
    journal.lock(tx, scene.account)
    allowance.set_most(tx, account=scene.account, currency=USD, terms=TERMS, most_micro=MOST)
    return 1


def _grant(tx: db.Tx, scene: Scene, ref: str, amount: int) -> str:
    return lots.grant(
        tx,
        account=scene.account,
        currency=USD,
        amount_micro=amount,
        ref=ref,
        expires_us=None,
        now_us=NOW,
        note="test",
        requester="cli",
        single_person=True,
    )


def _place(tx: db.Tx, scene: Scene, name: str, want: int, least: int, epoch: str) -> int:
    return holds.place(
        tx,
        hold=scene.hold(name),
        purses=scene.purses,
        currency=USD,
        want_micro=want,
        fit=lambda have: min(have, want) if have >= least else -1,
        epoch=epoch,
        now_us=NOW,
    )


def _extend(tx: db.Tx, scene: Scene) -> int:
    return holds.extend(
        tx,
        hold=scene.hold("h"),
        purses=scene.purses,
        currency=USD,
        want_micro=180,
        fit=lambda have: min(have, 180),
    )


def _lower(tx: db.Tx, scene: Scene) -> int:
    return holds.lower(tx, hold=scene.hold("h"), purses=scene.purses, to_micro=120)


def _settle(tx: db.Tx, scene: Scene, charge: int) -> int:
    done = holds.settle(tx, hold=scene.hold("h"), purses=scene.purses, currency=USD, charge_micro=charge, now_us=NOW)
    return REFUSED if done.repeated else done.charge_micro


def _reverse(tx: db.Tx, scene: Scene) -> int:
    lots.reverse(tx, entry=scene.second_grant, at_us=NOW, note="test", requester="cli", single_person=True)
    return 1


def _by_hand(tx: db.Tx, scene: Scene) -> int:
    row = adjustments.approve(
        tx,
        scene.proposed,
        approver=f"two.{scene.account}",
        single_person=False,
        day_max_micro=PLENTY,
        actor="test",
        now_us=NOW,
    )
    return int(row.booked_micro)


def _outside(tx: db.Tx, scene: Scene, who: str) -> int:
    """One reference from outside: the first actor grants under it to the account, the second to its neighbour."""
    lots.grant(
        tx,
        account=scene.account if who == "0" else scene.neighbour,
        currency=USD,
        amount_micro=500,
        ref="out",
        expires_us=None,
        now_us=NOW,
        note="test",
        requester="cli",
        single_person=True,
        outside=references.Outside(references.MANUAL, "bank", scene.account),
    )
    return 1


def _revoke(tx: db.Tx, scene: Scene) -> int:
    return 1 if keys.revoke(tx, scene.key, now_us=NOW, actor="test").state == "revoked" else REFUSED


Effect = Callable[[Books, Scene, str], int]


@dataclass(frozen=True)
class Operation:
    """`run` is production's; `serial` what it does to the reference; `less` what it may do where guards alone decide.

    Operations on calls go through the committer, which locks their purses first; the verbs of the CLI don't.
    """

    name: str
    run: Callable[[db.Tx, Scene, str], int]
    serial: Effect
    less: Effect | None = None
    through_committer: bool = True


def _serial_place(books: Books, scene: Scene, who: str) -> int:
    purses = ((scene.account, None), (scene.cap, CAP))
    return books.place(scene.hold(f"p{who}"), purses=purses, want=200, least=150, epoch="living")


def _serial_settle(books: Books, scene: Scene, who: str) -> int:
    return books.settle(scene.hold("h"), charge=330 if who == "0" else 310)[1]


def _settle_unstretched(books: Books, scene: Scene, who: str) -> int:
    """Between its look at the purses and its taking from them, they were emptied."""
    held = books.holds[scene.hold("h")].amount
    return books.settle(scene.hold("h"), charge=min(held, 330 if who == "0" else 310))[1]


def _serial_reverse(books: Books, scene: Scene, who: str) -> int:
    books.reverse("grant", "two")
    return 1


def _serial_grant(books: Books, scene: Scene, who: str) -> int:
    books.grant(ref="three", amount=500)
    return 1


def _serial_outside(books: Books, scene: Scene, who: str) -> int:
    mine, theirs = ("grant", "out"), ("granted", scene.neighbour)
    if (theirs if who == "0" else mine) in books.entries:
        raise Refused("taken")
    if who == "0":
        books.grant(ref="out", amount=500)
    else:
        books.entries[theirs] = 0
    return 1


def _serial_by_hand(books: Books, scene: Scene, who: str) -> int:
    hold = scene.hold("r")
    if ("call_refund", hold) in books.entries:  # decided already
        raise Refused("gone")
    books.give_by_hand(hold, amount=BY_HAND)
    return BY_HAND


def _serial_revoke(books: Books, scene: Scene, who: str) -> int:
    if ("revoked", scene.key) in books.entries:
        raise Refused("gone")
    books.entries["revoked", scene.key] = 0
    return 1


def _serial_forgive(books: Books, scene: Scene, who: str) -> int:
    row, hold = books.allowance, scene.hold(f"f{who}")
    left = row["begun"] - row["drawn"] + row["returned"]
    drawn = min(WORTH, max(0, left))
    _state, charge, short = books.settle(hold, charge=WORTH - drawn)
    row["drawn"] += drawn + short
    return charge


def _serial_give_back(books: Books, scene: Scene, who: str) -> int:
    back = books.refund(scene.hold("fr"))
    if back:
        books.allowance["returned"] += WORTH_BEFORE
    return back


def _serial_set_most(books: Books, scene: Scene, who: str) -> int:
    row = books.allowance
    row["begun"] += MOST - (row["begun"] - row["drawn"] + row["returned"])
    row["most"] = MOST
    return 1


def _refused(books: Books, scene: Scene, who: str) -> int:
    raise Refused("stale")


OPERATIONS = {
    each.name: each
    for each in (
        Operation(
            "place", lambda tx, scene, who: _place(tx, scene, f"p{who}", 200, 150, "living"), _serial_place, _refused
        ),
        Operation(
            "extend",
            lambda tx, scene, who: _extend(tx, scene),
            lambda books, scene, who: books.extend(scene.hold("h"), want=180),
            lambda books, scene, who: 0,
        ),
        Operation(
            "lower",
            lambda tx, scene, who: _lower(tx, scene),
            lambda books, scene, who: books.lower(scene.hold("h"), to=120),
        ),
        Operation(
            "settle",
            lambda tx, scene, who: _settle(tx, scene, 330 if who == "0" else 310),
            _serial_settle,
            _settle_unstretched,
        ),
        Operation(
            "expire",
            lambda tx, scene, who: len(holds.expire(tx, epoch=f"dying.{scene.account}", now_us=NOW)),
            lambda books, scene, who: len(books.expire("dying")),
        ),
        Operation(
            "refund",
            lambda tx, scene, who: holds.refund(tx, hold=scene.hold("r"), currency=USD, now_us=NOW),
            lambda books, scene, who: books.refund(scene.hold("r")),
        ),
        Operation(
            "credit",
            lambda tx, scene, who: 1 if _grant(tx, scene, "three", 500) else REFUSED,
            _serial_grant,
            _refused,
            through_committer=False,
        ),
        Operation(
            "reverse",
            lambda tx, scene, who: _reverse(tx, scene),
            _serial_reverse,
            _refused,
            through_committer=False,
        ),
        Operation("outside", _outside, _serial_outside, through_committer=False),
        Operation("by hand", lambda tx, scene, who: _by_hand(tx, scene), _serial_by_hand, through_committer=False),
        Operation("forgive", _forgive, _serial_forgive, _refused),
        Operation(
            "give back",
            lambda tx, scene, who: log.give_back(tx, scene.hold("fr"), scene.account, now_us=NOW),
            _serial_give_back,
        ),
        Operation("set most", lambda tx, scene, who: _set_most(tx, scene), _serial_set_most, through_committer=False),
        Operation("revoke", lambda tx, scene, who: _revoke(tx, scene), _serial_revoke, through_committer=False),
    )
}


def script(operation: Operation, scene: Scene, who: str, *, locking: bool) -> Callable[[], int]:
    """The whole transaction as production runs it; its effect, REFUSED for an expected refusal.

    Without `locking` the committer locks no rows: then only the guards of the statements stand between the two.
    """

    def through_committer() -> int:
        locks = (scene.account, scene.cap) if locking else ()
        committer = Committer(
            lambda rows: db.writing(holds.LOCK_PURSES, rows),
            pause=lambda _most_s: None,
            monotonic_s=time.monotonic,
            wait_s=60,
        )
        member = PendingWrite(operation.run, (scene, who), locks=locks, patient=True, since_s=0, future=None)
        committer.run([member])
        if member.error is not None:
            raise member.error
        return int(member.result)

    def run() -> int:
        try:
            return through_committer() if operation.through_committer else db.write(operation.run, scene, who)
        except (FareboxError, HoldEnded):
            return REFUSED
        except AssertionError as stale:  # the row of the allowance is another than was read: only without locks
            if locking or "allowance" not in str(stale):
                raise
            return REFUSED
        except dbfaults.errors() as fault:
            if operation.through_committer or not dbfaults.broken_rule(fault):
                raise
            return REFUSED  # two CLIs at once: UNIQUE has refused one of them

    return run


def may_be(
    scene: Scene, first: Operation, second: Operation, orders: str, *, locking: bool
) -> list[tuple[int, int, dict[str, Any]]]:
    """Every (effect of the first, effect of the second, books) that may come of it.

    `orders` holds "01" where the first may count as the earlier one, "10" where the second may.
    """
    found = []
    both = (first, second)
    for order in orders.split():
        for choice in range(4):
            books = copy.deepcopy(books_of(scene))
            effects = [0, 0]
            for who in (int(figure) for figure in order):
                operation = both[who]
                apply = operation.less if choice >> who & 1 else operation.serial
                if apply is None or (choice >> who & 1 and locking and operation.through_committer):
                    break
                if choice >> who & 1 and locking and first is not second:
                    break
                try:
                    effects[who] = apply(books, scene, str(who))
                except Refused:
                    effects[who] = REFUSED
            else:
                found.append((*effects, books.picture()))
    return found


def without_room(books: dict[str, Any]) -> dict[str, Any]:
    """The books without the amounts of ended holds: a settlement that reads the hold unlocked may stretch it too far.

    That money is held until the end, and nothing of it is charged.
    """
    holds_now = {
        name: (state, None if charge is not None else amount, charge)
        for name, (state, amount, charge) in books["holds"].items()
    }
    return books | {"holds": holds_now}


def picture(tx: db.Tx, scene: Scene) -> tuple[dict[str, Any], list[str]]:
    """What the store says of the scene, as the reference would, and which invariants it breaks."""
    broken = []
    pots = {}
    for name, posted, held, floor in tx.all(
        "SELECT id, posted_micro, held_micro, floor_micro FROM ledger_ledgeraccount WHERE id IN (%s, %s)",
        (scene.account, scene.cap),
    ):
        pots[name] = (posted, held, floor)
        if held < 0 or posted - held < floor:
            broken.append(f"I03 {name} has posted {posted}, held {held}, floor {floor}")
    rows = tx.all("SELECT id, state, amount_micro, charge_micro FROM ledger_hold WHERE account = %s", (scene.account,))
    found = {name: (state, amount, charge) for name, state, amount, charge in rows}
    entries = {}
    lines = tx.all(
        "SELECT e.id, e.kind, e.ref, SUM(p.amount_micro) FILTER (WHERE p.account = e.account), SUM(p.amount_micro),"
        " COUNT(*) FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id WHERE e.account = %s"
        " GROUP BY e.id",
        (scene.account,),
    )
    refs = {entry: f"{kind}:{ref}" for entry, kind, ref, _own, _total, _count in lines}
    for _entry, kind, ref, own, total, count in lines:
        entries[kind, refs.get(ref, ref) if ref != scene.proposed else scene.hold("r")] = int(own)
        if total or count != 2:
            broken.append(f"I01 {kind} {ref} has {count} postings that add up to {total}")
    _books_agree(scene, pots, found, entries, broken)
    if tx.one("SELECT state FROM accounts_apikey WHERE id = %s", (scene.key,)) == ("revoked",):
        entries["revoked", scene.key] = 0
    if tx.one("SELECT 1 FROM ledger_entry WHERE account = %s", (scene.neighbour,)) is not None:
        entries["granted", scene.neighbour] = 0
    row = tx.one(
        "SELECT begun_micro, drawn_micro, returned_micro, most_micro FROM ledger_allowance WHERE account = %s",
        (scene.account,),
    )
    kept = dict(zip(("begun", "drawn", "returned", "most"), row or (), strict=True))
    return {"pots": pots, "holds": found, "entries": entries, "allowance": kept}, broken


def _books_agree(scene: Scene, pots: Any, found: Any, entries: Any, broken: list[str]) -> None:
    if pots[scene.account][0] != sum(entries.values()):
        broken.append(f"I04 posted is {pots[scene.account][0]}, the postings say {sum(entries.values())}")
    spent = sum(
        (charge or 0) - entries.get(("refund", name), 0) - entries.get(("call_refund", name), 0)
        for name, (_, _, charge) in found.items()
    )
    if pots[scene.cap][0] != -spent:
        broken.append(f"I04 the cap counts {pots[scene.cap][0]}, its calls were charged {spent}")
    held = sum(amount for state, amount, _ in found.values() if state == "open")
    for name, (_posted, kept, _floor) in pots.items():
        if kept != held:
            broken.append(f"I05 {name} holds {kept}, its open holds {held}")
    for name, (state, amount, charge) in found.items():
        if (state == "open") != (charge is None) or not 0 <= (charge or 0) <= amount:
            broken.append(f"I08 hold {name} is {state} with {amount}, charge {charge}")
        if entries.get(("refund", name), 0) + entries.get(("call_refund", name), 0) > (charge or 0):
            broken.append(f"I27 of hold {name}, charged {charge}, more was given back")
        if -entries.get(("charge", name), 0) != (charge or 0):
            broken.append(f"I07 hold {name} was charged {charge}, its entry says {entries.get(('charge', name))}")
