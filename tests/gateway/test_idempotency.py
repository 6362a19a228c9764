"""`Idempotency-Key`: the same request again is never a second charge (R26, promises 1.15)."""

from __future__ import annotations

import threading

import pytest

from kit.talk import Talk, chat, wait_for

pytestmark = [pytest.mark.store, pytest.mark.rule("R26")]

TOKEN = 10
DAY_US = 86_400_000_000  # promises 1.15: 24 hours


@pytest.fixture
def name(shop):
    shop.reset_health()
    return shop.model("once", {"input": "0", "output": "10"})


def once(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


@pytest.mark.slow
def test_after_the_first_call_has_ended_its_key_is_used_up(me, name):
    first = me.chat(name, "sandbox: tokens=5", headers=once("order-1"))
    again = me.chat(name, "sandbox: tokens=5", headers=once("order-1"))
    assert (first.status, again.status) == (200, 409)
    error = again.json["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "idempotency_conflict")
    assert first.call in error["message"]
    assert again.headers["x-should-retry"] == "false"
    assert "retry-after" not in again.headers
    assert me.balance == (1_000_000 - 5 * TOKEN, 0)
    assert me.get(f"/v1/calls/{again.call}").status == 404
    assert me.receipt(first)["rule"] == "R02"


def test_another_key_of_the_project_is_told_whose_the_receipt_is(shop, me, name):
    from farebox.accounts.keys import key_line
    from farebox.kit import clock
    from kit.shop import Customer

    first = me.chat(name, "sandbox: tokens=5", headers=once("order-1"))
    row, plaintext = shop.write(key_line.rotate, me.key_id, now_us=clock.now_us(), actor="test")
    shop.refresh()
    successor = Customer(shop, me.account, row.id, plaintext)
    again = successor.chat(name, "sandbox: tokens=5", headers=once("order-1"))
    assert again.status == 409
    assert f"/v1/calls/{first.call}, for the API key that made it" in again.json["error"]["message"]
    assert successor.get(f"/v1/calls/{first.call}").status == 404
    assert me.receipt(first)["charge_micro"] == 5 * TOKEN


@pytest.mark.slow
def test_while_the_first_call_runs_the_second_waits(me, name):
    talk = Talk(me, "/v1/chat/completions", chat(name, "sandbox: tokens=40+pace=25", stream=True), headers=once("k"))
    talk.until(b"data: ")
    again = me.chat(name, headers=once("k"))
    assert (again.status, again.json["error"]["code"]) == (409, "idempotency_conflict")
    assert (again.headers["retry-after"], again.headers["x-should-retry"]) == ("1", "true")
    assert talk.call in again.json["error"]["message"]
    talk.rest()
    assert me.receipt(talk.call)["charge_micro"] == 40 * TOKEN


def test_a_key_whose_call_failed_for_nothing_is_free_again(me, name):
    failed = me.chat(name, "sandbox: status=500", headers=once("k"))
    assert failed.status == 502
    assert me.receipt(failed)["rule"] == "R13"
    served = me.chat(name, "sandbox: tokens=5", headers=once("k"))
    assert served.status == 200
    assert me.chat(name, headers=once("k")).status == 409
    assert me.balance == (1_000_000 - 5 * TOKEN, 0)


def test_a_key_whose_stream_broke_off_after_text_is_used_up(shop, me, name):
    broken = me.chat(name, "sandbox: cut=5+tokens=10", stream=True, headers=once("k"))
    assert "error" in broken.events[-1]
    shop.reset_health()
    again = me.chat(name, headers=once("k"))
    assert again.status == 409
    assert again.headers["x-should-retry"] == "false"


def test_a_call_that_was_refused_before_its_hold_uses_no_key(shop, name):
    poor = shop.account("0")
    assert poor.chat(name, headers=once("k")).status == 429
    assert poor.chat(name, headers=once("k")).json["error"]["code"] == "insufficient_quota"


def test_the_scope_is_the_project(shop, me, name):
    other = shop.account("1")
    assert me.chat(name, "sandbox: tokens=5", headers=once("k")).status == 200
    assert other.chat(name, "sandbox: tokens=5", headers=once("k")).status == 200


def test_after_a_day_a_key_is_free_and_no_sooner(shop, me, name):
    from farebox.calls import once as keys
    from farebox.calls.models import Once

    assert me.chat(name, "sandbox: tokens=5", headers=once("k")).status == 200
    row = Once.objects.order_by("-at_us").first()
    Once.objects.filter(id=row.id).update(at_us=row.at_us - DAY_US + 60_000_000)
    assert me.chat(name, "sandbox: tokens=5", headers=once("k")).status == 409
    Once.objects.filter(id=row.id).update(at_us=row.at_us - DAY_US)
    assert me.chat(name, "sandbox: tokens=5", headers=once("k")).status == 200
    Once.objects.filter(id=row.id).update(at_us=row.at_us - DAY_US)
    assert shop.write(keys.forget, now_us=row.at_us - 60_000_000) == 0
    assert shop.write(keys.forget, now_us=row.at_us + 1) == 1
    assert me.chat(name, "sandbox: tokens=5", headers=once("k")).status == 200


@pytest.mark.slow
@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\xe9"], ids=["empty", "long", "tab", "latin"])
def test_what_is_no_key(me, name, key):
    answer = me.chat(name, headers=once(key))
    assert (answer.status, answer.json["error"]["param"]) == (400, None)
    assert me.chat(name, "sandbox: tokens=5", headers=once("x" * 255)).status == 200


def test_of_many_at_once_one_is_served(me, name):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(me.chat(name, "sandbox: tokens=5", headers=once("k"))))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [200] + [409] * 11
    assert me.balance == (1_000_000 - 5 * TOKEN, 0)


@pytest.mark.slow
def test_the_sdk_raises_a_conflict_and_does_not_ask_again(shop, me, name):
    import openai

    client = openai.OpenAI(api_key=me.key, base_url=f"{shop.url}/v1")
    messages = [{"role": "user", "content": "sandbox: tokens=5"}]
    client.chat.completions.create(model=name, messages=messages, extra_headers=once("sdk"))
    asked = len(shop.sandbox.requests)
    with pytest.raises(openai.ConflictError) as conflict:
        client.chat.completions.create(model=name, messages=messages, extra_headers=once("sdk"))
    assert conflict.value.code == "idempotency_conflict"
    assert len(shop.sandbox.requests) == asked
    client.close()


def test_after_a_crash_the_key_is_free_again(shop, me, name):
    """The first call expires at no charge, so the retry is the one that pays."""
    from farebox.calls import log
    from farebox.kit import clock

    talk = Talk(me, "/v1/chat/completions", chat(name, "sandbox: tokens=10+pace=20", stream=True), headers=once("k"))
    talk.until(b"data: ", times=3)
    shop.write(log.expire, epoch=shop.server.ports.shop.epoch, now_us=clock.now_us())
    talk.rest()
    wait_for(lambda: me.balance == (1_000_000, 0))
    assert me.chat(name, "sandbox: tokens=5", headers=once("k")).status == 200
