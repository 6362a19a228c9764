"""Open a call, end it, read its receipt. Both writes carry the money with them, in one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from farebox.accounts import zones
from farebox.catalog import pricing
from farebox.catalog import usage as usages
from farebox.kit import money
from farebox.kit.db import Tx
from farebox.ledger import allowance, holds, journal
from farebox.ledger.allowance import Allowance, AllowanceTerms, Claim, Given
from farebox.ledger.holds import Purse
from farebox.protocol import counters

from . import once, refunds, sql

_json = msgspec.json.Encoder().encode
_FIRST_ID = "call_"
_LAST_ID = "call_~"


@dataclass(frozen=True, slots=True)
class CallStart:
    """What is known of a call when its money is held; it never changes afterwards."""

    id: str
    account: str
    project: str
    key: str
    member: str | None
    endpoint: str
    model: str
    asked: str
    stream: bool
    epoch: str
    currency: str
    limit_tokens: int | None
    price_list: str
    price_version: int
    prices: str
    rule_version: int
    opened_us: int
    purses: tuple[Purse, ...]
    once: str = ""  # the idempotency key, see once.ident
    own_day: str = ""  # the account's day on which it began; empty: the UTC day
    allowance: AllowanceTerms | None = None  # None: what is forgiven draws on nothing


@dataclass(slots=True)
class AttemptFacts:
    """One try on a channel; times in epoch microseconds, cost in micro-units of the upstream's currency."""

    upstream: str
    channel: str
    model: str
    started_us: int
    outcome: str = "failed"
    status: int | None = None
    error: str = ""
    charged: bool = False
    cost_micro: int | None = None
    cost_currency: str = ""
    first_byte_us: int | None = None
    ended_us: int = 0


@dataclass(slots=True)
class CallEnd:
    """How a call ended: its rule, its usage by class, what is to be charged.

    From version 2 of the rules on: `value_micro` is what it was worth, by the classes in `valued` where these are not
    `usage`; `most_micro` the most that it may be charged where its account's allowance does not forgive the rest;
    `draws` whether that draws on it; `cause` the word for why something is forgiven.
    """

    outcome: str
    rule: str
    status: int
    charge_micro: int
    usage: dict[str, int]
    usage_source: str
    finish_reason: str
    flags: list[str]
    attempts: list[AttemptFacts]
    ended_us: int
    error: str = ""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    reported: str = ""  # the upstream's own usage report as it came, JSON of a bounded size
    value_micro: int | None = None
    valued: dict[str, int] | None = None
    most_micro: int = 0
    draws: bool = False
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the settlement made of it: the charge in micro-units, and whether part of it could not be taken."""

    call: str
    charge_micro: int
    held_micro: int
    short_micro: int
    drawn_micro: int = 0


def open_call(tx: Tx, call: CallStart, want_micro: int, fit: Callable[[int], int]) -> int:
    """First write: hold the money and open the record; the micro-units held.

    Refuses as `holds.place` does, and with Conflict where the call's idempotency key was used before.
    """
    before = once.check(tx, key=call.once, call=call.id, now_us=call.opened_us) if call.once else None
    held_micro = holds.place(
        tx,
        hold=call.id,
        purses=call.purses,
        currency=call.currency,
        want_micro=want_micro,
        fit=fit,
        epoch=call.epoch,
        now_us=call.opened_us,
    )
    if tx.again and tx.one(sql.READ_CALL, (call.id, call.account)) is not None:
        return held_micro
    tx.execute(
        sql.OPEN_CALL,
        (
            call.id,
            call.account,
            call.project,
            call.key,
            call.member,
            call.endpoint,
            call.model,
            call.asked,
            call.stream,
            call.epoch,
            call.opened_us,
            call.currency,
            held_micro,
            call.limit_tokens,
            call.price_list,
            call.price_version,
            call.prices,
            call.rule_version,
        ),
    )
    if call.once and before != call.id:
        once.take(tx, key=call.once, call=call.id, before=before, now_us=call.opened_us)
    return held_micro


def extend_hold(tx: Tx, call: CallStart, want_micro: int, fit: Callable[[int], int]) -> int:
    """Hold more for a call under way; the micro-units added, 0 if there is no money for it."""
    return holds.extend(tx, hold=call.id, purses=call.purses, currency=call.currency, want_micro=want_micro, fit=fit)


def lower_hold(tx: Tx, call: CallStart, to_micro: int) -> int:
    """Hold no more than this for a call under way; the micro-units held from then on. Raises `holds.HoldEnded`."""
    return holds.lower(tx, hold=call.id, purses=call.purses, to_micro=to_micro)


def end_call(tx: Tx, call: CallStart, end: CallEnd) -> Receipt:
    """Second write: the hold ends exactly once, and the receipt's facts are written with it.

    Raises `holds.HoldEnded` if somebody else ended the hold before (R24).
    """
    found, given = _forgive(tx, call, end)
    done = holds.settle(
        tx,
        hold=call.id,
        purses=call.purses,
        currency=call.currency,
        charge_micro=given.charge_micro,
        now_us=end.ended_us,
    )
    if done.repeated:
        return Receipt(call.id, done.charge_micro, done.held_micro, done.short_micro)
    drawn_micro = 0
    if found is not None and call.allowance is not None:
        drawn_micro = allowance.book(
            tx,
            found,
            call.allowance,
            hold=call.id,
            drawn_micro=given.drawn_micro,
            short_micro=done.short_micro if end.draws else 0,
            charge_micro=done.charge_micro,
            now_us=end.ended_us,
        )
    receipt = Receipt(call.id, done.charge_micro, done.held_micro, done.short_micro, drawn_micro)
    flags = list(end.flags)
    if given.used:
        flags.append("allowance_used")
    if done.short_micro and "short" not in flags:
        flags.append("short")
    forgiven_micro = None if end.value_micro is None else max(0, end.value_micro - done.charge_micro)
    changed = tx.execute(
        sql.END_CALL,
        (
            end.ended_us,
            done.held_micro,
            end.outcome,
            end.rule,
            end.status,
            done.charge_micro,
            _json(end.usage).decode(),
            end.usage_source,
            _text(end.finish_reason, 24),
            " ".join(flags),
            len(end.attempts),
            _text(end.error, 300),
            _json(end.diagnostics).decode() if end.diagnostics else "",
            end.reported or None,
            end.value_micro,
            forgiven_micro,
            None if end.value_micro is None else drawn_micro,
            end.cause if forgiven_micro else "",
            None if end.valued is None else _json(end.valued).decode(),
            call.id,
        ),
    )
    if changed != 1:
        raise AssertionError(f"call {call.id} has a hold and no open record")
    if given.used and end.attempts:
        end.attempts[-1].charged = True
    for number, attempt in enumerate(end.attempts, start=1):
        _write_attempt(tx, call.id, number, attempt)
    if forgiven_micro:
        _add_forgiven(tx, call, end, forgiven_micro, drawn_micro)
    _add_to_day(tx, call, end, done.charge_micro)
    return receipt


def _forgive(tx: Tx, call: CallStart, end: CallEnd) -> tuple[Allowance | None, Given]:
    """The account's allowance, read under the lock of its balance, and what it gives for the call (promises 4.4)."""
    terms = call.allowance
    if terms is None or not (end.charge_micro or end.draws):
        return None, Given(0, end.charge_micro, used=False)
    found = allowance.at_settlement(tx, call.account, call.currency, terms)
    if not end.draws or end.value_micro is None:
        return found, Given(0, end.charge_micro, used=False)
    return found, allowance.give(found, Claim(end.charge_micro, end.most_micro, end.value_micro))


def void_call(tx: Tx, call: CallStart, end: CallEnd) -> int:
    """End a call whose customer was told that it failed, at no charge; the micro-units given back.

    Where its settlement had been committed after all the charge is given back, once (R25): the row keeps it and is
    marked `refunded`. So it is for a stream too: what ends with an error of ours is free (I13).
    """
    with contextlib.suppress(holds.HoldEnded):  # it was never placed, or it has ended: by its settlement?
        end_call(tx, call, end)
    return give_back(tx, call.id, call.account, now_us=end.ended_us)


def give_back(tx: Tx, call: str, account: str, *, now_us: int) -> int:
    """Refund the charge of a call whose answer never left, once (R25); the micro-units given back now."""
    row = tx.one(sql.READ_CALL, (call, account))
    if row is None:
        return 0
    facts = as_dict(row)
    refund_micro = holds.refund(tx, hold=call, currency=facts["currency"], now_us=now_us)
    if refund_micro:
        allowance.give_back(tx, call)
        tx.execute(sql.MARK_REFUNDED, (call,))
        last = tx.all(sql.READ_ATTEMPTS, (call,))[-1:]
        channel, cost_currency = (last[0][2], last[0][9]) if last else ("", "")
        of = (account, facts["project"], facts["key"], facts["model"], facts["currency"])
        own_day = zones.day(facts["opened_us"], zones.of(tx, account))
        day = _day_key(facts["opened_us"], own_day, of, channel, cost_currency)
        tx.accumulate(sql.ADD_TO_DAY, day, (0, -refund_micro, 0, 0, 0))
    return refund_micro


def expire(tx: Tx, *, epoch: str, now_us: int, at_most: int = 500) -> int:
    """End what a dead process left open: its holds expire, its calls cost nothing (R15). How many; ask until 0."""
    expired = holds.expire(tx, epoch=epoch, now_us=now_us, at_most=at_most)
    for call in expired:
        tx.execute(sql.CLOSE_EXPIRED, (now_us, "R15", call))
    return len(expired)


def note_late(tx: Tx, call: str, attempts: Sequence[AttemptFacts]) -> bool:
    """Note that a settlement came after its hold had expired (R24); whether it had, and this is the first to say so.

    The call stays free; what its upstreams cost us is kept.
    """
    if tx.execute(sql.NOTE_LATE, (len(attempts), call)) != 1:
        return False
    for number, attempt in enumerate(attempts, start=1):
        attempt.charged = False
        _write_attempt(tx, call, number, attempt)
    return True


def _text(text: str, chars_max: int) -> str:
    """A text of an upstream's as both databases take it: no NUL, no half of a surrogate pair."""
    return text[:chars_max].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _write_attempt(tx: Tx, call: str, number: int, attempt: AttemptFacts) -> None:
    tx.execute(
        sql.WRITE_ATTEMPT,
        (
            f"{call}.{number}",
            call,
            number,
            attempt.upstream,
            attempt.channel,
            attempt.model,
            attempt.outcome,
            attempt.status,
            _text(attempt.error, 300),
            attempt.charged,
            attempt.cost_micro,
            attempt.cost_currency,
            attempt.started_us,
            attempt.first_byte_us,
            attempt.ended_us,
        ),
    )


def _add_to_day(tx: Tx, call: CallStart, end: CallEnd, charge_micro: int) -> None:
    last = end.attempts[-1] if end.attempts else None
    usage = end.usage
    tx.accumulate(
        sql.ADD_TO_DAY,
        _day_key(
            call.opened_us,
            call.own_day,
            (call.account, call.project, call.key, call.model, call.currency),
            last.channel if last else "",
            last.cost_currency if last else "",
        ),
        (
            1,
            charge_micro,
            sum(attempt.cost_micro or 0 for attempt in end.attempts),
            usage.get("input", 0) + usage.get("cached_read", 0) + usage.get("cache_write", 0),
            usage.get("output", 0) + usage.get("reasoning", 0),
        ),
    )


def _add_forgiven(tx: Tx, call: CallStart, end: CallEnd, forgiven_micro: int, drawn_micro: int) -> None:
    channel = end.attempts[-1].channel if end.attempts else ""
    key = (day_of(call.opened_us), call.account, call.model, channel, end.cause, call.currency)
    tx.accumulate(sql.ADD_FORGIVEN, ("|".join(key), *key), (1, forgiven_micro, drawn_micro))


def _day_key(
    opened_us: int, own_day: str, of: tuple[str, str, str, str, str], channel: str, cost_currency: str
) -> tuple[str, ...]:
    """What the day's total of a call goes by: its id first, then the columns that it joins, and the currencies.

    `own_day` is the account's day, empty for the UTC day; `of` is account, project, key, model and currency.
    """
    account, project, key, model, currency = of
    day = day_of(opened_us)
    own_day = own_day or day
    days = day if own_day == day else f"{day}/{own_day}"
    ident = f"{account}|{days}|{project}|{key}|{model}|{channel}"
    return ident, day, own_day, account, project, key, model, channel, currency, cost_currency


_day_cache: tuple[int, str] = (-1, "")


def day_of(at_us: int) -> str:
    """The UTC day of a time, `2026-11-24`."""
    global _day_cache  # noqa: PLW0603 - the same day for 86,400 seconds
    number = at_us // 86_400_000_000
    if _day_cache[0] != number:
        _day_cache = (number, datetime.fromtimestamp(number * 86_400, UTC).strftime("%Y-%m-%d"))
    return _day_cache[1]


def add_refusals(tx: Tx, counts: dict[tuple[str, str, str], int]) -> None:
    """Add counted refusals by (day, account, code)."""
    for (day, account, code), refusals in sorted(counts.items()):
        tx.execute(sql.ADD_REFUSALS, (f"{day}|{account}|{code}", day, account, code, refusals))


_NAMES = (
    "id account project key member endpoint model asked stream opened_us ended_us currency hold_micro limit_tokens "
    "price_list price_version prices rule_version outcome rule status charge_micro usage usage_source finish_reason "
    "flags attempts error diagnostics reported value_micro forgiven_micro drawn_micro cause valued"
).split()


def as_dict(row: Sequence[Any]) -> dict[str, Any]:
    """A row of the record by column name, JSON texts decoded, flags as a list.

    `reported` is the upstream's own report as far as it counts tokens: what it says beside is not for customers.
    """
    found = dict(zip(_NAMES, row, strict=True))
    found["stream"] = bool(found["stream"])
    for name in ("prices", "usage", "diagnostics"):
        found[name] = msgspec.json.decode(found[name]) if found[name] else {}
    found["reported"] = (counters.shown(msgspec.json.decode(found["reported"])) or None) if found["reported"] else None
    found["flags"] = found["flags"].split()
    found["valued"] = msgspec.json.decode(found["valued"]) if found["valued"] else None
    return found


def facts(found: dict[str, Any]) -> pricing.ReceiptMoney:
    """What a row, as `as_dict` gives it, says of the money of its call."""
    return pricing.ReceiptMoney(
        rule=found["rule"],
        rule_version=found["rule_version"],
        usage=found["usage"],
        prices=found["prices"],
        hold_micro=found["hold_micro"],
        flags=found["flags"],
        valued=found["valued"],
        drawn_micro=found["drawn_micro"] or 0,
    )


def receipt(tx: Tx, call: str, account: str) -> dict[str, Any] | None:
    """The receipt of a call, JSON-able: facts, lines, attempts. None if the account has no such call.

    Lines: usage class, units, price per 1,000,000 units, and the exact amount as a decimal text in currency units.
    """
    row = tx.one(sql.READ_CALL, (call, account))
    if row is None:
        return None
    found = as_dict(row)
    found["object"] = "call"
    found["lines"] = lines(found)
    found["charge"] = {
        "amount_micro": found["charge_micro"],
        "amount": None if found["charge_micro"] is None else money.exact(found["charge_micro"]),
        "refunded_micro": (
            found["charge_micro"] if "refunded" in found["flags"] else journal.given_by_hand_micro(tx, account, call)
        ),
        "currency": found["currency"],
        "rounding": "summed exactly, rounded up once to one micro-unit",
    }
    found["attempts"] = [
        {
            "n": attempt[0],
            "outcome": attempt[4],
            "status": None if str(attempt[6]).startswith("ours: ") else attempt[5],
            "why": _told(str(attempt[6]), found["error"]),
            "charged": bool(attempt[7]),
            "first_byte_ms": _ms(attempt[10], attempt[11]),
            "total_ms": _ms(attempt[10], attempt[12]),
        }
        for attempt in tx.all(sql.READ_ATTEMPTS, (call,))
    ]
    return found


_TOLD = {
    "ours": "this upstream is not available",
    "busy": "this upstream has no capacity",
    "down": "this upstream failed",
    "timeout": "this upstream was silent for too long",
}


_REFUSALS = frozenset({"request", "context", "policy"})


def _told(error: str, told: str) -> str:
    """What the customer may read of an attempt's error: whose key or money failed is no news to them (F12).

    Of a refusal it is what the call was `told`, without the upstream's name.
    """
    kind = error.partition(": ")[0]
    return told if kind in _REFUSALS else _TOLD.get(kind, error)


def reported(tx: Tx, call: str, account: str) -> Any:
    """The upstream's own usage report of a call as it came, for operators' eyes; None if none is kept."""
    row = tx.one(sql.READ_CALL, (call, account))
    kept = None if row is None else row[_NAMES.index("reported")]
    return msgspec.json.decode(kept) if kept else None


def attempts(tx: Tx, call: str) -> list[dict[str, Any]]:
    """The attempts of a call with channel and cost, for operators' eyes."""
    names = (
        "n upstream channel model outcome status error charged cost_micro cost_currency started_us first_byte_us "
        "ended_us"
    ).split()
    return [dict(zip(names, row, strict=True)) for row in tx.all(sql.READ_ATTEMPTS, (call,))]


def lines(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of a receipt: units x price = amount, exact to the fraction of a micro-unit."""
    charged = pricing.charge(found["prices"], usages.of(found["usage"]))
    return [
        {
            "class": line.usage_class,
            "units": line.units,
            "price_micro_per_million": line.micro_per_million,
            "price_per_million": money.exact(line.micro_per_million),
            "amount": pricing.fraction(line.numerator),
        }
        for line in charged.lines
    ]


def recent(tx: Tx, *, account: str, key: str | None, before: str | None, limit: int) -> list[dict[str, Any]]:
    """Calls of an account, or of one key, newest first, older than the id `before`."""
    last = before or _LAST_ID
    if key is None:
        rows = tx.all(sql.LIST_CALLS_OF_ACCOUNT, (account, last, limit))
    else:
        rows = tx.all(sql.LIST_CALLS, (account, key, last, limit))
    return [as_dict(row) for row in rows]


def spent(tx: Tx, *, account: str, from_day: str, until_day: str) -> int:
    """Micro-units that an account was charged for calls of its own days from and until which, both included.

    What was refunded by hand of them is taken off.
    """
    beside = zones.later(from_day, -1), zones.later(until_day, 1)
    row = tx.one(sql.SPENT_BETWEEN_DAYS, (account, *beside, from_day, until_day))
    back = refunds.of_days(tx, account, from_day=from_day, until_day=until_day)
    return (int(row[0]) if row else 0) - sum(each.amount_micro for each in back)


def _ms(from_us: int | None, until_us: int | None) -> int | None:
    return None if from_us is None or until_us is None else max(0, (until_us - from_us) // 1000)
