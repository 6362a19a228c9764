"""What was delivered is paid (promises 4): each trick to get answers for less, beside the list price of what it got."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from kit.talk import Talk, chat, wait_for
from kit.vendor import (
    INPUT,
    OUTPUT,
    RESET,
    TEXTS,
    asked,
    chunk,
    counted,
    events,
    near,
    prose,
    read_until,
    report,
    said,
    selling,
    text_of,
    thought,
    used,
    whole,
    within,
)

pytestmark = pytest.mark.slow

THOUGHTS = prose(1400, seed=2)
HELLO = "Tell me everything, and say it well."
END = "END_MARK"


@pytest.fixture(scope="module")
def vendor(shop):
    with selling(shop) as vendor:
        yield vendor


@pytest.fixture(autouse=True)
def _healthy(shop):
    shop.reset_health()


def price(given: int, made: int) -> int:
    return given * INPUT + made * OUTPUT


def forgiven_then_charged(vendor, me, option, play, list_micro, rule):
    """Three calls of one price: the allowance is enough for one and a half of them, and not a micro-unit more."""
    begun_micro = list_micro * 3 // 2
    option(allowance_begin_usd_micro=begun_micro)
    paid_micro = drawn_micro = 0
    for number in range(3):
        receipt = me.receipt(play())
        value_micro = receipt["value_micro"]
        assert receipt["rule"] == rule
        assert list_micro * 9 // 10 - 4 * OUTPUT <= value_micro <= list_micro * 11 // 10
        assert receipt["charge_micro"] + receipt["forgiven_micro"] == value_micro
        assert receipt["drawn_micro"] == receipt["forgiven_micro"]
        assert ("allowance_used" in receipt["flags"]) == (receipt["charge_micro"] > 0) == (number > 0)
        paid_micro += receipt["charge_micro"]
        drawn_micro += receipt["drawn_micro"]
        me.shop.reset_health()
    assert drawn_micro == begun_micro
    assert me.balance == (1_000_000 - paid_micro, 0)


def accepted(shop):
    """Once an upstream has taken the call that is under way."""
    return wait_for(lambda: any(each.along.accepted for each in shop.server.ports.shop.under_way))


def small_buffers(shop):
    """The kernel keeps little of what nobody reads."""
    shop.server._listener.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)


def came(word: str):
    """Whether the customer has read this word."""
    return lambda data: word.encode() in data


# a: thinking is shown, and the customer hangs up when it ends


@pytest.mark.rule("R18")
@pytest.mark.parametrize("model", ["thinker", "biller", "plain"])
@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_a_hanging_up_when_thinking_ends(vendor, me, model, name):
    vendor.steps = [*said(THOUGHTS, name), chunk({"content": "Well"}), 0.3, *said(prose(3000)), chunk({}, "stop")]
    talk = read_until(me, model, HELLO, came('"Well"'))
    near(me.receipt(talk.call), price(asked(HELLO), counted(THOUGHTS) + 1))


@pytest.mark.rule("R18")
def test_a_in_the_middle_of_a_thought(vendor, me):
    vendor.steps = [
        *said(THOUGHTS, "reasoning_content"),
        chunk({"reasoning_content": END}),
        1.0,
        chunk({"content": "Well"}),
    ]
    talk = read_until(me, "thinker", HELLO, came(END))
    near(me.receipt(talk.call), price(asked(HELLO), counted(THOUGHTS, END)))


@pytest.mark.rule("R18")
@pytest.mark.parametrize("model", ["thinker", "biller"])
def test_a_hidden_thoughts_are_read_on_for(vendor, me, model):
    """What is left at the first word: the report comes within what is read on."""
    words = prose(200)
    vendor.steps = [
        chunk({"content": "Well"}),
        0.2,
        *said(words),
        chunk({}, "stop"),
        report(asked(HELLO), 1600, **thought(1399)),
    ]
    talk = read_until(me, model, HELLO, came('"Well"'))
    near(me.receipt(talk.call), price(asked(HELLO), 1399 + 1))


@pytest.mark.rule("R18")
@pytest.mark.parametrize("model", ["thinker", "biller"])
def test_a_what_was_not_delivered_of_a_whole_report_is_not_paid(vendor, me, model):
    """The report is of all the words; what the customer had of them is measured."""
    first, rest, given = prose(600), prose(400, seed=4), asked(HELLO)
    whole_report = report(given, counted(first, rest) + 1400, **thought(1400))
    vendor.steps = [*said(first), chunk({"content": END}), 0.3, *said(rest), chunk({}, "stop"), whole_report]
    talk = read_until(me, model, HELLO, came(END))
    near(me.receipt(talk.call), price(given, 1400 + counted(first, END)))


@pytest.mark.rule("R17")
def test_a_leaving_before_the_first_word_of_a_thinker(shop, vendor, me):
    vendor.steps = [
        chunk({"role": "assistant", "content": ""}),
        0.5,
        *said("Well then."),
        chunk({}, "stop"),
        report(asked(HELLO), 1403, **thought(1400)),
    ]
    talk = read_until(me, "thinker", HELLO, lambda _: accepted(shop))
    near(me.receipt(talk.call), price(asked(HELLO), 1400))


# b: an end mark of one's own, and a reset at it


@pytest.mark.rule("R18")
@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("model", ["plain", "thinker"])
def test_b_a_reset_at_an_end_mark(vendor, me, kind, model):
    vendor.steps = [*said(TEXTS[kind]), chunk({"content": END}), 1.0, chunk({}, "stop")]
    talk = read_until(me, model, HELLO, came(END))
    near(me.receipt(talk.call), price(asked(HELLO), counted(TEXTS[kind], END)))


@pytest.mark.rule("R18")
def test_b_a_reset_at_the_end_of_a_tools_arguments(vendor, me):
    tool = {"type": "function", "function": {"name": "write", "parameters": {"type": "object"}}}
    arguments = json.dumps({"text": f"{TEXTS['code']} {END}"})
    calls = [
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments[at : at + 40]}}]})
        for at in range(0, len(arguments), 40)
    ]
    first = chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "write", "arguments": ""}}
            ]
        }
    )
    vendor.steps = [first, *calls, 1.0, chunk({}, "tool_calls")]
    talk = read_until(me, "plain", HELLO, came(END), tools=[tool])
    near(me.receipt(talk.call), price(asked(HELLO, json.dumps(tool)), counted("write", arguments)))


EARLY = used(asked(HELLO), 1)  # as Anthropic begins: a report on the way says nothing of what comes after it
ONCE = {
    "first": lambda words: [chunk({"content": ""}, usage=EARLY), *said(words)],
    "often": lambda words: [
        chunk({"content": words[at : at + 24]}, usage=used(asked(HELLO), at // 24 + 1))
        if at < 240
        else chunk({"content": words[at : at + 24]})
        for at in range(0, len(words), 24)
    ],
    "each": lambda words: [
        chunk({"content": words[at : at + 240]}, usage=used(asked(HELLO), counted(words[: at + 240])))
        for at in range(0, len(words), 240)
    ],
}


@pytest.mark.rule("R18")
@pytest.mark.parametrize("once", ONCE)
def test_b_a_report_on_the_way_is_not_the_last_word(vendor, me, once):
    words = prose(900)
    vendor.steps = [*ONCE[once](words), *said(END), 1.0]
    talk = read_until(me, "plain", HELLO, came(END))
    near(me.receipt(talk.call), price(asked(HELLO), counted(words, END)))


@pytest.mark.rule("R03")
def test_b_nor_is_what_it_says_of_thinking_forgotten(vendor, me):
    words = prose(300)
    vendor.steps = [
        chunk({"content": ""}, usage=used(asked(HELLO), 1400, **thought(1400))),
        *said(words),
        chunk({}, "stop"),
    ]
    near(me.receipt(me.chat("thinker", HELLO, stream=True)), price(asked(HELLO), 1400 + counted(words)))


# c: the upstream's policy ends what was delivered


POLICY = json.dumps(
    {"error": {"message": "stopped by the content policy", "type": "invalid_request_error", "code": "content_filter"}}
)


@pytest.mark.rule("R08")
@pytest.mark.parametrize("reported", [False, True], ids=["silent", "reported"])
@pytest.mark.parametrize("way", ["event", "finish", "refusal"])
def test_c_a_policy_ends_what_was_delivered(vendor, me, way, reported):
    words, given = prose(900), asked(HELLO)
    made = counted(words)
    says = [report(given, made)] if reported else []
    if way == "event":
        vendor.steps = [*said(words), *says, POLICY]
    elif way == "finish":
        vendor.steps = [*said(words), chunk({}, "content_filter"), *says]
    else:
        vendor.steps = [*said(words, "refusal"), chunk({}, "stop"), *says]
    near(me.receipt(me.chat("plain", HELLO, stream=True)), price(given, made))


@pytest.mark.rule("R08")
def test_c_a_whole_answer_that_was_filtered(vendor, me):
    words = prose(900)
    vendor.steps = whole(words, finish_reason="content_filter")
    near(me.receipt(me.chat("plain", HELLO)), price(asked(HELLO), counted(words)))


@pytest.mark.rule("R06")
def test_a_report_from_the_start_is_not_believed_of_what_came_after_it(vendor, me):
    """Where the last one can't be true, our own count stands for the output, and not what was known before it began."""
    words = prose(400)
    vendor.steps = [
        chunk({"content": ""}, usage=used(asked(HELLO), 1)),
        *said(words),
        chunk({}, "stop"),
        report(asked(HELLO), 10**6),
    ]
    receipt = me.receipt(me.chat("plain", HELLO, stream=True, max_tokens=2000))
    near(receipt, price(asked(HELLO), counted(words)))
    assert "disputed" in receipt["flags"] and receipt["usage_source"] == "counted"


# d: reading slowly until the upstream resets its own side


@pytest.mark.rule("R14")
def test_d_a_reset_after_output_is_forgiven_within_the_allowance(vendor, me, option):
    words = prose(900)
    vendor.steps = [*said(words), RESET]

    def play():
        vendor_reset = me.chat("plain", HELLO, stream=True)
        assert "error" in vendor_reset.events[-1]
        assert text_of(vendor_reset.events[:-1]) == words
        return vendor_reset

    forgiven_then_charged(vendor, me, option, play, price(asked(HELLO), counted(words)), "R14")


@pytest.mark.rule("R14")
def test_d_a_report_that_is_not_believed_says_nothing_of_what_broke_off(vendor, me, option):
    """What was delivered is forgiven, or charged: neither the upstream's word nor its bound."""
    words = prose(300)
    vendor.steps = [*said(words), report(10**7, 10**7), RESET]

    def play():
        answer = me.chat("plain", HELLO, stream=True)
        assert "error" in answer.events[-1]
        return answer

    forgiven_then_charged(vendor, me, option, play, price(asked(HELLO), counted(words)), "R14")


@pytest.mark.rule("R18")
def test_d_reading_slowly_until_the_upstream_gives_up(vendor, shop, option):
    """Nothing is read, so nothing is taken from the upstream, which waits for nobody."""
    option(unread_s=0.1, hold_output_tokens=400_000)
    me = shop.account("100")
    words = prose(60_000)
    vendor.steps = [chunk({"content": words[at : at + 160]}, pad="x" * 3000) for at in range(0, len(words), 160)]
    small_buffers(shop)
    talk = Talk(me, "/v1/chat/completions", chat("vast", HELLO, stream=True), receive_bytes=4096)
    wait_for(lambda: vendor.stuck, timeout_s=20)
    talk._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    talk.rest()
    read = text_of(events(talk.data))
    receipt = me.receipt(talk.call)
    near(receipt, price(asked(HELLO), counted(read)))


# e: a report of the input that can't be true


@pytest.mark.rule("R06")
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_e_too_much_input_takes_no_output_with_it(vendor, me, stream):
    words = "Well then, here it is."
    usage = (2000, 1700 + counted(words))
    thinking = thought(1700)
    if stream:
        vendor.steps = [*said(words), chunk({}, "stop"), report(*usage, **thinking)]
    else:
        vendor.steps = whole(words, used(*usage, **thinking))
    near(me.receipt(me.chat("thinker", HELLO, stream=stream)), price(asked(HELLO), usage[1]))


@pytest.mark.rule("R06")
@pytest.mark.parametrize(
    ("given", "more"),
    [
        (20, {"total_tokens": 5}),
        (20, {"prompt_tokens_details": {"cached_tokens": 900}}),
        (10**8, {}),
    ],
    ids=["total", "parts", "huge"],
)
def test_e_a_report_that_is_odd_on_one_side(vendor, me, given, more):
    vendor.steps = whole("Well then.", {**used(20, 1503, **thought(1500)), "prompt_tokens": given, **more})
    near(me.receipt(me.chat("thinker", HELLO)), price(asked(HELLO), 1503))


# f: a small limit where thinking is not under it


@pytest.mark.rule("R06")
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_f_thinking_beyond_the_limit(vendor, me, stream, name):
    words = "Here it is, in short."
    usage = (asked(HELLO), 1400 + counted(words))
    if stream:
        vendor.steps = [*said(words), chunk({}, "stop"), report(*usage, **thought(1400))]
    else:
        vendor.steps = whole(words, used(*usage, **thought(1400)))
    near(me.receipt(me.chat("thinker", HELLO, stream=stream, **{name: 16})), price(*usage))


@pytest.mark.rule("R10")
def test_f_only_thinking_and_then_the_limit(vendor, me):
    usage = (asked(HELLO), 1400)
    vendor.steps = [chunk({"role": "assistant", "content": ""}), chunk({}, "length"), report(*usage, **thought(1400))]
    near(me.receipt(me.chat("thinker", HELLO, stream=True, max_tokens=16)), price(*usage))


@pytest.mark.rule("R06")
def test_f_more_thinking_than_any_hold_begins_with_is_forgiven_and_then_charged(vendor, me, option):
    given, made = asked(HELLO), 9003
    vendor.steps = whole("Well then.", used(given, made, **thought(9000)))
    option(allowance_begin_usd_micro=30_000)
    receipts = [me.receipt(me.chat("thinker", HELLO, max_tokens=16)) for _ in range(3)]
    assert sum(receipt["drawn_micro"] for receipt in receipts) == 30_000
    assert sum(receipt["charge_micro"] for receipt in receipts) == 3 * price(given, made) - 30_000


# g: what an upstream of completions does not echo


def completion(text: str, finish: str | None = None) -> str:
    return json.dumps(
        {"id": "v1", "object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": finish}]}
    )


def completions(text: str) -> list[str]:
    return [completion(text[at : at + 24]) for at in range(0, len(text), 24)] + [completion("", "stop")]


PROMPT = prose(1600, seed=7)
ECHOES = {"ignored": "", "whole": PROMPT, "half": PROMPT[:4000], "other": PROMPT[1:]}


@pytest.mark.rule("R03")
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("echo", ECHOES)
def test_g_what_was_not_echoed_is_not_subtracted(vendor, me, echo, stream):
    """The vendor bills the continuation alone; half a prompt, or another one, is its own words."""
    words = prose(1800, seed=8)
    text = ECHOES[echo] + words
    if stream:
        vendor.steps = completions(text)
    else:
        vendor.steps = {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}
    body = {"model": "plain", "prompt": PROMPT, "echo": True, "stream": stream, "max_tokens": 8000}
    answer = me.request("POST", "/v1/completions", body)
    made = counted(words) if echo == "whole" else counted(text)
    near(me.receipt(answer), price(counted(PROMPT), made))


@pytest.mark.rule("R03")
@pytest.mark.parametrize("echo", [False, True])
def test_g_a_suffix_is_not_subtracted(vendor, me, echo):
    words = prose(900, seed=8)
    vendor.steps = completions((prose(30) if echo else "") + words)
    body = {"model": "plain", "prompt": prose(30), "suffix": PROMPT, "stream": True, "max_tokens": 8000, "echo": echo}
    answer = me.request("POST", "/v1/completions", body)
    near(me.receipt(answer), price(counted(prose(30), PROMPT), counted(words)))


@pytest.mark.rule("R07")
def test_g_an_echo_that_never_comes_is_no_cover(vendor, shop):
    """Money for the prompt and a little more: what is delivered is covered, and paid."""
    me = shop.account(f"{((len(PROMPT) + 200) * INPUT + 600 * OUTPUT) / 1_000_000:.6f}")
    words = prose(4000, seed=8)
    vendor.steps = lambda body: completions(within(words, body.get("max_tokens")))
    body = {"model": "plain", "prompt": PROMPT, "echo": True, "stream": True, "max_tokens": 8000}
    answer = me.request("POST", "/v1/completions", body)
    assert answer.status == 200, answer.body
    read = "".join(choice["text"] for event in answer.events[:-1] for choice in event.get("choices", ()))
    receipt = me.receipt(answer)
    assert "short" not in receipt["flags"]
    assert counted(read) > 500
    near(receipt, price(counted(PROMPT), counted(read)))


# h: little money, and many streams that it ends


def to_the_limit(text: str):
    """An upstream that says this, and stops at its limit."""

    def play(body):
        words = within(text, body.get("max_tokens", body.get("max_completion_tokens")))
        return [*said(words), chunk({}, "length" if len(words) < len(text) else "stop")]

    return play


@pytest.mark.rule("R07")
@pytest.mark.parametrize("kind", ["prose", "Chinese", "code"])
def test_h_the_last_money_buys_what_it_pays_for(vendor, shop, kind):
    me = shop.account("0.020")
    vendor.steps = to_the_limit(TEXTS[kind] * 4)
    lists = []
    while (answer := me.chat("plain", HELLO, stream=True)).status == 200:
        list_micro = price(asked(HELLO), counted(answer.text))
        near(me.receipt(answer), list_micro)
        lists.append(list_micro)
        assert len(lists) < 8
    assert max(lists) > 20_000 * 3 // 4
    assert sum(lists) * 9 // 10 - 100 <= 20_000 - me.balance[0]


@pytest.mark.rule("R07")
@pytest.mark.parametrize("kind", ["prose", "JSON"])
def test_h_streams_that_their_number_ends_are_paid(vendor, shop, kind):
    """Each holds its first step; there is no money for a second one of any of them."""
    me = shop.account("0.066")
    events = said(TEXTS[kind] * 4)
    vendor.steps = [step for at in range(0, len(events), 20) for step in (*events[at : at + 20], 0.01)]
    with ThreadPoolExecutor(4) as pool:
        answers = [each.result() for each in [pool.submit(me.chat, "plain", HELLO, stream=True) for _ in range(4)]]
    flags = set()
    for answer in answers:
        assert answer.status == 200
        receipt = me.receipt(answer)
        near(receipt, price(asked(HELLO), counted(answer.text)))
        flags |= set(receipt["flags"])
    assert "hold_used_up" in flags


# i: empty answers to long questions


LONG = prose(5000, seed=5)


def listed(words: str) -> dict[str, object]:
    return {
        "content": [{"token": word, "logprob": -0.1, "bytes": None, "top_logprobs": []} for word in words.split(" ")]
    }


@pytest.mark.rule("R02", "R03")
@pytest.mark.parametrize("reported", [False, True], ids=["silent", "reported"])
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_i_an_answer_in_logprobs_is_not_empty(vendor, me, stream, reported):
    words = prose(150)
    usage = (asked(LONG), counted(words))
    if stream:
        vendor.steps = [
            json.dumps({"id": "v1", "choices": [{"index": 0, "delta": {"content": ""}, "logprobs": listed(words), "finish_reason": None}]}),
            chunk({}, "stop"), *([report(*usage)] if reported else []),
        ]  # fmt: skip
    else:
        vendor.steps = whole("", used(*usage) if reported else None, logprobs=listed(words))
    answer = me.chat("plain", LONG, stream=stream, logprobs=True)
    assert b"forgets" in answer.body
    near(me.receipt(answer), price(*usage))


@pytest.mark.rule("R09")
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_i_an_empty_answer_is_forgiven_within_the_allowance(vendor, me, option, stream):
    given = asked(LONG)
    vendor.steps = (
        [chunk({"content": ""}), chunk({}, "stop"), report(given, 0)] if stream else whole("", used(given, 0))
    )

    def play():
        answer = me.chat("plain", LONG, stream=stream)
        assert answer.status == 200
        return answer

    forgiven_then_charged(vendor, me, option, play, price(given, 0), "R09")


# j: words in a place that nobody knows


PLACES = {
    "delta": lambda text: chunk({"content": "", "aside": text}),
    "object": lambda text: chunk({"content": "", "aside": {"text": [text]}}),
    "choice": lambda text: json.dumps({"id": "v1", "choices": [{"index": 0, "delta": {"content": ""}, "aside": text}]}),
    "top": lambda text: chunk({"content": ""}, aside=text),
    "annotations": lambda text: chunk({"content": "", "annotations": [{"type": "url_citation", "url_citation": {"title": text, "url": "https://a.test"}}]}),
    "audio": lambda text: chunk({"content": "", "audio": {"id": "a", "transcript": text}}),
    "details": lambda text: chunk({"content": "", "reasoning_details": [{"type": "reasoning.text", "text": text}]}),
    "id": lambda text: chunk({"tool_calls": [{"index": 0, "id": text, "type": "function", "function": {"name": "f", "arguments": ""}}]}),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_j_text_in_a_place_that_nobody_knows(vendor, me, place):
    """It is not passed on, or it is paid; what of it is passed is for each event."""
    words = prose(900, seed=9)
    pieces = [words[at : at + 240] for at in range(0, len(words), 240)]
    vendor.steps = [*(PLACES[place](piece) for piece in pieces), *said("So."), chunk({}, "stop")]
    answer = me.chat("plain", HELLO, stream=True)
    passed = [piece for piece in pieces if piece[:40].encode() in answer.body]
    near(me.receipt(answer), price(asked(HELLO), counted("So.", "".join(passed))))


HALVES = {
    "content": {"content": "@"},
    "both": {"content": "@", "refusal": "@"},
    "refusal": {"refusal": "@"},
    "reasoning": {"reasoning_content": "@"},
    "annotation": {
        "content": "",
        "annotations": [{"type": "url_citation", "url_citation": {"title": "@", "url": "a"}}],
    },
    "transcript": {"audio": {"id": "a", "transcript": "@"}},
    "arguments": {
        "tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "@"}}]
    },
    "details": {"content": "", "reasoning_details": [{"type": "reasoning.text", "text": "@"}]},
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("place", HALVES)
def test_j_half_a_sign_is_an_answer(vendor, me, stream, place):
    """It arrives as a sign for what can't be read: so it was delivered, and its question is paid."""
    said_so = json.loads(json.dumps(HALVES[place]).replace("@", r"\ud83d"))
    vendor.steps = whole("", message={"role": "assistant"} | said_so)
    if stream:
        vendor.steps = [chunk(said_so)]
    answer = me.chat("plain", LONG, stream=stream)
    assert answer.status == 200
    if place not in {"annotation", "details"}:
        assert "\ufffd" in json.dumps(answer.events if stream else answer.json, ensure_ascii=False)
        near(me.receipt(answer), price(asked(LONG), 1))


# k: classes that the model has no price for


@pytest.mark.rule("R05")
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(
    ("usage", "classes"),
    [
        (used(6700, 10, prompt_tokens_details={"cached_tokens": 6600}), {"input": 100, "cached_read": 6600, "output": 10}),
        (used(6700, 10, cache_creation_input_tokens=6600), {"input": 100, "cache_write": 6600, "output": 10}),
        (used(6700, 1510, **thought(1500)), {"input": 6700, "output": 10, "reasoning": 1500}),
        (used(6700, 10, total_tokens=8210, **thought(1500)), {"input": 6700, "output": 10, "reasoning": 1500}),
    ],
    ids=["read", "write", "reasoning", "beside"],
)  # fmt: skip
def test_k_a_class_without_a_price_costs_what_its_parent_costs(shop, vendor, me, usage, classes, stream):
    given, made = 6700, 10 + classes.get("reasoning", 0)
    vendor.steps = whole("Well.", usage)
    if stream:
        vendor.steps = [*said("Well."), chunk({}, "stop"), json.dumps({"id": "v1", "choices": [], "usage": usage})]
    answer = me.chat("plain", "word " * 6700, stream=stream)
    assert answer.status == 200
    receipt = me.receipt(answer)
    assert {name: units for name, units in receipt["usage"].items() if units} == classes
    near(receipt, price(given, made))
    assert receipt["charge_micro"] == price(given, made)
    shop.refresh()
    assert "plain" in {model["id"] for model in me.get("/v1/models").json["data"]}
    assert me.chat("plain", HELLO).status == 200
