"""A right binds to the mailbox that it was offered to, by a code that was entered after the offer: attackers' scripts.

The stranger of these scripts has signed up with somebody else's address and never confirmed it.
"""

from __future__ import annotations

import re
import time
import uuid

import pytest

from kit import letters, people, post
from kit.visitor import Page, Visitor
from office import totp

pytestmark = [pytest.mark.store, pytest.mark.slow]
PASSWORD = people.PASSWORD
THEIRS = "the stranger's own password 99"


@pytest.fixture(scope="module", autouse=True)
def _open(shop):
    shop.options.public_price_list, shop.options.sign_ups_per_h = "usd", 1000


@pytest.fixture(autouse=True)
def _fresh():
    from django.core.cache import cache

    cache.clear()


@pytest.fixture
def two_people(shop):
    shop.options.single_person = False
    yield
    shop.options.single_person = True


def fresh():
    return f"{uuid.uuid4().hex[:10]}@example.com"


def squat(shop, email):
    """A stranger signs up with this address by password and by a service of his: his browser, the code that it awaits."""
    from allauth.socialaccount.models import SocialAccount

    from farebox.accounts.models import Person

    visitor = Visitor(shop, "en")
    assert visitor.fill("/account/sign-up", email=email, password1=THEIRS).headers["location"] == "/account/confirm"
    row = Person.objects.get(email=email)
    SocialAccount.objects.create(user=row, provider="github", uid=f"stranger-{email}")
    return visitor, post.code(shop, email)


def another_code(shop, email, than):
    """The code of a later mail."""
    for _ in range(400):
        if found := [each for each in (_code(mail) for mail in post.mails(shop, email)) if each not in {"", than}]:
            return found[-1]
        time.sleep(0.02)
    raise AssertionError(f"no second code to {email}")


def _code(mail):
    found = re.search(r"^    ([A-Z0-9]{4}-[A-Z0-9]{4})\r?$", mail.get_content(), re.MULTILINE)
    return found[1] if found else ""


def newest(shop, email, part, n=1):
    """The link of the newest mail that has `part` in it, once there are `n` of them."""
    for _ in range(400):
        if len(found := [mail for mail in post.mails(shop, email) if part in mail.get_content()]) >= n:
            return letters.link(found[-1], part)
        time.sleep(0.02)
    raise AssertionError(f"no mail to {email} with {part}")


def services(email):
    from allauth.socialaccount.models import SocialAccount

    return SocialAccount.objects.filter(uid=f"stranger-{email}").count()


def stored(email):
    from farebox.accounts.models import Person

    return Person.objects.filter(email=email).first()


def shut_out(shop, email, password=THEIRS):
    """Neither door opens to this password."""
    office = Visitor(shop, "en").fill("/office/sign-in", email=email, password=password)
    counter = Visitor(shop, "en").fill("/account/sign-in", login=email, password=password)
    return "Wrong e-mail address or password" in office.text and "Wrong e-mail address or password" in counter.text


def way_in(shop, email, n=1):
    return newest(shop, email, "/office/set-up?code=", n)


def settle_in(shop, link):
    """Use a link to the office to the end; the visitor who is inside."""
    visitor = Visitor(shop, "en")
    page = visitor.follow(visitor.fill(link, name="Boss", password=PASSWORD, again=PASSWORD))
    assert "Add a second factor" in page.text
    visitor.fill("/office/enrol", code=totp.code(totp.seed(page.html)))
    assert visitor.get("/office/").status == 200
    return visitor


def verb(name, **args):
    from farebox.cli.verbs import VERBS

    return VERBS[name].perform(args, actor="cli:test")


def path_of(link):
    return "/office/" + link.partition("/office/")[2]


def change_of(email):
    from farebox.accounts.models import OperatorChange

    return f"/office/operators/changes/{OperatorChange.objects.filter(email=email).latest('made_us').id}"


# roles in the office


def test_who_signed_up_as_the_future_operator_gets_nothing(shop, two_people):
    email = fresh()
    squat(shop, email)
    first, second = people.operator(shop), people.operator(shop)
    first.fill("/office/operators/new", email=email, name="Boss", role="admin", why="")
    assert f"A link was sent to {email}" in second.follow(second.fill(change_of(email), do="approve")).text
    stranger = Visitor(shop, "en")
    assert "Wrong e-mail address or password" in stranger.fill("/office/sign-in", email=email, password=THEIRS).text
    for path in ("/office/", "/office/enrol", "/office/second-factor", "/office/operators"):
        assert stranger.get(path).status == 302
    assert stored(email).operator_role == ""
    assert email in first.page("/office/operators").text.partition("Invited, not yet joined")[2]
    boss = settle_in(shop, way_in(shop, email))
    assert boss.get("/office/operators").status == 200
    assert (stored(email).operator_role, stored(email).by_sign_up, services(email)) == ("admin", False, 0)
    assert shut_out(shop, email)
    assert "Invited, not yet joined" not in first.page("/office/operators").text


@pytest.mark.parametrize("how", ["operator.invite", "person.role"])
def test_by_shell_the_link_is_the_only_way_in(shop, how):
    email = fresh()
    squat(shop, email)
    who = {"person": email} if how == "person.role" else {"email": email}
    link = verb(how, **who, role="admin")["link"]
    assert "/office/set-up?code=" in link
    assert shut_out(shop, email) is False or stored(email).operator_role == ""
    assert (
        "Wrong e-mail address or password"
        in Visitor(shop, "en").fill("/office/sign-in", email=email, password=THEIRS).text
    )
    settle_in(shop, path_of(link))
    assert shut_out(shop, email) and services(email) == 0


def test_a_role_that_an_unconfirmed_sign_up_got_before_opens_nothing(shop):
    from farebox.accounts.models import Person

    email = fresh()
    squat(shop, email)
    Person.objects.filter(email=email).update(operator_role="admin")  # as a version before approved it
    assert (
        "Wrong e-mail address or password"
        in Visitor(shop, "en").fill("/office/sign-in", email=email, password=THEIRS).text
    )
    settle_in(shop, path_of(verb("operator.reset", email=email)["link"]))
    assert services(email) == 0
    again = Visitor(shop, "en")
    assert "Second factor" in again.follow(again.fill("/office/sign-in", email=email, password=PASSWORD)).text


def test_who_has_given_the_old_password_does_not_enrol_after_a_reset(shop):
    email = fresh()
    settle_in(shop, path_of(verb("operator.invite", email=email, role="support")["link"]))
    thief = Visitor(shop, "en")  # who knows the password and has no second factor
    assert "Second factor" in thief.follow(thief.fill("/office/sign-in", email=email, password=PASSWORD)).text
    link = path_of(verb("operator.reset", email=email)["link"])
    for path in ("/office/enrol", "/office/second-factor"):
        assert thief.get(path).headers["location"] == "/office/sign-in"
    Visitor(shop, "en").fill(link, name="", password=PASSWORD, again=PASSWORD)
    assert thief.get("/office/enrol").headers["location"] == "/office/sign-in"


def test_the_first_administrator_takes_the_address_of_a_claim_and_of_nobody_else(shop):
    from farebox.accounts.models import OfficeCode, Person
    from farebox.accounts.sign_in import setup
    from farebox.kit import clock

    OfficeCode.objects.all().delete()
    Person.objects.exclude(operator_role="").update(operator_role="")
    email, customer = fresh(), people.customer(shop)
    squat(shop, email)
    link = "/office/set-up?code=" + shop.write(setup.first_code, now_us=clock.now_us(), actor="test")
    facts = {"name": "", "password": PASSWORD, "again": PASSWORD}
    assert "is already in use" in Visitor(shop, "en").fill(link, email=customer.email, **facts).text
    assert Visitor(shop, "en").fill(link, email=email, **facts).status == 302
    assert shut_out(shop, email) and stored(email).operator_role == "admin"


def test_only_the_newest_code_that_was_made_for_an_offer_counts(shop):
    admin, email = people.operator(shop), fresh()
    new = "/office/operators/new"
    admin.fill(new, email=email, name="", role="support", why="")
    first = way_in(shop, email)
    admin.fill(new, email=email, name="", role="auditor", why="")
    second = way_in(shop, email, n=2)
    assert Visitor(shop, "en").get(first).status == 404
    offer = change_of(email)
    assert "The link has not been used yet" in admin.page(offer).text
    assert people.operator(shop, "auditor").get(offer).status == 404
    assert admin.send(offer, {"do": "approve"}).status == 404
    assert "no longer works" in admin.follow(admin.fill(offer, do="withdraw")).text
    assert Visitor(shop, "en").get(second).status == 404
    assert (admin.get(offer).status, stored(email)) == (404, None)
    admin.fill(new, email=email, name="", role="support", why="")
    settle_in(shop, third := way_in(shop, email, n=3))
    assert Visitor(shop, "en").get(third).status == 404
    assert stored(email).operator_role == "support"


def test_a_code_of_an_earlier_office_life_serves_no_later_one(shop):
    person = people.person(shop, operator_role="support", password=PASSWORD)
    old = path_of(verb("operator.reset", email=person.email)["link"])
    verb("person.role", person=person.email, role="")
    verb("operator.invite", email=person.email, role="admin")
    assert Visitor(shop, "en").get(old).status == 404
    assert stored(person.email).operator_role == ""


def test_who_became_a_member_or_was_switched_off_meanwhile_takes_no_role(shop):
    from farebox.accounts.models import Person
    from farebox.accounts.people import people as persons
    from farebox.kit import clock

    person = people.person(shop, password=PASSWORD)
    link = path_of(verb("operator.invite", email=person.email, role="admin")["link"])
    owner = people.customer(shop)
    shop.write(
        persons.add_member, account=owner.customer.account, person=person.id, role="owner", now_us=clock.now_us(),
        actor="test",
    )  # fmt: skip
    page = Visitor(shop, "en").fill(link, name="", password=THEIRS, again=THEIRS)
    assert "is a member of an account" in page.text
    assert stored(person.email).operator_role == ""
    assert Visitor(shop, "en").fill("/account/sign-in", login=person.email, password=PASSWORD).status == 302
    Person.objects.filter(id=person.id).update(is_active=False)
    assert Visitor(shop, "en").get(link).status == 404


def test_an_offer_touches_nothing_until_it_is_taken(shop):
    from farebox.accounts.sign_in import sessions

    person = people.person(shop, password=PASSWORD)
    link = path_of(verb("operator.invite", email=person.email, role="finance")["link"])
    counter = Visitor(shop, "en")
    assert counter.fill("/account/sign-in", login=person.email, password=PASSWORD).headers["location"] == "/console/"
    assert counter.get("/account/open").status == 200
    assert "no longer work" in Visitor(shop, "en").page(link).text
    boss = Visitor(shop, "en")
    boss.fill(link, name="", password=THEIRS, again=THEIRS)
    assert stored(person.email).operator_role == "finance"
    assert counter.get("/account/open").status == 302
    assert sessions.list_sessions(person.id, area="console", now_us=0) == []
    assert (
        "Wrong e-mail address or password"
        in Visitor(shop, "en").fill("/office/sign-in", email=person.email, password=PASSWORD).text
    )


def test_another_role_of_an_operator_asks_who_he_is_and_keeps_his_proofs(shop):
    admin, email = people.operator(shop), fresh()
    boss = settle_in(shop, path_of(verb("operator.invite", email=email, role="support")["link"]))
    person = stored(email)
    page = admin.follow(admin.fill(f"/office/operators/{person.id}", do="role", role="finance", why="moved"))
    assert "Change applied." in page.text and "A link was sent" not in page.text
    assert boss.get("/office/").status == 302
    again = Visitor(shop, "en")
    assert "Second factor" in again.follow(again.fill("/office/sign-in", email=email, password=PASSWORD)).text
    assert verb("operator.invite", email=email, role="auditor")["link"] == ""


# places in accounts


def invite(owner, email, **fields):
    facts = {"role": "owner", "project": "", "days": "14"} | fields
    assert owner.fill("/console/team/invite", people=email, **facts).status == 302


def invited(shop, email, n=1):
    return newest(shop, email, "/join/", n)


def places(email):
    from farebox.accounts.models import Member

    return sorted(Member.objects.filter(person__email=email, state="active").values_list("role", "account"))


def test_an_invitation_to_the_address_of_a_claim_is_for_who_reads_the_mail(shop):
    owner, email = people.customer(shop), fresh()
    waiting, code = squat(shop, email)
    invite(owner, email)
    link = invited(shop, email)
    page = Visitor(shop, "en").page(link)
    assert 'type="password"' in page.html and "Role Owner" in page.text
    guest = Visitor(shop, "en")
    assert guest.fill(link, name="Ada", password=PASSWORD).status == 302
    assert places(email) == [("owner", owner.customer.account)]
    assert shut_out(shop, email) and services(email) == 0
    # The code that the sign-up was sent is of no use any more, even to who learns it.
    assert waiting.fill("/account/confirm", action="verify", code=code).headers["location"] == "/account/sign-in"
    assert waiting.get("/console/").status == 302


def test_an_invitation_leaves_a_confirmed_person_his_password_and_waits_for_him(shop):
    owner, other = people.customer(shop), people.customer(shop, password=PASSWORD)
    before = stored(other.email).password
    invite(owner, other.email)
    link = invited(shop, other.email)
    taken = Page(Visitor(shop, "en").send(link, {"name": "Me", "password": THEIRS}))
    assert (taken.status, len(places(other.email))) == (400, 1)
    assert other.fill(link).status == 302
    assert len(places(other.email)) == 2
    assert stored(other.email).password == before


@pytest.mark.parametrize("guest", ["known", "new"])
def test_a_link_that_was_passed_on_gives_nothing_to_another_mailbox(shop, guest):
    owner, other = people.customer(shop), people.customer(shop)
    email = people.customer(shop).email if guest == "known" else fresh()
    invite(owner, email)
    link = invited(shop, email)
    page = other.page(link)
    assert f"this invitation is for {email}." in page.text and "Sign out and continue" in page.text
    assert f"此邀请仅限 {email}" in other.page("/zh" + link).text
    assert Page(other.send(link, {"name": "x", "password": PASSWORD})).status == 400
    assert places(other.email) == [("owner", other.customer.account)]
    out = other.send("/account/sign-out", {"next": link})
    assert out.headers["location"] == link
    assert Visitor(shop, "en").get(link).status == 200  # it still waits


def test_by_shell_a_claim_gets_no_place(shop):
    from farebox.kit.errors import CommandError

    owner, email = people.customer(shop), fresh()
    squat(shop, email)
    with pytest.raises(CommandError, match="member.unconfirmed"):
        verb("member.add", account=owner.customer.account, person=email, role="owner")
    assert places(email) == []


def test_an_account_gets_another_owner_when_he_says_so(shop):
    from farebox.accounts.models import Member, Project

    owner = people.customer(shop)
    project = Project.objects.get(account=owner.customer.account).id
    heir = people.customer(shop, role="member", of=owner, password=PASSWORD)
    before = stored(heir.email).password
    page, to = f"/console/team/members/{heir.member}", f"/console/team/members/{heir.member}/role"
    assert "We e-mailed" in owner.follow(owner.fill(page, to, role="owner", project="")).text
    first = invited(shop, heir.email)
    owner.fill(page, to, role="owner", project="")
    link = invited(shop, heir.email, n=2)
    assert "become an owner" in letters.text(letters.letters(shop, heir.email)[-1])
    assert Visitor(shop, "en").get(first).status == 404
    assert Member.objects.get(id=heir.member).role == "member"
    assert people.customer(shop).fill("/console/team", link).status == 400
    assert "Become an owner" in heir.page(link).text
    assert "You are now an owner of" in heir.follow(heir.fill(link)).text
    row = Member.objects.get(id=heir.member)
    assert (row.role, row.project_id, stored(heir.email).password) == ("owner", None, before)
    assert heir.get("/console/team/invite").status == 200
    assert Visitor(shop, "en").get(link).status == 404
    # Downwards no word is asked for.
    mine = f"/console/team/members/{owner.member}"
    assert heir.fill(mine, f"{mine}/role", role="member", project=project).status == 302
    assert Member.objects.get(id=owner.member).role == "member"


@pytest.mark.parametrize("meanwhile", ["removed", "demoted", "another address"])
def test_what_an_owner_offered_ends_with_his_right_to(shop, meanwhile):
    from allauth.account.models import EmailAddress

    from farebox.accounts.models import Person, Project
    from farebox.accounts.people import people as persons
    from farebox.accounts.team import teams
    from farebox.kit import clock

    owner = people.customer(shop)
    evil = people.customer(shop, of=owner)
    project = Project.objects.get(account=owner.customer.account).id
    friend = people.customer(shop, role="member", of=owner)
    page = f"/console/team/members/{friend.member}"
    evil.fill(page, f"{page}/role", role="owner", project="")
    link = invited(shop, friend.email)
    stamp = {"now_us": clock.now_us(), "actor": "test"}
    if meanwhile == "removed":
        shop.write(persons.remove_member, evil.member, **stamp)
    elif meanwhile == "demoted":
        shop.write(teams.set_role, evil.member, role="member", project=project, **stamp)
    else:
        Person.objects.filter(id=friend.person).update(email=(new := fresh()))
        EmailAddress.objects.filter(user=friend.person).update(email=new)
        assert "but this invitation is for" in friend.page(link).text
        assert friend.fill("/console/team", link).status == 400
        return
    assert friend.get(link).status == 404


# mailboxes


def test_an_address_changes_to_that_of_a_claim_and_leaves_all_else(shop):
    person, email = people.customer(shop, password=PASSWORD), fresh()
    _, theirs = squat(shop, email)
    before = stored(person.email)
    assert person.fill("/account/email", email=email, action_add="").status == 302
    code = another_code(shop, email, theirs)
    assert stored(email).id != before.id  # until the code is entered nothing changes
    assert person.fill("/account/confirm", action="verify", code=code).status == 302
    now = stored(email)
    assert (now.id, now.password, services(email)) == (before.id, before.password, 0)
    assert person.get("/console/").status == 200
    assert shut_out(shop, email)


@pytest.mark.parametrize("kind", ["operator", "member", "by shell"])
def test_an_address_of_somebody_else_is_not_taken_over(shop, kind):
    from allauth.account.models import EmailAddress

    person = people.customer(shop, password=PASSWORD)
    other = {
        "operator": lambda: people.person(shop, operator_role="support"),
        "member": lambda: stored(people.customer(shop).email),
        "by shell": lambda: people.person(shop),
    }[kind]()
    EmailAddress.objects.filter(user=other).delete()  # made by the shell, and never here
    assert person.fill("/account/email", email=other.email, action_add="").status == 302
    code = post.code(shop, other.email)
    person.fill("/account/confirm", action="verify", code=code)
    assert stored(other.email).id == other.id
    assert stored(person.email).id == person.person


def forgotten(shop, email, theirs=""):
    """A browser that has asked for a new password, and the code that was mailed."""
    visitor = Visitor(shop, "en")
    assert visitor.fill("/account/password/forgotten", email=email).status == 302
    return visitor, another_code(shop, email, theirs)


def test_a_forgotten_password_is_a_first_proof_and_ends_the_strangers_ways_in(shop):
    email = fresh()
    _, theirs = squat(shop, email)
    visitor, code = forgotten(shop, email, theirs)
    assert visitor.fill("/account/password/code", code=code).status == 302
    assert services(email) == 0 and not stored(email).has_usable_password()
    visitor.fill("/account/password/new", password1=PASSWORD, password2=PASSWORD)
    assert shut_out(shop, email)
    back = Visitor(shop, "en")
    assert back.fill("/account/sign-in", login=email, password=PASSWORD).headers["location"] == "/console/"
    assert places(email)[0][0] == "owner"


def test_a_forgotten_password_of_a_confirmed_person_ends_nothing_else(shop):
    from allauth.socialaccount.models import SocialAccount

    person = people.customer(shop, password=PASSWORD)
    SocialAccount.objects.create(user_id=person.person, provider="github", uid=f"mine-{person.email}")
    visitor, code = forgotten(shop, person.email)
    assert visitor.fill("/account/password/code", code=code).status == 302
    assert SocialAccount.objects.filter(uid=f"mine-{person.email}").exists()
    assert person.get("/console/").status == 200


@pytest.mark.parametrize("meanwhile", ["another address", "in the office"])
@pytest.mark.parametrize("at", ["code", "new"])
def test_a_code_of_a_mailbox_left_behind_sets_no_password(shop, meanwhile, at):
    from farebox.accounts.models import Person

    person = people.person(shop, password=PASSWORD)
    visitor, code = forgotten(shop, person.email)
    if at == "new":
        visitor.fill("/account/password/code", code=code)
    change = {"email": fresh()} if meanwhile == "another address" else {"operator_role": "support"}
    Person.objects.filter(id=person.id).update(**change)
    page = visitor.page("/account/password/code" if at == "code" else "/account/password/new")
    assert page.headers["location"] == "/account/password/forgotten"
    assert "has expired" in visitor.follow(page).text
    assert visitor.get("/account/password/new").status == 302


# without a place


def test_who_has_no_place_learns_what_he_can_do(shop):
    from farebox.accounts import accounts
    from farebox.accounts.people import people as persons
    from farebox.kit import clock

    owner = people.customer(shop)
    gone = people.customer(shop, role="member", of=owner)
    shop.write(persons.remove_member, gone.member, now_us=clock.now_us(), actor="test")
    for path in ("/console/", "/console/keys", "/console/team/invite"):
        page = gone.follow(gone.page(path))
        assert page.status == 200
        for said in ("You have no account", "You are no longer a member of", "Open your own account", gone.email):
            assert said in page.text
    assert gone.send("/console/settings/person", {"name": "x"}).headers["location"] == "/account/open"
    assert gone.get("/console/playground/models", Sec_Fetch_Dest="empty").status == 404
    assert "你已不再是" in gone.page("/zh/account/open").text
    shop.write(accounts.close, owner.customer.account, leave_money=True, now_us=clock.now_us(), actor="test")
    assert "is closed" in owner.follow(owner.page("/console/")).text
    assert gone.fill("/account/open").headers["location"] == "/console/"
    assert gone.get("/console/").status == 200
    assert gone.get("/account/open").status == 302
