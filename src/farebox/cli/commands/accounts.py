"""`farebox account …`."""

from __future__ import annotations

from typing import Any

import click

from farebox.care import ready
from farebox.cli import show, when
from farebox.kit import money

from .base import Group, emit, read, write

account = Group("account", help="Customers who hold a balance and pay.")
COMMANDS = (account,)


@account.command("open", example="farebox account open 'Ada Lovelace' --currency USD --price-list official-usd")
@click.argument("name")
@click.option("--currency", required=True, help="Currency of its balance, such as USD or CNY; it cannot be changed.")
@click.option("--price-list", required=True, help="Its price list, in that currency.")
@click.option("--time-zone", default="UTC", show_default=True, help="Time zone of its days and months.")
def open_(name: str, currency: str, price_list: str, time_zone: str) -> None:
    """Open an account NAME with balance 0 and a project `default`.

    Next: `farebox grant` gives it money, `farebox key create` a key.
    """
    done = write("account.open", name=name, currency=currency.upper(), price_list=price_list, time_zone=time_zone)
    emit(
        done,
        lambda: print(f"Account {done['id']} ({name}) is open, with the project {done['project']} (default)."),
    )


@account.command("list", example="farebox account list --json")
def list_() -> None:
    """All accounts with their money."""
    ready.store()
    from farebox.accounts import accounts

    rows = read(accounts.list_accounts)
    columns = ("account", "name", "state", "price list", "balance>", "held>", "currency")
    emit(
        rows,
        lambda: show.table(
            columns,
            [
                (
                    row["id"],
                    row["name"],
                    row["state"],
                    row["price_list"],
                    money.text(row["posted_micro"]),
                    money.text(row["held_micro"]),
                    row["currency"],
                )
                for row in rows
            ],
            empty="No account yet. Open one with `farebox account open`.",
        ),
    )


@account.command("show", example="farebox account show 'Ada Lovelace'")
@click.argument("account")
def show_(account: str) -> None:
    """One account: state, money, allowance, granted credit, projects and keys. ACCOUNT is its id or name."""
    ready.store()
    found = read(_whole, account)
    emit(found, lambda: _show(found))


@account.command("entries", example="farebox account entries 'Ada Lovelace' --limit 50")
@click.argument("account")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many, newest first.")
def entries(account: str, limit: int) -> None:
    """The newest entries of an account in the books: grants, charges, reversals, expiries."""
    ready.store()
    rows = read(_entries, account, limit)
    emit(
        rows,
        lambda: show.table(
            ("entry", "at (UTC)", "kind", "reference", "amount>", "who", "why"),
            [
                (
                    row["id"],
                    when.shown(row["at_us"]),
                    row["kind"],
                    f"{row['source']} {row['reference']}" if row["source"] else row["ref"],
                    money.text(row["amount_micro"]),
                    row["requester"],
                    row["note"],
                )
                for row in rows
            ],
            empty="No entry yet. `farebox grant` makes the first.",
        ),
    )


@account.command("freeze", example="farebox account freeze acc_0VCo…")
@click.argument("account")
def freeze(account: str) -> None:
    """Refuse new calls, within a second, until `unfreeze`. Money and keys stay."""
    _moved(write("account.freeze", account=account))


@account.command("unfreeze", example="farebox account unfreeze acc_0VCo…")
@click.argument("account")
def unfreeze(account: str) -> None:
    """Let a frozen account make calls again."""
    _moved(write("account.unfreeze", account=account))


@account.command("bar", example="farebox account bar acc_0VCo…")
@click.argument("account")
def bar(account: str) -> None:
    """Ban an account that broke the rules: no new calls. Its callers read that it is not active."""
    _moved(write("account.bar", account=account))


@account.command("unbar", example="farebox account unbar acc_0VCo…")
@click.argument("account")
def unbar(account: str) -> None:
    """Lift the ban of an account."""
    _moved(write("account.unbar", account=account))


@account.command("close", example="farebox account close acc_0VCo…")
@click.argument("account")
@click.option("--leave-money", is_flag=True, help="Close it although money is left; that stays in the books.")
def close(account: str, leave_money: bool) -> None:
    """Close an account permanently; its keys are revoked. Refused while it has money."""
    _moved(write("account.close", account=account, leave_money=leave_money))


@account.command("price-list", example="farebox account price-list 'Ada Lovelace' student-usd")
@click.argument("account")
@click.argument("price_list")
def price_list(account: str, price_list: str) -> None:
    """Sell to ACCOUNT by another PRICE_LIST of the same currency, for calls that begin after this."""
    done = write("account.price-list", account=account, price_list=price_list)
    emit(done, lambda: print(f"Account {done['id']} now pays by the price list {done['price_list']}."))


@account.command("rename", example="farebox account rename acc_0VCo… 'Ada King'")
@click.argument("account")
@click.argument("name")
def rename(account: str, name: str) -> None:
    """Give ACCOUNT another NAME."""
    done = write("account.rename", account=account, name=name)
    emit(done, lambda: print(f"Account {done['id']} is now called {done['name']}."))


@account.command("trust", example="farebox account trust 'Ada Lovelace'")
@click.argument("account")
@click.option("--off", is_flag=True, help="No longer trust it: its allowance applies again.")
def trust(account: str, off: bool) -> None:
    """Trust ACCOUNT: its failed calls are free without a limit (charging rules, version 2).

    No approval is needed from the shell; in the office another administrator approves it.
    """
    done = write("account.trust", account=account, trusted=not off)
    emit(done, lambda: print(f"Account {done['id']} is {'trusted' if done['trusted'] else 'no longer trusted'}."))


@account.command("allowance", example="farebox account allowance 'Ada Lovelace' 20.00")
@click.argument("account")
@click.argument("most", required=False)
def allowance(account: str, most: str | None) -> None:
    """Set the maximum of an account's allowance for failed calls to MOST, and fill it up to that.

    MOST is an amount in the account's currency; without it the shop's options apply again. No approval is needed
    from the shell; in the office another administrator approves what gives more.
    """
    most_micro = None if most is None else when.amount(most)
    done = write("account.allowance", account=account, most_micro=most_micro)
    emit(done, lambda: print(f"Account {done['id']}: allowance {_allowance(done['allowance'], done['currency'])}."))


def _allowance(found: dict[str, Any], currency: str) -> str:
    if found["trusted"]:
        return "none, for the account is trusted"
    if found["left_micro"] is None:
        own = "as the options say" if found["set_micro"] is None else show.amount(found["set_micro"], currency)
        return f"not counted yet (rules version 1); at most {own}"
    return f"{show.amount(found['left_micro'], currency)} left of at most {show.amount(found['most_micro'], currency)}"


def _moved(done: dict[str, Any]) -> None:
    emit(done, lambda: print(f"Account {done['id']} ({done['name']}) is {done['state']}."))


def _whole(tx: Any, account: str) -> dict[str, Any]:
    from farebox.accounts import accounts, forgiving, projects
    from farebox.accounts.keys import keys
    from farebox.accounts.people import people
    from farebox.kit import clock
    from farebox.ledger import holds, lots

    found = accounts.find(account)
    posted_micro, held_micro, available_micro = holds.balance(tx, found.id)
    granted, left = lots.lots_of(tx, found.id)
    return accounts.view(found) | {
        "posted_micro": posted_micro,
        "held_micro": held_micro,
        "available_micro": available_micro,
        "allowance": forgiving.facts(tx, found.id, clock.now_us()),
        "credit": [
            {
                "id": lot.id,
                "amount_micro": lot.amount_micro,
                "left_micro": left[lot.id],
                "expires_us": lot.expires_us,
            }
            for lot in granted
        ],
        "projects": projects.list_projects(tx, account=found.id),
        "keys": keys.list_keys(tx, account=found.id),
        "members": people.list_members(tx, account=found.id),
    }


def _show(found: dict[str, Any]) -> None:
    currency = found["currency"]
    show.facts(
        [
            ("account", found["id"]),
            ("name", found["name"]),
            ("state", found["state"]),
            ("price list", found["price_list"]),
            ("time zone", found["time_zone"]),
            ("opened (UTC)", when.shown(found["created_us"])),
            ("balance", show.amount(found["posted_micro"], currency)),
            ("held", show.amount(found["held_micro"], currency)),
            (
                "available",
                "no floor" if found["kind"] == "house" else show.amount(found["available_micro"], currency),
            ),
            ("allowance", _allowance(found["allowance"], currency)),
            ("projects", ", ".join(f"{row['name']} ({row['id']})" for row in found["projects"])),
            ("members", len(found["members"])),
        ]
    )
    if found["credit"]:
        print()
        show.table(
            ("granted credit", "granted>", "left>", "expires (UTC)"),
            [
                (
                    row["id"],
                    show.amount(row["amount_micro"], currency),
                    show.amount(row["left_micro"], currency),
                    "never" if row["expires_us"] is None else when.shown(row["expires_us"]),
                )
                for row in found["credit"]
            ],
            empty="",
        )
    print()
    show.table(
        ("key", "name", "hint", "state"),
        [(row["id"], row["name"], row["hint"], row["state"]) for row in found["keys"]],
        empty="No key yet. Make one with `farebox key create`.",
    )


def _entries(_tx: Any, account: str, limit: int) -> list[dict[str, Any]]:
    from farebox.accounts import accounts
    from farebox.ledger.models import Entry, Posting, Reference

    found = accounts.find(account)
    rows = list(Entry.objects.filter(account=found.id).order_by("-at_us", "-id")[:limit])
    # By entry alone: by account SQLite would walk through everything a large one was ever charged.
    lines = Posting.objects.filter(entry__in=[row.id for row in rows]).values_list(
        "entry_id", "account", "amount_micro"
    )
    named = Reference.objects.filter(entry__in=[row.id for row in rows])
    outside = {row.entry: (row.source, row.reference) for row in named}
    amounts = {entry: amount_micro for entry, whose, amount_micro in lines if whose == found.id}
    return [
        {
            "id": row.id,
            "at_us": row.at_us,
            "kind": row.kind,
            "ref": row.ref,
            "source": outside.get(row.id, ("", ""))[0],
            "reference": outside.get(row.id, ("", ""))[1],
            "amount_micro": amounts.get(row.id, 0),
            "currency": row.currency,
            "requester": row.requester,
            "single_person": row.single_person,
            "note": row.note,
        }
        for row in rows
    ]
