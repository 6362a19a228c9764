"""`farebox call …` and `farebox usage`: what was called, and what it cost."""

from __future__ import annotations

from typing import Any

import click

from farebox.care import ready
from farebox.cli import show, when
from farebox.kit import money
from farebox.kit.errors import CommandError

from .base import Command, Group, emit, read

call = Group("call", help="Calls and their receipts.")


@call.command("list", example="farebox call list --account 'Ada Lovelace' --limit 50")
@click.option("--account", help="Of this account; by default of all.")
@click.option("--key", help="Of this key (its id).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many, newest first.")
def list_(account: str | None, key: str | None, limit: int) -> None:
    """The newest calls: what was asked, how each ended, and what it cost."""
    ready.store()
    rows = read(_calls, account, key, limit)
    emit(
        rows,
        lambda: show.table(
            (
                "call",
                "begun (UTC)",
                "account",
                "model",
                "outcome",
                "rule",
                "status>",
                "in>",
                "out>",
                "charge>",
                "",
            ),
            [
                (
                    row["id"],
                    when.shown(row["opened_us"]),
                    row["account"],
                    row["asked"],
                    row["outcome"],
                    row["rule"],
                    row["status"],
                    row["input_tokens"],
                    row["output_tokens"],
                    "–" if row["charge_micro"] is None else money.text(row["charge_micro"]),
                    row["currency"],
                )
                for row in rows
            ],
            empty="No call yet.",
        ),
    )


@call.command("show", example="farebox call show call_0VCo…")
@click.argument("call")
def show_(call: str) -> None:
    """The receipt of CALL: units x price = amount, the total, price list and rule at the foot; then the attempts."""
    ready.store()
    found = read(_receipt, call)
    emit(found, lambda: _print(found))


@click.command("usage", cls=Command, example="farebox usage --from 2026-11-01 --by model")
@click.option("--account", help="Of this account; by default of all.")
@click.option("--from", "from_day", help="From this UTC day, such as 2026-11-01; by default from the first.")
@click.option("--until", "until_day", help="Until this UTC day, included.")
@click.option(
    "--by",
    type=click.Choice(["day", "model", "account", "project", "key", "channel"]),
    default="day",
    show_default=True,
    help="One row for each.",
)
@click.option("--refusals", is_flag=True, help="Instead: how many requests were refused, by day, account and code.")
def usage(account: str | None, from_day: str | None, until_day: str | None, by: str, *, refusals: bool) -> None:
    """Calls, tokens, charges and what they cost us, from the day totals.

    Requests that were refused before money was held are not calls; --refusals counts them.
    """
    ready.store()
    if refusals:
        _show_refusals(read(_refusals, account, from_day, until_day))
        return
    rows = read(_usage, account, from_day, until_day, by)
    emit(
        rows,
        lambda: show.table(
            (by, "calls>", "input tokens>", "output tokens>", "charged>", "", "our cost>", ""),
            [
                (
                    row[by],
                    row["calls"],
                    row["input_tokens"],
                    row["output_tokens"],
                    money.text(row["charge_micro"]),
                    row["currency"],
                    money.text(row["cost_micro"]),
                    row["cost_currency"],
                )
                for row in rows
            ],
            empty="No call in that time.",
        ),
    )


def _show_refusals(rows: list[dict[str, Any]]) -> None:
    emit(
        rows,
        lambda: show.table(
            ("day", "account", "code", "refused>"),
            [(row["day"], row["account"] or "(unknown)", row["code"] or "(none)", row["refusals"]) for row in rows],
            empty="No request was refused in that time.",
        ),
    )


def _calls(_tx: Any, account: str | None, key: str | None, limit: int) -> list[dict[str, Any]]:
    import json

    from farebox.accounts import accounts
    from farebox.accounts.keys import keys
    from farebox.calls.models import Call
    from farebox.catalog import usage as usages

    rows = Call.objects.order_by("-id")
    if account is not None:
        rows = rows.filter(account=accounts.find(account).id)
    if key is not None:
        rows = rows.filter(key=keys.find(key).id)
    out = []
    for row in rows[:limit]:
        used = usages.of(json.loads(row.usage))
        out.append(
            {
                "id": row.id,
                "account": row.account,
                "key": row.key,
                "endpoint": row.endpoint,
                "model": row.model,
                "asked": row.asked,
                "opened_us": row.opened_us,
                "ended_us": row.ended_us,
                "outcome": row.outcome,
                "rule": row.rule,
                "status": row.status,
                "input_tokens": used.input_tokens,
                "output_tokens": used.output_tokens,
                "charge_micro": row.charge_micro,
                "currency": row.currency,
            }
        )
    return out


def _receipt(tx: Any, call: str) -> dict[str, Any]:
    from farebox.calls import log
    from farebox.calls.models import Call

    row = Call.objects.filter(id=call).first()
    found = None if row is None else log.receipt(tx, call, row.account)
    if found is None:
        raise CommandError(f"There is no call {call[:60]!r}. `farebox call list` shows the newest.")
    found["upstream_attempts"] = log.attempts(tx, call)
    # As it came: the machine's administrator may see all.
    found["reported"] = log.reported(tx, call, found["account"])
    return found


def _print(found: dict[str, Any]) -> None:
    print(show.ticket(found))
    print()
    show.table(
        ("attempt>", "channel", "model there", "outcome", "status>", "charged", "our cost>", "", "why"),
        [
            (
                row["n"],
                row["channel"],
                row["model"],
                row["outcome"],
                row["status"],
                bool(row["charged"]),
                "–" if row["cost_micro"] is None else money.text(row["cost_micro"]),
                row["cost_currency"],
                row["error"],
            )
            for row in found["upstream_attempts"]
        ],
        empty="No attempt at an upstream.",
    )


def _usage(_tx: Any, account: str | None, from_day: str | None, until_day: str | None, by: str) -> list[dict[str, Any]]:
    from django.db.models import Sum

    from farebox.accounts import accounts
    from farebox.calls.models import DayTotal

    rows = DayTotal.objects.all()
    if account is not None:
        rows = rows.filter(account=accounts.find(account).id)
    if from_day is not None:
        rows = rows.filter(day__gte=from_day)
    if until_day is not None:
        rows = rows.filter(day__lte=until_day)
    figures = ("calls", "input_tokens", "output_tokens", "charge_micro", "cost_micro")
    heads = (by, "currency", "cost_currency")
    found = rows.values(*heads).order_by(*heads).annotate(**{f"sum_{name}": Sum(name) for name in figures})
    return [{name: row[name] for name in heads} | {name: int(row[f"sum_{name}"]) for name in figures} for row in found]


def _refusals(_tx: Any, account: str | None, from_day: str | None, until_day: str | None) -> list[dict[str, Any]]:
    from farebox.accounts import accounts
    from farebox.calls.models import RefusalTotal

    rows = RefusalTotal.objects.order_by("day", "account", "code")
    if account is not None:
        rows = rows.filter(account=accounts.find(account).id)
    if from_day is not None:
        rows = rows.filter(day__gte=from_day)
    if until_day is not None:
        rows = rows.filter(day__lte=until_day)
    return [dict(row) for row in rows.values("day", "account", "code", "refusals")]


COMMANDS = (call, usage)
