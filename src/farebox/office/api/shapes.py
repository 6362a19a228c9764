"""What the management API takes and gives of models, prices, upstreams and channels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import Field, StringConstraints

from farebox.protocol.dialects import DIALECTS
from farebox.protocol.kinds import KINDS
from farebox.protocol.presets import PRESETS

from .types import LINE, Count, Currency, Decimal, Ident, In, Line, Moment, Name


class Me(Schema):
    """The token that makes the request."""

    token: str
    name: str
    role: str
    person: str
    email: str


class SideOut(Schema):
    """Factors of input or output by class of the text, and quartiles of report / fitted count; all in millionths."""

    latin: int
    cjk: int
    other: int
    digits: int
    base64: int
    per_message: int
    lower: int
    median: int
    upper: int


class FactorsOut(Schema):
    """How the model's vendor counts, as far as reports tell: what own counts are made with once it is `in_force`.

    Whatever is no count of tokens, samples or accounts is in millionths; null is not known.
    """

    in_force: bool
    samples: int
    accounts: int
    fitted_us: int
    input: SideOut
    output: SideOut
    input_per_byte_upper: int | None
    output_per_byte_upper: int | None
    bound_slack: int
    hidden_p99: int | None
    image_tokens: int | None
    tokenizer_p95: int | None
    confirmed: bool
    off: bool


class ModelOut(Schema):
    """A model. `missing` names classes without a price by list."""

    name: str
    owned_by: str
    kinds: list[str]
    modalities: list[str]
    classes: list[str]
    context_tokens: int
    output_tokens_max: int
    hidden_output: bool
    tokenizer: str
    image_formula: str
    input_overhead_tokens: int
    listed: bool
    aliases: list[str]
    sold: list[str]
    missing: dict[str, list[str]]
    factors: FactorsOut


class Models(Schema):
    """All models."""

    data: list[ModelOut]


class ModelIn(In):
    """A model to define, or to change as a whole."""

    name: Name
    owned_by: Annotated[str, StringConstraints(max_length=64, pattern=LINE)] = ""
    kinds: Annotated[list[Literal[*KINDS]], Field(min_length=1, max_length=len(KINDS))]  # type: ignore[valid-type]  # of a table
    modalities: Annotated[list[Literal["text", "image", "audio"]], Field(min_length=1, max_length=3)] = ["text"]
    classes: Annotated[list[Ident], Field(min_length=1, max_length=10)]
    context_tokens: Annotated[int, Field(ge=1, le=2**31)]
    output_tokens_max: Count
    hidden_output: bool = False
    tokenizer: Ident = ""
    image_formula: Ident = ""
    input_overhead_tokens: Annotated[int, Field(ge=0, le=100_000)] = 0


class Listing(In):
    """Whether a model is on sale."""

    listed: bool
    why: Annotated[str, StringConstraints(max_length=200, pattern=LINE)] = ""


class AliasIn(In):
    """Another name for a model; with `remove` it goes."""

    alias: Name
    remove: bool = False


class VersionHead(Schema):
    """One version of a list."""

    version: int
    valid_from_us: int
    published_us: int
    note: str


class PriceListOut(Schema):
    """A price list; `version` is the one in force."""

    price_list: str
    currency: str
    about: str
    version: int | None
    versions: list[VersionHead]


class PriceLists(Schema):
    """All price lists."""

    data: list[PriceListOut]


class PriceListIn(In):
    """An empty list."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    currency: Currency
    about: Line = ""


class Sheet(Schema):
    """A version with its prices: model, usage class, decimal text for 1,000,000 units."""

    price_list: str
    version: int
    currency: str
    valid_from_us: int
    published_us: int
    published_by: str
    source: str
    rate: str
    factor: str
    usd_rate: str
    note: str
    prices: dict[str, dict[str, str]]


class DraftIn(In):
    """A version to create. Prices that it does not name stay; they are decimal texts for 1,000,000 units."""

    prices: Annotated[dict[Name, dict[Ident, Decimal]], Field(max_length=1000)] = {}
    from_usd_source: Ident = ""
    rate: Decimal = ""
    factor: Decimal = "1"
    usd_rate: Decimal = ""
    remove: Annotated[list[Name], Field(max_length=1000)] = []
    valid_from_us: Moment | None = None
    note: Line = ""


class DraftLine(Schema):
    """A price that a draft changes; `steep` beyond the shop's factor of warning."""

    model: str
    usage_class: str
    before_micro: int | None
    after_micro: int | None
    steep: bool


class Suggestion(Schema):
    """Our price beside the catalogue's; `change` is `same`, `new`, `unknown` or a percentage."""

    model: str
    usage_class: str
    current_micro: int | None
    proposed_micro: int | None
    change: str
    note: str


class Suggestions(Schema):
    """List prices for every model on sale."""

    data: list[Suggestion]


class DraftExample(Schema):
    """What a call with 1,000 tokens of input and 500 of output costs."""

    model: str
    before_micro: int | None
    after_micro: int | None


class Draft(Schema):
    """A version that waits for its publication. `problem` says why it can't be published any more."""

    id: str
    price_list: str
    state: str
    note: str
    requester: str
    made_us: int
    decider: str
    decided_us: int | None
    single_person: bool
    version: int | None
    problem: str = ""
    lines: list[DraftLine] = []
    examples: list[DraftExample] = []


class Drafts(Schema):
    """Drafts that wait."""

    data: list[Draft]


class UpstreamOut(Schema):
    """A vendor we buy from."""

    name: str
    about: str
    cancel_billing: str
    cost_currency: str


class Upstreams(Schema):
    """All upstreams."""

    data: list[UpstreamOut]


class UpstreamIn(In):
    """A vendor to add."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=LINE)]
    about: Annotated[str, StringConstraints(max_length=200, pattern=LINE)] = ""
    cancel_billing: Literal["stops", "bills_all", "unknown"] = "unknown"
    cost_currency: Currency = "USD"


class Offered(Schema):
    """A model that a channel answers, and what it costs us: decimal texts for 1,000,000 units."""

    model: str
    upstream_model: str
    costs: dict[str, str]


class ChannelOut(Schema):
    """A way to reach an upstream; its secret is `set` or `none` and never shown."""

    id: str
    name: str
    upstream: str
    dialect: str
    base_url: str
    local: bool
    secret: str
    tier: int
    weight: int
    concurrency_max: int
    quirks: dict[str, Any]
    state: str
    state_why: str
    models: list[Offered] = []


class Channels(Schema):
    """All channels."""

    data: list[ChannelOut]


class ChannelIn(In):
    """A channel to add. The secret goes in and never comes out."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=LINE)]
    upstream: Name
    base_url: Line
    secret: Annotated[str, StringConstraints(max_length=1000, pattern=LINE)] = ""
    dialect: Literal[*DIALECTS] = "openai"  # type: ignore[valid-type]  # one of a table
    local: bool = False
    tier: Annotated[int, Field(ge=0, le=1000)] = 1
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    concurrency_max: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    preset: Literal["", *PRESETS] = ""  # type: ignore[valid-type]  # one of a table


class Secret(In):
    """Another secret."""

    secret: Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=LINE)]


class OfferIn(In):
    """A model that a channel answers."""

    model: Name
    upstream_model: Annotated[str, StringConstraints(max_length=200, pattern=LINE)] = ""
    costs: Annotated[dict[Ident, Decimal], Field(max_length=10)] | None = None


class ChannelState(In):
    """Whether a channel takes calls."""

    state: Literal["active", "disabled"]
    why: Annotated[str, StringConstraints(max_length=200, pattern=LINE)] = ""
