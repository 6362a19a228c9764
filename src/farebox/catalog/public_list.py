"""The public price list: what visitors see, and what new accounts buy by where nothing else is said."""

from __future__ import annotations

from django.db.models import Min

from farebox.catalog.models import PriceList
from farebox.catalog.official import OFFICIAL
from farebox.catalog.shelf import HOUSE_LIST
from farebox.kit import options, settings
from farebox.kit.db import Tx


def name(tx: Tx, *, currency: str = "") -> str | None:
    """Its name: the chosen one, or else, of this currency if given, the one that came into force first.

    None where what was chosen does not exist, or nothing was chosen and of several lists none has a version.
    """
    if wanted := chosen(tx):
        return wanted if PriceList.objects.filter(name=wanted).exists() else None
    begins_us = own(tx, currency=currency)
    if len(begins_us) == 1:
        return next(iter(begins_us))
    # The first that came into force was public when it was the only one. A version can't begin in the past, so a list
    # that is made later never takes its place: visitors see another one only when somebody chooses it.
    dated = [(at_us, each) for each, at_us in begins_us.items() if at_us is not None]
    return min(dated)[1] if dated else None


def chosen(tx: Tx) -> str:
    """The name that the shop's setting says, or else the option of this process; empty where neither does."""
    return str(settings.values(tx)["public_price_list"]) or options.current().public_price_list


def own(tx: Tx, *, currency: str = "") -> dict[str, int | None]:
    """The shop's own price lists, of one currency if given: name -> when its first version begins; None without one."""
    del tx  # the ORM reads in the same transaction
    rows = PriceList.objects.exclude(name__in=[OFFICIAL, HOUSE_LIST]).order_by("name")
    if currency:
        rows = rows.filter(currency=currency)
    return dict(rows.annotate(begins_us=Min("pricelistversion__valid_from_us")).values_list("name", "begins_us"))
