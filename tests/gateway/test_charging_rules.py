"""The charging rules (promises 3.1), each ended over HTTP and read from the receipt."""

from __future__ import annotations

import json
import socket
import time

import pytest

from kit.receipts import START, broken_off, complete, ended, own_input, own_output, pair, sandboxed
from kit.rows import for_each
from kit.talk import Talk, canned, chat, http, on_sale, wait_for

pytestmark = pytest.mark.usefixtures("rules_1")

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
# gpt-4 costs 30 micro-USD a token of input and 60 a token of output.


@pytest.fixture(autouse=True)
def _healthy(shop):
    shop.reset_health()


# R01


REFUSED = {
    "no-key": ({"headers": {"Authorization": ""}}, 401, "invalid_api_key"),
    "bad-key": ({"headers": {"Authorization": "Bearer sk-" + "x" * 48}}, 401, "invalid_api_key"),
    "no-model": ({"model": "gpt-none"}, 404, "model_not_found"),
    "malformed": ({"temperature": "hot"}, 400, None),
    "unpriced": ({"service_tier": "priority"}, 400, "unsupported_parameter"),
    "too-long": ({"text": "word " * 9000}, 400, "context_length_exceeded"),
    "wrong-endpoint": ({"model": "text-embedding-3-small"}, 404, "model_not_found"),
}


@pytest.mark.rule("R01")
@BOTH
@for_each("case", REFUSED)
def test_r01_refused_by_us(shop, me, case, stream):
    params, status, code = REFUSED[case]
    counts = shop.counts()
    answer = me.chat(**{"model": "gpt-4", "stream": stream, **params})
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert shop.counts() == counts
    assert me.balance == (START, 0)
    assert me.get(f"/v1/calls/{answer.call}").status == 404


@pytest.mark.rule("R01")
@BOTH
def test_r01_without_money(shop, stream):
    poor = shop.account("0")
    counts = shop.counts()
    answer = poor.chat("gpt-4", stream=stream)
    assert (answer.status, answer.json["error"]["code"]) == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert "exceeded your current quota" in answer.json["error"]["message"]
    assert shop.counts() == counts
    assert poor.get(f"/v1/calls/{answer.call}").status == 404


@pytest.mark.rule("R01")
def test_r01_overload_and_no_channel(shop, me, option):
    name = on_sale(shop, shop.model("r01-lonely", {"input": "1", "output": "1"}))
    counts = shop.counts()
    channel = shop.server.ports.shop.board.current.candidates(name)[0].channel
    shop.rest(channel)
    answer = me.chat(name)
    assert (answer.status, answer.json["error"]["code"]) == (503, "upstream_error")
    shop.reset_health()
    option(calls_max=0)
    answer = me.chat("gpt-4")
    assert (answer.status, answer.json["error"]["code"]) == (503, "overloaded")
    assert shop.counts() == counts
    assert me.balance == (START, 0)


@pytest.mark.rule("R01")
def test_r01_a_price_list_in_another_currency(shop, me):
    """A mistake of the shop's that no command lets through: 60 cents are not taken for 60 fen, nor the reverse."""
    from farebox.accounts.models import Account
    from farebox.catalog import price_lists, sheets
    from farebox.kit import clock

    name = on_sale(shop, shop.model("r01-fen", {"input": "1", "output": "1"}))
    shop.write(price_lists.create_list, name=name, currency="CNY", about="", actor="test")
    rows = [sheets.row(name, usage_class, "1") for usage_class in ("input", "output")]
    shop.write(price_lists.publish, name, rows, actor="test", now_us=clock.now_us(), usd_rate="7")
    Account.objects.filter(id=me.account).update(price_list_id=name)
    shop.refresh()
    counts = shop.counts()
    answer = me.chat(name)
    assert (answer.status, answer.json["error"]["type"]) == (500, "server_error")
    assert "another currency" in answer.json["error"]["message"]
    assert shop.counts() == counts
    assert me.balance == (START, 0)
    assert shop.findings() == [f"account {me.account} is in USD, its price list in another currency"]
    Account.objects.filter(id=me.account).update(price_list_id="usd")


# R02 to R06: completed


@pytest.mark.rule("R02")
@BOTH
def test_r02_tools(shop, me, stream):
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    answer = me.chat("gpt-4", "call tool", stream=stream, tools=[tool])
    complete(answer, reason="tool_calls")
    usage = sandboxed(shop).usage
    receipt = ended(me, answer, "R02", usage["prompt_tokens"] * 30 + usage["completion_tokens"] * 60)
    assert receipt["usage_source"] == "reported"
    assert receipt["usage"]["output"] > 0


NO_USAGE = ["no-usage", "usage-null", "usage-negative", "usage-float", "usage-string", "usage-zero", "usage-huge"]


@pytest.mark.slow
@pytest.mark.rule("R03")
@pytest.mark.fault("F25")
@BOTH
@pytest.mark.parametrize("how", NO_USAGE)
def test_r03_usage_missing_or_malformed(shop, me, how, stream):
    text = f"sandbox: tokens=12+{how}\nHi"
    answer = me.chat("gpt-4", text, stream=stream)
    complete(answer)
    receipt = ended(me, answer, "R03", own_input(text) * 30 + 12 * 60)
    assert receipt["usage_source"] == "counted"
    assert "estimated" in receipt["flags"]


@pytest.mark.rule("R03")
@pytest.mark.fault("F25")
def test_r03_usage_after_the_end(shop, me):
    text = "sandbox: tokens=12+usage-late\nHi"
    answer = me.chat("gpt-4", text, stream=True, stream_options={"include_usage": True})
    assert answer.status == 200
    assert answer.events[-1] == "[DONE]"
    assert answer.events[-2]["usage"]["completion_tokens"] == 12
    ended(me, answer, "R03", own_input(text) * 30 + 12 * 60)


@pytest.mark.rule("R03")
def test_r03_the_echo_of_a_prompt_is_no_output(shop, me):
    prompt = "sandbox: tokens=5+no-usage\nOnce upon a time"
    body = {"model": "gpt-3.5-turbo-instruct", "prompt": prompt, "echo": True, "max_tokens": 16}
    answer = me.request("POST", "/v1/completions", body)
    assert answer.json["choices"][0]["text"].startswith(prompt)
    receipt = ended(me, answer, "R03")
    assert receipt["usage"]["output"] == 5


@pytest.mark.rule("R04")
@pytest.mark.fault("F25")
@pytest.mark.parametrize("how", ["usage-twice", "usage-cumulative"])
def test_r04_usage_more_than_once(shop, me, how):
    answer = me.chat("gpt-4", f"sandbox: tokens=20+{how}", stream=True)
    complete(answer)
    assert not any(event.get("usage") for event in answer.events[:-1])
    usage = sandboxed(shop).usage
    receipt = ended(me, answer, "R04", usage["prompt_tokens"] * 30 + 20 * 60)
    assert receipt["usage"]["output"] == 20


@pytest.mark.rule("R05")
@BOTH
def test_r05_a_class_without_a_price(shop, me, stream):
    name = on_sale(shop, shop.model(f"r05-{stream}", {"input": "30", "output": "60"}))
    answer = me.chat(name, "sandbox: cached=4+tokens=5\nHello there, how are you?", stream=stream)
    complete(answer)
    usage = sandboxed(shop).usage
    receipt = ended(me, answer, "R05", (usage["prompt_tokens"] - 4) * 30 + 5 * 60)
    assert receipt["usage"]["cached_read"] == 4
    assert "unpriced" in receipt["flags"]
    shop.refresh()
    wait_for(lambda: me.chat(name).status == 404)
    assert name not in {model["id"] for model in me.get("/v1/models").json["data"]}


IMPLAUSIBLE = {"over=100": 116, "usage-mismatch+tokens=10": 10, "usage=900,3+tokens=3": 3, "usage=5,900+tokens=3": 3}
# A stream is stopped before it can report so much: R07.
IMPLAUSIBLE_CASES = [
    (how, stream) for how in IMPLAUSIBLE for stream in (False, True) if how != "over=100" or not stream
]


@pytest.mark.rule("R06")
@pytest.mark.fault("F25")
@pytest.mark.parametrize(("how", "stream"), IMPLAUSIBLE_CASES)
def test_r06_implausible_usage(shop, me, how, stream):
    text = f"sandbox: {how}\nHi"
    answer = me.chat("gpt-4", text, stream=stream, max_tokens=16)
    complete(answer)
    receipt = ended(me, answer, "R06", own_input(text) * 30 + min(16, IMPLAUSIBLE[how]) * 60)
    assert {"disputed", "estimated"} <= set(receipt["flags"])
    assert receipt["usage_source"] == "counted"


# R07 to R11: unusual ends


@pytest.mark.rule("R07")
@BOTH
def test_r07_the_limit_that_was_asked_for(shop, me, stream):
    answer = me.chat("gpt-4", "sandbox: full", stream=stream, max_tokens=7)
    complete(answer, reason="length")
    usage = sandboxed(shop).usage
    receipt = ended(me, answer, "R07", usage["prompt_tokens"] * 30 + 7 * 60)
    assert (receipt["finish_reason"], receipt["limit_tokens"]) == ("length", 7)


@pytest.mark.rule("R07")
def test_r07_the_longest_duration(shop, me, option):
    option(call_s_max=0.3)
    answer = me.chat("gpt-4", "sandbox: tokens=50+pace=20", stream=True)
    complete(answer, reason="length")
    output = own_output(answer.text)
    receipt = ended(me, answer, "R07", own_input("sandbox: tokens=50+pace=20") * 30 + output * 60)
    assert "longest_duration" in receipt["flags"]
    assert 0 < output < 50
    assert sandboxed(shop).ended == "client-left"


@pytest.mark.rule("R07")
@pytest.mark.fault("F21")
def test_r07_an_upstream_that_ignores_its_limit(shop, me):
    text = "sandbox: over=3000+pace=0.1"
    answer = me.chat("gpt-4", text, stream=True, max_tokens=16)
    complete(answer, reason="length")
    assert own_output(answer.text) == 16 + 16
    receipt = ended(me, answer, "R07", own_input(text) * 30 + 16 * 60)
    assert "over_limit" in receipt["flags"]
    assert sandboxed(shop).ended == "client-left"


@pytest.mark.rule("R08")
@BOTH
@pytest.mark.parametrize("how", ["content-filter", "refusal"])
def test_r08_stopped_by_policy(shop, me, how, stream):
    answer = me.chat("gpt-4", f"sandbox: {how}", stream=stream)
    complete(answer, reason="content_filter" if how == "content-filter" else "stop")
    usage = sandboxed(shop).usage
    ended(me, answer, "R08", usage["prompt_tokens"] * 30 + usage["completion_tokens"] * 60)
    free = me.chat("gpt-4", f"sandbox: {how}+no-usage", stream=stream)
    assert me.receipt(free)["charge_micro"] == 0
    assert me.receipt(free)["rule"] == "R08"


@pytest.mark.rule("R08")
@pytest.mark.parametrize("more", ["", "+usage-cumulative"])
def test_r08_a_policy_event(shop, me, more):
    answer = me.chat("gpt-4", f"sandbox: tokens=20+policy-event=6{more}", stream=True)
    assert answer.status == 200
    assert answer.text
    assert "[DONE]" not in answer.events
    assert "error" in answer.events[-1]
    charge_micro = sandboxed(shop).usage["prompt_tokens"] * 30 + 5 * 60 if more else 0
    receipt = ended(me, answer, "R08", charge_micro)
    assert receipt["usage"].get("output", 0) == (5 if more else 0)


@pytest.mark.rule("R08")
@BOTH
def test_r08_before_any_output_is_a_400_and_free(shop, me, stream):
    answer = me.chat("gpt-4", "sandbox: policy-event=1+usage-cumulative", stream=stream)
    assert answer.status == 400
    ended(me, answer, "R08", 0)


@pytest.mark.rule("R09")
@BOTH
def test_r09_an_empty_answer(shop, me, stream):
    answer = me.chat("gpt-4", "sandbox: empty", stream=stream)
    complete(answer)
    ended(me, answer, "R09", 0)
    paid = me.chat("gpt-4", "sandbox: empty", stream=stream, stop=["x"])
    complete(paid)
    assert me.receipt(paid)["rule"] == "R02"
    assert me.receipt(paid)["charge_micro"] > 0


@pytest.mark.rule("R10")
@BOTH
def test_r10_only_reasoning(shop, me, stream):
    prices = {"input": "30", "output": "60", "reasoning": "60"}
    name = on_sale(shop, shop.model(f"r10-{stream}", prices, hidden_output=True, output_tokens_max=64))
    answer = me.chat(name, "sandbox: only-reasoning", stream=stream, max_completion_tokens=40)
    complete(answer, reason="length")
    usage = sandboxed(shop).usage
    receipt = ended(me, answer, "R10", usage["prompt_tokens"] * 30 + 40 * 60)
    assert receipt["usage"]["reasoning"] == 40


@pytest.mark.rule("R11")
def test_r11_a_clean_end_without_an_end_mark(shop, me):
    text = "sandbox: tokens=9+noterminal"
    answer = me.chat("gpt-4", text, stream=True)
    assert answer.status == 200
    assert answer.events[-1] == "[DONE]"
    receipt = ended(me, answer, "R11", own_input(text) * 30 + 9 * 60)
    assert "no_terminal" in receipt["flags"]
    assert me.receipt(me.chat("gpt-4", "sandbox: tokens=9+nodone", stream=True))["rule"] == "R02"


# R12 to R14: refusals and failures


@pytest.mark.rule("R12")
@BOTH
@for_each(("how", "status"), [("status=400", 400), ("status=422", 400), ("status=413", 413), ("context", 400)])
def test_r12_refused_by_the_upstream(shop, me, how, status, stream):
    answer = me.chat("gpt-4", f"sandbox: {how}", stream=stream)
    assert answer.status == status
    words = {"context": "reduce the length", "status=400": "told to refuse", "status=422": "as it is"}
    assert words.get(how, "too large") in answer.json["error"]["message"]
    receipt = ended(me, answer, "R12", 0)
    assert receipt["status"] == status


FAILED = {
    "status=500": 502, "status=503": 503, "status=429+retry-after=7": 503, "status=401": 502, "status=402": 502,
    "status=403": 502, "status=404": 502, "status=408": 504, "status=409": 502, "quota": 502, "html": 502,
    "error-200": 502, "empty-body": 502, "redirect": 502, "gzip": 502, "refuse": 502, "cut": 502, "reset": 502,
    "garbage": 502, "bad-utf8": 502, "deep": 502, "error-event": 502,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.rule("R13")
@BOTH
@pytest.mark.parametrize("how", FAILED)
def test_r13_failed_before_output(shop, me, how, stream):
    answer = me.chat("gpt-4", f"sandbox: {how}", stream=stream)
    assert answer.status == FAILED[how]
    assert answer.json["error"]["code"] == ("upstream_timeout" if how == "status=408" else "upstream_error")
    assert "Incorrect API key" not in answer.json["error"]["message"]
    if "retry-after" in how:
        assert answer.headers["retry-after"] == "7"
    receipt = ended(me, answer, "R13", 0)
    [attempt] = receipt["attempts"]
    assert not attempt["charged"]
    assert "key" not in attempt["why"]
    assert "balance" not in attempt["why"]


@pytest.mark.rule("R13")
@pytest.mark.fault("F16")
@BOTH
def test_r13_silence(shop, me, limits, stream):
    limits(first_byte_s=0.2)
    answer = me.chat("gpt-4", "sandbox: silent", stream=stream)
    assert (answer.status, answer.json["error"]["code"]) == (504, "upstream_timeout")
    ended(me, answer, "R13", 0)
    assert sandboxed(shop).ended == "client-left"


@pytest.mark.slow
@pytest.mark.rule("R13")
@pytest.mark.fault("F16")
def test_r13_after_empty_lines(shop, me, option):
    option(keepalive_stream_s=0)
    answer = me.chat("gpt-4", "sandbox: slow=0.8+status=500", stream=True)
    assert answer.status == 200
    assert answer.body.startswith(b"\n")
    assert [event["error"]["code"] for event in answer.events] == ["upstream_error"]
    ended(me, answer, "R13", 0)


AFTER_OUTPUT = ["cut=6", "reset=6", "error-event=6", "garbage=6", "bad-utf8=6", "huge-line=6", "deep=6", "stall=6"]


@pytest.mark.slow
@pytest.mark.rule("R14")
@pytest.mark.fault("F17")
@pytest.mark.fault("F18")
@pytest.mark.fault("F20")
@pytest.mark.parametrize("split", ["", "+pace=3"])
@pytest.mark.parametrize("how", AFTER_OUTPUT)
def test_r14_failed_after_output(shop, me, limits, how, split):
    limits(idle_s=0.3)
    answer = me.chat("gpt-4", f"sandbox: tokens=20+{how}{split}", stream=True)
    broken_off(answer, "upstream_timeout" if how == "stall=6" else "upstream_error")
    assert answer.text == "sand box the cat sat"
    receipt = ended(me, answer, "R14", 0)
    assert receipt["status"] == 200
    from farebox.calls import log

    [attempt] = shop.read(log.attempts, answer.call)
    assert attempt["outcome"] == "failed"
    assert attempt["cost_micro"] > 0  # what it cost us stands beside the charge of 0


# R16 to R20: the customer leaves


@pytest.mark.rule("R16")
@pytest.mark.fault("F27")
def test_r16_left_before_the_upstream_accepted(shop, me):
    talk = Talk(me, "/v1/chat/completions", chat("gpt-4", "sandbox: slow=20", stream=True))
    wait_for(lambda: me.balance[1] and shop.sandbox.requests[-1].behaviours.get("slow") == "20")
    talk.leave()
    receipt = ended(me, talk.call, "R16", 0)
    assert receipt["outcome"] == "left"
    assert sandboxed(shop).ended == "client-left"


@pytest.mark.slow
@pytest.mark.rule("R16")
def test_r16_left_before_the_next_upstream_was_asked(shop, me):
    name = pair(shop, "left-between", "slow=1.5+html")  # that he has left shows within half a second
    before = len(shop.sandbox.requests)
    talk = Talk(me, "/v1/chat/completions", chat(name, "Hello"))
    wait_for(lambda: me.balance[1] and len(shop.sandbox.requests) > before)
    talk.leave()
    receipt = ended(me, talk.call, "R16", 0)
    assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["failed"]
    assert len(shop.sandbox.requests) == before + 1


@pytest.mark.rule("R17")
@pytest.mark.fault("F27")
def test_r17_left_before_output(shop, me):
    text = "sandbox: stall=1\nHello"
    talk = Talk(me, "/v1/chat/completions", chat("gpt-4", text, stream=True))
    wait_for(
        lambda: me.balance[1] and shop.sandbox.requests[-1].behaviours.get("stall") and shop.sandbox.requests[-1].events
    )
    time.sleep(0.05)
    talk.leave()
    receipt = ended(me, talk.call, "R17", own_input(text) * 30)
    assert receipt["usage"].get("output", 0) == 0
    assert sandboxed(shop).ended == "client-left"


@pytest.mark.rule("R18")
@pytest.mark.fault("F27")
def test_r18_left_in_mid_stream(shop, me):
    text = "sandbox: tokens=500+pace=10"
    talk = Talk(me, "/v1/chat/completions", chat("gpt-4", text, stream=True))
    talk.until(b"data: ", times=8)
    talk.leave()
    receipt = ended(me, talk.call, "R18")
    record = sandboxed(shop)
    assert record.ended == "client-left"
    output = receipt["usage"]["output"]
    assert 5 <= output < record.events
    assert receipt["charge_micro"] == own_input(text) * 30 + output * 60


@pytest.mark.rule("R18")
def test_r18_never_more_than_reported(shop, me):
    text = "sandbox: tokens=500+pace=10+usage-cumulative+usage=9,2"
    talk = Talk(me, "/v1/chat/completions", chat("gpt-4", text, stream=True))
    talk.until(b"data: ", times=8)
    talk.leave()
    ended(me, talk.call, "R18", 9 * 30 + 2 * 60)


@pytest.mark.slow
@pytest.mark.rule("R18")
@pytest.mark.fault("F27")
def test_r18_does_not_read(shop, me, option):
    option(slow_reader_s=1)
    name = shop.model("r18-large", {"input": "1", "output": "1"}, output_tokens_max=200_000, context_tokens=400_000)
    body = chat(on_sale(shop, name), "sandbox: tokens=150000", stream=True)
    talk = Talk(me, "/v1/chat/completions", body, receive_bytes=4096)
    talk.until(b"data: ", times=4)
    receipt = ended(me, talk.call, "R18")
    assert 0 < receipt["usage"]["output"] < 150_000
    assert receipt["charge_micro"] == receipt["usage"]["input"] + receipt["usage"]["output"]
    assert sandboxed(shop).ended == "client-left"
    talk.leave()


@pytest.mark.rule("R18")
def test_r18_where_the_upstream_bills_the_whole(shop, me):
    name = shop.model("r18-whole", {"input": "30", "output": "60"})
    from farebox.upstreams import channels

    shop.write(channels.withdraw, channel="sandbox", model=name, actor="test")
    shop.add_channel("bills-all", shop.sandbox.base_url, [name], cancel_billing="bills_all")
    wait_for(lambda: [c.channel.name for c in shop.server.ports.shop.board.current.candidates(name)] == ["bills-all"])
    talk = Talk(me, "/v1/chat/completions", chat(name, "sandbox: tokens=60+pace=5", stream=True))
    talk.until(b"data: ", times=8)
    talk.leave()
    receipt = ended(me, talk.call, "R18")
    record = sandboxed(shop)
    assert record.ended == "complete"
    assert receipt["usage"]["output"] < 60
    from farebox.calls import log

    [attempt] = shop.read(log.attempts, talk.call)
    whole = record.usage["prompt_tokens"] * 100_000 + 60 * 200_000
    assert attempt["cost_micro"] == -(-whole // 1_000_000)


def billed_whole(shop, name: str, prices: dict[str, str], behaviours: str) -> str:
    """A model of an upstream that bills the whole of a call that is cancelled, and behaves like this."""
    from farebox.upstreams import channels

    shop.model(name, prices, tokenizer="cl100k_base")
    shop.write(channels.withdraw, channel="sandbox", model=name, actor="test")
    shop.add_channel(name, shop.sandbox.base_url, [], cancel_billing="bills_all")
    shop.offer(name, name, f"echo+{behaviours}")
    return on_sale(shop, name)


@pytest.mark.slow
@pytest.mark.rule("R18")
@pytest.mark.parametrize("cached_price", [3, 90], ids=["cheaper", "dearer"])
def test_r18_the_report_lowers_what_is_charged_and_never_raises_it(shop, me, cached_price):
    """All but one of the reported tokens were cached: as many tokens for less money, or fewer for more."""
    own, cheaper = own_input("Hello"), cached_price == 3
    reported = own if cheaper else own - 1
    prices = {"input": "30", "cached_read": str(cached_price), "output": "60"}
    how = f"tokens=60+pace=5+usage={reported},60+cached={reported - 1}"
    name = billed_whole(shop, f"r18-cached-{cached_price}", prices, how)
    talk = Talk(me, "/v1/chat/completions", chat(name, "Hello", stream=True))
    talk.until(b"data: ", times=8)
    talk.leave()
    receipt = ended(me, talk.call, "R18")
    assert sandboxed(shop).ended == "complete"
    usage = receipt["usage"]
    assert 0 < usage["output"] < 60
    assert receipt["charge_micro"] == (30 + (own - 1) * 3 if cheaper else own * 30) + usage["output"] * 60
    assert usage.get("cached_read", 0) == (own - 1 if cheaper else 0)
    assert ("estimated" in receipt["flags"]) is not cheaper


@pytest.mark.slow
@pytest.mark.rule("R19")
@pytest.mark.fault("F27")
def test_r19_a_whole_answer_after_the_customer_left(shop, me):
    talk = Talk(me, "/v1/chat/completions", chat("gpt-4", "sandbox: slow=1.5+tokens=5"))
    wait_for(lambda: me.balance[1] and shop.sandbox.requests[-1].behaviours.get("slow") == "1.5")
    talk.leave()
    receipt = ended(me, talk.call, "R02")
    usage = sandboxed(shop).usage
    assert receipt["charge_micro"] == usage["prompt_tokens"] * 30 + 5 * 60
    assert "left" in receipt["flags"]
    assert sandboxed(shop).ended == "complete"


@pytest.mark.rule("R19")
def test_r19_no_whole_answer_in_time(shop, me, limits):
    limits(read_on_json_s=0.2)
    text = "sandbox: stall=20"
    talk = Talk(me, "/v1/chat/completions", chat("gpt-4", text))
    wait_for(lambda: me.balance[1] and shop.sandbox.requests[-1].behaviours.get("stall") == "20")
    time.sleep(0.05)
    talk.leave()
    ended(me, talk.call, "R19", own_input(text) * 30)
    assert sandboxed(shop).ended == "client-left"


@pytest.mark.slow
@pytest.mark.rule("R20")
@pytest.mark.fault("F27")
def test_r20_left_after_the_last_output(shop, me):
    text = "sandbox: tokens=1+pace=1200"  # that he has left shows within half a second
    talk = Talk(me, "/v1/chat/completions", chat("gpt-4", text, stream=True))
    talk.until(b'"finish_reason":"stop"')
    talk.leave()
    receipt = me.receipt(talk.call)
    usage = sandboxed(shop).usage
    ended(me, talk.call, "R20", usage["prompt_tokens"] * 30 + 1 * 60)
    assert receipt["usage_source"] == "reported"
    assert usage["prompt_tokens"] != own_input(text)


@pytest.mark.slow
@pytest.mark.rule("R20")
def test_r20_left_and_the_report_never_came(shop, me, monkeypatch):
    monkeypatch.setattr("farebox.gateway.serve.REPORT_S", 0.05)
    text = "sandbox: tokens=1+pace=1500"  # that he has left shows within half a second
    talk = Talk(me, "/v1/chat/completions", chat("gpt-4", text, stream=True))
    talk.until(b'"finish_reason":"stop"')
    talk.leave()
    receipt = ended(me, talk.call, "R20", own_input(text) * 30 + 60)
    assert receipt["usage_source"] == "counted"
    assert sandboxed(shop).ended == "client-left"


# R22: the next upstream


TRY_NEXT = [
    "status=500", "status=429", "status=401", "status=402", "status=404", "quota", "html", "error-200", "empty-body",
    "garbage", "cut", "reset=1", "error-event", "redirect", "noterminal+empty",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.rule("R22")
@pytest.mark.parametrize("how", TRY_NEXT)
def test_r22_only_the_attempt_that_delivered_is_charged(shop, how):
    for stream in (True, False):
        if how == "noterminal+empty" and not stream:
            continue  # a whole answer is terminal by itself
        me = shop.account("1")
        name = pair(shop, f"r22-{TRY_NEXT.index(how)}-{stream}".lower(), how)
        answer = me.chat(name, "Hello", stream=stream)
        complete(answer)
        assert answer.text == "[sandbox] You said: Hello"
        usage = sandboxed(shop).usage
        receipt = ended(me, answer, "R22", usage["prompt_tokens"] * 30 + usage["completion_tokens"] * 60)
        assert [(a["outcome"], a["charged"]) for a in receipt["attempts"]] == [("failed", False), ("served", True)]


@pytest.mark.slow
@pytest.mark.rule("R22")
@pytest.mark.fault("F10")
@BOTH
def test_r22_nothing_listens(shop, me, stream):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        name = pair(shop, f"r22-dead-{stream}".lower(), "", dead)
        answer = me.chat(name, "Hello", stream=stream)
    complete(answer)
    usage = sandboxed(shop).usage
    ended(me, answer, "R22", usage["prompt_tokens"] * 30 + usage["completion_tokens"] * 60)


@pytest.mark.slow
@pytest.mark.rule("R22")
def test_r22_what_a_failed_attempt_left_does_not_count_for_the_next(shop, me):
    both = b'data: {"choices":[{"index":0,"delta":{"content":"spoilt"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n"
    with canned(shop, head + both[: both.index(b"\n")]) as upstream:  # cut within its first event
        name = pair(shop, "r22-spoilt", "", upstream.base_url)
        answer = me.chat(name, "sandbox: empty", stream=True)
        assert upstream.requests == 1
    complete(answer)
    assert answer.text == ""
    ended(me, answer, "R09", 0)
    shape = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
                        "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}]})  # fmt: skip
    with canned(shop, http(shape.encode()[:-1])) as upstream:  # JSON where a stream was asked for, and not whole
        name = pair(shop, "r22-json", "", upstream.base_url)
        answer = me.chat(name, "sandbox: cut=1", stream=True)
    assert answer.status == 502
    receipt = ended(me, answer, "R13", 0)
    assert [a["outcome"] for a in receipt["attempts"]] == ["failed", "failed"]


@pytest.mark.slow
@pytest.mark.rule("R13")
@pytest.mark.fault("F11")
@BOTH
def test_r22_a_request_whose_fate_is_unknown_is_not_sent_again(shop, me, stream):
    with canned(shop, b"") as upstream:
        name = pair(shop, f"f11-{stream}".lower(), "", upstream.base_url)
        before = len(shop.sandbox.requests)
        answer = me.chat(name, stream=stream)
        assert upstream.requests == 1
    assert answer.status == 502
    assert len(shop.sandbox.requests) == before
    receipt = ended(me, answer, "R13", 0)
    assert [a["outcome"] for a in receipt["attempts"]] == ["unknown"]


@pytest.mark.rule("R14")
@pytest.mark.rule("R22")
def test_r22_no_second_try_after_output(shop, me):
    name = pair(shop, "r22-late", "tokens=9+cut=5")
    before = len(shop.sandbox.requests)
    answer = me.chat(name, stream=True)
    broken_off(answer)
    assert len(shop.sandbox.requests) == before + 1
    ended(me, answer, "R14", 0)


# R27 and R33


def embed(me, given, **params):
    return me.request("POST", "/v1/embeddings", {"model": "text-embedding-3-small", "input": given, **params})


@pytest.mark.rule("R27")
def test_r27_embeddings(shop, me):
    answer = embed(me, ["Hello", "world"])
    assert answer.status == 200
    usage = sandboxed(shop).usage
    receipt = ended(me, answer, "R27", -(-usage["prompt_tokens"] * 2 // 100))
    assert receipt["usage"] == {"input": usage["prompt_tokens"]}


@pytest.mark.rule("R27")
def test_r27_counted_where_nothing_is_reported(shop, me):
    answer = embed(me, "sandbox: no-usage\nHello")
    assert answer.json["usage"]["prompt_tokens"] > 0
    receipt = ended(me, answer, "R27", -(-own_output("sandbox: no-usage\nHello") * 2 // 100))
    assert receipt["usage_source"] == "counted"


@pytest.mark.rule("R27")
@pytest.mark.parametrize(
    ("how", "status"), [("status=500", 502), ("status=400", 400), ("cut=30", 502), ("garbage", 502)]
)
def test_r27_is_free_otherwise(shop, me, how, status):
    answer = embed(me, f"sandbox: {how}\nHello")
    assert answer.status == status
    ended(me, answer, "R12" if status == 400 else "R13", 0)


@pytest.mark.rule("R27")
def test_r27_never_in_part(shop, me):
    one = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}],
           "usage": {"prompt_tokens": 2, "total_tokens": 2}}  # fmt: skip
    with canned(shop, http(one)) as upstream:
        name = shop.model("r27-part", {"input": "1"}, kinds=["embeddings"], output_tokens_max=0)
        shop.add_channel("front-r27", upstream.base_url, [name], tier=0)
        body = {"model": on_sale(shop, name, 2), "input": ["one", "two"]}
        answer = me.request("POST", "/v1/embeddings", body)
        assert answer.status == 502
        ended(me, answer, "R13", 0)


NO_VECTORS = {
    "base64": ([[0.5]], [0.5, None], [1e39], [0.5, "x"], "AAA", "AAAAAAA=", "!!!!"),
    "float": ([[0.5]], [0.5, None], [True], "AAA", "AAAAAAA=", "AADAfw==", "!!!!"),  # the last but one is NaN
}


@pytest.mark.slow
@pytest.mark.rule("R27")
@pytest.mark.fault("F14")
@pytest.mark.parametrize("form", NO_VECTORS)
def test_r27_what_is_no_vector_is_no_answer(shop, me, form):
    with canned(shop, b"") as upstream:
        name = shop.model(f"r27-{form}", {"input": "1"}, kinds=["embeddings"], output_tokens_max=0)
        shop.add_channel(f"front-r27-{form}", upstream.base_url, [name], tier=0)
        body = {"model": on_sale(shop, name, 2), "input": ["one", "two"], "encoding_format": form}
        for vector in NO_VECTORS[form]:
            rows = [{"object": "embedding", "index": i, "embedding": each} for i, each in enumerate(([0.5], vector))]
            upstream.answer = http({"object": "list", "model": "m", "data": rows,
                                    "usage": {"prompt_tokens": 2, "total_tokens": 2}})  # fmt: skip
            answer = me.request("POST", "/v1/embeddings", body)
            assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_error"), vector
            receipt = ended(me, answer, "R13", 0)
            assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["failed"]
            shop.reset_health()


@pytest.mark.rule("R27")
def test_r27_the_customer_leaves(shop, me, limits):
    limits(read_on_json_s=0.1)
    body = {"model": "text-embedding-3-small", "input": "sandbox: stall=20\nHello"}
    talk = Talk(me, "/v1/embeddings", body)
    wait_for(lambda: me.balance[1] and shop.sandbox.requests[-1].behaviours.get("stall") == "20")
    time.sleep(0.05)
    talk.leave()
    ended(me, talk.call, "R27", 0)


@pytest.mark.rule("R33")
def test_r33_what_is_only_read_is_free(shop, me):
    call = me.chat("gpt-4").call
    before = (shop.counts(), me.balance)
    for path in (
        "/v1/models", "/v1/models/gpt-4", "/v1/balance", "/v1/calls", f"/v1/calls/{call}",
        "/v1/dashboard/billing/subscription", "/v1/dashboard/billing/usage", "/dashboard/billing/usage",
    ):  # fmt: skip
        assert me.get(path).status == 200
    assert me.request("OPTIONS", "/v1/chat/completions").status == 204
    assert (shop.counts(), me.balance) == before


# what an upstream says must not stop a settlement


@pytest.mark.slow
@BOTH
def test_signs_that_no_database_takes(shop, me, stream):
    name = shop.model(f"nul-{stream}".lower(), {"input": "30", "output": "60"})
    said = {"error": {"message": "bad \u0000 sign", "type": "invalid_request_error"}}
    with canned(shop, http(said, status="400 Bad Request")) as upstream:
        shop.add_channel(f"nul-{stream}".lower(), upstream.base_url, [name], tier=0)
        on_sale(shop, name, 2)
        answer = me.chat(name, stream=stream)
        assert answer.status == 400
        ended(me, answer, "R12", 0)
    odd = {"id": "1", "object": "chat.completion", "created": 1, "model": "m",
           "usage": {"prompt_tokens": 5, "completion_tokens": 1},
           "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "st\u0000p" * 40}]}  # fmt: skip
    if stream:
        return
    other = shop.model("nul-finish", {"input": "30", "output": "60"})
    with canned(shop, http(odd)) as upstream:
        shop.add_channel("nul-finish", upstream.base_url, [other], tier=0)
        on_sale(shop, other, 2)
        answer = me.chat(other)
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "x"
    ended(me, answer, "R02", 5 * 30 + 60)
