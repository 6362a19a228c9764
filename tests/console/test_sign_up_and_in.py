"""Signing up and in: codes by mail, passwords, second factors, throttles, one-time links, what strangers learn."""

from __future__ import annotations

import re
import secrets
from typing import Any

import pytest

from kit import post
from kit.people import PASSWORD, customer, operator, person
from kit.visitor import Visitor


@pytest.fixture(autouse=True)
def _fresh(option: Any, shop: Any) -> None:
    """Each test begins with nothing counted."""
    from django.core.cache import cache

    del shop
    cache.clear()
    option(sign_ups_per_h=1000)


@pytest.fixture
def settings(shop: Any):
    """Change settings of the shop for one test."""
    from farebox.kit import settings as known

    changed: set[str] = set()

    def change(**values: Any) -> None:
        changed.update(values)
        shop.write(known.put_all, values, actor="test")

    yield change
    shop.write(known.put_all, {name: known.BY_NAME[name].default for name in changed}, actor="test")


def sign_up(shop: Any, email: str, password: str = PASSWORD) -> Visitor:
    visitor = Visitor(shop)
    sent = visitor.fill("/account/sign-up", email=email, password1=password, time_zone="Asia/Shanghai")
    assert (sent.status, sent.headers["location"]) == (302, "/account/confirm")
    return visitor


def confirm(shop: Any, visitor: Visitor, email: str) -> Any:
    code = post.code(shop, email)
    return visitor.fill("/account/confirm", action="verify", code=code)


@pytest.mark.slow
@pytest.mark.store
def test_sign_up_confirm_and_be_at_home_with_trial_credit(shop, settings):
    from farebox.accounts.models import Account, Member, Notice, Person, Trial
    from farebox.ledger import holds, lots

    settings(trial_micro={"USD": 2_000_000}, trial_days=7)
    visitor = sign_up(shop, "New.One@example.com")
    row = Person.objects.get(email="new.one@example.com")
    assert not Member.objects.filter(person=row).exists()
    assert visitor.get("/console/settings").status == 302
    done = confirm(shop, visitor, "new.one@example.com")
    assert (done.status, done.headers["location"]) == (302, "/console/")
    member = Member.objects.get(person=row)
    account = Account.objects.get(id=member.account_id)
    assert (member.role, account.currency, account.price_list.name) == ("owner", "USD", "usd")
    assert (row.time_zone, account.time_zone) == ("Asia/Shanghai", "Asia/Shanghai")  # as the browser said
    assert (
        (account.rpm, account.tpm) == (shop.options.new_account_rpm, shop.options.new_account_tpm) == (600, 5_000_000)
    )
    told = Notice.objects.get(person=row, account=account)
    assert (told.low_days, told.expiry, told.by_mail) == (3, True, True)
    assert shop.read(holds.balance, account.id)[0] == 2_000_000
    (lot,) = shop.read(lots.lots_of, account.id)[0]
    assert lot.expires_us - lot.granted_us == 7 * 86_400_000_000
    assert Trial.objects.filter(account=account).count() == 1
    assert "2" in visitor.page("/console/settings").text
    assert "__Host-s" in visitor.cookies


@pytest.mark.slow
def test_strangers_learn_nothing_of_who_is_known(shop):
    known = person(shop, password=PASSWORD).email
    clerk = person(shop, operator_role="support", password=PASSWORD).email
    answers = []
    for email in ("nobody@example.org", known, clerk):
        visitor = Visitor(shop)
        for path, fields in (
            ("/account/sign-up", {"email": email, "password1": PASSWORD}),
            ("/account/password/forgotten", {"email": email}),
        ):
            done = visitor.fill(path, **fields)
            answers.append((email, done.status, done.headers["location"]))
        shown = visitor.page("/account/confirm")
        answers.append((email, shown.status, re.sub(r"\S+@\S+|[\w-]{40,}|call_\w+", "", shown.text)))
    by_email = {email: [rest for mail, *rest in answers if mail == email] for email, *_ in answers}
    assert len({str(each) for each in by_email.values()}) == 1
    said = [" ".join(mail.get_content().split()) for mail in _waited(shop, known, 2)]
    assert any("already has an account" in text for text in said)
    assert any("Your code" in text for text in said)
    assert any("It has no account" in " ".join(mail.get_content().split()) for mail in _waited(shop, clerk, 2))


def _waited(shop: Any, email: str, many: int) -> list[Any]:
    post.newest(shop, email, after=many - 1)
    return post.mails(shop, email)


@pytest.mark.slow
def test_a_wrong_code_does_not_open_and_the_fifth_ends_it(shop):
    email = "guess@example.com"
    visitor = sign_up(shop, email)
    code = post.code(shop, email)
    for _ in range(4):
        assert visitor.fill("/account/confirm", action="verify", code="AAAA-AAAA").status == 200
    assert visitor.fill("/account/confirm", action="verify", code="AAAA-AAAA").status == 302
    gone = visitor.get("/account/confirm")
    assert (gone.status, gone.headers["location"]) == (302, "/account/sign-in")
    sent = visitor.fill("/account/sign-in", login=email, password=PASSWORD)
    assert sent.headers["location"] == "/account/confirm"
    assert visitor.fill("/account/confirm", action="verify", code=code).status == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("short", "8 to 256 characters"),
        ("x" * 257, "8 to 256 characters"),
        ("password123", "too common"),
        ("weakling@example.com", "too similar to your name"),
        ("weakling", "too similar to your name"),
        ("Weakling-2026!", "too similar to your name"),
        ("farebox2026", "too similar to your name"),
    ],
)
def test_passwords_that_will_not_do(shop, password, says):
    page = Visitor(shop).fill("/account/sign-up", email="weakling@example.com", password1=password)
    assert page.status == 200
    assert says in page.text


def test_hashes_are_argon2id_of_the_decided_cost(dear_hashes):
    from farebox.accounts.people import people

    assert people.hashed(PASSWORD).startswith("argon2$argon2id$v=19$m=32768,t=2,p=1$")


def test_no_more_hashes_at_a_time_than_decided_and_the_queue_ends(monkeypatch):
    from farebox.accounts.sign_in import hashing
    from farebox.kit.errors import Overloaded

    with hashing.turn(), hashing.turn():
        monkeypatch.setattr(hashing, "_here", hashing.AT_A_TIME + hashing.QUEUE_MAX)
        with pytest.raises(Overloaded), hashing.turn():
            pass
        monkeypatch.setattr(hashing, "_here", hashing.AT_A_TIME)
    assert hashing._here == 0


def test_a_full_queue_is_a_page_with_503(shop, monkeypatch):
    from farebox.accounts.sign_in import hashing

    visitor = Visitor(shop)
    visitor.get("/account/sign-in")
    monkeypatch.setattr(hashing, "_here", hashing.AT_A_TIME + hashing.QUEUE_MAX)
    page = visitor.fill("/account/sign-in", login="busy@example.com", password=PASSWORD)
    monkeypatch.setattr(hashing, "_here", 0)
    assert page.status == 503
    assert int(page.headers["retry-after"]) >= 1
    assert "The server is busy" in page.text


@pytest.mark.store
def test_sign_in_and_out_with_a_new_session_each_time(shop):
    known = customer(shop, password=PASSWORD)
    visitor = Visitor(shop)
    visitor.cookies["__Host-s"] = "planted"
    first = visitor.fill("/account/sign-in?next=/console/settings", login=known.email.upper(), password=PASSWORD)
    assert first.status == 302
    assert visitor.cookies["__Host-s"] != "planted"
    assert visitor.get("/console/settings").status == 200
    kept = visitor.cookies["__Host-s"]
    assert visitor.send("/account/sign-out", {}).status == 302
    visitor.cookies["__Host-s"] = kept
    assert visitor.get("/console/settings").status == 302


def test_sign_in_goes_nowhere_else(shop):
    known = customer(shop, password=PASSWORD)
    for wanted in ("https://evil.example/", "//evil.example/", "/\\evil.example"):
        done = Visitor(shop).fill("/account/sign-in", login=known.email, password=PASSWORD, next=wanted)
        assert (done.status, done.headers["location"]) == (302, "/console/")


def test_operators_are_strangers_at_the_customers_door(shop):
    clerk = operator(shop, "admin")
    from farebox.accounts.people import people

    shop.write(people.set_password, clerk.person, password_hash=people.hashed(PASSWORD), actor="test")
    page = Visitor(shop).fill("/account/sign-in", login=clerk.email, password=PASSWORD)
    assert page.status == 200
    assert "Wrong e-mail address or password" in page.text


@pytest.mark.slow
@pytest.mark.store
def test_wrong_passwords_wait_but_lock_nobody_out_of_his_own_browser(shop):
    known = customer(shop, password=PASSWORD)
    home = Visitor(shop)
    assert home.fill("/account/sign-in", login=known.email, password=PASSWORD).status == 302
    home.send("/account/sign-out", {})
    thief = Visitor(shop)
    for _ in range(5):
        assert (
            "Wrong e-mail address or password"
            in thief.fill("/account/sign-in", login=known.email, password="wrong one").text
        )
    locked = thief.fill("/account/sign-in", login=known.email, password=PASSWORD)
    assert (locked.status, "Too many failed attempts" in locked.text) == (200, True)
    other = Visitor(shop).fill("/account/sign-in", login=known.email, password=PASSWORD)
    assert "Too many failed attempts" in other.text
    assert home.fill("/account/sign-in", login=known.email, password=PASSWORD).status == 302


@pytest.mark.slow
@pytest.mark.store
def test_two_processes_count_together(shop):
    """What another process has counted counts here."""
    import subprocess
    import sys

    known = customer(shop, password=PASSWORD)
    script = (
        "import django; django.setup()\n"
        "from farebox.accounts.sign_in import attempts\n"
        "from farebox.kit import clock, db\n"
        f"for _ in range(5): db.write(attempts.take, 'password:{known.email}', now_us=clock.now_us())\n"
    )
    env = {
        "DJANGO_SETTINGS_MODULE": "farebox.site.settings",
        "FAREBOX_DATA_DIR": str(shop.options.data),
        "FAREBOX_DATABASE": shop.options.database,
        "PATH": "/usr/bin:/bin",
    }
    subprocess.run([sys.executable, "-c", script], check=True, env=env, timeout=60)
    page = Visitor(shop).fill("/account/sign-in", login=known.email, password=PASSWORD)
    assert "Too many failed attempts" in page.text


@pytest.mark.slow
def test_many_from_one_address_are_asked_to_wait(shop, monkeypatch):
    from farebox.accounts.sign_in import attempts

    monkeypatch.setattr(attempts, "_MINUTE_US", 3_600_000_000_000)  # so that no minute ends in the middle
    visitor = Visitor(shop)
    visitor.get("/account/sign-in")
    seen = set()
    for number in range(36):
        fields = {"login": f"x{number}@example.com", "password": "wrong one"}
        seen.add(visitor.send("/account/sign-in", fields).status)
    assert seen == {200, 429}


@pytest.mark.slow
@pytest.mark.store
def test_a_forgotten_password_is_changed_by_code_and_ends_every_session(shop):
    known = customer(shop, password=PASSWORD)
    visitor = Visitor(shop)
    assert visitor.fill("/account/password/forgotten", email=known.email).status == 302
    code = post.code(shop, known.email)
    assert visitor.get("/account/password/new").status == 302
    assert visitor.fill("/account/password/code", code=code).status == 302
    fresh = "another sentence for my door"
    assert visitor.fill("/account/password/new", password1=fresh, password2=fresh + "x").status == 200
    done = visitor.fill("/account/password/new", password1=fresh, password2=fresh)
    assert (done.status, done.headers["location"]) == (302, "/account/password/done")
    assert known.get("/console/settings").status == 302
    assert (
        "Wrong e-mail address or password"
        in Visitor(shop).fill("/account/sign-in", login=known.email, password=PASSWORD).text
    )
    assert Visitor(shop).fill("/account/sign-in", login=known.email, password=fresh).status == 302
    assert any("was changed" in str(mail["Subject"]) for mail in _waited(shop, known.email, 2))


def test_dangerous_things_ask_once_more_after_five_minutes(shop):
    known = customer(shop, password=PASSWORD)
    assert known.get("/account/factors/app").status == 200
    _age(known, 301)
    asked = known.get("/account/factors/app")
    assert (asked.status, asked.headers["location"].split("?")[0]) == (302, "/account/again")
    page = known.page(asked.headers["location"])
    assert "Confirm it's you" in page.text
    assert known.fill(asked.headers["location"], password="wrong one").status == 200
    assert known.fill(asked.headers["location"], password=PASSWORD).status == 302
    assert known.get("/account/factors/app").status == 200


def _age(who: Any, seconds: int) -> None:
    """His proofs are so much older."""
    from farebox.accounts.sign_in import sessions

    store = sessions.SessionStore(who.cookies["__Host-s"])
    records = store["account_authentication_methods"]
    store["account_authentication_methods"] = [each | {"at": each["at"] - seconds} for each in records]
    store.save()


@pytest.mark.slow
@pytest.mark.store
def test_who_has_just_signed_up_makes_his_first_key_without_the_password_again(shop):
    email = f"{secrets.token_hex(5)}@example.com"
    visitor = sign_up(shop, email)
    _age(visitor, 600)  # the mail took its time; the code proves it anew
    assert confirm(shop, visitor, email).status == 302
    assert visitor.get("/console/keys/new").status == 200
    _age(visitor, 301)
    asked = visitor.get("/console/keys/new")
    assert (asked.status, asked.headers["location"].split("?")[0]) == (302, "/account/again")


@pytest.mark.slow
def test_a_code_alone_is_no_proof_of_who_signed_up(shop):
    from farebox.accounts.sign_in import sessions

    email = f"{secrets.token_hex(5)}@example.com"
    visitor = sign_up(shop, email)
    store = sessions.SessionStore(visitor.cookies["__Host-s"])
    del store["account_authentication_methods"]  # as in a session in which no password was typed
    store.save()
    assert confirm(shop, visitor, email).status == 302
    asked = visitor.get("/console/keys/new")
    assert (asked.status, asked.headers["location"].split("?")[0]) == (302, "/account/sign-in")
    # Whose the password was, nobody knows: it is void, and who reads the mail makes another.
    again = Visitor(shop).fill("/account/sign-in", login=email, password=PASSWORD)
    assert "Wrong e-mail address or password" in again.text


@pytest.mark.slow
@pytest.mark.store
def test_an_authenticator_app_its_codes_once_and_recovery_codes_once(shop):
    from allauth.mfa.models import Authenticator
    from allauth.mfa.totp.internal import auth as totp

    known = customer(shop, password=PASSWORD)
    other = Visitor(shop)
    assert other.fill("/account/sign-in", login=known.email, password=PASSWORD).status == 302
    page = known.page("/account/factors/app")
    seed = re.search(r'id="secret">([A-Z2-7]+)<', page.html)[1]
    counter = next(totp.yield_hotp_counters_from_time()) + 1
    code = totp.format_hotp_value(totp.hotp_value(seed, counter))
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.html)[1]
    done = known.send("/account/factors/app", {"csrfmiddlewaretoken": token, "code": code})
    assert (done.status, done.headers["location"]) == (302, "/account/factors/codes")
    row = Authenticator.objects.get(user_id=known.person, type="totp")
    assert seed not in str(row.data)
    assert other.get("/console/settings").status == 302  # the other session has ended
    codes = re.findall(r"<li>([a-z2-7]{4}(?:-[a-z2-7]{4}){3})</li>", known.page("/account/factors/codes").html)
    assert len(set(codes)) == 10
    again = known.page("/account/factors/codes")
    assert not any(each in again.html for each in codes)
    kept = str(Authenticator.objects.get(user_id=known.person, type="recovery_codes").data)
    assert not any(each.replace("-", "") in kept or each in kept for each in codes)

    visitor = Visitor(shop)
    first = visitor.fill("/account/sign-in", login=known.email, password=PASSWORD)
    assert first.headers["location"] == "/account/factors/sign-in"
    assert visitor.get("/console/settings").status == 302
    assert "wrong or was already used" in visitor.fill("/account/factors/sign-in", code="aaaa-aaaa-aaaa-aaaa").text
    assert visitor.fill("/account/factors/sign-in", code=codes[0].upper()).status == 302
    assert visitor.get("/console/settings").status == 200
    second = Visitor(shop)
    second.fill("/account/sign-in", login=known.email, password=PASSWORD)
    assert "wrong or was already used" in second.fill("/account/factors/sign-in", code=codes[0]).text
    code = totp.format_hotp_value(totp.hotp_value(seed, counter))
    assert second.fill("/account/factors/sign-in", code=code).status == 302
    third = Visitor(shop)
    third.fill("/account/sign-in", login=known.email, password=PASSWORD)
    assert "wrong or was already used" in third.fill("/account/factors/sign-in", code=code).text


def test_a_sealed_seed_belongs_to_its_person(shop):
    from farebox.accounts.sign_in import sealed_factors
    from farebox.kit.errors import CommandError

    sealed = sealed_factors.seal("SEED", person="per_a")
    assert sealed_factors.unseal(sealed, person="per_a") == "SEED"
    with pytest.raises(CommandError):
        sealed_factors.unseal(sealed, person="per_b")


@pytest.mark.slow
@pytest.mark.store
def test_a_new_address_counts_once_it_is_confirmed(shop):
    from farebox.accounts.models import Person

    known = customer(shop, password=PASSWORD)
    fresh = f"fresh-{known.email}"
    assert known.fill("/account/email", email=fresh, action_add="1").headers["location"] == "/account/confirm"
    assert Person.objects.get(id=known.person).email == known.email
    assert known.fill("/account/confirm", action="verify", code=post.code(shop, fresh)).status == 302
    assert Person.objects.get(id=known.person).email == fresh
    assert "address was changed" in str(post.newest(shop, known.email)["Subject"])


def test_sign_up_by_invitation_alone(shop, option):
    option(sign_up=False)
    page = Visitor(shop).page("/account/sign-up")
    assert "Invitation required" in page.text
    sent = Visitor(shop).send("/account/sign-up", {"email": "in@example.com", "password1": PASSWORD})
    assert sent.status == 200


def test_sign_ups_of_one_address_have_a_limit(shop, option):
    option(sign_ups_per_h=2)
    for number in (1, 2):
        sign_up(shop, f"many{number}@example.com")
    page = Visitor(shop).fill("/account/sign-up", email="many3@example.com", password1=PASSWORD)
    assert "Too many sign-ups" in page.text


@pytest.mark.slow
def test_the_puzzle_is_offered_checked_and_good_once(shop, option):
    import json

    from altcha import v1 as altcha

    option(sign_up_captcha=True)
    page = Visitor(shop).page("/account/sign-up")
    asked = json.loads(re.search(r'<script id="puzzle" type="application/json">(.*?)</script>', page.html)[1])
    answer = altcha.solve_challenge(asked["challenge"], asked["salt"], asked["algorithm"], asked["maxNumber"])
    fields = {name: asked[name] for name in ("algorithm", "challenge", "salt", "signature")}
    solved = altcha.Payload(number=answer.number, **fields).to_base64()
    wrong = altcha.Payload(number=answer.number + 1, **fields).to_base64()
    for given, status in ((wrong, 200), ("nonsense", 200), (solved, 302), (solved, 200)):
        done = Visitor(shop).fill("/account/sign-up", email="puzzled@example.com", password1=PASSWORD, altcha=given)
        assert done.status == status, given
    assert Visitor(shop).fill("/account/sign-up", email="plain1@example.com", password1=PASSWORD).status == 302
    assert Visitor(shop).fill("/account/sign-up", email="plain2@example.com", password1=PASSWORD).status == 200


@pytest.mark.slow
@pytest.mark.store
def test_trial_credit_once_a_mailbox_and_a_few_a_network(shop, settings):
    from farebox.accounts.sign_in import signup
    from farebox.kit import clock

    settings(trial_micro={"USD": 500_000}, trial_days=1)

    def opened(email: str, address: str) -> int:
        from farebox.accounts.people import people

        row = shop.write(people.create, email=email, now_us=clock.now_us(), actor="test")
        return shop.write(signup.open_account, row.id, address=address, now_us=clock.now_us()).trial_micro

    assert opened("jo.e@gmail.com", "203.0.113.5") == 500_000
    assert opened("j.oe+x@gmail.com", "198.51.100.1") == 0
    assert opened("joe+y@googlemail.com", "198.51.100.1") == 0
    assert opened("a1@example.net", "203.0.113.77") == 500_000
    assert opened("a2@example.net", "203.0.113.78") == 500_000
    assert opened("a3@example.net", "203.0.113.79") == 0
    assert opened("a4@example.net", "203.0.114.79") == 500_000
    settings(trial_micro={"EUR": 500_000})
    assert opened("a5@example.net", "192.0.2.1") == 0


def test_mailboxes_and_networks():
    from farebox.accounts.trial import mailbox, network

    assert mailbox(" A.B+c@GoogleMail.com ") == "ab@gmail.com"
    assert mailbox("A.B+c@Example.com") == "a.b@example.com"
    assert mailbox("+c@example.com") == "+c@example.com"
    assert network("203.0.113.200") == network("::ffff:203.0.113.1") == "203.0.113.0/24"
    assert network("2001:db8:1:2:3::4") == network("2001:db8:1:ffff::1") == "2001:db8:1::/48"
    assert network("socket") == "unknown"


@pytest.mark.slow
def test_a_shop_that_sells_nothing_yet_opens_the_account_later(shop, option):
    option(public_price_list="absent")
    email = "early@example.com"
    visitor = sign_up(shop, email)
    confirm(shop, visitor, email)
    assert visitor.get("/account/open").status == 200
    assert visitor.send("/account/open", {}).headers["location"] == "/console/"
    option(public_price_list="")
    assert "You have no account" in visitor.follow(visitor.page("/console/settings")).text
    assert visitor.send("/account/open", {}).status == 302
    assert visitor.get("/console/settings").status == 200
    assert visitor.get("/account/open").headers["location"] == "/console/"


@pytest.mark.store
def test_sign_ups_that_come_to_nothing_are_forgotten(shop):
    from farebox.accounts.models import Person
    from farebox.accounts.sign_in import signup
    from farebox.kit import clock

    sign_up(shop, "never@example.com")
    kept = person(shop, password=PASSWORD)
    assert shop.write(signup.forget, now_us=clock.now_us()) == 0
    shop.write(signup.forget, now_us=clock.now_us() + 2 * signup.UNCONFIRMED_US)
    assert not Person.objects.filter(email="never@example.com").exists()
    assert Person.objects.filter(id=kept.id).exists()


@pytest.mark.slow
@pytest.mark.store
def test_one_time_links_of_the_demo(shop):
    from farebox.accounts.people import links
    from farebox.kit import clock
    from farebox.kit import settings as known
    from farebox.kit.errors import CommandError, NotFound

    who = customer(shop)
    now_us = clock.now_us()
    with pytest.raises(CommandError):
        shop.write(links.mint, who.person, "console", now_us)
    shop.write(known.put, links.DEMO, True, actor="test")
    try:
        code = shop.write(links.mint, who.person, "console", now_us)
        with pytest.raises(CommandError):
            shop.write(links.mint, who.person, "office", now_us)
        visitor = Visitor(shop)
        assert visitor.get(f"/account/link/{code}").status == 200
        assert visitor.get("/console/settings").status == 302
        for wrong in ("nothing", code + "x", code.swapcase()):
            assert visitor.send(f"/account/link/{wrong}", {}).status == 404
        for bad in ({"address": "203.0.113.5"}, {"now_us": now_us + links.LASTS_US}, {"area": "office"}):
            facts = {"area": "console", "address": "127.0.0.1", "now_us": now_us} | bad
            with pytest.raises(NotFound):
                shop.write(links.use, code, facts.pop("area"), **facts)
        assert visitor.send(f"/account/link/{code}", {}).headers["location"] == "/console/"
        assert visitor.get("/console/settings").status == 200
        assert Visitor(shop).send(f"/account/link/{code}", {}).status == 404
        second = shop.write(links.mint, who.person, "console", now_us)
        assert shop.write(links.forget, now_us=now_us + links.LASTS_US) == 1
        third = shop.write(links.mint, who.person, "console", clock.now_us())
    finally:
        shop.write(known.put, links.DEMO, False, actor="test")
    for left in (second, third):
        assert Visitor(shop).send(f"/account/link/{left}", {}).status == 404


@pytest.mark.parametrize("path", ["/account/", "/account/login/", "/account/signup/", "/account/3rdparty/"])
def test_pages_that_are_not_wanted_are_off(shop, path):
    assert Visitor(shop).get(path).status in {404, 302}
    assert Visitor(shop).get(path.rstrip("/") or "/").status in {404, 302}


def test_forms_of_another_site_and_without_token_are_refused(shop):
    visitor = Visitor(shop)
    visitor.get("/account/sign-in")
    fields = {"login": "a@example.com", "password": PASSWORD}
    assert visitor.send("/account/sign-in", fields, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    assert visitor.send("/account/sign-in", fields | {"csrfmiddlewaretoken": "x"}).status == 403


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_door_says_who_may_come_in(shop, language):
    page = Visitor(shop, language).page("/")
    assert 'href="/account/sign-in"' in page.html
    assert 'href="/account/sign-up"' in page.html
    known = customer(shop, language=language)
    assert 'href="/account/sign-in"' not in known.page("/").html
