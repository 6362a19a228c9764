"""One member: role, limits, keys, and the way out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from farebox.accounts.keys import lifting
from farebox.accounts.models import Member
from farebox.accounts.people import people
from farebox.accounts.sign_in import switching
from farebox.accounts.team import invitations, teams
from farebox.console import refusals
from farebox.console.limit_forms import LimitsForm, limits_initial
from farebox.console.principal import Principal, needs
from farebox.console.step_up import ask, step_up
from farebox.kit import clock, db
from farebox.kit.errors import CommandError
from farebox.look import owners

from . import team, team_rows
from .invite import letter
from .team_forms import Role


@require_safe
@needs("admin")
def page(request: HttpRequest, me: Principal, member: str) -> HttpResponse:
    """One member, for those who manage their place."""
    return _page(request, me, _found(me, member))


def _page(request: HttpRequest, me: Principal, row: Member, **given: forms.Form) -> HttpResponse:
    request.page_of_form = reverse("member", args=[row.id])  # type: ignore[attr-defined]
    context = {
        "member": row,
        "may_change": _may_change(me, row),
        "may_sign_out": me.role == "owner" and row.person_id != me.person,
        "limits_form": LimitsForm(initial=limits_initial(row)),
        **db.read(team_rows.of_member, row),
    }
    if me.role == "owner":
        initial = {"role": row.role, "project": row.project_id or ""}
        context["role_form"] = Role(projects=teams.projects_within(team.reach(me)), initial=initial)
    return render(request, "console/member.html", {**context, **given}, status=400 if given else 200)


@require_POST
@needs("admin")
def cap(request: HttpRequest, me: Principal, member: str) -> HttpResponse:
    """Other caps and limits for a member."""
    row, form = _changeable(me, member), LimitsForm(request.POST)
    if not form.is_valid():
        return _page(request, me, row, limits_form=form)
    if lifting.place(row, form.limits(), form.paces()):
        ask(request)
    try:
        db.write(teams.limit, row, form.limits(), form.paces(), now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        form.add_error(None, refusals.said(fault))
        return _page(request, me, row, limits_form=form)
    messages.success(request, _("Limits changed."), extra_tags="good")
    return HttpResponseRedirect(reverse("member", args=[row.id]))


@require_POST
@needs("owner")
@step_up
def role(request: HttpRequest, me: Principal, member: str) -> HttpResponse:
    """Another role for a member; to become an owner he has to accept."""
    row = _found(me, member)
    form = Role(request.POST, projects=teams.projects_within(team.reach(me)))
    if not form.is_valid():
        return _page(request, me, row, role_form=form)
    given = form.cleaned_data
    if given["role"] == "owner" and row.role != "owner":
        return _ask(request, me, row, form)
    try:
        facts = {"role": given["role"], "project": given["project"] or None, "now_us": clock.now_us()}
        db.write(teams.set_role, row.id, **facts, actor=me.actor)
    except CommandError as fault:
        lacks = given["role"] != "owner" and not given["project"]
        form.add_error("project" if lacks else None, _("Choose a project.") if lacks else refusals.said(fault))
        return _page(request, me, row, role_form=form)
    messages.success(request, _("Role changed."), extra_tags="good")
    own = row.person_id == me.person
    return HttpResponseRedirect(reverse("team") if own else reverse("member", args=[row.id]))


def _ask(request: HttpRequest, me: Principal, row: Member, form: Role) -> HttpResponse:
    """Ask a member to become an owner; he is one when he has accepted."""
    try:
        db.write(_transfer, row.id, letter(request, me), now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        form.add_error(None, refusals.said(fault))
        return _page(request, me, row, role_form=form)
    said = _("We e-mailed %(who)s. The role changes once the link is used.")
    messages.success(request, said % {"who": row.person.name or row.person.email}, extra_tags="good")
    return HttpResponseRedirect(reverse("team"))


@require_POST
@needs("admin")
@step_up
def remove(request: HttpRequest, me: Principal, member: str) -> HttpResponse:
    """Take a member out; their keys are revoked."""
    row = _changeable(me, member)
    try:
        db.write(people.remove_member, row.id, now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        return team.refused(request, fault, "member", row.id)
    who = row.person.name or row.person.email
    messages.success(request, _("%(who)s is no longer a member.") % {"who": who}, extra_tags="good")
    return HttpResponseRedirect(reverse("team"))


@require_POST
@needs("owner")
@step_up
def sign_out(request: HttpRequest, me: Principal, member: str) -> HttpResponse:
    """End what the member's open sessions may do in this account."""
    row = _found(me, member)
    try:
        db.write(switching.sign_out_here, row.id, now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        return team.refused(request, fault, "member", row.id)
    said = _("%(who)s was signed out of this account.") % {"who": row.person.name or row.person.email}
    messages.success(request, said, extra_tags="good")
    return HttpResponseRedirect(reverse("member", args=[row.id]))


def _transfer(tx: db.Tx, /, member: str, *args: Any, **facts: Any) -> None:
    """The question, and word of it to the owners."""
    owners.invited(tx, invitations.transfer(tx, member, *args, **facts), actor=facts["actor"])


def _found(me: Principal, member: str) -> Member:
    row = teams.member_within(team.reach(me), member)
    if row is None or row.state != "active":
        raise Http404
    return row


def _changeable(me: Principal, member: str) -> Member:
    row = _found(me, member)
    if not _may_change(me, row):
        raise Http404
    return row


def _may_change(me: Principal, row: Member) -> bool:
    """An owner changes everybody, an admin the plain members of their projects."""
    return me.role == "owner" or row.role == "member"
