"""The tokens that `logprobs` lists with their likelihoods: what of them is passed, and what they say.

Of each token and alternative only OpenAI's fields are passed, and llama.cpp's number of it (API reference of chat and
of completions, "logprobs").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from farebox.protocol import carve, halves

_encode: Final = msgspec.json.Encoder().encode
Number = float | int | None
# A choice that says something says it in no more signs of tokens than this, whatever the upstream calls a token
# (vLLM can list their numbers, OpenAI lists the bytes of half a sign): a listing beyond it says something else.
_AS_LONG: Final = 8
_BESIDE_BYTES: Final = 64


class Alternative(Struct, gc=False):
    """A token that might have been."""

    token: str | UnsetType | None = UNSET
    logprob: Number | UnsetType = UNSET
    bytes: list[int] | UnsetType | None = UNSET
    id: int | UnsetType | None = UNSET


class Token(Alternative, gc=False):
    """A token of the answer."""

    top_logprobs: list[Alternative] | UnsetType | None = UNSET


class ChatTokens(Struct, gc=False):
    """The tokens of a choice of chat."""

    content: list[Token] | UnsetType | None = UNSET
    refusal: list[Token] | UnsetType | None = UNSET


class TextTokens(Struct, gc=False):
    """The tokens of a choice of completions; `content` where they come in the form of chat."""

    tokens: list[str] | UnsetType | None = UNSET
    token_logprobs: list[Number] | UnsetType | None = UNSET
    top_logprobs: list[dict[str, Number] | None] | UnsetType | None = UNSET
    text_offset: list[int] | UnsetType | None = UNSET
    content: list[Token] | UnsetType | None = UNSET


class PlainAlternative(Alternative, gc=False, forbid_unknown_fields=True):
    """A token that might have been, with nothing that is left out."""


class PlainToken(Token, gc=False, forbid_unknown_fields=True):
    """A token of the answer, with nothing that is left out."""

    top_logprobs: list[PlainAlternative] | UnsetType | None = UNSET  # type: ignore[assignment]


class PlainChat(ChatTokens, gc=False, forbid_unknown_fields=True):
    """The tokens of a choice of chat, with nothing that is left out."""

    content: list[PlainToken] | UnsetType | None = UNSET  # type: ignore[assignment]
    refusal: list[PlainToken] | UnsetType | None = UNSET  # type: ignore[assignment]


class PlainText(TextTokens, gc=False, forbid_unknown_fields=True):
    """The tokens of a choice of completions, with nothing that is left out."""

    content: list[PlainToken] | UnsetType | None = UNSET  # type: ignore[assignment]


def tidied(given: Any, kind: type[ChatTokens | TextTokens]) -> tuple[dict[str, Any] | None, bytes | None]:
    """What is passed of a choice's decoded `logprobs`, and what the listed tokens say; None where there is none.

    Long lists are raw, and read in pieces (`carve`).
    """
    if not isinstance(given, dict):
        return None, None
    long = {name: value for name, value in given.items() if isinstance(value, Raw) and name in kind.__struct_fields__}
    try:
        found = msgspec.convert({name: [] if name in long else value for name, value in given.items()}, kind)
        shown, listed = msgspec.to_builtins(found), [*_listed(found)]
        for name, value in long.items():
            shown[name] = _in_pieces(name, value, kind, listed)
    except (ValueError, RecursionError):
        return None, None
    return shown or None, b"".join(listed) if long or lists_any(found) else None


def _in_pieces(name: str, given: Raw, kind: type[ChatTokens | TextTokens], listed: list[bytes]) -> Raw:
    """A long list of `logprobs` as it is passed; ValueError where it has another form."""
    text = carve.Carved(bytes(given))
    pieces = text.lists(text.top) if text.is_list(text.top) else [text.body]
    shown = []
    for piece in pieces:
        found = msgspec.json.decode(b'{"%b":%b}' % (name.encode(), piece), type=kind)
        shown.append(_encode(getattr(found, name))[1:-1])
        listed += _listed(found)
    return Raw(b"".join((b"[", b",".join(shown), b"]")))


def is_empty(found: ChatTokens | TextTokens) -> bool:
    """Whether no field is there at all."""
    return all(getattr(found, name) is UNSET for name in found.__struct_fields__)


def lists_any(found: ChatTokens | TextTokens) -> bool:
    """Whether a token is listed."""
    return bool(found.content or (found.refusal if isinstance(found, ChatTokens) else found.tokens))


def said(found: ChatTokens | TextTokens) -> bytes | None:
    """What the listed tokens say; None where there are none.

    Alternatives are no part of the answer, and no vendor bills them: they are never in it.
    """
    return b"".join(_listed(found)) if lists_any(found) else None


def is_short(found: ChatTokens | TextTokens) -> bool:
    """Whether it is one token of chat, and so short that any word says it: what most events list."""
    if not isinstance(found, ChatTokens) or found.refusal or not found.content or len(found.content) != 1:
        return False
    [entry] = found.content
    return len(entry.token or "") <= _BESIDE_BYTES // 4 and len(entry.bytes or ()) <= _BESIDE_BYTES


def unsaid(listed: bytes, said_bytes: int) -> str:
    """What listed tokens say that the `said_bytes` of output of the same choice in the same event do not."""
    if said_bytes and len(listed) <= _AS_LONG * said_bytes + _BESIDE_BYTES:
        return ""
    return listed.decode("utf-8", "replace")


def _listed(found: ChatTokens | TextTokens) -> Iterator[bytes]:
    if isinstance(found, TextTokens):
        for token in found.tokens or ():
            yield halves.mended(token).encode()
    lists = (found.content, found.refusal) if isinstance(found, ChatTokens) else (found.content,)
    for entry in (entry for entries in lists for entry in entries or ()):
        token = entry.token or ""
        # Part of a sign is called by its bytes; no sign has more than four.
        if entry.bytes and (token.startswith("bytes:") or len(entry.bytes) > 4 * len(token)):
            yield bytes(each & 0xFF for each in entry.bytes)
        else:
            yield halves.mended(token).encode()
