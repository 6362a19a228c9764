"""The request log: pages by cursor, filters, whose calls are seen, and never more than so many rows read a page."""

from __future__ import annotations

import itertools
import random

import pytest

from farebox.kit import db
from kit import minting, past

pytestmark = pytest.mark.store

NOW = 1_790_000_000_000_000
_names = itertools.count(1)


@pytest.fixture(scope="module")
def many(shared_instance):
    """An account with two projects, five keys, two members and 300 calls; as (account, projects, keys, members)."""
    from farebox.accounts import accounts, projects
    from farebox.accounts.people import people
    from farebox.catalog import price_lists
    from farebox.kit import settings
    from farebox.ledger import lots

    who = {"now_us": NOW - 10**12, "actor": "test"}
    chance = random.Random(7)

    def make(tx):
        settings.ensure_installation(tx)
        price_lists.create_list(tx, name="usd", currency="USD", about="", actor="test")
        account, first = accounts.open_account(tx, name="Many", currency="USD", price_list="usd", **who)
        lots.grant(tx, account=account.id, currency="USD", amount_micro=10**10, ref="g", expires_us=None, note="",
                   requester="test", single_person=True, now_us=NOW - 10**12)  # fmt: skip
        second = projects.create(tx, account=account.id, name="second", **who)
        members = []
        for number in range(2):
            person = people.create(tx, email=f"m{number}@example.com", name="", password_hash=None, **who)
            members.append(
                people.add_member(tx, account=account.id, person=person.id, role="member", project=first.id, **who).id
            )
        rows = []
        for number in range(5):
            row, _ = minting.issue(
                tx, project=(second if number == 4 else first).id, name=f"k{number}", models=(), addresses=(),
                expires_us=None, member=members[number] if number < 2 else None, **who,
            )  # fmt: skip
            rows.append((row.id, row.project_id, row.member_id))
        made = []
        for number in range(300):
            key, project, member = rows[chance.randrange(5)]
            free = chance.random() < 0.1
            at_us = NOW - (300 - number) * 3_600_000_000
            ident = past.call(
                tx, account.id, opened_us=at_us, key=key, project=project, member=member,
                model=chance.choice(["gpt-4", "gpt-4o-mini"]), usage={"input": chance.randrange(1, 90_000)},
                rule="R13" if free else "R02", outcome="failed" if free else "served",
            )  # fmt: skip
            made.append(ident)
        other, _ = accounts.open_account(tx, name="Other", currency="USD", price_list="usd", **who)
        return account.id, (first.id, second.id), [row[0] for row in rows], members, made, other.id

    return db.write(make)


def collect(scope, wanted=None, limit=7):
    """Every call, page by page; each page keeps its promises."""
    from farebox.calls import search

    wanted = wanted or search.Wanted()
    out, before = [], None
    for _ in range(1000):
        found = db.read(search.page, scope, wanted, before=before, limit=limit)
        assert len(found.rows) <= limit
        out += found.rows
        assert found.looked_until_us is None or len(found.rows) < limit
        if found.after is None:
            return out
        assert before is None or found.after < before, "a page goes on where the one before ended"
        before = found.after
    raise AssertionError("the pages have no end")


def part(account, *, project=None, member=None):
    """The scope of one project's or one member's calls."""
    from farebox.calls.scope import CallScope

    return CallScope(
        account, projects=frozenset({project} if project else ()), members=frozenset({member} if member else ())
    )


def rows_of(**fields):
    from farebox.calls.models import Call

    return list(Call.objects.filter(**fields).order_by("-id").values_list("id", flat=True))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 7, 50, 300, 301])
def test_pages_show_each_call_once_newest_first(many, limit):
    from farebox.calls.scope import CallScope

    assert [row.id for row in collect(CallScope(many[0]), limit=limit)] == many[4][::-1]


def test_each_sees_what_is_his(many):
    from farebox.calls.scope import CallScope

    account, projects, _, members, _, other = many
    assert [row.id for row in collect(part(account, project=projects[1]))] == rows_of(project=projects[1])
    assert [row.id for row in collect(part(account, member=members[0]))] == rows_of(member=members[0])
    assert len(rows_of(member=members[0])) > 10
    for nothing in (CallScope(other), part(account, project="prj_none"), part(other, project=projects[0]),
                    part(account, member="mem_none"), part(other, member=members[0])):  # fmt: skip
        assert collect(nothing) == []


@pytest.mark.slow
@pytest.mark.parametrize("few_keys", [True, False], ids=["by key", "by account"])
def test_who_has_several_places_sees_all_of_them(many, few_keys, monkeypatch):
    from farebox.calls import search, totals
    from farebox.calls.models import Call
    from farebox.calls.scope import CallScope

    if not few_keys:
        monkeypatch.setattr(search, "KEYS_MAX", 0)
    account, projects, _, members, _, _ = many
    calls = list(Call.objects.filter(account=account).order_by("-id").values())
    for scope in (
        CallScope(account, projects=frozenset({projects[1]}), members=frozenset({members[0]})),
        CallScope(account, projects=frozenset(projects)),
        CallScope(account, members=frozenset(members)),
        CallScope(account, projects=frozenset(), members=frozenset()),
    ):
        places = {*(scope.projects or ()), *(scope.members or ())}
        within = [row for row in calls if places & {row["project"], row["member"]}]
        assert [row.id for row in collect(scope)] == [row["id"] for row in within]
        assert [row["id"] for row in calls if scope.sees(row)] == [row["id"] for row in within]
        days = db.read(totals.days, scope, from_day="2000-01-01", until_day="2100-01-01")
        assert sum(sums.charge_micro for sums in days.values()) == sum(row["charge_micro"] or 0 for row in within)
    both = CallScope(account, projects=frozenset({projects[1]}), members=frozenset({members[0]}))
    for wanted, fields in (
        (search.Wanted(project=projects[0]), {"project": projects[0], "member": members[0]}),
        (search.Wanted(member=members[0]), {"member": members[0]}),
        (search.Wanted(project=projects[1]), {"project": projects[1]}),
        (search.Wanted(member=members[1]), {"member": "another's"}),
    ):
        assert [row.id for row in collect(both, wanted)] == rows_of(account=account, **fields), wanted


@pytest.mark.slow
@pytest.mark.parametrize("few_keys", [True, False], ids=["by key", "by account"])
@pytest.mark.parametrize("look", [20_000, 13], ids=["", "short looks"])
def test_filters(many, few_keys, look, monkeypatch):
    from farebox.calls import search
    from farebox.calls.delivery import first_from
    from farebox.calls.scope import CallScope
    from farebox.calls.search import Wanted

    monkeypatch.setattr(search, "LOOK_MAX", look)
    monkeypatch.setattr(search, "_LOOK_LEAST", min(look, 400))
    if not few_keys:
        monkeypatch.setattr(search, "KEYS_MAX", 1)
    account, projects, keys, members, _, _ = many
    from_us, until_us = NOW - 200 * 3_600_000_000, NOW - 150 * 3_600_000_000
    cases = [
        (Wanted(key=keys[3]), {"key": keys[3]}),
        (Wanted(project=projects[1]), {"project__exact": projects[1]}),
        (Wanted(member=members[1]), {"member": members[1]}),
        (Wanted(member=members[1], key=keys[0]), {"member": members[1], "key": keys[0]}),
        (Wanted(model="gpt-4"), {"model": "gpt-4"}),
        (Wanted(outcome="failed"), {"outcome": "failed"}),
        (Wanted(rule="R13", model="gpt-4"), {"rule": "R13", "model": "gpt-4"}),
        (Wanted(least_micro=12_000), {"charge_micro__gte": 12_000}),
        (Wanted(least_micro=300, most_micro=400), {"charge_micro__gte": 300, "charge_micro__lte": 400}),
        (Wanted(from_us=from_us, until_us=until_us), {"id__gte": first_from(from_us), "id__lt": first_from(until_us)}),
        (Wanted(model="none"), {"model": "none"}),
        (Wanted(key="key_none"), {"key": "key_none"}),
    ]
    for scope, own in ((CallScope(account), {}), (part(account, project=projects[0]), {"project": projects[0]})):
        for wanted, fields in cases:
            assert [row.id for row in collect(scope, wanted)] == rows_of(account=account, **own, **fields), wanted


def test_a_page_reads_no_more_than_it_may(many, monkeypatch):
    from farebox.calls import search
    from farebox.calls.scope import CallScope
    from farebox.calls.search import Wanted

    monkeypatch.setattr(search, "LOOK_MAX", 40)
    found = db.read(search.page, CallScope(many[0]), Wanted(model="none"), before=None, limit=10)
    assert found.rows == ()
    assert found.after == many[4][-40]  # the fortieth from the end: so far it has looked
    assert found.looked_until_us is not None


def test_what_came_after_the_first_page_disturbs_no_page(many):
    from farebox.calls import search
    from farebox.calls.scope import CallScope
    from farebox.calls.search import Wanted

    first = db.read(search.page, CallScope(many[0]), Wanted(), before=None, limit=20)
    late = db.write(past.call, many[0], opened_us=NOW + 10, key=many[2][0], project=many[1][0], ends=False)
    try:
        second = db.read(search.page, CallScope(many[0]), Wanted(), before=first.after, limit=20)
        assert [row.id for row in (*first.rows, *second.rows)] == many[4][:-41:-1]
        newest = db.read(search.page, CallScope(many[0]), Wanted(), before=None, limit=1).rows[0]
        assert (newest.id, newest.outcome, newest.charge_micro) == (late, "open", None)
    finally:
        many[4].append(late)


def test_totals_by_day_and_by_hour_are_the_calls(many):
    from collections import Counter
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    from farebox.calls import log, totals
    from farebox.calls.models import Call
    from farebox.calls.scope import CallScope

    account, projects, keys, members, _, _ = many
    rows = list(Call.objects.filter(account=account).exclude(outcome="open").values())
    span = {"from_day": log.day_of(NOW - 20 * 86_400_000_000), "until_day": log.day_of(NOW)}
    for scope, own in (
        (CallScope(account), lambda row: True),
        (part(account, project=projects[1]), lambda row: row["project"] == projects[1]),
        (part(account, member=members[1]), lambda row: row["member"] == members[1]),
    ):
        for way in ("", *totals.WAYS):
            calls, charges = Counter(), Counter()
            for row in filter(own, rows):
                spot = (log.day_of(row["opened_us"]), (row[way] or "") if way else "")
                calls[spot] += 1
                charges[spot] += row["charge_micro"]
            table = db.read(totals.by_day, scope, way=way, **span)
            assert {spot: sums.calls for spot, sums in table.items()} == dict(calls)
            assert {spot: sums.charge_micro for spot, sums in table.items()} == dict(charges)
    only = db.read(totals.by_day, CallScope(account), way="model", **span, only={"key": keys[2]})
    assert sum(sums.calls for sums in only.values()) == sum(row["key"] == keys[2] for row in rows)

    zone = ZoneInfo("Asia/Kolkata")  # half an hour beside everybody's
    from_us, until_us = NOW - 30 * 3_600_000_000, NOW
    for scope, own in ((CallScope(account), lambda row: True),
                       (part(account, member=members[0]), lambda row: row["member"] == members[0])):  # fmt: skip
        table, complete = db.read(totals.by_hour, scope, way="member", from_us=from_us, until_us=until_us, zone=zone)
        assert complete
        expected = Counter()
        for row in filter(own, rows):
            if from_us <= row["opened_us"] < until_us:
                at = datetime.fromtimestamp(row["opened_us"] // 10**6, UTC).astimezone(zone)
                begin = int(at.replace(minute=0, second=0).timestamp()) * 10**6
                expected[begin, row["member"] or ""] += row["charge_micro"]
        assert {spot: sums.charge_micro for spot, sums in table.items()} == dict(expected)


def test_what_a_dead_process_left_open_is_in_no_hour(many):
    from zoneinfo import ZoneInfo

    from farebox.calls import totals
    from farebox.calls.models import Call
    from farebox.calls.scope import CallScope

    span = {"way": "", "from_us": NOW - 30 * 3_600_000_000, "until_us": NOW, "zone": ZoneInfo("UTC")}
    row = Call.objects.filter(account=many[0], opened_us__gte=span["from_us"]).exclude(outcome="open").first()
    before = sum(sums.calls for sums in db.read(totals.by_hour, CallScope(many[0]), **span)[0].values())
    try:
        Call.objects.filter(id=row.id).update(flags="expired")
        assert sum(sums.calls for sums in db.read(totals.by_hour, CallScope(many[0]), **span)[0].values()) == before - 1
    finally:
        Call.objects.filter(id=row.id).update(flags=row.flags)


def test_a_busy_span_of_hours_says_that_it_is_cut(many, monkeypatch):
    from zoneinfo import ZoneInfo

    from farebox.calls import totals
    from farebox.calls.scope import CallScope

    monkeypatch.setattr(totals, "HOURLY_CALLS_MAX", 10)
    table, complete = db.read(
        totals.by_hour,
        CallScope(many[0]),
        way="",
        from_us=NOW - 40 * 3_600_000_000,
        until_us=NOW - 1,
        zone=ZoneInfo("UTC"),
    )
    assert not complete
    assert sum(sums.calls for sums in table.values()) == 10


def test_the_first_receipt_seen_is_kept_once(many):
    from farebox.calls import receipts

    account, call = many[5], many[4][0]
    assert not db.read(receipts.seen, account)
    assert db.write(receipts.saw, account, call, now_us=NOW)
    assert not db.write(receipts.saw, account, many[4][1], now_us=NOW)
    assert db.read(receipts.seen, account)


def test_exports_are_counted_by_the_minute(many):
    from farebox.calls import export

    def wait(person: str, now_us: int) -> int:
        return export.take(None, person, now_us=now_us)

    minute = 28_000_000 * 60_000_000
    assert [wait("per_1", minute + 1_000_000) for _ in range(6)] == [0] * 6
    assert wait("per_1", minute + 1_000_000) == 59
    assert wait("per_2", minute + 1_000_000) == 0
    assert wait("per_1", minute + 60_000_000) == 0
