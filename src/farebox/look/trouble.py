"""The page for what is nobody's mistake: the store is away, or too much to do. It says 503, and when to return."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from farebox.kit import dbfaults
from farebox.kit.errors import FareboxError, StoreUnavailable, Trouble

PROGRAMS = "/office/api/"  # what programs send is read by its schema, and refused in JSON
# Where a request is refused before a page has seen it: too large, too slow, too many.
REFUSAL = "farebox.refusal"

log = structlog.get_logger(__name__)


def stranger(request: HttpRequest) -> None:
    """Let the page that is drawn now ask the store for nobody."""
    if hasattr(request, "user"):
        del request.user


def trouble(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer troubles that pages raise with their own status."""

    def answer(request: HttpRequest) -> HttpResponse:
        refusal: FareboxError | None = request.META.get(REFUSAL)
        return get_response(request) if refusal is None else _refused(request, refusal)

    def process_exception(request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, dbfaults.errors()) and not dbfaults.broken_rule(exception):
            dbfaults.drop_lost(exception)
            exception = StoreUnavailable(f"The store is not available: {dbfaults.words(exception)}")
        if not isinstance(exception, Trouble) or exception.status != 503:
            return None
        if isinstance(exception, StoreUnavailable):
            log.warning("page.store", fault=exception.message)  # no path: some hold a code
            stranger(request)
        return _refused(request, exception)

    answer.process_exception = process_exception  # type: ignore[attr-defined]  # Django looks for it
    return answer


def _refused(request: HttpRequest, refusal: FareboxError) -> HttpResponse:
    response: HttpResponse
    if request.path_info.startswith(PROGRAMS):
        body = {"error": {"code": refusal.code, "message": refusal.message}}
        response = JsonResponse(body, status=refusal.status)
    else:
        response = render(request, "look/error.html", {"status": refusal.status}, status=refusal.status)
    for name, value in refusal.headers():
        response.headers[name] = value
    return response
