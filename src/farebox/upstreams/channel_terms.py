"""How a channel reaches its upstream: one struct from form, management API and command to the row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec

from farebox.kit.errors import CommandError
from farebox.protocol import dialects, presets, quirks
from farebox.protocol.quirks import Quirks

from . import board
from .models import Channel

NAME_CHARS_MAX: Final = 64
_TIER_MAX: Final = 1000
_WEIGHT_MAX: Final = 1_000_000


class ChannelTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator decides about a channel, except its secret and whether it takes calls.

    `base_url` such as https://api.openai.com/v1; http and private addresses only if `local`. Lower tiers are tried
    first, `weight` is the share inside a tier, `concurrency_max` 0 is no limit. A new field is stored, shown and
    recorded in the trail by being a field here and a column of the channel.
    """

    name: str
    upstream: str
    base_url: str
    dialect: str = presets.DIALECT
    local: bool = False
    tier: int = 1
    weight: int = 1
    concurrency_max: int = 0
    quirks: Mapping[str, Any] | str = "{}"

    @classmethod
    def of(cls, row: Channel) -> Self:
        """The terms of a channel that exists."""
        found = {name: getattr(row, name) for name in cls.__struct_fields__ if name != "upstream"}
        return cls(**found, upstream=row.upstream_id)

    @classmethod
    def given(cls, facts: Mapping[str, Any]) -> Self:
        """The terms that a command or a program names. CommandError."""
        try:
            return msgspec.convert(facts, cls)
        except msgspec.ValidationError as fault:
            raise CommandError("channel.terms", why=str(fault)) from None

    def check(self, *, secret: str) -> None:
        """CommandError where no channel with this secret can have these terms."""
        check_name(self.name, NAME_CHARS_MAX)
        dialects.of(self.dialect)
        self.check_address()
        found = self.parsed()
        quirks.head_lines(found, secret)
        self.check_order()
        if not (secret or self.local or found.no_auth):
            raise CommandError("channel.no_secret")

    def check_address(self) -> None:
        """CommandError for a base URL to which we never connect."""
        board.address(self.base_url, local=self.local)

    def check_order(self) -> None:
        """CommandError for a tier, weight or number of concurrent calls outside its bounds."""
        if not 0 <= self.tier <= _TIER_MAX:
            raise CommandError("channel.tier", most=_TIER_MAX)
        if not 0 <= self.weight <= _WEIGHT_MAX:
            raise CommandError("channel.weight", most=_WEIGHT_MAX)
        if not 0 <= self.concurrency_max <= _WEIGHT_MAX:
            raise CommandError("channel.concurrency", most=_WEIGHT_MAX)

    def parsed(self) -> Quirks:
        """The quirks; CommandError for an unknown name or an impossible value."""
        return quirks.parsed(self.quirks)

    def columns(self) -> dict[str, Any]:
        """Values by the name of the column that keeps them; the upstream has a column of its own kind."""
        return self._plain() | {"upstream_id": self.upstream, "quirks": quirks.text(self.parsed())}

    def view(self) -> dict[str, Any]:
        """What is shown of them, JSON-able; the quirks as they are stored."""
        shown = msgspec.json.decode(self.quirks) if isinstance(self.quirks, str) else dict(self.quirks)
        return {**self._plain(), "upstream": self.upstream, "quirks": shown}

    def _plain(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in {"upstream", "quirks"}}


def check_name(name: str, chars_max: int) -> None:
    """CommandError for a name of a vendor, channel or model that can't be shown on a line."""
    if not name.strip() or name != name.strip() or len(name) > chars_max or not name.isprintable():
        raise CommandError("upstream.name", chars_max=chars_max)
