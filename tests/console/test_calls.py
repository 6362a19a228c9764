"""The request log, receipts and exports over HTTP: what is shown, to whom, and that every receipt recomputes."""

from __future__ import annotations

import csv
import io
import re
import uuid
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farebox.catalog.usage import CLASSES
from kit import minting, past, people

DAY = 86_400_000_000


def now_us() -> int:
    from farebox.kit import clock

    return clock.now_us()


@pytest.fixture(scope="module")
def me(shop):
    return people.customer(shop, "100")


def project_of(person) -> str:
    from farebox.accounts.models import Project

    return Project.objects.get(account=person.customer.account, name="default").id


def made(shop, person, **facts) -> str:
    own = {"opened_us": now_us() - 5_000_000, "key": person.customer.key_id, "project": project_of(person)}
    return shop.write(past.call, person.customer.account, **own | facts)


def number(text: str) -> Fraction:
    return Fraction(text.replace("\u2007", "").replace(",", "").replace("$", "").replace("−", "-").strip())


@pytest.mark.slow
def test_a_real_call_and_its_receipt(shop, me):
    answer = me.customer.chat("gpt-4o-mini", "Hello")
    receipt = me.customer.receipt(answer)
    page = me.page(f"/console/calls/{answer.call}")
    assert page.status == 200
    assert answer.call in page.text
    assert (
        f"Recomputed from usage, prices and rule: {receipt['charge']['amount']}, the same as the charge." in page.text
    )
    assert f"Price list {receipt['price_list']}, version {receipt['price_version']}" in page.text
    assert f"Rule R02 of version {receipt['rule_version']}" in page.text
    assert "The answer is complete." in page.text
    assert answer.call in me.get("/console/calls").body.decode()


usages = st.dictionaries(st.sampled_from(CLASSES[:7]), st.integers(0, 2_000_000), max_size=5)
prices = st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 10**9), max_size=8)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    usage=usages, prices=prices, free=st.booleans(), hold_micro=st.one_of(st.none(), st.integers(0, 10**6)),
    refunded=st.booleans(),
)  # fmt: skip
def test_every_receipt_on_screen_recomputes(shop, me, usage, prices, free, hold_micro, refunded):
    from farebox.calls import log
    from farebox.calls.models import Call
    from farebox.kit import money

    due_micro = money.per_million_up(sum(units * prices.get(name, 0) for name, units in usage.items()))
    if hold_micro is None and due_micro > 50_000_000:
        hold_micro = 1_000_000
    call = made(
        shop, me, usage=usage, prices=prices, hold_micro=hold_micro, rule="R14" if free else "R02",
        outcome="failed" if free else "served",
    )  # fmt: skip
    if refunded:
        shop.write(log.give_back, call, me.customer.account, now_us=now_us())
    charge_micro = Call.objects.get(id=call).charge_micro
    table = me.page(f"/console/calls/{call}").tables[0]
    heads = {re.sub(r"\d.*", "", row[0]).strip(): row for row in table[1:]}
    lines = [row for row in table[1:] if " × " in row[0]]
    exact = Fraction(0)
    for row in lines:
        found = re.search(r"([\d,]+) × \$([\d.,]+)", row[0])
        assert found, row
        amount = number(found[1]) * number(found[2]) / 1_000_000
        assert amount == number(row[1])
        exact += amount
    assert len(lines) == sum(1 for units in usage.values() if units)
    assert number(heads["Charge"][1]) * 1_000_000 == charge_micro
    if lines:
        assert number(heads["Total, exact"][1]) == exact
        rounded = -(-exact * 1_000_000 // 1)
        assert number(heads["Rounded up to"][1]) * 1_000_000 == rounded
        limit = (
            0 if free else number(heads["At most the hold"][1]) * 1_000_000 if "At most the hold" in heads else rounded
        )
        assert min(limit, rounded) == charge_micro
    else:
        assert charge_micro == 0
    if refunded and charge_micro:
        assert number(heads["Refunded"][1]) * 1_000_000 == -charge_micro


def test_a_receipt_that_does_not_recompute_says_that_it_is_our_mistake(shop):
    from farebox.calls.models import Call

    person = people.customer(shop, "1")
    call = made(shop, person)
    before = Call.objects.get(id=call).charge_micro
    Call.objects.filter(id=call).update(charge_micro=before - 1)
    try:
        assert "That is our mistake" in person.page(f"/console/calls/{call}").text
    finally:
        Call.objects.filter(id=call).update(charge_micro=before)


def test_nothing_of_upstreams_is_shown(shop, me):
    call = made(shop, me, attempts=3, flags=("estimated", "hold_used_up"))
    page = me.page(f"/console/calls/{call}")
    assert "secret-" not in page.html
    assert [row[0].split()[0] for row in page.tables[1][1:]] == ["1", "2", "3"]
    assert "this upstream has no capacity" in page.text
    assert "We counted the usage" in page.text
    assert "because the hold was used up" in page.text
    listed = me.get(f"/console/calls.json?key={me.customer.key_id}").body + me.get("/console/calls").body
    assert b"secret-" not in listed


def test_a_running_call(shop):
    person = people.customer(shop, "1")
    call = made(shop, person, ends=False)
    page = person.page(f"/console/calls/{call}")
    assert "still running" in page.text
    assert "Available once the call has ended." in page.text
    assert "running" in person.page("/console/calls?outcome=open").text
    from farebox.calls import log

    shop.write(log.expire, epoch=past.EPOCH, now_us=now_us())
    assert "Rule R15" in person.page(f"/console/calls/{call}").text


@pytest.mark.slow
def test_each_sees_what_is_his_own_and_what_is_foreign_does_not_exist(shop):
    from farebox.accounts import projects

    owner = people.customer(shop, "10")
    account = owner.customer.account
    second = shop.write(projects.create, account=account, name="second", now_us=now_us(), actor="test").id
    member = people.customer(shop, role="member", of=owner)
    admin = people.customer(shop, role="admin", of=owner)
    other_admin = people.customer(shop, role="admin", of=owner, project=second)
    stranger = people.customer(shop, "1")

    def key(project, member=None):
        row, _ = shop.write(
            minting.issue, project=project, name=uuid.uuid4().hex[:6], models=(), addresses=(), expires_us=None,
            member=member, now_us=now_us(), actor="test",
        )  # fmt: skip
        return row.id

    first = project_of(owner)
    calls = {
        "member's": made(shop, owner, key=key(first, member.member), project=first, member=member.member),
        "project's": made(shop, owner, key=key(first), project=first),
        "other project's": made(shop, owner, key=key(second), project=second),
    }
    sees = {
        owner: set(calls), admin: {"member's", "project's"}, other_admin: {"other project's"},
        member: {"member's"}, stranger: set(),
    }  # fmt: skip
    for person, seen in sees.items():
        log = person.get("/console/calls").body.decode()
        exported = person.get("/console/calls.csv").body.decode("utf-8-sig")
        for name, call in calls.items():
            assert (call in log) == (call in exported) == (name in seen)
            assert person.get(f"/console/calls/{call}").status == (200 if name in seen else 404)
            looked = person.get(f"/console/calls?id={call}")
            assert looked.status == (302 if name in seen else 200)
    for absent in ("call_" + "0" * 25, "call_1", "nonsense", calls["member's"][:-1], "..%2F.."):
        assert owner.get(f"/console/calls/{absent}").status == 404
    own = calls["member's"]
    for path in ("/console/calls", f"/console/calls/{own}", "/console/calls.csv", "/console/calls.json"):
        answer = people.Visitor(shop).get(path)
        assert answer.status == 302
        assert answer.headers["location"].startswith("/account/")
        assert owner.send(path, {}).status == 405


@pytest.mark.slow
def test_search_pages_and_bad_input(shop):
    from farebox.accounts.models import Person

    person = people.customer(shop, "10")
    made_calls = [
        made(shop, person, opened_us=now_us() - 5 * DAY + number * 1_000_000, model="gpt-4" if number % 2 else "gpt-4o-mini",
             usage={"input": 1_000_000 if number == 7 else 10})
        for number in range(60)
    ]  # fmt: skip
    failed = made(shop, person, outcome="failed", rule="R13", usage={})

    def listed(path):
        page = person.page(path)
        assert page.status == 200
        return re.findall(r'/console/calls/(call_\w{25})"', page.html), page

    rows, page = listed("/console/calls")
    assert rows == [failed, *made_calls[:-50:-1]]
    older = re.search(r'rel="next" href="([^"]+)"', page.html)[1].replace("&amp;", "&")
    assert listed("/console/calls" + older)[0] == made_calls[10::-1]
    assert listed("/console/calls?outcome=failed")[0] == [failed]
    assert listed("/console/calls?rule=R13")[0] == [failed]
    assert listed("/console/calls?model=gpt-4&least=0")[0] == made_calls[::-1][::2]
    assert listed("/console/calls?least=0.1")[0] == [made_calls[7]]
    assert listed("/console/calls?most=0&outcome=served")[0] == []
    assert listed(f"/console/calls?key={person.customer.key_id}&model=gpt-4o-mini")[0] == [
        failed,
        *made_calls[::-1][1::2],
    ]
    Person.objects.filter(id=person.person).update(time_zone="Asia/Shanghai")
    from datetime import datetime
    from zoneinfo import ZoneInfo

    day = datetime.fromtimestamp((now_us() - 5 * DAY) / 1e6, ZoneInfo("Asia/Shanghai")).strftime("%Y-%m-%d")
    assert set(listed(f"/console/calls?from={day}&until={day}")[0]) <= set(made_calls)
    assert listed("/console/calls?until=2020-01-01")[0] == []
    for bad in ("from=yesterday", "until=2026-13-01", "least=x", "most=1e99", "most=0.0000001", "key=key_of_nobody",
                "outcome=splendid", "from=0001-01-01", "from=9999-12-31", "until=9999-12-31"):  # fmt: skip
        page = person.page("/console/calls?" + bad)
        assert page.status == 200, bad
    assert "is invalid" in person.page("/console/calls?least=x").text
    assert listed("/console/calls?before=nonsense")[0] == rows
    assert "No call has this ID" in person.page("/console/calls?id=call_x").text
    assert person.get("/console/calls?model=%00&rule=%27").status == 400
    assert person.get("/console/calls?model=%01&rule=%27").status == 200


@pytest.mark.slow
def test_the_log_of_a_project_and_of_a_member(shop):
    from farebox.accounts import projects

    owner = people.customer(shop, "10")
    account, first = owner.customer.account, project_of(owner)
    second = shop.write(projects.create, account=account, name="=second", now_us=now_us(), actor="test").id
    member = people.customer(shop, role="member", of=owner)
    admin = people.customer(shop, role="admin", of=owner, project=second)
    row, _ = shop.write(
        minting.issue, project=first, name="his", models=(), addresses=(), expires_us=None, member=member.member,
        now_us=now_us(), actor="test",
    )  # fmt: skip
    other, _ = shop.write(
        minting.issue, project=second, name="there", models=(), addresses=(), expires_us=None, now_us=now_us(),
        actor="test",
    )  # fmt: skip
    his = made(shop, owner, key=row.id, project=first, member=member.member)
    there = made(shop, owner, key=other.id, project=second)
    mine = made(shop, owner)
    name = f"Person {member.email[:4]}"

    def found(person, query):
        page = person.page("/console/calls" + query)
        assert page.status == 200
        listed = re.findall(r'/console/calls/(call_\w{25})"', page.html)
        assert [each["id"] for each in person.get("/console/calls.json" + query).json or []] == listed
        return set(listed)

    assert found(owner, f"?project={second}") == {there}
    assert found(owner, f"?project={first}") == {his, mine}
    assert found(owner, f"?member={member.member}") == {his}
    page = owner.page(f"/console/calls?member={member.member}&project={first}")
    assert f'value="{member.member}" selected' in page.html
    assert f'value="{first}" selected' in page.html
    assert f"his Project: default Member: {name}" in page.text
    for person, query in ((admin, f"?project={first}"), (admin, f"?member={member.member}"), (member, f"?project={second}"),
                          (owner, "?project=prj_none"), (owner, "?member=mem_none")):  # fmt: skip
        assert "is invalid" in person.page("/console/calls" + query).text
        assert person.get("/console/calls.csv" + query).status == 400
    assert 'id="member"' not in member.page("/console/calls").html  # no choice
    lines = {
        line["id"]: line
        for line in csv.DictReader(io.StringIO(owner.get("/console/calls.csv").body.decode("utf-8-sig")))
    }
    assert (lines[his]["project_name"], lines[his]["key_name"], lines[his]["member"]) == (
        "default",
        "his",
        member.member,
    )
    assert (lines[his]["member_name"], lines[mine]["member_name"], lines[mine]["member"]) == (name, "", "")
    assert lines[there]["project_name"] == "'=second"
    objects = {each["id"]: each for each in owner.get("/console/calls.json").json}
    assert (objects[his]["member_name"], objects[his]["project_name"], objects[mine]["member"]) == (
        name,
        "default",
        None,
    )


def test_the_log_between_two_minutes(shop):
    from datetime import UTC, datetime

    person = people.customer(shop, "10")
    noon = now_us() // DAY * DAY - DAY + DAY // 2
    calls = [made(shop, person, opened_us=noon + minutes * 60_000_000) for minutes in (-1, 0, 29, 30)]
    begin, end = (
        datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M") for at_us in (noon, noon + 30 * 60_000_000)
    )
    page = person.page(f"/console/calls?from={begin}&until={end}")
    assert set(re.findall(r'/console/calls/(call_\w{25})"', page.html)) == set(calls[1:3])
    assert f'name="from" type="datetime-local" value="{begin}"' in page.html
    assert "is invalid" in person.page("/console/calls?from=2026-11-24T25:00").text


@pytest.mark.slow
def test_exports_are_the_log(shop):
    person = people.customer(shop, "10")
    calls = [
        made(shop, person, model="=cmd|' /C calc'!A0" if number == 3 else "gpt-4", opened_us=now_us() - (20 - number) * DAY)
        for number in range(20)
    ]  # fmt: skip
    answer = person.get("/console/calls.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.body.startswith(b"\xef\xbb\xbf")  # else spreadsheets show Chinese as gibberish
    assert "content-length" not in answer.headers
    assert "attachment" in answer.headers["content-disposition"]
    lines = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert [line["id"] for line in lines] == calls[::-1]
    assert lines[-4]["model"].startswith("'=")
    assert {line["charge"] for line in lines} == {"0.000390"}
    objects = person.get("/console/calls.json").json
    assert [each["id"] for each in objects] == calls[::-1]
    assert {each["charge_micro"] for each in objects} == {390}
    assert objects[0]["usage"] == {"input": 1200, "output": 350}
    assert person.get("/console/calls.json?model=none").json == []
    assert person.get("/console/calls.csv?model=none").body.count(b"\n") == 1
    assert person.get("/console/calls.csv?least=x").status == 400


@pytest.mark.slow
def test_six_exports_a_minute(shop, monkeypatch):
    from farebox.calls import export

    monkeypatch.setattr(export, "_MINUTE_US", 3_600_000_000_000)  # so that no minute ends in the middle
    person, other = people.customer(shop), people.customer(shop)
    assert [person.get("/console/calls.csv").status for _ in range(6)] == [200] * 6
    refused = person.get("/console/calls.json")
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 0
    assert other.get("/console/calls.csv").status == 200


def test_the_log_of_who_has_none(shop):
    page = people.customer(shop).page("/console/calls")
    assert "No calls yet." in page.text
    assert page.tables == []


def test_in_chinese(shop, me):
    call = made(shop, me)
    page = me.page(f"/zh/console/calls/{call}")
    assert "收据" in page.text
    assert "与扣费一致" in page.text
    assert '"/zh/console/calls"' in page.html
