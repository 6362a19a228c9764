"""Who is in the demo shop: two owners, a team with two projects, a class, four operators. No password exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farebox.kit.db import Tx

ACTOR = "demo"
DOMAIN = "demo.example"
OWNER = f"ada@{DOMAIN}"
EMPTY_OWNER = f"bo@{DOMAIN}"
ADMIN = f"office@{DOMAIN}"
OPERATORS = {
    ADMIN: ("Olive Admin", "admin"),
    f"finance@{DOMAIN}": ("Fay Finance", "finance"),
    f"support@{DOMAIN}": ("Sam Support", "support"),
    f"audit@{DOMAIN}": ("Una Auditor", "auditor"),
}
BOT, CLASS = "Help desk bot", "Class 7b"
STUDENTS = ("Chen Yu", "Emma Braun", "Li Na", "Noah Weber", "Zhang Wei", "张小明")
BOT_CAP, CLASS_CAP = "50.00", "20.00"
STUDENT_CAPS = {"day": "0.50", "month": "2.00"}
TERM_DAYS = 60
TRIAL_CURRENCY, TRIAL_MICRO = "USD", 1_000_000  # who signs up in the demo can call at once
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Team:
    """The keys of the team (ids) with how much each calls, by turns of ten thousand."""

    bot: str
    developer: str
    students: tuple[str, ...]


def doors(tx: Tx, customer: str, empty: str, now_us: int, *, fresh: bool) -> tuple[str, str]:
    """Owners, operators, an announcement; the codes of new sign-in links for the console and the office."""
    from farebox.accounts.people import links
    from farebox.kit import announcements, settings

    if fresh:
        settings.put(tx, links.DEMO, value=True, actor=ACTOR)
        settings.put(tx, "trial_micro", value={TRIAL_CURRENCY: TRIAL_MICRO}, actor=ACTOR)
        announcements.add(
            tx,
            en="Welcome to the demo: nothing here costs anything, and every charge has its receipt.",
            zh="欢迎使用演示：这里一切都不花真钱，每笔扣费都有收据。",
            from_us=now_us, until_us=None, now_us=now_us, actor=ACTOR,
        )  # fmt: skip
    if not settings.get(tx, links.DEMO, default=False):
        return "", ""
    ada = _owner(tx, customer, OWNER, "Ada Demo", now_us)
    _owner(tx, empty, EMPTY_OWNER, "Bo Empty", now_us)
    _operators(tx, now_us)
    return links.mint(tx, ada, "console", now_us), links.mint(tx, ADMIN, "office", now_us)


def _operators(tx: Tx, now_us: int) -> None:
    """One operator of each role; twice is once."""
    from farebox.accounts.models import Person
    from farebox.accounts.people import people

    for email, (name, role) in OPERATORS.items():
        if not Person.objects.filter(email=email).exists():
            people.create(tx, email=email, name=name, operator_role=role, now_us=now_us, actor=ACTOR)


def _owner(tx: Tx, account: str, email: str, name: str, now_us: int) -> str:
    """The owner of an account, with a confirmed mailbox; the person's id. Twice is once."""
    from farebox.accounts.models import Member

    person = _person(tx, email, name, now_us)
    if not Member.objects.filter(account=account, person=person, state="active").exists():
        from farebox.accounts.people import people

        people.add_member(tx, account=account, person=person, role="owner", now_us=now_us, actor=ACTOR)
    return person


def team(tx: Tx, account: str, now_us: int) -> Team:
    """Two projects with caps, their people and keys, an open invitation; for an account that is new."""
    from farebox.accounts import projects
    from farebox.accounts.caps import Caps
    from farebox.accounts.keys import keys
    from farebox.accounts.keys.key_terms import KeyTerms
    from farebox.accounts.people import people
    from farebox.accounts.team import invitations, teams
    from farebox.kit import money

    def project(name: str, cap: str) -> str:
        made = projects.create(tx, account=account, name=name, now_us=now_us, actor=ACTOR)
        projects.set_caps(tx, made.id, {"month": money.parse(cap)}, now_us=now_us, actor=ACTOR)
        return made.id

    def member(email: str, name: str, where: str, role: str, caps: dict[str, int | None]) -> str:
        person = _person(tx, f"{email}@{DOMAIN}", name, now_us)
        placed = people.add_member(
            tx, account=account, person=person, role=role, project=where, now_us=now_us, actor=ACTOR,
            caps=Caps.given(caps),
        )  # fmt: skip
        return placed.id

    def key(where: str, who: str, name: str) -> str:
        return keys.issue(tx, KeyTerms(name=name), project=where, member=who, now_us=now_us, actor=ACTOR)[0].id

    bot, lesson = project(BOT, BOT_CAP), project(CLASS, CLASS_CAP)
    admin = member("lin", "Lin Wei", bot, "admin", {})
    teacher = member("maya", "Maya Singh", lesson, "admin", {})
    capped: dict[str, int | None] = {period: money.parse(cap) for period, cap in STUDENT_CAPS.items()}
    students = [member(f"student{n}", name, lesson, "member", capped) for n, name in enumerate(STUDENTS, start=1)]
    made = Team(
        bot=key(bot, admin, "help desk"),
        developer=key(lesson, teacher, "lesson plans"),
        students=tuple(key(lesson, who, name) for who, name in zip(students, STUDENTS, strict=True)),
    )
    teams.set_keys_end(tx, lesson, ends_us=_midnight(now_us, TERM_DAYS), now_us=now_us, actor=ACTOR)
    terms = invitations.InvitationTerms(project=lesson, with_key=True, caps=Caps.given(capped))
    guest = invitations.Guest(f"student7@{DOMAIN}", "Tom Okoye")
    late_us = now_us + 29 * _DAY_US
    invitations.invite(tx, account, [guest], terms, lambda _tx, _row, _code: None, now_us=late_us, actor=ACTOR)
    return made


def _midnight(now_us: int, days: int) -> int:
    return (now_us // _DAY_US + days) * _DAY_US


def _person(tx: Tx, email: str, name: str, now_us: int) -> str:
    from allauth.account.models import EmailAddress

    from farebox.accounts.models import Person
    from farebox.accounts.people import people

    found = Person.objects.filter(email=email).first()
    if found is None:
        found = people.create(tx, email=email, name=name, now_us=now_us, actor=ACTOR)
        EmailAddress.objects.create(user=found, email=email, verified=True, primary=True)
    return str(found.id)
