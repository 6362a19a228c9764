"""The socket of a kind of call: how a request is read, priced and fitted to a model, and how its answer is written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from msgspec import Raw

from farebox.catalog import tokens
from farebox.catalog.pricing import ModelCard
from farebox.catalog.usage import Usage
from farebox.kit.errors import FareboxError
from farebox.protocol.dialect import Event, Shown

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
    """A validated request of one kind.

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


class Billing(Enum):
    """How a kind of call is billed; the rule says what is charged where not all of it is delivered."""

    PER_TOKEN = "per token"  # noqa: S105 - what was delivered: R02 and the rules beside it
    WHOLE = "whole or nothing"  # R27
    PER_IMAGE = "per image"  # R28
    WHOLE_INPUT = "whole input"  # R29
    PER_SECOND = "per second"  # R30
    FREE = "free"  # R33


# The classes that the path of a call can settle today: a kind of any other does not start.
SETTLED: Final = frozenset({Billing.PER_TOKEN, Billing.WHOLE})


class Writer(Protocol):
    """Writes the answer of one streamed call in the words of its kind."""

    def write(self, events: Sequence[Event]) -> bytes:
        """The bytes of these events, empty where there is nothing for the customer in them."""

    def cut(self, indexes: Sequence[int]) -> bytes:
        """What ends these choices because of their length, where the upstream did not."""

    def last(self, usage: Usage | None, reported: Any) -> bytes:
        """The last bytes of an answer for which this is charged, and this report was believed (None for none)."""


class Kind(ABC):
    """The socket of a kind of call: all that is special about an endpoint which customers call.

    `name` is what the catalogue, keys and receipts store (`catalog/kinds.py`), `title` what pages call it, in English.
    `paths` are those below /v1 that it answers. `form` is the dialect in whose words it is answered: what an upstream
    says that speaks the same is passed through, all else is written from the neutral parts of its events.
    `upstream_path` is where an upstream of that form answers it, if its channel does not say otherwise.
    `id_prefix` stands before the id of an answer. `framed`: vendors add tokens around each of its messages. `chats`:
    people can talk to it, and `writes`: it makes text. `program` is what a file is called that shows how to call it,
    and `example` a title over it, in English; without them no programs are shown.
    `test_body` is the request of an operator's test of a channel, `probe_body` the cheapest that shows whether one
    answers, both without the model.
    """

    name: str
    title: str
    paths: tuple[str, ...]
    form: str
    upstream_path: str
    test_body: ClassVar[Mapping[str, Any]]
    probe_body: ClassVar[Mapping[str, Any]]
    billing: Billing = Billing.PER_TOKEN
    id_prefix: str = ""
    framed: bool = False
    chats: bool = False
    writes: bool = False
    program: str = ""
    example: str = ""

    @abstractmethod
    def read(self, body: bytes) -> Call:
        """The validated call; BadRequest with the parameter otherwise."""

    def fit(self, call: Call, card: ModelCard) -> None:  # noqa: B027 - most kinds refuse nothing
        """Refuse what this model can't do; BadRequest."""

    @abstractmethod
    def answer(self, call: Call, event: Event, shown: Shown) -> bytes:
        """The body of a whole answer, called `shown`; BadAnswer where it is not one. May take a while."""

    @abstractmethod
    def writer(self, call: Call, shown: Shown) -> Writer:
        """The writer of the stream that answers `call`."""

    @abstractmethod
    def counted(self, call: Call, body: bytes, usage: Usage, reported: Any) -> bytes:
        """The whole answer `body` with what is charged as its usage. May take a while."""

    @abstractmethod
    def tells(self, reported: Any) -> bool:
        """Whether a whole answer that holds this report already says what is charged, in the words of the kind."""

    @abstractmethod
    def error_answer(self, error: FareboxError) -> ErrorAnswer:
        """A refusal, or a failure, in the words of the kind's clients."""

    @abstractmethod
    def broken(self, error: FareboxError) -> bytes:
        """The same as the last bytes of a stream that has begun."""


class ErrorAnswer(NamedTuple):
    """An error as an HTTP answer; the headers are those that tell a client whether and when to ask again."""

    status: int
    body: bytes
    headers: list[tuple[str, str]]


def gettext_noop(text: str) -> str:
    """The text as it is: a mark by which the translators' tools find it (`look/words.py`)."""
    return text
