"""What of an account the person at the counter may see, and the names of its keys, projects and members."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from farebox.accounts.models import ApiKey, Member, Project
from farebox.calls.scope import Scope

from . import labels
from .principal import Principal

NAMES_MAX = 500  # so many names a picker offers; beyond that the list is opened from the thing's own page
_DAY_US = 86_400_000_000


def scope(me: Principal) -> Scope:
    """Owners see the account, admins their project, members what is their own (security.md 1)."""
    if me.role == "owner":
        return Scope(me.account)
    if me.role == "admin":
        return Scope(me.account, project=me.project)
    return Scope(me.account, member=me.member)


@dataclass(frozen=True, slots=True)
class Names:
    """Names by id, of all that lies within somebody's scope."""

    keys: dict[str, str]
    projects: dict[str, str]
    members: dict[str, str]

    def of(self, way: str) -> dict[str, str]:
        """The names of keys, projects or members; models have none but their own."""
        return {"key": self.keys, "project": self.projects, "member": self.members}.get(way, {})


def names(me: Principal) -> Names:
    """The names that the person may read."""
    keys = ApiKey.objects.filter(account=me.account)
    projects = Project.objects.filter(account=me.account)
    members = Member.objects.filter(account=me.account).select_related("person")
    if me.role == "admin":
        keys, projects = keys.filter(project=me.project), projects.filter(id=me.project)
        members = members.filter(project=me.project)
    elif me.role == "member":
        keys, projects = keys.filter(member=me.member), projects.filter(id=me.project)
        members = members.filter(id=me.member)
    return Names(
        dict(keys.order_by("state", "name", "id").values_list("id", "name")),
        dict(projects.order_by("name").values_list("id", "name")),
        {row.id: row.person.name or row.person.email for row in members.order_by("created_us", "id")},
    )


def today(now_us: int) -> datetime:
    """The UTC day that is under way: the totals' days are UTC's."""
    return datetime.fromtimestamp(now_us // 1_000_000, UTC).replace(hour=0, minute=0, second=0)


def day_begins(me: Principal, now_us: int) -> str:
    """What time it is for the person when a UTC day begins: `08:00`."""
    return today(now_us).astimezone(ZoneInfo(me.time_zone)).strftime("%H:%M")


def days_back(now_us: int, many: int) -> list[str]:
    """The last `many` UTC days, today among them, oldest first."""
    last = today(now_us)
    return [(last - timedelta(days=back)).strftime("%Y-%m-%d") for back in range(many - 1, -1, -1)]


def midnight_us(day: str, zone: str) -> int:
    """When a day such as 2026-11-24 begins in this time zone; ValueError for what is no day of our times."""
    begin = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=ZoneInfo(zone))
    if not 2000 <= begin.year < 2200:
        raise ValueError("no day of our times")
    return int(begin.timestamp()) * 1_000_000


def next_day(day: str) -> str:
    """The day after."""
    return (datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)).strftime("%Y-%m-%d")


def exact(at_us: int | None, zone: str) -> str:
    """A moment to the millisecond in this time zone; empty for none."""
    if at_us is None:
        return ""
    at = labels.at(at_us).astimezone(ZoneInfo(zone))
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} {at:%Z}"
