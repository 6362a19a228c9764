"""Whose calls somebody may see: an account's, one project's of it, or one member's own (security.md 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from farebox.accounts.models import ApiKey


@dataclass(frozen=True, slots=True)
class Scope:
    """All calls of `account`; with `project` only that project's, with `member` only those of the member's own keys."""

    account: str
    project: str | None = None
    member: str | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all of the account."""
        return self.project is None and self.member is None

    def sees(self, call: dict[str, Any]) -> bool:
        """Whether this call, a row by column name, lies within."""
        return (
            call["account"] == self.account
            and self.project in {None, call["project"]}
            and self.member in {None, call["member"]}
        )

    def narrowed(self, *, project: str = "", member: str = "") -> Scope:
        """Only a project's or a member's part of it; what the scope says already stays."""
        return Scope(self.account, self.project or project or None, self.member or member or None)

    def keys(self) -> list[str]:
        """The ids of the keys within, living or not, newest first."""
        rows = ApiKey.objects.filter(account=self.account)
        if self.project is not None:
            rows = rows.filter(project=self.project)
        if self.member is not None:
            rows = rows.filter(member=self.member)
        return list(rows.order_by("-id").values_list("id", flat=True))
