"""Write verbs on accounts, projects, persons and members. Amounts in micro-units, times in epoch microseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from farebox.accounts import accounts, forgiving, projects
from farebox.accounts.caps import Caps
from farebox.accounts.people import people
from farebox.accounts.sign_in import switching
from farebox.kit import clock
from farebox.kit.db import Tx
from farebox.look import owners


def open_account(
    tx: Tx, *, actor: str, name: str, currency: str, price_list: str, time_zone: str = "UTC"
) -> dict[str, Any]:
    """Open an account with balance 0 and a project `default`."""
    account, project = accounts.open_account(
        tx,
        name=name,
        currency=currency,
        price_list=price_list,
        time_zone=time_zone,
        now_us=clock.now_us(),
        actor=actor,
    )
    return accounts.view(account) | {"project": project.id}


def freeze(tx: Tx, *, actor: str, account: str) -> dict[str, Any]:
    """No new calls until unfrozen."""
    return accounts.view(accounts.freeze(tx, account, actor=actor))


def unfreeze(tx: Tx, *, actor: str, account: str) -> dict[str, Any]:
    """Calls again."""
    return accounts.view(accounts.unfreeze(tx, account, actor=actor))


def bar(tx: Tx, *, actor: str, account: str) -> dict[str, Any]:
    """No new calls: the account broke the rules."""
    return accounts.view(accounts.bar(tx, account, actor=actor))


def unbar(tx: Tx, *, actor: str, account: str) -> dict[str, Any]:
    """Calls again."""
    return accounts.view(accounts.unbar(tx, account, actor=actor))


def close(tx: Tx, *, actor: str, account: str, leave_money: bool = False) -> dict[str, Any]:
    """Close permanently; refused while money is left, unless it may stay in the books."""
    closed = accounts.close(tx, account, leave_money=leave_money, now_us=clock.now_us(), actor=actor)
    return accounts.view(closed)


def set_price_list(tx: Tx, *, actor: str, account: str, price_list: str) -> dict[str, Any]:
    """Sell by another price list of the same currency from now on."""
    return accounts.view(accounts.set_price_list(tx, account, price_list=price_list, actor=actor))


def rename(tx: Tx, *, actor: str, account: str, name: str) -> dict[str, Any]:
    """Another name."""
    return accounts.view(accounts.rename(tx, account, name=name, actor=actor))


def trust(tx: Tx, *, actor: str, account: str, trusted: bool = True) -> dict[str, Any]:
    """Let what this account is forgiven draw on no allowance, or on its allowance again."""
    return accounts.view(forgiving.trust(tx, account, trusted=trusted, actor=actor))


def set_allowance(tx: Tx, *, actor: str, account: str, most_micro: int | None) -> dict[str, Any]:
    """Another maximum of an account's allowance, which is filled up to it; None for the shop's own."""
    found = accounts.find(account)
    forgiving.set_most(tx, found.id, most_micro=most_micro, now_us=clock.now_us(), actor=actor)
    return accounts.view(found) | {"allowance": forgiving.facts(tx, found.id, clock.now_us())}


def create_project(tx: Tx, *, actor: str, account: str, name: str) -> dict[str, Any]:
    """A new project of an account."""
    return projects.view(projects.create(tx, account=account, name=name, now_us=clock.now_us(), actor=actor))


def cap_project(tx: Tx, *, actor: str, project: str, caps_micro: Mapping[str, int | None]) -> dict[str, Any]:
    """Limit what a project may spend per `day`, `month` or `ever`; None lifts that limit, others stay."""
    return projects.view(projects.set_caps(tx, project, caps_micro, now_us=clock.now_us(), actor=actor))


def archive_project(tx: Tx, *, actor: str, project: str) -> dict[str, Any]:
    """Take a project out of use permanently, its keys with it."""
    return projects.view(projects.archive(tx, project, now_us=clock.now_us(), actor=actor))


def create_person(
    tx: Tx,
    *,
    actor: str,
    email: str,
    name: str = "",
    password_hash: str | None = None,
) -> dict[str, Any]:
    """A new person; the password comes hashed, since hashing takes longer than a transaction may."""
    person = people.create(
        tx,
        email=email,
        name=name,
        password_hash=password_hash,
        now_us=clock.now_us(),
        actor=actor,
    )
    return people.view(person)


def add_member(
    tx: Tx,
    *,
    actor: str,
    account: str,
    person: str,
    role: str,
    project: str | None = None,
    caps_micro: Mapping[str, int | None] | None = None,
) -> dict[str, Any]:
    """Give a person a place in an account."""
    member = people.add_member(
        tx,
        account=account,
        person=person,
        role=role,
        project=project,
        caps=Caps.given(caps_micro or {}),
        now_us=clock.now_us(),
        actor=actor,
    )
    if role == "owner":
        owners.joined(tx, member, actor=actor)
    return people.view_member(member)


def cap_member(tx: Tx, *, actor: str, member: str, caps_micro: Mapping[str, int | None]) -> dict[str, Any]:
    """Limit what a member's keys may spend per `day`, `month` or `ever`; None lifts that limit, others stay."""
    return people.view_member(people.set_caps(tx, member, caps_micro, now_us=clock.now_us(), actor=actor))


def remove_member(tx: Tx, *, actor: str, member: str) -> dict[str, Any]:
    """Take a member out of an account; their keys are revoked."""
    return people.view_member(people.remove_member(tx, member, now_us=clock.now_us(), actor=actor))


def person_off(tx: Tx, *, actor: str, person: str, keys: bool = False) -> dict[str, Any]:
    """Switch a person off everywhere at once."""
    return switching.off(tx, person, keys=keys, now_us=clock.now_us(), actor=actor)


def person_on(tx: Tx, *, actor: str, person: str) -> dict[str, Any]:
    """Let a person in again."""
    return switching.on(tx, person, actor=actor)


def person_sign_out(tx: Tx, *, actor: str, person: str) -> dict[str, Any]:
    """End all sessions of a person."""
    return switching.sign_out(tx, person, now_us=clock.now_us(), actor=actor)


RUNS: dict[str, Callable[..., Any]] = {
    "account.open": open_account,
    "account.freeze": freeze,
    "account.unfreeze": unfreeze,
    "account.bar": bar,
    "account.unbar": unbar,
    "account.close": close,
    "account.price-list": set_price_list,
    "account.rename": rename,
    "account.trust": trust,
    "account.allowance": set_allowance,
    "project.create": create_project,
    "project.cap": cap_project,
    "project.archive": archive_project,
    "person.create": create_person,
    "member.add": add_member,
    "member.cap": cap_member,
    "member.remove": remove_member,
    "person.off": person_off,
    "person.on": person_on,
    "person.sign-out": person_sign_out,
}
