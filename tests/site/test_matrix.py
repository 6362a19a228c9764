"""Who may what (security 1): every address of a page and of the API x every role x own, foreign and absent objects.

`matrix.toml` says what each gets; an address that is not in it fails, and so does one that is there no more.
Of objects that are foreign or absent, who is turned away anyway is not asked about unless MATRIX is set (`make nightly`).
`MATRIX=file` also writes what is seen into that file, to be read before it is believed.
"""

from __future__ import annotations

import os
import time
import tomllib
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from kit import minting, people
from kit.visitor import Visitor

pytestmark = pytest.mark.slow

ROLES = "AKMPOSFXU"
SAID: dict[str, dict[str, str]] = tomllib.loads((Path(__file__).parents[1] / "matrix.toml").read_text("utf-8"))
OPERATORS = {"S": "support", "F": "finance", "X": "admin", "U": "auditor"}
ABSENT = "none_0000000000000000000000000"
SIGN_IN = ("/account/sign-in", "/office/sign-in", "/office/second-factor", "/office/enrol", "/office/set-up")
STEP_UP = ("/office/step-up", "/account/again", "/account/factors/again", "/account/factors/passkeys/again")
# A form is sent empty, or as `form` says: that it is refused for that is admission enough.
METHODS = ("GET", "POST")
WHICHES = ("own", "foreign", "absent")
REFUSED = {"in", "no", "401", "403"}
WHOLE = bool(os.environ.get("MATRIX"))


def page_routes() -> dict[str, Any]:
    """Every address of a page by name, with its pattern."""
    from farebox.site.urls import urlpatterns

    found: dict[str, Any] = {}

    def walk(patterns: Any, names: tuple[str, ...]) -> None:
        for each in patterns:
            if hasattr(each, "url_patterns"):
                walk(each.url_patterns, (*names, each.namespace) if each.namespace else names)
            else:
                name = ":".join((*names, each.name or str(each.pattern)))
                found.setdefault(name, each)

    walk(urlpatterns, ())
    return found


def api_routes() -> list[str]:
    """Every address of the API, as `METHOD /path`."""
    from farebox.gateway.http import leaks
    from farebox.gateway.http.app import FREE
    from farebox.protocol.kinds import PATHS

    free = [path + {"/models/": "{model}", "/calls/": "{call}"}.get(path, "") for path in FREE]
    return [*(f"GET /v1{path}" for path in free), *(f"POST /v1{path}" for path in (*PATHS, leaks.PATH))]


class World:
    """One shop with two accounts, and an object of every kind in each."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop
        self.shown: dict[tuple[str, str, str], str] = {}
        self.owner, self.stranger = people.customer(shop, "20"), people.customer(shop, "20")
        self.project = self.new_project(self.owner)
        self.who: dict[str, Visitor] = {"A": Visitor(shop, "en"), "O": self.owner}
        self.who["K"] = Visitor(shop, "en", Authorization=f"Bearer {self.owner.customer.key}")
        self.who["M"] = people.customer(shop, role="member", of=self.owner, project=self.project)
        self.who["P"] = people.customer(shop, role="admin", of=self.owner, project=self.project)
        for role, name in OPERATORS.items():
            self.who[role] = people.operator(shop, name)
        self.key = {role: self.new_key(self.owner, self.who[role].member) for role in "MPO"}
        self.calls = {role: self.call(self.key[role][1]) for role in "MPO"}
        self.calls["K"] = self.call(self.owner.customer.key)
        self.calls["foreign"] = self.call(self.stranger.customer.key)
        for visitor in self.who.values():
            visitor.page("/guide")

    def fresh(self, role: str) -> Visitor:
        """The visitor in a session of his own: what signs him out harms no other try."""
        from farebox.accounts.models import Person

        known = self.who[role]
        if not isinstance(known, people.Person):
            return known
        area, proofs = ("office", ("password", "mfa")) if role in OPERATORS else ("console", ("password",))
        made = people.signed_in(self.shop, Person.objects.get(id=known.person), area, *proofs)
        made.cookies |= {name: value for name, value in known.cookies.items() if "csrf" in name}
        return made

    def new_project(self, owner: Any) -> str:
        from farebox.accounts import projects

        made = self.shop.write(
            projects.create, account=owner.customer.account, name=uuid.uuid4().hex[:12], **self.stamp()
        )
        return str(made.id)

    def stamp(self) -> dict[str, Any]:
        return {"now_us": time.time_ns() // 1000, "actor": "test"}

    def new_key(self, owner: Any, member: str | None, project: str | None = None) -> tuple[str, str]:

        project = project or (self.project if owner is self.owner else owner.customer.account)
        row, text = self.shop.write(minting.issue, project=project, member=member, name="matrix", **self.stamp())
        return row.id, text

    def call(self, key: str) -> str:
        customer = self.owner.customer.__class__(self.shop, "", "", key)
        answer = customer.chat("gpt-4o-mini", "matrix")
        customer.receipt(answer)
        return str(answer.call)

    # objects, new for each try that may use them up: `which` is own or foreign

    def object(self, kind: str, role: str, which: str) -> str:
        """The id of an object of this kind as a part of an address."""
        return str(getattr(self, f"_{kind}")(role, which == "own"))

    def _project(self, role: str, own: bool) -> str:
        if not own:
            return self.new_project(self.stranger)
        if role in "MP":
            return self.project
        return self.new_project(self.owner)

    def _member(self, role: str, own: bool) -> str:
        owner = self.owner if own else self.stranger
        if own and role == "M":
            return self.who["M"].member
        project = self.project if own else self.new_project(self.stranger)
        return people.customer(self.shop, role="member", of=owner, project=project).member

    def _invitation(self, role: str, own: bool) -> str:
        return self.invite(own)[0]

    def invite(self, own: bool = True) -> tuple[str, str]:
        from farebox.accounts.team import invitations

        owner = self.owner if own else self.stranger
        project = self.project if own else self.new_project(owner)
        code: list[str] = []
        guest = invitations.Guest(f"{uuid.uuid4().hex}@example.com")
        sent = self.shop.write(
            invitations.invite, owner.customer.account, [guest], invitations.InvitationTerms(project=project),
            lambda tx, row, text: code.append(text), **self.stamp(),
        )  # fmt: skip
        return sent.invited[0].id, code[-1]

    def _joined(self, role: str, own: bool) -> str:
        """An invitation that this person, or somebody else, has taken."""
        from farebox.accounts.models import Invitation, Member

        ident = self.invite()[0]
        who = self.who[role if role in "MPO" else "M"].person if own else self.stranger.person
        place = Member.objects.filter(person=who)[0]
        Invitation.objects.filter(id=ident).update(state="used", member=place)
        return ident

    def _token(self, role: str, own: bool) -> str:
        from farebox.accounts.sign_in import tokens

        letter = role if role in OPERATORS and own else "U" if role != "U" else "S"
        given = {"name": "matrix", "role": OPERATORS[letter], "days": 9}
        row, _text = self.shop.write(tokens.make, person=self.who[letter].person, **given, **self.stamp())
        return str(row.id)

    def _key(self, role: str, own: bool) -> str:
        if not own:
            return self.new_key(self.stranger, None)[0]
        return self.new_key(self.owner, self.who[role].member if role in "MP" else None)[0]

    def _call(self, role: str, own: bool) -> str:
        return self.calls.get(role, self.calls["O"]) if own else self.calls["foreign"]

    def _statement(self, role: str, own: bool) -> str:
        return time.strftime("%Y-%m", time.gmtime())

    def _invitation_code(self, role: str, own: bool) -> str:
        return self.invite()[1]

    def _session(self, role: str, own: bool) -> str:
        from farebox.accounts.models import Session

        person = getattr(self.who[role], "person", self.owner.person) if own else self.stranger.person
        area = "office" if role in OPERATORS and own else "console"
        rows = Session.objects.filter(person=person, area=area).order_by("-created_us")
        return str(rows.values_list("id", flat=True)[0])

    def _model(self, role: str, own: bool) -> str:
        return "gpt-4o-mini"

    def _new_model(self, role: str, own: bool) -> str:
        """One that may be taken off the shelf."""
        return str(self.shop.model(f"m{uuid.uuid4().hex[:8]}", {"input": "1", "output": "2"}))

    def _channel(self, role: str, own: bool) -> str:
        from farebox.upstreams.models import Channel

        name = f"c{uuid.uuid4().hex[:8]}"
        self.shop.add_channel(name, "http://127.0.0.1:9/v1", [])
        return str(Channel.objects.get(name=name).id)

    def _operator(self, role: str, own: bool) -> str:
        return str(people.person(self.shop, operator_role="support").id)

    def _person(self, role: str, own: bool) -> str:
        """A customer's person, or an operator."""
        return str(people.customer(self.shop).person) if own else self._operator(role, own)

    def _account(self, role: str, own: bool) -> str:
        return str(self.shop.account("1").account)

    def _call_account(self, role: str, own: bool) -> str:
        """The account whose calls and keys the other part of the address names."""
        return str(self.owner.customer.account)

    def _channel_name(self, role: str, own: bool) -> str:
        from farebox.upstreams.models import Channel

        return str(Channel.objects.get(id=self._channel(role, own)).name)

    def _list(self, role: str, own: bool) -> str:
        return "usd"

    def _language(self, role: str, own: bool) -> str:
        return "en"

    def _change(self, role: str, own: bool) -> str:
        """What only exists while somebody waits for it: its own tests have it; here it is absent."""
        return ABSENT

    def _number(self, role: str, own: bool) -> str:
        return "1"


@pytest.fixture(scope="module")
def world(shop: Any) -> World:
    shop.options.public_price_list = "usd"
    shop.options.wrong_keys_per_min = 100_000  # wrong tokens are counted by address, and here all come from one
    return World(shop)


def word(status: int, where: str) -> str:
    """What an answer says about who asked: ok, in (sign in first), up (prove it again), no (404), or the status."""
    path = urlsplit(where).path
    if status in {301, 302, 303} and path.startswith(SIGN_IN):
        return "in"
    if status in {301, 302, 303} and path.startswith(STEP_UP):
        return "up"
    if status == 404:
        return "no"
    if status in {401, 403, 405, 429} or status >= 500:
        return str(status)
    return "ok"


def test_every_address_is_in_the_matrix() -> None:
    there = set(page_routes()) | set(api_routes())
    assert there - set(SAID) == set(), "not in tests/matrix.toml"
    assert set(SAID) - there == set(), "in tests/matrix.toml, and nowhere else"


def path_of(name: str, objects: dict[str, str]) -> str:
    from django.urls import reverse

    return reverse(name, kwargs=objects)


def seen(world: World, name: str, method: str, role: str, which: str, due: str | None) -> str:
    """What this role gets. What may be used up is new where it will be: objects, and sessions, which a form may also end."""
    said = SAID[name]
    kinds = dict(part.split("=") for part in said.get("objects", "").split())
    stays = method == "GET" or due in REFUSED
    objects = {at: a_part(world, kind, role, which, stays=stays) for at, kind in kinds.items()}
    visitor = world.who[role] if method == "GET" or due == "401" else world.fresh(role)
    path = path_of(name, objects)
    answer = visitor.get(path) if method == "GET" else visitor.send(path, dict(parse_qsl(said.get("form", ""))))
    return word(answer.status, answer.headers.get("location", ""))


def a_part(world: World, kind: str, role: str, which: str, *, stays: bool) -> str:
    """What stands for an object in an address; what is only read, or refused, may be one that was there before."""
    if which == "absent":
        return "9" * 9 if kind == "number" else ABSENT
    if not stays:
        return world.object(kind, role, which)
    if (kind, role, which) not in world.shown:
        world.shown[kind, role, which] = world.object(kind, role, which)
    return world.shown[kind, role, which]


def tried(said: dict[str, str], expected: dict[tuple[str, str], str], role: str) -> tuple[str, ...]:
    """Which objects a role is asked about: all, or its own alone where it gets no further with any."""
    if not said.get("objects"):
        return ("own",)
    everywhere = {expected.get((role, which)) for which in WHICHES}
    return WHICHES if WHOLE or not everywhere <= {*REFUSED, None} else WHICHES[:1]


def cells(row: str) -> dict[tuple[str, str], str]:
    """(role, which) -> word of a row; a cell of one word holds for own, foreign and absent."""
    columns = row.split()
    assert len(columns) == len(ROLES), row
    out = {}
    for role, cell in zip(ROLES, columns, strict=True):
        words = cell.split("/")
        assert len(words) in {1, 3}, row
        for place, which in enumerate(WHICHES):
            out[role, which] = words[place] if len(words) == 3 else words[0]
    return out


PAGES = [name for name in SAID if " " not in name]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("method", METHODS)
def test_pages(world: World, method: str) -> None:
    faults = []
    for name in PAGES:
        said = SAID[name]
        row = said.get(method)
        expected = {} if row is None else cells(row)
        line = []
        for role in ROLES if row is not None else ("X" if name.startswith("office:") else "O"):
            whiches = tried(said, expected, role)
            dues = {which: expected.get((role, which), "405" if which == "own" else None) for which in whiches}
            found = [seen(world, name, method, role, which, dues[which]) for which in whiches]
            line.append("/".join(found) if len(set(found)) > 1 else found[0])
            for which, got in zip(whiches, found, strict=True):
                if (due := dues[which]) is not None and got != due:
                    faults.append(f"{method} {name}: {role} gets {got} for {which}, not {due}")
        if (out := os.environ.get("MATRIX", "")) not in {"", "all"}:
            with Path(out).open("a", encoding="utf-8") as file:
                file.write(f"{method}|{name}|{' '.join(line)}\n")
    assert not faults, "\n".join(["", *faults])


@pytest.mark.store
def test_every_page_is_served_on_postgresql(world: World) -> None:
    """To an owner and an administrator; who else may what does not hang on the database."""
    from django.db import connection

    if connection.vendor == "sqlite":
        return  # test_pages walks all of it
    faults = []
    for method, name in ((method, name) for method in METHODS for name in PAGES if method in SAID[name]):
        expected = cells(SAID[name][method])
        for role in ("O", "X"):
            if (due := expected[role, "own"]) in {"ok", "up"} and (
                got := seen(world, name, method, role, "own", due)
            ) != due:
                faults.append(f"{method} {name}: {role} gets {got}, not {due}")
    assert not faults, "\n".join(["", *faults])


def test_api(world: World) -> None:
    """The API knows keys alone: no cookie opens it, and a key sees what is its own account's."""
    faults = []
    for name in (name for name in SAID if " " in name):
        method, path = name.split(" ")
        for (role, which), due in cells(SAID[name]["who"]).items():
            ident = {"own": world.calls["K"], "foreign": world.calls["foreign"], "absent": "call_" + "0" * 25}[which]
            concrete = path.replace("{call}", ident).replace("{model}", "gpt-4o-mini" if which == "own" else "no-model")
            visitor = Visitor(world.shop, "en", **world.who[role].headers)
            visitor.cookies = dict(world.who[role].cookies)
            visitor.headers["Accept"] = "application/json"
            got = visitor.request(
                method, concrete, b"{}" if method == "POST" else None, Content_Type="application/json"
            )
            if word(got.status, "") != due:
                faults.append(f"{name}: {role} gets {got.status} for {which}, not {due}")
    assert not faults, "\n".join(["", *faults])
