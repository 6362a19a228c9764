"""What browsers answer for passkeys, from a device without a browser: second factors stay that, nonsense is refused."""

from __future__ import annotations

import json
import re
import secrets

import pytest

from kit.authenticator import Device, text
from kit.people import PASSWORD, customer, operator
from kit.visitor import Visitor

pytestmark = pytest.mark.slow

HERE = "/account/factors/passkeys"


@pytest.fixture(autouse=True)
def _named(shop, option):
    from django.core.cache import cache

    option(public_url=f"http://localhost:{shop.server.port}")  # a passkey belongs to a name, never to an address
    cache.clear()


@pytest.fixture
def me(shop):
    return customer(shop, password=PASSWORD)


def data(page):
    """What the page gives to its script."""
    found = re.search(r'<script id="passkey-data" type="application/json">(.*?)</script>', page.html)[1]
    return json.loads(found)["publicKey"]


def enrolled(shop, me, **facts):
    """A device whose key is added to this person; with `alone`, one that may sign in by itself."""
    device = Device(shop.options.origin, verifies=facts.pop("verifies", True))
    offer = data(me.page(f"{HERE}/new"))
    done = me.send(f"{HERE}/new", {"name": "Key", "credential": text(device.make(offer)), **facts})
    assert (done.status, done.headers["location"]) == (302, "/account/factors/codes"), done.body[:2000]
    return device


def question(visitor):
    """What a browser that wants to sign in by a passkey alone is asked."""
    asked = visitor.get(f"{HERE}/sign-in", Accept="application/json", X_Requested_With="XMLHttpRequest")
    return asked.json["request_options"]["publicKey"]


def entered(visitor):
    return visitor.get("/console/").status == 200


@pytest.mark.parametrize("verifies", [True, False])
def test_a_second_factor_alone_never_signs_in(shop, me, verifies):
    """Not even where its device could do more, or another question of the same session was answered."""
    device = enrolled(shop, me, verifies=verifies)
    assert "passwordless" not in me.page(HERE).text
    thief = Visitor(shop)
    alone = thief.fill("/account/sign-in", f"{HERE}/sign-in", credential=text(device.prove(question(thief), me.person)))
    assert (alone.status, alone.headers["location"]) == (302, "/account/sign-in")
    assert "not accepted" in thief.page("/account/sign-in").text
    assert not entered(thief)
    # Who knows the password as well answers the question of the second factor where a sign-in by the key alone is taken.
    assert thief.fill("/account/sign-in", login=me.email, password=PASSWORD).status == 302
    asked = data(thief.page("/account/factors/sign-in"))
    thief.send(f"{HERE}/sign-in", {"credential": text(device.prove(asked, me.person))})
    assert not entered(thief)
    asked = data(thief.page("/account/factors/sign-in"))
    assert thief.send("/account/factors/sign-in", {"credential": text(device.prove(asked))}).status == 302
    assert entered(thief)


def test_a_key_that_its_person_lets_sign_in_alone_does(shop, me):
    device = enrolled(shop, me, passwordless="on")
    assert "passwordless" in me.page(HERE).text
    visitor = Visitor(shop)
    answer = text(device.prove(question(visitor), me.person))
    done = visitor.fill("/account/sign-in", f"{HERE}/sign-in", credential=answer)
    assert (done.status, done.headers["location"]) == (302, "/console/")
    assert entered(visitor)
    again = Visitor(shop)
    question(again)
    again.send(f"{HERE}/sign-in", {"credential": answer})  # an answer is good for its own question alone
    assert not entered(again)
    careless = Device(shop.options.origin, verifies=False)
    offer = data(me.page(f"{HERE}/new"))
    refused = me.send(f"{HERE}/new", {"credential": text(careless.make(offer)), "passwordless": "on"})
    assert refused.status == 200


def shapes(good, device, options):
    """Answers that are none: of no JSON, of other types, cut, of another challenge, kind, place or signature, huge."""
    yield from ("", "{", "null", "0", "false", "[]", "{}", '"x"', "1e999", "9" * 6000, "[" * 9000, "\x00", "{" * 16_000)
    yield from ('{"id":' * 3000, '{"response":{"a":"\\ud800"}}', "é" * 100, "NaN", text({"x": "A" * 60_000}))
    odd = (
        None,
        0,
        True,
        "",
        "=",
        "AAAA",
        "A",
        "\ud800",
        "\x00",
        "%%%",
        [],
        {},
        [1],
        {"a": 1},
        "A" * 16_000,
        "_" * 4001,
    )
    for name in ("id", "rawId", "type", "response", "clientExtensionResults", "authenticatorAttachment"):
        yield text({key: value for key, value in good.items() if key != name})
        for value in odd:
            yield text(good | {name: value})
            if name == "rawId":
                yield text(good | {"id": value, "rawId": value})
    for name in [*good["response"], "userHandle", "transports"]:
        yield text(good | {"response": {key: value for key, value in good["response"].items() if key != name}})
        for value in odd:
            yield text(good | {"response": good["response"] | {name: value}})
        for cut in (1, 8, 36, 37, 40, 55, 60, 80):
            value = good["response"].get(name)
            yield text(good | {"response": good["response"] | {name: str(value)[:cut]}})
            yield text(good | {"response": good["response"] | {name: str(value)[:cut] + "A" * 200}})
    for extra in ({"extensions": {"a": []}}, {"credProps": "x"}, {"credProps": {"rk": {}}}, {"credProps": [1]}):
        yield text(good | {"clientExtensionResults": extra, "id": "AAAA"})
    yield '{"id":"AAAA",' + text(good)[1:]
    act = device.prove if "rpId" in options else device.make
    for change in (
        {"challenge": "AAAA"}, {"challenge": b"x" * 32}, {"type": "webauthn.none"}, {"origin": "https://evil.example"},
        {"origin": ""}, {"origin": "http://["}, {"cross_origin": True, "origin": "null"},
    ):  # fmt: skip
        yield text(act(options, **change))


@pytest.mark.store
def test_answers_that_are_none_never_sign_anybody_in(shop, me):
    """Anonymous, and in a browser that was just asked: one refusal whatever is wrong, no 500, and nobody is in."""
    device = enrolled(shop, me, passwordless="on")
    visitor = Visitor(shop)
    visitor.get("/account/sign-in")
    options = question(visitor)
    good = device.prove(options, me.person)
    for person in ("", "\x00", "per_nobody", "é", "x" * 400, "-1", operator(shop).person):
        told = visitor.send(f"{HERE}/sign-in", {"credential": text(device.prove(options, person))})
        assert (told.status, told.headers["location"]) == (302, "/account/sign-in"), person
    for at, answer in enumerate(list(shapes(good, device, options))[::2]):
        if at % 5 == 0:  # or so many tries would be too many
            from django.core.cache import cache

            cache.clear()
        told = visitor.send(f"{HERE}/sign-in", {"credential": answer})
        if told.status == 302 and told.headers["location"] == "/console/":  # what is left away or added changes nothing
            assert json.loads(answer)["response"].items() >= good["response"].items()
            visitor = Visitor(shop)
            options = question(visitor)
            continue
        assert told.status == 400 or (told.status, told.headers["location"]) == (302, "/account/sign-in"), answer[:300]
        assert not entered(visitor)
    assert visitor.send(f"{HERE}/sign-in", {}).status == 302
    assert visitor.request("POST", f"{HERE}/sign-in", b"\xff\xfe{", **{"Content-Type": "application/json"}).status in {
        302,
        403,
    }


def test_answers_that_are_none_are_no_second_factor_no_proof_and_no_new_key(shop, me):
    """And nothing of them is kept: a row that can't be read would close the person's own pages."""
    from allauth.mfa.models import Authenticator

    device, fresh = enrolled(shop, me), Device(shop.options.origin)
    offer = data(me.page(f"{HERE}/new"))
    for answer in list(shapes(fresh.make(offer), fresh, offer))[::7]:
        told = me.send(f"{HERE}/new", {"name": "Odd", "credential": answer})
        if told.status == 302:
            assert told.headers["location"] == "/account/factors", answer[:300]
            assert json.loads(answer)["response"]["attestationObject"]
            Authenticator.objects.filter(user_id=me.person, data__name="Odd").delete()
            offer = data(me.page(f"{HERE}/new"))
        assert told.status in {200, 302, 400}, answer[:300]
    assert me.get(HERE).status == 200
    for row in Authenticator.objects.filter(user_id=me.person, type="webauthn"):
        assert set(row.data["credential"]) == {"type", "id", "rawId", "response", "clientExtensionResults"}
    page = me.page(f"{HERE}/again")
    good = device.prove(data(page))
    for path in (f"{HERE}/again", "/account/factors/sign-in"):
        visitor = me if path.endswith("again") else Visitor(shop)
        if visitor is not me:
            visitor.fill("/account/sign-in", login=me.email, password=PASSWORD)
        for answer in (
            "0",
            "{",
            "[]",
            text(good | {"rawId": 7}),
            text(good),
            "[" * 9000,
            text(good | {"response": {}}),
        ):
            told = visitor.send(path, {"credential": answer})
            assert told.status in {200, 302}, (path, answer[:100])
        assert visitor is me or not entered(visitor)


def test_the_offices_passkeys_are_read_as_strictly(shop):
    from allauth.mfa.models import Authenticator

    me, device = operator(shop), Device(shop.options.origin)
    new = "/office/profile/second-factors/new"

    def offered():
        found = re.search(r'data-options="([^"]*)"', me.page(new).html)[1]
        return json.loads(found.replace("&quot;", '"'))["publicKey"]

    options = offered()
    good = device.make(options)
    for answer in ("0", "false", "[" * 9000, "9" * 6000, text(good | {"rawId": {}}), text(good | {"response": 5}),
                   text(good | {"response": good["response"] | {"attestationObject": "oA"}}),
                   text(good | {"id": "\x00", "rawId": "\x00"})):  # fmt: skip
        assert "This passkey could not be read" in me.send(new, {"name": "K", "answer": answer}).body.decode(), answer[
            :99
        ]
    answer = device.make(offered()) | {"secret": secrets.token_hex(4), "\x00": "x"}
    assert me.send(new, {"name": "Key", "answer": text(answer)}).status == 302
    row = Authenticator.objects.get(user_id=me.person, type="webauthn")
    assert set(row.data["credential"]) == {"type", "id", "rawId", "response", "clientExtensionResults"}
    assert row.wrap().is_passwordless is False
