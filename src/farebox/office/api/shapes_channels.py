"""What the management API takes and gives of one channel: address, order, health, tests."""

from __future__ import annotations

from typing import Annotated, Literal

from ninja import Schema
from pydantic import Field, StringConstraints

from .shapes_customers import AttemptOut
from .types import LINE, In, Line, Name


class AddressIn(In):
    """Where a channel leads; the secret goes in and never comes out, and empty it stays as it is."""

    base_url: Line
    local: bool = False
    secret: Annotated[str, StringConstraints(max_length=1000, pattern=LINE)] = ""


class OrderIn(In):
    """When a channel is tried; null leaves it as it is."""

    tier: Annotated[int, Field(ge=0, le=1000)] | None = None
    weight: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    concurrency_max: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class ModelName(In):
    """A model that a channel answers."""

    model: Name


class Behind(Schema):
    """An account whose calls failed in a row or were refused, and how many."""

    account: str
    name: str
    calls: int


class HealthOut(Schema):
    """`closed` works, `half_open` is tried again by a call of the shop's own, `open` rests; `calls` are under way now.

    `suspected`: calls of few accounts failed, and a call of the shop's own looks what is wrong; others' calls go on.
    """

    channel: str
    state: Literal["closed", "half_open", "open", "disabled", "broken"]
    calls: int
    failures: int
    why: str
    accounts: list[Behind]
    suspected: bool
    since_us: int | None
    until_us: int | None


class Tested(Schema):
    """How a test went; its call is one of the shop's own."""

    ok: bool
    call: str
    error: str | None
    answer: str
    charge_micro: int | None
    usage: dict[str, int]
    attempts: list[AttemptOut]
