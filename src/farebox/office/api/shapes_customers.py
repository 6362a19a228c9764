"""What the management API takes and gives of a customer's name, limits, people, projects, holds and receipts."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Schema
from pydantic import Field, StringConstraints

from .shapes_people import CallOut, CapsOut
from .types import LINE, In, Line, Micro

Limit = Annotated[int, Field(ge=1, le=2**31)]


class NameIn(In):
    """Another name."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=LINE)]


class CloseIn(In):
    """The account's name, so that no other one is closed; `leave_money` says that what is left stays in the books."""

    name: Line
    leave_money: bool = False


class Limits(Schema):
    """Calls per minute, tokens per minute, concurrent calls; null is no limit."""

    rpm: int | None
    tpm: int | None
    concurrency: int | None


class LimitsIn(In):
    """All three limits; null lifts one."""

    rpm: Limit | None
    tpm: Limit | None
    concurrency: Limit | None


class Allowance(Schema):
    """What an account may be forgiven; null is not counted, or in `set_micro` as the shop's options say."""

    trusted: bool
    set_micro: int | None
    left_micro: int | None
    most_micro: int | None
    drawn_micro: int | None


class AllowanceIn(In):
    """The most that an account's allowance holds; null is as the shop's options say."""

    most_micro: Micro | None


class TrustIn(In):
    """Whether what an account is forgiven draws on no allowance."""

    trusted: bool


class MemberOut(Schema):
    """A person's place in an account; `project` is null for a place in the whole account."""

    id: str
    person: str
    email: str
    name: str
    role: str
    state: str
    project: str | None
    caps_micro: CapsOut
    created_us: int


class Members(Schema):
    """The members of an account."""

    data: list[MemberOut]


class ProjectOut(Schema):
    """A project; none of its keys lives longer than `keys_end_us`."""

    id: str
    name: str
    state: str
    caps_micro: CapsOut
    keys_end_us: int | None
    created_us: int


class Projects(Schema):
    """The projects of an account."""

    data: list[ProjectOut]


class HoldOut(Schema):
    """Money set aside for the call of this id."""

    id: str
    amount_micro: int
    placed_us: int


class Holds(Schema):
    """Open holds of an account."""

    data: list[HoldOut]


class ReceiptLine(Schema):
    """Units times price; `amount` is exact, a decimal text."""

    usage_class: str
    units: int
    price_micro_per_million: int
    amount: str


class AttemptOut(Schema):
    """One try on a channel, and what it cost us."""

    n: int
    upstream: str
    channel: str
    model: str
    outcome: str
    status: int | None
    error: str
    charged: bool
    cost_micro: int | None
    cost_currency: str
    started_us: int
    first_byte_us: int | None
    ended_us: int | None


class ReceiptOut(CallOut):
    """The receipt of a call: `sum` is that of the lines, exactly; `due_micro` what its own facts give.

    From version 2 of the charging rules on `value_micro` is what it was worth, by the usage classes of `valued` where
    these are not the lines'; `forgiven_micro` what of that is not charged, and `drawn_micro` what of it its account's
    allowance gave.
    """

    member: str | None
    hold_micro: int
    price_list: str
    price_version: int
    rule_version: int
    usage_source: str
    reported: Any = None
    lines: list[ReceiptLine]
    sum: str
    due_micro: int | None
    value_micro: int | None
    forgiven_micro: int | None
    drawn_micro: int | None
    cause: str
    valued: dict[str, int] | None
    attempts: list[AttemptOut]
