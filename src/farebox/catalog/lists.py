"""Price lists: create, publish (now or later), show; a published version is never changed (money.md I24).

A new version holds all prices of its list: those that it does not name are copied from the version that it
follows. Of several versions the one with the latest `valid_from_us` that has come is in force, and of two
that begin at the same time the later number: so a version that is still to come is withdrawn by publishing
another for its time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from farebox.catalog import sheets, shelf
from farebox.catalog.models import Alias, Model, Price, PriceList, PriceListVersion
from farebox.catalog.sheets import PriceRow, Sheet
from farebox.catalog.usage import CLASSES
from farebox.kit import audit, db, ids, money
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

USD = "USD"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?\Z")

_Prices = dict[tuple[str, str], int]


def create_list(tx: Tx, name: str, currency: str, *, about: str = "", actor: str) -> dict[str, str]:
    """Create an empty price list in one currency, or do nothing if it exists in that currency.

    CommandError for a name or currency that is none, or a list of that name in another currency.
    """
    if name == shelf.HOUSE:
        raise CommandError(f"The price list {name} is built in. Choose another name.")
    if not _NAME.match(name):
        raise CommandError(f"{name!r:.80} can't name a price list: use small letters, digits, `.`, `_`, `-`.")
    try:
        money.check_currency(currency)
    except money.MoneyError as fault:
        raise CommandError(f"{fault}.") from None
    facts = {"price_list": name, "currency": currency, "about": about[:300]}
    found = PriceList.objects.filter(name=name).first()
    if found is not None:
        if found.currency != currency:
            raise CommandError(f"The price list {name} exists already, in {found.currency}. Choose another name.")
        return {**facts, "about": found.about}
    PriceList.objects.create(name=name, currency=currency, about=facts["about"])
    audit.record(tx, actor=actor, verb="prices.create", object=name, after=facts)
    return facts


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
    head = _head(price_list)
    # Two operators who publish at once get numbers one after the other.
    PriceList.objects.select_for_update().get(name=price_list)
    how = {"from_usd_source": from_usd_source, "rate": rate, "factor": factor, "usd_rate": usd_rate}
    begins_us, before, made, prices = _draw_up(
        head, rows, how, remove=remove, valid_from_us=valid_from_us, now_us=now_us
    )
    last = PriceListVersion.objects.filter(price_list=head).order_by("-n").first()
    version = PriceListVersion.objects.create(
        id=ids.new("plv", now_us),
        price_list=head,
        n=1 if last is None else last.n + 1,
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
    sheet = _sheet(version)
    changes = [change._asdict() for change in sheets.diff(None if before is None else _sheet(before), sheet)]
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
    head = _head(price_list)
    how = {"from_usd_source": from_usd_source, "rate": rate, "factor": factor, "usd_rate": usd_rate}
    begins_us, before, made, prices = _draw_up(
        head, rows, how, remove=remove, valid_from_us=valid_from_us, now_us=now_us
    )
    lines = sheets.ordered(PriceRow(*key, micro) for key, micro in prices.items())
    after = Sheet(
        price_list=head.name,
        version=0,
        currency=head.currency,
        valid_from_us=begins_us,
        published_us=now_us,
        published_by="",
        note="",
        rows=lines,
        **made,
    )
    return (None if before is None else _sheet(before)), after


def _draw_up(
    head: PriceList,
    rows: Iterable[PriceRow],
    how: Mapping[str, str],
    *,
    remove: Iterable[str],
    valid_from_us: int | None,
    now_us: int,
) -> tuple[int, PriceListVersion | None, dict[str, str], _Prices]:
    """When a version would begin, what it follows, how it is made, and its prices; CommandError if it can't be."""
    begins_us = now_us if valid_from_us is None else valid_from_us
    if begins_us < now_us:
        raise CommandError("A version can't begin in the past. Leave its time out to begin now.")
    before = _at(head, begins_us)
    made = _making(head, before, **how)
    prices = _prices(before)
    for model in remove:
        _drop(prices, model)
    if how["from_usd_source"]:
        source, derived = _derive(how["from_usd_source"], made, now_us)
        made["source"] = source
        prices.update(derived)
    prices.update({(line.model, line.usage_class): line.micro_per_million for line in map(sheets.check, rows)})
    _complete(head.name, prices)
    return begins_us, before, made, prices


def show(tx: Tx, price_list: str, *, version: int | None = None, now_us: int) -> Sheet:  # noqa: ARG001
    """A version of a price list, the one in force if not named; CommandError if there is none."""
    head = _head(price_list)
    found = (
        _at(head, now_us) if version is None else PriceListVersion.objects.filter(price_list=head, n=version).first()
    )
    if found is None:
        what = "no version in force yet" if version is None else f"no version {version}"
        raise CommandError(f"The price list {price_list} has {what}.")
    return _sheet(found)


def diff(tx: Tx, price_list: str, before: int, after: int, *, now_us: int) -> list[sheets.Change]:
    """The prices in which two versions of a list differ."""
    return sheets.diff(
        show(tx, price_list, version=before, now_us=now_us),
        show(tx, price_list, version=after, now_us=now_us),
    )


def overview(tx: Tx, *, now_us: int) -> list[dict[str, Any]]:  # noqa: ARG001
    """Every price list with its versions, oldest first, and which of them is in force."""
    out = []
    for head in PriceList.objects.order_by("name"):
        current = _at(head, now_us)
        versions = [
            {
                "version": row.n,
                "valid_from_us": row.valid_from_us,
                "published_us": row.published_us,
                "note": row.note,
            }
            for row in PriceListVersion.objects.filter(price_list=head).order_by("n")
        ]
        facts = {"price_list": head.name, "currency": head.currency, "about": head.about}
        out.append({**facts, "version": current.n if current else None, "versions": versions})
    return out


def _head(price_list: str) -> PriceList:
    head = PriceList.objects.filter(name=price_list).first()
    if head is None:
        known = ", ".join(PriceList.objects.order_by("name").values_list("name", flat=True)) or "none yet"
        raise CommandError(f"There is no price list {price_list!r:.80}. There are: {known}.")
    return head


def _at(head: PriceList, at_us: int) -> PriceListVersion | None:
    started = PriceListVersion.objects.filter(price_list=head, valid_from_us__lte=at_us)
    return started.order_by("-valid_from_us", "-n").first()


def _prices(version: PriceListVersion | None) -> _Prices:
    if version is None:
        return {}
    rows = Price.objects.filter(version=version).values_list("model", "usage_class", "micro_per_million")
    return {(model, usage_class): micro for model, usage_class, micro in rows}


def _sheet(version: PriceListVersion) -> Sheet:
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
        rows=sheets.ordered(PriceRow(*key, micro) for key, micro in _prices(version).items()),
    )


def _making(
    head: PriceList,
    before: PriceListVersion | None,
    *,
    from_usd_source: str,
    rate: str,
    factor: str,
    usd_rate: str,
) -> dict[str, str]:
    """The frozen facts of how a version is made: source, rate, factor, usd_rate."""
    if head.currency == USD:
        if {text for text in (rate, usd_rate) if text} - {"1"}:
            raise CommandError(
                f"The price list {head.name} is in USD, so its rate is 1. Use a factor to change prices."
            )
        rate = usd_rate = "1"
    elif from_usd_source and not rate:
        raise CommandError(f"Say how many {head.currency} one USD is: a rate such as 7.25.")
    usd_rate = usd_rate or rate or (before.usd_rate if before is not None else "")
    if not usd_rate:
        raise CommandError(f"Say how many {head.currency} one USD is (usd_rate): balance pages speak dollars too.")
    if from_usd_source:
        made = {"source": from_usd_source, "rate": rate, "factor": factor}
    elif before is not None:
        made = {"source": before.source, "rate": before.rate, "factor": before.factor}
    else:
        made = {"source": "", "rate": rate or usd_rate, "factor": "1"}
    made["usd_rate"] = usd_rate
    for name in ("usd_rate", "rate", "factor"):
        positive(made[name], name)
    return made


def positive(text: str, name: str) -> Fraction:
    """The exact value of a positive decimal text such as `7.25`; CommandError naming it otherwise."""
    value = Fraction(text) if _DECIMAL.match(text) else Fraction(0)
    if value <= 0:
        raise CommandError(f"{name} must be a positive decimal number such as 7.25, not {text!r:.40}.")
    return value


def convert(micro_usd: int, *, rate: str, factor: str) -> int:
    """USD price x rate x factor in micro-units; a fraction of a micro-unit is dropped (the customer wins)."""
    return int(micro_usd * positive(rate, "rate") * positive(factor, "factor"))


def _derive(source: str, made: Mapping[str, str], now_us: int) -> tuple[str, _Prices]:
    head = _head(source)
    if head.currency != USD:
        raise CommandError(f"The price list {source} is in {head.currency}; a source must be in USD.")
    version = _at(head, now_us)
    if version is None:
        raise CommandError(f"The price list {source} has no version in force yet.")
    derived = {key: convert(micro, rate=made["rate"], factor=made["factor"]) for key, micro in _prices(version).items()}
    return f"{source} v{version.n}", derived


def _drop(prices: _Prices, model: str) -> None:
    gone = [key for key in prices if key[0] == model]
    if not gone:
        raise CommandError(f"{model!r:.80} has no price to remove.")
    for key in gone:
        del prices[key]


def _complete(price_list: str, prices: _Prices) -> None:
    """Refuse a version in which a model lacks a price for a class that it can produce."""
    if not prices:
        raise CommandError(f"The new version of {price_list} would hold no price at all.")
    for key, micro in prices.items():
        sheets.check(PriceRow(*key, micro))
    cards = {row.name: shelf.card_of(row) for row in Model.objects.all()}
    for model in sorted({model for model, _ in prices}):
        card = cards.get(model)
        if card is None:
            target = Alias.objects.filter(name=model).values_list("model_id", flat=True).first()
            hint = f"it is an alias of {target}: price that" if target else "define it first"
            raise CommandError(f"{model!r:.80} is no model: {hint}.")
        missing = [name for name in CLASSES if name in card.classes and (model, name) not in prices]
        if missing:
            raise CommandError(
                f"{model} can produce {missing[0]}, which has no price in {price_list}. "
                f"Give a price for: {', '.join(missing)}."
            )
