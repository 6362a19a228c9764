"""The management API (`/office/api`): what the office does, for scripts with a token of their own.

Its router takes no cookie and no API key. What a role may not see or do is not there (404). Money, prices and
operators take a fresh proof of a person: a script proposes money and settings and drafts prices, and nothing here
approves or publishes, or changes an operator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import get_script_prefix, reverse
from django.utils import translation
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser

from farebox.accounts.sign_in.tokens import Bearer
from farebox.kit import options, outline, places
from farebox.kit.errors import CommandError, FareboxError
from farebox.look import refusals
from farebox.office.principal import Operator, operator

from . import channels, customers, goods, people, proposals, shapes, shop, words
from .roles import ALL, answers, find, for_roles

log = structlog.get_logger(__name__)

VERSION = "1"
_CODES = {
    400: "refused", 401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 422: "invalid",
    429: "rate_limited", 500: "internal_error", 503: "unavailable",
}  # fmt: skip


class _Parser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        """The JSON body; 400 where a name is repeated in an object, for which of the two is meant can't be known.

        What would take the interpreter for too long is refused before it is decoded.
        """
        try:
            if len(request.body) > outline.SMALL_BYTES:
                outline.check(request.body)
            if places.repeats(request.body):
                place = places.find(request.body, repeated=True)
                raise HttpError(400, f"A name comes twice in the JSON body{f' (in {place})' if place else ''}.")
        except outline.TooMuch as fault:
            raise HttpError(400, f"{fault}.") from None
        except (msgspec.MsgspecError, ValueError):
            raise HttpError(400, "The body is not JSON that can be read.") from None
        return super().parse_body(request)


management = NinjaAPI(
    title="Farebox management",
    version=VERSION,
    description="What the office does, for scripts. Amounts are millionths of the currency's unit, times microseconds.",
    docs_url=None,
    openapi_url=None,
    parser=_Parser(),
    urls_namespace="management",
)
for each in (goods, channels, people, customers, proposals, shop):
    management.add_router("", each.router)


def fault(status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None) -> JsonResponse:
    """An error as every error of this API looks."""
    body = {"error": {"code": code or _CODES.get(status, "refused"), "message": message}}
    answer = JsonResponse(body, status=status)
    if status == 401:
        answer["WWW-Authenticate"] = 'Bearer realm="Farebox management"'
    if status in {429, 503}:
        answer["Retry-After"] = "60" if status == 429 else "2"
    for name, value in (headers or {}).items():
        answer[name] = value
    return answer


@management.exception_handler(CommandError)
def _refused(_request: HttpRequest, error: CommandError) -> HttpResponse:
    return fault(400, refusals.of(error, "api"))


@management.exception_handler(FareboxError)
def _trouble(_request: HttpRequest, error: FareboxError) -> HttpResponse:
    log.warning("office.api", fault=error.message)
    return fault(503, "The service can't reach its books right now. Please try again.")


@management.exception_handler(AuthenticationError)
def _unknown(_request: HttpRequest, _error: AuthenticationError) -> HttpResponse:
    return fault(401, "Send a token of the office: Authorization: Bearer fbo-….")


@management.exception_handler(HttpError)
def _http(_request: HttpRequest, error: HttpError) -> HttpResponse:
    # What the parser says of a body comes wrapped in a sentence that says less.
    said = error.__cause__ if isinstance(error.__cause__, HttpError) else error
    return fault(said.status_code, str(said.message))


@management.exception_handler(Http404)
def _absent(_request: HttpRequest, _error: Http404) -> HttpResponse:
    return fault(404, "There is no such thing here.")


@management.exception_handler(ValidationError)
def _invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    first = error.errors[0] if error.errors else {}
    place = ".".join(str(each) for each in first.get("loc", ())[1:])
    return fault(422, f"{place}: {first.get('msg', 'invalid')}"[:400])


@management.exception_handler(Exception)
def _broken(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("office.api", fault=repr(error), path=request.path, exc_info=error)
    return fault(500, f"This is our fault. The request is {request.META.get('farebox.request', '')}.")


@management.get("/me", response=answers(shapes.Me), tags=["token"], **for_roles(*ALL))
def me(request: Any) -> Any:
    """The token that makes the request."""
    found: Bearer = request.auth
    return {
        "token": found.token,
        "name": found.name,
        "role": found.role,
        "person": found.person,
        "email": found.email,
    }


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """The whole API as OpenAPI, for a token of any role."""
    given = request.headers.get("authorization", "")
    try:
        known = find(request, given.removeprefix("Bearer ").strip())
    except HttpError as error:
        return fault(error.status_code, str(error.message))
    return JsonResponse(described()) if known else fault(401, "Send a token of the office.")


def described() -> dict[str, Any]:
    """The OpenAPI description, with the addresses of this shop."""
    return _described() | {"servers": [{"url": options.current().origin}]}


@functools.lru_cache(maxsize=1)
def _described() -> dict[str, Any]:
    return dict(management.get_openapi_schema(path_prefix="/office/api/"))


@require_safe
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """What the API can do, for people: every operation with its fields."""
    found = described()
    rows = []
    for path, operations in found["paths"].items():
        for method, each in operations.items():
            body = each.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            rows.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "does": words.does(each.get("description", "")),
                    "roles": each.get("x-roles", []),
                    "params": [param["name"] for param in each.get("parameters", [])],
                    "fields": _fields(found, body),
                }
            )
    context = {"rows": rows, "base_url": options.current().origin + _plain(reverse("office:api")), "mine": me.role}
    return render(request, "office/api.html", context)


def _plain(path: str) -> str:
    """The path without the language of the page: programs have none."""
    return "/" + path.removeprefix(get_script_prefix())


def _fields(found: dict[str, Any], body: dict[str, Any]) -> list[tuple[str, bool]]:
    """(field, whether it must be given) of a request."""
    name = str(body.get("$ref", "")).rpartition("/")[2]
    shape = found.get("components", {}).get("schemas", {}).get(name, {})
    return [(field, field in shape.get("required", [])) for field in shape.get("properties", {})]


@csrf_exempt
def unknown(_request: HttpRequest, rest: str = "") -> HttpResponse:
    """Paths below the API that are none of its."""
    del rest
    return fault(404, "There is no such path.")


def _in_json(view: Callable[..., Any]) -> Callable[..., Any]:
    """A view of the API whose every answer is JSON: also to a method that it does not know."""

    @functools.wraps(view)
    def inner(*args: Any, **kwargs: Any) -> Any:
        with translation.override("en"):  # programs read it, whatever language their library asks for
            response = view(*args, **kwargs)
        if response.status_code == 405 and "json" not in response.get("Content-Type", ""):
            return fault(405, "This path has other methods.", headers={"Allow": response["Allow"]})
        return response

    return csrf_exempt(inner)


def paths() -> list[Any]:
    """The addresses of the operations, for `office.urls`."""
    found = management.urls[0]
    for each in found:
        each.callback = _in_json(each.callback)  # type: ignore[arg-type]  # a route of ours has one
    return list(found)
