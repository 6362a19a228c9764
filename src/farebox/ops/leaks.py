"""Secrets of this shop that somebody found and reported: revoked where that is ours to do, and told (security.md 3)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from farebox.accounts import tokens
from farebox.accounts.models import ApiKey, OfficeToken, Person
from farebox.calls.log import day_of
from farebox.console import telling
from farebox.kit import audit, db, options, secrets, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.office import letters
from farebox.upstreams import board
from farebox.upstreams.models import Channel

from . import owners


@dataclass(slots=True)
class Found:
    """Ids of API keys and tokens, and names of channels, whose secrets were in a report."""

    keys: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.keys or self.tokens or self.channels)


def find(tx: Tx, texts: Sequence[str]) -> Found:
    """What of this shop these texts are: keys in any form and under any pepper, tokens, secrets of upstreams."""
    del tx  # the ORM reads in the same transaction
    peppers = secrets.in_order(secrets.peppers(options.current()))
    digests = [secrets.digest_key(pepper, text) for pepper in peppers for text in texts]
    codes = [
        secrets.digest_code(pepper, text, label=tokens.LABEL)
        for pepper in peppers
        for text in texts
        if text.startswith(tokens.PREFIX)
    ]
    return Found(
        list(ApiKey.objects.filter(digest__in=digests, state="active").values_list("id", flat=True)),
        list(OfficeToken.objects.filter(digest__in=codes, revoked_us=None).values_list("id", flat=True)),
        _channels(texts),
    )


def act(tx: Tx, found: Found, address: str, now_us: int) -> None:
    """Revoke keys and tokens; tell the owners, the operators, and for channels the administrators, once a day."""
    actor = f"leak report from {address}"[:200]
    for key in ApiKey.objects.filter(id__in=found.keys).select_related("account", "member__person"):
        if ApiKey.objects.filter(id=key.id, state="active").update(state="revoked", revoked_us=now_us) != 1:
            continue
        db.bump(tx, "keys")
        audit.record(tx, actor=actor, verb="key.leak", object=key.id)
        for person in owners.of(key):
            owners.mail(tx, person, telling.leaked(person.language, name=key.name, hint=key.hint))
    for token in OfficeToken.objects.filter(id__in=found.tokens).select_related("person"):
        if OfficeToken.objects.filter(id=token.id, revoked_us=None).update(revoked_us=now_us) != 1:
            continue
        audit.record(tx, actor=actor, verb="token.leak", object=token.id)
        for person in {token.person, *_administrators()}:
            owners.mail(tx, person, letters.token_leaked(tx, person, token.name))
    for name in found.channels:
        if settings.once_a_day(tx, f"leak_{name}"[: settings.NAME_CHARS_MAX], day_of(now_us)):
            audit.record(tx, actor=actor, verb="channel.leak", object=name)
            for person in _administrators():
                owners.mail(tx, person, letters.secret_leaked(tx, person, name))


def _channels(texts: Sequence[str]) -> list[str]:
    unseal = board.unsealer(secrets.master_keys(options.current()))
    found = []
    for channel in Channel.objects.exclude(secret="").order_by("name"):
        try:
            secret = unseal(channel.secret, channel.id).encode()
        except CommandError:
            continue  # the doctor says so
        if any(hmac.compare_digest(secret, text.encode()) for text in texts):
            found.append(str(channel.name))
    return found


def _administrators() -> list[Person]:
    rows: Any = Person.objects.filter(operator_role="admin", is_active=True).order_by("id")
    return list(rows)
