"""What of an account the person at the counter may see, and the names of its keys, projects and members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.utils.translation import gettext_lazy

from farebox.accounts import zones
from farebox.accounts.models import Member, Project
from farebox.calls.scope import CallScope
from farebox.look import called

from . import labels
from .principal import Principal

NAMES_MAX = 500  # so many names a picker offers; beyond that the list is opened from the thing's own page
NAMED: dict[str, Any] = {
    "key": gettext_lazy("Key"),
    "project": gettext_lazy("Project"),
    "member": gettext_lazy("Member"),
}
_DAY_US = 86_400_000_000


def scope(me: Principal) -> CallScope:
    """Owners see the account, others the projects whose admin and their own as the members they are (security 1)."""
    if me.role == "owner":
        return CallScope(me.account)
    return CallScope(me.account, projects=me.admin_of, members=me.member_as)


@dataclass(frozen=True, slots=True)
class Names:
    """Names by id, of all that is within somebody's scope; keys of the playground can be named, but not picked."""

    keys: dict[str, str]
    projects: dict[str, str]
    members: dict[str, str]
    unpicked: frozenset[str] = frozenset()

    def picker(self, way: str, chosen: str) -> list[tuple[str, str, bool]]:
        """What a select offers, as (id, name, whether it is chosen); what is chosen is always among it."""
        known = {ident: text for ident, text in self.of(way).items() if ident not in self.unpicked}
        offered = dict(list(known.items())[:NAMES_MAX])
        if chosen in self.of(way):
            offered[chosen] = self.of(way)[chosen]
        return [(ident, text, ident == chosen) for ident, text in offered.items()]

    def of(self, way: str) -> dict[str, str]:
        """The names of keys, projects or members; models have none but their own."""
        known = {"key": self.keys, "project": self.projects}.get(way)
        if known is not None:
            return {ident: called.named(name) for ident, name in known.items()}
        return self.members if way == "member" else {}


def names(me: Principal) -> Names:
    """The names that the person may read."""
    projects = Project.objects.filter(account=me.account)
    members = Member.objects.filter(account=me.account).select_related("person", "project")
    if me.role != "owner":
        projects = projects.filter(Q(id__in=me.admin_of) | Q(member__in=me.member_as)).distinct()
        members = members.filter(Q(project__in=me.admin_of) | Q(id__in=me.member_as))
    keys = list(scope(me).key_rows().order_by("state", "name", "id").values_list("id", "name", "kind"))
    return Names(
        {ident: name for ident, name, _ in keys},
        dict(projects.order_by("name").values_list("id", "name")),
        _people(members.order_by("created_us", "id")),
        frozenset(ident for ident, _, kind in keys if kind),
    )


def pickers(names: Names, chosen: Mapping[str, str]) -> list[dict[str, Any]]:
    """The selects of keys, projects and members, where there is a choice or one was made."""
    out = []
    for name, label in NAMED.items():
        options = names.picker(name, chosen.get(name, ""))
        if len(options) > 1 or chosen.get(name):
            out.append({"name": name, "label": label, "options": options})
    return out


def _people(members: Iterable[Member]) -> dict[str, str]:
    """Their names by id; behind a name that several places have stands the project."""
    named = {row: row.person.name or row.person.email for row in members}
    often = Counter(named.values())
    return {
        row.id: f"{name} · {called.named(row.project.name)}" if often[name] > 1 and row.project is not None else name
        for row, name in named.items()
    }


def day_begins(me: Principal, now_us: int) -> str:
    """What time it is for the person when a day of the account begins: `08:00`."""
    begin_us = zones.begin_us(zones.day(now_us, me.account_zone), me.account_zone)
    return labels.at(begin_us).astimezone(ZoneInfo(me.time_zone)).strftime("%H:%M")


def days_back(me: Principal, now_us: int, many: int) -> list[str]:
    """The last `many` days of the account, today among them, oldest first: sums and caps go by them."""
    today = zones.day(now_us, me.account_zone)
    return [zones.later(today, -back) for back in range(many - 1, -1, -1)]


def moment_us(text: str, zone: str) -> int:
    """When a day such as 2026-11-24 or a minute such as 2026-11-24T05:30 begins in this time zone.

    ValueError for what is neither, or is not of our times.
    """
    begin = datetime.strptime(text, "%Y-%m-%dT%H:%M" if "T" in text else "%Y-%m-%d").replace(tzinfo=ZoneInfo(zone))
    if not 2000 <= begin.year < 2200:
        raise ValueError("no day of our times")
    return int(begin.timestamp()) * 1_000_000


def spelled(at_us: int, zone: str, *, until: bool = False) -> str:
    """A moment as From or Until of a form say it: a minute, or at midnight the day that begins, or `until` the last."""
    at = labels.at(at_us).astimezone(ZoneInfo(zone))
    if (at.hour, at.minute) != (0, 0):
        return f"{at:%Y-%m-%dT%H:%M}"
    return f"{at.date() - timedelta(days=1) if until else at.date():%Y-%m-%d}"


def next_day(day: str) -> str:
    """The day after."""
    return (datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)).strftime("%Y-%m-%d")


def exact(at_us: int | None, zone: str) -> str:
    """A moment to the millisecond in this time zone; empty for none."""
    if at_us is None:
        return ""
    at = labels.at(at_us).astimezone(ZoneInfo(zone))
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} {at:%Z}"
