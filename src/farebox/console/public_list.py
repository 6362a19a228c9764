"""The price list that visitors see."""

from __future__ import annotations

from farebox.catalog.models import PriceList
from farebox.catalog.official import OFFICIAL
from farebox.catalog.shelf import HOUSE
from farebox.kit import options
from farebox.kit.db import Tx


def name(tx: Tx) -> str | None:
    """Its name: the one that the option `public_price_list` names, else the only one that is not the official one."""
    del tx  # the ORM reads in the same transaction
    lists = PriceList.objects.values_list("name", flat=True)
    if wanted := options.current().public_price_list:
        return wanted if lists.filter(name=wanted).exists() else None
    own = list(lists.exclude(name__in=[OFFICIAL, HOUSE])[:2])
    return own[0] if len(own) == 1 else None
