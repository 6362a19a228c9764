"""Tables of who buys, and of the persons on both sides of the counter."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Q

from farebox.catalog.models import PriceList


class PersonManager(BaseUserManager["Person"]):
    """Makes persons; e-mail addresses are unique without regard to case."""

    def get_by_natural_key(self, username: str | None) -> Person:
        """The person with this e-mail address."""
        return self.get(email=(username or "").lower())


class Person(AbstractBaseUser):
    """A human who signs in. An operator is a person with an operator role and no membership.

    `operator_role`: empty, or `support`, `finance`, `admin`, `auditor` (security.md 1: S, F, X, U).
    """

    id: Any = models.CharField(primary_key=True, max_length=40)
    email = models.CharField(max_length=254, unique=True)
    name = models.CharField(max_length=100, default="")
    operator_role = models.CharField(max_length=8, default="")
    language = models.CharField(max_length=12, default="")
    time_zone = models.CharField(max_length=64, default="UTC")
    is_active = models.BooleanField(default=True)
    created_us = models.BigIntegerField()

    objects: ClassVar[PersonManager] = PersonManager()
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(operator_role__in=["", "support", "finance", "admin", "auditor"]),
                name="accounts_operator_role",
            )
        ]


class Account(models.Model):
    """A customer who holds a balance and pays. Its ledger account has the same id.

    `kind`: `customer`, or `house` for calls of our own. `state`: `active`, `frozen` (no new calls), `barred`, `closed`.
    """

    id = models.CharField(primary_key=True, max_length=40)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=8, default="customer")
    state = models.CharField(max_length=8, default="active")
    currency = models.CharField(max_length=3)
    price_list = models.ForeignKey(PriceList, on_delete=models.PROTECT)
    time_zone = models.CharField(max_length=64, default="UTC")
    created_us = models.BigIntegerField()
    closed_us = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["customer", "house"]), name="accounts_account_kind"),
            models.CheckConstraint(
                condition=Q(state__in=["active", "frozen", "barred", "closed"]), name="accounts_account_state"
            ),
        ]


class Cap(models.Model):
    """What project, member and key have in common: a limit of spending per period, in micro-units."""

    cap_micro = models.BigIntegerField(null=True)
    cap_period = models.CharField(max_length=8, default="")  # "day", "month", "ever" where cap_micro is set

    class Meta:
        abstract = True


class Project(Cap):
    """A division of an account with its own keys and optional cap."""

    id = models.CharField(primary_key=True, max_length=40)
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    name = models.CharField(max_length=100)
    state = models.CharField(max_length=8, default="active")
    created_us = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="accounts_project_name")]


class Member(Cap):
    """A person's place in an account, with a role: `owner`, `admin` (of a project), `member`."""

    id = models.CharField(primary_key=True, max_length=40)
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    person = models.ForeignKey(Person, on_delete=models.PROTECT)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, null=True)
    role = models.CharField(max_length=8)
    state = models.CharField(max_length=8, default="active")
    created_us = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "person", "project"], name="accounts_member_once")]


class ApiKey(Cap):
    """A secret that calls the API; shown once, kept as HMAC-SHA256 digest under pepper `pepper_n` (security.md 4).

    `hint` is what may be shown of it for ever; `models` and `addresses` are JSON lists, empty for "all".
    """

    id = models.CharField(primary_key=True, max_length=40)
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    project = models.ForeignKey(Project, on_delete=models.PROTECT)
    member = models.ForeignKey(Member, on_delete=models.PROTECT, null=True)
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    pepper_n = models.IntegerField(default=1)
    hint = models.CharField(max_length=24)
    state = models.CharField(max_length=8, default="active")
    addresses = models.TextField(default="[]")
    expires_us = models.BigIntegerField(null=True)
    created_us = models.BigIntegerField()
    revoked_us = models.BigIntegerField(null=True)
    # Last in the class: from here on its name hides the module's.
    models = models.TextField(default="[]")


class Session(models.Model):
    """A browser that has been here; `id` is the SHA-256 of its key, `person` is set while somebody is signed in.

    `area` is `console` or `office`: a session of one is none in the other.
    """

    id = models.CharField(primary_key=True, max_length=64)
    area = models.CharField(max_length=8)
    person = models.ForeignKey(Person, on_delete=models.CASCADE, null=True)
    data = models.TextField(default="")
    address = models.CharField(max_length=64, default="")
    agent = models.CharField(max_length=200, default="")
    created_us = models.BigIntegerField()
    seen_us = models.BigIntegerField(db_index=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(area__in=["console", "office"]), name="accounts_session_area")
        ]
