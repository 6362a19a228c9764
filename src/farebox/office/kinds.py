"""The changes that are proposed first: what gives money or bounds it, and what a script may not do without a person.

What gives money takes another administrator, as manual money does (decision 18). What a script wants to change about
where calls go takes a person with a fresh proof, who may be the one for whom the script acts.
"""

from __future__ import annotations

import contextlib
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from farebox.accounts import accounts, adjusting, forgiving
from farebox.accounts.keys import rates
from farebox.accounts.people import people
from farebox.accounts.sign_in import signup
from farebox.catalog import definitions, overview
from farebox.kit import clock, options, proposals, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.models import Proposal
from farebox.kit.proposals import ChangeKind
from farebox.upstreams import channels

from .setting_rules import wrong

PROPOSES = ("finance", "admin")
APPROVES = ("admin",)
OF_ACCOUNT = ("account.price_list", "account.limits", "account.trusted", "account.allowance")
_TRIED = ("account.limits", "channel.offer", "model.alias", "model.define")


def _settings_now(tx: Tx, _object: str, after: Any) -> Any:
    found = settings.values(tx)
    return {name: found[name] for name in after}


def _settings_fit(tx: Tx, _object: str, after: Any) -> None:
    checked = {name: settings.check(name, value) for name, value in after.items()}
    for fault in wrong(tx, checked, now_us=clock.now_us()).values():
        raise CommandError(fault)


def _set_settings(tx: Tx, _object: str, after: Any, *, actor: str, now_us: int) -> None:
    del now_us
    settings.put_all(tx, after, actor=actor)


def _list_of(_tx: Tx, account: str, _after: Any) -> Any:
    return accounts.find(account).price_list_id


def _list_fits(tx: Tx, account: str, after: Any) -> None:
    if after not in overview.list_names(tx, currency=accounts.find(account).currency):
        raise CommandError(_("There is no price list of this name in this currency."))


def _set_list(tx: Tx, account: str, after: Any, *, actor: str, now_us: int) -> None:
    del now_us
    accounts.set_price_list(tx, account, price_list=after, actor=actor)


def _open(tx: Tx, _object: str, after: Any, *, actor: str, now_us: int) -> None:
    accounts.open_account(tx, **after, now_us=now_us, actor=actor)


def _limits_of(_tx: Tx, account: str, _after: Any) -> Any:
    return rates.now("account", account)


def _set_limits(tx: Tx, account: str, after: Any, *, actor: str, now_us: int) -> None:
    del now_us
    rates.limit(tx, "account", account, **after, actor=actor)


def _trusted_now(_tx: Tx, account: str, _after: Any) -> Any:
    return {"trusted": accounts.find(account).trusted}


def _trust(tx: Tx, account: str, after: Any, *, actor: str, now_us: int) -> None:
    del now_us
    forgiving.trust(tx, account, **after, actor=actor)


def _most_now(tx: Tx, account: str, _after: Any) -> Any:
    return {"most_micro": forgiving.most_of(tx, account)}


def _most_fits(_tx: Tx, _account: str, after: Any) -> None:
    forgiving.check_most(after["most_micro"])


def _set_most(tx: Tx, account: str, after: Any, *, actor: str, now_us: int) -> None:
    forgiving.set_most(tx, account, **after, actor=actor, now_us=now_us)


def _offered(tx: Tx, channel: str, after: Any) -> Any:
    rows = [row for row in channels.listed(tx) if row["name"] == channel]
    return next((each for row in rows for each in row["models"] if each["model"] == after["model"]), None)


def _offer(tx: Tx, channel: str, after: Any, *, actor: str, now_us: int) -> None:
    del now_us
    channels.offer(tx, channel=channel, **after, actor=actor)


def _alias_of(tx: Tx, alias: str, _after: Any) -> Any:
    found = overview.models(tx, now_us=clock.now_us())
    return next((each.card.name for each in found if alias in each.aliases), None)


def _alias(tx: Tx, alias: str, after: Any, *, actor: str, now_us: int) -> None:
    del now_us
    definitions.alias(tx, alias, after, actor=actor)


def _facts_of(tx: Tx, model: str, after: Any) -> Any:
    found = overview.model(tx, model, now_us=clock.now_us())
    if found is None:
        return None
    now = {name: getattr(found.card, name) for name in after}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in now.items()}


def _define(tx: Tx, model: str, after: Any, *, actor: str, now_us: int) -> None:
    found = overview.model(tx, model, now_us=now_us)
    created_s = now_us // 1_000_000 if found is None else found.card.created_s
    definitions.define_model(tx, model, **after, created_s=created_s, actor=actor, now_us=now_us)


KINDS: dict[str, ChangeKind] = {
    kind.name: kind
    for kind in (
        # what gives money, or bounds what people give by hand
        ChangeKind("settings.money", True, _settings_now, _set_settings, _settings_fit),
        ChangeKind("account.price_list", True, _list_of, _set_list, _list_fits),
        ChangeKind("account.open", True, lambda _tx, _object, _after: None, _open),
        ChangeKind("account.trusted", True, _trusted_now, _trust),
        ChangeKind("account.allowance", True, _most_now, _set_most, _most_fits),
        # what a script proposes, and a person makes
        ChangeKind("settings", False, _settings_now, _set_settings, _settings_fit),
        ChangeKind("account.limits", False, _limits_of, _set_limits),
        ChangeKind("channel.offer", False, _offered, _offer),
        ChangeKind("model.alias", False, _alias_of, _alias),
        ChangeKind("model.define", False, _facts_of, _define),
    )
}


def is_list_of_new(tx: Tx, price_list: str) -> bool:
    """Whether accounts that sign up buy by this list: what everybody gets is no gift."""
    found = signup.price_list(tx)
    return found is not None and found.name == price_list


def propose(
    tx: Tx,
    kind: str,
    of: str,
    after: Any,
    *,
    why: str = "",
    role: str,
    actor: str,
    now_us: int,
) -> Proposal:
    """Propose a change for another person, or for a person at all; CommandError with what is wrong."""
    if role not in PROPOSES:
        raise CommandError(_("Your role can't propose this."))
    if kind in OF_ACCOUNT:
        adjusting.refuse_own(of, actor)
    person = adjusting.person_of(actor)
    if kind in _TRIED:
        _try(tx, kind, of, after, actor=actor, now_us=now_us)
    return proposals.propose(tx, KINDS[kind], of, after, why=why, requester=person, actor=actor, now_us=now_us)


class _Undo(Exception):
    """Takes a trial back."""


def _try(tx: Tx, kind: str, of: str, after: Any, *, actor: str, now_us: int) -> None:
    """Make the change and take it back: what can't be made is refused when it is proposed. CommandError."""
    with contextlib.suppress(_Undo), transaction.atomic():
        KINDS[kind].make(tx, of, after, actor=actor, now_us=now_us)
        raise _Undo


def change(
    tx: Tx,
    kind: str,
    of: str,
    after: Any,
    *,
    why: str = "",
    role: str,
    actor: str,
    now_us: int,
) -> Proposal:
    """What a person changes on a page after a fresh proof: made at once where one person may do it, else proposed."""
    row = propose(tx, kind, of, after, why=why, role=role, actor=actor, now_us=now_us)
    if role in APPROVES and (not KINDS[kind].two_people or options.current().single_person):
        return approve(tx, row.id, role=role, actor=actor, now_us=now_us)
    return row


def approve(tx: Tx, proposal: str, *, role: str, actor: str, now_us: int) -> Proposal:
    """Make the change that was proposed, or drop it where the world has changed since. CommandError."""
    if role not in APPROVES:
        raise CommandError(_("Your role can't approve this."))
    row = proposals.find(proposal)
    if row.kind in OF_ACCOUNT:
        people.lock_places(row.object)
        adjusting.refuse_own(row.object, actor, row.requester)
    alone = bool(options.current().single_person)
    person = adjusting.person_of(actor)
    kind = KINDS[row.kind]
    return proposals.approve(tx, kind, row.id, approver=person, single_person=alone, actor=actor, now_us=now_us)


def decline(tx: Tx, proposal: str, *, role: str, note: str = "", actor: str, now_us: int) -> Proposal:
    """Decline what another proposed, or withdraw one's own."""
    row = proposals.find(proposal)
    person = adjusting.person_of(actor)
    if role not in APPROVES and row.requester != person:
        raise CommandError(_("Your role can't decline this."))
    return proposals.decline(tx, row.id, decider=person, note=note, actor=actor, now_us=now_us)
