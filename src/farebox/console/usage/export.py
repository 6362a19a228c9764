"""The request log as CSV or JSON, with the filters of the page; it streams, however long it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from farebox.calls import export
from farebox.calls.search import CallRow, Wanted
from farebox.catalog.usage import CLASSES
from farebox.console import cells, labels, scoped
from farebox.console.principal import Principal, signed_in
from farebox.console.scoped import Names
from farebox.kit import clock, db, money
from farebox.ledger import given

from . import calls

_HEAD = (
    "id", "begun_utc", "ended_utc", "project", "project_name", "key", "key_name", "member", "member_name", "endpoint",
    "model", "asked", "stream", "outcome", "rule", "status", "finish_reason", "flags", *CLASSES, "usage_source",
    "currency", "charge", "refunded", "price_list", "price_version",
)  # fmt: skip
_json = msgspec.json.Encoder().encode


@require_safe
@signed_in
def as_csv(request: HttpRequest, me: Principal) -> HttpResponse:
    """A table for spreadsheets, one line a call, newest first."""
    return _answer(request, me, "text/csv; charset=utf-8", "csv")


@require_safe
@signed_in
def as_json(request: HttpRequest, me: Principal) -> HttpResponse:
    """A JSON array, one object a call, newest first; amounts in micro-units."""
    return _answer(request, me, "application/json", "json")


def _answer(request: HttpRequest, me: Principal, kind: str, suffix: str) -> HttpResponse:
    names = scoped.names(me)
    asked = calls.read_form(request.GET, names, me.time_zone)
    if asked.wrong:
        return render(request, "console/export.html", {"wrong": asked.wrong}, status=400)
    now_us = clock.now_us()
    wait_s = db.write(export.take, me.person, now_us=now_us)
    if wait_s:
        refused = render(request, "console/export.html", {"wait_s": wait_s}, status=429)
        refused["Retry-After"] = str(wait_s)
        return refused
    made = _csv if suffix == "csv" else _objects
    response = StreamingHttpResponse(made(me, asked.wanted, names), content_type=kind)
    day = labels.at(now_us).strftime("%Y-%m-%d")
    response["Content-Disposition"] = f'attachment; filename="calls-{day}.{suffix}"'
    return cast("HttpResponse", response)  # Django has two kinds, and decorators name one


def _csv(me: Principal, wanted: Wanted, names: Names) -> Iterator[str]:
    yield cells.table(_HEAD, ())
    for rows in export.pages(scoped.scope(me), wanted):
        refunds = db.read(given.by_call, me.account, [row.id for row in rows])
        yield cells.lines([_line(row, names, _refunded(row, refunds)) for row in rows])


def _objects(me: Principal, wanted: Wanted, names: Names) -> Iterator[bytes]:
    before = b"[\n"
    for rows in export.pages(scoped.scope(me), wanted):
        piece = []
        refunds = db.read(given.by_call, me.account, [row.id for row in rows])
        for row in rows:
            piece.append(before + _json(_object(row, names, _refunded(row, refunds))))
            before = b",\n"
        yield b"".join(piece)
    yield b"\n]\n" if before == b",\n" else b"[]\n"


def _refunded(row: CallRow, by_hand: Mapping[str, int]) -> int:
    return (row.charge_micro or 0) if row.refunded else by_hand.get(row.id, 0)


def _line(row: CallRow, names: Names, refunded_micro: int) -> list[Any]:
    charge = "" if row.charge_micro is None else money.exact(row.charge_micro)
    refunded = money.exact(refunded_micro) if refunded_micro else ""
    return [
        row.id,
        _time(row.opened_us),
        _time(row.ended_us),
        row.project,
        cells.text(names.projects.get(row.project, "")),
        row.key,
        cells.text(names.keys.get(row.key, "")),
        row.member or "",
        cells.text(names.members.get(row.member or "", "")),
        row.endpoint,
        cells.text(row.model),
        cells.text(row.asked),
        "yes" if row.stream else "no",
        row.outcome,
        row.rule,
        "" if row.status is None else row.status,
        cells.text(row.finish_reason),
        " ".join(row.flags),
        *(row.usage.get(name, 0) for name in CLASSES),
        row.usage_source,
        row.currency,
        charge,
        refunded,
        cells.text(row.price_list),
        row.price_version,
    ]


def _object(row: CallRow, names: Names, refunded_micro: int) -> Mapping[str, Any]:
    return {
        "id": row.id,
        "begun": _time(row.opened_us),
        "ended": _time(row.ended_us) or None,
        "project": row.project,
        "project_name": names.projects.get(row.project),
        "key": row.key,
        "key_name": names.keys.get(row.key),
        "member": row.member,
        "member_name": names.members.get(row.member or ""),
        "endpoint": row.endpoint,
        "model": row.model,
        "asked": row.asked,
        "stream": row.stream,
        "outcome": row.outcome,
        "rule": row.rule,
        "status": row.status,
        "finish_reason": row.finish_reason,
        "flags": row.flags,
        "usage": row.usage,
        "usage_source": row.usage_source,
        "currency": row.currency,
        "charge_micro": row.charge_micro,
        "refunded_micro": refunded_micro,
        "price_list": row.price_list,
        "price_version": row.price_version,
    }


def _time(at_us: int | None) -> str:
    return "" if at_us is None else labels.at(at_us).isoformat(timespec="milliseconds").replace("+00:00", "Z")
