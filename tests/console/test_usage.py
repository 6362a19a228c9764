"""Usage: sums, charts and tables of a span of time agree with the calls, and with what a person may see."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlencode

import pytest

from kit import minting, past, people

DAY = 86_400_000_000
HOUR = 3_600_000_000


def now_us() -> int:
    from farebox.kit import clock

    return clock.now_us()


@pytest.fixture(scope="module")
def team(shop):
    """An owner, an admin and a member with calls of 1 to 4 thousand micro-units on two keys in two projects."""
    from farebox.accounts import projects
    from farebox.accounts.models import Project

    owner = people.customer(shop, "10")
    account = owner.customer.account
    first = Project.objects.get(account=account, name="default").id
    second = shop.write(projects.create, account=account, name="Second", now_us=now_us(), actor="test").id
    member = people.customer(shop, role="member", of=owner)
    admin = people.customer(shop, role="admin", of=owner, project=second)

    def key(project, name, who=None):
        row, _ = shop.write(
            minting.issue, project=project, name=name, models=(), addresses=(), expires_us=None,
            member=who, now_us=now_us(), actor="test",
        )  # fmt: skip
        return row.id

    facts = {"a": (first, key(first, "alpha", member.member), member.member), "b": (second, key(second, "beta"), None)}

    def call(which, at_us, micro, model):
        project, ident, who = facts[which]
        shop.write(
            past.call, account, opened_us=at_us, usage={"input": 7, "output": micro}, prices={"output": 1_000_000},
            key=ident, project=project, member=who, model=model,
        )  # fmt: skip

    midnight = now_us() // DAY * DAY
    call("a", now_us() - 2_000_000, 1000, "gpt-4")
    call("b", now_us() - 2_000_000, 2000, "gpt-4o-mini")
    call("a", midnight - 3 * DAY + HOUR, 3000, "gpt-4")
    call("b", midnight - 50 * DAY + HOUR, 4000, "gpt-4")
    return {"owner": owner, "member": member, "admin": admin, "a": facts["a"], "b": facts["b"], "midnight": midnight}


def look(person, **query):
    page = person.page("/console/usage?" + urlencode(query))
    assert page.status == 200
    return page


def charged(page) -> int:
    found = re.search(r'class="answer">\$([\d.,]+)<', page.html)
    return round(float(found[1].replace(",", "")) * 1_000_000)


def parts(page) -> dict[str, int]:
    rows = page.tables[0][1:] if page.tables else []
    return {row[0]: round(float(row[-2].replace(",", "")) * 1_000_000) for row in rows}


@pytest.mark.slow
def test_spans(team):
    owner = team["owner"]
    assert charged(look(owner)) == charged(look(owner, span="30d")) == charged(look(owner, span="7d")) == 6000
    assert charged(look(owner, span="90d")) == 10_000
    assert charged(look(owner, span="24h")) == 3000
    assert charged(look(owner, span="nonsense", by="nonsense")) == 6000
    day = past_day(team["midnight"] - 50 * DAY)
    assert charged(look(owner, **{"span": "dates", "from": day, "until": day})) == 4000
    assert charged(look(owner, **{"span": "dates", "from": "x", "until": day})) == 6000
    assert charged(look(owner, **{"span": "dates", "from": "0001-01-01", "until": "0001-01-02"})) == 6000
    assert charged(look(owner, **{"span": "dates", "from": "9999-12-30", "until": "9999-12-31"})) == 0
    wide = look(owner, **{"span": "dates", "from": "1999-01-01", "until": past_day(team["midnight"])})
    assert charged(wide) == 10_000
    assert len(wide.tables[1]) == 1 + 92


def past_day(at_us: int) -> str:
    from farebox.calls import log

    return log.day_of(at_us)


@pytest.mark.slow
def test_ways(team):
    owner = team["owner"]
    assert parts(look(owner, by="model")) == {"gpt-4": 4000, "gpt-4o-mini": 2000}
    assert parts(look(owner, by="key")) == {"alpha": 4000, "beta": 2000}
    assert parts(look(owner, by="project")) == {"default": 4000, "Second": 2000}
    assert sorted(parts(look(owner, by="member")).values()) == [2000, 4000]
    assert "no member" in parts(look(owner, by="member"))
    assert parts(look(owner, by="model", key=team["a"][1])) == {"gpt-4": 4000}
    assert parts(look(owner, by="key", model="gpt-4o-mini")) == {"beta": 2000}
    assert parts(look(owner, by="key", project=team["b"][0])) == {"beta": 2000}
    hours = look(owner, span="48h", by="member")
    assert sorted(parts(hours).values()) == [1000, 2000]
    assert len(hours.tables[1]) == 1 + 48


def test_sums_calls_and_tokens_and_the_table_beside_the_chart(team):
    page = look(team["owner"], span="7d")
    assert "Calls 3" in page.text
    assert "Input tokens 21" in page.text
    assert "Output tokens 6,000" in page.text
    days = page.tables[1][1:]
    assert len(days) == 7
    assert [row[-1] for row in days if row[1] != "0"] == ["0.003000", "0.003000"]
    assert page.html.count("<title>") == 1 + 3  # the page's own, and one of each bar
    assert "gpt-4 · $0.003" in page.html


@pytest.mark.slow
def test_each_sees_what_is_his(team):
    assert charged(look(team["member"], span="90d")) == 4000
    assert charged(look(team["admin"], span="90d")) == 6000
    assert charged(look(team["member"], span="48h")) == 1000
    assert charged(look(team["admin"], span="48h")) == 2000
    foreign = look(team["admin"], by="key", key=team["a"][1])
    assert parts(foreign) == {"beta": 2000}  # a key that is not his to see is no filter
    assert "alpha" not in foreign.html
    assert "alpha" in look(team["member"], by="key").html
    assert "Second" not in look(team["member"], by="project").html


def ids_of(page, name: str) -> list[str]:
    select = re.search(rf'<select id="{name}".*?</select>', page.html)
    return re.findall(r'<option value="([^"]+)"', select[0]) if select else []


@pytest.mark.slow
def test_usage_of_one_member(team):
    who = team["member"].member
    page = look(team["owner"], member=who, span="90d")
    assert charged(page) == 4000
    assert f'value="{who}" selected' in page.html
    assert f"Member: Person {team['member'].email[:4]}" in page.text
    assert charged(look(team["owner"], member=who, span="48h")) == 1000
    assert parts(look(team["owner"], member=who, by="key")) == {"alpha": 4000}
    of_member = team["owner"].page(f"/console/team/members/{who}").html
    link = unescape(re.search(r'href="(/console/usage\?member=[^"]+)"', of_member)[1])
    assert charged(team["owner"].page(link)) == 4000
    assert who in ids_of(look(team["owner"]), "member")
    foreign = look(team["admin"], member=who, span="90d")  # not a member of his project: as if it had not been said
    assert charged(foreign) == 6000
    assert f'value="{who}"' not in foreign.html
    assert ids_of(look(team["member"]), "member") == []


def test_dates_mean_a_span_of_dates(team):
    owner, day = team["owner"], past_day(team["midnight"] - 50 * DAY)
    page = look(owner, **{"span": "30d", "from": day, "until": day})
    assert charged(page) == 4000
    assert f'name="from" type="date" value="{day}"' in page.html
    assert charged(look(owner, **{"from": day, "until": day})) == 4000
    assert charged(look(owner, **{"from": day})) == 10_000  # until today
    assert charged(look(owner, until=day)) == 4000
    shown = re.search(r'name="shown" value="([^"]+)"', page.html)[1]
    other = look(owner, **{"span": "7d", "from": day, "until": day, "shown": shown})  # the dates were the page's own
    assert charged(other) == 6000
    assert 'name="shown"' not in other.html
    assert (
        charged(look(owner, **{"span": "7d", "from": day, "until": past_day(team["midnight"]), "shown": shown}))
        == 10_000
    )


def logs(page) -> dict[str, str]:
    """Where the rows of the table lead to."""
    body = re.findall(r'<tr><th scope="row">(?:<a href="[^"]*">)?<bdi[^>]*>([^<]*)</bdi>(.*?)</tr>', page.html)
    found = {name: re.search(r'href="(/console/calls\?[^"]*)"', rest) for name, rest in body}
    return {name: unescape(link[1]) for name, link in found.items() if link}


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
@pytest.mark.parametrize("span", ["24h", "7d", "90d"])
@pytest.mark.parametrize("way", ["model", "key", "project", "member"])
def test_each_row_leads_to_its_calls(team, way, span, zone):
    from farebox.accounts.models import Person

    owner, own = team["owner"], {"project": team["a"][0]}
    Person.objects.filter(id=owner.person).update(time_zone=zone)
    try:
        for only in ({}, own, {"key": team["a"][1]}, {"model": "gpt-4"}, {"member": team["member"].member}):
            page = look(owner, by=way, span=span, **only)
            amounts, links = parts(page), logs(page)
            assert set(links) == set(amounts) - {"no member"}
            for name, link in links.items():
                listed = owner.page(link)
                charges = [round(float(row[-1]) * 1_000_000) for row in listed.tables[0][1:]]
                assert sum(charges) == amounts[name], link
    finally:
        Person.objects.filter(id=owner.person).update(time_zone="UTC")


def test_the_log_of_days_that_are_over_ends_with_them(team):
    day = past_day(team["midnight"] - 50 * DAY)
    (link,) = logs(look(team["owner"], **{"from": day, "until": day, "by": "key"})).values()
    assert link.endswith(f"key={team['b'][1]}&from={day}&until={day}")


@pytest.mark.slow
def test_keys_of_the_playground_are_no_choice(shop, team):
    from farebox.accounts.models import ApiKey

    owner = team["owner"]
    assert team["b"][1] in ids_of(look(owner), "key")
    ApiKey.objects.filter(id=team["b"][1]).update(kind="playground")
    try:
        assert team["b"][1] not in ids_of(look(owner), "key") + ids_of(owner.page("/console/calls"), "key")
        assert parts(look(owner, by="key")) == {"alpha": 4000, "beta": 2000}
        assert "beta" in owner.page("/console/calls").text
        assert charged(look(owner, key=team["b"][1])) == 2000
    finally:
        ApiKey.objects.filter(id=team["b"][1]).update(kind="")


def test_the_figures_of_the_stacked_chart_are_a_table_too(team):
    page = look(team["owner"], span="7d")
    grid = page.tables[2]
    assert grid[0] == ["Day (UTC)", "gpt-4", "gpt-4o-mini"]
    assert len(grid) == 1 + 7
    assert grid[1][1:] == ["0.001000", "0.002000"]
    assert [sum(round(float(row[column]) * 1_000_000) for row in grid[1:]) for column in (1, 2)] == [4000, 2000]
    today = grid[1][0]
    assert f'tabindex="0" aria-label="{today[5:]} · gpt-4 $0.001 · gpt-4o-mini $0.002"' in page.html
    assert page.html.count('<g role="img" tabindex="0"') == 2
    assert len(look(team["member"], span="7d").tables) == 2  # one series is in the table of days
    assert len(look(team["owner"], span="24h").tables[2]) == 1 + 24


@pytest.mark.slow
def test_somebody_with_several_places_sees_all_of_them(shop, team):
    from farebox.accounts.models import Person
    from farebox.accounts.people import people as persons

    owner = team["owner"]
    admin = people.customer(shop, role="admin", of=owner, project=team["a"][0])
    shop.write(
        persons.add_member, account=owner.customer.account, person=admin.person, role="admin", project=team["b"][0],
        now_us=now_us(), actor="test",
    )  # fmt: skip
    assert parts(look(admin, by="project")) == {"default": 4000, "Second": 2000}
    assert parts(look(admin, by="key", project=team["b"][0])) == {"beta": 2000}
    assert ids_of(look(admin), "project") == [team["b"][0], team["a"][0]]
    assert charged(look(admin, span="24h")) == 3000
    assert len(admin.page("/console/calls").tables[0]) == 1 + 4
    assert len(admin.get("/console/calls.json").json) == 4
    assert len(admin.page(f"/console/calls?project={team['b'][0]}").tables[0]) == 1 + 2
    for call in admin.get("/console/calls.json").json:
        assert admin.get(f"/console/calls/{call['id']}").status == 200
    assert "alpha" in admin.page("/console/").text
    assert "beta" in admin.page("/console/").text
    both = Person.objects.get(id=team["admin"].person)  # an admin there, and a member here without calls of his own
    shop.write(
        persons.add_member, account=owner.customer.account, person=both.id, role="member", project=team["a"][0],
        now_us=now_us(), actor="test",
    )  # fmt: skip
    assert charged(look(team["admin"], span="90d")) == 6000
    assert parts(look(team["admin"], by="key", project=team["a"][0])) == {}


def test_others_see_nothing(shop, team):
    stranger = people.customer(shop)
    page = look(stranger, key=team["a"][1], project=team["a"][0])
    assert "No calls in this period." in page.text
    answer = people.Visitor(shop).get("/console/usage")
    assert answer.status == 302
    assert stranger.send("/console/usage", {}).status == 405


def test_hours_are_those_of_the_person(shop, team):
    from farebox.accounts.models import Person

    owner = team["owner"]
    Person.objects.filter(id=owner.person).update(time_zone="Asia/Kolkata")
    try:
        page = look(owner, span="24h")
        assert "Hour (Asia/Kolkata)" in page.text
        assert charged(page) == 3000
        assert "in yours they start at 05:30" in look(owner).text
    finally:
        Person.objects.filter(id=owner.person).update(time_zone="UTC")


def test_what_was_given_back_is_in_no_sum(shop):
    from farebox.accounts.models import Project
    from farebox.calls import log

    owner = people.customer(shop, "10")
    account = owner.customer.account
    project = Project.objects.get(account=account).id
    call = shop.write(past.call, account, opened_us=now_us() - 3_000_000, key=owner.customer.key_id, project=project)
    assert charged(look(owner)) == charged(look(owner, span="24h")) == 390
    shop.write(log.give_back, call, account, now_us=now_us())
    assert charged(look(owner)) == charged(look(owner, span="24h")) == 0
    assert "Calls" in look(owner).html  # the call itself still counts


def test_days_are_those_of_the_account(shop):
    """A call just after midnight in Kiritimati is of the new day there, while in UTC it is yesterday."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from farebox.accounts.models import Account

    zone = "Pacific/Kiritimati"
    owner = people.customer(shop, "10")
    me = owner.customer
    Account.objects.filter(id=me.account).update(time_zone=zone)
    begin = datetime.now(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    opened_us = int(begin.timestamp()) * 1_000_000 - 20 * DAY
    shop.write(past.call, me.account, opened_us=opened_us + 1, usage={"output": 1000}, prices={"output": 10**6})
    shop.write(past.call, me.account, opened_us=opened_us - 1, usage={"output": 1000}, prices={"output": 10**6})
    page = look(owner, span="30d")
    assert f"Day ({zone})" in page.text
    spent = [row[0] for row in page.tables[1][1:] if row[1] != "0"]
    days = [datetime.fromtimestamp(at_us / 1_000_000, ZoneInfo(zone)).date() for at_us in (opened_us, opened_us - 1)]
    assert spent == [day.isoformat() for day in days]
    at = spent[0]
    assert charged(look(owner, **{"span": "dates", "from": at, "until": at})) * 2 == charged(page) > 0
