"""Announcements in the office: what customers read on their first page and on the status page, for a time."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from farebox.kit import announcements, clock, db
from farebox.kit.errors import CommandError
from farebox.office import refusals
from farebox.office.principal import Operator, operator

from .forms import carry_out, done, moment, text


@require_http_methods(["GET", "POST"])
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """All announcements; administrators make another one."""
    now_us = clock.now_us()
    values = {name: text(request, name, 600) for name in ("en", "zh", "level", "from", "until")}
    error = ""
    if request.method == "POST":
        if me.role != "admin":
            raise Http404
        try:
            db.write(
                announcements.add,
                en=values["en"],
                zh=values["zh"],
                level=values["level"] or "info",
                from_us=moment(values["from"], me) or now_us,
                until_us=moment(values["until"], me),
                now_us=now_us,
                actor=me.actor,
            )
        except CommandError as fault:
            error = refusals.said(fault)
        else:
            return done(request, reverse("office:announcements"), _("Announcement published."))
    rows = [each | {"state": _state(each["from_us"], each["until_us"], now_us)} for each in _all()]
    context = {"rows": rows, "values": values, "error": error, "may": me.role == "admin"}
    return render(request, "office/announcements.html", context, status=400 if error else 200)


@require_POST
@operator("admin")
def end(request: HttpRequest, me: Operator, announcement: str) -> HttpResponse:
    """Take an announcement away."""
    if not any(each["id"] == announcement for each in _all()):
        raise Http404
    said = _("Announcement removed.")
    return carry_out(request, reverse("office:announcements"), said, announcements.end, announcement, actor=me.actor)


def _all() -> list[dict[str, Any]]:
    return db.read(announcements.listed)


def _state(from_us: int, until_us: int | None, now_us: int) -> str:
    if from_us > now_us:
        return "coming"
    return "past" if until_us is not None and until_us <= now_us else "shown"
