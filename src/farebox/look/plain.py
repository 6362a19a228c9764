"""What no page can mean: a NUL in an address, a search or a form. PostgreSQL stores none, and nobody types one."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, QueryDict

from .trouble import PROGRAMS
from .views import bad_request, not_found

_NUL = "\x00"


def plain(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer an address with a NUL by 404, a search or a form with one by 400; no page sees them."""

    def answer(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(PROGRAMS):
            return get_response(request)
        if _NUL in request.path_info:
            return not_found(request)
        if _odd(request.GET) or _odd(request.POST):
            return bad_request(request)
        return get_response(request)

    return answer


def _odd(fields: QueryDict) -> bool:
    return any(_NUL in name or any(_NUL in value for value in values) for name, values in fields.lists())
