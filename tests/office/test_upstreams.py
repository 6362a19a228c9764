"""Upstreams and channels: the guided form, tests by real calls, pauses, models and costs, and who may what."""

from __future__ import annotations

import json
import re
import uuid

import pytest

pytestmark = pytest.mark.slow

SECRET = "sk-very-secret-4711-of-the-upstream"


@pytest.fixture(autouse=True)
def _healthy(shop):
    shop.reset_health()


def fields(shop, **changes):
    """The form of a new channel to the sandbox, filled in."""
    name = f"ch-{uuid.uuid4().hex[:8]}"
    return {
        "upstream": name, "name": name, "base_url": shop.sandbox.base_url, "secret": SECRET, "local": "on",
        "models": "gpt-4\ngpt-4o-mini = mini-there", "currency": "usd", "cancel_billing": "stops", "tier": "3",
        "weight": "1", **changes,
    }  # fmt: skip


def connected(shop, admin, **changes):
    """A channel made by the form: (its page, its id, its name)."""
    given = fields(shop, **changes)
    answer = admin.fill("/office/upstreams/new?vendor=other", **given)
    assert answer.status == 302, answer.text
    address = answer.headers["location"]
    shop.refresh()
    return address, address.rsplit("/", 1)[1], given["name"]


def switched_on(shop, admin, **changes):
    """The same, and it takes calls."""
    address, ident, name = connected(shop, admin, **changes)
    assert admin.fill(address, f"{address}/state", state="active").status == 302
    shop.refresh()
    return address, ident, name


def row(name):
    from farebox.upstreams.models import Channel

    return Channel.objects.select_related("upstream").get(name=name)


def costs(name):
    from farebox.upstreams.board import read_costs
    from farebox.upstreams.models import Offering

    return {
        each.model: (each.upstream_model, read_costs(each.costs))
        for each in Offering.objects.filter(channel__name=name)
    }


def trail(name):
    from farebox.kit.models import AuditEvent

    return list(AuditEvent.objects.filter(object=f"channel {name}").order_by("id"))


def remove(name):
    from farebox.upstreams.models import Channel

    Channel.objects.filter(name=name).update(state="disabled")


def test_connect_test_and_sell(shop, operator):
    admin = operator()
    page = admin.page("/office/upstreams/new")
    for vendor in ("OpenAI", "DeepSeek", "Qwen", "Moonshot", "Zhipu", "Groq", "vLLM", "llama.cpp", "Other"):
        assert vendor in page.text
    address, _, name = connected(shop, admin, official_costs="on")
    made = row(name)
    assert (made.local, made.tier, made.upstream.cost_currency, made.upstream.cancel_billing) == (
        True,
        3,
        "USD",
        "stops",
    )
    assert costs(name) == {
        "gpt-4": ("gpt-4", {"input": 30_000_000, "output": 60_000_000}),
        "gpt-4o-mini": ("mini-there", {"input": 150_000, "cached_read": 75_000, "output": 600_000}),
    } or costs(name)["gpt-4"] == ("gpt-4", {"input": 30_000_000, "output": 60_000_000})
    assert row(name).state == "disabled"  # no customer's call comes there before somebody has tested it
    page = admin.page(address)
    assert "paused" in page.text
    assert "Enable channel" in page.text
    page = admin.through(address, to=f"{address}/test", model="gpt-4")
    assert page.status == 200
    assert "The test succeeded" in page.text
    call = re.search(r"<code>(call_[A-Za-z0-9]+)</code>", page.html)[1]
    from farebox.calls.models import Attempt, Call

    assert Call.objects.get(id=call).charge_micro == 0
    assert [each.channel for each in Attempt.objects.filter(call_id=call)] == [name]
    assert row(name).state == "disabled"
    assert not any(each.name == name for each in shop.server.ports.shop.board.current.channels.values())
    page = admin.follow(admin.fill(address, to=f"{address}/state", state="active"))
    assert "Channel enabled." in page.text
    assert "active" in page.text
    shop.refresh()
    assert any(each.name == name for each in shop.server.ports.shop.board.current.channels.values())
    remove(name)


def test_a_paused_channel_answers_a_test_and_no_customer(shop, operator):
    from farebox.catalog import definitions, price_lists, sheets
    from farebox.kit import clock

    admin, model = operator(), f"solo-{uuid.uuid4().hex[:6]}"
    facts = {"kinds": ["chat"], "classes": ["input", "output"], "context_tokens": 4096, "output_tokens_max": 100}
    shop.write(definitions.define_model, model, **facts, actor="test", now_us=clock.now_us())
    rows = [sheets.row(model, each, "1") for each in ("input", "output")]
    shop.write(price_lists.publish, "usd", rows, actor="test", now_us=clock.now_us())
    address, _, name = connected(shop, admin, models=f"{model} = gpt-4o-mini")
    assert "The test succeeded" in admin.through(address, to=f"{address}/test", model=model).text
    customer = shop.account("1")
    assert customer.chat(model, "Hello").status == 503
    admin.fill(address, f"{address}/state", state="active")
    shop.refresh()
    assert customer.chat(model, "Hello").status == 200
    remove(name)


def test_the_key_is_written_and_never_shown(shop, operator):
    admin = operator()
    address, _, name = connected(shop, admin)
    assert SECRET not in row(name).secret
    from farebox.kit import secrets
    from farebox.upstreams import board

    unseal = board.unsealer(secrets.master_keys(shop.options))
    assert unseal(row(name).secret, row(name).id) == SECRET
    for path in (address, f"{address}/edit", "/office/upstreams", f"{address}/models"):
        for role in ("admin", "finance", "auditor", "support"):
            page = operator(role).get(path)
            assert SECRET.encode() not in page.body
            assert row(name).secret.encode() not in page.body
    assert not any(SECRET in event.before + event.after for event in trail(name))
    before = row(name).secret
    edit = {"base_url": row(name).base_url, "local": "on", "tier": "3", "weight": "1", "concurrency_max": "0"}
    assert admin.fill(f"{address}/edit", secret="", **edit).status == 302
    assert row(name).secret == before
    assert admin.fill(f"{address}/edit", secret="sk-another-one-4711", **edit).status == 302
    assert unseal(row(name).secret, row(name).id) == "sk-another-one-4711"
    assert [event.verb for event in trail(name)][-1] == "channel.secret"
    remove(name)


def test_own_network_is_said_and_audited(shop, operator):
    admin = operator()
    given = fields(shop)
    given.pop("local")
    page = admin.fill("/office/upstreams/new?vendor=other", **given)
    assert page.status == 200
    assert "The base URL can't be used" in page.text
    assert SECRET not in page.html
    address, _, name = connected(shop, admin)
    assert "own network" in admin.page(address).text
    assert '"local":true' in trail(name)[0].after
    assert trail(name)[0].actor == f"operator:{admin.person}"
    remove(name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": " "}, "This field is required."),
        ({"upstream": "sandbox", "name": "sandbox"}, "The channel sandbox already exists."),
        ({"base_url": "ftp://example.org"}, "The base URL can't be used"),
        ({"base_url": "http://10.0.0.1/v1", "local": ""}, "The base URL can't be used"),
        ({"models": "= x"}, "Enter a model"),
        ({"models": "gpt-4 = a\ngpt-4 = b"}, "gpt-4 is listed more than once."),
        ({"models": "\n".join(f"m{n}" for n in range(201))}, "At most 200 models"),
        ({"currency": "12$"}, "Enter a code such as USD or CNY."),
        ({"tier": "1001"}, "tier"),
        ({"tier": "-1"}, "greater than or equal to 0"),
        ({"weight": "x"}, "Enter a whole number."),
        ({"cancel_billing": "never"}, "Select a valid choice."),
        ({"secret": "line\nbreak"}, ""),
    ],
)
def test_forms_that_will_not_do(shop, operator, changes, said):
    from farebox.upstreams.models import Channel, Upstream

    before = Channel.objects.count(), Upstream.objects.count()
    page = operator().fill("/office/upstreams/new?vendor=other", **fields(shop, **changes))
    assert page.status == 200
    assert said in page.text
    assert (Channel.objects.count(), Upstream.objects.count()) == before  # all or nothing


def test_pause_and_go_on(shop, operator):
    admin = operator()
    address, ident, name = switched_on(shop, admin)
    page = admin.follow(admin.fill(address, to=f"{address}/state", state="disabled"))
    assert "Channel paused." in page.text
    assert row(name).state == "disabled"
    shop.refresh()
    assert ident not in shop.server.ports.shop.board.current.channels
    assert "Paused: customers' calls don't go here" in page.text
    assert "Test channel" in page.text
    page = admin.follow(admin.fill(address, to=f"{address}/state", state="active"))
    assert "Channel enabled." in page.text
    assert row(name).state == "active"
    remove(name)


def test_models_and_costs(shop, operator):
    admin = operator()
    address, _, name = connected(shop, admin, models="")
    assert "No models yet, so this channel gets no calls." in admin.page(address).text
    page = admin.fill(f"{address}/models", model="gpt-4", upstream_model="", input="x", output="2", cached_read="")
    assert "Enter an amount such as 2.50." in page.text
    page = admin.fill(f"{address}/models", model="gpt-4", upstream_model="", input="-1", output="2", cached_read="")
    assert "Enter an amount such as 2.50." in page.text
    page = admin.fill(f"{address}/models", model="not-there", upstream_model="", input="", output="", cached_read="")
    assert "Select a valid choice." in page.text
    facts = {"model": "gpt-4", "upstream_model": "their-4", "input": "2.50", "output": "10", "cached_read": ""}
    assert admin.fill(f"{address}/models", **facts).status == 302
    assert costs(name) == {"gpt-4": ("their-4", {"input": 2_500_000, "output": 10_000_000})}
    page = admin.page(f"{address}/models?model=gpt-4")
    assert 'value="2.50"' in page.html
    assert "Input 2.50" in admin.page(address).text
    assert "Input 2.50" in operator("finance").page(address).text
    support = operator("support").page(address)
    assert "their-4" in support.text
    assert "2.50" not in support.text
    assert admin.send(f"{address}/withdraw", {"model": "gpt-3"}).status == 404
    assert admin.send(f"{address}/withdraw", {"model": "gpt-4"}).status == 302
    assert costs(name) == {}
    assert [event.verb for event in trail(name)][-2:] == ["channel.offer", "channel.withdraw"]
    remove(name)


def test_no_cost_is_lost_by_saving(shop, operator):
    from farebox.catalog import usage
    from farebox.office.pages import upstream_forms
    from farebox.upstreams import channels

    assert set(upstream_forms.COSTS) == set(usage.CLASSES)  # a class without a field would lose its cost
    admin = operator()
    address, _, name = connected(shop, admin, models="")
    given = {each: f"{place}.000001" for place, each in enumerate(usage.CLASSES, start=1)}
    shop.write(channels.offer, channel=name, model="gpt-4", costs=given, actor="test")
    page = admin.page(f"{address}/models?model=gpt-4")
    shown = dict(re.findall(r'<input type="text" name="(\w+)" value="([^"]+)"', page.html))
    assert {each: shown[each] for each in usage.CLASSES} == given
    assert "<details open><summary>Other costs" in page.html
    renamed = {**shown, "model": "gpt-4", "upstream_model": "their-4"}
    assert admin.fill(f"{address}/models?model=gpt-4", **renamed).status == 302
    exact = {each: place * 1_000_000 + 1 for place, each in enumerate(usage.CLASSES, start=1)}
    assert costs(name) == {"gpt-4": ("their-4", exact)}
    assert admin.fill(f"{address}/models?model=gpt-4", **renamed | {"reasoning": "", "images": "7"}).status == 302
    del exact["reasoning"]
    assert costs(name) == {"gpt-4": ("their-4", exact | {"images": 7_000_000})}
    assert admin.fill(f"{address}/models?model=gpt-4", **renamed | {"upstream_model": ""}).status == 302
    assert costs(name)["gpt-4"][0] == "gpt-4"
    # The form of a new model knows no costs: it takes none that is there already.
    page = admin.fill(f"{address}/models", model="gpt-4", upstream_model="", input="1", output="2", cached_read="")
    assert "Select a valid choice." in page.text
    assert costs(name)["gpt-4"][1]["cache_write"] == exact["cache_write"]
    assert "<details><summary>Other costs" in admin.page(f"{address}/models").html
    remove(name)


def test_a_key_that_was_typed_is_never_lost_nor_shown(shop, operator):
    from farebox.accounts.sign_in.sessions import SessionStore
    from farebox.kit import secrets
    from farebox.upstreams import board

    admin = operator()
    given = fields(shop, currency="12$")
    page = admin.fill("/office/upstreams/new?vendor=other", **given)
    assert SECRET not in page.html and "The key you entered is kept" in page.text
    stored = SessionStore(admin.cookies["__Host-o"], area="office").load()
    assert "kept" in stored and SECRET not in str(stored)
    again = given | {"currency": "USD", "secret": "", "secret_kept": "on"}
    assert 'name="secret_kept" value="on"' in page.html
    assert admin.fill("/office/upstreams/new?vendor=other", **again).status == 302
    unseal = board.unsealer(secrets.master_keys(shop.options))
    assert unseal(row(given["name"]).secret, row(given["name"]).id) == SECRET
    # What is no longer kept is asked for again: no channel is made without.
    lost = fields(shop, secret="", secret_kept="on")
    page = admin.fill("/office/upstreams/new?vendor=other", **lost)
    assert page.status == 200 and "Enter the key again" in page.text
    page = admin.fill("/office/upstreams/new?vendor=other", **fields(shop, secret="", local=""))
    assert page.status == 200 and "Enter the key of the upstream." in page.text
    # A change of the key that fails is no other.
    address = f"/office/upstreams/{row(given['name']).id}/edit"
    edit = {"base_url": given["base_url"], "local": "on", "tier": "x", "weight": "1", "concurrency_max": "0"}
    assert "The key you entered is kept" in admin.fill(address, secret="sk-changed-4711", **edit).text
    assert admin.fill(address, secret="", secret_kept="on", **(edit | {"tier": "1"})).status == 302
    assert unseal(row(given["name"]).secret, row(given["name"]).id) == "sk-changed-4711"
    remove(given["name"])


def test_order_is_changed_and_nothing_else_is_noted(shop, operator):
    admin = operator()
    address, _, name = connected(shop, admin)
    edit = {
        "base_url": row(name).base_url,
        "local": "on",
        "secret": "",
        "tier": "2",
        "weight": "9",
        "concurrency_max": "5",
    }
    assert admin.fill(f"{address}/edit", **edit).status == 302
    assert (row(name).tier, row(name).weight, row(name).concurrency_max) == (2, 9, 5)
    assert [event.verb for event in trail(name)][-1] == "channel.order"
    before = len(trail(name))
    assert admin.fill(f"{address}/edit", **edit).status == 302
    assert len(trail(name)) == before
    remove(name)


def test_why_a_channel_rests_is_shown_with_the_accounts_behind_it(shop, operator):
    """A customer's refusal alone is a doubt; the shop's own makes it rest, and nobody's name is kept from support."""
    from farebox.kit import clock
    from farebox.protocol.dialect import Fault

    admin = operator()
    address, ident, name = switched_on(shop, admin)
    customer = shop.account("0")
    spec = shop.server.ports.shop.board.current.channels[ident]
    health = shop.server.ports.shop.health
    slot = health.take(spec, clock.now_us(), account=customer.account, model="gpt-4")
    health.failed(slot, Fault(kind="ours", status=401, message="the key was refused"), clock.now_us())
    health.give(slot)
    page = operator("support").page(address)
    assert "tripped after repeated failures" not in page.text
    assert "being checked" in page.text
    assert "A probe call will find out why" in page.text
    shop.rest(spec, "the key was refused")
    for path in (address, "/office/upstreams"):
        page = operator("support").page(path)
        assert "tripped after repeated failures" in page.text
        assert "the key was refused" in page.text
    for role in ("support", "finance", "auditor", "admin"):
        page = operator(role).page(address)
        assert f'href="/office/customers/{customer.account}"' in page.html
        assert "1 call" in page.text
    chinese = operator("support", language="zh-hans").page(address)
    assert "1 次调用" in chinese.text
    shop.reset_health()
    assert "tripped after repeated failures" not in operator("support").page(address).text
    remove(name)


def test_a_test_that_fails_says_why(shop, operator):
    admin = operator()
    address, _, name = connected(shop, admin, models="gpt-4 = gpt-4+status=500")
    page = admin.through(address, to=f"{address}/test", model="gpt-4")
    assert "The test failed" in page.text
    page = admin.through(address, to=f"{address}/test", model="nothing-here")
    assert "There is no model 'nothing-here'" in page.text
    remove(name)
    shop.reset_health()


def test_who_may_what(shop, operator):
    address, _, name = switched_on(shop, operator())
    for role in ("support", "finance", "auditor"):
        other = operator(role)
        for path in ("/office/upstreams", address):
            page = other.page(path)
            assert page.status == 200
            assert "Connect upstream" not in page.text
            assert "Pause channel" not in page.text
        for path in ("/office/upstreams/new", f"{address}/edit", f"{address}/models"):
            assert other.get(path).status == 404
            assert other.send(path, fields(shop)).status == 404
        for path in ("state", "test", "withdraw"):
            assert other.send(f"{address}/{path}", {"state": "disabled", "model": "gpt-4"}).status == 404
    assert row(name).state == "active"
    remove(name)


def test_channels_that_are_not_there(operator):
    admin = operator()
    for path in ("", "/edit", "/models"):
        assert admin.get(f"/office/upstreams/ch_nothing{path}").status == 404
    for path in ("state", "test", "withdraw", "edit", "models"):
        assert admin.send(f"/office/upstreams/ch_nothing/{path}", {"model": "gpt-4"}).status == 404
    for path in ("state", "test", "withdraw"):
        assert admin.get(f"/office/upstreams/ch_nothing/{path}").status == 405


def test_outside_nobody_sees_anything(visitor, shop, operator):
    address, _, name = switched_on(shop, operator())
    for path in ("/office/upstreams", address, f"{address}/edit"):
        answer = visitor.get(path)
        assert answer.status == 302
        assert answer.headers["location"].startswith("/office/sign-in?next=")
    visitor.get("/office/sign-in")
    assert visitor.send(f"{address}/state", {"state": "disabled"}).status == 302
    assert row(name).state == "active"
    remove(name)


def test_a_vendors_quirks_come_with_one_choice(shop, operator):
    from farebox.protocol import presets

    def quirks(name):
        return json.loads(row(name).quirks)

    admin = operator()
    assert "DeepSeek" in admin.page("/office/upstreams/new").text
    given = fields(shop)
    answer = admin.fill("/office/upstreams/new?vendor=deepseek", **given)
    assert answer.status == 302, answer.text
    name, address = given["name"], answer.headers["location"]
    made = quirks(name)
    assert made["rename"] == {"max_completion_tokens": "max_tokens"}
    assert 'rename={"max_completion_tokens": "max_tokens"}' in admin.page(address).text
    edit = {"base_url": shop.sandbox.base_url, "local": "on", "tier": "3", "weight": "1", "concurrency_max": "0"}
    assert admin.fill(f"{address}/edit", **edit, preset="").status == 302
    assert quirks(name) == made
    assert admin.fill(f"{address}/edit", **edit, preset="azure").status == 302
    assert quirks(name) == presets.PRESETS["azure"].quirks
    assert trail(name)[-1].verb == "channel.quirks"
    assert admin.fill(f"{address}/edit", **edit, preset="nobody").status == 200
    remove(name)
