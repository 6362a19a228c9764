"""Usage: sums, charts and tables of a span of time agree with the calls, and with what a person may see."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest

import past
import people

DAY = 86_400_000_000
HOUR = 3_600_000_000


def now_us() -> int:
    from farebox.kit import clock

    return clock.now_us()


@pytest.fixture(scope="module")
def team(shop):
    """An owner, an admin and a member with calls of 1 to 4 thousand micro-units on two keys in two projects."""
    from farebox.accounts import keys, projects
    from farebox.accounts.models import Project

    owner = people.customer(shop, "10")
    account = owner.customer.account
    first = Project.objects.get(account=account, name="default").id
    second = shop.write(projects.create, account=account, name="Second", now_us=now_us(), actor="test").id
    member = people.customer(shop, role="member", of=owner)
    admin = people.customer(shop, role="admin", of=owner, project=second)

    def key(project, name, who=None):
        row, _ = shop.write(
            keys.issue, project=project, name=name, models=(), addresses=(), expires_us=None,
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
    return {row[0]: round(float(row[-2].replace(",", "")) * 1_000_000) for row in page.tables[0][1:]}


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
    assert "Tokens in 21" in page.text
    assert "Tokens out 6,000" in page.text
    days = page.tables[1][1:]
    assert len(days) == 7
    assert [row[-1] for row in days if row[1] != "0"] == ["0.003000", "0.003000"]
    assert page.html.count("<title>") == 1 + 3  # the page's own, and one of each bar
    assert "gpt-4 · $0.003" in page.html


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


def test_others_see_nothing(shop, team):
    stranger = people.customer(shop)
    page = look(stranger, key=team["a"][1], project=team["a"][0])
    assert "No calls in this span." in page.text
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
        assert "for you a day begins at 05:30" in look(owner).text
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
