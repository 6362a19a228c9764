"""What an operator does with upstreams and channels; each change is audited and reaches every node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from farebox.catalog import usage
from farebox.kit import audit, clock, db, ids, money, secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.protocol import quirks
from farebox.upstreams import board
from farebox.upstreams.models import Channel, Offering, Upstream

from .channel_terms import NAME_CHARS_MAX, ChannelTerms, check_name

CANCEL_BILLING: Final[dict[str, str]] = {
    "stops": "The upstream bills what it made until we cancelled.",
    "bills_all": "The upstream bills the whole answer although we cancelled, so we read on for a while.",
    "unknown": "Treated as stops: compare its bill with the costs in the office.",
}
STATES: Final[dict[str, str]] = {
    "active": "Takes calls.",
    "disabled": "Takes no calls.",
}


def add_upstream(
    tx: Tx,
    *,
    name: str,
    actor: str,
    about: str = "",
    cancel_billing: str = "unknown",
    cost_currency: str = "USD",
) -> dict[str, Any]:
    """Add a vendor we buy from; CommandError if it exists or a value is impossible."""
    check_name(name, NAME_CHARS_MAX)
    _check_cancel_billing(cancel_billing)
    _check_currency(cost_currency)
    if Upstream.objects.filter(name=name).exists():
        raise CommandError("upstream.exists", upstream=name)
    row = Upstream.objects.create(
        name=name, about=about[:200], cancel_billing=cancel_billing, cost_currency=cost_currency
    )
    return _done(tx, actor=actor, verb="upstream.add", what=f"upstream {name}", before=None, after=_upstream(row))


def change_upstream(
    tx: Tx, *, name: str, actor: str, about: str | None = None, cancel_billing: str | None = None
) -> dict[str, Any]:
    """Change what is known of a vendor; its cost currency stays, since costs are written in it."""
    row = _find_upstream(name)
    if cancel_billing is not None:
        _check_cancel_billing(cancel_billing)
    before = _upstream(row)
    row.about = row.about if about is None else about[:200]
    row.cancel_billing = cancel_billing or row.cancel_billing
    row.save()
    return _done(tx, actor=actor, verb="upstream.change", what=f"upstream {name}", before=before, after=_upstream(row))


def add_channel(
    tx: Tx, terms: ChannelTerms, *, secret: str, master: Mapping[int, bytes], actor: str, state: str = "active"
) -> dict[str, Any]:
    """Add a way to reach an upstream; CommandError with what is wrong.

    `secret` is sealed under the newest of the `master` keys; it may be empty where the channel is local or has the
    quirk `no_auth`.
    """
    terms.check(secret=secret)
    _find_upstream(terms.upstream)
    if Channel.objects.filter(name=terms.name).exists():
        raise CommandError("channel.exists", channel=terms.name)
    now_us = clock.now_us()
    id_ = ids.new("ch", now_us)
    row = Channel.objects.create(
        id=id_, **terms.columns(), secret=_sealed(master, secret, id_), state=state, created_us=now_us
    )
    return _done(tx, actor=actor, verb="channel.add", what=f"channel {row.name}", before=None, after=_channel(row))


def set_secret(tx: Tx, *, channel: str, secret: str, master: Mapping[int, bytes], actor: str) -> dict[str, Any]:
    """Replace the secret of a channel; it is never shown, here or in the audit trail."""
    row = _find(channel)
    if not secret:
        raise CommandError("channel.empty_secret")
    quirks.head_lines(ChannelTerms.of(row).parsed(), secret)
    before = _channel(row)
    row.secret = _sealed(master, secret, row.id)
    row.save(update_fields=["secret"])
    return _done(tx, actor=actor, verb="channel.secret", what=f"channel {channel}", before=before, after=_channel(row))


def set_address(tx: Tx, *, channel: str, base_url: str, actor: str, local: bool = False) -> dict[str, Any]:
    """Point a channel to another base URL, with the checks of `add_channel`."""
    facts = {"base_url": base_url, "local": local}
    return _reset(tx, channel, facts, ChannelTerms.check_address, verb="channel.address", actor=actor)


def set_quirks(tx: Tx, *, channel: str, quirks: Mapping[str, Any] | str, actor: str) -> dict[str, Any]:
    """Replace all quirks of a channel; CommandError for an unknown name or an impossible value."""
    return _reset(tx, channel, {"quirks": quirks}, ChannelTerms.parsed, verb="channel.quirks", actor=actor)


def set_state(tx: Tx, *, channel: str, state: str, actor: str, why: str = "") -> dict[str, Any]:
    """Let a channel take calls (`active`) or not (`disabled`); calls under way continue."""
    row = _find(channel)
    if state not in STATES:
        raise CommandError("channel.state", states=tuple(STATES), state=state[:32])
    before = _channel(row)
    row.state, row.state_why = state, why[:200]
    row.save(update_fields=["state", "state_why"])
    return _done(tx, actor=actor, verb="channel.state", what=f"channel {channel}", before=before, after=_channel(row))


def hold(tx: Tx, channel: str) -> None:
    """Hold the channel's row until the transaction ends: of who looks and who changes at one time, one comes first."""
    del tx
    list(Channel.objects.select_for_update(no_key=True).filter(name=channel).values_list("id"))


def set_order(
    tx: Tx,
    *,
    channel: str,
    actor: str,
    tier: int | None = None,
    weight: int | None = None,
    concurrency_max: int | None = None,
) -> dict[str, Any]:
    """Change when a channel is tried: tier (lower first), weight in it, calls at once; None leaves it."""
    given = {"tier": tier, "weight": weight, "concurrency_max": concurrency_max}
    facts = {name: value for name, value in given.items() if value is not None}
    return _reset(tx, channel, facts, ChannelTerms.check_order, verb="channel.order", actor=actor)


def offer(
    tx: Tx,
    *,
    channel: str,
    model: str,
    actor: str,
    upstream_model: str = "",
    costs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Say that a channel answers `model`, called `upstream_model` there (same name if empty), or change it.

    `costs` are decimal texts in the upstream's cost currency for 1,000,000 units of a usage class: {"input":
    "2.50"}. None leaves the costs as they are, or empty for a new offering.
    """
    hold(tx, channel)
    row = _find(channel)
    check_name(model, 128)
    if upstream_model:
        check_name(upstream_model, 200)
    priced = None if costs is None else _costs(costs)
    known = Offering.objects.filter(channel=row, model=model).first()
    before = None if known is None else _offering(known)
    if known is None:
        known = Offering(id=ids.new("off", clock.now_us()), channel=row, model=model)
        known.upstream_model = model
    known.upstream_model = upstream_model or known.upstream_model
    if priced is not None:
        known.costs = msgspec.json.encode(priced).decode()
    known.save()
    return _done(
        tx,
        actor=actor,
        verb="channel.offer",
        what=f"channel {channel}",
        before=before,
        after=_offering(known),
    )


def withdraw(tx: Tx, *, channel: str, model: str, actor: str) -> dict[str, Any]:
    """Say that a channel no longer answers `model`; CommandError if it did not."""
    row = _find(channel)
    known = Offering.objects.filter(channel=row, model=model).first()
    if known is None:
        raise CommandError("channel.not_offered", channel=channel, model=model)
    before = _offering(known)
    known.delete()
    _record(tx, actor=actor, verb="channel.withdraw", what=f"channel {channel}", before=before, after=None)
    return before


def listed(tx: Tx) -> list[dict[str, Any]]:  # noqa: ARG001 - the ORM reads in the caller's transaction
    """All channels with what they answer, by tier and name, for people; no secrets."""
    rows = Channel.objects.select_related("upstream").prefetch_related("offering_set").order_by("tier", "name")
    return [
        _channel(row) | {"models": [_offering(o) for o in sorted(row.offering_set.all(), key=lambda o: o.model)]}
        for row in rows
    ]


def upstreams(tx: Tx) -> list[dict[str, Any]]:  # noqa: ARG001
    """All upstreams by name, for people."""
    return [_upstream(row) for row in Upstream.objects.order_by("name")]


def _reset(
    tx: Tx, channel: str, facts: Mapping[str, Any], check: Callable[[ChannelTerms], Any], *, verb: str, actor: str
) -> dict[str, Any]:
    """Change some terms of a channel; only these are checked, so that each fault of a channel can be repaired alone."""
    row = _find(channel)
    before = _channel(row)
    wanted = msgspec.structs.replace(ChannelTerms.of(row), **facts)
    check(wanted)
    for name, value in facts.items():
        setattr(row, name, quirks.text(wanted.parsed()) if name == "quirks" else value)
    row.save(update_fields=list(facts))
    return _done(tx, actor=actor, verb=verb, what=f"channel {channel}", before=before, after=_channel(row))


def _done(tx: Tx, *, actor: str, verb: str, what: str, before: Any, after: dict[str, Any]) -> dict[str, Any]:
    _record(tx, actor=actor, verb=verb, what=what, before=before, after=after)
    return after


def _record(tx: Tx, *, actor: str, verb: str, what: str, before: Any, after: Any) -> None:
    audit.record(tx, actor=actor, verb=verb, object=what, before=before, after=after)
    db.bump(tx, "board")


def _sealed(master: Mapping[int, bytes], secret: str, channel_id: str) -> str:
    return secrets.seal(master, secret, table=board.TABLE, column=board.COLUMN, row=channel_id) if secret else ""


def _find(name: str) -> Channel:
    row = Channel.objects.select_related("upstream").filter(name=name).first()
    if row is None:
        raise CommandError("channel.unknown", channel=name[:64])
    return row


def _find_upstream(name: str) -> Upstream:
    row = Upstream.objects.filter(name=name).first()
    if row is None:
        raise CommandError("upstream.unknown", upstream=name[:64])
    return row


def _check_cancel_billing(value: str) -> None:
    if value not in CANCEL_BILLING:
        raise CommandError("upstream.cancel_billing", known=tuple(CANCEL_BILLING), given=value[:32])


def _check_currency(code: str) -> None:
    try:
        money.check_currency(code)
    except money.MoneyError as fault:
        raise CommandError("upstream.currency", why=fault.refusal) from None


def _costs(costs: Mapping[str, str]) -> dict[str, int]:
    found = {}
    for name, text in costs.items():
        if name not in usage.CLASSES:
            raise CommandError("cost.usage_class", usage_class=name[:32], known=usage.CLASSES)
        try:
            found[name] = money.parse(text)
        except money.MoneyError as fault:
            raise CommandError("cost.unreadable", usage_class=name, why=fault.refusal) from None
        if found[name] < 0:
            raise CommandError("cost.negative", usage_class=name)
    return found


def _upstream(row: Upstream) -> dict[str, Any]:
    return {
        "name": row.name,
        "about": row.about,
        "cancel_billing": row.cancel_billing,
        "cost_currency": row.cost_currency,
    }


def _channel(row: Channel) -> dict[str, Any]:
    return {
        "id": row.id,
        **ChannelTerms.of(row).view(),
        "secret": "set" if row.secret else "none",
        "state": row.state,
        "state_why": row.state_why,
    }


def _offering(row: Offering) -> dict[str, Any]:
    costs = {name: money.exact(cost_micro) for name, cost_micro in board.read_costs(row.costs).items()}
    return {"model": row.model, "upstream_model": row.upstream_model, "costs": costs}
