"""The stored versions of a price list: which is in force when, and what it holds."""

from __future__ import annotations

from farebox.catalog import sheets
from farebox.catalog.models import Price, PriceList, PriceListVersion
from farebox.catalog.sheets import PriceRow, Sheet
from farebox.kit.errors import CommandError

Prices = dict[tuple[str, str], int]


def price_list_named(price_list: str) -> PriceList:
    """The price list of this name; CommandError naming those that there are."""
    found = PriceList.objects.filter(name=price_list).first()
    if found is None:
        known = tuple(PriceList.objects.order_by("name").values_list("name", flat=True)) or ("–",)
        raise CommandError("price_list.unknown", price_list=price_list[:80], known=known)
    return found


def at(price_list: str, at_us: int) -> PriceListVersion | None:
    """The version of a list that is in force at a moment; None before the first one."""
    started = PriceListVersion.objects.filter(price_list=price_list, valid_from_us__lte=at_us)
    return started.order_by("-valid_from_us", "-n").first()


def newest(price_list: str) -> int:
    """The number of the last version that was published, in force or still to come; 0 without one."""
    last = PriceListVersion.objects.filter(price_list=price_list).order_by("-n").values_list("n", flat=True).first()
    return int(last or 0)


def prices(version: PriceListVersion | None) -> Prices:
    """(model, usage class) -> micro-units for 1,000,000 units; empty without a version."""
    if version is None:
        return {}
    rows = Price.objects.filter(version=version).values_list("model", "usage_class", "micro_per_million")
    return {(model, usage_class): micro for model, usage_class, micro in rows}


def sheet(version: PriceListVersion) -> Sheet:
    """A version as what is shown and compared."""
    return Sheet(
        price_list=version.price_list_id,
        version=version.n,
        currency=version.price_list.currency,
        valid_from_us=version.valid_from_us,
        published_us=version.published_us,
        published_by=version.published_by,
        source=version.source,
        rate=version.rate,
        factor=version.factor,
        usd_rate=version.usd_rate,
        note=version.note,
        rows=sheets.ordered(PriceRow(*key, micro) for key, micro in prices(version).items()),
    )
