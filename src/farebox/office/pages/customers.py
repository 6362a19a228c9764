"""Customers in the office: search, one account with its money, people, keys and calls; freeze, limits, price list.

Who may see and do what is in security 1; reading a customer's calls leaves a trace for support and administrators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from farebox.accounts import accounts, adjusting, customers, forgiving
from farebox.accounts.keys import keys, lifting, rates
from farebox.calls import forgiven, look_up, receipts
from farebox.catalog import overview
from farebox.kit import clock, db, money
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.models import Proposal
from farebox.ledger import adjustments
from farebox.look import marks, statement
from farebox.office import kinds, refusals, retyped
from farebox.office.principal import Operator, ask_first, operator, step_up

from . import proposals, words
from .forms import PAGE, carry_out, count, done, further, line, refused, text

SEES_KEYS = ("support", "admin", "auditor")
# verb of a form -> (roles, what is done, what is said of it)
MOVES: dict[str, tuple[tuple[str, ...], Callable[..., Any], Any]] = {
    "freeze": (("support", "finance", "admin"), accounts.freeze, gettext_lazy("Account frozen.")),
    "unfreeze": (("admin",), accounts.unfreeze, gettext_lazy("Account unfrozen.")),
    "bar": (("admin",), accounts.bar, gettext_lazy("Account banned.")),
    "unbar": (("admin",), accounts.unbar, gettext_lazy("Account unbanned.")),
}

ACTIVATE = (accounts.unfreeze, accounts.unbar)


@require_safe
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """Search customers by id, name, e-mail address or the end of a key; the id of a call leads to its receipt."""
    called = line(request, "q")
    if receipts.is_id(called) and (account := db.read(look_up.account_of, called)):
        return HttpResponseRedirect(reverse("office:customer_receipt", args=[account, called]))
    query, state, price_list = line(request, "q"), line(request, "state"), line(request, "price_list")
    rows = db.read(
        customers.search,
        query=query,
        state=state if state in words.ACCOUNT_STATES else "",
        price_list=price_list,
        before=line(request, "before", 40),
        limit=PAGE + 1,
    )
    context = {
        "next": further(request, rows, lambda row: str(row["id"])),
        "rows": [row | {"said": words.said(words.STATES, row["state"]), "badge": _badge(row["state"])} for row in rows],
        "query": query,
        "price_list": price_list,
        "states": [(name, word, name == state) for name, word in words.ACCOUNT_STATES.items()],
        "searched": bool(query or state or price_list or request.GET.get("before")),
        "may_open": me.role == "admin",
    }
    return render(request, "office/customers.html", context)


@require_http_methods(["GET", "POST"])
@operator("admin")
def new(request: HttpRequest, me: Operator) -> HttpResponse:
    """Open an account by hand, for a customer who signs up in another way."""
    lists = db.read(overview.list_names)
    values = {name: text(request, name, 100) for name in ("name", "currency", "price_list")}
    error = ""
    if request.method == "POST":
        if not db.read(kinds.is_list_of_new, values["price_list"]) and (
            way := ask_first(request, reverse("office:customer_new"))
        ):
            return way
        try:
            account, row = db.write(_open, values | {"currency": values["currency"].upper()}, me)
        except CommandError as fault:
            error = refusals.said(fault)
        else:
            to = reverse("office:customer", args=[account]) if account else reverse("office:customers")
            return (
                done(request, to, _("Account created."))
                if row is None
                else proposals.after(request, row, to, _("Account created."))
            )
    context = {"values": values, "error": error, "lists": [(each, each == values["price_list"]) for each in lists]}
    return render(request, "office/customer_new.html", context, status=400 if error else 200)


@require_safe
@operator()
def customer(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """One customer: money first, then what may be done, then keys, people, entries."""
    found = find(account)
    now_us = clock.now_us()
    proposed = db.read(adjustments.listed, account=account, state="proposed", limit=20, now_us=now_us)
    entries = db.read(adjustments.entries, account)
    again = retyped.again(request)
    emails = db.read(customers.names, [name for each in entries for name in (each["requester"], each["approver"])])
    context: dict[str, Any] = {
        "account": found,
        "said": words.said(words.STATES, found["state"]),
        "badge": _badge(found["state"]),
        "holds": db.read(customers.holds_of, account),
        "allowance": _allowance(account, now_us),
        "rates": {**rates.shown(accounts.find(account)), **again},
        "again": again,
        "lists": [
            (each, each == again.get("price_list", found["price_list"]))
            for each in db.read(overview.list_names, currency=found["currency"])
        ],
        "proposed": [(each, words.said(words.MONEY, each.kind)) for each in proposed],
        "entries": [_entry(each, emails) for each in entries],
        "projects": db.read(customers.projects_of, account),
        "moves": [name for name, (roles, _verb, _said) in MOVES.items() if me.role in roles],
        "may": {
            "members": me.role in {"support", "admin", "auditor"},
            "keys": me.role in SEES_KEYS,
            "revoke": me.role in {"support", "admin"},
            "change": me.role == "admin",
            "price_list": me.role in kinds.PROPOSES,
            "propose": me.role in adjusting.PROPOSES,
        },
    }
    if context["may"]["keys"]:
        context["keys"] = [_key(each) for each in db.read(customers.keys_of, account)]
    if context["may"]["members"]:
        context["members"] = [
            each | {"said": words.said(words.MEMBER_ROLES, each["role"])}
            for each in db.read(customers.members, account)
        ]
    return render(request, "office/customer.html", context)


@require_POST
@operator("support", "finance", "admin")
def move(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Freeze, unfreeze, bar, unbar: each for its roles."""
    find(account)
    roles, verb, said = MOVES.get(text(request, "do", 20), ((), accounts.freeze, ""))
    if me.role not in roles:
        raise Http404
    if verb in ACTIVATE and (way := ask_first(request, _here(account))):
        return way
    return carry_out(request, _here(account), str(said), verb, account, actor=me.actor)


@require_POST
@operator(*kinds.PROPOSES)
def price_list(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Sell by another price list from now on, once another administrator has approved it."""
    find(account)
    return assign_list(request, me, account, text(request, "price_list", 64), _here(account))


def assign_list(request: HttpRequest, me: Operator, account: str, price_list: str, here: str) -> HttpResponse:
    """Propose another price list for an account, from the page `here`; alone, where that may be, it holds at once."""
    if way := ask_first(request, here):
        return way
    facts: dict[str, Any] = {"role": me.role, "actor": me.actor, "now_us": clock.now_us()}
    try:
        row = db.write(kinds.change, "account.price_list", account, price_list, **facts)
    except CommandError as fault:
        return refused(request, here, refusals.said(fault))
    return proposals.after(request, row, here, _("Price list changed."))


@require_POST
@operator("admin")
def rename(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Another name for the account."""
    find(account)
    name = text(request, "name", 101)
    said = _("Account renamed.")
    return carry_out(request, _here(account), said, accounts.rename, account, name=name, actor=me.actor)


@require_POST
@operator("admin")
def limits(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Calls per minute, tokens per minute and concurrent calls of the whole account; empty for no limit."""
    find(account)
    try:
        wanted = {
            name: count(given, str(said)) if (given := text(request, name, 20)) else None
            for name, said in (
                ("rpm", _("Calls per minute")),
                ("tpm", _("Tokens per minute")),
                ("concurrency", _("Concurrent calls")),
            )
        }
    except CommandError as fault:
        return refused(request, _here(account), refusals.said(fault))
    if lifting.limits(rates.now("account", account), wanted) and (way := ask_first(request, _here(account))):
        return way
    return carry_out(
        request, _here(account), _("Limits saved."), rates.limit, "account", account, **wanted, actor=me.actor
    )


@require_http_methods(["GET", "POST"])
@operator("support", "admin")
def revoke(request: HttpRequest, me: Operator, account: str, key: str) -> HttpResponse:
    """A page that names the key, and the button that switches it off permanently."""
    found = find(account)
    named = db.read(customers.key, account, key)
    if named is None:
        raise Http404
    if request.method != "POST":
        return render(request, "office/key_revoke.html", {"account": found, "key": named})
    said = _("Key revoked. It stops working within a second.")
    return carry_out(request, _here(account), said, keys.revoke, key, now_us=clock.now_us(), actor=me.actor)


@require_http_methods(["GET", "POST"])
@operator("admin")
@step_up
def close(request: HttpRequest, me: Operator, account: str) -> HttpResponse:
    """Close the account permanently, once its name was typed."""
    found = find(account)
    error = ""
    if request.method == "POST":
        typed, leave_money = text(request, "name", 101), request.POST.get("leave_money") == "on"
        try:
            db.write(_close, found, typed=typed, leave_money=leave_money, actor=me.actor)
        except CommandError as fault:
            error = refusals.said(fault)
        else:
            return done(request, _here(account), _("Account closed."))
    context = {"account": found, "error": error}
    return render(request, "office/customer_close.html", context, status=400 if error else 200)


def find(account: str) -> dict[str, Any]:
    """The customer of this id; 404 otherwise."""
    found = db.read(customers.find, account)
    if found is None:
        raise Http404
    return found


def _open(tx: Tx, facts: dict[str, Any], me: Operator) -> tuple[str, Proposal | None]:
    """Open an account by the list of new accounts, or propose one that buys by another: its id, or the proposal."""
    now_us = clock.now_us()
    if kinds.is_list_of_new(tx, facts["price_list"]):
        account, _project = accounts.open_account(tx, **facts, now_us=now_us, actor=me.actor)
        return account.id, None
    return "", kinds.change(tx, "account.open", facts["name"], facts, role=me.role, actor=me.actor, now_us=now_us)


def _close(tx: Tx, found: dict[str, Any], *, typed: str, leave_money: bool, actor: str) -> None:
    if typed != found["name"]:
        raise CommandError(_("The account name does not match."))
    accounts.close(tx, found["id"], leave_money=leave_money, now_us=clock.now_us(), actor=actor)


def _here(account: str) -> str:
    return reverse("office:customer", args=[account])


def _allowance(account: str, now_us: int) -> dict[str, Any]:
    found = db.read(forgiving.facts, account, now_us)
    most_micro = found["set_micro"]
    drawn = db.read(forgiven.by_key, account)
    names = {each["id"]: each["name"] for each in db.read(customers.keys_of, account)}
    people = {each["id"]: each["email"] for each in db.read(customers.members, account)}
    found["drawn"] = [(names.get(row.key, row.key), people.get(row.member, ""), row) for row in drawn]
    return found | {"set_text": "" if most_micro is None else money.text(most_micro).replace(",", "")}


def _badge(state: str) -> str:
    return words.BADGES.get(state, "")


def _entry(each: dict[str, Any], emails: dict[str, str]) -> dict[str, Any]:
    who = [customers.named(name, emails) for name in (each["requester"], each["approver"]) if name]
    said = words.said(words.ENTRIES, each["kind"])
    return each | {"said": said, "note": statement.note(each["note"]), "who": marks.listed(who)}


def _key(each: dict[str, Any]) -> dict[str, Any]:
    state = each["state"]
    if state == "active" and each["expires_us"] is not None and each["expires_us"] <= clock.now_us():
        state = "expired"
    return each | {"state": state, "said": words.said(words.STATES, state), "badge": _badge(state)}
