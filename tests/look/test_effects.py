"""What gives access, money or keys to somebody, or takes limits away, asks for a fresh proof of the person first.

The table names every form of the console and the office: what its effect is, tried with a session older than its proof
(it is asked for the proof, and nothing has happened) and with a fresh one (the effect stands in the audit trail); or why
it needs none. A form that is not in it fails here. What the management API does is in tests/office/test_api_effects.py.
"""

from __future__ import annotations

import dataclasses
import re
import time
import tomllib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from django.urls import reverse

from kit import minting, people
from kit.visitor import Visitor

pytestmark = pytest.mark.slow

LONG_AGO_S = 4000
PROOFS = ("/office/step-up", "/account/again", "/account/factors/again", "/account/factors/passkeys/again")
A_PROOF = "it is itself a proof of who one is, or a step of one"
PUBLIC = "it changes nothing of anybody"
TAKES = "it takes access, money or keys away, and gives none"
OWN = "it changes what the person sees of himself, nothing that he or others may do"
ASKS = "allauth asks for the proof itself"


class Up(NamedTuple):
    """A form that asks: what is sent where (the name of a function below), and the verb of the trail that it causes.

    `harmless` is what the same form does without asking, where there is such a thing.
    """

    verb: str
    form: str
    harmless: str = ""


TABLE: dict[str, Up | str] = {
    # public pages, signing up and in
    "theme": PUBLIC,
    "estimate": PUBLIC,
    "account_login": A_PROOF,
    "account_logout": TAKES,
    "account_signup": "a new person has nothing yet",
    "link": A_PROOF,
    "account_open": "a person whose mailbox is confirmed opens his own first account",
    "account_email_verification_sent": A_PROOF,
    "account_reauthenticate": A_PROOF,
    "account_again_code": A_PROOF,
    "account_email": ASKS,
    "account_change_password": "it takes the old password",
    "account_set_password": ASKS,
    "account_reset_password": A_PROOF,
    "account_confirm_password_reset_code": A_PROOF,
    "account_complete_password_reset": A_PROOF,
    "mfa_index": PUBLIC,
    "mfa_authenticate": A_PROOF,
    "mfa_reauthenticate": A_PROOF,
    "mfa_activate_totp": ASKS,
    "mfa_deactivate_totp": ASKS,
    "mfa_view_recovery_codes": ASKS,
    "mfa_generate_recovery_codes": ASKS,
    "mfa_list_webauthn": PUBLIC,
    "mfa_add_webauthn": ASKS,
    "mfa_login_webauthn": A_PROOF,
    "mfa_reauthenticate_webauthn": A_PROOF,
    "mfa_edit_webauthn": "it changes the name of a passkey",
    "mfa_remove_webauthn": ASKS,
    # the console
    "key.new": Up("key.issue", "key_new"),
    "key.made": TAKES,
    "key.change": Up("key.set_cap", "key_lifted", "key_lowered"),
    "key.rotate": Up("key.rotate", "key_rotate"),
    "key.revoke": TAKES,
    "playground.key": "one key of an hour for each session, 1.00 USD a day for each person (test_playground.py)",
    "project.new": "a project has no key, no member and no money of its own",
    "project.cap": Up("project.cap", "project_lifted", "project_lowered"),
    "project.keys_end": Up("project.set_keys_end", "project_later"),
    "project.archive": TAKES,
    "member.cap": Up("member.cap", "member_lifted", "member_lowered"),
    "member.role": Up("invitation.send", "member_role"),
    "member.remove": Up("member.remove", "member_remove"),
    "member.sign_out": Up("session.end_by_owner", "member_sign_out"),
    "invite": Up("invitation.send", "invite"),
    "invitation.resend": Up("invitation.resend", "invitation_resend"),
    "invitation.revoke": TAKES,
    "account.switch": OWN,
    "join": "the code of the invitation, which went to the mailbox, is the proof",
    "settings.person": OWN,
    "settings.notices": Up("notice.put", "notices_elsewhere", "notices_by_mail"),
    "settings.sessions_end": TAKES,
    "settings.session_end": TAKES,
    "settings.close": Up("account.close", "close"),
    # the office: who works there
    "office:sign_in": A_PROOF,
    "office:second": A_PROOF,
    "office:enrol": A_PROOF,
    "office:set_up": A_PROOF,
    "office:link": A_PROOF,
    "office:sign_out": TAKES,
    "office:step_up": A_PROOF,
    "office:profile": OWN,
    "office:password": Up("person.set_password", "office_password"),
    "office:factor_new": Up("", "factor_new"),
    "office:factor": Up("", "factor"),
    "office:recovery": Up("second.recovery_made", "recovery"),
    "office:recovery_made": TAKES,
    "office:session_end": TAKES,
    "office:operator_new": Up("operator.propose", "operator_new"),
    "office:operator_change": Up("operator.approve", "operator_change"),
    "office:operator": Up("operator.propose", "operator_role"),
    "office:person_sign_out": TAKES,
    "office:person_off": TAKES,
    "office:person_on": Up("person.on", "person_on"),
    # the office: goods
    "office:channel_new": Up("channel.add", "channel_new"),
    "office:channel_state": Up("channel.state", "channel_on", "channel_off"),
    "office:channel_test": "a call of the shop's own to a channel that people made, shown to an administrator",
    "office:channel_edit": Up("channel.address", "channel_edit"),
    "office:channel_offer": Up("channel.offer", "channel_offer"),
    "office:channel_withdraw": TAKES,
    "office:model_new": Up("model.define", "model_new"),
    "office:model_edit": Up("model.define", "model_edit"),
    "office:model_shelve": Up("model.list", "model_list"),
    "office:model_alias": Up("model.alias", "model_alias"),
    "office:price_list_new": Up("prices.create", "price_list_new"),
    "office:price_publish": Up("prices.approve", "price_publish"),
    "office:price_drop": TAKES,
    "office:price_change": Up("prices.propose", "price_change"),
    "office:price_proposal": Up("prices.propose", "price_proposal"),
    "office:price_list_assign": Up("account.set_price_list", "price_list_assign"),
    # the office: customers and money
    "office:customer_new": Up("account.open", "customer_new", "customer_new_like_everybody"),
    "office:customer_move": Up("account.unfreeze", "unfreeze", "freeze"),
    "office:customer_price_list": Up("account.set_price_list", "customer_price_list"),
    "office:customer_rename": "another name, in the trail",
    "office:customer_limits": Up("account.set_rates", "limits_lifted", "limits_lowered"),
    "office:customer_trust": Up("account.trust", "trust", "trust_no_longer"),
    "office:customer_allowance": Up("account.allowance", "allowance_more", "allowance_less"),
    "office:customer_close": Up("account.close", "customer_close"),
    "office:customer_invite": Up("invitation.send", "customer_invite"),
    "office:customer_key": Up("key.issue", "customer_key"),
    "office:customer_key_made": TAKES,
    "office:key_revoke": TAKES,
    "office:money_new": Up("money.propose", "money_new"),
    "office:money_approve": Up("money.approve", "money_approve"),
    "office:money_decline": TAKES,
    "office:proposal_approve": Up("proposal.approve", "proposal_approve"),
    "office:proposal_decline": TAKES,
    # the office: the shop
    "office:announcements": "words for a time, in the trail",
    "office:announcement_end": TAKES,
    "office:clock_confirm": Up("clock.confirm", "clock_confirm"),
    "office:settings": Up("setting.put", "settings"),
    "office:token_new": Up("token.make", "token_new"),
    "office:token_made": TAKES,
    "office:token_revoke": TAKES,
    "office:api_unknown": PUBLIC,
}
ROWS = [(name, row) for name, row in TABLE.items() if isinstance(row, Up)]


def test_every_form_is_in_the_table():
    matrix = tomllib.loads((Path(__file__).parents[1] / "matrix.toml").read_text("utf-8"))
    forms = {name for name, row in matrix.items() if "POST" in row and not name.startswith("office:management")}
    forms = {name for name in forms if " " not in name}
    assert forms - set(TABLE) == set(), "a form that is not in the table: say what it gives, or why it gives nothing"
    assert set(TABLE) - forms == set(), "in the table, and nowhere else"


@dataclass
class World:
    """One shop with an account, its people, and an administrator."""

    shop: Any
    owner: Any
    other: Any
    last: Any
    admin: Any

    def stamp(self) -> dict[str, Any]:
        return {"now_us": time.time_ns() // 1000, "actor": "test"}

    def project(self) -> str:
        from farebox.accounts import projects

        return self.shop.write(
            projects.create, account=self.owner.customer.account, name=uuid.uuid4().hex, **self.stamp()
        ).id

    def member(self, project: str) -> str:
        return people.customer(self.shop, role="member", of=self.owner, project=project).member

    def channel(self) -> Any:
        from farebox.upstreams.models import Channel

        name = f"c{uuid.uuid4().hex[:8]}"
        self.shop.add_channel(name, "http://127.0.0.1:9/v1", [])
        return Channel.objects.get(name=name)

    def model(self) -> str:
        return self.shop.model(f"m{uuid.uuid4().hex[:8]}", {"input": "1", "output": "2"})

    def account(self, **limits: Any) -> str:
        from farebox.accounts.keys import rates

        account = self.shop.account("1").account
        if limits:
            self.shop.write(
                rates.limit, "account", account, **({"rpm": None, "tpm": None, "concurrency": None} | limits), actor="t"
            )
        return account


# what is sent where


def customer_invite(w):
    return reverse("office:customer_invite", args=[w.account()]), {"email": f"{uuid.uuid4().hex}@example.com"}


def customer_key(w):
    from farebox.accounts.models import Project

    account = w.account()
    project = Project.objects.filter(account=account).values_list("id", flat=True)[0]
    return reverse("office:customer_key", args=[account]), {"name": "made for a customer", "project": project}


def key_new(w):
    return reverse("key.new"), {"name": "new", "project": w.project()}


def _key(w, **caps):
    from farebox.accounts.caps import Caps

    key, _ = w.shop.write(
        minting.issue,
        project=w.owner.customer.account,
        name="k",
        addresses=["10.0.0.1"],
        caps=Caps(**caps),
        **w.stamp(),
    )
    return key.id


def key_lifted(w):
    """Caps and addresses go."""
    return reverse("key.change", args=[_key(w, day_micro=1_000_000)]), {"name": "k"}


def key_lowered(w):
    at = reverse("key.change", args=[_key(w, day_micro=2_000_000)])
    return at, {"name": "k", "cap_day": "1", "addresses": "10.0.0.1"}


def key_rotate(w):
    return reverse("key.rotate", args=[_key(w)]), {"grace": "3600"}


def _capped(w, day_micro):
    from farebox.accounts import projects

    project = w.project()
    w.shop.write(projects.set_caps, project, {"day": day_micro}, **w.stamp())
    return project


def project_lifted(w):
    return reverse("project.cap", args=[_capped(w, 1_000_000)]), {"cap_day": "2"}


def project_lowered(w):
    return reverse("project.cap", args=[_capped(w, 2_000_000)]), {"cap_day": "1"}


def project_later(w):
    from farebox.accounts.team import teams

    project = w.project()
    w.shop.write(teams.set_keys_end, project, ends_us=w.stamp()["now_us"] + 10**12, **w.stamp())
    return reverse("project.keys_end", args=[project]), {"day": ""}


def _capped_member(w, day_micro):
    from farebox.accounts.people import people as domain

    member = w.member(w.project())
    w.shop.write(domain.set_caps, member, {"day": day_micro}, **w.stamp())
    return member


def member_lifted(w):
    return reverse("member.cap", args=[_capped_member(w, 1_000_000)]), {"cap_day": ""}


def member_lowered(w):
    return reverse("member.cap", args=[_capped_member(w, 2_000_000)]), {"cap_day": "1"}


def member_role(w):
    return reverse("member.role", args=[w.member(w.project())]), {"role": "owner", "project": ""}


def member_remove(w):
    return reverse("member.remove", args=[w.other.member]), {}


def member_sign_out(w):
    return reverse("member.sign_out", args=[w.member(w.project())]), {}


def invite(w):
    return reverse("invite"), {"people": f"{uuid.uuid4().hex}@example.com", "role": "owner", "days": "7"}


def invitation_resend(w):
    from farebox.accounts.team import invitations

    guest, terms = (
        invitations.Guest(f"{uuid.uuid4().hex}@example.com"),
        invitations.InvitationTerms(project=w.project()),
    )
    sent = w.shop.write(
        invitations.invite, w.owner.customer.account, [guest], terms, lambda *_: None, now_us=w.stamp()["now_us"],
        actor=f"person:{w.owner.person}",
    )  # fmt: skip
    return reverse("invitation.resend", args=[sent.invited[0].id]), {}


def notices_elsewhere(w):
    return reverse("settings.notices"), {"keys": "on", "webhook_url": f"https://hooks.example/{uuid.uuid4().hex}"}


def notices_by_mail(w):
    return reverse("settings.notices"), {"keys": "on", "by_mail": "on", "low": f"{time.time_ns() % 999}.00"}


def close(w):
    from farebox.accounts.models import Account

    return reverse("settings.close"), {"name": Account.objects.get(id=w.last.customer.account).name}


def office_password(w):
    password = f"{uuid.uuid4().hex} stately horse"
    return reverse("office:password"), {"password": password, "again": password}


def factor_new(w):
    return reverse("office:factor_new"), {}


def factor(w):
    return reverse("office:factor", args=[1]), {}


def recovery(w):
    return reverse("office:recovery"), {}


def operator_new(w):
    return reverse("office:operator_new"), {"email": f"{uuid.uuid4().hex}@example.com", "name": "n", "role": "support"}


def operator_change(w):
    from farebox.accounts.sign_in import operators

    facts = {"kind": "role", "email": f"{uuid.uuid4().hex}@example.com", "role": "finance", "alone": False}
    row, _ = w.shop.write(
        operators.propose, **facts, send=lambda *_: None, now_us=w.stamp()["now_us"], actor="operator:per_other"
    )
    return reverse("office:operator_change", args=[row.id]), {"do": "approve"}


def operator_role(w):
    person = people.person(w.shop, operator_role="support")
    return reverse("office:operator", args=[person.id]), {"role": "admin", "why": "grows"}


def person_on(w):
    from farebox.accounts.models import Person

    person = people.person(w.shop)
    Person.objects.filter(id=person.id).update(is_active=False)
    return reverse("office:person_on", args=[person.id]), {}


def channel_new(w):
    name = f"c{uuid.uuid4().hex[:8]}"
    facts = {"currency": "USD", "cancel_billing": "stops", "tier": "0", "weight": "1", "local": "on"}
    at = reverse("office:channel_new") + "?vendor="
    return at, {"upstream": name, "name": name, "base_url": "http://127.0.0.1:9/v1", "secret": "s", **facts}


def channel_on(w):
    from farebox.office.pages import seen

    made = w.channel()
    return reverse("office:channel_state", args=[made.id]), {
        "state": "active", "seen": w.shop.read(seen.of_channel, made.id),
    }  # fmt: skip


def channel_off(w):
    return reverse("office:channel_state", args=[w.channel().id]), {"state": "disabled"}


def channel_edit(w):
    facts = {"tier": "1", "weight": "1", "concurrency_max": "0", "local": "on", "secret": "another"}
    return reverse("office:channel_edit", args=[w.channel().id]), {"base_url": "http://127.0.0.1:8/v1", **facts}


def channel_offer(w):
    return reverse("office:channel_offer", args=[w.channel().id]), {"model": w.model()}


def model_new(w):
    facts = {"kinds": "chat", "modalities": "text", "classes": "input", "context_tokens": "9", "output_tokens_max": "9"}
    return reverse("office:model_new"), {"name": f"m{uuid.uuid4().hex[:8]}", **facts}


def model_edit(w):
    facts = {"kinds": "chat", "modalities": "text", "classes": "input", "context_tokens": "9", "output_tokens_max": "9"}
    return reverse("office:model_edit", args=[w.model()]), facts


def model_list(w):
    from farebox.catalog import shelf

    name = w.model()
    w.shop.write(shelf.unlist, name, "why", "test")
    return reverse("office:model_shelve", args=[name]), {"listed": "yes"}


def model_alias(w):
    return reverse("office:model_alias", args=[w.model()]), {"alias": f"a{uuid.uuid4().hex[:8]}"}


def price_list_new(w):
    return reverse("office:price_list_new"), {"name": f"l{uuid.uuid4().hex[:8]}", "currency": "USD"}


def _list(w, model=""):
    from farebox.catalog import price_lists, sheets

    name, model = f"l{uuid.uuid4().hex[:8]}", model or w.model()
    w.shop.write(price_lists.create_list, name, "USD", actor="test")
    rows = [sheets.row(model, "input", "1"), sheets.row(model, "output", "2")]
    w.shop.write(price_lists.publish, name, rows, **w.stamp())
    return name, model


def price_publish(w):
    from farebox.catalog import drafts

    name, model = _list(w)
    plan = drafts.DraftContent(rows=[(model, "input", 0), (model, "output", 0)])
    row = w.shop.write(drafts.draw_up, name, plan, requester="operator:per_other", **w.stamp())
    return reverse("office:price_publish", args=[row.id]), {}


def price_change(w):
    name, model = _list(w)
    return reverse("office:price_change", args=[name]), {"rows": f"{model} input 0"}


def price_proposal(w):
    return reverse("office:price_proposal", args=[_list(w, "gpt-4")[0]]), {"take": "gpt-4 input"}


def price_list_assign(w):
    return reverse("office:price_list_assign", args=[_list(w)[0]]), {"account": w.account()}


def customer_price_list(w):
    return reverse("office:customer_price_list", args=[w.account()]), {"price_list": _list(w)[0]}


def unfreeze(w):
    from farebox.accounts import accounts

    account = w.account()
    w.shop.write(accounts.freeze, account, actor="test")
    return reverse("office:customer_move", args=[account]), {"do": "unfreeze"}


def freeze(w):
    return reverse("office:customer_move", args=[w.account()]), {"do": "freeze"}


def limits_lifted(w):
    return reverse("office:customer_limits", args=[w.account(rpm=1)]), {"rpm": "2"}


def limits_lowered(w):
    return reverse("office:customer_limits", args=[w.account(rpm=2)]), {"rpm": "1"}


def trust(w):
    return reverse("office:customer_trust", args=[w.account()]), {"trusted": "on"}


def trust_no_longer(w):
    from farebox.accounts import forgiving

    account = w.account()
    w.shop.write(forgiving.trust, account, trusted=True, actor="test")
    return reverse("office:customer_trust", args=[account]), {"trusted": "off"}


def allowance_more(w):
    return reverse("office:customer_allowance", args=[w.account()]), {"most": "9.00"}


def allowance_less(w):
    return reverse("office:customer_allowance", args=[w.account()]), {"most": "0.01"}


def customer_close(w):
    account = w.account()
    from farebox.accounts.models import Account

    return reverse("office:customer_close", args=[account]), {
        "name": Account.objects.get(id=account).name, "leave_money": "on",
    }  # fmt: skip


def money_new(w):
    return reverse("office:money_new", args=[w.account()]), {"kind": "grant", "amount": "1", "reason": "why"}


def money_approve(w):
    from farebox.ledger import adjustments

    row = w.shop.write(
        adjustments.propose, account=w.account(), currency="USD", kind="grant", amount_micro=5, reason="why",
        day_max_micro=10**9, requester="operator:per_other", **w.stamp(),
    )  # fmt: skip
    return reverse("office:money_approve", args=[row.id]), {}


def clock_confirm(w):
    """A shop that nobody tells the time, at once and for good."""
    from farebox.kit.models import Epoch

    w.shop.server.node.time.due = lambda _now_us: False
    Epoch.objects.filter(ended_us=None).update(clock='["unproven",7200000000,[]]')
    return reverse("office:clock_confirm"), {}


def settings(w):
    from farebox.kit import settings as domain
    from farebox.office.pages.settings import write

    values = w.shop.read(domain.values)
    form = {name: write(known, values[name]) for name, known in domain.BY_NAME.items()}
    return reverse("office:settings"), form | {"trial_micro": f"USD {time.time_ns() % 999}"}


def customer_new(w):
    return reverse("office:customer_new"), {"name": uuid.uuid4().hex, "currency": "USD", "price_list": _list(w)[0]}


def customer_new_like_everybody(w):
    return reverse("office:customer_new"), {"name": uuid.uuid4().hex, "currency": "USD", "price_list": "usd"}


def proposal_approve(w):
    from farebox.office import kinds

    after = {"trial_micro": {"USD": time.time_ns() % 999}}
    facts = {"role": "admin", "actor": "operator:per_other", "now_us": w.stamp()["now_us"]}
    row = w.shop.write(kinds.propose, "settings.money", "settings", after, **facts)
    return reverse("office:proposal_approve", args=[row.id]), {}


def token_new(w):
    return reverse("office:token_new"), {"name": "t", "role": "admin", "days": "7"}


@pytest.fixture(scope="module")
def world(shop):
    owner = people.customer(shop, "20", password=people.PASSWORD)
    other = people.customer(shop, role="owner", of=owner)
    admin = people.signed_in(
        shop, people.person(shop, operator_role="admin", password=people.PASSWORD), "office", "password", "mfa"
    )
    last = people.customer(shop, "1", password=people.PASSWORD)
    return World(shop, owner, other, last, admin)


def session(world, name, *, age_s=0):
    """A session of the person who sends this form, whose last proof is so old."""
    from farebox.accounts.models import Person
    from farebox.accounts.sign_in import sessions
    from farebox.look.sessions import COOKIES

    office = name.startswith("office:")
    known = world.admin if office else world.last if name == "settings.close" else world.owner
    who = Person.objects.get(id=known.person)
    made = people.signed_in(world.shop, who, "office" if office else "console")
    proofs = [
        {"method": each, "at": time.time() - age_s} for each in (("password", "mfa") if office else ("password",))
    ]
    area = "office" if office else "console"
    made.cookies[COOKIES[area]] = sessions.sign_in(who, area=area, methods=proofs)
    made.get(reverse("office:home") if office else reverse("keys"))
    return made


def told(verb):
    from farebox.kit.models import AuditEvent

    return AuditEvent.objects.filter(verb=verb).count() if verb else 0


def is_asked(answer):
    return answer.status == 302 and urlsplit(answer.headers["location"]).path.startswith(PROOFS)


@pytest.mark.parametrize("name", [name for name, _row in ROWS])
def test_an_old_session_is_asked_first(world, name):
    row = TABLE[name]
    if row.harmless:
        path, form = globals()[row.harmless](world)
        answer = session(world, name, age_s=LONG_AGO_S).send(path, form)
        assert answer.status in {200, 302}
        assert not is_asked(answer), "what takes nothing away needs no proof"
    path, form = globals()[row.form](world)
    before = told(row.verb)
    answer = session(world, name, age_s=LONG_AGO_S).send(path, form)
    assert is_asked(answer), (answer.status, answer.headers.get("location"))
    assert told(row.verb) == before
    answer = session(world, name).send(path, form)
    assert not is_asked(answer)
    if row.verb:
        assert told(row.verb) > before, answer.body.decode()[-2000:]


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row is ASKS])
def test_what_allauth_asks_for(world, name):
    args = [1] if name == "mfa_remove_webauthn" else []
    form = {"action_add": "", "email": "new@example.com"} if name == "account_email" else {}
    old = session(world, name, age_s=LONG_AGO_S)
    answer = old.get(reverse(name)) if name == "mfa_view_recovery_codes" else old.send(reverse(name, args=args), form)
    assert is_asked(answer) or answer.status == 404 or name == "account_set_password", (answer.status, answer.headers)


def after_proof(world, name, path, form):
    """The page to which a form of the office leads that was sent by a session older than its proof, once it proved."""
    old = session(world, name, age_s=LONG_AGO_S)
    asked = old.send(path, form)
    assert is_asked(asked)
    return old.follow(old.fill(asked.headers["location"], password=people.PASSWORD))


def test_the_office_shows_again_what_was_typed_but_no_secret(world):
    admin = people.person(world.shop, operator_role="admin", password=people.PASSWORD)
    world = dataclasses.replace(world, admin=people.signed_in(world.shop, admin, "office"))
    page = after_proof(world, "office:customer_limits", *limits_lifted(world))
    assert 'name="rpm" inputmode="numeric" value="2"' in page.html
    path, form = customer_new(world)
    page = after_proof(world, "office:customer_new", path, form)
    assert form["name"] in page.html
    assert re.search(rf'value="{form["price_list"]}"[^>]* selected', page.html)
    path, form = channel_new(world)
    form = {name: value for name, value in form.items() if name != "local"} | {"secret": f"s-{uuid.uuid4().hex}"}
    page = after_proof(world, "office:channel_new", path, form)
    assert f'value="{form["name"]}"' in page.html
    assert form["base_url"] in page.html
    assert form["secret"] not in page.html
    assert not re.search(r'name="local"[^>]* checked', page.html)
    path, form = settings(world)
    assert f"{form['trial_micro']}" in after_proof(world, "office:settings", path, form).html


@pytest.mark.store
def test_the_attack_a_second_owner_removes_the_first(world, shop):
    """A session older than its proof invites a second owner, who removes the first: it ends at the first step."""
    from farebox.accounts.models import Invitation, Member

    victim = people.customer(shop, "5", password=people.PASSWORD)
    account = victim.customer.account
    thief = session(World(shop, victim, victim, victim, world.admin), "invite", age_s=LONG_AGO_S)
    answer = thief.send(reverse("invite"), {"people": "thief@example.com", "role": "owner", "days": "7"})
    assert is_asked(answer)
    assert not Invitation.objects.filter(account=account).exists()
    assert is_asked(thief.send(reverse("key.new"), {"name": "mine", "project": account}))
    assert is_asked(thief.send(reverse("member.remove", args=[victim.member]), {}))
    assert Member.objects.filter(account=account, state="active", role="owner").count() == 1


def test_owners_hear_of_owners(world, shop):
    """By mail, whoever made them: at the invitation, and when they are owners."""
    from kit.letters import letters, text

    first = people.customer(shop, "5", password=people.PASSWORD, language="zh-hans")
    second = people.customer(shop, role="member", of=first)
    first.send(reverse("invite"), {"people": "third@example.com", "role": "owner", "days": "7"})
    told = letters(shop, first.email)[-1]
    assert "third@example.com was invited as an owner" in told["Subject"]
    assert first.email in text(told)
    link = re.search(r"/join/\S+", text(letters(shop, "third@example.com")[-1]))[0]
    third = Visitor(shop, "en")
    third.get(link)
    joined = third.send(link, {"name": "Third", "password": f"{uuid.uuid4().hex} stately"})
    assert joined.status == 302
    answer = first.send(reverse("member.role", args=[second.member]), {"role": "owner", "project": ""})
    assert answer.status == 302
    subjects = [each["Subject"] for each in letters(shop, first.email, n=3)]
    assert "third@example.com is now an owner" in subjects[1]
    assert f"{second.email} was invited as an owner" in subjects[2]
    asked = next(each for each in letters(shop, second.email) if "/join/" in text(each))
    link = re.search(r"/join/\S+", text(asked))[0]
    second.get(link)
    assert second.send(link, {}).status == 302
    assert f"{second.email} is now an owner" in letters(shop, first.email, n=4)[3]["Subject"]
    assert f"{second.email} is now an owner" in letters(shop, second.email, n=2)[1]["Subject"]


def test_owners_hear_of_those_whom_the_shop_invites_and_are_told_of_a_low_balance(world, shop):
    """From the office and by command; whoever comes so is told of a low balance as one who signed up is."""
    from farebox.accounts.people import notices
    from farebox.cli import verbs
    from kit.letters import letters, text

    first = people.customer(shop, "5")
    account, guest = first.customer.account, f"{uuid.uuid4().hex[:8]}@example.com"
    answer = session(world, "office:customer_invite").send(
        reverse("office:customer_invite", args=[account]), {"email": guest}
    )
    assert answer.status == 302
    told = letters(shop, first.email)[-1]
    assert f"{guest} was invited as an owner" in told["Subject"]
    assert world.admin.email not in text(told), "who acts for the shop stays unnamed"
    link = re.search(r"/join/\S+", text(letters(shop, guest)[-1]))[0]
    visitor = Visitor(shop, "en")
    visitor.get(link)
    assert visitor.send(link, {"name": "Guest", "password": f"{uuid.uuid4().hex} stately"}).status == 302
    by_command = people.person(shop)
    shop.write(verbs.VERBS["member.add"].run, account=account, person=by_command.email, role="owner", actor="root@host")
    assert f"{by_command.email} is now an owner" in letters(shop, first.email, n=3)[2]["Subject"]
    for email in (guest, by_command.email):
        from farebox.accounts.models import Person

        wanted = shop.read(notices.read, person=Person.objects.get(email=email).id, account=account)
        assert (wanted.low_days, wanted.expiry) == (notices.LOW_DAYS, True)
