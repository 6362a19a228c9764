"""What the management API takes and gives: requests refuse fields that they don't know, answers list theirs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints

# One line without control characters: what a store, a log and a page can all take.
_LINE = r"^[^\u0000-\u001f\u007f]*$"
Line = Annotated[str, StringConstraints(max_length=300, pattern=_LINE)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=_LINE)]
Ident = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")]
Decimal = Annotated[str, StringConstraints(max_length=32, pattern=r"^[0-9]*\.?[0-9]*$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Moment = Annotated[int, Field(ge=0, le=2**53, description="Microseconds since 1970, UTC.")]
Count = Annotated[int, Field(ge=0, le=2**31)]
Day = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class In(Schema):
    """A request: exact types, and no field that it does not know."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Fault(Schema):
    """What is wrong."""

    code: str
    message: str


class Refusal(Schema):
    """The answer to a request that was not carried out."""

    error: Fault


class Me(Schema):
    """The token that asks."""

    token: str
    name: str
    role: str
    person: str
    email: str


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


class Models(Schema):
    """All models."""

    data: list[ModelOut]


class ModelIn(In):
    """A model to define, or to change as a whole."""

    name: Name
    owned_by: Annotated[str, StringConstraints(max_length=64, pattern=_LINE)] = ""
    kinds: Annotated[list[Literal["chat", "completions", "embeddings"]], Field(min_length=1, max_length=3)]
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
    why: Annotated[str, StringConstraints(max_length=200, pattern=_LINE)] = ""


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
    """A version to draw up. Prices that it does not name stay; they are decimal texts for 1,000,000 units."""

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

    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_LINE)]
    about: Annotated[str, StringConstraints(max_length=200, pattern=_LINE)] = ""
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
    state: str
    state_why: str
    models: list[Offered] = []


class Channels(Schema):
    """All channels."""

    data: list[ChannelOut]


class ChannelIn(In):
    """A channel to add. The secret goes in and never comes out."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_LINE)]
    upstream: Name
    base_url: Line
    secret: Annotated[str, StringConstraints(max_length=1000, pattern=_LINE)] = ""
    dialect: Ident = "openai"
    local: bool = False
    tier: Annotated[int, Field(ge=0, le=1000)] = 1
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    concurrency_max: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class Secret(In):
    """Another secret."""

    secret: Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=_LINE)]


class OfferIn(In):
    """A model that a channel answers."""

    model: Name
    upstream_model: Annotated[str, StringConstraints(max_length=200, pattern=_LINE)] = ""
    costs: Annotated[dict[Ident, Decimal], Field(max_length=10)] | None = None


class ChannelState(In):
    """Whether a channel takes calls."""

    state: Literal["active", "disabled"]
    why: Annotated[str, StringConstraints(max_length=200, pattern=_LINE)] = ""


class Customer(Schema):
    """A customer's account with its money in micro-units."""

    id: str
    name: str
    kind: str
    state: str
    currency: str
    price_list: str
    time_zone: str
    created_us: int
    closed_us: int | None
    posted_micro: int
    held_micro: int
    available_micro: int


class Customers(Schema):
    """A page of customers; `next` is what `before` of the next page is."""

    data: list[Customer]
    next: str | None


class CustomerIn(In):
    """An account to open."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_LINE)]
    currency: Currency
    price_list: Ident
    time_zone: Line = "UTC"


class ListChoice(In):
    """The price list of an account."""

    price_list: Ident


class KeyOut(Schema):
    """A key, masked."""

    id: str
    account: str
    project: str
    member: str | None
    name: str
    hint: str
    state: str
    models: list[str]
    addresses: list[str]
    cap_micro: int | None
    cap_period: str
    expires_us: int | None
    created_us: int
    revoked_us: int | None


class Keys(Schema):
    """The keys of an account."""

    data: list[KeyOut]


class KeyIn(In):
    """A key to issue in the account's default project, or in another one."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_LINE)]
    project: Ident = ""
    models: Annotated[list[Name], Field(max_length=100)] = []
    addresses: Annotated[list[Line], Field(max_length=100)] = []
    expires_us: Moment | None = None
    cap_micro: Annotated[int, Field(ge=0, le=2**53)] | None = None
    cap_period: Literal["", "day", "month", "ever"] = ""


class KeyMade(KeyOut):
    """A new key with its text, which is shown this once."""

    plaintext: str


class CallOut(Schema):
    """A call; `charge_micro` is null while it runs."""

    id: str
    account: str
    project: str
    key: str
    model: str
    endpoint: str
    opened_us: int
    ended_us: int | None
    outcome: str
    rule: str
    status: int | None
    currency: str
    charge_micro: int | None
    usage: dict[str, int]
    flags: list[str]


class Calls(Schema):
    """A page of calls; `next` is what `before` of the next page is."""

    data: list[CallOut]
    next: str | None


class Adjustment(Schema):
    """Manual money: proposed, booked, declined, withdrawn or lapsed."""

    id: str
    account: str
    kind: str
    amount_micro: int
    currency: str
    reason: str
    call: str
    expires_us: int | None
    state: str
    requester: str
    proposed_us: int
    decider: str
    decided_us: int | None
    note: str
    single_person: bool
    booked_micro: int | None
    entry: str


class Adjustments(Schema):
    """A page of adjustments; `next` is what `before` of the next page is."""

    data: list[Adjustment]
    next: str | None


class AdjustmentIn(In):
    """Money to move, once another person has approved it. The amount is a decimal text in the account's currency."""

    account: Ident
    kind: Literal["grant", "credit", "refund", "debit", "write_off"]
    amount: Decimal
    reason: Line
    call: Ident = ""
    expires_us: Moment | None = None


class Note(In):
    """Why not."""

    note: Line = ""


class Total(Schema):
    """Sums of what calls were charged and what they cost us, by what was asked for."""

    name: str
    currency: str
    cost_currency: str
    calls: int
    charge_micro: int
    cost_micro: int
    input_tokens: int
    output_tokens: int


class Totals(Schema):
    """Sums of a span of UTC days."""

    data: list[Total]


class Event(Schema):
    """One event of the audit trail; `before` and `after` are JSON values."""

    id: str
    at_us: int
    actor: str
    verb: str
    object: str
    before: Any
    after: Any


class Events(Schema):
    """A page of events; `next` is what `before` of the next page is."""

    data: list[Event]
    next: str | None
