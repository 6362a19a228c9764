"""Samples of settled calls: counts without text, one a second and model, and factors that come of them (promises 4.2)."""

from __future__ import annotations

import time

import pytest

from farebox.catalog import counting, tokens
from farebox.catalog.models import ModelFactors, Sample
from kit.rows import for_each
from kit.shop import Away
from kit.talk import Talk, chat, wait_for

pytestmark = [pytest.mark.store, pytest.mark.slow]

PRICES = {"input": "1", "output": "2", "cached_read": "1", "reasoning": "2"}
WORDS = "Seven violet kangaroos audit the ledger while 4711 umbrellas sleep quietly."


@pytest.fixture
def model(shop, request):
    return shop.model(f"sampled-{abs(hash(request.node.name))}", PRICES)


def sampled(model: str) -> list[Sample]:
    return list(Sample.objects.filter(model=model).order_by("id"))


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_settled_call_leaves_counts_and_no_text(shop, me, model, stream):
    with shop.sample():
        answer = me.chat(model, WORDS, stream=stream)
    (row,) = sampled(model)
    usage = me.receipt(answer)["usage"]
    assert (row.reported_input, row.reported_output, row.hidden) == (usage["input"], usage["output"], 0)
    assert row.input_vector == str(list(counting.vector([WORDS]))).replace(" ", "")
    assert row.output_vector == str(list(counting.vector([answer.text]))).replace(" ", "")
    assert (row.input_bytes, row.output_bytes) == (len(WORDS), len(answer.text.encode()))
    assert (row.account, row.messages, row.images, row.own_input) == (me.account, 1, 0, None)
    assert row.bound > row.reported_input
    kept = " ".join(str(value) for value in vars(row).values()).lower()
    assert not any(word.strip(".").lower() in kept for word in f"{WORDS} {answer.text}".split() if len(word) > 3)


def test_one_a_second_and_model(shop, me, model):
    other = shop.model(f"{model}-too", PRICES)
    with shop.sample():
        began = time.monotonic()
        for _ in range(3):
            me.chat(model, WORDS)
            shop.loop.run(shop.server.ports.shop.sampler.finish())
        quick = time.monotonic() - began < 1
        me.chat(other, WORDS)
        shop.loop.run(shop.server.ports.shop.sampler.finish())
        assert len(sampled(other)) == 1
        assert len(sampled(model)) == 1 or not quick
        many = len(sampled(model))
        time.sleep(1)
        me.chat(model, WORDS)
    assert len(sampled(model)) == many + 1


def test_hidden_output_is_kept_apart_and_shown_thinking_is_none(shop, me, model):
    with shop.sample():
        me.chat(model, "sandbox: reasoning=40+tokens=9")
    (row,) = sampled(model)
    assert (row.reported_output, row.hidden) == (9, 40)
    time.sleep(1)
    with shop.sample():
        me.chat(model, "sandbox: reasoning=40+reasoning-text+tokens=9", stream=True)
    assert (sampled(model)[1].reported_output, sampled(model)[1].hidden) == (9, 0)


@for_each(
    "behaviour", ["no-usage", "usage=1000000,5", "empty", "only-reasoning", "noterminal", "status=500", "usage-zero"]
)
def test_what_tells_nothing_is_not_taken(shop, me, behaviour):
    name = shop.model(f"sampled-{abs(hash(behaviour))}", PRICES)
    with shop.sample():
        me.chat(name, f"sandbox: {behaviour}", stream=True)
    assert sampled(name) == []


def test_who_leaves_and_the_house_itself_leave_no_sample(shop, me, model):
    from farebox.site import probe

    ports = shop.server.ports
    channel = ports.shop.board.current.candidates(model)[0].channel
    with shop.sample():
        talk = Talk(me, "/v1/chat/completions", chat(model, "sandbox: tokens=200+pace=20", stream=True))
        talk.until(b"data: ", times=5)
        talk.leave()
        wait_for(lambda: me.receipt(talk.call)["outcome"] == "left")
        assert shop.loop.run(probe.call(ports, channel.name, model))["ok"]
    assert sampled(model) == []


def test_a_sample_that_cannot_be_kept_is_nobodys_trouble(shop, me, model):
    store = Away(shop)
    store.mistaken = "add"
    try:
        with shop.sample():
            answer = me.chat(model, WORDS)
    finally:
        shop.server.ports.store = store._store
    assert store.mistakes == 1
    assert (answer.status, me.receipt(answer)["rule"]) == (200, "R02")
    assert sampled(model) == []


def test_what_was_sampled_becomes_the_models_factors(shop, model):
    """Twenty calls of each of three customers over HTTP; then the hourly job, and the model's card has them."""
    from farebox.jobs import schedule

    sampler = shop.server.ports.shop.sampler
    buyers = [shop.account("1") for _ in range(3)]
    with shop.sample():
        for number in range(60):
            sampler._next_us.clear()
            buyers[number % 3].chat(model, WORDS * (1 + number % 5), max_tokens=400)
            shop.loop.run(sampler.finish())
    assert len(sampled(model)) == 60
    assert shop.server.ports.shop.shelf.current.card(model).factors.in_force is False
    shop.loop.run(schedule.learn(schedule.Context(shop.server.ports.store)))
    shop.refresh()
    found = shop.server.ports.shop.shelf.current.card(model).factors
    assert (found.in_force, found.samples, found.accounts) == (True, 60, 3)
    row = sampled(model)[-1]
    answer = found.output.tokens(counting.Vector(*map(int, row.output_vector.strip("[]").split(","))))
    assert answer == pytest.approx(row.reported_output, rel=0.1)
    assert ModelFactors.objects.get(model=model).newest == row.id


def test_a_trusted_account_is_known_as_such(shop, me, model):
    from farebox.accounts.models import Account

    Account.objects.filter(id=me.account).update(trusted=True)
    shop.server.ports.shop.ring.forget_all()
    with shop.sample():
        me.chat(model, WORDS)
    assert [row.trusted for row in sampled(model)] == [True]


def test_a_process_that_takes_calls_has_its_vocabulary(shop, monkeypatch):
    """Loading it in the middle of calls would hold all of them up for half a second."""
    shop.stop()
    monkeypatch.setattr(tokens, "_loaded", {})
    assert counting.heavy(0)
    shop.start()
    assert not counting.heavy(0)
