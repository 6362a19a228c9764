"""What templates of the door ask for."""

from __future__ import annotations

from typing import Any

from django import template

from farebox.console.sign_in.services import Service, configured

register = template.Library()


@register.simple_tag
def services() -> list[Service]:
    """The services by which visitors may sign in."""
    return configured()


@register.simple_tag
def connection(accounts: Any, service: Service) -> Any:
    """The person's connection to a service, or None."""
    return next((each for each in accounts if each.provider == service.id), None)
