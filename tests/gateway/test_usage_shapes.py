"""Every way to write a usage report is charged the same, to the micro-unit; what is not known is flagged."""

from __future__ import annotations

import json

import pytest

from kit.talk import canned, http, on_sale

PRICES = {"input": "3.00", "cached_read": "0.30", "cache_write": "3.75", "output": "15.00", "reasoning": "15.00"}
TEXT = "lorem ipsum dolor sit amet " * 300
# 100 plain, 6,636 read from a cache, 324 written to it; 198 visible, 405 thought: 300 + 1,990.8 + 1,215 + 2,970 + 6,075.
IN, READ, WRITE, OUT, THOUGHT = 100, 663, 324, 198, 405
CACHED = 300 + 199 + 1215 + 2970  # 4,683.9, rounded up once
THINKING = 60 + 603 * 15
DISJOINT = {"input": IN, "cached_read": READ, "cache_write": WRITE, "output": OUT}
ALL = IN + READ + WRITE


def openai(prompt, completion, **more):
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion} | more


CACHES = {
    "OpenAI": openai(ALL, OUT, prompt_tokens_details={"cached_tokens": READ, "cache_write_tokens": WRITE}),
    "LiteLLM": openai(ALL, OUT, prompt_tokens_details={"cached_tokens": READ, "cache_creation_tokens": WRITE}),
    "LiteLLM at the top": openai(ALL, OUT, cache_read_input_tokens=READ, cache_creation_input_tokens=WRITE),
    "New API": openai(ALL, OUT, prompt_tokens_details={"cached_tokens": READ, "cached_creation_tokens": WRITE}, input_tokens=0),
    "New API for Anthropic": openai(
        IN, OUT, prompt_tokens_details={"cached_tokens": READ, "cached_creation_tokens": WRITE},
        usage_semantic="anthropic",
    ),
    "beside, by the total": openai(
        IN, OUT, total_tokens=ALL + OUT, prompt_tokens_details={"cached_tokens": READ, "cache_write_tokens": WRITE}
    ),
    "beside, larger than the prompt": openai(
        IN, OUT, prompt_tokens_details={"cached_tokens": READ, "cache_write_tokens": WRITE}
    ),
    "OpenRouter": openai(
        ALL, OUT, prompt_tokens_details={"cached_tokens": READ, "cache_write_tokens": WRITE, "audio_tokens": 0},
        cost=0.0123, is_byok=False, cost_details={"upstream_inference_cost": 1},
    ),
    "Anthropic": {
        "input_tokens": IN, "output_tokens": OUT, "cache_read_input_tokens": READ, "cache_creation_input_tokens": WRITE,
        "cache_creation": {"ephemeral_5m_input_tokens": WRITE, "ephemeral_1h_input_tokens": 0},
    },
    "Anthropic, split alone": {
        "input_tokens": IN, "output_tokens": OUT, "cache_read_input_tokens": READ,
        "cache_creation": {"ephemeral_5m_input_tokens": WRITE},
    },
    "Responses": {
        "input_tokens": ALL, "output_tokens": OUT, "total_tokens": ALL + OUT,
        "input_tokens_details": {"cached_tokens": READ, "cache_write_tokens": WRITE},
    },
    "Google": {
        "promptTokenCount": IN + READ, "cachedContentTokenCount": READ, "candidatesTokenCount": OUT,
        "totalTokenCount": IN + READ + OUT, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": IN + READ}],
    },
    "DeepSeek": openai(IN + READ, OUT, prompt_cache_hit_tokens=READ, prompt_cache_miss_tokens=IN),
    "Moonshot": openai(IN + READ, OUT, cached_tokens=READ),
}  # fmt: skip
THOUGHTS = {
    "OpenAI": openai(20, 603, completion_tokens_details={"reasoning_tokens": 405}),
    "xAI": openai(20, 198, total_tokens=623, completion_tokens_details={"reasoning_tokens": 405}),
    "Google": {"promptTokenCount": 20, "candidatesTokenCount": 198, "thoughtsTokenCount": 405, "totalTokenCount": 623},
    "Anthropic": {"input_tokens": 20, "output_tokens": 603, "output_tokens_details": {"thinking_tokens": 405}},
}


@pytest.fixture(scope="module")
def upstreams(shop):
    """Three channels to one upstream that reports what a test says: as it is, and with either quirk."""
    with canned(shop, b"") as upstream:
        for name, quirks in (
            ("plain", {}), ("thinks", {"hidden_thinking": True}), ("beside", {"cached_in_prompt": False}),
        ):  # fmt: skip
            shop.model(f"m-{name}", PRICES, output_tokens_max=2000)
            from farebox.upstreams import channels

            shop.write(channels.withdraw, channel="sandbox", model=f"m-{name}", actor="test")
            shop.add_channel(f"c-{name}", upstream.base_url, [f"m-{name}"], quirks=quirks)
            on_sale(shop, f"m-{name}")
        yield upstream


@pytest.fixture
def called(shop, upstreams):
    """Call with this report; the answer and its receipt."""
    me = shop.account("1")

    def call(usage, model="m-plain", *, stream=False, listed=False, text="36."):
        end = "stop" if text else "length"
        head = {"id": "chatcmpl-1", "created": 1760000000, "model": model}
        if stream:
            events = [
                head
                | {
                    "object": "chat.completion.chunk",
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
                }
                for delta, finish in (({"role": "assistant", "content": text}, None), ({}, end))
            ]
            events.append(head | {"object": "chat.completion.chunk", "choices": [], "usage": usage})
            raw = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
            upstreams.answer = http(raw.encode(), kind="text/event-stream")
        else:
            said = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": end}
            upstreams.answer = http(head | {"object": "chat.completion", "choices": [said], "usage": usage})
        more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        answer = me.chat(model, TEXT, **more)
        assert answer.status == 200, answer.body
        shown = (answer.events[-2] if stream else answer.json)["usage"]
        receipt = me.receipt(answer)
        others = me.get("/v1/calls").json["data"]
        assert me.balance[0] == 1_000_000 - sum(call["charge_micro"] or 0 for call in others)
        if listed:
            assert others[0]["reported"] == receipt["reported"]
        return receipt, shown

    return call


@pytest.mark.slow
@pytest.mark.rule("R02")
@pytest.mark.parametrize("name", CACHES)
def test_cached_tokens_cost_the_same_in_every_spelling(called, name):
    from farebox.catalog import pricing
    from farebox.catalog.usage import Usage

    usage = {**DISJOINT} if "Google" not in name and name not in {"DeepSeek", "Moonshot"} else {
        "input": IN, "cached_read": READ, "output": OUT
    }  # fmt: skip
    due = pricing.charge({k: int(float(v) * 1_000_000) for k, v in PRICES.items()}, Usage(**usage)).amount_micro
    receipt, shown = called(CACHES[name], stream=name in {"LiteLLM", "Anthropic"})
    assert (receipt["charge_micro"], receipt["usage"], receipt["flags"]) == (due, usage, [])
    assert due == (CACHED if "cache_write" in usage else CACHED - 1215)
    assert (receipt["rule"], receipt["usage_source"]) == ("R02", "reported")
    if name in {"Anthropic", "Google", "Responses"}:  # its readers know OpenAI's words
        assert shown["total_tokens"] == shown["prompt_tokens"] + OUT
        assert shown["prompt_tokens_details"]["cached_tokens"] == READ


@pytest.mark.rule("R02")
@pytest.mark.parametrize("name", THOUGHTS)
def test_thinking_costs_the_same_in_every_spelling(called, name):
    receipt, _ = called(THOUGHTS[name], stream=name == "xAI")
    assert (receipt["charge_micro"], receipt["usage"]) == (THINKING, {"input": 20, "output": 198, "reasoning": 405})


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(("written", "rule"), [(198, "R02"), (0, "R10")])
def test_thinking_beside_the_answer_is_paid_however_little_it_is(called, written, rule, stream):
    """What is less than the answer would fit into it: the total says that it stands beside it, as xAI counts."""
    usage = openai(20, written, total_tokens=20 + written + 40, completion_tokens_details={"reasoning_tokens": 40})
    receipt, _ = called(usage, stream=stream, text="36." if written else "")
    assert (receipt["charge_micro"], receipt["rule"]) == (60 + (written + 40) * 15, rule)
    assert {name: units for name, units in receipt["usage"].items() if units} == {
        name: units for name, units in {"input": 20, "output": written, "reasoning": 40}.items() if units
    }


@pytest.mark.rule("R06")
@pytest.mark.usefixtures("rules_1")
def test_what_only_the_total_shows_is_thinking_where_the_channel_says_so(called, shop):
    usage = openai(20, 198, total_tokens=623)
    receipt, _ = called(usage, "m-thinks", stream=True)
    assert (receipt["charge_micro"], receipt["rule"], receipt["flags"]) == (THINKING, "R02", [])
    assert receipt["usage"] == {"input": 20, "output": 198, "reasoning": 405}
    receipt, _ = called(usage)
    assert (receipt["rule"], receipt["usage_source"]) == ("R06", "counted")
    assert {"disputed", "estimated"} == set(receipt["flags"])
    assert receipt["reported"] == usage
    # What it cost us does not hide behind our own count: 0.10 and 0.20 for a million.
    from farebox.calls import log

    assert shop.read(log.attempts, receipt["id"])[-1]["cost_micro"] == -(-(20 * 10 + 603 * 20) // 100)


@pytest.mark.rule("R02")
def test_the_quirk_says_where_cached_tokens_are_counted(called):
    usage = openai(1000, 10, prompt_tokens_details={"cached_tokens": 900})
    assert called(usage)[0]["usage"] == {"input": 100, "cached_read": 900, "output": 10}
    assert called(usage, "m-beside")[0]["usage"] == {"input": 1000, "cached_read": 900, "output": 10}


@pytest.mark.rule("R06")
@pytest.mark.usefixtures("rules_1")
def test_parts_that_overlap_are_not_charged_twice(called):
    receipt, _ = called(openai(1000, 10, prompt_tokens_details={"cached_tokens": 900, "cache_write_tokens": 990}))
    assert (receipt["usage_source"], "disputed" in receipt["flags"]) == ("counted", True)


@pytest.mark.rule("R02")
@pytest.mark.parametrize(
    "more",
    [
        {"server_tool_use": {"web_search_requests": 3}}, {"citation_tokens": 7}, {"num_sources_used": 2},
        {"completion_tokens_details": {"image_tokens": 4}}, {"iterations": [{"input_tokens": 9}]},
        {"prompt_tokens_details": {"odd": 0.5}},
    ],
    ids=str,
)  # fmt: skip
def test_a_counter_that_is_not_known_is_flagged(called, more):
    receipt, _ = called(openai(20, 10, **more))
    assert (receipt["charge_micro"], receipt["flags"]) == (60 + 150, ["unknown_counter"])


@pytest.mark.rule("R02")
def test_nothing_is_flagged_for_money_times_and_zeros(called):
    receipt, _ = called(openai(
        20, 10, cost=3, cost_in_usd_ticks=99, queue_time=0.5, total_time=2, service_tier="default", odd_tokens=0,
        server_tool_use={"web_search_requests": 0}, completion_tokens_details={"accepted_prediction_tokens": 1},
    ))  # fmt: skip
    assert receipt["flags"] == []


def test_the_receipt_shows_the_upstreams_own_report(called):
    from farebox.calls.models import Call

    def kept(receipt):
        return json.loads(Call.objects.get(id=receipt["id"]).reported)

    usage = openai(20, 10, cost=0.5, provider="secret vendor", cost_details={"tokens_cost": 4}, odd_tokens=3)
    receipt, _ = called(usage, listed=True)
    assert receipt["reported"] == openai(20, 10, odd_tokens=3)
    assert kept(receipt) == usage
    wide = openai(20, 10, **{f"n{n}_tokens": 0 for n in range(200)}, note="x" * 5000)
    receipt, _ = called(wide)
    assert receipt["charge_micro"] == 60 + 150
    shortened = kept(receipt)
    assert shortened["shortened"] is True
    assert shortened["prompt_tokens"] == 20
    assert len(json.dumps(shortened)) < 4096
