"""The public prices: what the table, the files and the history say is what the price list says."""

from __future__ import annotations

import csv
import io
import itertools
from fractions import Fraction

import pytest

from kit import people
from kit.visitor import Page, Visitor

DAY_US = 86_400_000_000
_names = itertools.count(1)


@pytest.fixture
def retail(shop, publish, option):
    """A public list in yuan, derived from the official one at 7.25 with ten percent off; its name."""
    name = f"retail-{next(_names)}"
    publish(name, {"gpt-4o-mini": {"input": "1", "cached_read": "0.5", "output": "4.4"}},
            from_usd_source="official-usd", rate="7.25", factor="0.9")  # fmt: skip
    option(public_price_list=name)
    return name


@pytest.fixture
def insider(shop, publish):
    """A signed-in customer whose account buys by a list of its own, `own-…`, which the public list is not."""
    from farebox.accounts import accounts
    from farebox.kit import clock

    name = f"own-{next(_names)}"
    publish(name, {"gpt-4": {"input": "7", "output": "8"}, "text-embedding-3-small": {"input": "0.5"}}, "USD")
    publish(name, {"gpt-4": {"input": "6", "output": "8"}}, "USD", valid_from_us=clock.now_us() + 3 * DAY_US)
    who = people.customer(shop)
    shop.write(accounts.set_price_list, who.customer.account, price_list=name, actor="test")
    who.price_list = name
    return who


def sheet(shop, name):
    from farebox.catalog import price_lists
    from farebox.kit import clock

    return shop.read(price_lists.show, name, now_us=clock.now_us())


@pytest.mark.slow
def test_every_price_stands_beside_the_official_one(shop, visitor, retail):
    from farebox.kit import money

    page = visitor.page("/prices")
    assert page.status == 200
    assert page.tables[0][0] == ["Model ↑", "Context", "Input", "Cached input", "Output", "vs. official"]
    rows = page.rows()
    own, official = sheet(shop, retail).rows, {(r.model, r.usage_class): r for r in sheet(shop, "official-usd").rows}
    assert set(rows) == {row.model for row in own}
    for row in own:
        cell = rows[row.model][{"input": 1, "cached_read": 2, "output": 3}[row.usage_class]]
        there = official.get((row.model, row.usage_class))
        shown = f"¥{money.text(row.micro_per_million)}"
        if there is None:
            assert cell == shown
        else:
            assert cell == f"{shown} official ${money.text(there.micro_per_million)}"
            assert Fraction(row.micro_per_million, there.micro_per_million) == Fraction("7.25") * Fraction("0.9")
            assert rows[row.model][4] == "10% less"
    assert rows["gpt-4"][0] == "8,192"
    assert rows["gpt-4o-mini"][4] == "–"
    assert "7.25 CNY per USD" in page.text


@pytest.mark.parametrize(
    ("own", "official", "rate", "tenths"),
    [
        (10_000_000, 10_000_000, "1", 0),
        (65_250_000, 10_000_000, "7.25", 100),
        (65_256_000, 10_000_000, "7.25", 99),
        (72_500_001, 10_000_000, "7.25", -1),
        (1, 3, "1", 666),
        (0, 5, "1", 1000),
        (7, 0, "1", None),
    ],
)
def test_a_discount_is_never_overstated(own, official, rate, tenths):
    from farebox.console.prices import pricebook

    assert pricebook.discount_tenths(own, official, rate) == tenths


def test_words_for_discounts(shop, visitor, publish, option):
    publish("words", {
        "gpt-4": {"input": "30", "output": "60"},
        "gpt-4-32k": {"input": "54", "output": "90"},
        "gpt-4-0125-preview": {"input": "11", "output": "33"},
        "gpt-4-1106-preview": {"input": "11", "output": "27"},
    }, "USD")  # fmt: skip
    option(public_price_list="words")
    cells = {name: found[-1] for name, found in visitor.page("/prices").rows().items()}
    assert (cells["gpt-4-0125-preview"], cells["gpt-4-1106-preview"]) == ("–", "10% less")  # no markup is advertised
    assert "official" not in visitor.page("/prices/gpt-4-0125-preview").text
    option(advertise_markup=True)
    rows = visitor.page("/prices").rows()
    assert {name: cells[-1] for name, cells in rows.items()} == {
        "gpt-4": "same", "gpt-4-32k": "10–25% less", "gpt-4-0125-preview": "10% more", "gpt-4-1106-preview": "varies",
    }  # fmt: skip


@pytest.mark.slow
def test_sorted_by_any_column_both_ways(shop, visitor, retail):
    prices = {(row.model, row.usage_class): row.micro_per_million for row in sheet(shop, retail).rows}
    for column, value in {
        "input": lambda name: prices[name, "input"],
        "output": lambda name: prices.get((name, "output")),
        "cached_read": lambda name: prices.get((name, "cached_read")),
    }.items():
        up = list(visitor.page(f"/prices?sort={column}").rows())
        down = list(visitor.page(f"/prices?sort=-{column}").rows())
        for names, sign in ((up, 1), (down, -1)):
            values = [value(name) for name in names]
            known = [each for each in values if each is not None]
            assert known == sorted(known, key=lambda each: sign * each)
            assert values == known + [None] * (len(values) - len(known))
    contexts = [int(each.replace(",", "")) for each in visitor.page("/prices?sort=-context").column(1)]
    assert contexts == sorted(contexts, reverse=True)
    names = list(visitor.page("/prices").rows())
    assert names == sorted(names, key=str.casefold)
    assert list(visitor.page("/prices?sort=none").rows()) == names
    assert list(visitor.page("/prices?sort=-model").rows()) == names[::-1]
    page = visitor.page("/prices?sort=input&q=gpt")
    assert 'aria-sort="ascending"' in page.html
    assert 'href="/prices?q=gpt&amp;sort=-input"' in page.html


def test_searched_and_filtered(shop, visitor, retail):
    from farebox.catalog import definitions

    every = set(visitor.page("/prices").rows())
    assert set(visitor.page("/prices?q=PREVIEW").rows()) == {name for name in every if "preview" in name}
    assert set(visitor.page("/prices?q=gpt+32k").rows()) == {"gpt-4-32k"}
    assert set(visitor.page("/prices?kind=completions").rows()) == {"gpt-3.5-turbo-instruct"}
    assert set(visitor.page("/prices?kind=nonsense").rows()) == every
    assert set(visitor.page("/prices?owner=openai").rows()) == every
    shop.write(definitions.alias, "four", "gpt-4", actor="test")
    assert set(visitor.page("/prices?q=four").rows()) == {"gpt-4"}
    empty = visitor.page("/prices?owner=nobody")
    assert empty.tables == []
    assert "No models match your search." in empty.text


def test_json_and_csv_equal_the_table(shop, visitor, retail):
    for query in ("", "?sort=-output", "?q=preview&sort=input"):
        names = list(visitor.page(f"/prices{query}").rows())
        found = visitor.request("GET", f"/prices.json{query}").json
        lines = list(
            csv.DictReader(io.StringIO(visitor.request("GET", f"/prices.csv{query}").body.decode("utf-8-sig")))
        )
        assert [each["model"] for each in found["models"]] == names
        assert list(dict.fromkeys(line["model"] for line in lines)) == names
        assert (found["price_list"], found["currency"], found["units"]) == (retail, "CNY", 1_000_000)
        in_csv = {(line["model"], line["usage_class"]): line for line in lines}
        in_json = {(each["model"], name): each for each in found["models"] for name in each["prices"]}
        assert in_csv.keys() == in_json.keys()
        for (model, name), line in in_csv.items():
            facts = in_json[model, name]
            assert line["price"] == facts["prices"][name]
            assert line["official_price_usd"] == facts["official_prices_usd"].get(name, "")
            assert line["discount_percent"] == facts["discount_percent"].get(name, "")
            assert int(line["context_tokens"]) == facts["context_tokens"]
    exact = {(row.model, row.usage_class): row.micro_per_million for row in sheet(shop, retail).rows}
    for each in visitor.request("GET", "/prices.json").json["models"]:
        for name, text in each["prices"].items():
            assert Fraction(text) * 1_000_000 == exact[each["model"], name]
    assert exact["gpt-3.5-turbo-0125", "input"] == 3_262_500


def test_names_are_shown_as_text_and_are_no_formula(shop, visitor, publish, option):
    """C05, and no script of a name's or a search's."""
    evil = '=cmd()|"<script>alert(1)</script>'
    shop.model("evil-model", {"input": "1", "output": "2"}, owned_by=evil)
    option(public_price_list="usd")
    for path in ("/prices", "/prices/evil-model", "/prices?q=%22%3E%3Cscript%3Ealert(2)%3C/script%3E", "/estimate"):
        page = visitor.page(path)
        assert page.status == 200
        assert "<script>alert" not in page.html
    assert evil in visitor.page("/prices").text
    lines = list(csv.DictReader(io.StringIO(visitor.request("GET", "/prices.csv?q=evil").body.decode("utf-8-sig"))))
    assert {line["owned_by"] for line in lines} == {f"'{evil}"}
    assert visitor.request("GET", "/prices.json?q=evil").json["models"][0]["owned_by"] == evil


def test_announced_changes_and_history(shop, visitor, retail, publish):
    from farebox.kit import clock

    now_us = clock.now_us()
    publish(retail, {"gpt-4": {"input": "150", "output": "300"}}, valid_from_us=now_us + 30 * DAY_US)
    publish(retail, {"gpt-4": {"input": "180", "output": "391.5"}}, valid_from_us=now_us + 3 * DAY_US)
    publish(retail, {"gpt-4": {"input": "999", "output": "999"}}, valid_from_us=now_us + 9 * DAY_US)
    withdrawn = {"gpt-4": {"input": "180", "output": "391.5"}, "gpt-4-32k": {"input": "1", "output": "1"}}
    publish(retail, withdrawn, valid_from_us=now_us + 9 * DAY_US, remove=["gpt-4o-mini"])
    page = visitor.page("/prices")
    assert "gpt-4 price change" in page.column(0)[[*page.rows()].index("gpt-4")]
    assert "Announced changes" in page.text
    assert "(in 3 days)" in page.text
    assert "Input ¥195.75 → ¥180.00 −8%" in page.text
    assert "999" not in page.text  # withdrawn before its time by the version after it
    assert "gpt-4o-mini Input discontinued" in page.text
    found = {each["model"]: each for each in visitor.request("GET", "/prices.json").json["models"]}
    assert [(each["usage_class"], each["before"], each["after"]) for each in found["gpt-4"]["announced"]] == [
        ("input", "195.75", "180.00"), ("input", "180.00", "150.00"), ("output", "391.50", "300.00"),
    ]  # fmt: skip
    one = visitor.page("/prices/gpt-4")
    assert [(row[0].split()[-1], *row[1:]) for row in one.tables[0][1:]] == [
        ("announced", "¥150.00 −16.7%", "¥300.00 −23.4%", "2"),
        ("announced", "¥180.00 −8%", "¥391.50", "3"),
        ("force", "¥195.75", "¥391.50", "1"),
    ]
    assert '<path class="line l1"' in one.html
    gone = visitor.page("/prices/gpt-4o-mini").tables[0]
    assert "discontinued" not in gone[1][0]  # what was published first for a later day still sells it then
    assert "discontinued" in gone[2][0]
    assert gone[2][1:4] == ["–", "–", "–"]


@pytest.mark.slow
def test_pages_of_models_that_are_not_public(shop, visitor, retail, publish):
    from farebox.catalog import definitions, shelf

    publish("secret", {"text-embedding-3-small": {"input": "1"}})
    assert visitor.page("/prices/text-embedding-3-small").status == 404
    assert visitor.page("/prices/nothing").status == 404
    shop.write(definitions.alias, "vendor/four", "gpt-4", actor="test")
    moved = visitor.page("/prices/vendor/four")
    assert (moved.status, moved.headers["location"]) == (302, "/prices/gpt-4")
    shop.write(shelf.unlist, "gpt-4-32k", "test", "test")
    try:
        assert "gpt-4-32k" not in visitor.page("/prices").rows()
        assert "not on sale" in visitor.page("/prices/gpt-4-32k").text
    finally:
        shop.write(definitions.relist, "gpt-4-32k", actor="test")
    assert "gpt-4-32k" in visitor.page("/prices").rows()


def test_without_a_public_list(shop, visitor, option, retail):
    """What names a list that does not exist names none: another one may be one customer's."""
    option(public_price_list="no-such-list")
    assert "published no prices yet" in visitor.page("/prices").text
    assert visitor.request("GET", "/prices.json").status == 404
    assert visitor.request("GET", "/prices.csv").status == 404
    assert visitor.page("/prices/gpt-4").status == 404
    assert visitor.page("/estimate").status == 200
    assert visitor.page("/status").status == 200


def test_of_several_lists_the_first_stays_public(shop, visitor, option, publish):
    """A new list, with or without prices, takes nothing from the shop until it is chosen."""
    from farebox.catalog import price_lists
    from farebox.kit import settings

    def shown():
        return visitor.request("GET", "/prices.json").json["price_list"]

    option(public_price_list="")
    shop.write(price_lists.create_list, "a-new-one", "USD", actor="test")
    assert shown() == "usd"
    publish("a-new-one", {"gpt-4": {"input": "1", "output": "2"}}, "USD")
    assert shown() == "usd"
    try:
        shop.write(settings.put_all, {"public_price_list": "a-new-one"}, actor="test")
        assert shown() == "a-new-one"
        assert list(visitor.page("/prices").rows()) == ["gpt-4"]
        option(public_price_list="usd")  # the setting comes before the option
        assert shown() == "a-new-one"
    finally:
        shop.write(settings.put_all, {"public_price_list": ""}, actor="test")
    assert shown() == "usd"


def test_new_accounts_go_on_buying_by_the_public_list(shop, option, publish):
    from farebox.accounts.sign_in import signup
    from farebox.catalog import price_lists
    from farebox.kit import settings

    def bought_by(**values):
        shop.write(settings.put_all, values, actor="test")
        found = shop.read(signup.price_list)
        return None if found is None else found.name

    option(public_price_list="")
    shop.write(price_lists.create_list, "empty", "JPY", actor="test")
    publish("later", {"gpt-4": {"input": "1", "output": "2"}}, "JPY")
    try:
        assert bought_by(signup_price_list="") == "usd"
        assert bought_by(signup_currency="JPY") == "later"
        assert bought_by(public_price_list="usd") == "usd"
        assert bought_by(signup_price_list="later") == "later"
        assert bought_by(signup_price_list="gone") is None
    finally:
        shop.write(
            settings.put_all, {"signup_currency": "", "signup_price_list": "", "public_price_list": ""}, actor="test"
        )


@pytest.mark.slow
def test_who_is_signed_in_sees_the_prices_of_his_account(shop, visitor, retail, insider):
    page = insider.page("/prices")
    assert set(page.rows()) == {"gpt-4", "text-embedding-3-small"}
    assert page.rows()["gpt-4"][1].split()[0] == "$7.00"
    assert "Your account's prices: Test" in page.text
    assert "Input $7.00 → $6.00" in page.text
    found = insider.get("/prices.json").json
    assert (found["price_list"], found["currency"]) == (insider.price_list, "USD")
    assert [each["after"] for model in found["models"] for each in model["announced"]] == ["6.00"]
    lines = list(csv.DictReader(io.StringIO(insider.get("/prices.csv").body.decode("utf-8-sig"))))
    assert {line["price_list"] for line in lines} == {insider.price_list}
    one = insider.page("/prices/gpt-4")
    assert [row[1].split()[0] for row in one.tables[0][1:]] == ["$6.00", "$7.00"]
    assert "Your account's prices" in one.text
    assert insider.page("/prices/text-embedding-3-small").status == 200
    assert insider.page("/prices/gpt-4-32k").status == 404
    estimate = insider.page("/estimate?words=750&output=1000&calls=1")
    assert estimate.rows()["gpt-4"][2] == "$0.015"
    assert "Your account's prices" in estimate.text
    first = insider.page("/")
    assert "$7.00" in first.text
    assert "¥" not in first.text
    assert "账户价格" in insider.page("/zh/prices").text
    for path in ("/status", "/guide"):
        assert "gpt-4" in insider.page(path).text
        assert "gpt-4-32k" not in insider.page(path).text
        assert "gpt-4-32k" in visitor.page(path).text


@pytest.mark.slow
def test_prices_of_one_are_never_served_to_another(shop, visitor, retail, insider):
    for path in ("/prices", "/prices/gpt-4", "/prices.json", "/prices.csv", "/estimate?words=750", "/"):
        for who, own in ((insider, True), (visitor, False), (people.operator(shop), False), (insider, True)):
            answer = who.get(path)
            text = answer.body.decode()
            assert answer.status == 200
            assert ("¥" in text or "CNY" in text) is not own, path
            assert ("Your account's prices" in text) is (own and "." not in path)
            assert answer.headers["cache-control"] == "no-store"
            assert "cookie" in answer.headers["vary"].lower()
    other = people.customer(shop)
    assert other.get("/prices.json").json["price_list"] == "usd"


def test_an_account_whose_list_has_no_prices_yet(shop, retail):
    from farebox.accounts import accounts
    from farebox.catalog import price_lists

    who = people.customer(shop)
    shop.write(price_lists.create_list, "to-come", "USD", actor="test")
    shop.write(accounts.set_price_list, who.customer.account, price_list="to-come", actor="test")
    for path in ("/prices", "/estimate", "/"):
        assert "Your account's price list has no prices in force yet." in who.page(path).text
    assert who.get("/prices.json").status == 404
    assert who.page("/status").status == 200


def test_what_is_ours_stays_ours(shop, visitor, publish, option):
    """Who published, why, and with which factor is the operator's own affair."""
    publish(
        "margin", from_usd_source="official-usd", rate="7.25", factor="0.4321", note="the-secret-note", actor="the-boss"
    )
    option(public_price_list="margin")
    for path in ("/prices", "/prices.json", "/prices.csv", "/prices/gpt-4"):
        text = visitor.request("GET", path).body.decode()
        assert not any(word in text for word in ("0.4321", "the-secret-note", "the-boss"))


def test_methods(visitor, retail):
    for path in ("/prices", "/prices.json", "/prices.csv", "/prices/gpt-4"):
        head = visitor.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
    assert visitor.request("POST", "/prices.json", {}).status in {403, 405}


def test_in_chinese(shop, retail):
    page = Page(Visitor(shop, "zh-CN").request("GET", "/prices"))
    assert page.tables[0][0] == ["模型 ↑", "上下文", "输入", "缓存输入", "输出", "与官方价相比"]
    assert page.rows()["gpt-4"] == ["8,192", "¥195.75 官方 $30.00", "–", "¥391.50 官方 $60.00", "便宜 10%"]
    there = Visitor(shop).page("/zh/prices")
    assert there.tables == page.tables
    assert 'href="/zh/prices/gpt-4"' in there.html
    one = Visitor(shop).page("/zh/prices/gpt-4")
    assert "价格历史" in one.text
    assert "现行" in one.tables[0][1][0]
