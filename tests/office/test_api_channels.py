"""The management API over goods: other names of a model, the catalogue's prices, and one channel as a whole."""

from __future__ import annotations

import uuid

import pytest

from office.script import roles

pytestmark = pytest.mark.store

SECRET = "sk-very-secret-4711"


@pytest.fixture
def channel(shop, admin):
    """A channel to the sandbox with a key and one model, by name."""
    name = f"api-{uuid.uuid4().hex[:8]}"
    given = {"name": name, "upstream": "sandbox", "base_url": shop.sandbox.base_url, "local": True, "secret": SECRET}
    assert admin.post("channels", given).status == 200
    offer = {"model": "gpt-4o-mini", "costs": {"input": "1", "output": "2"}}
    assert admin.post(f"channels/{name}/offers", offer).status == 200
    shop.refresh()
    yield name
    admin.post(f"channels/{name}/state", {"state": "disabled"})
    shop.refresh()


def events(verb, what):
    from farebox.kit.models import AuditEvent

    return list(AuditEvent.objects.filter(verb=verb, object=what).order_by("id"))


def test_other_names_of_a_model(shop, admin):
    other = f"alias-{uuid.uuid4().hex[:8]}"
    here = "model-aliases/gpt-4o-mini"
    assert other in admin.post(here, {"alias": other}).json["aliases"]
    shop.refresh()
    assert shop.account("1").chat(other).status == 200
    assert admin.post(here, {"alias": "gpt-4"}).status == 400  # a model itself
    assert admin.post("model-aliases/gpt-4", {"alias": other, "remove": True}).status == 404  # not one of its own
    assert admin.post("model-aliases/none", {"alias": "x"}).status == 404
    assert other not in admin.post(here, {"alias": other, "remove": True}).json["aliases"]
    assert admin.post(here, {"alias": other, "remove": True}).status == 404
    assert [len(events(f"model.{verb}", other)) for verb in ("alias", "unalias")] == [1, 1]


def test_the_catalogues_prices(shop, admin):
    lines = admin.get("price-lists/usd/catalogue").json["data"]
    assert {"model", "usage_class", "current_micro", "proposed_micro", "change", "note"} == set(lines[0])
    ours = admin.get("price-lists/usd").json["prices"]["gpt-4"]["input"]
    assert [each["current_micro"] for each in lines if (each["model"], each["usage_class"]) == ("gpt-4", "input")] == [
        int(ours.removesuffix(".00")) * 1_000_000
    ]
    assert admin.post("price-lists", {"name": "api-empty", "currency": "USD"}).status == 200
    for absent in ("api-empty", "house", "none"):
        assert admin.get(f"price-lists/{absent}/catalogue").status == 404


def test_one_channel(scripts, channel):
    shown = {letter: script.get(f"channels/{channel}") for letter, script in scripts.items()}
    for letter, answer in shown.items():
        assert (answer.json["name"], answer.json["secret"]) == (channel, "set")
        assert SECRET.encode() not in answer.body
        assert (answer.json["models"][0]["costs"] == {}) == (letter == "S")


def test_an_address_elsewhere_takes_the_key_again(shop, admin, channel):
    """Else who may write a key, but never read it, would have it sent to a server of his own."""
    from farebox.kit import secrets
    from farebox.upstreams import board
    from farebox.upstreams.models import Channel

    here, base_url = f"channels/{channel}/address", shop.sandbox.base_url
    before = Channel.objects.get(name=channel)
    stolen = admin.post(here, {"base_url": "https://mine.example/v1"})
    assert (stolen.status, Channel.objects.get(name=channel).base_url) == (400, base_url)
    near = admin.post(here, {"base_url": f"{base_url}/", "local": True})
    assert near.status == 200
    assert Channel.objects.get(name=channel).secret == before.secret
    moved = admin.post(here, {"base_url": "https://api.vendor.example/v1", "secret": "sk-another-4711"})
    assert (moved.json["base_url"], moved.json["local"]) == ("https://api.vendor.example/v1", False)
    assert b"sk-another" not in moved.body
    row = Channel.objects.get(name=channel)
    assert board.unsealer(secrets.master_keys(shop.options))(row.secret, row.id) == "sk-another-4711"
    assert admin.post(here, {"base_url": "http://10.0.0.1/v1", "secret": "x"}).status == 400  # not said to be local
    assert len(events("channel.address", f"channel {channel}")) == 2
    assert not any("4711" in event.before + event.after for event in events("channel.secret", f"channel {channel}"))


def test_tier_weight_and_calls_at_once(admin, channel):
    here = f"channels/{channel}/order"
    shown = admin.post(here, {"tier": 3, "concurrency_max": 7}).json
    assert (shown["tier"], shown["weight"], shown["concurrency_max"]) == (3, 1, 7)
    assert admin.post(here, {"weight": 4}).json["tier"] == 3
    assert admin.post(here, {"tier": 1001}).status == 422
    assert len(events("channel.order", f"channel {channel}")) == 2


def test_a_channel_stops_answering_a_model(admin, channel):
    here = f"channels/{channel}/withdraw"
    gone = admin.post(here, {"model": "gpt-4o-mini"})
    assert gone.json == {
        "model": "gpt-4o-mini", "upstream_model": "gpt-4o-mini", "costs": {"input": "1.000000", "output": "2.000000"},
    }  # fmt: skip
    assert admin.post(here, {"model": "gpt-4o-mini"}).status == 404
    assert admin.get(f"channels/{channel}").json["models"] == []
    assert events("channel.withdraw", f"channel {channel}")


def test_health_and_a_test(shop, admin, channel):
    here = f"channels/{channel}"
    shop.reset_health()
    assert admin.get(f"{here}/health").json == {
        "channel": channel, "state": "closed", "calls": 0, "failures": 0, "why": "",
    }  # fmt: skip
    tested = admin.post(f"{here}/test", {"model": "gpt-4o-mini"}).json
    assert (tested["ok"], tested["error"], tested["charge_micro"]) == (True, None, 0)
    assert [each["channel"] for each in tested["attempts"]] == [channel]
    assert admin.post(f"{here}/test", {"model": "gpt-4"}).status == 400  # not one that it answers
    admin.post(f"{here}/address", {"base_url": "http://127.0.0.1:9/v1", "local": True, "secret": "x"})
    shop.refresh()
    failed = admin.post(f"{here}/test", {"model": "gpt-4o-mini"}).json
    assert (failed["ok"], bool(failed["error"])) == (False, True)
    assert admin.get(f"{here}/health").json["failures"] >= 1
    admin.post(f"{here}/state", {"state": "disabled", "why": "at rest"})
    paused = admin.get(f"{here}/health").json
    assert paused["state"] == "disabled"


def test_roles(scripts, channel):
    """What a role may not do is not there, nor is a channel that does not exist."""
    here = f"channels/{channel}"
    may = {
        ("GET", here): "SFXU", ("GET", f"{here}/health"): "SFXU", ("POST", f"{here}/address"): "X",
        ("POST", f"{here}/order"): "X", ("POST", f"{here}/withdraw"): "X", ("POST", f"{here}/test"): "X",
        ("POST", "model-aliases/gpt-4"): "X", ("GET", "price-lists/usd/catalogue"): "X",
    }  # fmt: skip
    roles(scripts, may)
    given = {"address": {"base_url": "https://a.example/v1"}, "order": {"tier": 1}, "withdraw": {"model": "gpt-4"},
             "test": {"model": "gpt-4"}}  # fmt: skip
    for path, body in given.items():
        assert scripts["X"].post(f"channels/none/{path}", body).status == 404
    assert scripts["X"].get("channels/none").status == 404
    assert scripts["X"].get("channels/none/health").status == 404
