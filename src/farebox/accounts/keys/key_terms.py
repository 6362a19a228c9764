"""What a key may do: one struct from form, API and command to the row, which a rotation copies whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec

from farebox.accounts import accounts, caps
from farebox.accounts.caps import NO_CAPS, Caps
from farebox.accounts.models import ApiKey
from farebox.catalog.models import Alias, Model
from farebox.kit.errors import CommandError

from . import pace
from .caller import check_networks

ADDRESSES_MAX = 100
NOTE_CHARS_MAX = 200
_encode = msgspec.json.Encoder().encode


class KeyTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name and the limits of a key.

    Empty `models` and `addresses` mean all, `expires_us` None means never, any other None no limit. A new field is
    stored, copied and shown by being a field here and a column of the key.
    """

    name: str
    models: Sequence[str] = ()
    addresses: Sequence[str] = ()
    expires_us: int | None = None
    caps: Caps = NO_CAPS
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    note: str = ""

    @classmethod
    def of(cls, row: ApiKey) -> Self:
        """The terms of a key that there is."""
        found: dict[str, Any] = {name: getattr(row, name) for name in cls.__struct_fields__}
        return cls(**found | {name: msgspec.json.decode(found[name], type=list[str]) for name in _IN_JSON})

    @classmethod
    def given(cls, facts: Mapping[str, Any], caps_micro: Mapping[str, int | None] | None = None) -> Self:
        """The terms that a command or a program names; caps by period, in micro-units. CommandError."""
        try:
            return msgspec.convert({**facts, "caps": Caps.given(caps_micro or {})}, cls)
        except msgspec.ValidationError as fault:
            raise CommandError("key.terms", why=str(fault)) from None

    def check(self, *, now_us: int) -> None:
        """CommandError where a key can't have these terms."""
        accounts.checked_name(self.name)
        check_note(self.note)
        caps.check(self.caps.view())
        pace.check(rpm=self.rpm, tpm=self.tpm, concurrency=self.concurrency)
        if self.expires_us is not None and self.expires_us <= now_us:
            raise CommandError("key.expiry")
        check_addresses(self.addresses)
        wanted = set(self.models)
        known = set(Model.objects.filter(name__in=wanted).values_list("name", flat=True))
        known |= set(Alias.objects.filter(name__in=wanted).values_list("name", flat=True))
        if wanted - known:
            raise CommandError("model.unknown", model=min(wanted - known)[:128])

    def columns(self) -> dict[str, Any]:
        """Values by the name of the column that keeps them."""
        return {
            **self._plain(),
            "models": _encode(sorted(set(self.models))).decode(),
            "addresses": _encode(list(self.addresses)).decode(),
            **self.caps.columns(),
        }

    def view(self) -> dict[str, Any]:
        """What is shown of them, JSON-able; caps as `caps_micro` by period."""
        lists = {name: list(getattr(self, name)) for name in _IN_JSON}
        return {**self._plain(), **lists, "caps_micro": self.caps.view()}

    def _plain(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in {"caps", *_IN_JSON}}

    @property
    def paces(self) -> dict[str, int | None]:
        """The limits per minute and of concurrent calls."""
        return {"rpm": self.rpm, "tpm": self.tpm, "concurrency": self.concurrency}


_IN_JSON = ("models", "addresses")


def check_addresses(addresses: Sequence[str]) -> None:
    """CommandError for more addresses and networks than a key takes, or for one that is neither."""
    if len(addresses) > ADDRESSES_MAX:
        raise CommandError("key.too_many_addresses", most=ADDRESSES_MAX)
    check_networks(addresses)


def check_note(note: str) -> None:
    """CommandError for a note that can't be kept, or shown on a line."""
    if len(note) > NOTE_CHARS_MAX or not note.isprintable():
        raise CommandError("key.note", chars_max=NOTE_CHARS_MAX)
