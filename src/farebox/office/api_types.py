"""What the fields of the management API are made of: requests refuse what they don't know, answers list theirs."""

from __future__ import annotations

from typing import Annotated

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints

# One line without control characters: what a store, a log and a page can all take.
LINE = r"^[^\u0000-\u001f\u007f]*$"
Line = Annotated[str, StringConstraints(max_length=300, pattern=LINE)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=LINE)]
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
