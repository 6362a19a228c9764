"""`farebox operator …`: who works in the office, and how somebody gets in."""

from __future__ import annotations

from typing import Any

import click

from farebox.care import ready
from farebox.cli import show

from .base import Group, emit, read, write

operator = Group("operator", help="Operators of the office: the first administrator, invitations, lost access.")
COMMANDS = (operator,)
ROLES = click.Choice(["support", "finance", "admin", "auditor"])


@operator.command("set-up", example="farebox operator set-up")
def set_up() -> None:
    """Print a link for the first administrator, valid for an hour, which ends earlier ones.

    Only while there is no operator.
    """
    done = write("operator.set-up")
    emit(done, lambda: print(f"Become the first administrator within an hour:\n  {done['link']}"))


@operator.command("invite", example="farebox operator invite ada@example.org --role admin --name 'Ada Lovelace'")
@click.argument("email")
@click.option("--role", type=ROLES, default="support", show_default=True, help="What the operator may do.")
@click.option("--name", default="", help="The operator's name.")
def invite(email: str, role: str, name: str) -> None:
    """Offer EMAIL a role: print the link that accepts it and sets a password and a second factor.

    The role takes effect once the link was used; earlier links, passwords and factors of the address
    end then. For an operator: another role immediately, without a link; sessions and tokens end.
    """
    done = write("operator.invite", email=email, role=role, name=name)
    emit(done, lambda: tell(done))


def tell(done: dict[str, Any]) -> None:
    """Say what came of a change of an operator: the link to hand over, or that it is in force."""
    if done["link"]:
        print(f"Hand this link to {done['email']}; it works once, within 72 hours:\n  {done['link']}")
    else:
        print(f"{done['email']}: operator role {done['role_after'] or 'none'}. Sessions and tokens have ended.")


@operator.command("reset", example="farebox operator reset ada@example.org")
@click.argument("email")
def reset(email: str) -> None:
    """Let the operator EMAIL in again: remove password and second factors, and print a link that sets new ones."""
    done = write("operator.reset", email=email)
    emit(done, lambda: tell(done))


@operator.command("list", example="farebox operator list")
def list_() -> None:
    """The operators with their roles and second factors."""
    ready.store()
    from farebox.accounts.sign_in import operators

    rows = read(operators.listed)
    emit(
        rows,
        lambda: show.table(
            ("operator", "name", "role", "second factors"),
            [
                (row["email"], row["name"], row["operator_role"], ", ".join(row["factors"]) or "none yet")
                for row in rows
            ],
            empty="No operator yet. `farebox operator set-up` makes the link for the first one.",
        ),
    )
