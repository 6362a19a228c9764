"""Language and theme, and the pages of errors."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from farebox.accounts.sign_in import refused

from .middleware import CHINESE, ENGLISH, LANGUAGE_COOKIE, PREFIX, THEME_COOKIE, THEMES
from .trouble import stranger

# How a choice is kept: for a year, over TLS alone, as every cookie of the shop.
KEPT: dict[str, Any] = {"max_age": 365 * 86_400, "secure": True, "httponly": True, "samesite": "Lax"}


def own_page(given: str) -> str:
    """`given` if it is a path of ours, else the first page: nobody is sent elsewhere from here."""
    safe = url_has_allowed_host_and_scheme(given, allowed_hosts=None) and given.startswith("/")
    return given if safe and "\\" not in given else "/"


@require_GET
def language(request: HttpRequest, code: str) -> HttpResponse:
    """Continue in this language; it is remembered."""
    path = own_page(request.GET.get("next", "/"))
    if path.startswith(PREFIX + "/"):
        path = own_page(path.removeprefix(PREFIX))
    response = HttpResponseRedirect((PREFIX if code == CHINESE else "") + path)
    if code in {CHINESE, ENGLISH}:
        response.set_cookie(LANGUAGE_COOKIE, code, **KEPT)
    return response


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Light or dark, remembered."""
    response = HttpResponseRedirect(own_page(request.POST.get("next", "/")))
    if (chosen := request.POST.get("theme")) in THEMES:
        response.set_cookie(THEME_COOKIE, chosen, **KEPT)
    return response


def _error(request: HttpRequest, status: int) -> HttpResponse:
    return render(request, "look/error.html", {"status": status}, status=status)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400 as a page."""
    del exception  # what it says is not for visitors
    return _error(request, 400)


def forbidden(request: HttpRequest, exception: Exception | None = None, reason: str = "") -> HttpResponse:
    """403 as a page; with a reason it is a form without its token."""
    del exception
    page = request.resolver_match.view_name if request.resolver_match else ""
    refused.note(
        "form.refused" if reason else "access.refused", object=page, address=str(request.META.get("REMOTE_ADDR", ""))
    )
    return _error(request, 403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404 as a page."""
    del exception
    return _error(request, 404)


def broken(request: HttpRequest) -> HttpResponse:
    """500 as a page; it shows nobody as signed in, for the store may be what is broken."""
    stranger(request)
    return _error(request, 500)
