"""A refusal is an id with fields: the room that refuses knows neither the words nor the language of who reads it.

The front that shows one makes the sentence, and says what to do next (`look.refusals`, decision 40).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

ID = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


class Amount(msgspec.Struct, frozen=True):
    """An amount of money as a field: the front writes it with the sign or the code of its currency, if it has one."""

    micro: int
    currency: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """What is refused, by `id` (`thing.what`), and the values that its sentence names.

    A value that is itself a refusal is a word or a reason: the front says it inside the sentence.
    """

    id: str
    fields: Mapping[str, Field] = {}

    def __str__(self) -> str:
        """As logs have it: `key.unknown key='ops'`."""
        return " ".join([self.id, *(f"{name}={_plain(value)}" for name, value in self.fields.items())])


Field: TypeAlias = str | int | Amount | Refusal | tuple[str, ...]


def of(ident: str, /, **fields: Field) -> Refusal:
    """A refusal by its id, with its fields by name."""
    return Refusal(ident, fields)


def word(kind: str, name: str) -> Refusal:
    """A word that the code chose and people read in their language, such as a state: `word("state", "frozen")`."""
    return Refusal(f"{kind}.{name}")


def _plain(value: Field) -> str:
    return f"({value})" if isinstance(value, Refusal) else repr(value)
