"""Addresses of the operator's office."""

from __future__ import annotations

from django.urls import path

from farebox.console import todo

app_name = "office"
urlpatterns = [
    # signing in
    path("sign-in", todo.page, name="sign_in"),
    path("sign-out", todo.page, name="sign_out"),
    path("step-up", todo.page, name="step_up"),
    path("profile", todo.page, name="profile"),
    path("operators", todo.page, name="operators"),
    # dashboard
    path("", todo.page, name="home"),
    # upstreams
    path("upstreams", todo.page, name="upstreams"),
    # models and prices
    path("models", todo.page, name="models"),
    path("price-lists", todo.page, name="price_lists"),
    # customers and money
    path("customers", todo.page, name="customers"),
    path("money", todo.page, name="money"),
    # the house
    path("audit", todo.page, name="audit"),
    path("announcements", todo.page, name="announcements"),
    path("settings", todo.page, name="settings"),
]
