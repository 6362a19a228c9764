"""The status page: its figures against the receipts of calls that were really made."""

from __future__ import annotations

import statistics

import pytest

from kit.shop import Answer
from kit.talk import Talk, chat
from kit.visitor import Page, Visitor


@pytest.fixture(autouse=True)
def _public(shop, option):
    option(public_price_list="usd")
    shop.reset_health()
    forget()


def forget():
    from farebox.calls import availability

    availability.WATCH.forget()


def cells(page, model):
    """A model's card: its state, two availabilities, and latencies."""
    cards = [each.split("</section>")[0] for each in page.html.split('<section class="card model">')[1:]]
    [card] = [each for each in cards if f">{model}<" in each]
    return Page(Answer(200, {}, card.encode()))


def timed(shop, call):
    """(total, first byte) of a call in milliseconds, by its rows."""
    from farebox.calls.models import Attempt, Call

    row = Call.objects.get(id=call)
    first = Attempt.objects.get(call_id=call, n=row.attempts)
    return (row.ended_us - row.opened_us) // 1000, (first.first_byte_us - row.opened_us) // 1000


def shown(duration_ms):
    return f"{duration_ms} ms" if duration_ms < 1000 else f"{duration_ms // 1000}.{duration_ms // 100 % 10} s"


@pytest.mark.slow
def test_numbers_of_real_calls(shop, visitor):
    me = shop.account("1")
    model = shop.model("status-real", {"input": "1", "output": "1"})
    served = [me.chat(model, f"sandbox: tokens=3+slow=0.0{n}", stream=bool(n % 2)).call for n in range(5)]
    for how in ("status=500", "tokens=20+cut=6"):
        shop.reset_health()
        me.receipt(me.chat(model, f"sandbox: {how}", stream=True))
    assert me.receipt(me.chat(model, "sandbox: status=400"))["rule"] == "R12"
    talk = Talk(me, "/v1/chat/completions", chat(model, "sandbox: tokens=500+pace=10", stream=True))
    talk.until(b"data: ", times=8)
    talk.leave()
    assert me.receipt(talk.call)["rule"] == "R18"
    for call in served:
        assert me.receipt(call)["rule"] == "R02"
    times = [timed(shop, call) for call in served]

    page = visitor.page("/status")
    assert page.status == 200
    card = cells(page, model)
    assert "many calls failing" in card.text
    assert card.text.count("71.42%") >= 2  # 5 of 7, rounded down; who left and who was refused count for neither
    assert "few calls" in card.text
    total, first = (sorted(each[at] for each in times) for at in (0, 1))
    assert total[2] == statistics.median(total)
    for row in card.tables[0][1:]:
        assert row[1:] == [f"{shown(total[2])} p95 {shown(total[4])}", f"{shown(first[2])} p95 {shown(first[4])}"]
    assert "Calls to 1 model are failing" in page.text
    hours = [each for each in page.rows(-2)[model] if each != "–"]
    assert hours == ["71.42%"] or len(hours) == 2  # the hour turned meanwhile
    assert page.rows(-1)[model][-1] == "71.42%"


def test_our_own_tests_do_not_count(shop, visitor):
    model = shop.model("status-house", {"input": "1", "output": "1"})
    shop.loop.run(shop.server._test_channel(actor="test", channel="sandbox", model=model))
    from farebox.calls.models import Call

    assert Call.objects.filter(model=model).count() == 1
    page = visitor.page("/status")
    assert f'<section class="card model">\n<h2><a href="/prices/{model}">' not in page.html
    assert model in page.text.split("No calls in the last 30 days:")[1]


def test_models_of_other_lists_are_not_named(shop, visitor, publish, option):
    me = shop.account("1")
    me.receipt(me.chat("gpt-4", "Hello"))
    publish("small", {"gpt-4-32k": {"input": "1", "output": "1"}})
    option(public_price_list="small")
    page = visitor.page("/status")
    assert "gpt-4-32k" in page.text
    assert ">gpt-4<" not in page.html


def test_it_is_read_at_most_every_30_seconds(shop, visitor, monkeypatch):
    from farebox.calls import availability

    looks = []
    read = availability.read
    monkeypatch.setattr(availability, "read", lambda tx, **span: looks.append(span) or read(tx, **span))
    visitor.page("/status")
    first = len(looks)
    assert first == 24 + 30
    visitor.page("/status")
    assert len(looks) == first
    monkeypatch.setattr(availability, "_KEPT_US", 0)
    visitor.page("/status")
    assert 5 <= len(looks) - first <= 8  # only what is not settled yet


def test_while_nothing_was_called(shop, visitor, monkeypatch):
    from farebox.calls import availability

    monkeypatch.setattr(availability.sql, "ENDED_CALLS", availability.sql.ENDED_CALLS.replace(
        "WHERE", "WHERE 1 = 0 AND"))  # fmt: skip
    page = visitor.page("/status")
    assert "No calls in the last two hours" in page.text
    assert "No calls in the last 30 days" in page.text
    assert "text-embedding-3-small" in page.text


def test_in_chinese(shop):
    me = shop.account("1")
    me.receipt(me.chat("gpt-4", "Hello"))
    page = Page(Visitor(shop, "zh-CN").request("GET", "/status"))
    assert "模型运行" in page.text or "出现失败" in page.text
    assert "数据来自客户的真实调用" in page.text
    assert "最近 24 小时" in cells(page, "gpt-4").text
