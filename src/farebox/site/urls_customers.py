"""The addresses that visitors and customers ask for, without the office's: those are dear to load, few need them."""

from __future__ import annotations

from django.urls import include, path

from farebox.look import views

urlpatterns = [
    path("language/<str:code>", views.language, name="language"),
    path("theme", views.theme, name="theme"),
    path("", include("farebox.console.urls")),
]
handler400 = "farebox.look.views.bad_request"
handler403 = "farebox.look.views.forbidden"
handler404 = "farebox.look.views.not_found"
handler500 = "farebox.look.views.broken"
