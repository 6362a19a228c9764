"""Teams: who has which place in an account, what each has spent, and a date at which all keys of a project end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from farebox.accounts import projects
from farebox.accounts.caps import Caps
from farebox.accounts.keys import rates
from farebox.accounts.models import ApiKey, Member, Project
from farebox.accounts.people import notices, people
from farebox.kit import audit, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.refusal import word


@dataclass(frozen=True, slots=True)
class Reach:
    """What a member may manage: every project of the account (`projects` None), or those whose admin he is."""

    account: str
    projects: frozenset[str] | None

    @property
    def whole(self) -> bool:
        """Whether it is the whole account."""
        return self.projects is None

    def has(self, project: str | None) -> bool:
        """Whether this project is within; None stands for a place in the whole account."""
        return self.projects is None or project in self.projects


def reach(account: str, person: str, *, owner: bool) -> Reach:
    """What this person manages here; for an owner everything."""
    if owner:
        return Reach(account, None)
    rows = Member.objects.filter(account=account, person=person, state="active", role="admin")
    return Reach(account, frozenset(rows.values_list("project_id", flat=True)))


def project_within(within: Reach, project: str) -> Project | None:
    """The project of this id if it is within; foreign and absent are the same."""
    found = Project.objects.select_related("account").filter(id=project, account=within.account).first()
    return found if found is not None and within.has(found.id) else None


def projects_within(within: Reach) -> list[Project]:
    """The projects that are within, those in use first, oldest first."""
    rows = Project.objects.filter(account=within.account)
    if within.projects is not None:
        rows = rows.filter(id__in=within.projects)
    return sorted(rows, key=lambda row: (row.state != "active", row.created_us, row.id))


def member_within(within: Reach, member: str) -> Member | None:
    """The member of this id if their place is within; foreign and absent are the same."""
    rows = Member.objects.select_related("account", "person", "project")
    found = rows.filter(id=member, account=within.account).first()
    return found if found is not None and within.has(found.project_id) else None


def members_within(within: Reach, *, project: str | None = None) -> list[Member]:
    """The members whose places are within, owners first, then by name; removed ones are left out."""
    rows = Member.objects.select_related("person", "project").filter(account=within.account, state="active")
    if project is not None:
        rows = rows.filter(project=project)
    elif within.projects is not None:
        rows = rows.filter(project__in=within.projects)
    rank = {role: place for place, role in enumerate(people.MEMBER_ROLES)}
    return sorted(rows, key=lambda row: (rank[row.role], (row.person.name or row.person.email).lower(), row.id))


def places(person: str) -> list[Member]:
    """Every place of a person in accounts that are not closed, oldest first."""
    rows = Member.objects.select_related("account", "project").filter(person=person, state="active")
    return list(rows.exclude(account__state="closed").order_by("created_us", "id"))


def lost_places(person: str) -> list[tuple[str, bool]]:
    """The accounts in which a person has a place no more, oldest first: name, and whether the account was closed."""
    rows = Member.objects.select_related("account").filter(person=person).order_by("created_us", "id")
    return list({row.account_id: (row.account.name, row.account.state == "closed") for row in rows}.values())


def keys_of(account: str, *, now_us: int) -> list[tuple[str, str, str | None, bool]]:
    """Every key of an account: its id, project, member, and whether it counts as one: alive, not the playground's."""
    rows = ApiKey.objects.filter(account=account).order_by("created_us", "id")
    facts = rows.values_list("id", "project_id", "member_id", "state", "expires_us", "kind")
    return [
        (key, project, member, state == "active" and not kind and (ends_us is None or ends_us > now_us))
        for key, project, member, state, ends_us, kind in facts
    ]


def set_role(tx: Tx, member: str, *, role: str, project: str | None, now_us: int, actor: str) -> Member:
    """Another role of a member: `owner` of the whole account, or `admin` or `member` of a project; CommandError.

    An owner is made by `invitations.transfer`, which waits for his word, and comes here with it.
    His keys in projects where he has no place any more are revoked.
    """
    if role not in people.MEMBER_ROLES:
        raise CommandError("member.role", roles=people.MEMBER_ROLES)
    people.lock_places(people.find_member(member).account_id)
    found = people.find_member(member)
    if found.state != "active":
        raise CommandError("member.removed", member=found.id)
    where = None
    if role != "owner":
        if project is None:
            raise CommandError("member.no_project")
        where = projects.find(project)
        if where.account_id != found.account_id or where.state != "active":
            raise CommandError("project.not_in_use", project=where.id, account=found.account_id)
    others = Member.objects.filter(account=found.account, state="active").exclude(id=found.id)
    if found.role == "owner" and role != "owner" and not others.filter(role="owner").exists():
        raise CommandError("member.last_owner", email=found.person.email)
    if Member.objects.filter(account=found.account, person=found.person, project=where).exclude(id=found.id).exists():
        raise CommandError("invitation.has_place", email=found.person.email)
    if role != "owner":
        people.withdraw_invitations(found)
    before = people.view_member(found)
    found.role, found.project = role, where
    found.save(update_fields=["role", "project"])
    dead = 0
    if where is not None:
        outside = ApiKey.objects.filter(member=found, state="active").exclude(project=where)
        dead = outside.update(state="revoked", revoked_us=now_us)
    db.bump(tx, "keys")
    after = people.view_member(found) | {"keys_revoked": dead}
    audit.record(tx, actor=actor, verb="member.set_role", object=found.id, before=before, after=after)
    if role == "owner":
        notices.begin(tx, person=found.person_id, account=found.account_id, now_us=now_us)
    return found


def limit(
    tx: Tx, of: Member | Project, caps: Caps, paces: Mapping[str, int | None], *, now_us: int, actor: str
) -> None:
    """Give a project or a member these caps, and these limits `rpm`, `tpm` and `concurrency`; CommandError.

    All of them or none, and only what differs is written and audited.
    """
    kind = "project" if isinstance(of, Project) else "member"
    found = projects.find(of.id) if isinstance(of, Project) else people.find_member(of.id)
    had = found.caps.view()
    other = {period: cap for period, cap in caps.view().items() if cap != had[period]}
    if other and isinstance(found, Project):
        projects.set_caps(tx, found.id, other, now_us=now_us, actor=actor)
    elif other:
        people.set_caps(tx, found.id, other, now_us=now_us, actor=actor)
    if rates.shown(found) != dict(paces):
        rates.limit(tx, kind, found.id, **paces, actor=actor)


def set_keys_end(tx: Tx, project: str, *, ends_us: int | None, now_us: int, actor: str) -> Project:
    """No key of the project, of today or to come, lives longer than `ends_us`; None lifts it for keys to come.

    Keys that ended with the date before end with the new one.
    """
    found = projects.find(project)
    if found.state != "active":
        raise CommandError("project.state", project=found.id, state=word("state", found.state))
    if ends_us is not None and ends_us <= now_us:
        raise CommandError("project.keys_expiry")
    before, found.keys_end_us = found.keys_end_us, ends_us
    found.save(update_fields=["keys_end_us"])
    living = ApiKey.objects.filter(project=found, state="active")
    moved = 0
    if before is not None:
        moved = living.filter(expires_us=before).update(expires_us=ends_us)
    if ends_us is not None:
        moved += living.filter(expires_us__isnull=True).update(expires_us=ends_us)
        moved += living.filter(expires_us__gt=ends_us).update(expires_us=ends_us)
    db.bump(tx, "keys")
    audit.record(
        tx,
        actor=actor,
        verb="project.set_keys_end",
        object=found.id,
        before={"keys_end_us": before},
        after={"keys_end_us": ends_us, "keys_moved": moved},
    )
    return found
