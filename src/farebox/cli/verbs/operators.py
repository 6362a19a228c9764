"""Write verbs on operators from the shell: its administrator needs no second person, and the trail says so (I27)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farebox.accounts.people import people
from farebox.accounts.sign_in import operators, setup
from farebox.cli import addresses
from farebox.kit import clock
from farebox.kit.db import Tx


def first(tx: Tx, *, actor: str) -> dict[str, Any]:
    """A one-time link for the first administrator."""
    return {"link": addresses.office(setup.first_code(tx, now_us=clock.now_us(), actor=actor))}


def invite(tx: Tx, *, actor: str, email: str, role: str, name: str = "") -> dict[str, Any]:
    """A role for this address, or another one for an operator; with the one-time link where it makes one."""
    return _change(tx, kind="role", email=email, role=role, name=name, actor=actor)


def reset(tx: Tx, *, actor: str, email: str) -> dict[str, Any]:
    """Reset password and second factors, with a one-time link."""
    return _change(tx, kind="reset", email=email, actor=actor)


def role(tx: Tx, *, actor: str, person: str, role: str) -> dict[str, Any]:
    """Another role, or none, for a person by id or e-mail address; a first one comes by the one-time link."""
    return _change(tx, kind="role", email=people.find(person).email, role=role, actor=actor)


def _change(tx: Tx, *, actor: str, **facts: str) -> dict[str, Any]:
    made = []  # who has the server has its key file too: he may hand the link over himself

    def keep(_tx: Tx, _email: str, _language: str, code: str) -> None:
        made.append(code)

    row, _ = operators.propose(
        tx, why="from the shell", send=keep, now_us=clock.now_us(), actor=actor, alone=True, mailed=False, **facts
    )
    return operators.view(row) | {"link": addresses.office(made[0]) if made else ""}


RUNS: dict[str, Callable[..., Any]] = {
    "operator.set-up": first,
    "operator.invite": invite,
    "operator.reset": reset,
    "person.role": role,
}
