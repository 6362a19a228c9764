"""What the management API gives of proposals: changes that wait for a person in the office."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Schema


class Proposal(Schema):
    """A change with before and after; `two_people` says that another administrator than the requester approves it."""

    id: str
    kind: str
    object: str
    before: Any
    after: Any
    why: str
    state: Literal["proposed", "approved", "declined", "withdrawn", "dropped", "lapsed"]
    two_people: bool
    single_person: bool
    requester: str
    proposed_us: int
    lapses_us: int
    decider: str
    decided_us: int | None
    note: str


class Proposals(Schema):
    """A page of proposals; `next` is what `before` of the next page is."""

    data: list[Proposal]
    next: str | None
