"""Whose prices a page shows that needs no login: those of the account that is signed in, or the public ones."""

from __future__ import annotations

from django.http import HttpRequest

from farebox.accounts.models import Account
from farebox.console.principal import find


def price_list(request: HttpRequest) -> str:
    """The price list of the account that is signed in; empty for visitors and operators, who see the public one."""
    me = find(request)
    if me is None or me.must_prove:
        return ""
    request.principal = me  # type: ignore[attr-defined]  # the templates need not look for him again
    return Account.objects.values_list("price_list", flat=True).get(id=me.account)
