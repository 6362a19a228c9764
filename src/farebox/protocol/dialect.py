"""The socket of a dialect: what a wire format must do, and the words in which it speaks to the gateway.

A dialect is pure: no network, no database, no clock. Each is a file in `dialects/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from farebox.catalog.usage import Usage
from farebox.protocol.quirks import Quirks

FaultKind = Literal["request", "context", "policy", "ours", "busy", "down", "timeout"]

FAULT_KINDS: Final[dict[str, str]] = {
    "request": "The upstream refuses the request as such; its message is passed on (R12).",
    "context": "The upstream says that the request is too long; its own words are passed on unchanged (R12).",
    "policy": "A content policy stopped the call (R08).",
    "ours": "Our key, our money or our mapping at the upstream; never shown as the customer's doing (F12).",
    "busy": "The upstream has no capacity for us now (F13).",
    "down": "The upstream failed, or its answer is broken.",
    "timeout": "The upstream was silent too long.",
}


class BadAnswer(Exception):
    """An upstream's bytes are no answer of its dialect; `why` is a sentence without any of its text.

    `own`: it is this one answer that is at fault, whatever was asked for, and says nothing about the channel.
    """

    def __init__(self, why: str, *, own: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.own = own


class BadUsage(Exception):
    """A reported usage can't be billed from; `why` says what is wrong with it.

    `likely` is what a report whose parts don't add up (R06) most likely means: what the upstream bills us by it.
    `parts` are those of its counters that are plausible by themselves.
    """

    def __init__(self, why: str, likely: Usage | None = None, parts: Usage | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.likely = likely
        self.parts = parts


class Reading(NamedTuple):
    """A reported usage in disjoint classes, and the names of its positive counters that we don't know."""

    usage: Usage
    unknown: tuple[str, ...] = ()


class Channel(Protocol):
    """What a dialect must know of a channel: the path of its base URL without a last slash, whole header lines, quirks.

    `auth_headers` hold the unsealed secret: none of this is ever logged.
    """

    @property
    def path_prefix(self) -> bytes:
        """The path of the base URL without a last slash."""

    @property
    def auth_headers(self) -> bytes:
        """Whole header lines with the unsealed secret, and the channel's extra headers."""

    @property
    def quirks(self) -> Quirks:
        """What is special about the channel."""

    def path(self, kind: str) -> str:
        """Where the channel answers a kind of call, below the prefix; empty where it does not."""


class Shown(NamedTuple):
    """What an answer is called towards the customer: its id, when it was made (Unix seconds), the model asked for."""

    id: str = "chatcmpl-0"
    created: int = 0
    model: str = ""


_UNNAMED: Final = Shown()


@dataclass(slots=True)
class Ask:
    """A validated call, ready to be written in a dialect.

    `kind` is a name of `catalog/kinds.py`. `params` are the known parameters without model, stream,
    stream_options and the output limit; values may be `msgspec.Raw`. `limit_tokens` is the output limit to
    send; None sends none, and `limit_name` the customer's name for it, empty where he gave none. `want_usage` is what
    the customer asked for; the upstream is asked in any case. `extra` are unknown parameters; `beyond` the names of
    unknown fields inside `given_messages`, which are the messages as they came.
    `choices` is how many choices (or embeddings) the answer must have, `shown` what it is called.
    """

    kind: str
    stream: bool
    params: dict[str, Any]
    limit_tokens: int | None = None
    want_usage: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    limit_name: str = ""
    beyond: frozenset[str] = frozenset()
    given_messages: msgspec.Raw | None = None
    choices: int = 1
    shown: Shown = _UNNAMED


class Encoded(NamedTuple):
    """A request in a dialect: path with query, whole header lines with CRLF, body."""

    path: bytes
    headers: bytes
    body: bytes


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Why an upstream did not answer: `FAULT_KINDS` explains the kinds.

    `message` is the upstream's text, at most 1,000 characters, secrets redacted; `status` the HTTP status, or
    the one that an error inside a 200 names; `retry_after_s` at most 60. `mapping` says of a fault of kind
    `ours` that this model, path or method is unknown there, while the channel may well answer others. `own` says
    that it is this one answer that is at fault, which says nothing about the channel. `words`: nothing but the words of
    the message say that it is `ours`, and these may be the customer's.
    """

    kind: FaultKind
    message: str
    status: int
    code: str | None = None
    param: str | None = None
    retry_after_s: int | None = None
    mapping: bool = False
    own: bool = False
    words: bool = False


class Part(NamedTuple):
    """A piece of an answer in no vendor's words, for a writer of another form than the upstream's.

    `block` numbers what an answer consists of, in the order in which it begins: texts, thoughts, calls of tools. `what`
    is text, thought, refusal, call (a call of a tool begins: its name is the text, its id `ident`), or arguments (of
    that call, JSON in pieces). `choice` is the index of the answer where several were asked for.
    """

    choice: int
    block: int
    what: Literal["text", "thought", "refusal", "call", "arguments"]
    text: str
    ident: str = ""


class Event(msgspec.Struct, gc=False):
    """One event of a stream, or one whole answer, as far as the gateway must know it.

    `raw` is what the customer gets where the upstream speaks their own form, one line of JSON in a stream of OpenAI's;
    empty where there is nothing for them in it. It holds no more than this event's own pieces: a call may be cut
    after it, and what comes with the next is neither covered nor counted then. `parts` are what it says where it
    speaks another.
    `pieces` are (choice index, output text): text, names and arguments of tool calls, refusals, transcripts,
    reasoning. `output_bytes` are the UTF-8 bytes of the pieces; `media_bytes` those of images and sound beside them,
    also of data URLs in a text, which are no pieces. `visible` says that there is output other than reasoning,
    `refused` that there are words of a refusal. `begins` are the choices whose first it is. `finishes` are (choice
    index, reason). `usage` is the reported object as it came. `choices` is how many choices (or embeddings) it
    holds. `done`: the upstream has said that this is the end.

    `beside` are (choice index, text): what `raw` tells the customer beside the pieces, which version 2 of the charging
    rules counts as output and version 1 does not (promises 4.2; `openai_form/aside.py` says what that is). None of it
    is in `output_bytes`, nor makes the event `visible`; base64 that was written in a text is in `media_bytes` as well.
    `logprobs` says that it lists tokens with their likelihoods: no answer that does is empty (R09 of version 2).
    """

    raw: bytes
    model: str | None = None
    pieces: list[tuple[int, str]] = []
    output_bytes: int = 0
    visible: bool = False
    reasoning: bool = False
    finishes: list[tuple[int, str]] = []
    usage: Any = None
    error: Fault | None = None
    done: bool = False
    choices: int = 0
    media_bytes: int = 0
    refused: bool = False
    begins: list[int] = []
    beside: Sequence[tuple[int, str]] = ()
    logprobs: bool = False
    parts: Sequence[Part] = ()


class StreamReading(Protocol):
    """The reader of one stream, which brings its events into the form that the customer's clients demand.

    It may keep what it knows of the stream. Where usage comes in pieces, each event reports all that is known by then
    (`usages.Merged`): the last report is the one that is billed (R04).
    """

    @property
    def several(self) -> bool:
        """Whether `event` makes a list of none or more events of each payload, not always one."""

    @property
    def begun(self) -> bool:
        """Whether something of an answer has come."""

    def event(self, payload: bytes) -> Event | list[Event]:
        """Read the payload of one event, `stream.Named` where the dialect wants names; BadAnswer if it is not one."""

    def close(self) -> list[Event]:
        """What the stream lacks at its clean end."""


class Dialect(Protocol):
    """A wire format that upstreams speak."""

    @property
    def name(self) -> str:
        """The name that channels store, and the form of what is passed through to customers of such kinds."""

    @property
    def title(self) -> str:
        """What people call it."""

    @property
    def named(self) -> bool:
        """Whether the events of its streams have names that count; readers get `stream.Named` payloads then."""

    def path(self, kind: str) -> str:
        """Where upstreams answer a kind of call, below the base URL; empty where the dialect has no words for it."""

    def encode(self, ask: Ask, channel: Channel, upstream_model: str) -> Encoded:
        """The request for `ask` on this channel, where the model is called `upstream_model`."""

    def reader(self, ask: Ask) -> StreamReading:
        """The reader of the stream that answers `ask`."""

    def answer(self, body: bytes, ask: Ask) -> Event:
        """Read a whole answer to `ask`, or the stream that came instead of one; BadAnswer if it is not one."""

    def chunks(self, body: bytes, ask: Ask) -> list[bytes]:
        """The payloads of a stream that say what this whole answer says; BadAnswer if it is not one."""

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
        """Classify an answer that is not a 200; header names are in lower case."""

    def usage(self, reported: Any, quirks: Quirks) -> Reading:
        """The reported usage as disjoint classes; BadUsage if it can't be believed."""
