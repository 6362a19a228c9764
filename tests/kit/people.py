"""Persons who are signed in at a shop: customers with their roles, operators with theirs."""

from __future__ import annotations

import time
import uuid
from typing import Any

from kit.shop import Customer, Shop
from kit.visitor import Visitor

PASSWORD = "correct horse battery staple 4711"


class Person(Visitor):
    """A signed-in visitor. `person` is the id, `email` the address; `customer` has the account and a key."""

    person: str
    email: str
    member: str = ""
    customer: Customer


def signed_in(shop: Shop, person: Any, area: str, *methods: str, language: str = "en") -> Person:
    """A visitor with a session of this person, who has proved `methods` (`password`, `mfa`) just now."""
    from farebox.accounts.sign_in import sessions
    from farebox.look.sessions import COOKIES

    proofs = [{"method": each, "at": time.time()} for each in methods]
    made = Person(shop, language)
    made.cookies[COOKIES[area]] = sessions.sign_in(person, area=area, methods=proofs)
    made.person, made.email = person.id, person.email
    return made


def person(shop: Shop, *, operator_role: str = "", password: str = "") -> Any:
    """A person of the store with a proved mailbox, without a place anywhere."""
    from farebox.accounts.people import mailboxes, people

    email = f"{uuid.uuid4().hex[:10]}@example.com"
    hashed = people.hashed(password) if password else None
    made = shop.write(
        people.create, email=email, name=f"Person {email[:4]}", password_hash=hashed, operator_role=operator_role,
        now_us=time.time_ns() // 1000, actor="test",
    )  # fmt: skip
    shop.write(mailboxes.mark, made)
    return made


def customer(shop: Shop, usd: str = "1", *, role: str = "owner", of: Person | None = None, **facts: Any) -> Person:
    """A signed-in customer with an account of his own and a key, or with a place in the account `of` somebody else."""
    from farebox.accounts.models import Project
    from farebox.accounts.people import people

    language = facts.pop("language", "en")
    account = shop.account(usd) if of is None else of.customer
    row = person(shop, password=facts.pop("password", ""))
    project = facts.pop("project", None)
    if project is None and role != "owner":
        project = Project.objects.get(account=account.account, name="default").id
    placed = shop.write(
        people.add_member, account=account.account, person=row.id, role=role, project=project,
        now_us=time.time_ns() // 1000, actor="test",
    )  # fmt: skip
    made = signed_in(shop, row, "console", "password", language=language)
    made.customer, made.member = account, placed.id
    return made


def row(visitor: Person) -> Any:
    """The person of the store who is this visitor."""
    from farebox.accounts.models import Person as Row

    return Row.objects.get(id=visitor.person)


def place(shop: Shop, visitor: Person, *, of: Person, role: str = "member") -> str:
    """One more place for a customer, in the account of somebody else; its id."""
    from farebox.accounts.models import Project
    from farebox.accounts.people import people

    project = None if role == "owner" else Project.objects.get(account=of.customer.account, name="default").id
    return shop.write(
        people.add_member, account=of.customer.account, person=visitor.person, role=role, project=project,
        now_us=time.time_ns() // 1000, actor="test",
    ).id  # fmt: skip


def operator(shop: Shop, role: str = "admin", language: str = "en") -> Person:
    """A signed-in operator who has proved both factors."""
    return signed_in(shop, person(shop, operator_role=role), "office", "password", "mfa", language=language)
