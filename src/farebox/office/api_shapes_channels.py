"""What the management API takes and gives of one channel: address, order, health, tests."""

from __future__ import annotations

from typing import Annotated, Literal

from ninja import Schema
from pydantic import Field, StringConstraints

from .api_shapes_customers import AttemptOut
from .api_types import LINE, In, Line, Name


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


class HealthOut(Schema):
    """`closed` works, `half_open` is tried again, `open` rests after failures; `calls` are under way now."""

    channel: str
    state: Literal["closed", "half_open", "open", "disabled", "broken"]
    calls: int
    failures: int
    why: str


class Tested(Schema):
    """How a test went; its call is one of the house."""

    ok: bool
    call: str
    error: str | None
    answer: str
    charge_micro: int | None
    usage: dict[str, int]
    attempts: list[AttemptOut]
