"""All that the shop has about a person, and about what they may see of their account, as one JSON file; it streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from farebox.accounts import accounts
from farebox.accounts.keys import keys
from farebox.accounts.models import ApiKey, Member
from farebox.accounts.people import notices, people
from farebox.accounts.sign_in import sessions
from farebox.calls import export
from farebox.calls.search import Wanted
from farebox.console import labels, scoped
from farebox.console.principal import Principal, signed_in
from farebox.console.usage import export as calls_export
from farebox.kit import clock, db
from farebox.kit.db import Tx
from farebox.ledger import holds

_json = msgspec.json.Encoder().encode


@require_safe
@signed_in
def download(request: HttpRequest, me: Principal) -> Any:
    """The file; six a minute, with the exports of the request log."""
    now_us = clock.now_us()
    wait_s = db.write(export.take, me.person, now_us=now_us)
    if wait_s:
        refused: HttpResponse = render(request, "console/export.html", {"wait_s": wait_s}, status=429)
        refused["Retry-After"] = str(wait_s)
        return refused
    response = StreamingHttpResponse(_pieces(me, now_us), content_type="application/json")
    day = labels.at(now_us).strftime("%Y-%m-%d")
    response["Content-Disposition"] = f'attachment; filename="my-data-{day}.json"'
    return response


def _pieces(me: Principal, now_us: int) -> Iterator[bytes]:
    yield _json(db.read(_facts, me, now_us))[:-1]
    yield b',"calls":'
    yield from calls_export._objects(me, Wanted(), scoped.names(me))
    yield b"}\n"


def _facts(tx: Tx, me: Principal, now_us: int) -> dict[str, Any]:
    person = people.find(me.person)
    rows = ApiKey.objects.filter(id__in=scoped.scope(me).keys()).order_by("id")
    facts: dict[str, Any] = {
        "made_us": now_us,
        "person": people.view(person) | {"language": person.language, "time_zone": person.time_zone},
        "memberships": [people.view_member(row) for row in Member.objects.filter(person=person).order_by("id")],
        "sessions": sessions.list_sessions(me.person, area="console", now_us=now_us),
        "notices": msgspec.to_builtins(notices.read(tx, person=me.person, account=me.account)),
        "keys": [keys.view(row) for row in rows],
    }
    if me.role == "owner":
        posted_micro, held_micro, available_micro = holds.balance(tx, me.account)
        facts["account"] = accounts.view(accounts.find(me.account)) | {
            "posted_micro": posted_micro,
            "held_micro": held_micro,
            "available_micro": available_micro,
        }
    return facts
