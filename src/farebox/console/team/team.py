"""The team: its projects and members, for those who manage them; for members only their own place."""

from __future__ import annotations

from typing import Any

from allauth.core.exceptions import ReauthenticationRequired
from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from farebox.accounts import projects
from farebox.accounts.keys import lifting
from farebox.accounts.models import Project
from farebox.accounts.team import teams
from farebox.accounts.team.teams import Reach
from farebox.console import refusals
from farebox.console.limit_forms import LimitsForm, limits_initial
from farebox.console.principal import CHOSEN, Principal, needs, proved_at, signed_in
from farebox.console.step_up import ask
from farebox.kit import clock, db
from farebox.kit.errors import CommandError

from . import team_rows
from .team_forms import KeysEnd, NewProject


def reach(me: Principal) -> Reach:
    """What this member may manage."""
    return teams.reach(me.account, me.person, owner=me.role == "owner")


@require_safe
@signed_in
def page(request: HttpRequest, me: Principal) -> HttpResponse:
    """Everybody and everything that shares the balance."""
    return _page(request, me)


def _page(request: HttpRequest, me: Principal, form: NewProject | None = None, status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {"places": teams.places(me.person)}
    if not me.at_least("admin"):
        context["rows"] = db.read(team_rows.own, me)
        return render(request, "console/team_own.html", context)
    request.page_of_form = reverse("team")  # type: ignore[attr-defined]
    within = reach(me)
    context |= db.read(team_rows.everything, me, within)
    if within.whole:
        context["form"] = form or NewProject(account=me.account)
    return render(request, "console/team.html", context, status=status)


@require_POST
@needs("owner")
def new_project(request: HttpRequest, me: Principal) -> HttpResponse:
    """Make a project."""
    form = NewProject(request.POST, account=me.account)
    if not form.is_valid():
        return _page(request, me, form, status=400)
    facts: dict[str, Any] = {"now_us": clock.now_us(), "actor": me.actor}
    given = {"name": form.cleaned_data["name"], "caps": form.limits()}
    try:
        made = db.write(projects.create, account=me.account, **given, **facts)
    except CommandError as fault:
        form.add_error(None, refusals.said(fault))
        return _page(request, me, form, status=400)
    messages.success(request, _("Project %(name)s created.") % {"name": made.name}, extra_tags="good")
    return HttpResponseRedirect(reverse("project", args=[made.id]))


@require_safe
@needs("admin")
def project(request: HttpRequest, me: Principal, project: str) -> HttpResponse:
    """One project: its limits, its people, the end of its keys."""
    return _project(request, me, found(me, project))


def _project(request: HttpRequest, me: Principal, row: Project, **given: forms.Form) -> HttpResponse:
    request.page_of_form = reverse("project", args=[row.id])  # type: ignore[attr-defined]
    limits = LimitsForm(initial=limits_initial(row))
    end = KeysEnd(
        zone=row.account.time_zone, initial={"day": team_rows.last_day(row.keys_end_us, row.account.time_zone)}
    )
    context = {
        "project": row,
        "limits_form": limits,
        "end_form": end,
        **db.read(team_rows.of_project, me, reach(me), row),
    }
    return render(request, "console/project.html", {**context, **given}, status=400 if given else 200)


@require_POST
@needs("owner")
def cap_project(request: HttpRequest, me: Principal, project: str) -> HttpResponse:
    """Other caps and limits for a project."""
    row, form = found(me, project), LimitsForm(request.POST)
    if not form.is_valid():
        return _project(request, me, row, limits_form=form)
    if lifting.place(row, form.limits(), form.paces()):
        ask(request)
    try:
        db.write(teams.limit, row, form.limits(), form.paces(), now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        form.add_error(None, refusals.said(fault))
        return _project(request, me, row, limits_form=form)
    messages.success(request, _("Limits changed."), extra_tags="good")
    return HttpResponseRedirect(reverse("project", args=[row.id]))


@require_POST
@needs("admin")
def end_keys(request: HttpRequest, me: Principal, project: str) -> HttpResponse:
    """The date at which all keys of a project end."""
    row = found(me, project)
    form = KeysEnd(request.POST, zone=row.account.time_zone)
    if not form.is_valid():
        return _project(request, me, row, end_form=form)
    if lifting.limits({"end": row.keys_end_us}, {"end": form.cleaned_data["day"]}):
        ask(request)
    try:
        db.write(teams.set_keys_end, row.id, ends_us=form.cleaned_data["day"], now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        form.add_error(None, refusals.said(fault))
        return _project(request, me, row, end_form=form)
    messages.success(request, _("Expiry date of the keys changed."), extra_tags="good")
    return HttpResponseRedirect(reverse("project", args=[row.id]))


@require_POST
@needs("owner")
def archive(request: HttpRequest, me: Principal, project: str) -> HttpResponse:
    """Take a project out of use; its name is typed to say that it is meant."""
    row = found(me, project)
    if request.POST.get("name", "").strip() != row.name:
        messages.error(request, _("The name does not match. Nothing was archived."), extra_tags="bad")
        return HttpResponseRedirect(reverse("project", args=[row.id]))
    try:
        db.write(projects.archive, row.id, now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        return refused(request, fault, "project", row.id)
    messages.success(request, _("Project %(name)s archived.") % {"name": row.name}, extra_tags="good")
    return HttpResponseRedirect(reverse("team"))


@require_http_methods(["POST"])
@signed_in
def switch(request: HttpRequest, me: Principal) -> HttpResponse:
    """Continue in another account, in which this person has a place too."""
    wanted = request.POST.get("account", "")
    here = [place for place in teams.places(me.person) if place.account_id == wanted]
    if not here:
        raise Http404
    from_us = max(place.proved_from_us for place in here)
    if from_us and from_us >= proved_at(request) * 1_000_000:
        raise ReauthenticationRequired
    request.session[CHOSEN] = wanted
    return HttpResponseRedirect(reverse("home"))


def found(me: Principal, project: str) -> Project:
    """A project that this member manages, or 404."""
    row = teams.project_within(reach(me), project)
    if row is None:
        raise Http404
    return row


def refused(request: HttpRequest, fault: CommandError, name: str, *args: str) -> HttpResponse:
    """Back to a page, with what the domain said."""
    messages.error(request, refusals.said(fault), extra_tags="bad")
    return HttpResponseRedirect(reverse(name, args=args))
