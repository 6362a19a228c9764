"""The operators' door: set-up by a one-time code, two proofs always, throttles, sessions, and a second person."""

from __future__ import annotations

import re
import uuid

import pytest

from kit import letters, people
from kit.visitor import Page, Visitor
from office import totp

pytestmark = pytest.mark.slow

PASSWORD = people.PASSWORD
COOKIE = "__Host-o"


def first_code(shop):
    from farebox.accounts.models import Person
    from farebox.accounts.sign_in import setup
    from farebox.kit import clock

    Person.objects.exclude(operator_role="").update(operator_role="")
    return shop.write(setup.first_code, now_us=clock.now_us(), actor="test")


def enrolled(shop, role="admin"):
    """A new operator who has signed in by himself: (visitor, person, seed, recovery codes)."""
    person = people.person(shop, operator_role=role, password=PASSWORD)
    visitor = Visitor(shop, "en")
    page = visitor.follow(visitor.fill("/office/sign-in", email=person.email, password=PASSWORD))
    secret = totp.seed(page.html)
    page = visitor.through("/office/enrol", code=totp.code(secret))
    codes = re.findall(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", page.html)
    assert len(codes) == 10
    return visitor, person, secret, codes


def forget_attempts():
    from django.core.cache import cache

    cache.clear()


@pytest.fixture(autouse=True)
def _fresh():
    forget_attempts()


def trail(verb):
    from farebox.kit.models import AuditEvent

    return list(AuditEvent.objects.filter(verb=verb).order_by("id"))


# set-up


def test_the_first_administrator(shop, visitor):
    code = first_code(shop)
    email = f"{uuid.uuid4().hex[:8]}@example.com"
    page = visitor.page(f"/office/set-up?code={code}")
    assert "You will be the first administrator" in page.text
    answer = visitor.fill(f"/office/set-up?code={code}", email=email, name="Ada", password=PASSWORD, again=PASSWORD)
    assert answer.headers["location"] == "/office/enrol"
    page = visitor.follow(answer)
    assert visitor.get("/office/").status == 302  # nothing comes before the second factor
    assert '<svg class="qr"' in page.html
    page = visitor.through("/office/enrol", code=totp.code(totp.seed(page.html)))
    assert page.status == 200
    assert "Recovery codes" in page.text
    assert visitor.page("/office/").status == 200
    from farebox.accounts.models import Person

    made = Person.objects.get(email=email)
    assert (made.operator_role, made.name) == ("admin", "Ada")
    again = Visitor(shop, "en").page(f"/office/set-up?code={code}")
    assert again.status == 404
    assert "Invalid link" in again.text


def test_a_code_ends_after_an_hour_and_when_there_is_an_operator(shop, visitor, monkeypatch):
    from farebox.kit import clock

    code = first_code(shop)
    now_us = clock.now_us()
    monkeypatch.setattr(clock, "now_us", lambda: now_us + 3_601_000_000)
    assert visitor.get(f"/office/set-up?code={code}").status == 404
    monkeypatch.undo()
    assert visitor.get(f"/office/set-up?code={code}").status == 200
    people.person(shop, operator_role="admin")
    assert visitor.get(f"/office/set-up?code={code}").status == 404
    assert visitor.get("/office/set-up").status == 404
    from farebox.accounts.sign_in import setup
    from farebox.kit.errors import CommandError

    with pytest.raises(CommandError, match="operator.set_up"):
        shop.write(setup.first_code, now_us=clock.now_us(), actor="test")


def test_a_newer_code_ends_the_earlier_one(shop, visitor):
    first, second = first_code(shop), first_code(shop)
    assert visitor.get(f"/office/set-up?code={first}").status == 404
    assert visitor.get(f"/office/set-up?code={second}").status == 200


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"again": "something else"}, "The passwords do not match."),
        ({"password": "short", "again": "short"}, "A password has 8 to 256 characters."),
        ({"password": "password", "again": "password"}, "too common"),
        ({"password": "farebox-2026", "again": "farebox-2026"}, "too similar to your name"),
        ({"email": "no address"}, "is not an e-mail address"),
        ({"email": ""}, "This field is required."),
    ],
)
def test_a_set_up_that_will_not_do(shop, visitor, fields, said):
    code = first_code(shop)
    given = {"email": "ada@example.org", "name": "Ada", "password": PASSWORD, "again": PASSWORD, **fields}
    page = visitor.fill(f"/office/set-up?code={code}", **given)
    assert page.status == 200
    assert said in page.text
    assert visitor.get(f"/office/set-up?code={code}").status == 200  # the code is not used up by it


# two proofs


def test_password_and_code(shop, visitor):
    _, person, secret, _ = enrolled(shop)
    answer = visitor.fill("/office/sign-in?next=/office/upstreams", email=person.email.upper(), password=PASSWORD)
    assert answer.headers["location"] == "/office/second-factor?next=/office/upstreams"
    assert visitor.get("/office/upstreams").status == 302
    before = visitor.cookies[COOKIE]
    page = visitor.fill("/office/second-factor?next=/office/upstreams", code="000000")
    assert "The code is wrong" in page.text
    answer = visitor.fill("/office/second-factor?next=/office/upstreams", code=totp.code(secret, 1))
    assert answer.headers["location"] == "/office/upstreams"
    assert visitor.cookies[COOKIE] != before  # another session under another key
    assert visitor.page("/office/upstreams").status == 200
    assert any(event.object == person.id for event in trail("office.sign_in"))


def test_the_cookie_of_the_office(shop, visitor):
    enrolled(shop)
    visitor.fill("/office/sign-in", email="nobody@example.org", password="x")
    visitor, _, _, _ = enrolled(shop)
    visitor.page("/office/")
    visitor.fill("/office/profile", name="Ada", language="", time_zone="UTC")
    [cookie] = [text for text in visitor.set if text.startswith(COOKIE + "=")] or [""]
    enrolled_set = cookie.lower()
    if enrolled_set:
        for part in ("secure", "httponly", "samesite=strict", "path=/"):
            assert part in enrolled_set


def test_a_code_is_good_once(shop):
    _, person, secret, _ = enrolled(shop)
    code = totp.code(secret, 1)
    for expected in (302, 200):
        visitor = Visitor(shop, "en")
        visitor.fill("/office/sign-in", email=person.email, password=PASSWORD)
        assert visitor.fill("/office/second-factor", code=code).status == expected


def test_a_recovery_code_is_good_once(shop):
    _, person, _, codes = enrolled(shop)
    for expected in (302, 200):
        visitor = Visitor(shop, "en")
        visitor.fill("/office/sign-in", email=person.email, password=PASSWORD)
        assert visitor.fill("/office/second-factor", code=codes[3]).status == expected
    assert trail("second.recovery_used")[-1].object == person.id


def test_unknown_and_wrong_say_the_same(shop):
    _, person, _, _ = enrolled(shop)
    customer = people.customer(shop, password=PASSWORD)
    said = set()
    for email, password in (
        (person.email, "wrong"), ("nobody@example.org", "wrong"), (customer.email, PASSWORD)
    ):  # fmt: skip
        page = Visitor(shop, "en").fill("/office/sign-in", email=email, password=password)
        assert page.status == 200
        said.add(re.search(r'class="flash bad" role="alert">([^<]+)<', page.html)[1])
    assert said == {"Wrong e-mail address or password."}


def test_passwords_are_slowed_down_but_not_in_a_known_browser(shop):
    known, person, secret, _ = enrolled(shop)
    known.send("/office/sign-out", {})
    stranger = Visitor(shop, "en")
    for _ in range(5):
        page = stranger.fill("/office/sign-in", email=person.email, password="wrong")
        assert "Wrong e-mail address or password" in page.text
    page = stranger.fill("/office/sign-in", email=person.email, password=PASSWORD)
    assert "Too many attempts. Try again in 1 minute" in page.text
    answer = known.fill("/office/sign-in", email=person.email, password=PASSWORD)
    assert answer.status == 302
    assert known.fill("/office/second-factor", code=totp.code(secret, 1)).status == 302


def test_a_pause_doubles_up_to_fifteen_minutes(shop, monkeypatch):
    from farebox.accounts.sign_in import attempts

    now_us, waited = 1_800_000_000_000_000, []
    for _ in range(12):
        try:
            shop.write(attempts.take, "somebody", now_us=now_us)
        except attempts.TooMany as wait:
            waited.append(wait.wait_s)
            now_us += wait.wait_s * 1_000_000
    assert waited == [60, 120, 240, 480]
    for minutes in (15, 15):
        shop.write(attempts.take, "somebody", now_us=now_us)
        with pytest.raises(attempts.TooMany) as wait:
            shop.write(attempts.take, "somebody", now_us=now_us)
        assert wait.value.wait_s == minutes * 60
        now_us += minutes * 60_000_000


def test_an_address_has_thirty_tries_a_minute(shop):
    from farebox.accounts.sign_in import attempts

    now_us = 1_800_000_000_000_000
    for _ in range(30):
        shop.write(attempts.take_address, "192.0.2.7", now_us=now_us)
    with pytest.raises(attempts.TooMany) as wait:
        shop.write(attempts.take_address, "192.0.2.7", now_us=now_us)
    assert wait.value.wait_s <= 60
    shop.write(attempts.take_address, "192.0.2.8", now_us=now_us)
    shop.write(attempts.take_address, "192.0.2.7", now_us=now_us + 60_000_000)


def test_recovery_codes_are_lines_and_can_be_read_again(shop):
    visitor, person, _, _ = enrolled(shop)
    answer = visitor.fill("/office/profile/recovery-codes")
    here = answer.headers["location"]
    page = visitor.page(here)
    shown = re.search(r'<pre id="codes">(.*?)</pre>', page.html, re.DOTALL)[1]
    lines = shown.splitlines()
    assert len(lines) == 10 and all(re.fullmatch(r"[a-z2-7]{4}(-[a-z2-7]{4}){3}", each) for each in lines)
    assert shown in visitor.page("/zh" + here).html
    assert visitor.fill(here).headers["location"] == "/office/profile"
    assert lines[0] not in visitor.follow(visitor.get(here)).html
    other = Visitor(shop, "en")
    other.fill("/office/sign-in", email=person.email, password=people.PASSWORD)
    assert other.fill("/office/second-factor", code=lines[0]).status == 302


def test_codes_are_slowed_down(shop, visitor):
    _, person, secret, _ = enrolled(shop)
    visitor.fill("/office/sign-in", email=person.email, password=PASSWORD)
    for _ in range(5):
        assert "The code is wrong" in visitor.fill("/office/second-factor", code="123456").text
    page = visitor.fill("/office/second-factor", code=totp.code(secret, 1))
    assert "Too many attempts" in page.text


def test_a_session_of_the_console_is_none_here(shop):
    person = people.person(shop, operator_role="admin")
    visitor = people.signed_in(shop, person, "console", "password", "mfa")
    visitor.cookies[COOKIE] = visitor.cookies.pop("__Host-s")
    assert visitor.get("/office/").status == 302
    alone = people.signed_in(shop, person, "office", "password")
    assert alone.get("/office/").status == 302


def test_next_leads_nowhere_else(shop):
    for to in ("https://evil.example/", "//evil.example/office/", "/console/", "/office/../console/"):
        visitor, _, _secret, _ = enrolled(shop)
        answer = visitor.get(f"/office/sign-in?next={to}")
        assert answer.headers["location"].startswith("/office/"), to
        assert "evil" not in answer.headers["location"]


def test_signing_out_ends_the_session(shop):
    visitor, _person, _, _ = enrolled(shop)
    session = visitor.cookies[COOKIE]
    assert visitor.get("/office/sign-out").status == 405
    assert visitor.send("/office/sign-out", {}).status == 302
    visitor.cookies[COOKIE] = session
    assert visitor.get("/office/").status == 302


# once more


def test_step_up(shop):
    visitor, _person, _, _ = enrolled(shop)
    from farebox.accounts.models import Session
    from farebox.accounts.sign_in.sessions import SessionStore, digest

    def age(seconds):
        store = SessionStore(visitor.cookies[COOKIE], area="office")
        store["account_authentication_methods"] = [
            each | {"at": each["at"] - seconds} for each in store["account_authentication_methods"]
        ]
        store.save()

    assert visitor.get("/office/operators/new").status == 200
    age(301)
    answer = visitor.get("/office/operators/new")
    assert answer.headers["location"] == "/office/step-up?next=/office/operators/new"
    assert visitor.send("/office/operators/new", {"email": "x@example.org", "role": "admin"}).status == 302
    before = visitor.cookies[COOKIE]
    page = visitor.fill("/office/step-up?next=/office/operators/new", password="wrong")
    assert "The password is wrong." in page.text
    answer = visitor.fill("/office/step-up?next=/office/operators/new", password=PASSWORD)
    assert answer.headers["location"] == "/office/operators/new"
    assert visitor.cookies[COOKIE] != before
    assert not Session.objects.filter(id=digest(before)).exists()
    assert visitor.get("/office/operators/new").status == 200


# one's own page


def test_profile(shop):
    visitor, person, _, _ = enrolled(shop, "support")
    page = visitor.fill("/office/profile", name="Ada Lovelace", language="zh-hans", time_zone="Mars/Olympus")
    assert "This language or time zone does not exist." in page.text
    answer = visitor.fill("/office/profile", name="Ada Lovelace", language="zh-hans", time_zone="Asia/Shanghai")
    page = visitor.follow(answer)
    assert "Profile updated." in page.text
    person.refresh_from_db()
    assert (person.name, person.language, person.time_zone) == ("Ada Lovelace", "zh-hans", "Asia/Shanghai")
    assert "10 recovery codes left" in page.text


def test_another_password_ends_other_sessions(shop):
    visitor, person, _, _ = enrolled(shop)
    other = people.signed_in(shop, person, "office", "password", "mfa")
    assert other.get("/office/").status == 200
    page = visitor.fill("/office/profile/password", password="short", again="short")
    assert "A password has 8 to 256 characters." in page.text
    answer = visitor.fill("/office/profile/password", password="another sentence 99", again="another sentence 99")
    assert "All other sessions have ended" in visitor.follow(answer).text
    assert other.get("/office/").status == 302
    assert visitor.get("/office/").status == 200
    assert person.__class__.objects.get(pk=person.pk).check_password("another sentence 99")


def test_sessions_are_listed_and_ended(shop):
    visitor, person, _, _ = enrolled(shop)
    other = people.signed_in(shop, person, "office", "password", "mfa")
    foreign = people.operator(shop)
    page = visitor.page("/office/profile")
    ends = re.findall(r'action="(/office/profile/sessions/[0-9a-f]{64}/end)"', page.html)
    assert len(ends) == 1
    assert foreign.send(ends[0], {}).status == 404
    assert visitor.send("/office/profile/sessions/nonsense/end", {}).status == 404
    assert visitor.send(ends[0], {}).status == 302
    assert other.get("/office/").status == 302
    third = people.signed_in(shop, person, "office", "password", "mfa")
    assert visitor.send("/office/profile/sessions/others/end", {}).status == 302
    assert third.get("/office/").status == 302
    assert visitor.get("/office/").status == 200


def test_second_factors(shop):
    visitor, person, first, codes = enrolled(shop)
    page = visitor.page("/office/profile")
    [remove] = re.findall(r'href="(/office/profile/second-factors/\d+)"', page.html)
    assert people.operator(shop).get(remove).status == 404
    assert "This is your only second factor" in visitor.follow(visitor.fill(remove)).text
    page = visitor.page("/office/profile/second-factors/new")
    secret = totp.seed(page.html)
    assert "Wrong code" in visitor.fill("/office/profile/second-factors/new", code="1").text
    answer = visitor.fill("/office/profile/second-factors/new", code=totp.code(secret))
    assert "Second factor added" in visitor.follow(answer).text
    for given, expected in ((totp.code(first, 1), 200), (totp.code(secret, 1), 302)):
        again = Visitor(shop, "en")
        again.fill("/office/sign-in", email=person.email, password=PASSWORD)
        assert again.fill("/office/second-factor", code=given).status == expected
    assert "10 codes left" in visitor.page("/office/profile/recovery-codes").text
    page = visitor.through("/office/profile/recovery-codes")
    fresh = re.findall(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", page.html)
    assert len(fresh) == 10
    assert not set(fresh) & set(codes)


def test_passkeys_that_are_nonsense(shop):
    visitor, person, _secret, _ = enrolled(shop)
    page = visitor.page("/office/profile/second-factors/new")
    assert 'data-passkey="make"' in page.html
    for answer in (
        "",
        "{}",
        "[]",
        "{",
        '{"id": "x", "rawId": "x", "type": "public-key", "response": {}}',
        "9" * 20_000,
    ):
        page = visitor.fill("/office/profile/second-factors/new", name="Key", answer=answer)
        assert "This passkey could not be read" in page.text, answer[:40]
        page = visitor.fill("/office/step-up", answer=answer)
        assert page.status == 200
    fresh = Visitor(shop, "en")
    fresh.fill("/office/sign-in", email=person.email, password=PASSWORD)
    assert fresh.fill("/office/second-factor", answer="{}").status == 200
    assert fresh.get("/office/").status == 302


# operators


def way_in(shop, email):
    """The link that an operator was sent."""
    return letters.link(letters.letters(shop, email)[-1], "/office/set-up?code=")


def test_alone_an_operator_is_added_at_once(shop, operator, option):
    option(single_person=True)
    admin, email = operator(), f"{uuid.uuid4().hex[:8]}@example.com"
    page = admin.follow(admin.fill("/office/operators/new", email=email, name="Bob", role="support", why="holidays"))
    assert f"A link was sent to {email}" in page.text
    assert "code=" not in page.html
    link = way_in(shop, email)
    assert "made by one person" in admin.page("/office/operators").text
    bob = Visitor(shop, "en")
    page = bob.page(link)
    assert email in page.text
    assert 'name="email"' not in page.html
    answer = bob.fill(link, name="Bob", password=PASSWORD, again=PASSWORD)
    page = bob.follow(answer)
    bob.fill("/office/enrol", code=totp.code(totp.seed(page.html)))
    assert bob.get("/office/").status == 200
    assert bob.get("/office/operators").status == 404
    assert Visitor(shop, "en").get(link).status == 404
    from farebox.accounts.models import OperatorChange

    row = OperatorChange.objects.get(email=email)
    assert (row.state, row.single_person, row.requester) == ("approved", True, f"operator:{admin.person}")
    assert [event.actor for event in trail("operator.approve") if event.object == email] == [row.requester]


def test_two_administrators(shop, operator, option):
    option(single_person=False)
    first, second, email = operator(), operator(), f"{uuid.uuid4().hex[:8]}@example.com"
    page = first.follow(first.fill("/office/operators/new", email=email, name="", role="finance", why=""))
    assert "Another administrator must approve it" in page.text
    from farebox.accounts.models import OperatorChange, Person

    assert not Person.objects.filter(email=email).exists()
    page = first.fill("/office/operators/new", email=email, name="", role="admin", why="")
    assert "is already waiting for a second person" in page.text
    change = f"/office/operators/changes/{OperatorChange.objects.get(email=email).id}"
    assert "You proposed this" in first.page(change).text
    assert "Another administrator must approve this" in first.follow(first.fill(change, do="approve")).text
    for role in ("support", "finance", "auditor"):
        assert operator(role).get(change).status == 404
        assert operator(role).send(change, {"do": "approve"}).status == 404
    page = second.follow(second.fill(change, do="approve"))
    assert f"A link was sent to {email}" in page.text
    assert "code=" not in page.html
    assert email in Visitor(shop, "en").page(way_in(shop, email)).text
    assert not Person.objects.filter(email=email).exists()  # the role waits for the code of the mailbox
    assert "Invited operator" in second.page(change).text
    assert second.send(change, {"do": "approve"}).status == 404


def test_nobody_approves_a_change_of_himself(shop, operator, option):
    from farebox.accounts.models import OperatorChange

    option(single_person=False)
    first, second = operator(), operator()
    first.fill(f"/office/operators/{second.person}", role="finance", why="other work")
    change = f"/office/operators/changes/{OperatorChange.objects.get(email=second.email).id}"
    assert "Another administrator must approve this" in second.follow(second.fill(change, do="approve")).text
    assert OperatorChange.objects.get(email=second.email).state == "proposed"


def test_a_change_is_refused_or_lapses(shop, operator, option, monkeypatch):
    option(single_person=False)
    first, second = operator(), operator()
    from farebox.accounts.models import OperatorChange, Person
    from farebox.kit import clock

    emails = [f"{uuid.uuid4().hex[:8]}@example.com" for _ in range(2)]
    for email in emails:
        first.fill("/office/operators/new", email=email, name="", role="support", why="")
    changes = [f"/office/operators/changes/{OperatorChange.objects.get(email=email).id}" for email in emails]
    assert "refused" in second.follow(second.fill(changes[0], do="refuse")).text
    assert OperatorChange.objects.get(email=emails[0]).state == "refused"
    OperatorChange.objects.filter(email=emails[1]).update(made_us=clock.now_us() - 73 * 3_600_000_000)
    assert second.send(changes[1], {"do": "approve"}).status == 404
    assert not Person.objects.filter(email__in=emails).exists()


def test_a_role_is_taken_away_and_sessions_end(shop, operator, option):
    option(single_person=True)
    admin = operator()
    other, person, _, _ = enrolled(shop, "support")
    page = f"/office/operators/{person.id}"
    assert "This field is required" in admin.fill(page, do="role", role="auditor", why="").text
    assert admin.fill(page, do="role", role="auditor", why="moved").status == 302
    assert other.get("/office/").status == 302
    assert admin.fill(page, do="role", role="", why="left").status == 302
    assert admin.get(page).status == 404
    assert admin.get("/office/operators/per_nobody").status == 404


def test_the_last_administrator_stays(shop, operator, option):
    option(single_person=True)
    from farebox.accounts.models import Person

    Person.objects.filter(operator_role="admin").update(operator_role="auditor")
    admin = operator()
    page = admin.fill(f"/office/operators/{admin.person}", do="role", role="support", why="tired")
    assert "is the last administrator" in page.text
    assert admin.get("/office/operators").status == 200


def test_a_reset_lets_in_who_has_lost_everything(shop, operator, option):
    option(single_person=True)
    lost, person, secret, _ = enrolled(shop, "support")
    admin = operator()
    page = admin.follow(admin.fill(f"/office/operators/{person.id}", **{"do": "reset", "reset-why": "phone lost"}))
    assert "code=" not in page.html
    link = way_in(shop, person.email)
    assert lost.get("/office/").status == 302
    assert (
        "Wrong e-mail address or password"
        in Visitor(shop, "en").fill("/office/sign-in", email=person.email, password=PASSWORD).text
    )
    back = Visitor(shop, "en")
    page = back.follow(back.fill(link, name="", password=PASSWORD, again=PASSWORD))
    assert "Add a second factor" in page.text
    assert totp.seed(page.html) != secret


def test_members_of_accounts_are_no_operators(shop, operator, option):
    option(single_person=True)
    customer = people.customer(shop)
    page = operator().fill("/office/operators/new", email=customer.email, name="", role="support", why="")
    assert "is a member of an account" in page.text


def test_who_sees_the_operators(operator):
    assert operator("auditor").get("/office/operators").status == 200
    for role in ("support", "finance"):
        assert operator(role).get("/office/operators").status == 404
    for role in ("support", "finance", "auditor"):
        assert operator(role).get("/office/operators/new").status == 404


# the demo's links


def test_a_link_of_the_demo(shop, visitor):
    from farebox.accounts.people import links
    from farebox.kit import clock, settings

    person = people.person(shop, operator_role="admin")
    shop.write(settings.put, links.DEMO, True, actor="test")
    code = shop.write(links.mint, person.id, "office", clock.now_us())
    assert visitor.get(f"/office/link/{code}").status == 200  # looking changes nothing
    assert visitor.get("/office/").status == 302
    assert visitor.fill(f"/office/link/{code}").status == 302
    assert visitor.get("/office/").status == 200
    assert Visitor(shop, "en").fill(f"/office/link/{code}").status == 404
    shop.write(settings.put, links.DEMO, False, actor="test")


def test_in_chinese(shop):
    page = Page(Visitor(shop, "zh-CN").get("/office/sign-in"))
    assert "登录后台" in page.text
    page = Visitor(shop, "zh-CN").fill("/zh/office/sign-in", email="nobody@example.org", password="x")
    assert "邮箱或密码错误" in page.text
