"""The request log: pages of calls by cursor, newest first, with filters, and never more than so many rows read a page.

Ids of calls sort by time, so a page begins below the id of the last call seen, and a span of time is a span of ids. A
filter that fits few calls ends a page before it is full: the page then says how far it has looked, and the next one
continues there. So a page costs the same at a thousand calls and at ten million, and needs no index of its own: the
calls of few keys are read by key, all others by account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from farebox.kit import ids, money
from farebox.kit.db import Tx

from . import sql
from .delivery import first_from
from .scope import CallScope

OUTCOMES = ("served", "left", "revoked", "refused", "failed", "broken", "open")
LOOK_MAX = 20_000  # calls that one page reads at most
KEYS_MAX = 100  # so many keys are read one by one; beyond that the account is read instead
_LOOK_LEAST = 400
_FIRST, _LAST = "call_", "call_~"
_decode = msgspec.json.Decoder(dict[str, int]).decode


class CallRow(NamedTuple):
    """A call as a list shows it; amounts in micro-units, times in epoch microseconds."""

    id: str
    project: str
    key: str
    member: str | None
    endpoint: str
    model: str
    asked: str
    stream: bool
    opened_us: int
    ended_us: int | None
    currency: str
    outcome: str
    rule: str
    status: int | None
    charge_micro: int | None
    usage: dict[str, int]
    usage_source: str
    finish_reason: str
    flags: list[str]
    attempts: int
    price_list: str
    price_version: int

    @property
    def refunded(self) -> bool:
        """Whether the charge was given back."""
        return "refunded" in self.flags


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls are looked for; what is empty or 0 does not matter. `most_micro` is the largest charge."""

    key: str = ""
    project: str = ""
    member: str = ""
    model: str = ""
    outcome: str = ""
    rule: str = ""
    least_micro: int = 0
    most_micro: int = money.AMOUNT_MICRO_MAX
    from_us: int = 0
    until_us: int = 0


@dataclass(frozen=True, slots=True)
class CallPage:
    """A page: its calls, newest first. `after` is where the next page begins, None at the end.

    `looked_until_us` is set where the page ended before it was full: no call younger than that was left out.
    """

    rows: tuple[CallRow, ...]
    after: str | None
    looked_until_us: int | None = None


def page(tx: Tx, scope: CallScope, wanted: Wanted, *, before: str | None, limit: int) -> CallPage:
    """The next calls of `scope` that are `wanted`, older than the id `before`; `limit` of them at most."""
    keys = _keys(scope, wanted)
    span = _span(wanted, before)
    if keys is not None and len(keys) <= KEYS_MAX:
        look = max(_LOOK_LEAST, LOOK_MAX // max(1, len(keys)))
        looks = [_look(tx, sql.SEARCH_KEY, (key, *span), scope, wanted, limit, look) for key in keys]
    else:
        looks = [_look(tx, sql.SEARCH_ACCOUNT, (scope.account, *span), scope, wanted, limit, LOOK_MAX)]
    horizon = max((until for _, until in looks if until is not None), default=None)
    known = sorted((row for rows, _ in looks for row in rows), key=lambda row: row.id, reverse=True)
    certain = [row for row in known if horizon is None or row.id >= horizon]
    if len(certain) > limit or (len(certain) == limit and horizon is not None):
        return CallPage(tuple(certain[:limit]), certain[limit - 1].id)
    if horizon is None:
        return CallPage(tuple(certain), None)
    return CallPage(tuple(certain), horizon, ids.time_us(horizon))


def exists(tx: Tx, account: str) -> bool:
    """Whether the account has ever made a call."""
    return tx.one(sql.ANY_CALL, (account,)) is not None


def _keys(scope: CallScope, wanted: Wanted) -> list[str] | None:
    """The keys whose calls are read; None for all of the account."""
    if scope.whole and not (wanted.key or wanted.project or wanted.member):
        return None
    own = scope.keys(project=wanted.project, member=wanted.member)
    return [key for key in own if key == wanted.key] if wanted.key else own


def _span(wanted: Wanted, before: str | None) -> tuple[str, str]:
    """From which id, and below which."""
    first = first_from(wanted.from_us) if wanted.from_us else _FIRST
    last = first_from(wanted.until_us) if wanted.until_us else _LAST
    return first, min(last, before) if before else last


def _look(
    tx: Tx, text: str, of: tuple[str, str, str], scope: CallScope, wanted: Wanted, limit: int, look: int
) -> tuple[list[CallRow], str | None]:
    """The first fitting calls of one source, and the id down to which it was looked through; None at its end."""
    fits = (wanted.project, wanted.member, wanted.model, wanted.outcome, wanted.rule)
    twice = [value for fit in fits for value in (fit, fit)]
    amounts = (wanted.least_micro, wanted.most_micro)
    found = tx.all(text, (*of, look, scope.account, *(scope.places,) * 5, *twice, *amounts, limit + 1))
    rows = sorted((_row(each) for each in found), key=lambda row: row.id, reverse=True)
    if len(rows) > limit:
        return rows, rows[-1].id
    ended = sql.SEARCH_KEY_END if text == sql.SEARCH_KEY else sql.SEARCH_ACCOUNT_END
    last = tx.one(ended, (*of, look - 1))
    return rows, None if last is None else str(last[0])


def _row(found: tuple[Any, ...]) -> CallRow:
    row = CallRow(*found)
    return row._replace(
        stream=bool(row.stream),
        usage=_decode(str(row.usage)),
        flags=str(found[18]).split(),
    )
