"""The kinds of calls, one file each; this registry lists them by the name that the catalogue stores."""

from __future__ import annotations

from typing import Final

from farebox.catalog.pricing import ModelCard
from farebox.protocol.kind import SETTLED, Billing, Call, Kind

from . import chat, completions, embeddings, moderations

KINDS: Final[dict[str, Kind]] = {}
PATHS: Final[dict[str, Kind]] = {}  # by path below /v1


def register(kind: Kind) -> None:
    """Add a kind; RuntimeError for one that can't be settled, or whose path is taken (promises I32)."""
    if kind.billing not in SETTLED:
        raise RuntimeError(f"The kind {kind.name} has no billing class that calls can be settled by.")
    if taken := PATHS.keys() & set(kind.paths):
        raise RuntimeError(f"The path {min(taken)} has a kind.")
    KINDS[kind.name] = kind
    PATHS.update(dict.fromkeys(kind.paths, kind))


for _kind in (chat.Chat(), completions.Completions(), embeddings.Embeddings(), moderations.Moderations()):
    register(_kind)


def is_whole(call: Call) -> bool:
    """Whether a call is charged whole or not at all (R27)."""
    return KINDS[call.kind].billing is Billing.WHOLE


def framed(call: Call) -> int:
    """The messages of a call around which vendors add tokens."""
    return call.messages if KINDS[call.kind].framed else 0


def chats(card: ModelCard) -> bool:
    """Whether people can talk to a model."""
    return any(KINDS[name].chats for name in card.kinds if name in KINDS)


def writes(card: ModelCard) -> bool:
    """Whether a model makes text."""
    return any(KINDS[name].writes for name in card.kinds if name in KINDS)
