"""Proof that accounts, projects, members and keys fit together and fit the books. No finding is the proof."""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from farebox.kit.db import Tx
from farebox.ledger.models import LedgerAccount

from .keys.caller import networks
from .models import Account, ApiKey, Cap, Member, Project

_DIGEST = re.compile(r"[0-9a-f]{64}")


def prove(tx: Tx, *, pepper_numbers: Collection[int] | None = None) -> list[str]:
    """One sentence for each thing that is wrong; `pepper_numbers` are those in the pepper file, if known."""
    del tx  # the ORM reads in the same transaction
    findings: list[str] = []
    accounts = {account.id: account for account in Account.objects.select_related("price_list")}
    _ledger(findings, accounts)
    owners: dict[str, str] = {}
    for project in Project.objects.all():
        owners[project.id] = project.account_id
        _cap(findings, "project", project)
    for member in Member.objects.all():
        _cap(findings, "member", member)
        if member.project_id is not None and owners.get(member.project_id) != member.account_id:
            findings.append(f"member {member.id} has a place in a project of another account")
    lines = ApiKey.objects.exclude(counts_as="").values("counts_as")
    firsts = dict(ApiKey.objects.filter(id__in=lines, counts_as="").values_list("id", "account_id"))
    for key in ApiKey.objects.select_related("account", "project", "member").iterator():
        _key(findings, key)
        if key.counts_as and firsts.get(key.counts_as) != key.account_id:
            findings.append(f"key {key.id} is counted as {key.counts_as}, which is not the first key of its line")
        if pepper_numbers is not None and key.state == "active" and key.pepper_n not in pepper_numbers:
            findings.append(f"key {key.id} was digested with pepper {key.pepper_n}, which the pepper file lacks")
    return findings


def _ledger(findings: list[str], accounts: dict[str, Account]) -> None:
    books = {row.id: row for row in LedgerAccount.objects.filter(kind="customer")}
    for account in accounts.values():
        book = books.pop(account.id, None)
        if book is None:
            findings.append(f"account {account.id} has no ledger account")
            continue
        if book.currency != account.currency:
            findings.append(f"account {account.id} is in {account.currency}, its ledger account in {book.currency}")
        if account.price_list.currency != account.currency:
            findings.append(f"account {account.id} is in {account.currency}, its price list in another currency")
        if book.floor_micro != (None if account.kind == "house" else 0):
            findings.append(f"account {account.id} has a ledger account with a floor of another kind")
    findings.extend(f"customer ledger account {name} belongs to no account" for name in sorted(books))
    houses = sorted(account.id for account in accounts.values() if account.kind == "house")
    if len(houses) > 1:
        findings.append(f"there is more than one house account: {', '.join(houses)}")


def _cap(findings: list[str], what: str, row: Cap) -> None:
    if any(cap_micro < 0 for _period, cap_micro in row.caps):
        findings.append(f"{what} {row.pk} has a cap below 0")


def _key(findings: list[str], key: ApiKey) -> None:
    _cap(findings, "key", key)
    if not _DIGEST.fullmatch(key.digest):
        findings.append(f"key {key.id} has no digest of 64 hex digits")
    if key.project.account_id != key.account_id:
        findings.append(f"key {key.id} and its project belong to two accounts")
    if key.member is not None and key.member.account_id != key.account_id:
        findings.append(f"key {key.id} and its member belong to two accounts")
    if key.state not in {"active", "revoked"} or (key.state == "revoked") != (key.revoked_us is not None):
        findings.append(f"key {key.id} has the state {key.state!r}, which does not fit its dates")
    if key.state == "active" and key.account.state == "closed":
        findings.append(f"key {key.id} lives on although its account is closed")
    try:
        msgspec.json.decode(key.models, type=list[str])
        networks(msgspec.json.decode(key.addresses, type=list[str]))
    except ValueError:
        findings.append(f"key {key.id} has a list of models or addresses that can't be read")
