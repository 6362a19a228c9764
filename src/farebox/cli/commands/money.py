"""`farebox grant` and `farebox reverse`: money by hand, with a reason."""

from __future__ import annotations

import click

from farebox.cli import show, when
from farebox.kit import clock, ids

from .base import Command, emit, write


@click.command(
    "grant",
    cls=Command,
    example="farebox grant 'Ada Lovelace' 20.00 --reason 'bank transfer of 24 November' --expires 2027-12-31\n"
    "farebox grant 'Ada Lovelace' 20.00 --reason 'bank transfer' --source bank --ref 2026-11-24/17",
)
@click.argument("account")
@click.argument("amount")
@click.option("--reason", required=True, help="Reason, in one line; the books keep it.")
@click.option("--expires", help="When what is left of it expires: 90d, or its last day, 2027-12-31. By default never.")
@click.option("--ref", help="Your own reference: it is booked only once, and refused with another amount.")
@click.option(
    "--source",
    default="",
    help="Where the reference is from, such as bank: then the whole shop books it once, whatever the account.",
)
def grant(account: str, amount: str, reason: str, expires: str | None, ref: str | None, source: str) -> None:
    """Give credit of AMOUNT, in the account's currency, to ACCOUNT.

    Granted credit is spent first and is not refundable. The books record that one person did it; if the option
    single_person is false this is refused, and the office asks for a second person.
    """
    if source and not ref:
        raise click.UsageError("--source says where --ref is from: give --ref too.")
    now_us = clock.now_us()
    sourced = {"source": source} if source else {}  # a server of an earlier version knows no source
    done = write(
        "grant",
        account=account,
        amount_micro=when.amount(amount),
        reason=reason,
        ref=ref or ids.new("cli", now_us),
        **sourced,
        **when.end(expires, now_us=now_us),
    )
    currency = done["currency"]
    said = "was granted before, under this reference, to" if done["repeated"] else "granted to"
    emit(
        done,
        lambda: print(
            f"Entry {done['entry']}: {show.amount(done['amount_micro'], currency)} {said} {done['account']}. "
            f"Balance {show.amount(done['posted_micro'], currency)}, "
            f"available {show.amount(done['available_micro'], currency)}."
        ),
    )


@click.command("reverse", cls=Command, example="farebox reverse ent_0VCo… --reason 'granted to the wrong account'")
@click.argument("entry")
@click.option("--reason", required=True, help="Reason, in one line; the books keep it.")
def reverse(entry: str, reason: str) -> None:
    """Undo ENTRY by its mirror image, once. Nothing in the books is ever changed or deleted.

    `farebox account entries` shows the entries of an account. Refused if the money is spent.
    """
    done = write("reverse", entry=entry, reason=reason)
    balance = f" Balance {show.amount(done['posted_micro'], done['currency'])}." if "posted_micro" in done else ""
    said = "has undone" if done["repeated"] else "undoes"
    already = " before; nothing was done now" if done["repeated"] else ""
    emit(done, lambda: print(f"Entry {done['entry']} {said} {done['reverses']}{already}.{balance}"))


COMMANDS = (grant, reverse)
