"""What an operator does with channels, what becomes of it on the board, and the room's proof."""

from __future__ import annotations

import json

import pytest

from farebox.kit import db, options, secrets
from farebox.kit.errors import CommandError
from farebox.kit.models import AuditEvent
from farebox.protocol import quirks
from farebox.upstreams import board, channels, proof
from farebox.upstreams.channel_terms import ChannelTerms
from farebox.upstreams.models import Channel, Offering, Upstream
from kit.rows import for_each
from upstreams.openai_form import channel

SECRET = "sk-canary-0123456789abcdef"
BESIDE = ("secret", "state")  # what a channel has beside its terms
PRIVATE = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "[::1]", "[::ffff:10.0.0.1]", "2130706433",
           "localhost")  # fmt: skip


def run(verb, /, **given):
    return db.write(verb, actor="tester", **given)


def add(name="main", *, master=None, **over):
    given = {"upstream": "vendor", "base_url": "https://api.example.com/v1/"} | over
    return db.write(
        channels.add_channel, ChannelTerms.given({"name": name} | {key: value for key, value in given.items() if key not in BESIDE}),
        **{"secret": SECRET} | {key: value for key, value in given.items() if key in BESIDE},
        master=master or secrets.master_keys(options.current()), actor="tester",
    )  # fmt: skip


def loaded():
    return db.read(board.load, board.unsealer(secrets.master_keys(options.current())))


@pytest.fixture
def vendor(instance):
    run(channels.add_upstream, name="vendor", cancel_billing="stops", cost_currency="CNY")
    return instance


@pytest.mark.store
def test_from_command_to_board(vendor):
    made = add(
        quirks={"limit_name": "max_completion_tokens", "stream_options": True},
        tier=2,
        weight=3,
        concurrency_max=9,
    )
    assert made["quirks"] == {"limit_name": "max_completion_tokens"}
    run(
        channels.offer,
        channel="main",
        model="gpt-4",
        upstream_model="gpt-4-0613",
        costs={"input": "2.50", "output": "0.000001"},
    )
    run(channels.offer, channel="main", model="small")
    b = loaded()
    (candidate,) = b.candidates("gpt-4")
    found = candidate.channel
    assert (candidate.upstream_model, candidate.costs) == ("gpt-4-0613", {"input": 2_500_000, "output": 1})
    assert (found.name, found.upstream, found.tier, found.weight, found.concurrency_max) == (
        "main",
        "vendor",
        2,
        3,
        9,
    )
    assert (found.cancel_billing, found.cost_currency, found.path_prefix) == ("stops", "CNY", b"/v1")
    assert found.target.host == "api.example.com"
    assert f"Authorization: Bearer {SECRET}\r\n".encode() in found.auth_headers
    assert b.candidates("small")[0].upstream_model == "small"
    assert b.candidates("other") == ()
    assert b.broken == {}
    assert db.read(proof.prove) == []
    keeper = board.BoardKeeper()
    assert keeper.current.candidates("gpt-4") == ()
    keeper.swap(b)
    assert keeper.current is b


def test_every_term_is_a_column_and_shown_by_the_management_api():
    from farebox.office.api.shapes import ChannelOut

    terms = set(ChannelTerms.__struct_fields__)
    assert terms <= {field.name for field in Channel._meta.fields}
    assert terms <= set(ChannelOut.model_fields)


def test_terms_that_a_command_spells_wrong_are_refused():
    facts = {"name": "main", "upstream": "vendor", "base_url": "https://a.example/v1"}
    for wrong in ({"tier": "first"}, {"colour": "red"}):
        with pytest.raises(CommandError) as refused:
            ChannelTerms.given(facts | wrong)
        assert refused.value.reason.id == "channel.terms"


@pytest.mark.store
def test_every_verb_is_audited_and_bumps_the_board(vendor):
    master = secrets.master_keys(options.current())
    verbs = [
        (channels.add_upstream, {"name": "other"}),
        (channels.change_upstream, {"name": "other", "cancel_billing": "bills_all", "about": "x"}),
        (
            channels.add_channel,
            {
                "terms": ChannelTerms(name="main", upstream="vendor", base_url="https://a.example/v1"),
                "secret": SECRET,
                "master": master,
            },
        ),
        (channels.set_secret, {"channel": "main", "secret": SECRET + "2", "master": master}),
        (channels.set_address, {"channel": "main", "base_url": "http://127.0.0.1:9/v1", "local": True}),
        (channels.set_quirks, {"channel": "main", "quirks": '{"no_auth":true}'}),
        (channels.set_order, {"channel": "main", "weight": 5}),
        (channels.offer, {"channel": "main", "model": "m"}),
        (channels.withdraw, {"channel": "main", "model": "m"}),
        (channels.set_state, {"channel": "main", "state": "disabled", "why": "tired"}),
    ]
    for count, (verb, given) in enumerate(verbs):
        before = db.read(db.versions)["board"]
        told = run(verb, **given)
        assert db.read(db.versions)["board"] == before + 1
        assert SECRET not in json.dumps(told)
        event = AuditEvent.objects.order_by("at_us", "id").last()
        assert AuditEvent.objects.count() == count + 2
        assert event.actor == "tester"
        assert SECRET not in event.before + event.after
        assert event.before or event.after
    assert [row["name"] for row in db.read(channels.upstreams)] == ["other", "vendor"]
    (row,) = db.read(channels.listed)
    assert (row["state"], row["state_why"], row["secret"], row["models"]) == ("disabled", "tired", "set", [])
    assert SECRET not in Channel.objects.get().secret


@pytest.mark.store
def test_secret_is_bound_to_its_row(vendor):
    add()
    add("second")
    one, two = Channel.objects.get(name="main"), Channel.objects.get(name="second")
    Channel.objects.filter(id=two.id).update(secret=one.secret)
    b = loaded()
    assert list(b.channels) == [one.id]
    assert list(b.broken) == ["second"]
    assert b.broken["second"].id == "secret.unreadable"
    assert SECRET not in str(b.broken["second"])


def test_each_fault_of_a_broken_channel_is_repaired_alone(vendor):
    """What an earlier version wrote and this one refuses stands in the way of nothing else, and is replaced as it is."""
    add("a")
    Channel.objects.filter(name="a").update(quirks='{"odd":1}', base_url="http://127.0.0.1/")
    run(channels.set_address, channel="a", base_url="https://api.example.com/v1")
    run(channels.set_order, channel="a", tier=3)
    row = Channel.objects.get(name="a")
    assert (row.base_url, row.tier, row.quirks) == ("https://api.example.com/v1", 3, '{"odd":1}')
    run(channels.set_quirks, channel="a", quirks={"stream_options": False})
    assert Channel.objects.get(name="a").quirks == '{"stream_options":false}'


@pytest.mark.store
def test_a_broken_channel_does_not_take_the_others_along(vendor):
    for name in ("a", "b", "c", "d", "off"):
        add(name)
        run(channels.offer, channel=name, model="m", costs={"input": "1"})
    Channel.objects.filter(name="a").update(quirks='{"odd":1}')
    Channel.objects.filter(name="b").update(base_url="http://127.0.0.1/")
    Channel.objects.filter(name="c").update(dialect="klingon")
    Offering.objects.filter(channel__name="d").update(costs='{"input":"1"}')
    run(channels.set_state, channel="off", state="disabled")
    b = loaded()
    assert sorted(b.broken) == ["a", "b", "c"]
    assert [(c.channel.name, c.costs) for c in b.candidates("m")] == [("d", {})]
    wrong = db.read(proof.prove)
    assert len(wrong) == 4
    assert sorted((found.id, found.fields["channel"], found.fields["why"].id) for found in wrong) == [
        ("proof.channel", "a", "quirk.unknown"),
        ("proof.channel", "b", "channel.base_url_not_local"),
        ("proof.channel", "c", "dialect.unknown"),
        ("proof.offering", "d", "channel.costs"),
    ]


@pytest.mark.store
def test_proof_finds_what_no_command_writes(vendor):
    add()
    run(channels.offer, channel="main", model="m", costs={"input": "1"})
    Channel.objects.update(state="dozing", secret="plain", weight=-1)
    Offering.objects.update(costs='{"input":-1,"odd":1}')
    Upstream.objects.update(cancel_billing="maybe")
    words = "\n".join(map(str, db.read(proof.prove)))
    for part in ("dozing", "not a sealed text", "negative", "'odd'", "'maybe'", "cost of input"):
        assert part in words
    assert "plain" not in words


@pytest.mark.store
def test_refusals_write_nothing(vendor):
    add()
    before = (AuditEvent.objects.count(), db.read(db.versions))
    master = secrets.master_keys(options.current())
    refused = [
        (channels.add_upstream, {"name": "vendor"}),
        (channels.add_upstream, {"name": " x"}),
        (channels.add_upstream, {"name": "x", "cancel_billing": "maybe"}),
        (channels.add_upstream, {"name": "x", "cost_currency": "dollars"}),
        (channels.change_upstream, {"name": "nobody"}),
        (channels.set_secret, {"channel": "nobody", "secret": "x", "master": master}),
        (channels.set_secret, {"channel": "main", "secret": "", "master": master}),
        (channels.set_secret, {"channel": "main", "secret": "a\r\nX: b", "master": master}),
        (channels.set_address, {"channel": "main", "base_url": "http://api.example.com"}),
        *((channels.set_address, {"channel": "main", "base_url": f"https://{host}/v1"}) for host in PRIVATE),
        (channels.set_address, {"channel": "main", "base_url": "http://169.254.169.254/v1", "local": True}),
        (channels.set_quirks, {"channel": "main", "quirks": '{"odd":1}'}),
        (channels.set_state, {"channel": "main", "state": "dozing"}),
        (channels.set_order, {"channel": "main", "weight": -1}),
        (channels.set_order, {"channel": "main", "tier": 1001}),
        (channels.offer, {"channel": "main", "model": ""}),
        (channels.offer, {"channel": "main", "model": "m", "costs": {"inputs": "1"}}),
        (channels.offer, {"channel": "main", "model": "m", "costs": {"input": "-1"}}),
        (channels.offer, {"channel": "main", "model": "m", "costs": {"input": "0.0000001"}}),
        (channels.withdraw, {"channel": "main", "model": "m"}),
    ]
    for verb, given in refused:
        with pytest.raises(CommandError) as caught:
            run(verb, **given)
        assert caught.value.reason.id
    for over in (
        {"name": "main"}, {"upstream": "nobody"}, {"dialect": "klingon"}, {"base_url": "ftp://x"}, {"secret": ""}, {"secret": "a\nb"},
        {"base_url": "https://u:p@x/"}, {"base_url": "http://10.0.0.1/"}, *({"base_url": f"https://{host}/v1"} for host in PRIVATE),
        {"quirks": "[]"}, {"quirks": "{"}, {"concurrency_max": -1},
    ):  # fmt: skip
        with pytest.raises(CommandError) as caught:
            add(**({"name": "new"} | over))
        assert caught.value.reason.id
    assert (AuditEvent.objects.count(), db.read(db.versions)) == before
    add("local", base_url="http://127.0.0.1:8081/v1", local=True, secret="")
    add("open", secret="", quirks={"no_auth": True})
    assert b"Authorization" not in b"".join(c.auth_headers for c in loaded().channels.values() if c.name != "main")


@pytest.mark.store
def test_offer_again_changes_what_is_given(vendor):
    add()
    run(channels.offer, channel="main", model="m", upstream_model="up", costs={"input": "1"})
    again = run(channels.offer, channel="main", model="m", costs={"output": "2"})
    assert again == {"model": "m", "upstream_model": "up", "costs": {"output": "2.000000"}}
    again = run(channels.offer, channel="main", model="m", upstream_model="up2")
    assert again == {"model": "m", "upstream_model": "up2", "costs": {"output": "2.000000"}}
    assert Offering.objects.count() == 1


def test_each_quirk_has_its_sentence():
    fields = [field.encode_name for field in quirks.msgspec.structs.fields(quirks.Quirks)]
    assert sorted(fields) == sorted(quirks.QUIRKS)
    assert all(sentence.endswith(".") and len(sentence) > 15 for sentence in quirks.QUIRKS.values())


@for_each(
    "given",
    [
        {"odd": 1}, {"no_auth": 1}, {"drop": "seed"}, {"drop": ["max_tokens"]}, {"drop": ["a b"]}, {"rename": {"stream": "s"}},
        {"rename": {"seed": "messages"}}, {"pass": ["model"]}, {"paths": {"images": "/x"}}, {"paths": {"chat": "x"}},
        {"paths": {"chat": "/{deployment}"}}, {"paths": {"chat": "/x?y"}}, {"query": "?a=b"}, {"query": "a b"}, {"query": "a#b"},
        {"limit_name": "limit"}, {"auth_header": "Bad Name"}, {"auth_header": "Host"}, {"auth_scheme": "a\nb"},
        {"extra_headers": {"Content-Length": "1"}}, {"extra_headers": {"X": "a\r\nb"}}, {"extra_headers": {"X": "é"}},
        {"extra_headers": {"authorization": "Bearer x"}}, {"pass_": ["x"]},
    ],
)  # fmt: skip
def test_impossible_quirks(given):
    for form in (given, json.dumps(given)):
        with pytest.raises(CommandError) as caught:
            quirks.parsed(form)
        assert caught.value.reason.id


OPENLY = [
    *[{"extra_headers": {name: "x"}} for name in (
        "api-key", "X-Api-Key", "x-goog-api-key", "Ocp-Apim-Subscription-Key", "X-Auth-Token", "token", "X-Secret",
        "Cookie", "Proxy-Authorization", "clientSecret", "X-Amz-Security-Token", "password", "APIKEY",
    )],
    *[{"query": query} for query in (
        "key=x", "api-version=1&sig=x", "token=x", "api_key=x", "apikey=x", "access_token=x", "code=x", "a=1&%6bey=x",
    )],
    {"extra_headers": {"X-Vendor": SECRET}}, {"query": f"who={SECRET}"}, {"paths": {"chat": f"/{SECRET}/chat"}},
]  # fmt: skip


@for_each("given", OPENLY)
def test_quirks_hold_no_secrets(given):
    with pytest.raises(CommandError, match="quirk.secret quirk=") as caught:
        quirks.parsed(given)
    assert SECRET not in caught.value.message


def test_other_headers_and_parameters_are_no_secrets():
    names = ("OpenAI-Organization", "OpenAI-Project", "anthropic-version", "HTTP-Referer", "X-Title", "User-Agent")
    quirks.parsed(
        {"extra_headers": dict.fromkeys(names, "x"), "query": "api-version=2024-10-21&max_tokens=5&region=eu"}
    )


@pytest.mark.store
def test_what_is_listed_and_audited_holds_no_secret(vendor):
    for how in ({"extra_headers": {"api-key": SECRET}}, {"query": "key=abc-123"}):
        with pytest.raises(CommandError):
            add(quirks=how)
        add("main") if not Channel.objects.exists() else None
        with pytest.raises(CommandError):
            run(channels.set_quirks, channel="main", quirks=how)
    with pytest.raises(CommandError):
        add("other", base_url=f"https://shop:{SECRET}@api.example.com/v1")
    with pytest.raises(CommandError):
        add("other", base_url="https://api.example.com/v1?key=abc-123")
    shown = json.dumps(db.read(channels.listed))
    trail = "".join(event.before + event.after for event in AuditEvent.objects.all())
    assert SECRET not in shown + trail
    assert "abc-123" not in shown + trail
    add("key", quirks={"auth_header": "api-key", "auth_scheme": ""})
    assert f"api-key: {SECRET}\r\n".encode() in loaded().channels[Channel.objects.get(name="key").id].auth_headers


def test_quirks_keep_only_what_differs():
    given = {"drop": ["seed"], "pass": ["top_k"], "paths": {"chat": "/v2/{model}/chat"}, "no_auth": True}
    found = quirks.parsed(given)
    assert json.loads(quirks.text(found)) == given
    assert quirks.parsed(quirks.text(found)) == found
    assert quirks.text(quirks.parsed("{}")) == "{}"
    spec = channel(quirks=given)
    assert spec.path("chat") == "/v2/{model}/chat"
    assert spec.path("embeddings") == "/embeddings"
    assert spec.path("images") == ""
