"""What no page can mean: a NUL in an address, a search or a form, and a field that is repeated.

PostgreSQL stores no NUL, and nobody types one. Of two values the last would win here, and the first where somebody else
reads the same request: a proxy that filters, a log, a person who looks at a link.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import render
from django.utils.datastructures import MultiValueDict

from .trouble import PROGRAMS
from .views import bad_request, not_found

# The fields that are lists: boxes to tick, of which several are.
LISTS = frozenset({"classes", "kinds", "modalities", "models", "take"})

_NUL = "\x00"
_NAME_CHARS_MAX = 64


def plain(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer an address with a NUL by 404, a search or form with one, or with a field twice, by 400."""

    def answer(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(PROGRAMS):
            return _unclear(request) or get_response(request)
        if _NUL in request.path_info:
            return not_found(request)
        if _odd(request.GET) or _odd(request.POST):
            return bad_request(request)
        twice = _twice(request.GET) or _twice(request.POST, request.FILES)
        if twice:
            return render(request, "look/error.html", {"status": 400, "twice": twice}, status=400)
        return get_response(request)

    return answer


def _odd(fields: QueryDict) -> bool:
    return any(_NUL in name or any(_NUL in value for value in values) for name, values in fields.lists())


def _twice(*parts: MultiValueDict[str, Any]) -> str:
    """The first field that is repeated and is no list; "" if there is none."""
    seen: Counter[str] = Counter()
    for fields in parts:
        for name, values in fields.lists():
            seen[name] += len(values)
    return next((name[:_NAME_CHARS_MAX] for name, count in seen.items() if count > 1 and name not in LISTS), "")


def _unclear(request: HttpRequest) -> HttpResponse | None:
    """What a program hears whose address can't be read, or None. Its lists are in bodies."""
    try:
        twice = next((name for name, values in request.GET.lists() if len(values) > 1), None)
    except TooManyFieldsSent:
        message = "The query of this URL has too many parameters."
    else:
        if twice is None:
            return None
        message = f"The parameter '{twice[:_NAME_CHARS_MAX]}' is repeated in the query of this URL."
    return JsonResponse({"error": {"code": "refused", "message": message}}, status=400)
