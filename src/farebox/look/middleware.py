"""What every page gets: its language and theme, headers that keep others out, and a check of where a form came from."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation.trans_real import parse_accept_lang_header

from farebox.accounts.sign_in import refused

Answer = Callable[[HttpRequest], HttpResponse]

CHINESE, ENGLISH = "zh-hans", "en"
LANGUAGE_COOKIE, THEME_COOKIE = "lang", "theme"
PREFIX = "/zh"
THEMES = ("light", "dark")
_OWN = frozenset({"same-origin", "none"})


def language(get_response: Answer) -> Answer:
    """The language: the prefix `/zh`, then the cookie, then what the browser prefers."""

    def answer(request: HttpRequest) -> HttpResponse:
        chosen = _chosen(request)
        with translation.override(chosen):
            request.LANGUAGE_CODE = chosen
            response = get_response(request)
        response.headers.setdefault("Content-Language", "zh-Hans" if chosen == CHINESE else "en")
        patch_vary_headers(response, ("Accept-Language", "Cookie"))
        return response

    return answer


def _chosen(request: HttpRequest) -> str:
    if request.META.get("SCRIPT_NAME") == PREFIX:
        return CHINESE
    cookie = request.COOKIES.get(LANGUAGE_COOKIE)
    if cookie in {CHINESE, ENGLISH}:
        return str(cookie)
    for accepted, _ in parse_accept_lang_header(request.headers.get("accept-language", "")):
        if accepted.startswith("zh"):
            return CHINESE
        if accepted.startswith("en"):
            return ENGLISH
    return ENGLISH


def guard(get_response: Answer) -> Answer:
    """Refuse forms that another site sends, and give every page its headers (security 2)."""

    def answer(request: HttpRequest) -> HttpResponse:
        if request.method not in {"GET", "HEAD", "OPTIONS"} and not _is_ours(request):
            refused.note("form.refused", object="another site", address=str(request.META.get("REMOTE_ADDR", "")))
            response = HttpResponse("This form was sent from another site.", status=403, content_type="text/plain")
        else:
            _restore_origin(request)
            response = get_response(request)
        headers = response.headers
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = (
            "camera=(), geolocation=(), microphone=(), payment=(), usb=(), publickey-credentials-get=(self), "
            "publickey-credentials-create=(self), clipboard-write=(self)"
        )
        if not request.path_info.startswith(settings.STATIC_URL):
            headers.setdefault("Cache-Control", "no-store")
        return response

    return answer


def _restore_origin(request: HttpRequest) -> None:
    """Our pages send no referrer, so that browsers call the origin of our own forms `null`; Django compares it."""
    if request.headers.get("origin") == "null" and request.headers.get("sec-fetch-site") in _OWN:
        request.META["HTTP_ORIGIN"] = f"{request.scheme}://{request.get_host()}"


def _is_ours(request: HttpRequest) -> bool:
    """Whether the browser says that it is our own page that sends this."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.get_host()
