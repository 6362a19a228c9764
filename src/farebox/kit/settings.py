"""Shop settings and facts of the installation, as JSON values by name; changed with an audit event."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import msgspec
from django.db import connection

from . import audit, clock, db, money, sql
from .db import Tx
from .errors import CommandError
from .models import Setting

NAME_CHARS_MAX = 64
TEXT_CHARS_MAX = 40_000
KEYS_COPIED = "keys_copied"  # fingerprints of the key files whose copy was looked at last, and when
KEY_MARKS = "key_marks"  # fingerprints of the key files that this store is used with
DOCTOR = "doctor_found"  # what the doctor found last (jobs/daily.py)
RULES_2_FROM = "rules_2_from"  # calls held from this moment on are of the charging rules version 2 (promises 4)
LINE_CHARS_MAX = 200
MOMENT_US_MAX = 7_000_000_000_000_000  # in the year 2191
_DAY_US = 86_400_000_000
_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?\Z")
_encode = msgspec.json.Encoder(order="sorted").encode


def get(tx: Tx, name: str, default: Any = None) -> Any:
    """The value of the setting `name`, or `default` where it was never set."""
    del tx  # the ORM reads in the same transaction
    text = Setting.objects.filter(name=name).values_list("value", flat=True).first()
    return default if text is None else msgspec.json.decode(text)


def put(tx: Tx, name: str, value: Any, *, actor: str) -> Any:
    """Set `name` to a JSON-able value (no secret: the trail shows it); the value before, or None."""
    if not 0 < len(name) <= NAME_CHARS_MAX:
        raise CommandError("setting.name", chars_max=NAME_CHARS_MAX)
    before = get(tx, name)
    Setting.objects.update_or_create(name=name, defaults={"value": _encode(value).decode()})
    db.bump(tx, "settings")
    audit.record(tx, actor=actor, verb="setting.put", object=name, before=before, after=value)
    return before


def keep(tx: Tx, name: str, value: Any) -> None:
    """Keep a fact of the installation that nobody decides: no event, and no cache hears of it."""
    del tx  # the ORM writes in the same transaction
    Setting.objects.update_or_create(name=name, defaults={"value": _encode(value).decode()})


def swap(tx: Tx, name: str, before: Any, after: Any) -> bool:
    """Keep a fact if it still is `before` (None: never kept); False where another process was quicker."""
    del tx  # the ORM writes in the same transaction
    text = _encode(after).decode()
    if before is None:
        return Setting.objects.get_or_create(name=name, defaults={"value": text})[1]
    return Setting.objects.filter(name=name, value=_encode(before).decode()).update(value=text) == 1


def note_option(tx: Tx, name: str, value: Any) -> None:
    """Note what an option of the process is; one event where it was another, or none, when it was noted last."""
    text = _encode(value).decode()
    row, new = Setting.objects.get_or_create(name=f"option_{name}", defaults={"value": text})
    before = None if new else msgspec.json.decode(row.value)
    # Of processes that start at once only one changes the row.
    if new or (before != value and Setting.objects.filter(name=row.name, value=row.value).update(value=text)):
        audit.record(tx, actor="system", verb="option.change", object=name, before=before, after=value)


def once_a_day(tx: Tx, name: str, day: str) -> bool:
    """Whether nobody has said so of `name` for this UTC day (ISO) or a later one; whoever asks first hears True."""
    return bool(tx.execute(sql.ONCE_A_DAY, (name, _encode(day).decode())))


def forget(tx: Tx, name: str) -> None:
    """Forget a fact that was kept, or a day that was claimed."""
    del tx  # the ORM writes in the same transaction
    Setting.objects.filter(name=name).delete()


def ensure_installation(tx: Tx) -> str:
    """The id of this installation, 128 random bits made by the first call; keys carry a code of it.

    With it come the facts with which a new shop begins.
    """
    made = _encode(secrets.token_hex(16)).decode()
    row, new = Setting.objects.get_or_create(name="installation_id", defaults={"value": made})
    found = str(msgspec.json.decode(row.value))
    if new:
        audit.record(tx, actor="system", verb="installation.made", object="installation_id", after=found)
        keep(tx, RULES_2_FROM, 0)  # a store of a release before has an id, and keeps its rules
    return found


def installation_id(tx: Tx) -> str:
    """The id of this installation; CommandError with the next step while it has none."""
    found = get(tx, "installation_id")
    if found is None:
        raise CommandError("store.not_set_up")
    return str(found)


@dataclass(frozen=True, slots=True)
class KnownSetting:
    """A setting of the shop that operators change: what its value is, and what it is before anybody has set it.

    `kind`: `line` and `text` are texts; `count` a whole number; `factor` a decimal text of at least 1; `currency` a
    code or empty; `amount` micro-units; `amounts` micro-units by currency; `moment` epoch microseconds, 0 from the
    start, None not set. `low` and `high` bound a number. Of an `optional` amount 0 means none. What gives `money`, or
    bounds what people give by hand, takes two people. A moment is set `days_ahead`, or later, and stays once it has
    come. What others keep in memory of it is read again by the version `bumps`.
    """

    name: str
    kind: str
    default: Any
    low: int = 0
    high: int = 0
    optional: bool = False
    money: bool = False
    days_ahead: int = 0
    bumps: str = ""


KNOWN: tuple[KnownSetting, ...] = (
    KnownSetting("shop_name", "line", ""),
    KnownSetting("support_contact", "line", ""),
    KnownSetting("terms_en", "text", ""),
    KnownSetting("terms_zh", "text", ""),
    KnownSetting("privacy_en", "text", ""),
    KnownSetting("privacy_zh", "text", ""),
    KnownSetting("public_price_list", "line", "", money=True),
    KnownSetting("signup_currency", "currency", "", money=True),
    KnownSetting("signup_price_list", "line", "", money=True),
    KnownSetting("trial_micro", "amounts", {}, 0, 1000 * money.MICRO, money=True),
    KnownSetting("trial_days", "count", 30, 1, 3650, money=True),
    KnownSetting("price_warn_factor", "factor", "1.5", money=True),
    KnownSetting("money_day_support_micro", "amount", 100 * money.MICRO, 0, money.AMOUNT_MICRO_MAX, money=True),
    KnownSetting("money_day_finance_micro", "amount", 100_000 * money.MICRO, 0, money.AMOUNT_MICRO_MAX, money=True),
    KnownSetting("money_day_admin_micro", "amount", 100_000 * money.MICRO, 0, money.AMOUNT_MICRO_MAX, money=True),
    KnownSetting(
        "money_two_approvers_above_micro",
        "amount",
        10_000 * money.MICRO,
        0,
        money.AMOUNT_MICRO_MAX,
        optional=True,
        money=True,
    ),
    KnownSetting(RULES_2_FROM, "moment", None, 0, MOMENT_US_MAX, money=True, days_ahead=7, bumps="shelf"),
)
BY_NAME: Mapping[str, KnownSetting] = {known.name: known for known in KNOWN}
_DEFAULTS: dict[str, Any] = {known.name: known.default for known in KNOWN}
# What this process has read: the store and its version, and the values then.
_read: tuple[tuple[str, int], Mapping[str, Any]] | None = None


def values(tx: Tx) -> Mapping[str, Any]:
    """Every known setting as it is now; read again only after one has changed, on any node."""
    global _read  # noqa: PLW0603 - one cache of a process
    row = tx.one(sql.READ_VERSION, ("settings",))
    state = (str(connection.settings_dict["NAME"]), int(row[0]) if row else 0)
    if _read is None or _read[0] != state:
        found = dict(Setting.objects.filter(name__in=list(BY_NAME)).values_list("name", "value"))
        _read = state, MappingProxyType(_DEFAULTS | {name: msgspec.json.decode(text) for name, text in found.items()})
    return _read[1]


def put_all(tx: Tx, changes: Mapping[str, Any], *, actor: str) -> list[str]:
    """Set known settings, those alone that differ; their names. CommandError, before anything is written."""
    checked = {name: check(name, value) for name, value in changes.items()}
    check_moved(tx, checked, now_us=clock.now_us())
    before = values(tx)
    changed = [name for name, value in checked.items() if before[name] != value]
    for name in changed:
        put(tx, name, checked[name], actor=actor)
        if BY_NAME[name].bumps:
            db.bump(tx, BY_NAME[name].bumps)
    return changed


def check_moved(tx: Tx, changes: Mapping[str, Any], *, now_us: int) -> None:
    """CommandError for a moment that has come and would move, and for one that is set too near."""
    before = values(tx)
    for name, value in changes.items():
        known, was = BY_NAME[name], before[name]
        if known.kind != "moment" or value == was:
            continue
        if was is not None and was <= now_us:
            raise CommandError("setting.moment_past", setting=name)
        if value is None or value < now_us + known.days_ahead * _DAY_US:
            raise CommandError("setting.moment_near", setting=name, days=known.days_ahead)


def has_come(tx: Tx, name: str, *, now_us: int) -> bool:
    """Whether the moment of this setting is set and has come."""
    at_us = values(tx)[name]
    return at_us is not None and at_us <= now_us


def money_of(changes: Iterable[str]) -> bool:
    """Whether one of these settings gives money, or bounds what people give by hand."""
    return any(BY_NAME[name].money for name in changes if name in BY_NAME)


def check(name: str, value: Any) -> Any:
    """`value` itself if the known setting `name` can have it; CommandError with what is wrong otherwise."""
    known = BY_NAME.get(name)
    if known is None:
        raise CommandError("setting.unknown", setting=name[:64])
    _CHECKS[known.kind](known, value)
    return value


def _check_text(known: KnownSetting, value: Any) -> None:
    line = known.kind == "line"
    chars_max = LINE_CHARS_MAX if line else TEXT_CHARS_MAX
    if not isinstance(value, str) or len(value) > chars_max or "\x00" in value or (line and not value.isprintable()):
        raise CommandError("setting.line" if line else "setting.text", setting=known.name, chars_max=chars_max)


def _check_number(known: KnownSetting, value: Any) -> None:
    if type(value) is not int or not known.low <= value <= known.high:
        raise CommandError("setting.number", setting=known.name, low=known.low, high=known.high)


def _check_moment(known: KnownSetting, value: Any) -> None:
    if value is not None and (type(value) is not int or not known.low <= value <= known.high):
        raise CommandError("setting.moment", setting=known.name)


def _check_factor(known: KnownSetting, value: Any) -> None:
    if not isinstance(value, str) or not _DECIMAL.match(value) or Fraction(value) < 1:
        raise CommandError("setting.factor", setting=known.name)


def _check_currency(known: KnownSetting, value: Any) -> None:
    try:
        if value != "":
            money.check_currency(str(value))
    except money.MoneyError as fault:
        raise CommandError("setting.currency", setting=known.name, why=fault.refusal) from None


def _check_amounts(known: KnownSetting, value: Any) -> None:
    if not isinstance(value, dict) or len(value) > 20:
        raise CommandError("setting.amounts", setting=known.name)
    for currency, amount in value.items():
        _check_currency(known, currency or "-")
        _check_number(known, amount)


_CHECKS = {
    "line": _check_text,
    "text": _check_text,
    "count": _check_number,
    "amount": _check_number,
    "factor": _check_factor,
    "currency": _check_currency,
    "amounts": _check_amounts,
    "moment": _check_moment,
}
