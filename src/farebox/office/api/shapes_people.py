"""What the management API takes and gives of customers, money, totals and the audit trail."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import StringConstraints

from .types import LINE, Currency, Decimal, Ident, In, Line, Moment


class Customer(Schema):
    """A customer's account with its money in micro-units."""

    id: str
    name: str
    kind: str
    state: str
    currency: str
    price_list: str
    time_zone: str
    trusted: bool
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

    name: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=LINE)]
    currency: Currency
    price_list: Ident
    time_zone: Line = "UTC"


class ListChoice(In):
    """The price list of an account."""

    price_list: Ident


class CapsOut(Schema):
    """Limits of spending that hold at once, in micro-units; null is none."""

    day: int | None
    month: int | None
    ever: int | None


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
    caps_micro: CapsOut
    rpm: int | None
    tpm: int | None
    concurrency: int | None
    note: str
    expires_us: int | None
    kind: str
    replaced_by: str
    counts_as: str
    created_us: int
    revoked_us: int | None


class Keys(Schema):
    """The keys of an account."""

    data: list[KeyOut]


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
    """Manual money: proposed, booked, declined, withdrawn or lapsed; `approvals` is how many it needs, 1 or 2."""

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
    approvals: int
    first_approver: str
    first_approved_us: int | None
    decider: str
    decided_us: int | None
    note: str
    single_person: bool
    booked_micro: int | None
    entry: str
    source: str
    reference: str


class Adjustments(Schema):
    """A page of adjustments; `next` is what `before` of the next page is."""

    data: list[Adjustment]
    next: str | None


class AdjustmentIn(In):
    """Money to move, once another person has approved it. The amount is a decimal text in the account's currency.

    `source` and `reference` name it outside, such as a bank and its line: booked once in the whole shop.
    """

    account: Ident
    kind: Literal["grant", "credit", "refund", "debit", "write_off"]
    amount: Decimal
    reason: Line
    call: Ident = ""
    expires_us: Moment | None = None
    source: Ident = ""
    reference: Line = ""


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


class Head(Schema):
    """The newest seal of the audit trail: its number, its SHA-256, and both as `farebox doctor --head` takes them."""

    n: int
    hash: str
    head: str
