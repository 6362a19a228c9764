"""The shop's time in the office: who says that it is right, and a person's word where nobody does (promises 4.7)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from farebox.accounts import timekeeping
from farebox.kit import clock, db, timing
from farebox.kit.db import Tx
from farebox.office.principal import Operator, operator, step_up

from .forms import carry_out

STATES = {
    "sure": gettext_lazy("confirmed"),
    "unproven": gettext_lazy("not confirmed"),
    "ahead": gettext_lazy("ahead of all sources"),
}
WITNESSES = {
    "kernel": gettext_lazy("This machine, set by NTP"),
    "database": gettext_lazy("The database, on another machine"),
    "node": gettext_lazy("Another machine of the shop"),
    "upstream": gettext_lazy("An upstream, over TLS"),
    "person": gettext_lazy("Confirmed by a person"),
    "counter": gettext_lazy("This machine's uptime"),
}
BADGES = {"sure": "good", "unproven": "warn", "ahead": "bad"}


@require_safe
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """The time, by how much it is ahead, and who says what."""
    context = db.read(_seen) | {"may": me.role == "admin"}
    return render(request, "office/clock.html", context)


@require_http_methods(["GET", "POST"])
@operator("admin")
@step_up
def confirm(request: HttpRequest, me: Operator) -> HttpResponse:
    """Say that the time is right: what waits for that continues."""
    here = reverse("office:clock")
    if request.method != "POST":
        return HttpResponseRedirect(here)
    said = _("Time confirmed. Waiting tasks continue within seconds.")
    return carry_out(request, here, said, timekeeping.confirm, actor=me.actor)


def _seen(tx: Tx) -> dict[str, Any]:
    found, living = timekeeping.verdict(tx), timing.living(tx)
    return {
        "state": found.state,
        "said": STATES[found.state],
        "badge": BADGES[found.state],
        "now_us": clock.now_us(),
        "mark_us": timing.mark_us(tx),
        "hours": found.ahead_us // timing.HOUR_US,
        "heard": [(WITNESSES[each.kind], each.at_us) for each in found.heard],
        "processes": [(node, STATES[each.state], BADGES[each.state]) for node, each in living],
    }
