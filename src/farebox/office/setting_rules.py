"""Which settings of the shop fit each other."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from farebox.catalog import overview
from farebox.kit import settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.office import refusals


def wrong(tx: Tx, changes: dict[str, Any], *, now_us: int) -> dict[str, str]:
    """What is wrong with these settings beside those that stay as they are, by setting."""
    errors = wrong_lists(tx, dict(settings.values(tx)) | changes)
    for name, value in changes.items():
        try:
            settings.check_moved(tx, {name: value}, now_us=now_us)
        except CommandError as fault:
            errors[name] = refusals.said(fault)
    return errors


def wrong_lists(tx: Tx, values: dict[str, Any]) -> dict[str, str]:
    """What is wrong with the price lists that are named, by setting."""
    shown, bought_by = values["public_price_list"], values["signup_price_list"]
    fit = overview.list_names(tx, currency=values["signup_currency"])
    errors = {}
    if shown and shown not in overview.list_names(tx):
        errors["public_price_list"] = _("There is no such price list.")
    elif shown and not bought_by and shown not in fit:
        errors["signup_price_list"] = _("The public price list is in another currency: name one for new accounts.")
    if bought_by and bought_by not in fit:
        errors["signup_price_list"] = _("No such price list in this currency.")
    return errors
