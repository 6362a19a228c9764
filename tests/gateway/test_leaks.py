"""A leaked secret that somebody reports is revoked, its owner is told, and whoever asks learns nothing."""

from __future__ import annotations

import http.client
import json

import pytest

from kit import minting, people
from office.script import Script

pytestmark = pytest.mark.store


@pytest.fixture(autouse=True)
def _uncounted():
    from farebox.gateway.http import leaks

    leaks.throttle.cache_clear()


def report(shop, body, **headers):
    line = http.client.HTTPConnection("127.0.0.1", shop.server.port, timeout=30)
    text = body if isinstance(body, (bytes, str)) else json.dumps(body)
    line.request("POST", "/v1/key-leaks", text, headers)
    response = line.getresponse()
    answer = response.status, response.read()
    line.close()
    return answer


def letters_to(email):
    from farebox.kit import options, secrets
    from farebox.kit.models import Outbox

    master = secrets.master_keys(options.current())
    found = [
        json.loads(secrets.unseal(master, row.payload, table="kit_outbox", column="payload", row=row.id))
        for row in Outbox.objects.exclude(payload="")
    ]
    return [each["subject"] for each in found if each["to"] == email]


@pytest.fixture(autouse=True)
def _no_post(monkeypatch):
    """Letters stay in the outbox, to be read."""
    from farebox.kit import outbox

    monkeypatch.setattr(outbox, "due", lambda _tx, _now_us: [])


@pytest.mark.slow
def test_keys_are_revoked_whatever_they_look_like_and_the_answer_says_nothing(shop):
    from farebox.accounts.models import ApiKey
    from farebox.kit import clock, options, secrets
    from farebox.kit.models import AuditEvent

    owner, other = people.customer(shop), people.customer(shop)
    old = "sk-old-system-0123456789abcdef"
    imported = shop.write(
        minting.take_over,
        plaintext=old,
        project=owner.customer.account,
        name="old",
        now_us=clock.now_us(),
        actor="test",
    )
    secrets.add("pepper", options.current())
    secrets.activate("pepper", options.current())  # the keys are under the pepper before
    assert owner.customer.get("/v1/models").status == 200
    unknown = report(shop, {"key": "sk-nobody-knows-0123456789"})
    assert unknown[0] == 202
    assert report(shop, {"keys": [owner.customer.key, old, "rubbish", 7, None]}) == unknown
    shop.refresh()
    assert owner.customer.get("/v1/models").status == 401
    assert ApiKey.objects.get(id=imported.id).state == "revoked"
    assert other.customer.get("/v1/models").status == 200
    assert len([each for each in letters_to(owner.email) if "leaked" in each]) == 2
    event = AuditEvent.objects.get(verb="key.leak", object=owner.customer.key_id)
    assert event.actor == "leak report from 127.0.0.1" and owner.customer.key not in event.after
    assert report(shop, {"key": owner.customer.key}) == unknown  # twice is once
    assert report(shop, f"found these:\n{other.customer.key}\n", **{"Content-Type": "text/plain"}) == unknown
    shop.refresh()
    assert other.customer.get("/v1/models").status == 401


@pytest.mark.parametrize("body", [b"", b"{", b"[[[[", b'{"key": {"a": 1}}', b"\xff\xfe", b"[" * 60_000, b"null"])
def test_nonsense_is_taken_like_everything_else(shop, body):
    assert report(shop, body)[0] == 202


def test_a_token_and_an_upstreams_secret(shop):
    from farebox.accounts.models import OfficeToken
    from farebox.kit import options, secrets
    from farebox.upstreams import channels

    admin = people.operator(shop, "admin")
    script = Script(shop, "support")
    assert script.get("customers").status == 200
    shop.add_channel("leaky", "http://127.0.0.1:9/v1", [])
    master = secrets.master_keys(options.current())
    shop.write(channels.set_secret, channel="leaky", secret="sk-vendor-secret-0123456789", master=master, actor="test")
    assert report(shop, {"keys": [script.token, "sk-vendor-secret-0123456789"]})[0] == 202
    assert script.get("customers").status == 401
    owner = OfficeToken.objects.select_related("person").latest("made_us").person
    assert any("token" in each.lower() for each in letters_to(owner.email))
    assert any("leaky" in each for each in letters_to(admin.email))
    many = len(letters_to(admin.email))
    report(shop, {"key": "sk-vendor-secret-0123456789"})
    assert len(letters_to(admin.email)) == many  # once a day


def test_a_webhooks_secret_and_links_of_invitations(shop):
    from farebox.accounts.models import Invitation, Notice, OfficeCode
    from farebox.accounts.people import notices
    from farebox.accounts.sign_in import setup
    from farebox.accounts.team import invitations
    from farebox.kit import clock

    owner, admin = people.customer(shop), people.operator(shop, "admin")
    member = people.customer(shop, role="member", of=owner)
    account, codes = owner.customer.account, []
    wanted = notices.Wishes(prices=True, by_mail=False, webhook_url="https://example.com/hook")
    secret = shop.write(notices.put, person=member.person, account=account, wanted=wanted, actor="test")
    for name in ("one", "two", "three"):
        guests, terms = [invitations.Guest(f"{name}.{account}@example.com")], invitations.InvitationTerms(role="owner")
        shop.write(
            invitations.invite, account, guests, terms, lambda _tx, _row, code: codes.append(code),
            now_us=clock.now_us(), actor=f"person:{owner.person}",
        )  # fmt: skip
    new = setup.CodePurpose("", email=f"new.{account}@example.com", role="support")
    office = shop.write(setup.invite, new, change="", now_us=clock.now_us(), actor="test")
    unknown = report(shop, {"key": "whsec_nobody-knows-0123456789"})
    links = [codes[0], f"https://shop.example/zh/join/{codes[1]}?x=1", f"http://x/office/set-up?code={office}"]
    assert report(shop, {"keys": [secret, *links]}) == unknown == (202, unknown[1])
    row = Notice.objects.get(person=member.person, account=account)
    assert (row.webhook_url, row.webhook_secret, row.by_mail) == ("", "", True)
    states = Invitation.objects.filter(account=account).order_by("created_us", "id").values_list("state", flat=True)
    assert sorted(states) == ["open", "revoked", "revoked"]
    assert not OfficeCode.objects.filter(email=new.email).exists()
    assert len([each for each in letters_to(owner.email) if "invitation link reported as leaked" in each]) == 2
    assert any("webhook secret reported as leaked" in each for each in letters_to(owner.email))
    assert any("webhook secret reported as leaked" in each for each in letters_to(member.email))
    assert any("link to the office" in each for each in letters_to(admin.email))
    told = len(letters_to(owner.email))
    assert report(shop, {"keys": [secret, *links]}) == unknown  # twice is once
    assert len(letters_to(owner.email)) == told
    page = owner.page("/console/changes").text
    assert "Invitation link reported as leaked" in page and "Webhook secret reported as leaked" in page


@pytest.mark.slow
def test_reports_have_a_limit_and_only_post_is_one(shop):
    from farebox.gateway.http import leaks

    assert report(shop, b"x" * (leaks.BODY_BYTES_MAX + 1))[0] == 413
    seen = [202]
    while seen[-1] == 202 and len(seen) < 4 * leaks.PER_MIN:  # on a slow machine some are forgotten meanwhile
        seen.append(report(shop, {"key": f"sk-guess-{len(seen):020d}"})[0])
    assert len(seen) > leaks.PER_MIN // 2 and seen[-1] == 429
    assert people.customer(shop).customer.get("/v1/key-leaks").status == 405
