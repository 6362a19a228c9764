"""The allowance of an account: what is forgiven is bounded, and the books say the same as a reference in plain ints."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farebox.calls import log
from farebox.calls import proof as calls_proof
from farebox.calls.log import CallEnd, CallStart
from farebox.kit import db, epochs, ids
from farebox.ledger import allowance, chart, journal
from farebox.ledger import proof as ledger_proof
from farebox.ledger.allowance import AllowanceTerms
from farebox.ledger.holds import Purse

pytestmark = pytest.mark.store

TERMS = AllowanceTerms(begin_micro=1_000, growth_percent=3, most_micro=1_500)
PRICE = '{"output":1000000}'  # a micro-unit a token
EPOCH = "ep_allowance"
NOW = 1_795_500_000_000_000


class Life:
    """One account on the real store."""

    def __init__(self, account: str, *, given_away: int = 0, paid: int = 0) -> None:
        self.account, self.calls = account, 0
        db.write(self._open, given_away, paid)

    def _open(self, tx: Any, given_away: int, paid: int) -> None:
        if tx.one("SELECT 1 FROM kit_epoch WHERE id = %s", (EPOCH,)) is None:
            epochs.begin(tx, epoch=EPOCH, node="n", now_us=1)
        journal.open_account(tx, id=self.account, kind="customer", currency="USD", floor_micro=0)
        for kind, amount in (("grant", given_away), ("credit", paid)):
            if amount:
                grants = chart.own("grants", "USD")
                journal.post(tx, account=self.account, kind=kind, ref=f"{kind}1", currency="USD", at_us=1,
                             lines=[(self.account, amount), (grants, -amount)])  # fmt: skip

    def call(self, rule: str, usage: int, *, valued: int | None = None, hold: int = 10**5, draws: bool = True,
             terms: AllowanceTerms | None = TERMS) -> dict[str, Any]:  # fmt: skip
        self.calls += 1
        opened = CallStart(
            id=ids.new("call", NOW + self.calls), account=self.account, project="prj", key="key", member=None,
            endpoint="chat", model="m", asked="m", stream=True, epoch=EPOCH, currency="USD", limit_tokens=None,
            price_list="usd", price_version=1, prices=PRICE, rule_version=2, opened_us=NOW, allowance=terms,
            purses=(Purse(self.account),),
        )  # fmt: skip
        free = rule in {"R09", "R14"}
        worth = usage if valued is None else valued
        ended = CallEnd(
            outcome="failed" if rule == "R14" else "served", rule=rule, status=200, charge_micro=0 if free else usage,
            usage={"output": usage} if usage else {}, usage_source="counted", finish_reason="", flags=[], attempts=[],
            ended_us=NOW, value_micro=worth, valued=None if valued is None else {"output": valued},
            most_micro=usage if free else worth, draws=draws, cause="failed",
        )  # fmt: skip

        def run(tx: Any) -> dict[str, Any]:
            log.open_call(tx, opened, hold, lambda available: min(available, hold))
            log.end_call(tx, opened, ended)
            row = log.receipt(tx, opened.id, self.account)
            assert row is not None
            return row

        return db.write(run)

    @property
    def left(self) -> int:
        with db.reading() as tx:
            return allowance.left_micro(tx, self.account, TERMS)

    @staticmethod
    def findings() -> list[str]:
        with db.reading() as tx:
            found = ledger_proof.prove(tx, now_us=NOW, grace_us=0).findings + calls_proof.prove(tx)
        return [each for each in found if each[:3] in {"I07", "I09", "I13", "I33"}]


def test_failed_calls_are_free_until_the_allowance_is_used_and_charged_then(shared_instance):
    life = Life("acc_used", given_away=10_000)
    first, second, third = life.call("R14", 700), life.call("R14", 700), life.call("R14", 700)
    assert [each["charge_micro"] for each in (first, second, third)] == [0, 400, 700]
    assert [each["drawn_micro"] for each in (first, second, third)] == [700, 300, 0]
    assert [each["forgiven_micro"] for each in (first, second, third)] == [700, 300, 0]
    assert "allowance_used" in second["flags"] and "allowance_used" in third["flags"]
    assert life.left == 0
    assert life.findings() == []


def test_it_grows_by_a_share_of_charges_once_money_was_paid(shared_instance):
    granted, paid = Life("acc_granted", given_away=10_000), Life("acc_paid", paid=10_000)
    for life in (granted, paid):
        for _ in range(10):
            life.call("R02", 10)  # a third of a micro-unit each: together they grow as one charge of 100 does
    assert (granted.left, paid.left) == (1_000, 1_003)
    paid.call("R02", 9_000, hold=10_000)
    assert paid.left == 1_273
    assert Life.findings() == []


def test_it_holds_no_more_than_its_maximum_and_growth_that_it_has_no_room_for_is_gone(shared_instance):
    life = Life("acc_full", paid=100_000)
    life.call("R02", 50_000)
    assert life.left == TERMS.most_micro
    life.call("R14", 200)
    assert life.left == TERMS.most_micro - 200
    life.call("R02", 1_000)
    assert life.left == TERMS.most_micro - 170


def test_what_no_hold_covers_draws_too_and_may_bring_it_below_0(shared_instance):
    life = Life("acc_short", given_away=500)
    row = life.call("R02", 2_500, hold=100)
    assert (row["charge_micro"], row["drawn_micro"], row["forgiven_micro"]) == (500, 2_000, 2_000)
    assert "short" in row["flags"]
    assert life.left == -1_000
    with db.reading() as tx:
        assert life.account in allowance.overdrawn(tx)
    assert Life.findings() == []


def test_a_refund_gives_back_what_the_call_drew_once(shared_instance):
    life = Life("acc_back", given_away=10_000)
    life.call("R14", 900)
    row = life.call("R14", 300)  # 100 are left: 200 are charged
    assert (row["charge_micro"], life.left) == (200, 0)
    for _ in range(2):
        db.write(log.give_back, row["id"], life.account, now_us=NOW)
        assert life.left == 100
    assert Life.findings() == []


def test_whom_nothing_is_counted_of_is_forgiven_as_the_rule_says(shared_instance):
    life = Life("acc_trusted", given_away=10_000)
    rows = [life.call("R14", 5_000, terms=None), life.call("R14", 5_000, draws=False)]
    assert [(row["charge_micro"], row["forgiven_micro"], row["drawn_micro"]) for row in rows] == [(0, 5_000, 0)] * 2
    assert life.left == 1_000
    assert Life.findings() == []


ENDS = st.lists(
    st.tuples(st.sampled_from(["R02", "R03", "R09", "R14"]), st.integers(0, 900), st.integers(0, 300), st.booleans()),
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(ENDS, st.booleans())
def test_whatever_ends_how_it_adds_up(shared_instance, ends, paid):
    life = Life(ids.new("acc", NOW), paid=10_000 if paid else 0, given_away=0 if paid else 10_000)
    left, charged = 1_000, 0
    for rule, usage, more, draws in ends:
        row = life.call(rule, usage, valued=usage + more, draws=draws)
        base = 0 if rule in {"R09", "R14"} else usage
        owed = usage + more - base
        drawn = min(owed, left) if draws else 0
        claim = usage if rule in {"R09", "R14"} else usage + more
        charge = base + (max(0, min(claim - base, owed - drawn)) if draws else 0)
        assert (row["charge_micro"], row["drawn_micro"]) == (charge, drawn)
        assert row["forgiven_micro"] == usage + more - charge
        left -= drawn
        if paid and charge:
            share = int(Fraction(3 * (charged + charge), 100)) - int(Fraction(3 * charged, 100))
            if left < TERMS.most_micro or drawn:
                left, charged = min(TERMS.most_micro, left + share), charged + charge
        assert life.left == left
    assert Life.findings() == []
