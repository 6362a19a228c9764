"""The socket of a metered endpoint: read a request, and say what is needed to price, send and answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import Raw

from farebox.catalog import tokens
from farebox.catalog.pricing import ModelCard
from farebox.kit.options import Options
from farebox.protocol.dialect import Event

# A hold or a limit never cares for fewer output tokens than this, unless fewer are asked for (promises 1.10).
LEAST_OUTPUT_TOKENS = 16
# A token of an answer is no longer, and what is said of it and of each alternative by `logprobs` neither.
TOKEN_BYTES = 32
CHAT_LOGPROB_BYTES = 384
TEXT_LOGPROB_BYTES = 64


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a request: its size in pixels where the header says it, and OpenAI's `detail`."""

    size: tuple[int, int] | None
    detail: str


@dataclass(slots=True)
class Call:
    """A validated request of one endpoint.

    `params` are the known parameters to send on (values may be raw JSON), `extra` the unknown ones, raw.
    `text_bytes` are the UTF-8 bytes of what the model reads, without base64; `texts` the same as texts, for counting;
    `input_tokens` counts inputs that came as token numbers. `outputs` is how many answers may be generated
    (n x prompts, or best_of). `limit_tokens` is the limit asked for, per answer; `default_limit_tokens` the one that
    the endpoint implies; `limit_name` is the customer's name for it where there are two. `beyond` are names of unknown
    fields inside `given_messages`, the messages as they came. `echoed_bytes` are prompt bytes that the answer repeats.
    `token_bytes` is the most that a token, or a vector, takes in an answer that is not streamed. `low_tokens` stands
    for texts that are too long to be counted.
    """

    kind: str
    model: str
    stream: bool
    params: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    include_usage: bool = False
    outputs: int = 1
    choices: int = 1
    limit_tokens: int | None = None
    limit_name: str = ""
    default_limit_tokens: int | None = None
    text_bytes: int = 0
    texts: list[str] = field(default_factory=list)
    input_tokens: int = 0
    messages: int = 0
    beyond: frozenset[str] = frozenset()
    given_messages: Raw | None = None
    prompts: int = 1
    images: Sequence[Image] = ()
    may_be_empty: bool = False
    echoed_bytes: int = 0
    has_output: bool = True
    wanted_encoding: str = "float"
    token_arrays: list[list[int]] | None = None
    private: str = ""  # where an address stands that only upstreams of our own network may be sent to
    text_name: str = ""  # the parameter that token arrays stand in
    low_tokens: int | None = None
    account: str = ""  # whose call it is
    body_bytes: int = 0
    token_bytes: int = TOKEN_BYTES  # of a token with its log probabilities
    size_name: str = ""  # the parameter that makes a token so large

    def shorten(self) -> None:
        """Let go of texts that nobody counts. May take a while."""
        if tokens.too_long(self.texts):
            self.low_tokens = tokens.low(self.texts)
            self.texts = []

    @property
    def count_bytes(self) -> int:
        """How much there is to count of its input."""
        return max(self.text_bytes, sum(map(len, self.texts)))


class Endpoint(Protocol):
    """A metered endpoint. `billing` is its billing class: an endpoint without one does not start (promises: I32)."""

    @property
    def kind(self) -> str:
        """The kind of call that it makes: chat, completions, embeddings."""

    @property
    def billing(self) -> str:
        """`metered`: charged by usage."""

    def read(self, body: bytes, options: Options) -> Call:
        """The validated call; BadRequest with the parameter otherwise."""

    def fit(self, call: Call, card: ModelCard) -> None:
        """Refuse what this model can't do; BadRequest."""

    def answer(self, call: Call, event: Event) -> bytes:
        """The JSON body of a whole answer, from the event as the upstream sent it."""
