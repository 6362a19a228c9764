"""What the fields of the management API are made of: requests refuse what they don't know, answers list theirs."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Schema
from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints


def _digits(given: Any) -> Any:
    """What a query holds is text: digits alone, no spaces, signs, points or underscores. ValueError."""
    if isinstance(given, str) and not (given.isascii() and given.isdigit()):
        raise ValueError("give a whole number in digits")
    return given


# One line without control characters: what a store, a log and a page can all take.
LINE = r"^[^\u0000-\u001f\u007f]*$"
Line = Annotated[str, StringConstraints(max_length=300, pattern=LINE)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=LINE)]
Ident = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")]
Decimal = Annotated[str, StringConstraints(max_length=32, pattern=r"^[0-9]*\.?[0-9]*$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]

Moment = Annotated[int, Field(ge=0, le=2**53, description="Microseconds since 1970, UTC."), BeforeValidator(_digits)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1), BeforeValidator(_digits)]
Micro = Annotated[int, Field(ge=0, le=2**62)]
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
