"""Addresses of the public pages and of the customer's console."""

from __future__ import annotations

from django.urls import include, path

from . import estimate, prices, public, status, todo

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
    # signing up and in
    path("account/", include("allauth.urls")),
    # home
    path("console/", todo.page, name="home"),
    # keys and playground
    path("console/keys", todo.page, name="keys"),
    path("console/playground", todo.page, name="playground"),
    # usage
    path("console/usage", todo.page, name="usage"),
    path("console/calls", todo.page, name="calls"),
    path("console/statements", todo.page, name="statements"),
    # team
    path("console/team", todo.page, name="team"),
    # settings
    path("console/settings", todo.page, name="settings"),
]
