"""A reader of the database is let in nowhere: no code, seed, link, key or challenge that was mailed or shown is in it."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib

import pytest

from kit import letters, post
from kit.people import PASSWORD, customer, operator, person
from kit.visitor import Visitor
from office import totp

pytestmark = pytest.mark.store


@pytest.fixture(autouse=True)
def _fresh(option, shop):
    from django.core.cache import cache

    cache.clear()
    option(sign_ups_per_h=1000, public_url=f"http://localhost:{shop.server.port}", single_person=True)


def readings(text):
    """A stored text, and what it is to who knows Django: signed and perhaps packed JSON is no secret."""
    yield text
    for part in re.split(r"[:.\s\"]", text):
        padded = part.encode("utf-8", "ignore") + b"=" * (-len(part) % 4)
        try:
            raw = base64.urlsafe_b64decode(padded)
        except binascii.Error:
            continue
        yield raw.decode("latin-1")
        try:
            yield zlib.decompress(raw).decode("latin-1")
        except zlib.error:
            continue


def everything(shop):
    """All that stands in the store as one text; on SQLite its files too, with what was deleted from them."""
    from django.db import connection

    parts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            for row in cursor.fetchall():
                for value in row:
                    if isinstance(value, (str, bytes, memoryview)):
                        parts += readings(value if isinstance(value, str) else bytes(value).decode("latin-1"))
    connection.close()
    if shop.options.on_sqlite:
        parts += [path.read_bytes().decode("latin-1") for path in shop.options.data.glob("farebox.db*")]
    return "\n".join(parts)


def plain(text):
    return re.sub(r"[-\s]", "", text).lower()


def seen(shop, secrets):
    """Which of the secrets can be read."""
    stored = everything(shop)
    flat = plain(stored)
    return {name for name, text in secrets.items() if text in stored or plain(text) in flat}


@pytest.mark.slow
def test_no_code_and_no_seed_is_read_in_the_store(shop):
    from allauth.mfa.totp.internal import auth

    known = {}
    # What was mailed and waits for its person.
    new = Visitor(shop)
    new.fill("/account/sign-up", email="at-rest@example.com", password1=PASSWORD)
    known["confirmation"] = post.code(shop, "at-rest@example.com")
    me = customer(shop, password=PASSWORD)
    lost = Visitor(shop)
    lost.fill("/account/password/forgotten", email=me.email)
    known["reset"] = post.code(shop, me.email)
    me.fill("/account/email", email=f"new-{me.email}", action_add="1")
    known["change"] = post.code(shop, f"new-{me.email}")
    # What is shown and waits in the session.
    known["seed"] = re.search(r'id="secret">([A-Z2-7]+)<', me.page("/account/factors/app").html)[1]
    asked = Visitor(shop).get(
        "/account/factors/passkeys/sign-in", Accept="application/json", X_Requested_With="XMLHttpRequest"
    )
    known["challenge"] = asked.json["request_options"]["publicKey"]["challenge"]
    offer = re.search(
        r'"passkey-data" type="application/json">(.*?)</script>', me.page("/account/factors/passkeys/new").html
    )
    known["offer"] = json.loads(offer[1])["publicKey"]["challenge"]
    # Operators: the first proof given, and an offer of a second one.
    row = person(shop, operator_role="support", password=PASSWORD)
    clerk = Visitor(shop, "en")
    clerk.fill("/office/sign-in", email=row.email, password=PASSWORD)
    known["operator's seed"] = totp.seed(clerk.page("/office/enrol").html)
    admin = operator(shop)
    admin.fill("/office/operators/new", email="invited@example.com", name="", role="support", why="w")
    known["way in"] = letters.link(post.newest(shop, "invited@example.com"), "/office/set-up?code=").partition("code=")[
        2
    ]
    # What is made for good.
    known["key"] = shop.account("1").key
    made = me.send("/console/playground/key", {"cap": "0.10"})
    known["playground"] = made.json["key"]
    facts = {"low": "", "low_days": "", "prices": "on", "by_mail": "on", "webhook_url": "https://hooks.example.com/x"}
    told = me.follow(me.fill("/console/settings", "/console/settings/notices", **facts))
    known["webhook"] = re.search(r"whsec_[A-Za-z0-9_-]+", told.html)[0]
    assert len(set(known.values())) == 11
    assert seen(shop, known) == set()
    # And they work: each is what its person needs.
    assert new.fill("/account/confirm", action="verify", code=known["confirmation"]).status == 302
    assert lost.fill("/account/password/code", code=known["reset"]).headers["location"] == "/account/password/new"
    page = me.page("/account/factors/app")  # which makes another seed
    known["seed"] = re.search(r'id="secret">([A-Z2-7]+)<', page.html)[1]
    assert seen(shop, known) == set()
    counter = next(auth.yield_hotp_counters_from_time()) + 1
    known["code"] = auth.format_hotp_value(auth.hotp_value(known["seed"], counter))
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.html)[1]
    me.send("/account/factors/app", {"csrfmiddlewaretoken": token, "code": known["code"]})
    codes = re.findall(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", me.page("/account/factors/codes").html)
    known |= {f"recovery {at}": each for at, each in enumerate(codes)}
    page = clerk.follow(clerk.fill("/office/enrol", code=totp.code(known["operator's seed"])))
    assert page.status == 200
    known |= {f"office {at}": each for at, each in enumerate(re.findall(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", page.html))}
    assert len(known) == 11 + 1 + 20
    assert seen(shop, known) - {"code"} == set()
    from farebox.kit.models import Cache

    assert not Cache.objects.filter(cache_key__contains=known["code"]).exists()


def test_a_session_of_before_is_sealed_when_it_is_read_and_a_moved_one_is_none(shop):
    from farebox.accounts.models import Session
    from farebox.accounts.sign_in.sessions import SessionStore, digest

    me, other = customer(shop), customer(shop)
    key, foreign = me.cookies["__Host-s"], other.cookies["__Host-s"]
    store = SessionStore(key)
    store["words"] = "from before"
    signed = store.encode(dict(store.items()))
    rows = Session.objects.filter(id=digest(key))
    rows.update(data=signed)
    assert me.get("/console/").status == 200
    kept = Session.objects.get(id=digest(key)).data
    assert kept != signed
    assert not any("from before" in each for each in readings(kept))
    assert SessionStore(key)["words"] == "from before"
    Session.objects.filter(id=digest(foreign)).update(data=kept)
    assert other.get("/console/").status == 302
    rows.update(data=kept[:-8] + "AAAAAAA=")
    assert me.get("/console/").status == 302
    assert me.get("/").status == 200
