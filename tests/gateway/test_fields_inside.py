"""What a request holds inside its messages, and how it calls its limit, arrives; what doesn't is named."""

from __future__ import annotations

import json

import pytest

from kit.talk import canned, http, on_sale

PRICES = {"input": "3.00", "output": "15.00"}
CACHING = {**PRICES, "cached_read": "0.30", "cache_write": "3.75"}
ANSWER = {
    "id": "chatcmpl-1", "created": 1760000000, "model": "m", "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "42"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
}  # fmt: skip
EPHEMERAL = {"type": "ephemeral"}
ODD = [
    {"role": "developer", "content": [{"type": "text", "text": "long", "cache_control": EPHEMERAL, "odd": 1}]},
    {
        "role": "assistant", "content": "42", "reasoning": "r", "annotations": [], "audio": None, "weight": 1,
        "reasoning_details": [{"type": "reasoning.encrypted", "data": "AAA"}], "thinking_blocks": [{"signature": "S"}],
    },
    {"role": "user", "content": "go on"},
    {"role": "assistant", "content": "Once", "prefix": True},
]  # fmt: skip
CHANNELS = {
    "plain": {},
    "passing": {"pass": ["weight", "messages.odd"]},
    "strict": {
        "drop": ["messages.cache_control", "messages.thinking_blocks", "seed"], "developer_role": False,
        "rename": {"messages.reasoning": "thought", "max_completion_tokens": "max_tokens"},
    },
    "new": {"limit_name": "max_completion_tokens"},
}  # fmt: skip


@pytest.fixture(scope="module")
def upstream(shop):
    from farebox.upstreams import channels

    with canned(shop, http(ANSWER)) as found:
        for name, quirks in CHANNELS.items():
            shop.model(f"m-{name}", CACHING, output_tokens_max=200)
            shop.write(channels.withdraw, channel="sandbox", model=f"m-{name}", actor="test")
            shop.add_channel(f"c-{name}", found.base_url, [f"m-{name}"], quirks=quirks)
            on_sale(shop, f"m-{name}")
        shop.model("m-uncached", PRICES)
        shop.write(channels.withdraw, channel="sandbox", model="m-uncached", actor="test")
        shop.offer("c-plain", "m-uncached")
        on_sale(shop, "m-uncached")
        yield found


@pytest.fixture
def sent(shop, upstream):
    """What arrived at the upstream, and what is named as ignored."""
    me = shop.account("1")

    def send(model, messages=ODD, **params):
        answer = me.request("POST", "/v1/chat/completions", {"model": f"m-{model}", "messages": messages, **params})
        assert answer.status == 200, answer.body
        ignored = answer.headers.get("x-ignored-parameters", "")
        return json.loads(upstream.body), ignored.split(", ") if ignored else []

    return send


@pytest.mark.slow
def test_free_fields_go_on_and_others_are_named(sent):
    body, ignored = sent("plain", prompt_cache_key="k", safety_identifier="s", prompt_cache_retention="24h")
    first, second, third, last = body["messages"]
    assert first == {"role": "developer", "content": [{"type": "text", "text": "long", "cache_control": EPHEMERAL}]}
    assert second == {
        name: ODD[1][name] for name in ("role", "content", "reasoning", "reasoning_details", "thinking_blocks")
    }
    assert (third, last) == (ODD[2], ODD[3])
    assert (body["prompt_cache_key"], body["safety_identifier"], body["prompt_cache_retention"]) == ("k", "s", "24h")
    assert ignored == ["messages.odd", "messages.weight"]


def test_a_quirk_passes_fields_of_messages_and_of_their_parts(sent):
    body, ignored = sent("passing")
    assert body["messages"][0]["content"] == ODD[0]["content"]
    assert body["messages"][1]["weight"] == 1
    assert ignored == []


def test_quirks_drop_and_rename_inside_messages(sent):
    body, ignored = sent("strict", seed=7)
    assert body["messages"][0] == {"role": "system", "content": [{"type": "text", "text": "long"}]}
    second = body["messages"][1]
    assert second["thought"] == "r"
    assert not {"thinking_blocks", "reasoning"} & second.keys()
    assert "seed" not in body
    assert "seed" in ignored


def test_a_cache_is_not_written_where_it_has_no_price(sent):
    body, ignored = sent("uncached", [{"role": "user", "content": '"cache_control"', "cache_control": EPHEMERAL}])
    assert body["messages"] == [{"role": "user", "content": '"cache_control"'}]
    assert ignored == ["messages.cache_control"]


def test_fields_of_an_image_are_named_too(shop, upstream):
    me = shop.account("1")
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "format": "png"}}
    body = {"model": "m-plain", "messages": [{"role": "user", "content": [part]}]}
    answer = me.request("POST", "/v1/chat/completions", body)
    assert answer.status == 400  # it sees no images
    assert answer.json["error"]["param"].startswith("messages")


@pytest.mark.parametrize(
    ("model", "given", "arrives"),
    [
        ("plain", "max_completion_tokens", "max_completion_tokens"),
        ("plain", "max_tokens", "max_tokens"),
        ("new", "max_tokens", "max_tokens"),
        ("strict", "max_completion_tokens", "max_tokens"),
    ],
)
def test_a_limit_keeps_the_name_that_the_customer_gave(sent, model, given, arrives):
    body, _ = sent(model, [{"role": "user", "content": "Hi"}], **{given: 50})
    assert {name: value for name, value in body.items() if "max_" in name} == {arrives: 50}


@pytest.mark.parametrize(("model", "name"), [("plain", "max_tokens"), ("new", "max_completion_tokens")])
def test_a_limit_that_money_makes_has_the_channels_name(shop, upstream, model, name):
    poor = shop.account("0.001")
    answer = poor.chat(f"m-{model}", "Hi")
    assert answer.status == 200, answer.body
    most = int(answer.headers["x-farebox-max-tokens"])
    body = json.loads(upstream.body)
    assert {key: value for key, value in body.items() if "max_" in key} == {name: most}


def test_what_a_quirk_could_pass_on_is_held(shop, upstream):
    """A long unknown field may reach the upstream, so that the hold covers it."""
    me = shop.account("1")
    message = {"role": "user", "content": "Hi"}
    holds = []
    for more in ({}, {"weight": "x" * 20_000}):
        answer = me.request("POST", "/v1/chat/completions", {"model": "m-passing", "messages": [message | more]})
        assert answer.status == 200, answer.body
        holds.append(me.receipt(answer)["hold_micro"])
    assert holds[1] - holds[0] >= 20_000 * 3


@pytest.mark.parametrize(
    "quirk",
    [
        {"drop": ["messages.role"]}, {"rename": {"messages.content": "text"}}, {"pass": ["messages.audio"]},
        {"pass": ["messages.b d"]}, {"rename": {"max_tokens": "n"}}, {"rename": {"n": "max_tokens"}},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_a_message_stays(quirk):
    from farebox.kit.errors import CommandError
    from farebox.protocol import quirks

    with pytest.raises(CommandError):
        quirks.parsed(quirk)


def test_every_preset_is_a_set_of_quirks():
    from farebox.protocol import presets, quirks

    for name, preset in presets.PRESETS.items():
        made = quirks.parsed(presets.quirks(name, {"no_auth": True}))
        assert made.no_auth
        assert preset.title
        assert preset.base_url.startswith("http")
