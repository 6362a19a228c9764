"""What people have seen before they activate or approve: a form carries its marks, and does nothing if they differ.

Between the look and the click a script, or another administrator, may change what is let in.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from farebox.catalog import overview, price_lists
from farebox.kit import clock
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.models import Proposal
from farebox.look import marks as signs
from farebox.upstreams import channels
from farebox.upstreams import seen as channel_seen

PARTS: dict[str, Any] = {
    "address": gettext_lazy("the address"),
    "key": gettext_lazy("the key"),
    "quirks": gettext_lazy("the quirks"),
    "models": gettext_lazy("the models"),
    "costs": gettext_lazy("the costs"),
    "order": gettext_lazy("tier, weight or concurrent calls"),
    "state": gettext_lazy("whether it is enabled"),
    "prices": gettext_lazy("the prices of the list"),
    "model": gettext_lazy("the model's details"),
}


def of_channel(tx: Tx, channel: str) -> str:
    """The marks of a channel of this id."""
    return channel_seen.text(channel_seen.marks(tx, channel))


def demand_channel(tx: Tx, row: dict[str, Any], given: str) -> None:
    """CommandError if the channel is no longer as the form has shown it; the row is held until the transaction ends."""
    channels.hold(tx, row["name"])
    demand(channel_seen.changed(channel_seen.marks(tx, row["id"]), given))


def of_proposal(tx: Tx, view: dict[str, Any]) -> str:
    """The marks of what a proposal touches and does not say itself."""
    return channel_seen.text(_marks(tx, view["kind"], view["object"], view["after"]))


def changed_of_proposal(tx: Tx, row: Proposal, given: str) -> list[str]:
    """Which parts of what the proposal touches are no longer as the form has shown them; a channel's row is held."""
    if row.kind == "channel.offer":
        channels.hold(tx, row.object)
    return channel_seen.changed(_marks(tx, row.kind, row.object, msgspec.json.decode(row.after)), given)


def demand(changed: list[str]) -> None:
    """CommandError that says what has changed, if anything has."""
    if changed:
        words = signs.listed(str(PARTS[name]) for name in changed)
        said = _("Not done: this has changed since you loaded the page: %(what)s. Review it again, then decide.")
        raise CommandError(said % {"what": words})


def _marks(tx: Tx, kind: str, of: str, after: Any) -> dict[str, str]:
    """What else an approval lets in: the channel that a model comes to, a list's prices, the model of another name."""
    digest = channel_seen.digest
    if kind == "channel.offer":
        row = next((each for each in channels.listed(tx) if each["name"] == of), None)
        return {} if row is None else {**channel_seen.marks(tx, row["id"]), "state": digest(row["state"])}
    if kind in {"account.price_list", "account.open"}:
        name = after if kind == "account.price_list" else after["price_list"]
        lists = price_lists.overview(tx, now_us=clock.now_us())
        return {"prices": digest([each["version"] for each in lists if each["price_list"] == name])}
    if kind == "model.alias":
        found = overview.model(tx, after, now_us=clock.now_us())
        return {"model": digest(repr(found and _sorted(found.card)))}
    return {}


def _sorted(card: Any) -> list[Any]:
    values = [getattr(card, name) for name in (each.name for each in dataclasses.fields(card))]
    return [sorted(value) if isinstance(value, frozenset) else value for value in values]
