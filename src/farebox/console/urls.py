"""Addresses of the public pages and of the customer's console."""

from __future__ import annotations

from django.urls import path

from . import estimate, prices, public, status

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
]
