"""Which cookie carries a session: one for the customers' pages, another for the operators' (security 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import UpdateError
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from farebox.accounts.sign_in.sessions import AREAS, SessionStore

COOKIES = {"console": "__Host-s", "office": "__Host-o"}
PERSON = "farebox.person"
"""Where a request's environment has the id of its person, once their session was read; empty for nobody."""
_SAME_SITE = {"console": "Lax", "office": "Strict"}


def area_at(path: str) -> str:
    """`office` below /office, else `console`."""
    return "office" if path == "/office" or path.startswith("/office/") else "console"


def area_of(request: HttpRequest) -> str:
    """The area of a request's path."""
    return area_at(request.path_info)


def key_of(cookies: str, area: str) -> str | None:
    """The session's key in a `Cookie` head; None where there is none, or where two differ: neither is believed then."""
    pairs = (each.partition("=") for each in cookies.split(";"))
    found = {value.strip().strip('"') for name, _, value in pairs if name.strip() == COOKIES[area]}
    return found.pop() if len(found) == 1 else None


def sessions(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Give each request the session of its area, and its cookie to the answer where the session has changed."""

    def answer(request: HttpRequest) -> HttpResponse:
        area = area_of(request)
        where = (str(request.META.get("REMOTE_ADDR", "")), request.headers.get("user-agent", ""))
        session: Any = SessionStore(key_of(request.META.get("HTTP_COOKIE", ""), area), area=area, where=where)
        request.session = session
        response = get_response(request)
        session = request.session  # a page may have put another object for the same session in its place
        if (held := vars(session).get("_session_cache")) is not None:  # it was read, and could be
            request.META.setdefault(PERSON, held.get(SESSION_KEY, ""))
        name = COOKIES[area]
        if session.accessed:
            patch_vary_headers(response, ("Cookie",))
        if session.is_empty() if session.modified or session.accessed else False:
            if name in request.COOKIES:
                response.set_cookie(
                    name,
                    "",
                    max_age=0,
                    secure=True,
                    httponly=True,
                    samesite=_SAME_SITE[area],  # type: ignore[arg-type]
                )
        elif session.modified and response.status_code < 500:
            try:
                session.save()
            except UpdateError:  # signed out elsewhere in the meantime: it stays so
                return response
            response.set_cookie(
                name,
                session.session_key,
                max_age=AREAS[area].age_s,
                secure=True,
                httponly=True,
                samesite=_SAME_SITE[area],  # type: ignore[arg-type]
            )
        return response

    return answer
