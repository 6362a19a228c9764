"""Dangerous things ask for a proof of the person that is younger than five minutes (security 2)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

from allauth.core.exceptions import ReauthenticationRequired
from django.http import HttpRequest, HttpResponse

from farebox.kit import clock

from .principal import Principal, View, proved_at

P = ParamSpec("P")
STEP_UP_S = 300


def step_up(view: View[P]) -> View[P]:
    """Under `signed_in` or `needs`: who has proved himself longer ago is asked first, and the form goes on after it."""

    def checked(request: HttpRequest, me: Principal, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not proved_lately(request):
            raise ReauthenticationRequired
        return view(request, me, *args, **kwargs)

    functools.update_wrapper(checked, view)
    checked.step_up = True  # type: ignore[attr-defined]
    return checked


def ask(request: HttpRequest) -> None:
    """Within a view, before what needs it is done: who has proved himself longer ago is asked first."""
    if not proved_lately(request):
        raise ReauthenticationRequired


def rotated(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Around a page that takes a fresh proof: with the proof the session gets a new key (security 2)."""

    @functools.wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        before = proved_at(request)
        response = view(request, *args, **kwargs)
        if request.user.is_authenticated and proved_at(request) > before:
            request.session.cycle_key()
        return response

    return checked


def proved_lately(request: HttpRequest) -> bool:
    """Whether he has signed in or proved himself within five minutes."""
    return proved_at(request) > clock.now_us() / 1_000_000 - STEP_UP_S
