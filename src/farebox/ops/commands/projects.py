"""`farebox project …`, and what every command that sets a cap has in common."""

from __future__ import annotations

from typing import Any

import click

from farebox.ops import ready, show, when

from .base import Group, emit, read, write

project = Group("project", help="Divisions of an account, with keys and a cap of their own.")
COMMANDS = (project,)
PERIODS = click.Choice(["day", "month", "ever"])


@project.command("create", example="farebox project create 'Ada Lovelace' engine")
@click.argument("account")
@click.argument("name")
def create_project(account: str, name: str) -> None:
    """A new project NAME of ACCOUNT."""
    done = write("project.create", account=account, name=name)
    emit(done, lambda: print(f"Project {done['id']} ({done['name']}) of account {done['account']} is made."))


@project.command("list", example="farebox project list 'Ada Lovelace'")
@click.argument("account", required=False)
def list_projects(account: str | None) -> None:
    """The projects of ACCOUNT, or of all accounts."""
    ready.store()
    from farebox.accounts import projects

    rows = read(projects.list_projects, account=account)
    emit(
        rows,
        lambda: show.table(
            ("project", "account", "name", "state", "cap"),
            [
                (
                    row["id"],
                    row["account"],
                    row["name"],
                    row["state"],
                    show.cap(row["cap_micro"], row["cap_period"]),
                )
                for row in rows
            ],
            empty="No project yet.",
        ),
    )


@project.command("cap", example="farebox project cap 'Ada Lovelace/engine' 20.00 month")
@click.argument("project")
@click.argument("amount")
@click.argument("period", type=PERIODS, required=False)
def cap_project(project: str, amount: str, period: str | None) -> None:
    """Limit what the calls of PROJECT may cost: AMOUNT per day, month or ever; AMOUNT `none` lifts the limit.

    PROJECT is its id, or account/project by names.
    """
    done = write("project.cap", project=project, **cap_arguments(amount, period))
    emit(done, lambda: print(f"Project {done['id']}: cap {show.cap(done['cap_micro'], done['cap_period'])}."))


@project.command("archive", example="farebox project archive 'Ada Lovelace/engine'")
@click.argument("project")
def archive_project(project: str) -> None:
    """Take PROJECT out of use for good; its keys are revoked, its calls stay on record."""
    done = write("project.archive", project=project)
    emit(done, lambda: print(f"Project {done['id']} is archived, its keys are revoked."))


def cap_arguments(amount: str, period: str | None) -> dict[str, Any]:
    """The arguments of a cap verb; usage is wrong where an amount lacks its period."""
    if amount == "none":
        return {"cap_micro": None, "cap_period": ""}
    if period is None:
        raise click.UsageError("Say for which period the cap is: day, month or ever.")
    return {"cap_micro": when.amount(amount), "cap_period": period}
