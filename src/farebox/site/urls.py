"""Every address of a page; the API's are the front door's own (gateway.app)."""

from __future__ import annotations

from django.urls import include, path

from farebox.look import views

urlpatterns = [
    path("language/<str:code>", views.language, name="language"),
    path("theme", views.theme, name="theme"),
    path("", include("farebox.console.urls")),
    path("office/", include("farebox.office.urls")),
]
handler400 = "farebox.look.views.bad_request"
handler403 = "farebox.look.views.forbidden"
handler404 = "farebox.look.views.not_found"
handler500 = "farebox.look.views.broken"
