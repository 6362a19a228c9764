"""Tables of who buys, and of the persons on both sides of the counter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Index, Q
from django.utils.crypto import salted_hmac

from farebox.catalog.models import PriceList

from .caps import Caps


class PersonManager(BaseUserManager["Person"]):
    """Makes persons; e-mail addresses are unique without regard to case."""

    def get_by_natural_key(self, username: str | None) -> Person:
        """The person with this e-mail address."""
        return self.get(email=(username or "").lower())


class Person(AbstractBaseUser):
    """A human who signs in. An operator is a person with an operator role and no membership.

    `operator_role`: empty, or `support`, `finance`, `admin`, `auditor` (security 1: S, F, X, U).
    """

    id: Any = models.CharField(primary_key=True, max_length=40)
    email = models.CharField(max_length=254, unique=True)
    name = models.CharField(max_length=100, default="")
    operator_role = models.CharField(max_length=8, default="")
    language = models.CharField(max_length=12, default="")
    time_zone = models.CharField(max_length=64, default="UTC")
    is_active = models.BooleanField(default=True)
    by_sign_up = models.BooleanField(default=False)  # made himself; forgotten if his mailbox is never confirmed
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

    def get_session_auth_hash(self) -> str:
        """What a session holds of the password, so that it ends with it: hangs on no key that is rotated."""
        of = "of the password"  # which is a hash that only the store has, as the session that is compared with it
        return salted_hmac("farebox session", self.password, secret=of, algorithm="sha256").hexdigest()

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        """What sessions of earlier versions hold: Django's own, under the key of now and those before."""
        yield super().get_session_auth_hash()
        yield from super().get_session_auth_fallback_hash()


class Paced(models.Model):
    """What account, project, member and key have in common: limits per minute and of concurrent calls; null is none."""

    rpm = models.IntegerField(null=True)  # calls that begin within a minute
    tpm = models.IntegerField(null=True)  # text tokens within a minute
    concurrency = models.IntegerField(null=True)  # calls at one time

    class Meta:
        abstract = True


class Account(Paced):
    """A customer who holds a balance and pays. Its ledger account has the same id.

    `kind`: `customer`, or `house` for calls of our own. `state`: `active`, `frozen` (no new calls), `barred`, `closed`.
    What a `trusted` one is forgiven draws on no allowance (promises 4.4).
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
    trusted = models.BooleanField(default=False, db_default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["customer", "house"]), name="accounts_account_kind"),
            models.CheckConstraint(
                condition=Q(state__in=["active", "frozen", "barred", "closed"]), name="accounts_account_state"
            ),
        ]


class Cap(models.Model):
    """What project, member, key and invitation have in common: limits of spending, in micro-units; null is none."""

    cap_day_micro = models.BigIntegerField(null=True)
    cap_month_micro = models.BigIntegerField(null=True)
    cap_ever_micro = models.BigIntegerField(null=True)

    class Meta:
        abstract = True

    @property
    def caps(self) -> Caps:
        """All of them."""
        return Caps(self.cap_day_micro, self.cap_month_micro, self.cap_ever_micro)

    @property
    def cap_scope(self) -> str:
        """Under which id its spending is counted."""
        return str(self.pk)


class Project(Cap, Paced):
    """A division of an account with its own keys and optional cap."""

    id = models.CharField(primary_key=True, max_length=40)
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    name = models.CharField(max_length=100)
    state = models.CharField(max_length=8, default="active")
    created_us = models.BigIntegerField()
    keys_end_us = models.BigIntegerField(null=True)  # no key of the project lives longer

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="accounts_project_name")]


class Member(Cap, Paced):
    """A person's place in an account, with a role: `owner`, `admin` (of a project), `member`.

    A session whose newest proof is older than `proved_from_us` has no access to the account by this place.
    """

    id = models.CharField(primary_key=True, max_length=40)
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    person = models.ForeignKey(Person, on_delete=models.PROTECT)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, null=True)
    role = models.CharField(max_length=8)
    state = models.CharField(max_length=8, default="active")
    created_us = models.BigIntegerField()
    proved_from_us = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "person", "project"], name="accounts_member_once")]


class ApiKey(Cap, Paced):
    """A secret that calls the API; shown once, kept as HMAC-SHA256 digest under pepper `pepper_n` (security 4).

    `hint` is what may be shown of it for ever; `models` and `addresses` are JSON lists, empty for "all".
    `kind` is empty, or `playground` for the short-lived key of the session with the id `session`; `replaced_by` is the
    key that a rotation made; `counts_as` is the first key of its line, with which a rotated key shares what is counted
    for caps and limits, empty for a key that is the first itself.
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
    kind = models.CharField(max_length=12, default="")
    note = models.CharField(max_length=200, default="", db_default="")
    session = models.CharField(max_length=64, default="")
    replaced_by = models.CharField(max_length=40, default="")
    counts_as = models.CharField(max_length=40, default="")
    # Last in the class: from here on its name hides the module's.
    models = models.TextField(default="[]")

    class Meta:
        indexes = [Index(fields=["session"], condition=~Q(session=""), name="accounts_key_session")]

    @property
    def cap_scope(self) -> str:
        """The id of the first key of its line."""
        return self.counts_as or self.id


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


# Teams: begin


class Invitation(Cap):
    """A place in an account that waits for its person; the code of its link is kept as digest (security 4).

    `state`: `open`, `used`, `revoked`; an open one ends at `expires_us`. `with_key`: who joins gets a key at once.
    The cap is the member's to be.
    """

    id = models.CharField(primary_key=True, max_length=40)
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, null=True)
    role = models.CharField(max_length=8)
    email = models.CharField(max_length=254)
    name = models.CharField(max_length=100, default="")
    with_key = models.BooleanField(default=False)
    state = models.CharField(max_length=8, default="open")
    digest = models.CharField(max_length=64, unique=True)
    invited_by = models.CharField(max_length=80)
    member = models.ForeignKey(Member, on_delete=models.PROTECT, null=True)
    created_us = models.BigIntegerField()
    sent_us = models.BigIntegerField()
    sent_n = models.IntegerField(default=1)
    expires_us = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["account", "state"], name="accounts_invitations_of")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["open", "used", "revoked"]), name="accounts_invitation_state"
            ),
            models.UniqueConstraint(
                fields=["account", "project", "email"], condition=Q(state="open"), name="accounts_invited_once"
            ),
        ]


# Teams: end


# Operators: begin


class OfficeCode(models.Model):
    """A one-time code of the office, kept as digest.

    It gives the address `email` the operator's role of the change `change`, or lets the operator
    `person` choose a password and a second factor again, or makes the first administrator (neither). `mailed`: it went
    to the mailbox, and not to whoever has the server.
    """

    id = models.CharField(primary_key=True, max_length=64)
    person = models.ForeignKey(Person, on_delete=models.CASCADE, null=True)
    email = models.CharField(max_length=254, default="")
    name = models.CharField(max_length=100, default="")
    role = models.CharField(max_length=8, default="")
    change = models.CharField(max_length=40, default="")
    mailed = models.BooleanField(default=False)
    made_us = models.BigIntegerField()
    expires_us = models.BigIntegerField()
    used_us = models.BigIntegerField(null=True)


class OperatorChange(models.Model):
    """A change of who works in the office. It waits for a second administrator, unless one person may act alone.

    `kind`: `role` (also a new operator, or none any more), `reset` (password and second factors reset). `state`:
    `proposed`, `approved`, `refused`; a proposed one ends after 72 hours. An approved one of a new operator is an
    invitation: the role comes with the code (`OfficeCode`).
    """

    id = models.CharField(primary_key=True, max_length=40)
    kind = models.CharField(max_length=8)
    email = models.CharField(max_length=254)
    name = models.CharField(max_length=100, default="")
    role_before = models.CharField(max_length=8, default="")
    role_after = models.CharField(max_length=8, default="")
    why = models.CharField(max_length=200, default="")
    state = models.CharField(max_length=10, default="proposed")
    requester = models.CharField(max_length=200)
    approver = models.CharField(max_length=200, default="")
    single_person = models.BooleanField(default=False)
    made_us = models.BigIntegerField()
    decided_us = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["proposed", "approved", "refused"]), name="accounts_change_state"
            ),
            models.UniqueConstraint(
                fields=["email"], condition=Q(state="proposed"), name="accounts_change_of_one_at_a_time"
            ),
        ]


# Operators: end


class Link(models.Model):
    """A one-time link that signs in at the demo; `id` is the digest of its code."""

    id = models.CharField(primary_key=True, max_length=64)
    person = models.ForeignKey(Person, on_delete=models.CASCADE)
    area = models.CharField(max_length=8)
    expires_us = models.BigIntegerField(db_index=True)


class Trial(models.Model):
    """Trial credit that was granted; `id` is the digest of the mailbox, so that each has it once.

    `network` is where the sign-up came from (/24 or /48), which has a limit a day.
    """

    id = models.CharField(primary_key=True, max_length=64)
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    network = models.CharField(max_length=64)
    granted_us = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["network", "granted_us"], name="accounts_trial_network")]


class Notice(models.Model):
    """What a member wants to be told of his account, and by which way; `told` is JSON of what he was told last.

    `low_micro` and `low_days` ask for a word when less money, or fewer days of it, is left; null for neither. `expiry`
    asks for one before granted credit expires.
    `webhook_secret` is sealed.
    """

    id = models.CharField(primary_key=True, max_length=40)
    person = models.ForeignKey(Person, on_delete=models.CASCADE)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    low_micro = models.BigIntegerField(null=True)
    low_days = models.IntegerField(null=True)
    prices = models.BooleanField(default=False)
    keys = models.BooleanField(default=False)
    expiry = models.BooleanField(default=False)
    by_mail = models.BooleanField(default=True)
    webhook_url = models.CharField(max_length=500, default="")
    webhook_secret = models.TextField(default="")
    told = models.TextField(default="{}")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "account"], name="accounts_notice_once")]


# Tokens of the management API: begin


class OfficeToken(models.Model):
    """A secret of a script that does an operator's work (`/office/api`), shown once, kept as digest.

    `role` is that of `person`, or `auditor`; it is worth nothing once the person has another. `addresses` is a JSON
    list, empty for all.
    """

    id = models.CharField(primary_key=True, max_length=40)
    person = models.ForeignKey(Person, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=8)
    digest = models.CharField(max_length=64, unique=True)
    pepper_n = models.IntegerField(default=1)
    hint = models.CharField(max_length=24)
    addresses = models.TextField(default="[]")
    made_us = models.BigIntegerField()
    expires_us = models.BigIntegerField()
    used_us = models.BigIntegerField(null=True)
    revoked_us = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(role__in=["support", "finance", "admin", "auditor"]), name="accounts_token_role"
            )
        ]


# Tokens of the management API: end
