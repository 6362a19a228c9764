"""Addresses of the public pages and of the customer's console."""

from __future__ import annotations

from django.urls import include, path

from . import home
from .keys import keys, playground
from .prices import estimate, prices
from .public import public, security_txt, status
from .settings import my_data, profile
from .team import invite, join, members, team, trail
from .usage import calls, export, statement, usage

urlpatterns = [
    path("", public.landing, name="landing"),
    path("prices", prices.page, name="prices"),
    path("prices.json", prices.as_json, name="prices.json"),
    path("prices.csv", prices.as_csv, name="prices.csv"),
    path("prices/<path:name>", prices.model, name="price"),
    path("estimate", estimate.page, name="estimate"),
    path("status", status.page, name="status"),
    path("guide", public.guide, name="guide"),
    path("rules", public.charging, name="rules"),
    path("terms", public.terms, name="terms"),
    path("privacy", public.privacy, name="privacy"),
    path(".well-known/security.txt", security_txt.text, name="security.txt"),
    # signing up and in
    path("account/", include("farebox.console.sign_in.sign_urls")),
    # home
    path("console/", home.page, name="home"),
    # keys and playground
    path("console/keys", keys.page, name="keys"),
    path("console/keys/new", keys.new, name="key.new"),
    path("console/keys/<str:key>", keys.shown, name="key"),
    path("console/keys/<str:key>/made", keys.made, name="key.made"),
    path("console/keys/<str:key>/change", keys.change, name="key.change"),
    path("console/keys/<str:key>/rotate", keys.rotate, name="key.rotate"),
    path("console/keys/<str:key>/revoke", keys.revoke, name="key.revoke"),
    path("console/playground", playground.page, name="playground"),
    path("console/playground/models", playground.models, name="playground.models"),
    path("console/playground/key", playground.key, name="playground.key"),
    # usage
    path("console/usage", usage.page, name="usage"),
    path("console/calls", calls.page, name="calls"),
    path("console/calls.csv", export.as_csv, name="calls.csv"),
    path("console/calls.json", export.as_json, name="calls.json"),
    path("console/calls/<str:call>", calls.receipt, name="call"),
    path("console/statements", statement.months, name="statements"),
    path("console/statements/<str:name>", statement.month, name="statement"),
    # team
    path("console/team", team.page, name="team"),
    path("console/team/projects", team.new_project, name="project.new"),
    path("console/team/projects/<str:project>", team.project, name="project"),
    path("console/team/projects/<str:project>/cap", team.cap_project, name="project.cap"),
    path("console/team/projects/<str:project>/keys-end", team.end_keys, name="project.keys_end"),
    path("console/team/projects/<str:project>/archive", team.archive, name="project.archive"),
    path("console/team/members/<str:member>", members.page, name="member"),
    path("console/team/members/<str:member>/cap", members.cap, name="member.cap"),
    path("console/team/members/<str:member>/role", members.role, name="member.role"),
    path("console/team/members/<str:member>/remove", members.remove, name="member.remove"),
    path("console/team/members/<str:member>/sign-out", members.sign_out, name="member.sign_out"),
    path("console/team/invite", invite.page, name="invite"),
    path("console/team/invitations/<str:invitation>/resend", invite.resend, name="invitation.resend"),
    path("console/team/invitations/<str:invitation>/revoke", invite.revoke, name="invitation.revoke"),
    path("console/team/account", team.switch, name="account.switch"),
    path("console/changes", trail.page, name="changes"),
    path("join/<str:code>", join.page, name="join"),
    path("console/joined/<str:invitation>", join.joined, name="joined"),
    # settings
    path("console/settings", profile.page, name="settings"),
    path("console/settings/person", profile.save_person, name="settings.person"),
    path("console/settings/notices", profile.save_notices, name="settings.notices"),
    path("console/settings/sessions", profile.end_sessions, name="settings.sessions_end"),
    path("console/settings/sessions/<str:session>", profile.end_session, name="settings.session_end"),
    path("console/settings/data.json", my_data.download, name="settings.data"),
    path("console/settings/close", profile.close, name="settings.close"),
]
