"""Who is at the operator's desk: a person with an operator role and a proved second factor."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec
from urllib.parse import quote

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from farebox.accounts.sign_in import refused
from farebox.kit import clock

from . import retyped

P = ParamSpec("P")
ROLES = ("support", "finance", "admin", "auditor")
STEP_UP_S = 300
_METHODS = "account_authentication_methods"
_SECOND = frozenset({"mfa", "link"})  # a one-time link of the demo counts as both factors


@dataclass(frozen=True, slots=True)
class Operator:
    """A signed-in operator; `role` is `support`, `finance`, `admin` or `auditor` (security 1: S, F, X, U)."""

    person: str
    email: str
    name: str
    role: str
    time_zone: str

    @property
    def actor(self) -> str:
        """How the audit trail names this person."""
        return f"operator:{self.person}"


View = Callable[Concatenate[HttpRequest, Operator, P], HttpResponse]


def operator(*roles: str) -> Callable[[View[P]], Callable[Concatenate[HttpRequest, P], HttpResponse]]:
    """A page for operators of these roles, all if none is named; for other operators it does not exist (404).

    Who is not signed in with both factors goes to the office's sign-in page and comes back.
    """
    allowed = roles or ROLES

    def wrap(view: View[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
        def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            me = find(request)
            if me is None:
                return HttpResponseRedirect(f"{reverse('office:sign_in')}?next={quote(request.get_full_path())}")
            if me.role not in allowed:
                no_entry(request, me.actor)
                raise Http404
            request.operator = me  # type: ignore[attr-defined]
            return view(request, me, *args, **kwargs)

        functools.update_wrapper(checked, view)
        checked.roles = allowed  # type: ignore[attr-defined]
        return checked

    return wrap


def no_entry(request: HttpRequest, actor: str) -> None:
    """Write down that somebody asked for what their role has not."""
    page = request.resolver_match.view_name if request.resolver_match else ""
    refused.note("access.refused", object=page, address=str(request.META.get("REMOTE_ADDR", "")), actor=actor)


def step_up(view: View[P]) -> View[P]:
    """Under `operator`: only within five minutes of a proof of the person; else that proof is asked for first."""

    def checked(request: HttpRequest, me: Operator, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not proved_lately(request):
            return _to_proof(request, request.get_full_path())
        return view(request, me, *args, **kwargs)

    functools.update_wrapper(checked, view)
    checked.step_up = True  # type: ignore[attr-defined]
    return checked


def ask_first(request: HttpRequest, to: str) -> HttpResponse | None:
    """Within a view, before what needs it is done: the way to a fresh proof, which leads back to the page `to`.

    None where the person has proved who he is within five minutes. The page shows again what was typed, but no secret.
    """
    return None if proved_lately(request) else _to_proof(request, to)


def _to_proof(request: HttpRequest, to: str) -> HttpResponse:
    if request.method == "POST":
        retyped.keep(request, to)
        messages.warning(request, _("Not done yet. Verify your identity, then submit it again."), extra_tags="warn")
    return HttpResponseRedirect(f"{reverse('office:step_up')}?next={quote(to)}")


def find(request: HttpRequest) -> Operator | None:
    """The operator who is signed in with both factors, or None."""
    user: Any = request.user
    if not user.is_authenticated or not user.operator_role or not user.is_active:
        return None
    if not any(method.get("method") in _SECOND for method in request.session.get(_METHODS, [])):
        return None
    return Operator(user.pk, user.email, user.name, user.operator_role, user.time_zone)


def proved_lately(request: HttpRequest) -> bool:
    """Whether the person has proved who he is within the last five minutes."""
    proofs = [float(method.get("at", 0)) for method in request.session.get(_METHODS, [])]
    return max(proofs, default=0.0) > clock.now_us() / 1_000_000 - STEP_UP_S
