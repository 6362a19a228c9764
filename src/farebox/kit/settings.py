"""Shop settings and facts of the installation, as JSON values by name; changed with an audit event."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from . import audit, db
from .db import Tx
from .errors import CommandError
from .models import Setting

NAME_CHARS_MAX = 64
_encode = msgspec.json.Encoder(order="sorted").encode


def get(tx: Tx, name: str, default: Any = None) -> Any:
    """The value of the setting `name`, or `default` where it was never set."""
    del tx  # the ORM reads in the same transaction
    text = Setting.objects.filter(name=name).values_list("value", flat=True).first()
    return default if text is None else msgspec.json.decode(text)


def put(tx: Tx, name: str, value: Any, *, actor: str) -> Any:
    """Set `name` to a JSON-able value (no secret: the trail shows it); the value before, or None."""
    if not 0 < len(name) <= NAME_CHARS_MAX:
        raise CommandError(f"The name of a setting has 1 to {NAME_CHARS_MAX} characters.")
    before = get(tx, name)
    Setting.objects.update_or_create(name=name, defaults={"value": _encode(value).decode()})
    db.bump(tx, "settings")
    audit.record(tx, actor=actor, verb="setting.put", object=name, before=before, after=value)
    return before


def ensure_installation(tx: Tx) -> str:
    """The id of this installation, 128 random bits made by the first call; keys carry a code of it."""
    made = _encode(secrets.token_hex(16)).decode()
    row, new = Setting.objects.get_or_create(name="installation_id", defaults={"value": made})
    found = str(msgspec.json.decode(row.value))
    if new:
        audit.record(tx, actor="system", verb="installation.made", object="installation_id", after=found)
    return found


def installation_id(tx: Tx) -> str:
    """The id of this installation; CommandError with the next step while it has none."""
    found = get(tx, "installation_id")
    if found is None:
        raise CommandError("This store belongs to no installation yet. Run `farebox migrate` first.")
    return str(found)
