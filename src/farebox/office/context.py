"""What the operators' templates know of who is signed in."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from farebox.look.sessions import area_of

from .principal import find


def operator(request: HttpRequest) -> dict[str, Any]:
    """`me`, the operator or None."""
    if area_of(request) != "office" or not hasattr(request, "user"):
        return {}
    return {"me": getattr(request, "operator", None) or find(request)}
