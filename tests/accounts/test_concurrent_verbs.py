"""Two of the same at one time, on two nodes or in two threads: one account, one trial, one successor, one version."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from farebox.kit import clock
from farebox.kit.errors import CommandError
from kit import minting
from kit import people as visitors
from kit.overlap import overlapped

pytestmark = [pytest.mark.store, pytest.mark.slow]


@pytest.fixture
def settings(shop: Any):
    """Change settings of the shop for one test."""
    from farebox.kit import settings as known

    def change(**values: Any) -> None:
        shop.write(known.put_all, values, actor="test")

    yield change
    change(signup_price_list="", trial_micro={})


@pytest.fixture
def trial(shop: Any, settings: Any) -> int:
    """Two dollars for everybody who signs up; the micro-units."""
    del shop
    from farebox.catalog.models import PriceList

    names = PriceList.objects.filter(currency="USD").exclude(name="house").values_list("name", flat=True)
    settings(signup_price_list=names[0], trial_micro={"USD": 2_000_000})
    return 2_000_000


def sign_up(tx: Any, person: str, address: str) -> Any:
    from farebox.accounts.sign_in import signup

    return signup.open_account(tx, person, address=address, now_us=clock.now_us())


def person(shop: Any, email: str) -> str:
    from farebox.accounts.people import people

    return shop.write(people.create, email=email, now_us=clock.now_us(), actor="test").id


def test_two_confirmations_open_one_account(shop, trial):
    from farebox.accounts.models import Member

    ident = visitors.person(shop).id
    said = overlapped(lambda tx: sign_up(tx, ident, "192.0.2.7"), lambda tx: sign_up(tx, ident, "192.0.2.7"))
    assert said[0].trial_micro == trial
    assert said[1] is None
    assert Member.objects.filter(person=ident).count() == 1


def test_one_mailbox_gets_one_trial(shop, trial):
    name = uuid.uuid4().hex[:10]
    one, two = (person(shop, f"{name}+{tag}@example.com") for tag in "ab")
    said = overlapped(lambda tx: sign_up(tx, one, "192.0.2.8"), lambda tx: sign_up(tx, two, "198.51.100.8"))
    assert [opened.trial_micro for opened in said] == [trial, 0], said


def test_one_network_gets_three_trials_a_day(shop, trial):
    from farebox.accounts.trial import PER_NETWORK_DAY

    persons = [visitors.person(shop).id for _ in range(PER_NETWORK_DAY + 1)]
    for ident in persons[:-2]:
        assert shop.write(sign_up, ident, "203.0.113.9").trial_micro == trial
    said = overlapped(
        lambda tx: sign_up(tx, persons[-2], "203.0.113.10"), lambda tx: sign_up(tx, persons[-1], "203.0.113.11")
    )
    assert [opened.trial_micro for opened in said] == [trial, 0], said


def rotate(tx: Any, key: str) -> str:
    from farebox.accounts.keys import key_line

    return key_line.rotate(tx, key, now_us=clock.now_us(), actor="test")[0].id


def a_key(shop: Any) -> str:
    from farebox.accounts.models import ApiKey

    return str(ApiKey.objects.get(account=shop.account("1").account).id)


def test_a_key_has_one_successor(shop):
    from farebox.accounts.models import ApiKey

    key = a_key(shop)
    said = overlapped(lambda tx: rotate(tx, key), lambda tx: rotate(tx, key))
    assert isinstance(said[1], CommandError), said
    assert said[0] in said[1].message
    assert ApiKey.objects.get(id=key).replaced_by == said[0]


def test_a_key_that_is_being_revoked_has_no_successor(shop):
    from farebox.accounts.keys import keys
    from farebox.accounts.models import ApiKey

    key = a_key(shop)
    said = overlapped(lambda tx: keys.revoke(tx, key, now_us=clock.now_us(), actor="test"), lambda tx: rotate(tx, key))
    assert isinstance(said[1], CommandError), said
    account = ApiKey.objects.get(id=key).account
    assert not ApiKey.objects.filter(account=account, state="active").exists()


def test_two_drafts_of_one_version_are_published_once(shop):
    from farebox.catalog import drafts, price_lists
    from farebox.catalog.models import PriceDraft, PriceListVersion

    name = f"race-{uuid.uuid4().hex[:6]}"
    shop.write(price_lists.create_list, name, "USD", about="", actor="test")

    def draw_up(output: int) -> str:
        plan = drafts.DraftContent(rows=[("gpt-4", "input", 10_000_000), ("gpt-4", "output", output)])
        return str(shop.write(drafts.draw_up, name, plan, actor="one", requester="one", now_us=clock.now_us()).id)

    def publish(tx: Any, draft: str) -> int:
        row, _ = drafts.publish(tx, draft, actor="two", decider="two", single_person=False, now_us=clock.now_us())
        return int(row.version_n or 0)

    one, two = draw_up(20_000_000), draw_up(30_000_000)
    said = overlapped(lambda tx: publish(tx, one), lambda tx: publish(tx, two))
    assert said[0] == 1
    assert isinstance(said[1], CommandError), said
    assert "draft.newer_version" in said[1].message
    assert PriceListVersion.objects.filter(price_list=name).count() == 1
    assert PriceDraft.objects.get(id=two).state == "open"


def test_one_of_two_owners_stays(shop):
    from farebox.accounts.models import Member
    from farebox.accounts.people import people

    one = visitors.customer(shop)
    two = visitors.customer(shop, of=one)

    def leave(tx: Any, member: str) -> Any:
        return people.remove_member(tx, member, now_us=clock.now_us(), actor="test")

    said = overlapped(lambda tx: leave(tx, one.member), lambda tx: leave(tx, two.member))
    # The last one may leave an account that he leaves empty: nobody else is left in it.
    assert [row.state for row in said] == ["removed", "removed"]
    one = visitors.customer(shop)
    two, three = visitors.customer(shop, of=one), visitors.customer(shop, of=one, role="member")
    said = overlapped(lambda tx: leave(tx, one.member), lambda tx: leave(tx, two.member))
    assert isinstance(said[1], CommandError), said
    assert Member.objects.filter(account=one.customer.account, role="owner", state="active").count() == 1
    assert Member.objects.get(id=three.member).state == "active"


def test_keys_do_not_outlive_a_place_in_their_project(shop):
    from farebox.accounts import projects
    from farebox.accounts.models import ApiKey, Member
    from farebox.accounts.team import teams

    owner = visitors.customer(shop)
    guest = visitors.customer(shop, of=owner, role="member")
    who = {"now_us": clock.now_us(), "actor": "test"}
    member = Member.objects.get(id=guest.member)
    there = shop.write(projects.create, account=owner.customer.account, name="There", **who)
    key = shop.write(minting.issue, project=member.project_id, name="here", member=member.id, **who)[0]
    shop.write(teams.set_role, member.id, role="admin", project=member.project_id, **who)
    assert ApiKey.objects.get(id=key.id).state == "active"
    shop.write(teams.set_role, member.id, role="owner", project=None, **who)
    assert ApiKey.objects.get(id=key.id).state == "active"
    shop.write(teams.set_role, member.id, role="member", project=there.id, **who)
    assert ApiKey.objects.get(id=key.id).state == "revoked"


def invite(tx: Any, who: Any, *emails: str) -> Any:
    from farebox.accounts.team import invitations

    guests, terms = [invitations.Guest(email) for email in emails], invitations.InvitationTerms(role="owner")
    by = {"now_us": clock.now_us(), "actor": f"person:{who.person}"}
    return invitations.invite(tx, who.customer.account, guests, terms, lambda _tx, _row, _code: None, **by)


def test_an_address_is_invited_once(shop):
    who, email = visitors.customer(shop), f"{uuid.uuid4().hex[:10]}@example.com"
    said = overlapped(lambda tx: invite(tx, who, email), lambda tx: invite(tx, who, email))
    assert [(len(each.invited), each.known) for each in said] == [(1, []), (0, [email])], said


def test_an_invitation_that_is_sent_again_twice_counts_both(shop):
    from farebox.accounts.models import Invitation
    from farebox.accounts.team import invitations

    who = visitors.customer(shop)
    row = shop.write(invite, who, f"{uuid.uuid4().hex[:10]}@example.com").invited[0]

    def again(tx: Any) -> Any:
        by = {"now_us": clock.now_us(), "actor": f"person:{who.person}"}
        return invitations.resend(tx, row.id, lambda _tx, _row, _code: None, **by)

    assert [each.sent_n for each in overlapped(again, again)] == [2, 3]
    assert Invitation.objects.get(id=row.id).sent_n == 3


def test_a_mailbox_gets_so_many_invitations_a_day_and_no_more(shop):
    from farebox.accounts.keys.rates import MAILS_A_DAY_TO_ONE
    from farebox.accounts.models import Invitation

    email = f"{uuid.uuid4().hex[:10]}@example.com"
    for _ in range(MAILS_A_DAY_TO_ONE - 1):
        shop.write(invite, visitors.customer(shop), email)
    one, two = visitors.customer(shop), visitors.customer(shop)
    said = overlapped(lambda tx: invite(tx, one, email), lambda tx: invite(tx, two, email))
    assert [len(each.invited) for each in said] == [1, 0], said
    assert Invitation.objects.filter(email=email).count() == MAILS_A_DAY_TO_ONE
