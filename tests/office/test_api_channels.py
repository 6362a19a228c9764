"""The management API over goods: other names of a model, the catalogue's prices, and one channel as a whole."""

from __future__ import annotations

import re
import uuid

import pytest

from kit.letters import letters, text
from kit.talk import wait_for
from office.script import roles

pytestmark = [pytest.mark.store, pytest.mark.slow]

SECRET = "sk-very-secret-4711"


@pytest.fixture
def channel(shop, admin):
    """A channel to the sandbox with a key and one model, by name; a person has switched it on."""
    from farebox.upstreams import channels

    name = f"api-{uuid.uuid4().hex[:8]}"
    given = {"name": name, "upstream": "sandbox", "base_url": shop.sandbox.base_url, "local": True, "secret": SECRET}
    assert admin.post("channels", given).status == 200
    offer = {"model": "gpt-4o-mini", "costs": {"input": "1", "output": "2"}}
    assert admin.post(f"channels/{name}/offers", offer).status == 200
    shop.write(channels.set_state, channel=name, state="active", actor="test")
    shop.refresh()
    yield name
    admin.post(f"channels/{name}/state", {"state": "disabled"})
    shop.refresh()


def approve(admin, made):
    """The person for whom the script acts, in the office."""
    path = f"/office/proposals/{made.json['id']}"
    assert "in force" in admin.person.follow(admin.person.fill(path, f"{path}/approve")).text


def events(verb, what):
    from farebox.kit.models import AuditEvent

    return list(AuditEvent.objects.filter(verb=verb, object=what).order_by("id"))


def test_other_names_of_a_model(shop, admin):
    other = f"alias-{uuid.uuid4().hex[:8]}"
    here = "model-aliases/gpt-4o-mini"
    made = admin.post(here, {"alias": other})
    assert (made.status, made.json["before"], made.json["after"]) == (202, None, "gpt-4o-mini")
    assert shop.account("1").chat(other).status == 404
    approve(admin, made)
    assert admin.post(here, {"alias": other}).json["aliases"].count(other) == 1
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


def test_the_attack_a_token_leads_prompts_away(shop, admin, channel):
    """A token added an active channel of tier 0 and changed an upstream's key: the next prompt went there."""
    from farebox.upstreams import channels
    from farebox.upstreams.models import Channel

    name = f"mine-{uuid.uuid4().hex[:8]}"
    given = {"name": name, "upstream": "sandbox", "base_url": "https://mine.example/v1", "tier": 0, "secret": "x"}
    made = admin.post("channels", given)
    assert (made.status, made.json["state"]) == (200, "disabled")
    assert admin.post(f"channels/{name}/offers", {"model": "gpt-4o-mini"}).status == 200
    shop.refresh()
    answer = shop.account("1").chat("gpt-4o-mini")
    assert answer.status == 200
    assert admin.post(f"channels/{name}/state", {"state": "active"}).status == 400
    before = Channel.objects.get(name=channel)
    for path, body in (
        ("address", {"base_url": "https://mine.example/v1", "secret": "x"}),
        ("address", {"base_url": f"{before.base_url}/", "local": True}),
        ("secret", {"secret": "mine"}),
        ("order", {"tier": 0}),
    ):
        refused = admin.post(f"channels/{channel}/{path}", body)
        assert (refused.status, "A person does" in refused.json["error"]["message"]) == (400, True), path
    after = Channel.objects.get(name=channel)
    assert (after.base_url, after.secret, after.tier) == (before.base_url, before.secret, before.tier)
    offered = admin.post(f"channels/{channel}/offers", {"model": "gpt-4", "costs": {"input": "1"}})
    assert (offered.status, offered.json["before"]) == (202, None)
    elsewhere = admin.post(f"channels/{channel}/offers", {"model": "gpt-4o-mini", "upstream_model": "cheap"})
    assert elsewhere.status == 202
    assert [each["upstream_model"] for each in admin.get(f"channels/{channel}").json["models"]] == ["gpt-4o-mini"]
    assert admin.post(f"channels/{channel}/offers", {"model": "none/such", "costs": {"no": "1"}}).status == 400
    page = f"/office/proposals/{offered.json['id']}"
    html = admin.person.page(page).html
    assert before.base_url in html
    looked = {"seen": re.search(r'name="seen" value="([^"]+)"', html)[1]}
    shop.write(channels.set_quirks, channel=channel, quirks={"no_auth": True}, actor="test")
    shop.write(channels.set_order, channel=channel, tier=3, actor="test")
    late = admin.person.follow(admin.person.send(f"{page}/approve", looked)).text
    assert "this has changed since you loaded the page: the quirks, tier, weight or concurrent calls." in late
    assert len(admin.get(f"channels/{channel}").json["models"]) == 1
    approve(admin, offered)
    assert len(admin.get(f"channels/{channel}").json["models"]) == 2

    def told():
        return [text(each) for each in letters(shop, admin.person.email) if name in text(each)]

    wait_for(told)
    assert len(told()) == 1
    assert "https://mine.example/v1" in told()[0]
    assert "paused until a person" in told()[0]
    page = f"/office/upstreams/{made.json['id']}"
    looked = re.search(r'name="seen" value="([^"]+)"', admin.person.page(page).html)[1]
    admin.post(f"channels/{name}/offers", {"model": "gpt-4o-mini", "upstream_model": "another"})
    late = admin.person.follow(admin.person.send(f"{page}/state", {"state": "active", "seen": looked}))
    assert "this has changed since you loaded the page: the models" in late.text
    assert (
        "since you loaded the page" in admin.person.follow(admin.person.send(f"{page}/state", {"state": "active"})).text
    )
    assert Channel.objects.get(name=name).state == "disabled"
    admin.person.fill(page, f"{page}/state", state="active")
    assert Channel.objects.get(name=name).state == "active"  # a person with a fresh proof may
    assert admin.post(f"channels/{name}/state", {"state": "disabled"}).json["state"] == "disabled"


def test_a_script_gives_back_nothing_that_was_taken(shop, admin):
    model = shop.model(f"m{uuid.uuid4().hex[:8]}", {"input": "1", "output": "2"})
    assert admin.post(f"model-listings/{model}", {"listed": False, "why": "w"}).json["listed"] is False
    assert admin.post(f"model-listings/{model}", {"listed": True}).status == 400
    facts = {"name": model, "kinds": ["chat"], "classes": ["input", "output"], "context_tokens": 5}
    changed = admin.post("models", facts | {"output_tokens_max": 4})
    assert (changed.status, changed.json["kind"]) == (202, "model.define")
    assert admin.get(f"models/{model}").json["context_tokens"] != 5
    approve(admin, changed)
    assert admin.get(f"models/{model}").json["context_tokens"] == 5


def test_tier_weight_and_calls_at_once(admin, channel):
    here = f"channels/{channel}/order"
    assert "sooner" in admin.post(here, {"tier": 0}).json["error"]["message"]
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
        "channel": channel, "state": "closed", "calls": 0, "failures": 0, "why": "", "accounts": [], "suspected": False,
        "since_us": None, "until_us": None,
    }  # fmt: skip
    tested = admin.post(f"{here}/test", {"model": "gpt-4o-mini"}).json
    assert (tested["ok"], tested["error"], tested["charge_micro"]) == (True, None, 0)
    assert [each["channel"] for each in tested["attempts"]] == [channel]
    assert admin.post(f"{here}/test", {"model": "gpt-4"}).status == 400  # not one that it answers
    from farebox.upstreams import channels

    shop.write(channels.set_address, channel=channel, base_url="http://127.0.0.1:9/v1", local=True, actor="test")
    shop.refresh()
    failed = admin.post(f"{here}/test", {"model": "gpt-4o-mini"}).json
    assert (failed["ok"], bool(failed["error"])) == (False, True)
    assert admin.get(f"{here}/health").json["state"] == "closed"  # nobody's calls have failed there
    admin.post(f"{here}/state", {"state": "disabled", "why": "at rest"})
    paused = admin.get(f"{here}/health").json
    assert paused["state"] == "disabled"


def test_the_accounts_behind_a_channel_that_rests(shop, scripts, channel):
    from farebox.protocol.dialect import Fault

    own, customer = shop.server.ports.shop, shop.account("0")
    spec = next(each for each in own.board.current.channels.values() if each.name == channel)
    for _ in range(5):
        slot = own.health.take(spec, 0, account=customer.account, model="gpt-4o-mini")
        own.health.failed(slot, Fault("down", "no answer", 502), 0)
        own.health.give(slot)
    for role in "SFXU":
        found = scripts[role].get(f"channels/{channel}/health").json
        assert (found["state"], found["suspected"], found["failures"]) == ("closed", True, 5)
        [behind] = found["accounts"]
        assert (behind["account"], behind["calls"]) == (customer.account, 5)
        assert behind["name"].startswith("Test ")
    shop.rest(spec, "no money")
    found = scripts["S"].get(f"channels/{channel}/health").json
    assert (found["state"], found["why"], found["suspected"]) == ("open", "no money", False)
    assert found["until_us"] - found["since_us"] == 60_000_000
    assert len(found["accounts"]) == 1
    shop.reset_health()


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
