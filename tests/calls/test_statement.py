"""The statement of a month is the journal of that month, whatever happened in it."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farebox.kit import db
from kit import past

pytestmark = pytest.mark.store

_names = itertools.count(1)
DAY = 86_400_000_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


BEGIN, END = at("2026-01-20"), at("2026-04-10T12:00")
EDGES = [at(f"2026-0{month}-01") for month in (2, 3, 4)]


def account(usd_micro: int = 10**9, now_us: int = BEGIN, time_zone: str = "UTC") -> str:
    from farebox.accounts import accounts
    from farebox.catalog import price_lists
    from farebox.ledger import lots

    def make(tx):
        price_lists.create_list(tx, name="usd", currency="USD", about="", actor="test")
        row, _ = accounts.open_account(
            tx,
            name=f"Statement {next(_names)}",
            currency="USD",
            price_list="usd",
            now_us=now_us,
            actor="test",
            time_zone=time_zone,
        )
        if usd_micro:
            lots.grant(
                tx, account=row.id, currency="USD", amount_micro=usd_micro, ref="first", expires_us=None, now_us=now_us,
                note="", requester="test", single_person=True,
            )  # fmt: skip
        return row.id

    return db.write(make)


def journal(name: str) -> list[tuple[int, str, int]]:
    """(time, kind, amount) of every posting on the account, read from the journal itself."""
    from farebox.ledger.models import Posting

    rows = Posting.objects.filter(account=name).select_related("entry")
    return [(row.entry.at_us, row.entry.kind, row.amount_micro) for row in rows]


def months(name: str, now_us: int = END):
    from farebox.calls import statement

    with db.reading() as tx:
        found = statement.overview(tx, name, now_us=now_us)
        return [statement.read(tx, name, month.month, now_us=now_us) for month in found], found


def compare(name: str, now_us: int = END) -> None:
    booked = journal(name)
    statements, overview = months(name, now_us)
    balance = sum(amount for at_us, _, amount in booked if at_us < overview[0].until_us)
    for made, row in zip(statements, overview, strict=True):
        month = made.month
        of_month = [each for each in booked if month.from_us <= each[0] < month.until_us]
        charged = -sum(amount for _, kind, amount in of_month if kind == "charge")
        assert month.charged_micro == row.charged_micro == charged
        assert sorted((entry.kind, entry.amount_micro) for entry in month.entries) == sorted(
            (kind, amount) for _, kind, amount in of_month if kind != "charge"
        )
        assert month.closing_micro == row.closing_micro == balance
        balance -= sum(amount for _, _, amount in of_month)
        assert month.opening_micro == row.opening_micro == balance
        assert (made.journal_micro, made.postings) == (sum(each[2] for each in of_month), len(of_month))
        assert made.adds_up
        for parts in (month.days, month.models, month.projects):
            assert sum(part.charge_micro for part in parts.values()) == charged
            assert sum(part.calls for part in parts.values()) == month.calls == row.calls
    assert balance == 0  # before its first month the account had nothing


moments = st.one_of(
    st.integers(BEGIN, END - 4_000_000_000),
    # At the edges of months, where a call begins in one and ends in the other.
    st.builds(lambda edge, off: edge + off, st.sampled_from(EDGES), st.integers(-4_000_000_000, 2_000_000)),
)
calls = st.fixed_dictionaries({
    "opened_us": moments,
    "lasted_us": st.integers(0, 3_700_000_000),
    "usage": st.dictionaries(st.sampled_from(["input", "cached_read", "output"]), st.integers(0, 5000)),
    "model": st.sampled_from(["gpt-4", "gpt-4o-mini"]),
    "project": st.sampled_from(["prj_a", "prj_b"]),
    "free": st.booleans(),
    "ends": st.sampled_from([True, True, True, False]),
    "refund_after_us": st.one_of(st.none(), st.integers(0, 40 * DAY)),
})  # fmt: skip
others = st.tuples(
    st.sampled_from(["grant", "expiring", "undone", "expiry"]), moments, st.integers(1, 10**6), st.integers(1, 30 * DAY)
)


def happen(name: str, calls, others) -> None:
    from farebox.calls import log
    from farebox.ledger import lots

    def grant(tx, at_us: int, amount: int, expires_us: int | None) -> str:
        return lots.grant(
            tx, account=name, currency="USD", amount_micro=amount, ref=f"g{next(_names)}", expires_us=expires_us,
            now_us=at_us, note="a gift", requester="test", single_person=True,
        )  # fmt: skip

    def run(tx):
        for kind, at_us, amount, later_us in others:
            if kind == "grant":
                grant(tx, at_us, amount, None)
            elif kind == "expiring":
                grant(tx, at_us, amount, at_us + later_us)
            elif kind == "undone":
                entry = grant(tx, at_us, amount, None)
                lots.reverse(tx, entry=entry, at_us=at_us + later_us, note="", requester="test", single_person=True)
        for facts in sorted(calls, key=lambda each: each["opened_us"]):
            facts = dict(facts)
            after_us, free = facts.pop("refund_after_us"), facts.pop("free")
            call = past.call(tx, name, **facts, rule="R13" if free else "R02", outcome="failed" if free else "served")
            if after_us is not None and facts["ends"]:
                log.give_back(tx, call, name, now_us=facts["opened_us"] + facts["lasted_us"] + after_us)
        for kind, at_us, _, later_us in others:
            if kind == "expiry":
                lots.expire(tx, account=name, currency="USD", now_us=at_us + later_us)

    db.write(run)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    calls=st.lists(calls, max_size=12), others=st.lists(others, max_size=5),
    zone=st.sampled_from([("UTC", 0), ("Asia/Shanghai", -8), ("America/New_York", 5)]),
)  # fmt: skip
def test_a_statement_is_the_journal_of_its_month(shared_instance, calls, others, zone):
    """Months are the account's own: the edges of its months are as many hours off."""
    name, off_us = account(time_zone=zone[0]), zone[1] * 3_600_000_000
    happen(name, [each | {"opened_us": each["opened_us"] + off_us} for each in calls], others)
    compare(name, now_us=END + off_us)
    compare(name, now_us=EDGES[1] + off_us + 1)  # as if it were March: what is booked later is not in it


def test_a_call_across_the_edge_is_charged_in_the_month_in_which_it_ended(shared_instance):
    name = account()
    edge = EDGES[0]
    db.write(past.call, name, opened_us=edge - 1_000_000, lasted_us=2_000_000)
    db.write(past.call, name, opened_us=edge, lasted_us=2_000_000, model="gpt-4")
    (april, march, february, january), _ = months(name)
    assert (january.month.calls, january.month.charged_micro, january.month.days) == (0, 0, {})
    assert february.month.calls == 2
    assert set(february.month.days) == {"2026-01-31", "2026-02-01"}
    assert february.month.closing_micro == march.month.opening_micro == april.month.closing_micro
    compare(name)


def test_a_refund_stands_in_its_own_month_and_the_charge_stays_in_the_other(shared_instance):
    from farebox.calls import log

    name = account()
    call = db.write(past.call, name, opened_us=EDGES[0] - DAY)
    given = db.write(log.give_back, call, name, now_us=EDGES[0] + DAY)
    (_, _, february, january), _ = months(name)
    assert january.month.charged_micro == given > 0
    assert [(entry.kind, entry.ref, entry.amount_micro) for entry in february.month.entries] == [
        ("refund", call, given)
    ]
    assert february.month.charged_micro == 0
    compare(name)


def test_a_call_that_expired_is_in_no_statement(shared_instance):
    from farebox.calls import log

    name = account()
    db.write(past.call, name, opened_us=EDGES[0] - DAY, ends=False)
    db.write(log.expire, epoch=past.EPOCH, now_us=EDGES[0] - DAY + 5_000_000)
    assert all(made.month.calls == 0 for made in months(name)[0])
    compare(name)


def test_a_statement_that_does_not_add_up_says_so(shared_instance):
    from farebox.calls.models import DayTotal

    name = account()
    db.write(past.call, name, opened_us=EDGES[0] + DAY)
    assert DayTotal.objects.filter(account=name).update(charge_micro=1) == 1
    (_, _, february, january), _ = months(name)
    assert january.adds_up
    assert not february.adds_up


def test_an_account_has_the_months_since_its_opening(shared_instance):
    from farebox.calls import statement

    name = account(0, at("2025-11-30"))
    found = [month.month for month in db.read(statement.overview, name, now_us=at("2026-02-01"))]
    assert found == ["2026-02", "2026-01", "2025-12", "2025-11"]
    for unknown in ("2025-10", "2026-03", "2026-2", "none", ""):
        assert db.read(statement.read, name, unknown, now_us=at("2026-02-01")) is None


@pytest.mark.slow
def test_parts_of_a_busy_month_add_up(shared_instance):
    name = account()
    chance = random.Random(5)
    facts = [
        {
            "opened_us": chance.randrange(BEGIN, END - DAY), "lasted_us": chance.randrange(10**7),
            "usage": {"input": chance.randrange(9000), "output": chance.randrange(900)}, "ends": True,
            "model": f"m{chance.randrange(5)}", "project": f"p{chance.randrange(3)}", "free": chance.random() < 0.1,
            "refund_after_us": chance.randrange(20 * DAY) if chance.random() < 0.1 else None,
        }
        for _ in range(300)
    ]  # fmt: skip
    happen(name, facts, [])
    compare(name)
    (_, march, _, _), _ = months(name)
    assert list(march.month.models) == sorted(march.month.models, key=lambda m: -march.month.models[m].charge_micro)
    assert march.month.calls > 50
