"""Price lists: create, publish (now or later), show; a published version is never changed (promises: I24).

A new version holds all prices of its list: those that it does not name are copied from the version that it
follows. Of several versions the one with the latest `valid_from_us` that has come is in force, and of two
that begin at the same time the later number: so a version that is still to come is withdrawn by publishing
another for its time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from farebox.catalog.models import Price, PriceList, PriceListVersion
from farebox.catalog.sheets import PriceRow, Sheet
from farebox.kit import audit, db, ids, money
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import next_version, sheets, shelf, versions

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


def create_list(tx: Tx, name: str, currency: str, *, about: str = "", actor: str) -> dict[str, Any]:
    """Create an empty price list in one currency, or do nothing if it exists in that currency; `changed` says which.

    CommandError for a name or currency that is not one, or a list of that name in another currency.
    """
    if name == shelf.HOUSE_LIST:
        raise CommandError("price_list.built_in", price_list=name)
    if not _NAME.match(name):
        raise CommandError("price_list.name", name=name[:80])
    try:
        money.check_currency(currency)
    except money.MoneyError as fault:
        raise CommandError(fault.refusal) from None
    facts = {"price_list": name, "currency": currency, "about": about[:300]}
    found = PriceList.objects.filter(name=name).first()
    if found is not None:
        if found.currency != currency:
            raise CommandError("price_list.other_currency", price_list=name, currency=found.currency)
        return {**facts, "about": found.about, "changed": False}
    PriceList.objects.create(name=name, currency=currency, about=facts["about"])
    audit.record(tx, actor=actor, verb="prices.create", object=name, after=facts)
    return {**facts, "changed": True}


def publish(
    tx: Tx,
    price_list: str,
    rows: Iterable[PriceRow] = (),
    *,
    from_usd_source: str = "",
    rate: str = "",
    factor: str = "1",
    usd_rate: str = "",
    remove: Iterable[str] = (),
    valid_from_us: int | None = None,
    note: str = "",
    actor: str,
    now_us: int,
) -> Sheet:
    """Publish the next version of a price list and return it; it takes effect at `valid_from_us` (None: now).

    Prices come, later ones first in rank, from the version that it follows, from the USD list
    `from_usd_source` x `rate` (units of this list's currency for one USD) x `factor` (decimal texts, frozen
    in the version; fractions of a micro-unit are dropped), and from `rows`; models in `remove` are no longer
    sold. `usd_rate`, what one USD is in this currency, is taken from `rate` or the version before if not
    given.

    CommandError, before anything is written, if a model that would be sold has no price for a usage class
    that it can produce, or a list, model, class, price, rate or time is wrong.
    """
    listed = versions.price_list_named(price_list)
    # Two operators who publish at once get numbers one after the other.
    PriceList.objects.select_for_update().get(name=price_list)
    how = {"from_usd_source": from_usd_source, "rate": rate, "factor": factor, "usd_rate": usd_rate}
    begins_us, before, made, prices = next_version.draw_up(
        listed, rows, how, remove=remove, valid_from_us=valid_from_us, now_us=now_us
    )
    version = PriceListVersion.objects.create(
        id=ids.new("plv", now_us),
        price_list=listed,
        n=versions.newest(price_list) + 1,
        valid_from_us=begins_us,
        published_us=now_us,
        published_by=actor[:200],
        note=note[:300],
        **made,
    )
    lines = sheets.ordered(PriceRow(*key, micro) for key, micro in prices.items())
    Price.objects.bulk_create(
        Price(id=f"{version.id}:{i:05d}", version=version, **line._asdict()) for i, line in enumerate(lines)
    )
    db.bump(tx, "shelf")
    sheet = versions.sheet(version)
    changes = [change._asdict() for change in sheets.diff(None if before is None else versions.sheet(before), sheet)]
    audit.record(
        tx,
        actor=actor,
        verb="prices.publish",
        object=f"{price_list} v{version.n}",
        after={"valid_from_us": begins_us, "note": note, **made, "changes": changes},
    )
    return sheet


def preview(
    tx: Tx,  # noqa: ARG001 - the ORM reads in the caller's transaction
    price_list: str,
    rows: Iterable[PriceRow] = (),
    *,
    from_usd_source: str = "",
    rate: str = "",
    factor: str = "1",
    usd_rate: str = "",
    remove: Iterable[str] = (),
    valid_from_us: int | None = None,
    now_us: int,
) -> tuple[Sheet | None, Sheet]:
    """The sheet that `publish` would follow, and the one that it would make; nothing is written. CommandError as there.

    The new sheet has the number 0 and nobody as its publisher.
    """
    listed = versions.price_list_named(price_list)
    how = {"from_usd_source": from_usd_source, "rate": rate, "factor": factor, "usd_rate": usd_rate}
    begins_us, before, made, prices = next_version.draw_up(
        listed, rows, how, remove=remove, valid_from_us=valid_from_us, now_us=now_us
    )
    lines = sheets.ordered(PriceRow(*key, micro) for key, micro in prices.items())
    after = Sheet(
        price_list=listed.name,
        version=0,
        currency=listed.currency,
        valid_from_us=begins_us,
        published_us=now_us,
        published_by="",
        note="",
        rows=lines,
        **made,
    )
    return (None if before is None else versions.sheet(before)), after


def show(tx: Tx, price_list: str, *, version: int | None = None, now_us: int) -> Sheet:  # noqa: ARG001
    """A version of a price list, the one in force if not named; CommandError if there is none."""
    listed = versions.price_list_named(price_list)
    found = (
        versions.at(listed.name, now_us)
        if version is None
        else PriceListVersion.objects.filter(price_list=listed, n=version).first()
    )
    if found is None:
        if version is None:
            raise CommandError("price_list.not_in_force", price_list=price_list)
        raise CommandError("price_list.no_version", price_list=price_list, version=version)
    return versions.sheet(found)


def diff(tx: Tx, price_list: str, before: int, after: int, *, now_us: int) -> list[sheets.PriceChange]:
    """The prices in which two versions of a list differ."""
    return sheets.diff(
        show(tx, price_list, version=before, now_us=now_us),
        show(tx, price_list, version=after, now_us=now_us),
    )


def overview(tx: Tx, *, now_us: int) -> list[dict[str, Any]]:  # noqa: ARG001
    """Every price list with its versions, oldest first, and which of them is in force."""
    out = []
    for listed in PriceList.objects.order_by("name").prefetch_related("pricelistversion_set"):
        rows = sorted(listed.pricelistversion_set.all(), key=lambda row: row.n)
        begun = [row for row in rows if row.valid_from_us <= now_us]
        current = max(begun, key=lambda row: (row.valid_from_us, row.n), default=None)
        published = [
            {
                "version": row.n,
                "valid_from_us": row.valid_from_us,
                "published_us": row.published_us,
                "note": row.note,
            }
            for row in rows
        ]
        facts = {"price_list": listed.name, "currency": listed.currency, "about": listed.about}
        out.append({**facts, "version": current.n if current else None, "versions": published})
    return out
