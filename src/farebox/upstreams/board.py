"""All usable channels as one immutable snapshot, swapped whole when the version `board` grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from farebox.kit import rewrapping, secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.fetch import AddressRefused, Target, check_spelled
from farebox.kit.refusal import Refusal
from farebox.protocol import dialects, quirks
from farebox.upstreams.models import Channel, Offering
from farebox.upstreams.spec import ChannelSpec

TABLE: Final = "upstreams_channel"
COLUMN: Final = "secret"
Unseal = Callable[[str, str], str]

_costs: Final = msgspec.json.Decoder(dict[str, int]).decode
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A channel that can answer a model, the model's name there, and what it costs us.

    `costs` is usage class -> micro-units of the channel's `cost_currency` for 1,000,000 units.
    """

    channel: ChannelSpec
    upstream_model: str
    costs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Board:
    """The active channels; `broken` names those that can't be used, with the reason."""

    by_model: Mapping[str, tuple[Candidate, ...]] = field(default_factory=dict)
    channels: Mapping[str, ChannelSpec] = field(default_factory=dict)
    broken: Mapping[str, Refusal] = field(default_factory=dict)

    def candidates(self, model: str) -> tuple[Candidate, ...]:
        """The channels that answer `model`, in no particular order; none for an unknown one."""
        return self.by_model.get(model, ())


class BoardKeeper:
    """Holds the board in force; a reader takes `current` once a call and keeps it."""

    __slots__ = ("current",)

    def __init__(self, board: Board | None = None) -> None:
        self.current = board or Board()

    def swap(self, board: Board) -> None:
        """Put another board in force for calls that begin from now on."""
        self.current = board


PLACES = {"upstreams' secrets": rewrapping.column(Channel, COLUMN)}


def unsealer(master: Mapping[int, bytes]) -> Unseal:
    """The function that opens the secret of a channel, given the sealed text and the channel's id."""

    def unseal(sealed: str, channel_id: str) -> str:
        return secrets.unseal(master, sealed, table=TABLE, column=COLUMN, row=channel_id) if sealed else ""

    return unseal


def load(tx: Tx, unseal: Unseal) -> Board:  # noqa: ARG001 - the ORM reads in the caller's transaction
    """The board from the tables; a channel that can't be used is left out, logged and listed in `broken`."""
    channels: dict[str, ChannelSpec] = {}
    broken: dict[str, Refusal] = {}
    for row in Channel.objects.filter(state="active").select_related("upstream").order_by("id"):
        try:
            channels[row.id] = spec(row, unseal)
        except CommandError as fault:
            broken[row.name] = fault.reason
            _log.error("channel unusable", channel=row.name, why=str(fault))
    return Board(
        by_model=_by_model(Offering.objects.order_by("channel_id", "id"), channels),
        channels=channels,
        broken=broken,
    )


def of_one(tx: Tx, name: str, unseal: Unseal) -> Board:  # noqa: ARG001 - as in `load`
    """The board with this channel alone, also while it is paused: for its test. CommandError if it can't be used."""
    rows = Channel.objects.filter(name=name).select_related("upstream")
    channels = {row.id: spec(row, unseal) for row in rows}
    return Board(by_model=_by_model(Offering.objects.filter(channel__in=rows), channels), channels=channels)


def spec(row: Channel, unseal: Unseal) -> ChannelSpec:
    """A channel's row as calls see it; CommandError, with the reason, if it can't be used."""
    dialects.of(row.dialect)
    found = quirks.parsed(row.quirks)
    target, prefix = address(row.base_url, local=row.local)
    return ChannelSpec(
        id=row.id,
        name=row.name,
        upstream=row.upstream.name,
        dialect=row.dialect,
        target=target,
        path_prefix=prefix,
        auth_headers=quirks.head_lines(found, unseal(row.secret, row.id)),
        quirks=found,
        tier=row.tier,
        weight=row.weight,
        concurrency_max=row.concurrency_max,
        cancel_billing=row.upstream.cancel_billing,
        cost_currency=row.upstream.cost_currency,
    )


def address(base_url: str, *, local: bool) -> tuple[Target, bytes]:
    """Target and path of a base URL; CommandError if we never connect to such a one (security 5).

    Where its name leads is looked at as well, whenever a connection is opened (`kit.fetch`).
    """
    try:
        target, prefix = Target.parse(base_url, local)
        check_spelled(target)
    except AddressRefused as fault:
        raise CommandError("channel.base_url" if local else "channel.base_url_not_local", why=fault.refusal) from None
    return target, prefix


def read_costs(text: str) -> dict[str, int]:
    """The costs of an offering's row; CommandError if they are no object of class -> micro-units."""
    try:
        return _costs(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        raise CommandError("channel.costs", why=str(fault)) from None


def _by_model(rows: Iterable[Offering], channels: Mapping[str, ChannelSpec]) -> dict[str, tuple[Candidate, ...]]:
    found: dict[str, list[Candidate]] = {}
    for row in rows:
        channel = channels.get(row.channel_id)
        if channel is None:
            continue
        try:
            costs = read_costs(row.costs)
        except CommandError as fault:
            # A cost that can't be read spoils a margin report, not a customer's call.
            _log.error("offering without readable costs", channel=channel.name, model=row.model, why=str(fault))
            costs = {}
        found.setdefault(row.model, []).append(Candidate(channel, row.upstream_model, costs))
    return {model: tuple(candidates) for model, candidates in found.items()}
