"""What the management API takes and gives of the shop itself: announcements, settings, operators."""

from __future__ import annotations

from typing import Annotated, Literal

from ninja import Schema
from pydantic import Field, StringConstraints

from .types import LINE, Ident, In, Micro, Moment

Text = Annotated[str, StringConstraints(max_length=40_000, pattern=r"^[^\u0000]*$")]
Row = Annotated[str, StringConstraints(max_length=200, pattern=LINE)]
Said = Annotated[str, StringConstraints(max_length=500, pattern=LINE)]


class Announcement(Schema):
    """What the shop tells everybody until `until_us`; null is no end."""

    id: str
    en: str
    zh: str
    level: str
    from_us: int
    until_us: int | None


class Announcements(Schema):
    """All announcements."""

    data: list[Announcement]


class AnnouncementIn(In):
    """Something to announce in at least one language."""

    en: Said = ""
    zh: Said = ""
    level: Literal["info", "warn"] = "info"
    from_us: Moment | None = None
    until_us: Moment | None = None


class Settings(Schema):
    """Every setting of the shop; an empty text is what comes with Farebox. `rules_2_from` 0 is from the start."""

    shop_name: str
    support_contact: str
    terms_en: str
    terms_zh: str
    privacy_en: str
    privacy_zh: str
    public_price_list: str
    signup_currency: str
    signup_price_list: str
    trial_micro: dict[str, int]
    trial_days: int
    price_warn_factor: str
    money_day_support_micro: int
    money_day_finance_micro: int
    money_day_admin_micro: int
    money_two_approvers_above_micro: int
    rules_2_from: int | None


class SettingsIn(In):
    """Settings to propose; null leaves one as it is."""

    shop_name: Row | None = None
    support_contact: Row | None = None
    terms_en: Text | None = None
    terms_zh: Text | None = None
    privacy_en: Text | None = None
    privacy_zh: Text | None = None
    public_price_list: Ident | None = None
    signup_currency: Annotated[str, StringConstraints(pattern=r"^([A-Z]{3})?$")] | None = None
    signup_price_list: Ident | None = None
    trial_micro: Annotated[dict[str, Micro], Field(max_length=20)] | None = None
    trial_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    price_warn_factor: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$")] | None = None
    money_day_support_micro: Micro | None = None
    money_day_finance_micro: Micro | None = None
    money_day_admin_micro: Micro | None = None
    money_two_approvers_above_micro: Micro | None = None
    rules_2_from: Moment | None = None


class OperatorOut(Schema):
    """Who works here; `factors` are their second factors."""

    id: str
    email: str
    name: str
    operator_role: str
    is_active: bool
    factors: list[str]
    has_password: bool
    created_us: int
    seen_us: int | None


class OperatorChange(Schema):
    """A change of an operator that waits for its second person: another role, or a fresh start."""

    id: str
    kind: str
    email: str
    name: str
    role_before: str
    role_after: str
    why: str
    requester: str
    made_us: int


class Operators(Schema):
    """The operators, what waits, and whether one person may act alone."""

    data: list[OperatorOut]
    waiting: list[OperatorChange]
    single_person: bool
