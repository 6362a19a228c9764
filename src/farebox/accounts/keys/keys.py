"""API keys: issue (shown once), import, rename, limit, revoke; `key_line` rotates them.

Every change counts within a second on every node, by the version `keys`. Whatever names a key takes its id,
or its name if only one living key has it; never its text, which would stay in the history of a shell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farebox.accounts import accounts, projects
from farebox.accounts.models import ApiKey, Member, Project
from farebox.accounts.names import HOUSE_KEY
from farebox.accounts.people import people
from farebox.kit import audit, db, ids, options, secrets, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.refusal import word

from . import key_format, key_terms
from .authenticate import IMPORTED
from .key_format import KeyVerdict
from .key_terms import KeyTerms

IMPORTED_CHARS_MIN = 20
IMPORTED_CHARS_MAX = 512


def issue(
    tx: Tx,
    terms: KeyTerms,
    *,
    project: str,
    member: str | None = None,
    session: str = "",
    counts_as: str = "",
    now_us: int,
    actor: str,
) -> tuple[ApiKey, str]:
    """A new key of a project and its text, which is nowhere kept and can't be shown again.

    `project` is an id, `account/project`, or an account for its default project. `session` makes it the key of the
    playground in that session. Raises CommandError.
    """
    where, who = _place(project, member)
    terms.check(now_us=now_us)
    return insert(
        tx,
        None,
        terms,
        project=where,
        member=who,
        session=session,
        counts_as=counts_as,
        now_us=now_us,
        actor=actor,
        verb="key.issue",
    )


def import_key(
    tx: Tx,
    terms: KeyTerms,
    *,
    plaintext: str,
    project: str,
    member: str | None = None,
    now_us: int,
    actor: str,
) -> ApiKey:
    """Take over a key that another system made: its text continues working here and is kept as a digest only.

    Raises CommandError for a text that is too short to be safe, one of ours mistyped, or here already.
    """
    sendable = plaintext.isascii() and plaintext.isprintable() and not set(plaintext) & set(" ,")
    if not sendable or not IMPORTED_CHARS_MIN <= len(plaintext) <= IMPORTED_CHARS_MAX:
        raise CommandError("key.import_form", least=IMPORTED_CHARS_MIN, most=IMPORTED_CHARS_MAX)
    if key_format.check(plaintext, _site(tx)) is KeyVerdict.MISTYPED:
        raise CommandError("key.checksum")
    peppers = secrets.peppers(options.current())
    digests = [secrets.digest_key(pepper, plaintext) for pepper in peppers.values()]
    if ApiKey.objects.filter(digest__in=digests).exists():
        raise CommandError("key.exists")
    where, who = _place(project, member)
    terms.check(now_us=now_us)
    key, _ = insert(tx, plaintext, terms, project=where, member=who, now_us=now_us, actor=actor, verb="key.import")
    db.bump(tx, IMPORTED)
    return key


def revoke(tx: Tx, key: str, *, now_us: int, actor: str) -> ApiKey:
    """Switch the key off permanently: new calls are refused within a second."""
    found = find(key)
    if found.id == HOUSE_KEY:
        raise CommandError("key.house")
    if ApiKey.objects.filter(id=found.id, state="active").update(state="revoked", revoked_us=now_us) != 1:
        raise CommandError("key.revoked", key=found.id)
    found.state, found.revoked_us = "revoked", now_us
    changed(tx, found, "key.revoke", actor=actor)
    return found


def rename(tx: Tx, key: str, *, name: str, actor: str) -> ApiKey:
    """Give the key another name."""
    accounts.checked_name(name)
    found = living(key)
    before, found.name = found.name, name
    found.save(update_fields=["name"])
    changed(tx, found, "key.rename", actor=actor, before=before, after=name)
    return found


def set_note(tx: Tx, key: str, *, note: str, actor: str) -> ApiKey:
    """Note something else about the key, for people; empty for nothing."""
    key_terms.check_note(note)
    found = living(key)
    before, found.note = found.note, note
    found.save(update_fields=["note"])
    changed(tx, found, "key.set_note", actor=actor, before=before, after=note)
    return found


def set_limits(
    tx: Tx,
    key: str,
    *,
    models: Sequence[str] | None = None,
    addresses: Sequence[str] | None = None,
    now_us: int,
    actor: str,
) -> ApiKey:
    """Another list of models or addresses, empty for all of them; None leaves the list as it is."""
    found = living(key)
    before = {"models": found.models, "addresses": found.addresses}
    terms = KeyTerms(name=found.name, models=models or (), addresses=addresses or ())
    terms.check(now_us=now_us)
    columns = terms.columns()
    if models is not None:
        found.models = columns["models"]
    if addresses is not None:
        found.addresses = columns["addresses"]
    found.save(update_fields=["models", "addresses"])
    after = {"models": found.models, "addresses": found.addresses}
    changed(tx, found, "key.set_limits", actor=actor, before=before, after=after)
    return found


def set_expiry(tx: Tx, key: str, *, expires_us: int | None, now_us: int, actor: str) -> ApiKey:
    """Another end of the key; None for never."""
    found = living(key)
    KeyTerms(name=found.name, expires_us=expires_us).check(now_us=now_us)
    before, found.expires_us = found.expires_us, projects.key_end(found.project, expires_us, now_us)
    found.save(update_fields=["expires_us"])
    changed(tx, found, "key.set_expiry", actor=actor, before=before, after=found.expires_us)
    return found


def find(key: str) -> ApiKey:
    """The key of this id, or the one living key of this name; CommandError otherwise."""
    rows = ApiKey.objects.select_related("account", "project", "member")
    found = list(rows.filter(id=key)) or list(rows.filter(name=key, state="active")[:2])
    if not found:
        raise CommandError("key.unknown", key=_shown(key))
    if len(found) > 1:
        raise CommandError("key.ambiguous", key=_shown(key))
    return found[0]


def list_keys(tx: Tx, *, account: str | None = None, project: str | None = None) -> list[dict[str, Any]]:
    """The keys of a project, of an account or of all, oldest first, revoked ones included."""
    del tx  # the ORM reads in the same transaction
    rows = ApiKey.objects.order_by("created_us", "id")
    if account is not None:
        rows = rows.filter(account=accounts.find(account))
    if project is not None:
        rows = rows.filter(project=projects.find(project))
    return [view(key) for key in rows]


def view(key: ApiKey) -> dict[str, Any]:
    """What may be shown of a key, JSON-able: never its text or digest."""
    return {
        "id": key.id,
        "account": key.account_id,
        "project": key.project_id,
        "member": key.member_id,
        "hint": key.hint,
        "state": key.state,
        **KeyTerms.of(key).view(),
        "kind": key.kind,
        "replaced_by": key.replaced_by,
        "counts_as": key.counts_as,
        "created_us": key.created_us,
        "revoked_us": key.revoked_us,
    }


def insert(
    tx: Tx,
    text: str | None,
    terms: KeyTerms,
    *,
    project: Project,
    member: Member | None,
    session: str = "",
    counts_as: str = "",
    now_us: int,
    actor: str,
    verb: str,
) -> tuple[ApiKey, str]:
    """A new row with what was checked before, and its text: `text`, or one of its own; audited as `verb`."""
    pepper_n, pepper = secrets.newest(secrets.peppers(options.current()))
    plaintext = text or key_format.mint(_site(tx))
    key = ApiKey(
        id=ids.new("key", now_us),
        account=project.account,
        project=project,
        member=member,
        digest=secrets.digest_key(pepper, plaintext),
        pepper_n=pepper_n,
        hint=key_format.hint(plaintext),
        **terms.columns() | {"expires_us": projects.key_end(project, terms.expires_us, now_us)},
        kind="playground" if session else "",
        session=session,
        counts_as=counts_as,
        created_us=now_us,
    )
    key.save(force_insert=True)
    changed(tx, key, verb, actor=actor, after=view(key))
    return key, plaintext


def _place(project: str, member: str | None) -> tuple[Project, Member | None]:
    where = projects.find(project)
    if where.state != "active" or where.account.state == "closed":
        raise CommandError("project.archived", project=where.id)
    if where.account.kind == "house":
        raise CommandError("key.of_house")
    if member is None:
        return where, None
    who = people.find_member(member)
    if who.account_id != where.account_id or who.project_id not in {None, where.id} or who.state != "active":
        raise CommandError("member.not_in_project", member=who.id, project=where.id)
    return where, who


def living(key: str) -> ApiKey:
    """The key of this id or name if it can still be changed; CommandError otherwise."""
    found = find(key)
    if found.state != "active" or found.id == HOUSE_KEY:
        raise CommandError("key.state", key=found.id, state=word("state", found.state))
    return found


def changed(tx: Tx, key: ApiKey, verb: str, *, actor: str, before: Any = None, after: Any = None) -> None:
    """Let every node see the change within a second, and the audit trail for ever."""
    db.bump(tx, "keys")
    audit.record(tx, actor=actor, verb=verb, object=key.id, before=before, after=after)


def _site(tx: Tx) -> str:
    return key_format.site_code(settings.installation_id(tx))


def _shown(key: str) -> str:
    """What was given instead of a name, without the text of a key in it."""
    return secrets.redact(key[:100])
