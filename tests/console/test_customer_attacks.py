"""What somebody with bad intentions tries at the customers' door: wiping counters, puzzles twice, links of other sites."""

from __future__ import annotations

import base64
import json
import re
import time

import pytest

from kit.people import PASSWORD, customer, operator, person
from kit.visitor import Visitor

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _fresh(option, shop):
    from django.core.cache import cache

    del shop
    cache.clear()
    option(sign_ups_per_h=1000)


def parts(*fields):
    """A form of several parts; a field with a third value is a file."""
    pieces = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"{"".join(f"; filename={x}" for x in file)}\r\n\r\n{value}\r\n'
        for name, value, *file in fields
    ]
    return "".join([*pieces, "--b--\r\n"]).encode()


def test_a_field_that_comes_twice_is_refused(shop):
    """In a form of either kind and in an address; a file counts as a field; lists stay lists."""
    known = customer(shop, password=PASSWORD)
    visitor = Visitor(shop, "en")
    visitor.page("/account/sign-in")
    for fields in ({"login": [known.email, "b@example.com"]}, {"login": known.email, "password": [PASSWORD, PASSWORD]}):
        answer = visitor.send("/account/sign-in", fields)
        assert (
            answer.status == 400 and b"is given twice" in answer.body and b"sessionid" not in str(visitor.set).encode()
        )
    kind = {"Content-Type": "multipart/form-data; boundary=b", "Sec-Fetch-Site": "same-origin"}
    for twice in ((("login", "a"), ("login", "b")), (("login", "a"), ("login", "b", "f")),
                  (("x", "a", "f"), ("x", "b", "f"))):  # fmt: skip
        answer = visitor.request("POST", "/account/sign-in", parts(*twice), **kind)
        assert answer.status == 400 and f"<code>{twice[0][0]}</code> is given twice" in answer.body.decode()
    odd = visitor.page("/models?q=a&%71=b&%3Cb%3E=1&%3Cb%3E=2")
    assert odd.status == 400 and "The field q is given twice" in odd.text
    assert "<b>" not in visitor.page("/models?%3Cb%3E=1&%3Cb%3E=2").html
    assert "重复" in visitor.page("/zh/models?q=a&q=b").text
    assert visitor.page("/models?models=a&models=b").status == visitor.page("/models").status


@pytest.mark.store
def test_many_tries_elsewhere_wipe_out_no_counter_and_no_used_code(shop):
    """The cache forgets nothing that still counts, however much is counted."""
    from django.core.cache import cache

    from farebox.accounts.sign_in import attempts
    from farebox.kit import clock
    from farebox.kit.models import Cache

    known = customer(shop, password=PASSWORD)
    visitor = Visitor(shop)
    for _ in range(5):
        visitor.fill("/account/sign-in", login=known.email, password="wrong password")
    assert "Too many failed attempts" in visitor.fill("/account/sign-in", login=known.email, password=PASSWORD).text
    assert cache.add("allauth.mfa.totp.used?user=per_1&code=123456", "y", timeout=150)

    def flood(tx):
        for number in range(700):
            attempts.take(tx, f"password:{number}@example.com", now_us=clock.now_us())

    shop.write(flood)
    assert not cache.add("allauth.mfa.totp.used?user=per_1&code=123456", "y", timeout=150)
    assert "Too many failed attempts" in visitor.fill("/account/sign-in", login=known.email, password=PASSWORD).text
    before = Cache.objects.count()
    assert shop.write(attempts.sweep, now_us=clock.now_us()) == 0
    assert Cache.objects.count() == before
    assert shop.write(attempts.sweep, now_us=clock.now_us() + 86_400_000_000) == before
    assert not Cache.objects.exists()


def test_a_puzzle_is_solved_once_however_its_solution_is_written(shop, option):
    import hashlib

    option(sign_up_captcha=True)
    page = Visitor(shop).page("/account/sign-up")
    asked = json.loads(re.search(r'<script id="puzzle" type="application/json">(.*?)</script>', page.html)[1])
    number = next(
        n for n in range(60_001) if hashlib.sha256(f"{asked['salt']}{n}".encode()).hexdigest() == asked["challenge"]
    )
    solved = {name: asked[name] for name in ("algorithm", "challenge", "salt", "signature")} | {"number": number}
    told = []
    for at, given in enumerate((solved, solved | {"took": 5}, solved | {"test": True})):
        text = base64.b64encode(json.dumps(given, indent=at).encode()).decode()
        done = Visitor(shop).fill("/account/sign-up", email=f"again{at}@example.com", password1=PASSWORD, altcha=text)
        told.append(done.status)
    assert told == [302, 200, 200]
    for wrong in (b"[]", b'"x"', b"5", b"{"):
        text = base64.b64encode(wrong).decode()
        done = Visitor(shop).fill("/account/sign-up", email="w@example.com", password1=PASSWORD, altcha=text)
        assert done.status == 200


@pytest.mark.parametrize(
    "to", ["https://evil.example/", "//evil.example/", "/\\evil.example", "///evil.example", "http:evil.example"]
)
def test_signing_in_leads_nowhere_else(shop, to):
    known = customer(shop, password=PASSWORD)
    visitor = Visitor(shop)
    done = visitor.fill(f"/account/sign-in?next={to}", login=known.email, password=PASSWORD)
    assert done.status == 302
    assert "evil" not in done.headers["location"]
    away = visitor.get(f"/language/en?next={to}")
    assert "evil" not in away.headers["location"]


def test_every_cookie_of_ours_goes_over_tls_alone(shop):
    visitor = Visitor(shop)
    visitor.get("/account/sign-in")
    csrf = [text for text in visitor.set if text.startswith("csrftoken=")]
    known = customer(shop)
    known.fill("/console/settings", "/console/settings/notices", low="", low_days="", by_mail="on", webhook_url="")
    told = [text for text in known.set if text.startswith("messages=")]
    assert csrf
    assert told
    for text in csrf + told:
        assert "Secure" in text
        assert "HttpOnly" in text


@pytest.mark.parametrize("area", ["console", "office"])
def test_of_two_sessions_in_one_request_neither_is_believed(shop, area):
    from farebox.look.sessions import COOKIES

    one, other = (customer(shop) if area == "console" else operator(shop) for _ in range(2))
    path, name = ("/console/" if area == "console" else "/office/"), COOKIES[area]
    for first, second, status in ((one, other, 302), (other, one, 302), (one, one, 200)):
        cookie = f"{name}={first.cookies[name]}; {name}={second.cookies[name]}"
        assert Visitor(shop, "en").get(path, Cookie=cookie).status == status
    assert one.get(path).status == 200


def test_a_console_without_its_store_says_so(shop, monkeypatch):
    from django.db import OperationalError

    from farebox.accounts.sign_in import sessions

    known = customer(shop)

    def away(*_args):
        raise OperationalError("disk I/O error")

    monkeypatch.setattr(sessions, "_alive", away)
    for path in ("/console/", "/zh/console/keys", "/", "/account/sign-in"):
        answer = known.get(path)
        assert answer.status == 503, path
        assert b"Traceback" not in answer.body
        assert b"disk I/O" not in answer.body
    monkeypatch.undo()
    assert known.get("/console/").status == 200


@pytest.mark.parametrize("role", ["member", "admin"])
def test_ids_of_another_account_are_not_there_even_beside_ones_own(shop, role):
    """A project of one's own and a member of another account, and the other way round."""
    from farebox.accounts.models import Member, Project

    other, here = customer(shop), customer(shop)
    me = customer(shop, role=role, of=here)
    theirs = customer(shop, role="member", of=other)
    foreign = Project.objects.get(account=other.customer.account, name="default").id
    for path in (
        f"/console/team/members/{theirs.member}/cap", f"/console/team/members/{theirs.member}/role",
        f"/console/team/members/{theirs.member}/remove", f"/console/team/projects/{foreign}/keys-end",
    ):  # fmt: skip
        assert me.send(path, {"cap_month": "1", "role": "owner", "project": foreign}).status == 404
    given = {"people": "a@example.com", "project": foreign, "role": "owner", "days": "7"}
    assert me.send("/console/team/invite", given).status == (404 if role == "member" else 400)
    assert me.send("/console/team/account", {"account": other.customer.account}).status == 404
    row = Member.objects.get(id=me.member)
    assert (row.role, row.account_id) == (role, here.customer.account)
    new = {"name": "k", "project": foreign}
    assert me.send("/console/keys/new", new).status == 400


def test_time_of_an_answer_does_not_name_customers(shop, monkeypatch):
    """Each try costs one hash: at a known address, at an unknown one, at one that has no password, at an operator's."""
    from farebox.accounts.sign_in import hashing

    hashed: list[int] = []
    turn = hashing.turn
    monkeypatch.setattr(hashing, "turn", lambda: hashed.append(1) or turn())
    addresses = [
        customer(shop, password=PASSWORD).email, f"nobody{time.time_ns()}@example.com", customer(shop).email,
        person(shop, operator_role="admin", password=PASSWORD).email,
    ]  # fmt: skip
    for path, name in (("/account/sign-in", "login"), ("/office/sign-in", "email")):
        told = set()
        for email in addresses:
            hashed.clear()
            page = Visitor(shop, "en").fill(path, **{name: email, "password": "wrong password"})
            told.add((page.status, len(hashed), page.text.replace(email, "").partition("Request")[0]))
        assert len(told) == 1, told
        assert len(hashed) == 1


@pytest.mark.store
def test_tries_at_the_same_moment_are_counted_each(shop):
    import threading

    from django.db import connection

    from farebox.accounts.sign_in import attempts
    from farebox.kit import clock, db

    shop.write(attempts.take, "password:many@example.com", now_us=clock.now_us())
    start, told = threading.Barrier(8), []

    def go():
        start.wait(timeout=30)
        try:
            db.write(attempts.take, "password:many@example.com", now_us=clock.now_us())
            told.append("counted")
        except attempts.TooMany:
            told.append("too many")
        finally:
            connection.close()

    threads = [threading.Thread(target=go) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=60)
    assert sorted(told) == ["counted"] * (attempts.FREE - 1) + ["too many"] * (8 - attempts.FREE + 1)


def test_ipv6_is_counted_by_network(shop, monkeypatch):
    """Who has a /64 has no more tries than who has one address."""
    from farebox.accounts.sign_in import attempts
    from farebox.kit import clock

    for address, place in (
        ("203.0.113.7", "203.0.113.7"), ("::ffff:203.0.113.7", "203.0.113.7"), ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::9", "2001:db8:1:2::/64"), ("", ""), ("x", "x"),
    ):  # fmt: skip
        assert attempts.place(address) == place
    from farebox.accounts.sign_in import desk

    def one(tx, number):
        desk._take(tx, f"office password:{number}@example.com", f"2001:db8:1:2::{number:x}")

    monkeypatch.setattr(clock, "now_us", lambda now_us=clock.now_us(): now_us)
    for number in range(attempts.PER_ADDRESS):
        shop.write(one, number)
    with pytest.raises(attempts.TooMany):
        shop.write(one, 4711)


@pytest.mark.store
def test_a_fresh_proof_changes_the_key_of_the_session(shop):
    """Who has copied the cookie before is out; the keys of the playground stay; the session grows no younger."""
    from farebox.accounts.models import ApiKey, Session
    from farebox.accounts.sign_in.sessions import digest

    known = customer(shop, password=PASSWORD)
    made = known.send("/console/playground/key", {"cap": "0.10"})
    assert made.status == 200, made.body
    old = known.cookies["__Host-s"]
    born_us = Session.objects.get(id=digest(old)).created_us - 10**10
    Session.objects.filter(id=digest(old)).update(created_us=born_us)
    wrong = known.fill("/account/again", password="wrong password")
    assert (wrong.status, known.cookies["__Host-s"]) == (200, old)
    assert known.fill("/account/again?next=/console/keys", password=PASSWORD).headers["location"] == "/console/keys"
    new = known.cookies["__Host-s"]
    assert new != old
    assert Session.objects.get(id=digest(new)).created_us == born_us
    thief = Visitor(shop)
    thief.cookies["__Host-s"] = old
    assert thief.get("/console/").status == 302
    assert known.get("/console/").status == 200
    key = ApiKey.objects.get(id=made.json["id"])
    assert (key.state, key.session) == ("active", digest(new))
    known.send("/account/sign-out", {})
    assert ApiKey.objects.get(id=key.id).state == "revoked"
