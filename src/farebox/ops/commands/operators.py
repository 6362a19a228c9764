"""`farebox operator …`: who works in the office, and how somebody gets in."""

from __future__ import annotations

import click

from farebox.ops import ready, show

from .base import Group, emit, read, write

operator = Group("operator", help="Who works in the office: the first administrator, and who can't get in.")
COMMANDS = (operator,)
ROLES = click.Choice(["support", "finance", "admin", "auditor"])


@operator.command("set-up", example="farebox operator set-up")
def set_up() -> None:
    """A link for the first administrator, valid for an hour; earlier ones end. Only while there is no operator."""
    done = write("operator.set-up")
    emit(done, lambda: print(f"Become the first administrator within an hour:\n  {done['link']}"))


@operator.command("invite", example="farebox operator invite ada@example.org --role admin --name 'Ada Lovelace'")
@click.argument("email")
@click.option("--role", type=ROLES, default="support", show_default=True, help="What the operator may do.")
@click.option("--name", default="", help="How the operator is called.")
def invite(email: str, role: str, name: str) -> None:
    """A new operator with this EMAIL address, and the link with which to choose a password and a second factor."""
    done = write("operator.invite", email=email, role=role, name=name)
    emit(done, lambda: print(f"Hand this link to {done['email']}; it works once, within 72 hours:\n  {done['link']}"))


@operator.command("reset", example="farebox operator reset ada@example.org")
@click.argument("email")
def reset(email: str) -> None:
    """Let the operator EMAIL in again: password and second factors end, a link makes new ones."""
    done = write("operator.reset", email=email)
    emit(done, lambda: print(f"Hand this link to {done['email']}; it works once, within 72 hours:\n  {done['link']}"))


@operator.command("list", example="farebox operator list")
def list_() -> None:
    """The operators with their roles and second factors."""
    ready.store()
    from farebox.accounts import operators

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
