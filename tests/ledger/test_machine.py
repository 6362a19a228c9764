"""The ledger against its reference: any order of operations leaves the store as the plain ints say.

Each example has an account and holds of its own. `HYPOTHESIS_PROFILE=nightly` plays many more and longer ones.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from farebox.kit import db, dbfaults, errors
from farebox.ledger import adjustments, holds, journal, lots, proof, sql
from farebox.ledger.holds import HoldEnded, Purse
from ledger.books import Books, Purses, Refused

pytestmark = pytest.mark.timeout(0)

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
PROFILE = settings(
    max_examples=5_000 if NIGHTLY else 60,
    stateful_step_count=50 if NIGHTLY else 30,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
USD = "USD"
SCOPES = ("key", "prj")
EPOCHS = ("one", "two")
AMOUNT = st.integers(0, 60) | st.integers(0, 1_000)
PICK = st.integers(0, 1_000)

_examples = itertools.count()


class Ledger(RuleBasedStateMachine):
    """Every rule does one operation to both sides; then they must say the same, of the effect and of all rows."""

    def __init__(self) -> None:
        super().__init__()
        self.name = f"acc_{next(_examples)}"
        self.books = Books(self.name)
        self.caps = dict.fromkeys(SCOPES, 400)
        self.stale = dict.fromkeys(SCOPES, 400)
        self.entries: dict[tuple[str, str], str] = {}
        self.by_hand: dict[str, str] = {}  # the call of each refund that a person gave
        self.now = 1
        db.write(journal.open_account, id=self.name, kind="customer", currency=USD, floor_micro=0)

    def cap_of(self, scope: str) -> str:
        return f"cap:{scope}_{self.name}:ever"

    def purses(self, capped: tuple[str, ...], caps: dict[str, int]) -> Purses:
        return ((self.name, None), *((self.cap_of(scope), caps[scope]) for scope in capped))

    def both(self, reference: Any, fn: Any, **args: Any) -> Any:
        """The result of the reference; the store's write must agree, refusals included."""
        self.now += 1
        try:
            expected = reference()
        except Refused as refusal:
            expected = refusal.reason
            with pytest.raises(REFUSALS[refusal.reason]):
                db.write(fn, **args)
            return expected, None
        return expected, db.write(fn, **args)

    @rule(amount=st.integers(1, 900), ref=st.sampled_from("abcd"))
    def grant(self, amount: int, ref: str) -> None:
        _, entry = self.both(
            lambda: self.books.grant(ref=ref, amount=amount),
            lots.grant,
            account=self.name,
            currency=USD,
            amount_micro=amount,
            ref=ref,
            expires_us=None,
            now_us=self.now,
            note="test",
            requester="cli",
            single_person=True,
        )
        if entry is not None:
            assert self.entries.setdefault(("grant", ref), entry) == entry

    @precondition(lambda self: self.entries)
    @rule(pick=PICK)
    def reverse(self, pick: int) -> None:
        kind, ref = sorted(self.entries)[pick % len(self.entries)]
        _, entry = self.both(
            lambda: self.books.reverse(kind, ref),
            lots.reverse,
            entry=self.entries[kind, ref],
            at_us=self.now,
            note="test",
            requester="cli",
            single_person=True,
        )
        if entry is not None:
            assert self.entries.setdefault(("reversal", f"{kind}:{ref}"), entry) == entry

    @rule(
        want=AMOUNT,
        least=AMOUNT,
        capped=st.sampled_from([(), ("key",), ("key", "prj")]),
        epoch=st.sampled_from(EPOCHS),
        late=st.booleans(),
    )
    def place(self, want: int, least: int, capped: tuple[str, ...], epoch: str, late: bool) -> None:
        """A `late` caller still believes in the caps before the last change."""
        least = min(least, want)
        hold = f"{self.name}.{len(self.books.holds)}.{self.now}"
        purses = self.purses(capped, self.stale if late else self.caps)
        expected, held = self.both(
            lambda: self.books.place(hold, purses=purses, want=want, least=least, epoch=epoch),
            holds.place,
            hold=hold,
            purses=[Purse(purse, cap) for purse, cap in purses],
            currency=USD,
            want_micro=want,
            fit=lambda have: min(have, want) if have >= least else -1,
            epoch=f"{epoch}.{self.name}",
            now_us=self.now,
        )
        assert held in (None, expected)

    @precondition(lambda self: self.books.holds)
    @rule(pick=PICK, want=st.integers(1, 300))
    def extend(self, pick: int, want: int) -> None:
        hold = self.hold(pick)
        expected, added = self.both(
            lambda: self.books.extend(hold, want=want),
            holds.extend,
            hold=hold,
            purses=self.purses_of(hold),
            currency=USD,
            want_micro=want,
            fit=lambda have: min(have, want),
        )
        assert added in (None, expected)

    @precondition(lambda self: self.books.holds)
    @rule(pick=PICK, to=AMOUNT)
    def lower(self, pick: int, to: int) -> None:
        hold = self.hold(pick)
        expected, held = self.both(
            lambda: self.books.lower(hold, to=to),
            holds.lower,
            hold=hold,
            purses=self.purses_of(hold),
            to_micro=to,
        )
        assert held in (None, expected)

    @precondition(lambda self: self.books.holds)
    @rule(pick=PICK, charge=AMOUNT)
    def settle(self, pick: int, charge: int) -> None:
        hold = self.hold(pick)
        self.end(hold, charge)

    @precondition(lambda self: self.books.holds)
    @rule(pick=PICK)
    def void(self, pick: int) -> None:
        self.end(self.hold(pick), 0)

    def end(self, hold: str, charge: int) -> None:
        expected, done = self.both(
            lambda: self.books.settle(hold, charge=charge),
            holds.settle,
            hold=hold,
            purses=self.purses_of(hold),
            currency=USD,
            charge_micro=charge,
            now_us=self.now,
        )
        if done is not None:
            assert (done.state, done.charge_micro, done.short_micro) == expected

    @rule(epoch=st.sampled_from(EPOCHS))
    def expire(self, epoch: str) -> None:
        expected, ended = self.both(
            lambda: self.books.expire(epoch), holds.expire, epoch=f"{epoch}.{self.name}", now_us=self.now
        )
        assert sorted(ended) == expected

    @precondition(lambda self: self.books.holds)
    @rule(pick=PICK)
    def refund(self, pick: int) -> None:
        hold = self.hold(pick, "settled")
        expected, back = self.both(
            lambda: self.books.refund(hold), holds.refund, hold=hold, currency=USD, now_us=self.now
        )
        assert back == expected

    @precondition(lambda self: self.books.holds)
    @rule(pick=PICK, parts=st.integers(1, 3), times=st.integers(1, 4))
    def give_by_hand(self, pick: int, parts: int, times: int) -> None:
        """All of a charge, or one of so many equal parts, so many times: often once too often."""
        hold = self.hold(pick, "settled")
        amount = -(-(self.books.holds[hold].charge or 1) // parts)
        for _ in range(times):
            _, row = self.both(
                lambda: self.books.give_by_hand(hold, amount=amount),
                self.proposed_and_approved,
                hold=hold,
                amount=amount,
            )
            if row is not None:
                self.by_hand[row] = hold

    def proposed_and_approved(self, tx: db.Tx, *, hold: str, amount: int) -> str:
        row = adjustments.propose(
            tx, account=self.name, currency=USD, kind="refund", amount_micro=amount, reason="test", call=hold,
            day_max_micro=10**9, requester="one", actor="one", now_us=self.now,
        )  # fmt: skip
        adjustments.approve(
            tx, row.id, approver="two", single_person=False, day_max_micro=10**9, actor="two", now_us=self.now
        )
        return str(row.id)

    @rule(scope=st.sampled_from(SCOPES), cap=AMOUNT)
    def set_cap(self, scope: str, cap: int) -> None:
        self.stale[scope], self.caps[scope] = self.caps[scope], cap
        self.both(
            lambda: self.books.set_cap(self.cap_of(scope), cap),
            holds.set_cap,
            scope=f"{scope}_{self.name}",
            period_id="ever",
            cap_micro=cap,
            currency=USD,
        )

    def hold(self, pick: int, state: str = "open") -> str:
        """A hold, three times in four one in this `state` if there is one."""
        names = sorted(self.books.holds)
        fit = [name for name in names if self.books.holds[name].state == state] if pick % 4 else []
        return (fit or names)[pick // 4 % len(fit or names)]

    def purses_of(self, hold: str) -> list[Purse]:
        return [Purse(purse, cap) for purse, cap in self.books.holds[hold].purses]

    @invariant()
    def the_store_says_the_same(self) -> None:
        assert db.read(self.picture) == self.books.picture()

    def picture(self, tx: db.Tx) -> dict[str, Any]:
        pots = {}
        for name in (self.name, *(self.cap_of(scope) for scope in SCOPES)):
            row = tx.one(
                "SELECT posted_micro, held_micro, floor_micro FROM ledger_ledgeraccount WHERE id = %s", (name,)
            )
            if row is not None:
                pots[name] = tuple(row)
        rows = tx.all(
            "SELECT e.id, e.kind, e.ref, p.amount_micro FROM ledger_entry e JOIN ledger_posting p"
            " ON p.entry_id = e.id AND p.account = e.account WHERE e.account = %s",
            (self.name,),
        )
        known = {entry: ":".join(name) for name, entry in self.entries.items()} | self.by_hand
        entries: Counter[tuple[str, str]] = Counter()
        for _entry, kind, ref, amount in rows:
            entries[kind, known.get(ref, ref)] += amount
        text = "SELECT id, state, amount_micro, charge_micro FROM ledger_hold WHERE account = %s"
        return {
            "pots": pots,
            "holds": {hold: tuple(rest) for hold, *rest in tx.all(text, (self.name,))},
            "entries": dict(entries),
        }


REFUSALS: dict[str, Any] = {
    "held": errors.RateLimited,
    "spent": (errors.InsufficientFunds, errors.CommandError),
    "ended": HoldEnded,
    "other": errors.CommandError,
    "gone": errors.CommandError,
}


# How a mistake shows: the two sides differ, or the store refuses what the reference did, or the reverse.
FOUND = (AssertionError, pytest.fail.Exception, errors.FareboxError, HoldEnded, *dbfaults.errors())


@pytest.fixture
def hurried(instance: Any) -> None:
    """Durability is no part of these tests."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous = OFF" if db.on_sqlite() else "SET synchronous_commit = off")


@pytest.mark.store
@pytest.mark.slow
def test_the_ledger_does_what_the_plain_ints_say(hurried: None) -> None:
    run_state_machine_as_test(Ledger, settings=PROFILE)
    with db.reading() as tx:
        assert proof.prove(tx, now_us=0, grace_us=1).findings == []


def seen(examples: int, early: int) -> bool:
    """Whether the machine stumbles within so many examples, drawn from this seed."""
    chosen = settings(
        PROFILE, max_examples=examples, database=None, phases=[Phase.generate], report_multiple_bugs=False
    )
    try:
        run_state_machine_as_test(seed(early)(type("Seeded", (Ledger,), {})), settings=chosen)
    except FOUND:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "right", "wrong", "early"),
    [
        ("END_HOLD", "AND state = 'open'", "", 2),
        ("LOWER_HOLD", "SET amount_micro = %s", "SET amount_micro = 1 + %s", 6),
        ("FIND_ENTRY", "kind = %s", "kind <> %s", 0),
        ("GIVE_BACK", "held_micro - %s WHERE", "held_micro - %s / 2 WHERE", 3),
        ("TAKE_CAPPED", ">= floor_micro", "IS NOT NULL", 2),
        ("MOVE_CAP", "ELSE %s END", "ELSE %s - 1 END", 0),
        ("REFUND_CAP", "posted_micro + %s", "posted_micro + 0 * %s", 5),
        ("GIVEN_BY_HAND", "SUM(a.booked_micro)", "0 * SUM(a.booked_micro)", 3),
    ],
)
def test_a_planted_mistake_is_found(
    hurried: None, monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str, early: int
) -> None:
    """That the machine above sees it; of the store beneath this says nothing, so one is enough.

    `early` is a seed with which it is seen soon. Hypothesis also draws the constants of all modules that are loaded, so what a
    seed means depends on the tests before this one: others are tried after it, few examples each, for most see it early.
    """
    found = getattr(sql, name)
    assert right in found
    monkeypatch.setattr(sql, name, found.replace(right, wrong))
    assert any(seen(25, another) for another in range(early, early + 120))
