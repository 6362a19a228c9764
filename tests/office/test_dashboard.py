"""The first page of the office: what came in, what it cost, what is left, and what waits."""

from __future__ import annotations

import pytest

from kit import people

pytestmark = [pytest.mark.store, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _healthy(shop):
    shop.reset_health()


def tables(page):
    """The tables of the page by the head of their first column."""
    return {table[0][0]: {row[0]: row[1:] for row in table[1:]} for table in page.tables}


def shown(micro):
    from farebox.look.templatetags.look import money

    return money(micro, "USD")


def exact(micro):
    from farebox.look.templatetags.look import exact

    return exact(micro)


def test_margin_of_real_calls(shop, operator):
    from farebox.calls.models import Attempt, DayTotal
    from farebox.calls.models import Call as Row

    me = shop.account("1")
    model = shop.model("dash-real", {"input": "10", "output": "30"})
    calls = [me.chat(model, "sandbox: tokens=7", stream=bool(n % 2)).call for n in range(3)]
    charge_micro = sum(me.receipt(call)["charge_micro"] for call in calls)
    cost_micro = sum(Attempt.objects.filter(call_id__in=calls).values_list("cost_micro", flat=True))
    assert charge_micro > cost_micro > 0
    assert Row.objects.filter(model=model).count() == 3
    page = operator().page("/office/?span=1")
    found = tables(page)["Model"][model]
    left_micro = charge_micro - cost_micro
    percent = left_micro * 1000 // charge_micro
    assert found == ["3", exact(charge_micro), exact(cost_micro), exact(left_micro), f"{percent // 10}.{percent % 10}%"]
    everything = DayTotal.objects.all()
    spend_micro = sum(row.charge_micro for row in everything)
    assert f'class="value">{shown(spend_micro)}<' in page.html
    assert tables(page)["Upstream"]["sandbox"][1] == exact(spend_micro)
    assert sum(int(row[0]) for row in tables(page)["Customer"].values()) == sum(row.calls for row in everything)


def test_our_own_tests_cost_and_earn_nothing(shop, operator):
    model = shop.model("dash-house", {"input": "1", "output": "1"})
    shop.loop.run(shop.server._test_channel(actor="test", channel="sandbox", model=model))
    row = tables(operator().page("/office/?span=1"))["Model"][model]
    assert row[0] == "1"
    assert row[1] == "0.000000"
    assert row[2] != "0.000000"
    assert row[3].startswith("−")
    assert row[4] == "–"


def test_a_cost_in_another_currency(shop, operator):
    """Converted by the rate of a price list in force; without one it stays apart, and there is no margin."""
    from farebox.calls.log import day_of
    from farebox.calls.models import DayTotal
    from farebox.kit import clock

    facts = {"day": day_of(clock.now_us()), "project": "p", "key": "k", "currency": "CHF", "calls": 1,
             "input_tokens": 1, "output_tokens": 1, "account": "acc_dash"}  # fmt: skip
    rows = [
        DayTotal(id="dash1", model="known", channel="a", cost_currency="CHF", charge_micro=5_000_000, cost_micro=2_000_000, **facts),
        DayTotal(id="dash2", model="unknown", channel="b", cost_currency="SEK", charge_micro=5_000_000, cost_micro=3_000_000, **facts),
        DayTotal(id="dash3", model="free", channel="b", cost_currency="SEK", charge_micro=5_000_000, cost_micro=0, **facts),
    ]  # fmt: skip
    DayTotal.objects.bulk_create(rows)
    page = operator().page("/office/?span=7&currency=CHF")
    found = tables(page)["Model"]
    assert found["known"] == ["1", "5.000000", "2.000000", "3.000000", "60.0%"]
    assert found["unknown"] == ["1", "5.000000", "0.000000 + SEK 3.00", "–", "–"]
    assert found["free"] == ["1", "5.000000", "0.000000", "5.000000", "100.0%"]
    assert "no exchange rate" in page.text
    DayTotal.objects.filter(id__in=["dash1", "dash2", "dash3"]).delete()


def test_conversion_rounds_up_and_needs_a_rate():
    from fractions import Fraction

    from farebox.calls.margins import convert

    rates = {"CNY": Fraction("7.25")}
    assert convert(1, "USD", "CNY", rates) == 8
    assert convert(8, "CNY", "USD", rates) == 2
    assert convert(1_000_000, "USD", "CNY", rates) == 7_250_000
    assert convert(5, "SEK", "SEK", {}) == 5
    assert convert(5, "SEK", "USD", rates) is None
    assert convert(5, "USD", "SEK", rates) is None
    assert convert(0, "SEK", "USD", {}) == 0


def test_many_models_end_in_others(shop, operator):
    from farebox.calls.log import day_of
    from farebox.calls.models import DayTotal
    from farebox.kit import clock

    rows = [
        DayTotal(id=f"many{n}", day=day_of(clock.now_us()), account="acc_many", project="p", key="k", model=f"m{n:02}",
                 channel="c", currency="NOK", cost_currency="NOK", calls=1, charge_micro=n + 1, cost_micro=0,
                 input_tokens=1, output_tokens=1)
        for n in range(20)
    ]  # fmt: skip
    DayTotal.objects.bulk_create(rows)
    found = tables(operator().page("/office/?currency=NOK"))["Model"]
    assert len(found) == 13
    assert found["others"][:2] == ["8", "0.000036"]  # 1 + … + 8 millionths
    DayTotal.objects.filter(currency="NOK").delete()


def test_support_sees_no_cost(shop, operator):
    shop.account("1").chat("gpt-4o-mini", "Hello")
    page = operator("support").page("/office/")
    assert page.status == 200
    assert "Spend" in page.text
    for word in ("Cost", "Margin"):
        assert word not in page.text
    for role in ("finance", "auditor", "admin"):
        assert "Margin" in operator(role).page("/office/").text


@pytest.mark.parametrize(
    "query", ["span=31", "span=-1", "span=x", "currency=%00", "currency=<b>", "span=30&currency=ZZZ"]
)
def test_queries_that_are_nonsense(operator, query):
    page = operator().page(f"/office/?{query}")
    assert page.status == (400 if "%00" in query else 200)  # a NUL is refused before any page
    assert "<b>" not in page.html


def test_open_holds(shop, operator):
    from farebox.kit import clock
    from farebox.ledger.models import Hold

    before = operator().page("/office/").html
    assert ">Open holds<" in before
    now_us = clock.now_us()
    Hold.objects.create(
        id="call_dash_hold", account="acc_none", purses="acc_none", amount_micro=0, state="open",
        epoch="ep_none", placed_us=now_us - 2 * 3_600_000_000,
    )  # fmt: skip
    page = operator().page("/office/")
    assert "2 hours ago" in page.text
    assert "A hold has been open for more than an hour" in page.text
    Hold.objects.filter(id="call_dash_hold").delete()


def test_tasks_appear_and_go(shop, operator, option):
    from farebox.kit import secrets
    from farebox.upstreams import channels
    from farebox.upstreams.models import Channel

    admin = operator()
    assert "These models have a channel but no price" not in admin.page("/office/").text
    from farebox.catalog import definitions
    from farebox.kit import clock

    shop.write(
        definitions.define_model, name="dash-unpriced", owned_by="t", kinds=["chat"], modalities=["text"],
        context_tokens=1000, output_tokens_max=100, hidden_output=False, tokenizer="", image_formula="",
        input_overhead_tokens=0, classes=["input", "output"], actor="test", now_us=clock.now_us(),
    )  # fmt: skip
    shop.offer("sandbox", "dash-unpriced")
    assert "These models have a channel but no price: dash-unpriced." in admin.page("/office/").text
    lonely = shop.model("dash-lonely", {"input": "1", "output": "1"})
    shop.write(channels.withdraw, channel="sandbox", model=lonely, actor="test")
    assert "no active channel serves them: dash-lonely." in admin.page("/office/").text
    shop.offer("sandbox", lonely)
    assert "dash-lonely" not in admin.page("/office/").text.split("By upstream")[0]
    sealed = Channel.objects.get(name="sandbox").secret
    other = secrets.seal({1: b"x" * 32}, "no", table="upstreams_channel", column="secret", row="another")
    Channel.objects.filter(name="sandbox").update(secret=other)
    assert "The secrets of these channels can't be decrypted. Enter them again: sandbox." in admin.page("/office/").text
    Channel.objects.filter(name="sandbox").update(secret=sealed)
    shop.write(channels.set_state, channel="sandbox", state="disabled", actor="test")
    assert "No channel is active" in admin.page("/office/").text
    shop.write(channels.set_state, channel="sandbox", state="active", actor="test")
    shop.refresh()
    option(single_person=False)
    from farebox.accounts.models import Person

    Person.objects.filter(operator_role="admin").exclude(id=admin.person).update(operator_role="auditor")
    assert "Changes need two administrators, but there is only one." in admin.page("/office/").text
    option(single_person=True)
    assert "Add a second administrator" in admin.page("/office/").text


def test_what_the_newest_calls_tell(shop, operator, monkeypatch):
    from farebox.calls import watch

    admin = operator()
    page = admin.page("/office/").text
    assert "implausible usage" not in page
    assert "were free" not in page
    me = shop.account("1")
    disputed = shop.model("dash-disputed", {"input": "1", "output": "1"})
    me.chat(disputed, "sandbox: usage=900,3+tokens=3")
    assert me.chat(disputed, "sandbox: tokens=3").status == 200
    other = shop.model("dash-other", {"input": "1", "output": "1"})
    me.chat(other, "sandbox: substitute=quite-another")
    page = admin.page("/office/").text
    assert "counted it ourselves: dash-disputed." in page
    assert "than requested: dash-other." in page
    monkeypatch.setattr(watch, "FREE_OF", 10)
    monkeypatch.setattr(watch, "FREE_MOST", 2)
    shop.rules(1)  # by version 2 the allowance bounds what is free
    for number in range(10):
        me.chat(disputed, "sandbox: empty" if number < 2 else "sandbox: tokens=1")
    assert "were free" not in admin.page("/office/").text
    for _ in range(3):
        me.chat(disputed, "sandbox: empty")
    assert "of the last 10 calls with the key test were free" in admin.page("/office/").text
    shop.rules(2)


def test_a_model_that_went_off_sale_by_itself(shop, operator):
    from farebox.catalog import definitions

    admin, me = operator(), shop.account("1")
    model = shop.model("dash-unpriced-class", {"input": "1", "output": "1"})
    shop.rules(1)  # by version 2 no report takes a model off the shelf
    me.chat(model, "sandbox: cached=4+tokens=5\nHello there, how are you?")
    shop.rules(2)
    assert "went off sale: dash-unpriced-class." in admin.page("/office/").text
    shop.write(definitions.relist, model, actor="test")
    assert "went off sale" not in admin.page("/office/").text


def test_what_the_doctor_found(shop, operator):
    from farebox.kit import settings

    shop.write(settings.keep, settings.DOCTOR, {"wrong": [{"check": "balances", "seen": "x", "todo": "y"}]})
    assert "found problems: balances." in operator().page("/office/").text
    shop.write(settings.keep, settings.DOCTOR, {"wrong": []})
    assert "found problems" not in operator().page("/office/").text


def test_messages_that_were_given_up(shop, operator):
    from farebox.kit import clock, outbox

    def give_up(tx):  # in one transaction, before the post looks
        name = outbox.mail(tx, to="nobody@example.com", subject="A", text="A")
        outbox.failed(
            tx, outbox.OutboxMessage(name, "mail", {}, 1), fault="550 nobody", for_good=True, now_us=clock.now_us()
        )

    admin = operator()
    assert "could not be delivered" not in admin.page("/office/").text
    shop.write(give_up)
    assert "1 e-mail or webhook could not be delivered." in admin.page("/office/").text
    shop.write(outbox.forget, now_us=clock.now_us() + outbox.KEEP_US + 1_000_000)
    assert "could not be delivered" not in admin.page("/office/").text


def test_a_channel_that_rests(shop, operator):
    me = shop.account("1")
    model = shop.model("dash-rests", {"input": "1", "output": "1"})
    shop.rest(shop.server.ports.shop.board.current.candidates(model)[0].channel)
    page = operator().page("/office/")
    assert "These channels are tripped after repeated failures: sandbox." in page.text
    for _ in range(10):
        shop.reset_health()
        me.chat(model, "sandbox: status=500")
    shop.reset_health()
    page = operator().page("/office/")
    assert "tripped after repeated failures" not in page.text
    assert "All recent calls on these channels failed: sandbox." in page.text
    for _ in range(10):
        me.chat(model, "Hello")
    assert "All recent calls" not in operator().page("/office/").text


def test_parts(operator):
    for role in ("admin", "support", "finance", "auditor"):
        page = operator(role).page("/office/parts")
        assert page.status == 200
    assert "Ensure this value has at most 4 characters" in page.text
    assert page.html.count('<figure class="chart"') == 2


def test_in_chinese(shop, operator):
    page = people.operator(shop, "admin", "zh-CN").page("/office/")
    for words in ("总览", "消费", "成本", "毛利", "待办"):
        assert words in page.text
