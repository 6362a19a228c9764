"""What a call came to: its receipt against the money, its answer against the contract, its upstream's record."""

from __future__ import annotations

from typing import Any

from kit.talk import on_sale

START = 1_000_000


def own_input(text: str) -> int:
    """The exact input of a chat of one message for cl100k, by OpenAI's recipe."""
    from farebox.catalog import tokens

    return own_output(text) + tokens.chat_overhead(1)


def own_output(text: str) -> int:
    """The exact count of an answer for cl100k."""
    from farebox.catalog import tokens

    counted = tokens.count_exact("cl100k_base", [text])
    assert counted is not None
    return counted


def ended(me: Any, call: Any, rule: str, charge_micro: int | None = None) -> dict[str, Any]:
    """The receipt, after checking that the money agrees with it and that nothing is held."""
    receipt = me.receipt(call)
    assert receipt["rule"] == rule, receipt
    if charge_micro is not None:
        assert receipt["charge_micro"] == charge_micro, receipt
    assert me.balance == (START - receipt["charge_micro"], 0)
    assert receipt["charge_micro"] <= receipt["hold_micro"]
    return receipt


def complete(answer: Any, *, reason: str = "stop") -> None:
    """The customer saw a whole answer."""
    assert answer.status == 200
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.events[-1] == "[DONE]"
        reasons = [c["finish_reason"] for e in answer.events[:-1] for c in e["choices"] if c["finish_reason"]]
        assert reasons == [reason]
    else:
        assert answer.json["choices"][0]["finish_reason"] == reason
        usage = answer.json["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def broken_off(answer: Any, code: str = "upstream_error") -> None:
    """The customer saw output, then an error event, then the clean end of the body, and no [DONE]."""
    assert answer.status == 200
    assert "[DONE]" not in answer.events
    assert answer.events[-1]["error"]["code"] == code
    assert answer.text


def sandboxed(shop: Any) -> Any:
    """The sandbox's record of the newest request, once it has ended."""
    shop.loop.run(shop.sandbox.idle())
    return shop.sandbox.requests[-1]


def pair(shop: Any, name: str, behaviours: str, base_url: str = "") -> str:
    """A model that a broken channel is asked for first, and the sandbox second."""
    with_front(shop, name, behaviours, base_url)
    return on_sale(shop, name, 2)


def alone(shop: Any, name: str, base_url: str, **facts: Any) -> str:
    """A model that the upstream at this address alone answers."""
    from farebox.upstreams import channels

    with_front(shop, name, "", base_url, **facts)
    shop.write(channels.withdraw, channel="sandbox", model=name, actor="test")
    shop.refresh()
    return on_sale(shop, name, 1)


def with_front(shop: Any, name: str, behaviours: str, base_url: str, **facts: Any) -> None:
    """A model with a channel before the sandbox's own."""
    shop.model(name, {"input": "30", "output": "60"}, **{"tokenizer": "cl100k_base", **facts})
    front = f"front-{name}"
    shop.add_channel(front, base_url or shop.sandbox.base_url, [], tier=0)
    shop.offer(front, name, f"echo+{behaviours}" if behaviours else "")
