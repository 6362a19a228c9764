"""Whose calls somebody may see: an account's, those of some projects of it, or those of somebody's own keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from farebox.accounts.models import ApiKey


@dataclass(frozen=True, slots=True)
class CallScope:
    """All calls of `account`; or, unless both are None, those of these projects and those of these members' keys."""

    account: str
    projects: frozenset[str] | None = None
    members: frozenset[str] | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all of the account."""
        return self.projects is None and self.members is None

    @property
    def places(self) -> str:
        """The ids of its projects and members as `|one|two|`, for SQL; empty for the whole account."""
        return "" if self.whole else "|" + "".join(f"{each}|" for each in sorted(self._projects | self._members))

    def sees(self, call: dict[str, Any]) -> bool:
        """Whether this call, a row by column name, is within."""
        return call["account"] == self.account and (
            self.whole or call["project"] in self._projects or call["member"] in self._members
        )

    def key_rows(self) -> QuerySet[ApiKey]:
        """The keys within, living or not, to be filtered further."""
        rows = ApiKey.objects.filter(account=self.account)
        return rows if self.whole else rows.filter(Q(project__in=self._projects) | Q(member__in=self._members))

    def keys(self, *, project: str = "", member: str = "") -> list[str]:
        """The ids of the keys within, living or not, newest first; of one project or one member where that is named."""
        rows = self.key_rows()
        if project:
            rows = rows.filter(project=project)
        if member:
            rows = rows.filter(member=member)
        return list(rows.order_by("-id").values_list("id", flat=True))

    def own_keys(self) -> list[str]:
        """The ids of the keys that are within because of their member, whatever their project."""
        return list(ApiKey.objects.filter(account=self.account, member__in=self._members).values_list("id", flat=True))

    @property
    def _projects(self) -> frozenset[str]:
        return self.projects or frozenset()

    @property
    def _members(self) -> frozenset[str]:
        return self.members or frozenset()
