"""What requests in OpenAI's form hold beside their parameters: the stream with its usage, and the limit."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw

from farebox.protocol.dialect import Ask
from farebox.protocol.quirks import Quirks

_STREAM_OPTIONS: Final = Raw(b'{"include_usage":true}')


def add_stream(body: dict[str, Any], ask: Ask, quirks: Quirks) -> None:
    """Ask for a stream where the call is one, with its usage, since we bill from it."""
    if ask.stream:
        body["stream"] = True
        if quirks.stream_options:
            body["stream_options"] = _STREAM_OPTIONS


def add_limit(body: dict[str, Any], ask: Ask, name: str) -> None:
    """The output limit, if there is one to send, under this name."""
    if ask.limit_tokens is not None:
        body[name] = ask.limit_tokens
