"""Diagnostics go after the promised days: texts and timings of calls and attempts, however old they are."""

from __future__ import annotations

from typing import Any

import pytest

from farebox.calls import log, retention
from farebox.kit import db, ids
from farebox.ledger import journal
from farebox.ledger.holds import Purse

pytestmark = pytest.mark.store

DAY_US = 86_400_000_000
START_US = 1_800_000_000_000_000


def called(tx: Any, at_us: int, *, end: bool = True) -> str:
    """A call opened then, ended with an attempt that says what its upstream said."""
    journal.open_account(tx, id="acc_1", kind="customer", currency="USD", floor_micro=-(10**9))
    call = log.CallStart(
        id=ids.new("call", at_us), account="acc_1", project="prj_1", key="key_1", member=None, endpoint="chat",
        model="m", asked="m", stream=False, epoch="ep", currency="USD", limit_tokens=None, price_list="l",
        price_version=1, prices="{}", rule_version=1, opened_us=at_us, purses=(Purse("acc_1"),),
    )  # fmt: skip
    log.open_call(tx, call, 100, lambda _: -1)
    if end:
        attempt = log.AttemptFacts("u", "c", "m", at_us, error="down: what it said", first_byte_us=at_us + 5,
                                   ended_us=at_us + 9)  # fmt: skip
        log.end_call(tx, call, log.CallEnd(
            outcome="failed", rule="R03", status=502, charge_micro=0, usage={}, usage_source="", finish_reason="",
            flags=[], attempts=[attempt], ended_us=at_us + 9, error="told the customer", diagnostics={"ms": 3},
        ))  # fmt: skip
    return call.id


def kept(call: str) -> tuple[bool, bool]:
    """Whether the call, and its attempt, still have their diagnostics; never half of them."""
    from farebox.calls.models import Attempt, Call

    row, attempt = Call.objects.get(id=call), Attempt.objects.get(call_id=call)
    assert (row.diagnostics != "") == (row.error != "")
    assert (attempt.first_byte_us is not None) == (attempt.error != "")
    assert row.rule == "R03"
    return row.error != "", attempt.error != ""


def test_all_older_ones_are_forgotten_in_batches_and_the_newer_kept(instance):
    old = [db.write(called, START_US - days * DAY_US) for days in (400, 200, 131, 91, 90)]
    new = [db.write(called, START_US + days * DAY_US) for days in (0, 5)]
    edge = {"older_than_us": START_US, "at_most": 2}
    assert [db.write(retention.forget, **edge) for _ in range(4)] == [2, 2, 1, 0]
    assert [kept(call) for call in old] == [(False, False)] * 5
    assert [kept(call) for call in new] == [(True, True)] * 2
    assert db.write(retention.forget, older_than_us=START_US + DAY_US) == 1
    assert [kept(call) for call in new] == [(False, False), (True, True)]


def test_a_call_under_way_is_not_passed_over(instance):
    first = db.write(called, START_US)
    db.write(called, START_US + 1, end=False)
    last = db.write(called, START_US + 2)
    assert db.write(retention.forget, older_than_us=START_US + DAY_US) == 1
    assert (kept(first), kept(last)) == ((False, False), (True, True))
    db.write(log.expire, epoch="ep", now_us=START_US + 3)
    assert db.write(retention.forget, older_than_us=START_US + DAY_US) == 2
    assert kept(last) == (False, False)


def test_a_batch_is_found_by_the_primary_key(instance):
    from django.db import connection

    from farebox.calls import sql

    def plan(text: str, params: tuple[Any, ...]) -> str:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("EXPLAIN QUERY PLAN " + text, params)
            else:
                cursor.execute("SET enable_seqscan = off")  # a small table is read whole otherwise
                cursor.execute("EXPLAIN " + text, params)
            return "\n".join(str(row) for row in cursor.fetchall())

    for text, params in (
        (sql.FORGET_CALLS, ("call_1", "call_2")),
        (sql.FORGET_ATTEMPTS, ("call_1", "call_2")),
        (sql.LAST_TO_FORGET, ("call_1", "call_2", 10)),
    ):
        told = plan(text, params)
        assert "Seq Scan on calls_" not in told
        assert "SCAN calls_call\n" not in told
        assert "SCAN calls_attempt" not in told
        assert "ndex" in told or "INDEX" in told
