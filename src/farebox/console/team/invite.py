"""Inviting people: one, or a whole class by a pasted list; sending again, taking back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from farebox.accounts import zones
from farebox.accounts.models import Invitation
from farebox.accounts.team import invitations, teams
from farebox.console import refusals
from farebox.console.principal import Principal, needs
from farebox.console.step_up import ask, step_up
from farebox.kit import clock, db, options, outbox
from farebox.kit.errors import CommandError
from farebox.look import owners
from farebox.look.letter_words import in_mail

from . import team
from .team_forms import Invite


@require_http_methods(["GET", "HEAD", "POST"])
@needs("admin")
def page(request: HttpRequest, me: Principal) -> HttpResponse:
    """Whom to invite, to what."""
    within = team.reach(me)
    choices = {"projects": teams.projects_within(within), "owner": within.whole}
    if request.method != "POST":
        wanted = request.GET.get("project", "")
        mine = [row.id for row in choices["projects"] if row.state == "active"]  # type: ignore[attr-defined]
        initial = {"project": wanted if wanted in mine else (mine[0] if len(mine) == 1 else "")}
        return render(request, "console/invite.html", {"form": Invite(**choices, initial=initial)})  # type: ignore[arg-type]
    form = Invite(request.POST, **choices)  # type: ignore[arg-type]
    if not form.is_valid():
        return render(request, "console/invite.html", {"form": form}, status=400)
    ask(request)
    try:
        sent = db.write(
            _invite, me.account, form.cleaned_data["people"], form.terms(), letter(request, me),
            now_us=clock.now_us(), actor=me.actor,
        )  # fmt: skip
    except CommandError as fault:
        form.add_error(None, refusals.said(fault))
        return render(request, "console/invite.html", {"form": form}, status=400)
    _say(request, sent)
    project = form.cleaned_data["project"]
    return HttpResponseRedirect(reverse("project", args=[project]) if project else reverse("team"))


@require_POST
@needs("admin")
@step_up
def resend(request: HttpRequest, me: Principal, invitation: str) -> HttpResponse:
    """Send an invitation again; its old link is void."""
    row = _found(me, invitation)
    try:
        db.write(invitations.resend, row.id, letter(request, me), now_us=clock.now_us(), actor=me.actor)
    except CommandError as fault:
        messages.error(request, refusals.said(fault), extra_tags="bad")
    else:
        messages.success(request, _("Invitation sent again to %(email)s.") % {"email": row.email}, extra_tags="good")
    return _back(row)


@require_POST
@needs("admin")
def revoke(request: HttpRequest, me: Principal, invitation: str) -> HttpResponse:
    """Take an invitation back."""
    row = _found(me, invitation)
    try:
        db.write(invitations.revoke, row.id, actor=me.actor)
    except CommandError as fault:
        return team.refused(request, fault, "team")
    messages.success(request, _("Invitation for %(email)s revoked.") % {"email": row.email}, extra_tags="good")
    return _back(row)


def _invite(tx: db.Tx, account: str, *args: Any, **facts: Any) -> invitations.Sent:
    """The invitations, and word to the owners of those that make owners."""
    sent = invitations.invite(tx, account, *args, **facts)
    for row in sent.invited:
        if row.role == "owner":
            owners.invited(tx, row, actor=facts["actor"])
    return sent


def letter(request: HttpRequest, me: Principal) -> Callable[[db.Tx, Invitation, str], None]:
    """What writes the mail of an invitation, in the language of the page it is sent from."""
    prefix = request.META.get("SCRIPT_NAME", "")
    path = reverse("join", args=["CODE"]).removeprefix(prefix)

    def send(tx: db.Tx, row: Invitation, code: str) -> None:
        project = "" if row.project is None else in_mail(row.project.name) or _("unnamed")
        facts = {
            "who": in_mail(me.name) or me.email,
            "account": in_mail(me.account_name) or options.current().shop_name,
            "project": project,
            "day": zones.day(row.expires_us, me.account_zone),
        }
        guest = in_mail(row.name)
        hello = _("Hello %(name)s,") % {"name": guest} if guest else _("Hello,")
        lines = [hello, _what(row, project) % facts]
        if row.with_key:
            lines.append(_("You get your own API key when you join; it is shown once."))
        lines += [
            (_("Accept it here:") if row.member_id else _("Join here:"))
            + "\n"
            + options.current().origin
            + prefix
            + path.replace("CODE", code),
            _("The link is personal and valid until %(day)s. If you don't expect an invitation, ignore this message.")
            % facts,
        ]
        outbox.mail(tx, to=row.email, subject=_("Invitation to %(account)s") % facts, text="\n\n".join(lines) + "\n")

    return send


def _what(row: Invitation, project: str) -> str:
    """What the invitation is to, with places for who sends it and the account."""
    if row.member_id:
        return _("%(who)s asks you to become an owner of %(account)s. Nothing changes until you accept.")
    if project:
        return _("%(who)s invites you to join the project %(project)s of %(account)s.")
    return _("%(who)s invites you to join %(account)s.")


def _say(request: HttpRequest, sent: invitations.Sent) -> None:
    n = len(sent.invited)
    if n:
        said = ngettext("%(n)d person invited.", "%(n)d people invited.", n) % {"n": n}
        messages.success(request, said, extra_tags="good")
    if left := len(sent.known):
        said = ngettext(
            "%(n)d address skipped: already a member or invited.",
            "%(n)d addresses skipped: already members or invited.",
            left,
        )
        messages.warning(request, said % {"n": left}, extra_tags="warn")


def _found(me: Principal, invitation: str) -> Invitation:
    row = invitations.find_within(me.account, invitation, projects_=team.reach(me).projects)
    if row is None or (me.role != "owner" and row.role != "member"):
        raise Http404
    return row


def _back(row: Invitation) -> HttpResponse:
    return HttpResponseRedirect(reverse("project", args=[row.project_id]) if row.project_id else reverse("team"))
