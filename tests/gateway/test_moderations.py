"""POST /v1/moderations: judged by an upstream, charged by its input, whole or not at all."""

from __future__ import annotations

import pytest

from farebox.catalog import tokens
from kit.talk import canned, http, on_sale

PATH = "/v1/moderations"
FLOW = "A plain sentence about rivers and bridges that nobody would mind. " * 20


@pytest.fixture(scope="module")
def model(shop):
    return shop.model(
        "judge",
        {"input": "2"},
        kinds=["moderations"],
        output_tokens_max=0,
        context_tokens=100_000,
        tokenizer="o200k_base",
    )


@pytest.fixture
def me(shop, model):
    return shop.account("5")


def judged(me, given):
    return me.request("POST", PATH, {"model": "judge", "input": given})


@pytest.mark.rule("R27")
def test_a_text_is_judged_and_paid_by_its_own_count_where_nothing_is_reported(me):
    answer = judged(me, FLOW)
    assert answer.status == 200, answer.body
    assert answer.json["id"].startswith("modr-") and answer.json["model"] == "judge"
    assert [each["flagged"] for each in answer.json["results"]] == [False]
    receipt = me.receipt(answer)
    counted = tokens.count_exact("o200k_base", [FLOW])
    assert (receipt["rule"], receipt["endpoint"]) == ("R27", "moderations")
    assert receipt["usage_source"] == "counted"
    assert receipt["charge_micro"] == counted * 9 // 10 * 2  # the lower quartile of the first factors


def test_each_text_of_a_list_has_a_result(me):
    answer = judged(me, ["good", "harmful words", "good again"])
    assert [each["flagged"] for each in answer.json["results"]] == [False, True, False]
    parts = judged(me, [{"type": "text", "text": "good"}, {"type": "text", "text": "harmful"}])
    assert [each["flagged"] for each in parts.json["results"]] == [True]


def test_what_is_reported_is_charged(me):
    receipt = me.receipt(judged(me, f"sandbox: usage=100,0\n{FLOW}"))
    assert (receipt["charge_micro"], receipt["usage_source"]) == (200, "reported")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "1 to 256 inputs"),
        (7, "a string, a list of strings"),
        ([[1, 2]], "a string, a list of strings"),
        ([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}], "images are not offered"),
        ([{"type": "text"}], "a string, a list of strings"),
        (["one", {"type": "text", "text": "two"}], "not both"),
        ("", "empty string"),
        (["one", ""], "empty string"),
        ([{"type": "text", "text": "a", "note": "x" * 5000}], "a string, a list of strings"),
    ],
)
def test_what_is_no_input_is_refused(me, given, words):
    answer = judged(me, given)
    assert (answer.status, answer.json["error"]["param"]) == (400, "input")
    assert words in answer.json["error"]["message"]


def test_a_model_of_another_kind_is_told_so(me):
    answer = me.request("POST", PATH, {"model": "gpt-4", "input": "x"})
    assert answer.status == 404 and "sold for" in answer.json["error"]["message"]


BAD = {
    "in part": {"results": [{"flagged": False}]},
    "no results": {"id": "x", "model": "m"},
    "empty": {"results": []},
    "no objects": {"results": ["yes", "no"]},
    "an error": {"error": {"message": "overloaded", "type": "server_error"}},
}


@pytest.mark.rule("R27")
@pytest.mark.parametrize("how", BAD)
def test_what_is_no_answer_is_free_and_another_channel_is_asked(shop, me, how):
    with canned(shop, http(BAD[how])) as upstream:
        name = shop.model(f"r27-{how.replace(' ', '-')}", {"input": "2"}, kinds=["moderations"], output_tokens_max=0)
        shop.add_channel(f"front-{name}", upstream.base_url, [name], tier=0)
        on_sale(shop, name, 2)
        answer = me.request("POST", PATH, {"model": name, "input": ["one", "two"]})
        receipt = me.receipt(answer)
        outcomes = [attempt["outcome"] for attempt in receipt["attempts"]]
        if how == "in part":  # never in part, and it was an answer
            assert (answer.status, outcomes, receipt["charge_micro"]) == (502, ["failed"], 0)
        else:
            assert (answer.status, outcomes, len(answer.json["results"])) == (200, ["failed", "served"], 2)
        shop.reset_health()


@pytest.mark.rule("R27")
def test_half_an_emoji_in_a_result_is_mended(shop, me):
    body = b'{"model": "m", "results": [{"flagged": false, "why": "\\ud83d"}]}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with canned(shop, head + body) as upstream:
        name = shop.model("r27-judge-half", {"input": "2"}, kinds=["moderations"], output_tokens_max=0)
        shop.add_channel("front-half", upstream.base_url, [name], tier=0)
        on_sale(shop, name, 2)
        answer = me.request("POST", PATH, {"model": name, "input": "one"})
        assert answer.status == 200 and answer.json["results"][0]["why"] == "\N{REPLACEMENT CHARACTER}"
