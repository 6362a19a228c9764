"""`farebox person …` and `farebox member …`."""

from __future__ import annotations

import sys

import click

from farebox.care import ready
from farebox.cli import cap_words, show
from farebox.kit.errors import CommandError

from . import operators
from .base import Group, emit, read, write

person = Group("person", help="Humans who sign in: members of accounts, and operators.")
member = Group("member", help="Memberships: people's places in accounts.")
COMMANDS = (person, member)
ROLES = click.Choice(["support", "finance", "admin", "auditor", "none"])


@person.command("create", example="farebox person create ada@example.org --name 'Ada Lovelace' --role finance")
@click.argument("email")
@click.option("--name", default="", help="The person's name.")
@click.option("--role", type=ROLES, default="none", show_default=True, help="Operator's role; none for a customer.")
@click.option(
    "--password",
    "with_password",
    is_flag=True,
    help="Ask for a password (read from standard input in scripts).",
)
def create(email: str, name: str, role: str, with_password: bool) -> None:
    """Create a person with this EMAIL address. With a role, the same as `farebox operator invite`."""
    if role != "none":
        if with_password:
            raise CommandError("An operator chooses a password by the link. Leave --password out.")
        offered = write("operator.invite", email=email, name=name, role=role)
        emit(offered, lambda: operators.tell(offered))
        return
    ready.store()
    password_hash = None
    if with_password:
        from farebox.accounts.people import people

        password_hash = people.hashed(_password(), own_words=(email, name or email))
    done = write(
        "person.create",
        email=email,
        name=name,
        password_hash=password_hash,
    )
    emit(done, lambda: print(f"Person {done['id']} ({done['email']}) is here."))


@person.command("role", example="farebox person role ada@example.org auditor")
@click.argument("person")
@click.argument("role", type=ROLES)
def role(person: str, role: str) -> None:
    """Give PERSON (id or e-mail) an operator's ROLE, by a link if it is the first one; `none` removes it."""
    done = write("person.role", person=person, role="" if role == "none" else role)
    emit(done, lambda: operators.tell(done))


@person.command("off", example="farebox person off ada@example.org")
@click.argument("person")
@click.option("--keys", is_flag=True, help="Also revoke the API keys of this person's memberships.")
def off(person: str, keys: bool) -> None:
    """Switch PERSON (id or e-mail) off everywhere, within a second: sessions, links, invitations, tokens.

    Balances and the other keys of the accounts stay as they are: `farebox account freeze` stops those.
    """
    done = write("person.off", person=person, keys=keys)
    ended = ", ".join(f"{n:,} {what}" for what, n in done["ended"].items() if n) or "nothing was open"
    emit(done, lambda: print(f"{done['email']} is switched off: {ended}."))


@person.command("on", example="farebox person on ada@example.org")
@click.argument("person")
def on(person: str) -> None:
    """Let PERSON sign in again, with the same password and factors."""
    done = write("person.on", person=person)
    emit(done, lambda: print(f"{done['email']} may sign in again."))


@person.command("sign-out", example="farebox person sign-out ada@example.org")
@click.argument("person")
def sign_out(person: str) -> None:
    """End all sessions of PERSON, in console and office, within a second."""
    done = write("person.sign-out", person=person)
    emit(done, lambda: print(f"{done['email']} is signed out: {done['ended']['sessions']:,} sessions."))


@member.command("add", example="farebox member add 'Ada Lovelace' ada@example.org owner")
@click.argument("account")
@click.argument("person")
@click.argument("role", type=click.Choice(["owner", "admin", "member"]))
@click.option("--project", help="Only in this project; an admin needs one.")
@click.option("--cap", "caps", multiple=True, help=cap_words.HELP)
def add(account: str, person: str, role: str, project: str | None, caps: tuple[str, ...]) -> None:
    """Give PERSON a place in ACCOUNT, with a ROLE."""
    given = cap_words.read(caps)
    done = write("member.add", account=account, person=person, role=role, project=project, caps_micro=given)
    emit(done, lambda: print(f"Member {done['id']} is {done['role']} in account {done['account']}."))


@member.command("list", example="farebox member list 'Ada Lovelace'")
@click.argument("account")
def list_(account: str) -> None:
    """The members of ACCOUNT, removed ones included."""
    ready.store()
    from farebox.accounts.people import people

    rows = read(people.list_members, account=account)
    emit(
        rows,
        lambda: show.table(
            ("member", "person", "role", "project", "state", "caps"),
            [
                (
                    row["id"],
                    row["person"],
                    row["role"],
                    row["project"],
                    row["state"],
                    cap_words.shown(row["caps_micro"]),
                )
                for row in rows
            ],
            empty="No member yet. Add one with `farebox member add`.",
        ),
    )


@member.command("cap", example="farebox member cap mem_0VCo… 1.00/day 5.00/month")
@click.argument("member")
@click.argument("caps", nargs=-1, required=True)
def cap(member: str, caps: tuple[str, ...]) -> None:
    """Limit what the keys of MEMBER may cost: CAPS such as 5.00/day, 50/month, 200/ever; others do not change.

    `none/day` removes that cap, `none` all of them.
    """
    done = write("member.cap", member=member, caps_micro=cap_words.read(caps))
    emit(done, lambda: print(f"Member {done['id']}: cap {cap_words.shown(done['caps_micro'])}."))


@member.command("remove", example="farebox member remove mem_0VCo…")
@click.argument("member")
def remove(member: str) -> None:
    """Remove MEMBER from the account; the member's keys are revoked."""
    done = write("member.remove", member=member)
    emit(done, lambda: print(f"Member {done['id']} is removed, and their keys are revoked."))


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    typed = str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    if not typed:
        raise CommandError("The password is empty.")
    return typed
