"""`farebox project …`."""

from __future__ import annotations

import click

from farebox.care import ready
from farebox.cli import cap_words, show

from .base import Group, emit, read, write

project = Group("project", help="Divisions of an account, with keys and a cap of their own.")
COMMANDS = (project,)


@project.command("create", example="farebox project create 'Ada Lovelace' engine")
@click.argument("account")
@click.argument("name")
def create_project(account: str, name: str) -> None:
    """Create a project NAME of ACCOUNT."""
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
            ("project", "account", "name", "state", "caps"),
            [
                (
                    row["id"],
                    row["account"],
                    row["name"],
                    row["state"],
                    cap_words.shown(row["caps_micro"]),
                )
                for row in rows
            ],
            empty="No project yet.",
        ),
    )


@project.command("cap", example="farebox project cap 'Ada Lovelace/engine' 2.00/day 20.00/month")
@click.argument("project")
@click.argument("caps", nargs=-1, required=True)
def cap_project(project: str, caps: tuple[str, ...]) -> None:
    """Limit what the calls of PROJECT may cost: CAPS such as 5.00/day, 50/month, 200/ever; others do not change.

    `none/day` removes that cap, `none` all of them. PROJECT is its id, or account/project by names.
    """
    done = write("project.cap", project=project, caps_micro=cap_words.read(caps))
    emit(done, lambda: print(f"Project {done['id']}: cap {cap_words.shown(done['caps_micro'])}."))


@project.command("archive", example="farebox project archive 'Ada Lovelace/engine'")
@click.argument("project")
def archive_project(project: str) -> None:
    """Archive PROJECT permanently; its keys are revoked, its calls stay on record."""
    done = write("project.archive", project=project)
    emit(done, lambda: print(f"Project {done['id']} is archived, its keys are revoked."))
