"""Write verbs on upstreams and channels. Secrets come in and never go out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from farebox.kit import options, secrets
from farebox.kit.db import Tx
from farebox.office import letters
from farebox.upstreams import channels
from farebox.upstreams.channel_terms import ChannelTerms


def add(
    tx: Tx,
    *,
    actor: str,
    name: str,
    about: str = "",
    cancel_billing: str = "unknown",
    cost_currency: str = "USD",
) -> dict[str, Any]:
    """A vendor we buy from."""
    return channels.add_upstream(
        tx, name=name, about=about, cancel_billing=cancel_billing, cost_currency=cost_currency, actor=actor
    )


def change(
    tx: Tx, *, actor: str, name: str, about: str | None = None, cancel_billing: str | None = None
) -> dict[str, Any]:
    """Change what is known of a vendor."""
    return channels.change_upstream(tx, name=name, about=about, cancel_billing=cancel_billing, actor=actor)


def add_channel(tx: Tx, *, actor: str, terms: Mapping[str, Any], secret: str = "") -> dict[str, Any]:
    """A way to reach an upstream; `terms` are those of `ChannelTerms`."""
    master = secrets.master_keys(options.current())
    row = channels.add_channel(tx, ChannelTerms.given(terms), secret=secret, master=master, actor=actor)
    return _told(tx, "channel.add", row, actor)


def set_secret(tx: Tx, *, actor: str, channel: str, secret: str) -> dict[str, Any]:
    """Another secret."""
    master = secrets.master_keys(options.current())
    row = channels.set_secret(tx, channel=channel, secret=secret, master=master, actor=actor)
    return _told(tx, "channel.secret", row, actor)


def set_address(tx: Tx, *, actor: str, channel: str, base_url: str, local: bool = False) -> dict[str, Any]:
    """Another base URL."""
    row = channels.set_address(tx, channel=channel, base_url=base_url, local=local, actor=actor)
    return _told(tx, "channel.address", row, actor)


def set_quirks(tx: Tx, *, actor: str, channel: str, quirks: Mapping[str, Any]) -> dict[str, Any]:
    """Replace all quirks."""
    return channels.set_quirks(tx, channel=channel, quirks=quirks, actor=actor)


def set_order(
    tx: Tx,
    *,
    actor: str,
    channel: str,
    tier: int | None = None,
    weight: int | None = None,
    concurrency_max: int | None = None,
) -> dict[str, Any]:
    """Another tier, weight or number of calls at once."""
    return channels.set_order(
        tx, channel=channel, tier=tier, weight=weight, concurrency_max=concurrency_max, actor=actor
    )


def offer(
    tx: Tx,
    *,
    actor: str,
    channel: str,
    model: str,
    upstream_model: str = "",
    costs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Say that a channel answers a model."""
    return channels.offer(tx, channel=channel, model=model, upstream_model=upstream_model, costs=costs, actor=actor)


def withdraw(tx: Tx, *, actor: str, channel: str, model: str) -> dict[str, Any]:
    """Say that a channel no longer answers a model."""
    return channels.withdraw(tx, channel=channel, model=model, actor=actor)


def set_state(tx: Tx, *, actor: str, channel: str, state: str, why: str = "") -> dict[str, Any]:
    """Let a channel take calls, or not."""
    return channels.set_state(tx, channel=channel, state=state, why=why, actor=actor)


def _told(tx: Tx, verb: str, row: dict[str, Any], actor: str) -> dict[str, Any]:
    """The administrators hear of where prompts go."""
    letters.channel(tx, verb, row["id"], actor=actor)
    return row


RUNS: dict[str, Callable[..., Any]] = {
    "upstream.add": add,
    "upstream.change": change,
    "channel.add": add_channel,
    "channel.secret": set_secret,
    "channel.address": set_address,
    "channel.quirks": set_quirks,
    "channel.order": set_order,
    "channel.offer": offer,
    "channel.withdraw": withdraw,
    "channel.state": set_state,
}
