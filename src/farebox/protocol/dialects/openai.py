"""OpenAI's wire format, as OpenAI and compatible servers speak it (API reference).

What is written is here; answers are read in `openai_form`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import msgspec

from farebox.protocol import faults, kinds, reports
from farebox.protocol.dialect import Ask, Channel, Encoded, Event, Fault, Reading
from farebox.protocol.openai_form import whole
from farebox.protocol.openai_form.endpoint import Endpoint
from farebox.protocol.openai_form.reader import Reader
from farebox.protocol.quirks import Quirks

_JSON_HEAD: Final = b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
_encode: Final = msgspec.json.Encoder().encode


class OpenAI:
    """The dialect `openai`; it has no state."""

    __slots__ = ()
    name = "openai"
    title = "OpenAI"
    named = False

    def path(self, kind: str) -> str:
        """Where an upstream answers a kind of OpenAI's own, if its channel does not say otherwise; empty for others."""
        found = kinds.KINDS.get(kind)
        return found.upstream_path if found is not None and found.form == self.name else ""

    def encode(self, ask: Ask, channel: Channel, upstream_model: str) -> Encoded:
        """One POST, with usage asked for, since we bill from it; ValueError if the channel lacks the kind."""
        quirks = channel.quirks
        body: dict[str, Any] = {"model": upstream_model} if quirks.model_in_body else {}
        if quirks.drop or quirks.rename:
            body |= {
                quirks.rename.get(name, name): value for name, value in ask.params.items() if name not in quirks.drop
            }
        else:
            body |= ask.params
        if ask.extra and quirks.pass_:
            for name in quirks.pass_:
                if name in ask.extra:
                    body.setdefault(name, ask.extra[name])
        endpoint = _endpoint(ask.kind)
        endpoint.sent(body, ask, quirks)
        path = _path(channel.path_prefix, channel.path(ask.kind), quirks.query, upstream_model)
        return Encoded(path, _JSON_HEAD + channel.auth_headers, _encode(body))

    def reader(self, ask: Ask) -> Reader:
        """The reader of the stream that answers `ask`."""
        return Reader(ask)

    def answer(self, body: bytes, ask: Ask) -> Event:
        """Read a whole answer; BadAnswer if it is not one of its kind, and no error."""
        return _endpoint(ask.kind).received(body, ask)

    def chunks(self, body: bytes, ask: Ask) -> list[bytes]:
        """The payloads of a stream that say what this whole answer says; BadAnswer if it is not one."""
        return whole.chunks(body, ask)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
        """Classify an answer that is not a 200; never raises."""
        return faults.of_response(status, headers, body)

    def usage(self, reported: Any, quirks: Quirks) -> Reading:
        """Disjoint classes of a usage object in any of the spellings of `counters.ROWS`; BadUsage with the reason."""
        return reports.read(reported, cached_in_prompt=quirks.cached_in_prompt, hidden_thinking=quirks.hidden_thinking)


DIALECT: Final = OpenAI()


@lru_cache(maxsize=1024)
def _path(prefix: bytes, template: str, query: str, model: str) -> bytes:
    if not template:
        raise ValueError("this channel does not answer this kind of call")
    path = prefix + template.replace("{model}", quote(model, safe="")).encode("ascii")
    return path + b"?" + query.encode("ascii") if query else path


def _endpoint(kind: str) -> Endpoint:
    found = kinds.KINDS.get(kind)
    if not isinstance(found, Endpoint):
        raise ValueError("this channel does not answer this kind of call")  # noqa: TRY004 - what a channel lacks
    return found
