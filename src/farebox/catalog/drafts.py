"""Drafts of prices: one person draws a version up, another publishes it; both see the same differences first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

from farebox.catalog.models import PriceDraft, PriceList
from farebox.catalog.sheets import PriceRow
from farebox.catalog.usage import Usage
from farebox.kit import audit, ids
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.refusal import word

from . import price_lists, pricing, sheets, versions

# The call by which people judge a price: so many units of each class.
EXAMPLE = {"input": 1000, "output": 500}
ROWS_MAX = 5000
LAPSES_US = 72 * 3600 * 1_000_000
_encode = msgspec.json.Encoder().encode


class DraftContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `lists.publish` is given; rows are (model, usage class, micro-units for 1,000,000 units)."""

    rows: list[tuple[str, str, int]] = []
    from_usd_source: str = ""
    rate: str = ""
    factor: str = "1"
    usd_rate: str = ""
    remove: list[str] = []
    valid_from_us: int | None = None


class DraftedChange(NamedTuple):
    """A price that would change; `steep` where by more than the shop's factor, or to or from nothing."""

    model: str
    usage_class: str
    before_micro: int | None
    after_micro: int | None
    steep: bool


class Example(NamedTuple):
    """What one example call of a model costs before and after, in micro-units; None where it is not sold."""

    model: str
    before_micro: int | None
    after_micro: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What a draft would change, line by line and for an example call of each model concerned."""

    before: sheets.Sheet | None
    after: sheets.Sheet
    lines: tuple[DraftedChange, ...]
    examples: tuple[Example, ...]


def draw_up(
    tx: Tx, price_list: str, content: DraftContent, *, note: str = "", actor: str, requester: str, now_us: int
) -> PriceDraft:
    """Write a draft down for somebody to publish; CommandError where it could not be, or would change nothing."""
    if len(content.rows) > ROWS_MAX:
        raise CommandError("draft.too_many", many=ROWS_MAX)
    before, after = _preview(tx, price_list, content, now_us)
    if before is not None and not sheets.diff(before, after) and after.usd_rate == before.usd_rate:
        raise CommandError("draft.no_change")
    draft = PriceDraft.objects.create(
        id=ids.new("pld", now_us),
        price_list_id=price_list,
        base_n=versions.newest(price_list),
        source_n=_in_force(content.from_usd_source, now_us),
        plan=_encode(content).decode(),
        note=note[:300],
        requester=requester,
        made_us=now_us,
    )
    audit.record(tx, actor=actor, verb="prices.propose", object=price_list, after={"draft": draft.id, "note": note})
    return draft


def publish(
    tx: Tx, draft: str, *, actor: str, decider: str, single_person: bool, now_us: int
) -> tuple[PriceDraft, sheets.Sheet]:
    """Publish what another person has created, once; CommandError if it was decided, is out of date, or is one's own.

    `single_person` says that this shop lets one person do both; the row says so too then.
    """
    row = find(draft)
    alone = row.requester == decider
    if alone and not single_person:
        raise CommandError("draft.own")
    content = content_of(row)
    # Two drafts of one version that are published at one time: the second one waits here, and then is out of date. And
    # nobody publishes another version of the source meanwhile.
    names = {row.price_list_id, content.from_usd_source}
    list(PriceList.objects.select_for_update().filter(name__in=names).order_by("name"))
    row = find(draft)
    if row.state != "open":
        raise CommandError("draft.decided", state=word("state", row.state))
    _still(row, content, now_us)
    changed = PriceDraft.objects.filter(id=row.id, state="open").update(
        state="published", decider=decider, decided_us=now_us, single_person=alone
    )
    if changed != 1:
        raise CommandError("draft.decided", state=word("state", find(row.id).state))
    sheet = price_lists.publish(
        tx,
        row.price_list_id,
        [PriceRow(*line) for line in content.rows],
        **_how(content),
        note=row.note,
        actor=actor,
        now_us=now_us,
    )
    PriceDraft.objects.filter(id=row.id).update(version_n=sheet.version)
    after = {"draft": row.id, "version": sheet.version, "requester": row.requester, "single_person": alone}
    audit.record(tx, actor=actor, verb="prices.approve", object=row.price_list_id, after=after)
    return find(row.id), sheet


def drop(tx: Tx, draft: str, *, actor: str, decider: str, now_us: int) -> PriceDraft:
    """Discard a draft unpublished; CommandError if it was decided before."""
    row = find(draft)
    changed = PriceDraft.objects.filter(id=row.id, state="open").update(
        state="dropped", decider=decider, decided_us=now_us
    )
    if changed != 1:
        raise CommandError("draft.decided", state=word("state", row.state))
    audit.record(tx, actor=actor, verb="prices.drop", object=row.price_list_id, before={"draft": row.id})
    return find(row.id)


def find(draft: str) -> PriceDraft:
    """The draft of this id; CommandError otherwise."""
    row = PriceDraft.objects.select_related("price_list").filter(id=draft).first()
    if row is None:
        raise CommandError("draft.unknown")
    return row


def of_list(tx: Tx, price_list: str = "", *, limit: int = 20) -> list[PriceDraft]:
    """The open drafts of a list, or of all, newest first."""
    del tx  # the ORM reads in the same transaction
    rows = PriceDraft.objects.filter(state="open").order_by("-id")
    return list((rows.filter(price_list=price_list) if price_list else rows)[:limit])


def content_of(row: PriceDraft) -> DraftContent:
    """What a draft would publish."""
    return msgspec.json.decode(row.plan, type=DraftContent)


def difference(tx: Tx, row: PriceDraft, *, warn_factor: str, now_us: int) -> Difference:
    """What publishing the draft now would change; CommandError where it can't be published any more."""
    content = content_of(row)
    _still(row, content, now_us)
    before, after = _preview(tx, row.price_list_id, content, now_us)
    return compare(before, after, warn_factor=warn_factor)


def compare(before: sheets.Sheet | None, after: sheets.Sheet, *, warn_factor: str) -> Difference:
    """Two sheets line by line, steep changes marked, and an example call of each model that differs."""
    changes = sheets.diff(before, after)
    lines = tuple(DraftedChange(*each, steep(each.before_micro, each.after_micro, warn_factor)) for each in changes)
    old, new = _by_model(before), _by_model(after)
    models = dict.fromkeys(line.model for line in lines)
    examples = tuple(Example(model, example(old.get(model)), example(new.get(model))) for model in models)
    return Difference(before, after, lines, examples)


def example(prices: dict[str, int] | None) -> int | None:
    """What the example call costs at these prices; None where they don't sell its classes."""
    if prices is None or "input" not in prices:
        return None
    used = Usage(**{name: units for name, units in EXAMPLE.items() if name in prices})
    return pricing.charge(prices, used).amount_micro


def steep(before_micro: int | None, after_micro: int | None, warn_factor: str) -> bool:
    """Whether a change is by more than the factor, up or down. A new price is none; one that ends, or becomes 0, is."""
    factor = Fraction(warn_factor)
    if before_micro is None:
        return False
    if not after_micro or not before_micro:
        return True
    return after_micro > before_micro * factor or after_micro * factor < before_micro


def _by_model(sheet: sheets.Sheet | None) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    rows: Iterable[PriceRow] = () if sheet is None else sheet.rows
    for line in rows:
        found.setdefault(line.model, {})[line.usage_class] = line.micro_per_million
    return found


def _preview(tx: Tx, price_list: str, content: DraftContent, now_us: int) -> tuple[sheets.Sheet | None, sheets.Sheet]:
    return price_lists.preview(
        tx, price_list, [PriceRow(*line) for line in content.rows], **_how(content), now_us=now_us
    )


def _how(content: DraftContent) -> dict[str, Any]:
    return {
        "from_usd_source": content.from_usd_source,
        "rate": content.rate,
        "factor": content.factor,
        "usd_rate": content.usd_rate,
        "remove": content.remove,
        "valid_from_us": content.valid_from_us,
    }


def _in_force(price_list: str, at_us: int) -> int | None:
    """The number of the version of a list in force at a moment; None before the first, and where no list is named."""
    version = versions.at(price_list, at_us) if price_list else None
    return None if version is None else version.n


def _still(row: PriceDraft, content: DraftContent, now_us: int) -> None:
    """Refuse a draft whose list, source or day is no longer what it was created for."""
    if row.made_us <= now_us - LAPSES_US:
        raise CommandError("draft.lapsed")
    if versions.newest(row.price_list_id) != row.base_n:
        raise CommandError("draft.newer_version")
    # What the draft does not name is taken from the version that it follows. Of several that were published already
    # another may have begun.
    begins_us = content.valid_from_us
    if begins_us is None and _in_force(row.price_list_id, row.made_us) != _in_force(row.price_list_id, now_us):
        raise CommandError("draft.another_began")
    if content.from_usd_source and _in_force(content.from_usd_source, now_us) != row.source_n:
        raise CommandError("draft.source_changed")
    if begins_us is not None and begins_us < now_us:
        raise CommandError("draft.too_late")
