"""Every kind of page that answers a form: what was made, what is left to do, and what a failed one says.

A step opens the page of a form as somebody, fills the form in, sends it, and goes where the answer leads. The browser has
a loop in the thread of the test, so the store is filled before (`prepared`); letters are read in between.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kit import letters, minting, people

LONG_AGO_S = 4000
LONG = "a.person.with.a.very.long.address@subdomain.of.a.long.example.com"
NEW_PASSWORD = "stately horse of the lower field 23"


@dataclass(frozen=True)
class Step:
    """A form: who opens which page, what he fills in, to which form of the page (part of its action); what it is called.

    `status` is that of the page at the end. `fields` may be a function of the page's HTML, read when the form is open;
    None is a look at the page where something was asked for, and no form.
    """

    name: str
    who: str
    page: str
    fields: Mapping[str, str] | Callable[[str], Mapping[str, str]] | None = field(default_factory=dict)
    to: str = ""
    status: int = 200


@dataclass(frozen=True)
class World:
    """A shop with its people: `cookies` has the sessions by the letter that steps name."""

    shop: Any
    cookies: dict[str, dict[str, str]]
    at: dict[str, str]
    newcomer: str


def _stamp() -> dict[str, Any]:
    return {"now_us": time.time_ns() // 1000, "actor": "test"}


def _name() -> str:
    return uuid.uuid4().hex[:8]


def prepared(shop: Any) -> World:
    """Somebody of each kind, and a thing of each kind for him to send forms about."""
    from farebox.accounts.models import Account, ApiKey, Person, Project

    owner = people.customer(shop, "20", password=people.PASSWORD)
    admin_row = people.person(shop, operator_role="admin", password=people.PASSWORD)
    admin = people.signed_in(shop, admin_row, "office", "password", "mfa")
    at = _customers(shop, owner) | _office(shop)
    homeless = people.signed_in(shop, people.person(shop), "console", "password")
    cookies = {
        "A": {}, "O": owner.cookies, "X": admin.cookies, "N": homeless.cookies, "S": people.operator(shop).cookies,
        "old": _aged(shop, Person.objects.get(id=owner.person), "console"),
        "Xold": _aged(shop, admin_row, "office"),
        "left": people.customer(shop, "0", password=people.PASSWORD).cookies,
    }  # fmt: skip
    at |= {"owner": owner.email, "admin": admin.email}
    Person.objects.update(name="王小明")
    Project.objects.filter(name="default").update(name="默认项目")
    Account.objects.filter(kind="customer").update(name="测试账户")
    ApiKey.objects.update(name="测试密钥")
    return World(shop, cookies, at, f"{_name()}@example.com")


def _aged(shop: Any, person: Any, area: str) -> dict[str, str]:
    """A session whose proof is too old for what gives access."""
    from farebox.accounts.sign_in import sessions
    from farebox.look.sessions import COOKIES

    methods = ("password", "mfa") if area == "office" else ("password",)
    proofs = [{"method": each, "at": time.time() - LONG_AGO_S} for each in methods]
    return {COOKIES[area]: sessions.sign_in(person, area=area, methods=proofs)}


def _customers(shop: Any, owner: Any) -> dict[str, str]:
    """Keys, projects, members and invitations of the owner's account, and people who can't sign in."""
    from farebox.accounts import projects
    from farebox.accounts.models import Person, Project
    from farebox.accounts.team import invitations

    account, at = owner.customer.account, {}
    main = Project.objects.get(account=account, name="default").id
    for name in ("key", "old_key", "lost_key"):
        at[name] = shop.write(minting.issue, project=main, name=name, **_stamp())[0].id
    for name in ("project", "old_project"):
        at[name] = shop.write(
            projects.create, account=account, name="一个名字很长的项目，" * 3 + name[:3].upper(), **_stamp()
        ).id
    for name in ("member", "lost_member"):
        at[name] = people.customer(shop, role="member", of=owner, project=at["project"]).member
    codes: list[str] = []
    terms = invitations.InvitationTerms(project=at["project"], with_key=True)
    for _ in range(2):
        guest = invitations.Guest(f"{_name()}@example.com")
        shop.write(invitations.invite, account, [guest], terms, lambda *given: codes.append(given[2]), **_stamp())
    off = people.customer(shop, "0", password=people.PASSWORD)
    Person.objects.filter(id=off.person).update(is_active=False)
    return at | {"join": codes[0], "off": off.email, "main": main}


def _office(shop: Any) -> dict[str, str]:
    """Accounts, keys, channels, models, lists and what waits for approval."""
    from farebox.accounts import accounts
    from farebox.accounts.models import Project
    from farebox.accounts.sign_in import operators
    from farebox.catalog import drafts, price_lists, sheets
    from farebox.ledger import adjustments
    from farebox.office import kinds
    from farebox.upstreams.models import Channel

    at = {name: shop.account("1").account for name in ("account", "frozen", "closing")}
    project = Project.objects.filter(account=at["account"]).values_list("id", flat=True)[0]
    at |= {"account_project": project}
    at["account_key"] = shop.write(minting.issue, project=project, name="k", **_stamp())[0].id
    shop.add_channel(name := f"c{_name()}", "http://127.0.0.1:9/v1", ["gpt-4o-mini"])
    at["dead"] = Channel.objects.get(name=name).id
    at["channel"] = Channel.objects.get(name="sandbox").id
    at["model"] = shop.model(f"m{_name()}", {"input": "1", "output": "2"})
    at["list"] = f"l{_name()}"
    shop.write(price_lists.create_list, at["list"], "USD", actor="test")
    rows = [sheets.row(at["model"], "input", "1"), sheets.row(at["model"], "output", "2")]
    shop.write(price_lists.publish, at["list"], rows, **_stamp())
    plan = drafts.DraftContent(rows=[(at["model"], "input", 2_000_000)])
    at["draft"] = shop.write(drafts.draw_up, at["list"], plan, requester="operator:per_other", **_stamp()).id
    for name in ("money", "lost_money"):
        at[name] = shop.write(
            adjustments.propose, account=at["account"], currency="USD", kind="grant", amount_micro=5_000_000,
            reason="客户补偿", day_max_micro=10**9, requester="operator:per_other", **_stamp(),
        ).id  # fmt: skip
    facts = {"role": "admin", "actor": "operator:per_other", "now_us": _stamp()["now_us"]}
    for name, account in (("proposal", "frozen"), ("lost_proposal", "closing")):
        at[name] = shop.write(kinds.propose, "account.price_list", at[account], at["list"], **facts).id
    shop.write(accounts.set_price_list, at["closing"], price_list=at["list"], actor="test")
    change = {"kind": "role", "email": f"{_name()}@example.com", "role": "finance", "alone": False}
    facts = {"send": lambda *_: None, "now_us": _stamp()["now_us"], "actor": "operator:per_other"}
    at["change"] = shop.write(operators.propose, **change, **facts)[0].id
    at["person"] = people.person(shop).id
    at["operator"] = people.person(shop, operator_role="support", password=people.PASSWORD).id
    return at


def steps(world: World) -> list[Step]:
    """All of them, in their order: some begin where another ended."""
    return [*_signing_up(world), *_signing_in(world), *_console(world), *_team(world), *_office_steps(world),
            *_goods(world), *_customers_of_office(world), *_troubles(world)]  # fmt: skip


def _code(world: World, to: str) -> Callable[[str], dict[str, str]]:
    """The code of the newest letter."""

    def fields(_html: str) -> dict[str, str]:
        found = re.search(
            r"^\s*([A-Z0-9]{4}-[A-Z0-9]{4}|\d{6})\s*$", letters.text(letters.letters(world.shop, to)[-1]), re.M
        )
        assert found, letters.text(letters.letters(world.shop, to)[-1])
        return {"code": found[1]}

    return fields


def _signing_up(world: World) -> list[Step]:
    new = {"email": world.newcomer, "password1": NEW_PASSWORD}
    return [
        Step("sign-up-refused", "A", "/account/sign-up", {"email": "nobody", "password1": "12345678"}, "/sign-up"),
        Step("sign-up-code", "up", "/account/sign-up", new, "/sign-up"),
        Step("sign-up-code-wrong", "up", "/account/confirm", {"code": "ABC123"}, "/confirm"),
        Step("sign-up-done", "up", "/account/confirm", _code(world, world.newcomer), "/confirm"),
        Step("sign-up-taken", "A", "/account/sign-up", {**new, "email": world.at["owner"]}, "/sign-up"),
        Step("join-refused", "join", f"/join/{world.at['join']}", {"name": "", "password": "12345678"}, "", 400),
        Step("join-done", "join", f"/join/{world.at['join']}", {"name": "王小明", "password": NEW_PASSWORD}),
    ]


def _signing_in(world: World) -> list[Step]:
    at, owner = world.at, world.at["owner"]
    wrong = {"login": owner, "password": "not this one"}
    weak = {"oldpassword": "wrong", "password1": "12345678", "password2": "12345678"}
    return [
        Step("sign-in-refused", "A", "/account/sign-in", wrong, "/sign-in"),
        Step(
            "sign-in-inactive", "A", "/account/sign-in", {"login": at["off"], "password": people.PASSWORD}, "/sign-in"
        ),
        Step("forgotten-code", "lost", "/account/password/forgotten", {"email": owner}, "/forgotten"),
        Step("forgotten-code-wrong", "lost", "/account/password/code", {"code": "ABC123"}, "/code"),
        Step("password-refused", "O", "/account/password", weak, "/password"),
        Step("email-refused", "O", "/account/email", {"email": "nobody", "action_add": ""}, "/email"),
        Step("email-code", "O", "/account/email", {"email": f"{_name()}@example.com", "action_add": ""}, "/email"),
        Step("app-refused", "O", "/account/factors/app", {"code": "000000"}, "/app"),
        Step("no-place", "N", "/account/open", None),
        Step("account-opened", "N", "/account/open", {}, "/open"),
        Step("office-sign-in-refused", "A", "/office/sign-in", {"email": at["admin"], "password": "wrong"}),
        Step("office-enrol", "Xin", "/office/sign-in", {"email": at["admin"], "password": people.PASSWORD}),
        Step("office-enrol-refused", "Xin", "/office/enrol", {"code": "000000"}),
        Step("office-step-up", "Xold", "/office/tokens/new", None),
        Step("office-step-up-refused", "Xold", "/office/step-up", {"password": "wrong", "code": "000000"}),
    ]


def _console(world: World) -> list[Step]:
    at, key = world.at, f"/console/keys/{world.at['key']}"
    bad = {"name": "", "project": at["main"], "cap_day": "很多", "addresses": "300.0.0.1"}
    notices = {"keys": "on", "webhook_url": "https://hooks.example/farebox"}
    return [
        Step("key-refused", "O", "/console/keys/new", bad),
        Step("key-made", "O", "/console/keys/new", {"name": "测试", "project": at["main"]}),
        Step("step-up", "old", key, {"grace": "3600"}, "/rotate"),
        Step("step-up-refused", "old", "/account/again", {"password": "wrong"}, "/again"),
        Step("key-changed", "O", key, {"name": "新名称", "cap_day": "5"}, "/change"),
        Step("key-change-refused", "O", key, {"name": "", "cap_day": "-1", "addresses": "某处"}, "/change"),
        Step("key-rotated", "O", key, {"grace": "3600"}, "/rotate"),
        Step("key-revoked", "O", f"/console/keys/{at['lost_key']}", {}, "/revoke"),
        Step("settings-saved", "O", "/console/settings", {"name": "王小明", "language": "", "time_zone": "Asia/Shanghai"}, "/person"),
        Step("settings-refused", "O", "/console/settings", {"name": "长" * 200, "time_zone": "UTC"}, "/person"),
        Step("webhook-secret", "O", "/console/settings", notices, "/notices"),
        Step("notices-refused", "O", "/console/settings", {"webhook_url": "ftp://nowhere", "low": "很多"}, "/notices"),
        Step("sessions-ended", "O", "/console/settings", {}, "/settings/sessions"),
        Step("close-refused", "O", "/console/settings/close", {"name": "another"}, "/close"),
        Step("close-done", "left", "/console/settings/close", {"name": "测试账户"}, "/close"),
        Step("estimate-done", "A", "/estimate", {"text": "你好", "words": "", "output": "500", "calls": "1000"}, "/estimate"),
    ]  # fmt: skip


def _team(world: World) -> list[Step]:
    at = world.at
    project, member = f"/console/team/projects/{at['project']}", f"/console/team/members/{at['member']}"
    terms = {"role": "member", "project": at["main"], "days": "7", "with_key": "on"}
    return [
        Step("project-made", "O", "/console/team", {"name": "网站客服"}, "/team/projects"),
        Step("project-refused", "O", "/console/team", {"name": ""}, "/team/projects"),
        Step("project-cap-refused", "O", project, {"cap_day": "-1"}, "/cap"),
        Step("project-cap-changed", "O", project, {"cap_day": "5"}, "/cap"),
        Step("project-end-refused", "O", project, {"day": "2020-01-01"}, "/keys-end"),
        Step("project-archived", "O", f"/console/team/projects/{at['old_project']}", {}, "/archive"),
        Step("member-cap-refused", "O", member, {"cap_day": "很多"}, "/cap"),
        Step("member-invited-as-owner", "O", member, {"role": "owner", "project": ""}, "/role"),
        Step("member-removed", "O", f"/console/team/members/{at['lost_member']}", {}, "/remove"),
        Step("invitations-sent", "O", "/console/team/invite", {"people": f"{_name()}@example.com\n{LONG}", **terms}),
        Step("invitations-refused", "O", "/console/team/invite", {"people": "某人\n另一个人", **terms, "days": "0"}),
    ]  # fmt: skip


def _office_steps(world: World) -> list[Step]:
    at, email = world.at, f"{_name()}@example.com"
    return [
        Step("office-password-refused", "X", "/office/profile/password", {"password": "short", "again": "other"}),
        Step("office-profile-saved", "X", "/office/profile", {"name": "王小明", "time_zone": "Asia/Shanghai"}),
        Step("office-recovery-codes", "X", "/office/profile/recovery-codes", {}),
        Step("office-factor-refused", "X", "/office/profile/second-factors/new", {"code": "000000"}),
        Step("office-operator-invited", "X", "/office/operators/new", {"email": email, "name": "李", "role": "support"}),
        Step("office-operator-refused", "X", "/office/operators/new", {"email": "nobody", "role": "support"}),
        Step("office-operator-role", "X", f"/office/operators/{at['operator']}", {"role": "finance", "why": "x", "do": "role"}),
        Step("office-person-off", "X", f"/office/people/{at['person']}", {}, "/off"),
        Step("office-person-on", "X", f"/office/people/{at['person']}", {}, "/on"),
        Step("office-announcement-refused", "X", "/office/announcements", {"en": "", "zh": "", "level": "info"}),
        Step("office-announced", "X", "/office/announcements", {"en": "New models tonight.", "zh": "今晚上新。", "level": "info"}),
        Step("office-settings-refused", "X", "/office/settings", {"trial_micro": "很多", "terms_url": "不是地址"}),
        Step("office-token-refused", "X", "/office/tokens/new", {"name": "", "role": "admin", "days": "9999"}),
        Step("office-token-made", "X", "/office/tokens/new", {"name": "报表", "role": "admin", "days": "7"}),
    ]  # fmt: skip


def _goods(world: World) -> list[Step]:
    at = world.at
    channel, dead = f"/office/upstreams/{at['channel']}", f"/office/upstreams/{at['dead']}"
    facts = {"currency": "USD", "cancel_billing": "stops", "tier": "0", "weight": "1"}
    new = {
        "upstream": f"u{_name()}",
        "name": f"c{_name()}",
        "base_url": "http://127.0.0.1:9/v1",
        "secret": "s",
        **facts,
    }
    model = {"kinds": "chat", "modalities": "text", "classes": "input", "context_tokens": "0", "output_tokens_max": "9"}
    return [
        Step("office-channel-refused", "X", "/office/upstreams/new?vendor=", new),
        Step("office-channel-made", "X", "/office/upstreams/new?vendor=", {**new, "local": "on"}),
        Step("office-channel-tested", "X", channel, {"model": "gpt-4o-mini"}, "/test"),
        Step("office-channel-test-failed", "X", dead, {"model": "gpt-4o-mini"}, "/test"),
        Step("office-channel-edit-refused", "X", f"{dead}/edit", {"base_url": "不是地址", "tier": "-1", "secret": "s"}),
        Step("office-channel-off", "X", dead, {"state": "disabled"}, "/state"),
        Step("office-offer-refused", "X", f"{dead}/models", {"model": at["model"], "input": "很多"}),
        Step("office-model-refused", "X", "/office/models/new", {"name": "模型 甲", **model}),
        Step("office-model-off-sale", "X", f"/office/models/show/{at['model']}", {"listed": ""}, f"/shelve/{at['model']}"),
        Step("office-alias-refused", "X", f"/office/models/show/{at['model']}", {"alias": "gpt-4"}, f"/alias/{at['model']}"),
        Step("office-list-made", "X", "/office/price-lists/new", {"name": "usd", "currency": "USD"}),
        Step("office-prices-refused", "X", f"/office/price-lists/{at['list']}/change", {"rows": "不存在 input 1\n不对"}),
        Step("office-prices-published", "X", f"/office/price-lists/drafts/{at['draft']}", {}, "/publish"),
        Step("office-assign-refused", "X", f"/office/price-lists/{at['list']}", {"account": "nobody"}, "/assign"),
    ]  # fmt: skip


def _customers_of_office(world: World) -> list[Step]:
    at, here = world.at, f"/office/customers/{world.at['account']}"
    project = {"project": at["account_project"]}
    return [
        Step("office-customer-refused", "X", "/office/customers/new", {"name": "", "currency": "US"}),
        Step("office-customer-made", "X", "/office/customers/new", {"name": "新客户", "currency": "USD", "price_list": "usd"}),
        Step("office-customer-frozen", "X", f"/office/customers/{at['frozen']}", {"do": "freeze"}, "/move"),
        Step("office-limits-refused", "X", here, {"rpm": "很多"}, "/limits"),
        Step("office-rename-refused", "X", here, {"name": ""}, "/rename"),
        Step("office-close-refused", "X", f"/office/customers/{at['closing']}/close", {"name": "another"}),
        Step("office-owner-invited", "X", f"{here}/owner", {"email": LONG}),
        Step("office-owner-refused", "X", f"{here}/owner", {"email": "nobody"}),
        Step("office-key-made", "X", f"{here}/keys", {"name": "测试", **project}),
        Step("office-key-refused", "X", f"{here}/keys", {"name": "", **project}),
        Step("office-key-revoke", "X", f"{here}/keys/{at['account_key']}/revoke", {}),
        Step("office-money-refused", "X", f"{here}/money", {"kind": "grant", "amount": "很多", "reason": ""}),
        Step("office-money-proposed", "X", f"{here}/money", {"kind": "grant", "amount": "1", "reason": "客户补偿"}),
        Step("office-money-approved", "X", f"/office/money/{at['money']}", {}, "/approve"),
        Step("office-money-declined", "X", f"/office/money/{at['lost_money']}", {"note": "不符合规定"}, "/decline"),
        Step("office-proposal-approved", "X", f"/office/proposals/{at['proposal']}", {}, "/approve"),
        Step("office-proposal-outdated", "X", f"/office/proposals/{at['lost_proposal']}", {}, "/approve"),
    ]  # fmt: skip


def _troubles(world: World) -> list[Step]:
    """What answers forms that are not to be read, and who has tried too often; the last for a reason."""
    wrong = {"login": world.newcomer, "password": "not this one"}
    return [
        Step("error-403", "O", "/console/settings", {"csrfmiddlewaretoken": "none"}, "/person", 403),
        Step("error-404", "O", "/console/team", {"__action": "/console/team/projects/prj_none/cap"}, "/team/projects", 404),
        Step("error-413", "O", "/console/settings", {"name": "x" * 3_000_000}, "/person", 413),
        *[Step("", "A", "/account/sign-in", wrong, "/sign-in")] * 12,
        Step("sign-in-too-often", "A", "/account/sign-in", wrong, "/sign-in"),
    ]  # fmt: skip
