"""Secrets of this shop that somebody found and reported: revoked where that is ours to do, and told (security 3)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from farebox.accounts.models import ApiKey, Invitation, Notice, OfficeCode, OfficeToken, Person
from farebox.accounts.people import notices
from farebox.accounts.sign_in import setup, tokens
from farebox.accounts.team import invitations
from farebox.calls.log import day_of
from farebox.console import telling
from farebox.kit import audit, clock, db, options, secrets, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.office import letters
from farebox.upstreams import board
from farebox.upstreams.models import Channel

from . import owners


@dataclass(slots=True)
class LeaksFound:
    """What was in a report: names of channels, digests of codes of the office, ids of everything else."""

    keys: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    webhooks: list[str] = field(default_factory=list)
    invitations: list[str] = field(default_factory=list)
    office_codes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


def find(tx: Tx, texts: Sequence[str]) -> LeaksFound:
    """What of this shop these texts are: keys in any form and under any pepper, tokens, secrets, links or codes."""
    now_us, links = clock.now_us(), [_code(text) for text in texts]
    peppers = secrets.in_order(secrets.peppers(options.current()))
    digests = [secrets.digest_key(pepper, text) for pepper in peppers for text in texts]
    codes = [
        secrets.digest_code(pepper, text, label=tokens.LABEL)
        for pepper in peppers
        for text in texts
        if text.startswith(tokens.PREFIX)
    ]
    return LeaksFound(
        list(ApiKey.objects.filter(digest__in=digests, state="active").values_list("id", flat=True)),
        list(OfficeToken.objects.filter(digest__in=codes, revoked_us=None).values_list("id", flat=True)),
        _channels(texts),
        notices.by_secrets(texts),
        [row.id for row in (invitations.by_code(code, now_us=now_us) for code in links) if row is not None],
        [offered.digest for offered in (setup.find(tx, code, now_us=now_us) for code in links) if offered is not None],
    )


def act(tx: Tx, found: LeaksFound, address: str, now_us: int) -> None:
    """Revoke all but the secrets of upstreams; tell whom it concerns, of channels the administrators, once a day."""
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
    _end_webhooks(tx, found.webhooks, actor)
    _end_links(tx, found, actor)


def _end_webhooks(tx: Tx, rows: Sequence[str], actor: str) -> None:
    """Who knows the secret can write what the webhook's receiver believes, so it ends; its person is told by mail."""
    for row in Notice.objects.filter(id__in=rows).exclude(webhook_secret="").select_related("account", "person"):
        if not notices.drop_webhook(tx, row):
            continue
        audit.record(tx, actor=actor, verb="notice.leak", object=row.account_id)
        for person in {row.person, *owners.of_account(row.account)}:
            words = telling.webhook_leaked(person.language, account=row.account.name, email=row.person.email)
            owners.mail(tx, person, words)


def _end_links(tx: Tx, found: LeaksFound, actor: str) -> None:
    """An invitation is revoked, a link of the office void: others need no more than the link to use it."""
    for row in Invitation.objects.filter(id__in=found.invitations).select_related("account"):
        if Invitation.objects.filter(id=row.id, state="open").update(state="revoked") != 1:
            continue
        audit.record(tx, actor=actor, verb="invitation.leak", object=row.id)
        for person in owners.of_account(row.account):
            words = telling.link_leaked(person.language, account=row.account.name, email=row.email)
            owners.mail(tx, person, words)
    for code in OfficeCode.objects.filter(id__in=found.office_codes, used_us=None).select_related("person"):
        whose = code.email or (code.person.email if code.person else "")
        if not OfficeCode.objects.filter(id=code.id, used_us=None).delete()[0]:
            continue
        audit.record(tx, actor=actor, verb="office.code_leak", object=whose or "first administrator")
        for person in _administrators():
            owners.mail(tx, person, letters.link_leaked(tx, person, whose))


def _code(text: str) -> str:
    """The code of a link of ours as people copy it, or the text itself."""
    path, _, query = text.partition("?")
    if query.startswith("code="):
        return query.removeprefix("code=").partition("&")[0].partition("#")[0]
    return path.partition("#")[0].partition("/join/")[2].strip("/") or text


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
