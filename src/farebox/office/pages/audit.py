"""The audit trail in the office: who did what to which object; search, an export that streams, and its chain."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from farebox.accounts import customers, things
from farebox.kit import audit, chain, clock, db
from farebox.kit.errors import CommandError
from farebox.office import refusals
from farebox.office.principal import Operator, operator

from . import trail_words
from .forms import PAGE, further, line, moment

SHOWN_CHARS_MAX = 2000
_HEAD = ("id", "at_us", "actor", "verb", "object", "before", "after")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@require_safe
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """Events, newest first. Support sees what it has done itself."""
    error, wanted = "", _own(me, audit.Search())
    try:
        wanted = _wanted(request, me)
    except CommandError as fault:
        error = refusals.said(fault)
    events = db.read(audit.search, wanted, before=line(request, "before", 40), limit=PAGE + 1)
    following = further(request, events, lambda event: str(event.id))
    emails = db.read(customers.names, [event.actor for event in events])
    called = db.read(things.names, [event.object for event in events])
    context = {
        "rows": [_row(event, emails, called) for event in events],
        "verbs": sorted(trail_words.VERBS),
        "next": following,
        "fields": {name: line(request, name, 200) for name in ("actor", "verb", "object", "from", "until")},
        "error": error,
        "own": me.role == "support",
        "may_export": me.role == "auditor",
        "query": request.GET.urlencode(),
    }
    return render(request, "office/audit.html", context, status=400 if error else 200)


@require_safe
@operator("auditor")
def export(request: HttpRequest, me: Operator) -> HttpResponse:
    """The events of a search as CSV, streamed."""
    try:
        wanted = _wanted(request, me)
    except CommandError as fault:
        return HttpResponse(refusals.said(fault), status=400, content_type="text/plain; charset=utf-8")
    answer: Any = StreamingHttpResponse(_csv(wanted), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="audit.csv"'
    streamed: HttpResponse = answer  # Django knows no common parent but its base
    return streamed


@require_safe
@operator("auditor")
def verify(request: HttpRequest, me: Operator) -> HttpResponse:
    """The head of the chain; asked to `check`, the whole of it recomputed, with a `head` that was noted looked for."""
    del me
    noted, error, found = line(request, "head", 100), "", None
    if "check" in request.GET:
        try:
            found = chain.verify([chain.parse(noted)] if noted else [], now_us=clock.now_us())
        except CommandError as fault:
            error = refusals.said(fault)
    context = {
        "head": db.read(chain.head) if found is None else found.head,
        "found": found,
        "troubles": [_trouble(one) for one in found.troubles] if found is not None else [],
        "noted": noted,
        "error": error,
    }
    return render(request, "office/audit_chain.html", context, status=400 if error else 200)


def _trouble(found: chain.BrokenSeal) -> str:
    words = {
        "changed": _("Seal %(n)s does not match: event %(event)s or the seal itself was changed."),
        "gone": _("Event %(event)s of seal %(n)s is missing."),
        "gap": _("Seals from %(n)s are missing."),
        "head": _("The head recorded at %(n)s is not in the chain: events were changed, or the end was removed."),
    }
    return words[found.kind] % {"n": found.n, "event": found.event}


def _csv(wanted: audit.Search) -> Iterator[bytes]:
    yield b"\xef\xbb\xbf" + _lines([_HEAD])
    for events in audit.pages(wanted):
        yield _lines([tuple(_cell(getattr(event, name)) for name in _HEAD) for event in events])


def _lines(rows: list[tuple[Any, ...]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def _cell(given: Any) -> Any:
    """A text that no spreadsheet takes for a formula."""
    return f"'{given}" if isinstance(given, str) and given.startswith(_FORMULA) else given


def _wanted(request: HttpRequest, me: Operator) -> audit.Search:
    """What the address asks for; a name stands for what is called so, an e-mail address for its person."""
    actor = line(request, "actor", 200)
    person, named = db.read(things.person, actor), line(request, "object", 200)
    until_us = moment(line(request, "until", 40), me)
    return _own(
        me,
        audit.Search(
            actor=actor if person is None else f"operator:{person}",
            verb=line(request, "verb", 60),
            object=named,
            or_object=db.read(things.called, named) or (f"channel {named}" if named else ""),
            from_us=moment(line(request, "from", 40), me) or 0,
            or_actor="" if person is None else f"person:{person}",
            **({} if until_us is None else {"until_us": until_us}),
        ),
    )


def _own(me: Operator, wanted: audit.Search) -> audit.Search:
    if me.role != "support":
        return wanted
    return replace(wanted, actor=me.actor, or_actor="")


def _row(event: audit.TrailEvent, emails: dict[str, str], called: dict[str, str]) -> dict[str, Any]:
    return {
        "at_us": event.at_us,
        "who": customers.named(event.actor, emails),
        "verb": event.verb,
        "said": trail_words.VERBS.get(event.verb, ""),
        "object": event.object,
        "called": called.get(event.object, ""),
        "before": event.before[:SHOWN_CHARS_MAX],
        "after": event.after[:SHOWN_CHARS_MAX],
    }
