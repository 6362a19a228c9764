"""The request log with its search, and the receipt of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from farebox.calls import receipts, search
from farebox.calls.search import CallPage, CallRow, Wanted
from farebox.console import labels, scoped
from farebox.console.principal import Principal, signed_in
from farebox.console.rules import rules
from farebox.console.scoped import Names
from farebox.kit import clock, db, money
from farebox.kit.db import Tx
from farebox.ledger import given
from farebox.look import called
from farebox.protocol import counters

from . import call_words

PAGE = 50
_TEXT_CHARS_MAX = 128
_RULES = sorted(set(rules.NUMBERS) - {"R01", "R26", "R33"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form says, as it was typed; `wrong` names the fields that can't be read."""

    fields: Mapping[str, str]
    wanted: Wanted
    wrong: tuple[str, ...]

    @property
    def query(self) -> str:
        """The same as a query, without what is empty."""
        return urlencode({name: value for name, value in self.fields.items() if value})


@require_safe
@signed_in
def page(request: HttpRequest, me: Principal) -> HttpResponse:
    """The calls that are asked for, newest first."""
    ident = request.GET.get("id", "").strip()[:_TEXT_CHARS_MAX]
    if ident and receipts.is_id(ident) and db.read(receipts.read, ident, scoped.scope(me)) is not None:
        return HttpResponseRedirect(reverse("call", args=[ident]))
    before = request.GET.get("before", "")
    if before and not receipts.is_id(before):
        before = ""
    names = scoped.names(me)
    asked = read_form(request.GET, names, me.time_zone)
    none = bool(ident or asked.wrong)
    found = CallPage((), None) if none else db.read(_page, me, asked.wanted, before)
    refunds = db.read(given.by_call, me.account, [row.id for row in found.rows])
    context = {
        "asked": asked,
        "ident": ident,
        "rows": [_shown(row, names, refunds.get(row.id, 0)) for row in found.rows],
        "several_projects": len(names.projects) > 1,
        "several_members": len(names.members) > 1,
        "older": f"?{urlencode({'before': found.after})}&{asked.query}" if found.after else "",
        "looked_until_us": found.looked_until_us,
        "first_page": not before,
        "searched": bool(asked.query or ident),
        "pickers": scoped.pickers(names, asked.fields),
        "outcomes": [
            (name, word, name == asked.wanted.outcome) for name, (word, _colour) in call_words.OUTCOMES.items()
        ],
        "rules": [(number, number == asked.wanted.rule) for number in _RULES],
        "zone": me.time_zone,
    }
    return render(request, "console/calls.html", context)


@require_safe
@signed_in
def receipt(request: HttpRequest, me: Principal, call: str) -> HttpResponse:
    """What a call used, what that cost, and why."""
    found = db.read(receipts.read, call, scoped.scope(me)) if receipts.is_id(call) else None
    if found is None:
        raise Http404
    if found["outcome"] != "open" and not db.read(receipts.seen, me.account):
        db.write(receipts.saw, me.account, call, now_us=clock.now_us())
    names = scoped.names(me)
    rule = rules.rule(found["rule"], found["rule_version"])
    word, colour = call_words.outcome(found["outcome"])
    context = {
        "call": found,
        "charge_micro": found["charge_micro"],
        **_sums(found),
        "same": found["due_micro"] == found["charge_micro"],
        **_less(found),
        "refunded_micro": found["charge"]["refunded_micro"],
        "net_micro": (found["charge_micro"] or 0) - (found["charge"]["refunded_micro"] or 0),
        "rule": rule,
        "outcome": word,
        "colour": colour,
        "kind": called.KINDS.get(found["endpoint"], found["endpoint"]),
        "reported": counters.spelled(found["reported"]),
        "source": call_words.SOURCES.get(found["usage_source"], ""),
        "flags": [call_words.FLAGS.get(flag, flag) for flag in _noted(found["flags"])],
        "attempts": [_attempt(attempt) for attempt in found["attempts"]],
        "begun": scoped.exact(found["opened_us"], me.time_zone),
        "ended": scoped.exact(found["ended_us"], me.time_zone),
        "times": {name: labels.lasting(value) for name, value in found["times"].items()},
        "key_name": called.named(names.keys.get(found["key"], found["key"])),
        "project_name": called.named(names.projects.get(found["project"], found["project"])),
        "member_name": names.members.get(found["member"] or "", ""),
    }
    return render(request, "console/call.html", context)


def _noted(flags: list[str]) -> list[str]:
    """The flags that a receipt explains: what is said elsewhere on it, or by another of them, is left out."""
    said = {"refunded"} | ({"estimated"} if "disputed" in flags else set())
    return [flag for flag in flags if flag not in said]


def _less(found: dict[str, Any]) -> dict[str, Any]:
    """Why a charge is less than its sum: the hold (`capped`), or the rest of the allowance (`partly`, how much).

    `worth`: whether value and forgiven say more than that.
    """
    due_micro, rounded_micro, forgiven_micro = found["due_micro"], found["rounded_micro"], found["forgiven_micro"]
    less = not found["free"] and due_micro is not None and due_micro < rounded_micro
    used_up = less and "allowance_used" in found["flags"] and due_micro < found["hold_micro"]
    return {
        "capped": less and not used_up,
        "partly": money.exact(rounded_micro - due_micro) if used_up else "",
        "worth": bool(forgiven_micro) and not (used_up and found["value_micro"] == rounded_micro),
    }


def _sums(found: dict[str, Any]) -> dict[str, Any]:
    """The lines and what they come to, filled up with blanks so that their points are in a column."""
    amounts = [line["amount"] for line in found["lines"]]
    places = max((len(amount.partition(".")[2]) for amount in (*amounts, found["sum"])), default=6)

    def aligned(amount: str) -> str:
        return amount + "\u2007" * (places - len(amount.partition(".")[2]))

    lines = [
        {**line, "label": called.CLASSES.get(line["class"], line["class"]), "amount": aligned(line["amount"])}
        for line in found["lines"]
    ]
    micro = {"rounded": found["rounded_micro"], "hold": found["hold_micro"], "nothing": 0}
    return {
        "lines": lines,
        "sum": aligned(found["sum"]),
        **{name: aligned(money.exact(value)) for name, value in micro.items()},
    }


def _attempt(found: dict[str, Any]) -> dict[str, Any]:
    """An attempt with its words."""
    return {
        **found,
        "word": call_words.attempt(found["outcome"]),
        "told": call_words.why(found["why"]),
        "first_byte": labels.lasting(found["first_byte_ms"]),
        "total": labels.lasting(found["total_ms"]),
    }


def read_form(query: QueryDict, names: Names, zone: str) -> Asked:
    """What is searched for; a field that can't be read is named, so that nobody takes everything for the answer."""
    fields = {
        name: query.get(name, "").strip()[:_TEXT_CHARS_MAX].replace("\x00", "")
        for name in (*scoped.NAMED, "model", "outcome", "rule", "least", "most", "from", "until")
    }
    wrong = [name for name in scoped.NAMED if fields[name] and fields[name] not in names.of(name)]
    if fields["outcome"] and fields["outcome"] not in search.OUTCOMES:
        wrong.append("outcome")
    amounts = {"least": 0, "most": money.AMOUNT_MICRO_MAX}
    for name in ("least", "most"):
        try:
            amounts[name] = money.parse(fields[name]) if fields[name] else amounts[name]
        except money.MoneyError:
            wrong.append(name)
    times = {"from": 0, "until": 0}
    for name in ("from", "until"):
        try:
            whole_day = name == "until" and fields[name] and "T" not in fields[name]
            moment = scoped.next_day(fields[name]) if whole_day else fields[name]
            times[name] = max(1, scoped.moment_us(moment, zone)) if moment else 0
        except (ValueError, OverflowError):
            wrong.append(name)
    wanted = Wanted(
        key=fields["key"],
        project=fields["project"],
        member=fields["member"],
        model=fields["model"],
        outcome=fields["outcome"],
        rule=fields["rule"],
        least_micro=amounts["least"],
        most_micro=amounts["most"],
        from_us=times["from"],
        until_us=times["until"],
    )
    return Asked(fields, wanted, tuple(wrong))


def _page(tx: Tx, me: Principal, wanted: Wanted, before: str) -> CallPage:
    return search.page(tx, scoped.scope(me), wanted, before=before or None, limit=PAGE)


def _shown(row: CallRow, names: Names, by_hand_micro: int) -> dict[str, Any]:
    """A row with its words."""
    word, colour = call_words.outcome(row.outcome)
    usage = row.usage
    refunded_micro = (row.charge_micro or 0) if row.refunded else by_hand_micro
    return {
        "row": row,
        "refunded_micro": refunded_micro,
        "net_micro": (row.charge_micro or 0) - refunded_micro,
        "outcome": word,
        "colour": colour,
        "key": called.named(names.keys.get(row.key, _("another key"))),
        "project": called.named(names.projects.get(row.project, "")),
        "member": names.members.get(row.member or "", ""),
        "tokens_in": sum(usage.get(name, 0) for name in ("input", "cached_read", "cache_write", "input_audio")),
        "tokens_out": sum(usage.get(name, 0) for name in ("output", "reasoning", "output_audio")),
        "lasted": labels.lasting(None if row.ended_us is None else max(0, row.ended_us - row.opened_us) // 1000),
    }
