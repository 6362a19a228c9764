"""What the team's pages show: places with what each has spent, and how much of its cap is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from farebox.accounts import cap_use, days, zones
from farebox.accounts.cap_use import Use
from farebox.accounts.models import ApiKey, Member, Project
from farebox.accounts.team import invitations, teams
from farebox.accounts.team.teams import Reach
from farebox.calls import totals
from farebox.calls.scope import CallScope
from farebox.console.keys import keys
from farebox.console.limit_forms import CAPS, PERIODS
from farebox.console.principal import Principal
from farebox.kit import clock
from farebox.kit.db import Tx

from .team_forms import ROLES


@dataclass(frozen=True, slots=True)
class SpendRow:
    """A project or a member, what it has spent this month, and how far each of its caps is used."""

    of: Any
    spent_micro: int
    uses: tuple[Use, ...] = ()
    keys: int = 0
    people: int = 0

    @property
    def caps(self) -> list[tuple[Any, Any, Use]]:
        """Each cap after its name and its period in words."""
        return [(CAPS[use.period], PERIODS[use.period], use) for use in self.uses]

    @property
    def role(self) -> Any:
        """A member's role in words."""
        return ROLES.get(getattr(self.of, "role", ""), "")


class _Spent:
    """What the keys of an account have charged this month, and whose they are."""

    def __init__(self, tx: Tx, account: str, time_zone: str) -> None:
        self.tx, self.now_us, self.zone = tx, clock.now_us(), time_zone
        today = zones.day(self.now_us, time_zone)
        by_key = totals.spent_by_key(tx, CallScope(account), from_day=f"{today[:8]}01", until_day=today)
        self.by_project: Counter[str] = Counter()
        self.by_member: Counter[str] = Counter()
        self.keys_of_project: Counter[str] = Counter()
        self.keys_of_member: Counter[str] = Counter()
        for key, project, member, counts in teams.keys_of(account, now_us=self.now_us):
            self.by_project[project] += by_key.get(key, 0)
            self.keys_of_project[project] += counts
            if member is not None:
                self.by_member[member] += by_key.get(key, 0)
                self.keys_of_member[member] += counts

    def rows(self, of: Sequence[Project | Member], *, people: Mapping[str | None, int] | None = None) -> list[SpendRow]:
        uses = cap_use.of_rows(self.tx, of, time_zone=self.zone, now_us=self.now_us)
        return [self._row(each, used, (people or {}).get(each.id, 0)) for each, used in zip(of, uses, strict=True)]

    def row(self, of: Project | Member, *, people: int = 0) -> SpendRow:
        return self.rows([of], people={of.id: people})[0]

    def _row(self, of: Project | Member, uses: tuple[Use, ...], people: int) -> SpendRow:
        is_project = isinstance(of, Project)
        spent, keys = (self.by_project, self.keys_of_project) if is_project else (self.by_member, self.keys_of_member)
        return SpendRow(of, spent[of.id], uses, keys[of.id], people)


def everything(tx: Tx, me: Principal, within: Reach) -> dict[str, Any]:
    """The projects, members and open invitations that are within."""
    zone = _zone(me)
    spent = _Spent(tx, me.account, zone)
    members = teams.members_within(within)
    heads = Counter(member.project_id for member in members)
    projects = spent.rows(teams.projects_within(within), people=heads)
    return {
        "projects": projects,
        "members": spent.rows(members),
        "invitations": invitations.open_ones(me.account, projects_=within.projects, now_us=spent.now_us),
        "people": len({member.person_id for member in members}),
        "in_use": sum(row.of.state == "active" for row in projects),
        "spent_micro": sum(row.spent_micro for row in projects),
    }


def of_project(tx: Tx, me: Principal, within: Reach, project: Project) -> dict[str, Any]:
    """One project, its members and its open invitations."""
    spent = _Spent(tx, me.account, project.account.time_zone)
    members = teams.members_within(within, project=project.id)
    return {
        "row": spent.row(project, people=len(members)),
        "members": spent.rows(members),
        "invitations": invitations.open_ones(me.account, projects_=frozenset({project.id}), now_us=spent.now_us),
        "last_day": last_day(project.keys_end_us, project.account.time_zone),
        "is_over": project.keys_end_us is not None and project.keys_end_us <= spent.now_us,
    }


def of_member(tx: Tx, member: Member) -> dict[str, Any]:
    """One member, and their keys as they may be shown, the living ones first; those of the playground are none."""
    spent = _Spent(tx, member.account_id, member.account.time_zone)
    rows = ApiKey.objects.filter(member=member, kind="").order_by("-created_us", "-id")
    shown = [{"name": row.name, "hint": row.hint, "state": keys.state(row, spent.now_us)} for row in rows]
    return {"row": spent.row(member), "keys": sorted(shown, key=lambda each: each["state"] in keys.ENDED)}


def own(tx: Tx, me: Principal) -> list[SpendRow]:
    """A member's own places in this account, and nobody else's."""
    spent = _Spent(tx, me.account, _zone(me))
    return spent.rows([place for place in teams.places(me.person) if place.account_id == me.account])


def last_day(ends_us: int | None, zone: str) -> date | None:
    """The last day before this moment in a time zone."""
    if ends_us is None:
        return None
    return days.last(ends_us, zone)


def _zone(me: Principal) -> str:
    places = teams.places(me.person)
    return next((place.account.time_zone for place in places if place.account_id == me.account), "UTC")
