"""Tables of the books. The schema is defined here and nowhere else; hot SQL is in sql.py."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from farebox.kit.money import AMOUNT_MICRO_MAX

_BOUNDS = (-AMOUNT_MICRO_MAX, AMOUNT_MICRO_MAX)  # I23: a sum of two still is a 64-bit integer


class LedgerAccount(models.Model):
    """An account in the books.

    `customer` and `memo` accounts store posted, held and floor; `house` accounts store none: theirs is the sum of
    their postings, or revenue would be one hot row for the whole shop. `floor_micro` NULL means no floor. A `frozen`
    ledger account takes no new hold; `farebox doctor --freeze` sets it where a balance has drifted, `prove` only reads.
    """

    id = models.CharField(primary_key=True, max_length=80)
    kind = models.CharField(max_length=8)
    currency = models.CharField(max_length=3)
    posted_micro = models.BigIntegerField(default=0)
    held_micro = models.BigIntegerField(default=0)
    floor_micro = models.BigIntegerField(null=True)
    frozen = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["customer", "memo", "house"]), name="ledger_account_kind"),
            models.CheckConstraint(condition=Q(held_micro__gte=0), name="ledger_held_not_negative"),
            models.CheckConstraint(
                condition=Q(floor_micro__isnull=True) | Q(posted_micro__gte=F("floor_micro") + F("held_micro")),
                name="ledger_never_below_floor",
            ),
            models.CheckConstraint(
                condition=~Q(kind="house") | Q(posted_micro=0, held_micro=0, floor_micro__isnull=True),
                name="ledger_house_stores_nothing",
            ),
            models.CheckConstraint(
                condition=Q(posted_micro__range=_BOUNDS, held_micro__range=_BOUNDS), name="ledger_account_bounds"
            ),
        ]


class Hold(models.Model):
    """Money set aside for one call, in each purse of `purses` (ids joined by spaces, ascending).

    Ended once: settled, voided or expired (I06). The id is the call's.
    """

    id = models.CharField(primary_key=True, max_length=40)
    account = models.CharField(max_length=80)
    purses = models.CharField(max_length=600)
    amount_micro = models.BigIntegerField()
    charge_micro = models.BigIntegerField(null=True)
    state = models.CharField(max_length=8, default="open")
    epoch = models.CharField(max_length=40)
    placed_us = models.BigIntegerField()
    ended_us = models.BigIntegerField(null=True)

    class Meta:
        indexes = [models.Index(fields=["epoch"], condition=Q(state="open"), name="ledger_open_holds")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["open", "settled", "voided", "expired"]), name="ledger_hold_state"
            ),
            models.CheckConstraint(
                condition=Q(state="open", charge_micro__isnull=True, ended_us__isnull=True)
                | Q(charge_micro__gte=0, charge_micro__lte=F("amount_micro"), ended_us__isnull=False),
                name="ledger_charge_within_hold",
            ),
            models.CheckConstraint(condition=Q(amount_micro__gte=0), name="ledger_hold_not_negative"),
        ]


class Entry(models.Model):
    """One balanced event: its postings add up to 0. `account` + `kind` + `ref` happen once.

    `requester` and `approver` stand for manual money (I27); other entries have neither.
    """

    id = models.CharField(primary_key=True, max_length=40)
    account = models.CharField(max_length=80)
    kind = models.CharField(max_length=24)
    ref = models.CharField(max_length=80)
    currency = models.CharField(max_length=3)
    at_us = models.BigIntegerField()
    note = models.CharField(max_length=300, default="")
    requester = models.CharField(max_length=200, default="")
    approver = models.CharField(max_length=200, null=True)
    single_person = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["account", "at_us"], name="ledger_entry_account")]
        constraints = [
            models.UniqueConstraint(fields=["account", "kind", "ref"], name="ledger_entry_once"),
            models.CheckConstraint(
                condition=Q(requester="")
                | Q(single_person=True, approver__isnull=True)
                | (Q(approver__isnull=False) & ~Q(approver=F("requester"))),
                name="ledger_two_people",
            ),
        ]


class Reference(models.Model):
    """A reference from outside and the entry that it stands for (references.py); never changed, never removed.

    `kind` is one of `references.KINDS`; `at_us` is the time of the entry.
    """

    entry = models.CharField(primary_key=True, max_length=40)
    kind = models.CharField(max_length=12)
    source = models.CharField(max_length=32)
    reference = models.CharField(max_length=200)
    at_us = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "source", "reference"], name="ledger_reference_once"),
            models.CheckConstraint(
                condition=Q(kind__in=["manual", "payment", "code", "bank"]) & ~Q(source="") & ~Q(reference=""),
                name="ledger_reference_whole",
            ),
        ]


class Posting(models.Model):
    """One signed line of an entry: positive is money for the ledger account, negative is money from it."""

    id = models.CharField(primary_key=True, max_length=44)
    # No constraint in the database: Django's would be deferred (decision 7); `prove` looks for orphans.
    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, db_constraint=False)
    account = models.CharField(max_length=80)
    amount_micro = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["account", "id"], name="ledger_posting_account")]
        constraints = [
            models.CheckConstraint(condition=~Q(amount_micro=0), name="ledger_posting_not_zero"),
            models.CheckConstraint(condition=Q(amount_micro__range=_BOUNDS), name="ledger_posting_bounds"),
        ]


class Adjustment(models.Model):
    """Manual money: proposed by one person with a reason, approved by another, booked once (promises: I27).

    `kind` is one of `adjustments.KINDS`. `state`: `proposed`, `booked`, `declined`, `withdrawn`; what is proposed
    lapses by its age alone. `source` and `reference` name it outside, where it has a name there: the entry takes that
    reference when it is booked. `requester`, `first_approver` and `decider` name persons; `approvals` is how many it
    needs: with two the first is only noted, and the decider gives the second. `booked_micro` is what was moved, `entry`
    where.
    """

    id = models.CharField(primary_key=True, max_length=40)
    account = models.CharField(max_length=80)
    kind = models.CharField(max_length=12)
    amount_micro = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=300)
    call = models.CharField(max_length=40, default="")
    expires_us = models.BigIntegerField(null=True)
    state = models.CharField(max_length=10, default="proposed")
    requester = models.CharField(max_length=200)
    proposed_us = models.BigIntegerField(db_index=True)
    approvals = models.SmallIntegerField(default=1, db_default=1)
    first_approver = models.CharField(max_length=200, default="", db_default="")
    first_approved_us = models.BigIntegerField(null=True)
    decider = models.CharField(max_length=200, default="")
    decided_us = models.BigIntegerField(null=True)
    note = models.CharField(max_length=300, default="")
    single_person = models.BooleanField(default=False)
    booked_micro = models.BigIntegerField(null=True)
    entry = models.CharField(max_length=40, default="")
    source = models.CharField(max_length=32, default="", db_default="")
    reference = models.CharField(max_length=200, default="", db_default="")

    class Meta:
        indexes = [
            models.Index(fields=["account", "id"], name="ledger_adjustment_account"),
            models.Index(fields=["source", "reference"], condition=~Q(source=""), name="ledger_adjustment_reference"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(source="", reference="") | (~Q(source="") & ~Q(reference="")),
                name="ledger_adjustment_outside",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["proposed", "booked", "declined", "withdrawn"]), name="ledger_adjustment_state"
            ),
            models.CheckConstraint(condition=Q(amount_micro__gt=0), name="ledger_adjustment_amount"),
            models.CheckConstraint(
                condition=~Q(state="booked") | Q(single_person=True) | ~Q(decider=F("requester")),
                name="ledger_adjustment_two_people",
            ),
            models.CheckConstraint(
                condition=~Q(state="booked") | (Q(booked_micro__gt=0, booked_micro__lte=F("amount_micro"))),
                name="ledger_adjustment_booked",
            ),
            models.CheckConstraint(
                condition=Q(approvals__in=[1, 2])
                & (Q(first_approver="") | (Q(approvals=2) & ~Q(first_approver=F("requester"))))
                & (
                    ~Q(state="booked")
                    | Q(approvals=1)
                    | Q(single_person=True)
                    | (~Q(first_approver="") & ~Q(first_approver=F("decider")))
                ),
                name="ledger_adjustment_two_approvers",
            ),
        ]


class CreditLot(models.Model):
    """Granted credit: not refundable, counted as spent first, may expire (promises 1.8).

    `closed` once nothing of it can expire any more; `reversed_us` if that is because its grant was undone. `resets`
    counts how often its expiry was undone because the clock had run ahead (ahead.py).
    """

    id = models.CharField(primary_key=True, max_length=40)
    account = models.CharField(max_length=80, db_index=True)
    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, db_constraint=False)
    amount_micro = models.BigIntegerField()
    granted_us = models.BigIntegerField()
    expires_us = models.BigIntegerField(null=True)
    expired_micro = models.BigIntegerField(default=0)
    closed = models.BooleanField(default=False)
    reversed_us = models.BigIntegerField(null=True)
    resets = models.SmallIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_micro__gt=0, expired_micro__gte=0, expired_micro__lte=F("amount_micro")),
                name="ledger_lot_bounds",
            )
        ]


class Allowance(models.Model):
    """What an account may be forgiven, a row beside its balance (allowance.py); made by the first call that changes it.

    What is left is `begun` + `grown` + `returned` - `drawn`. `charged_micro` is what it has grown by a share of, `paid`
    that the account has had money other than granted credit, `most_micro` the maximum where an operator has set one.
    """

    account = models.CharField(primary_key=True, max_length=80)
    currency = models.CharField(max_length=3)
    begun_micro = models.BigIntegerField()
    grown_micro = models.BigIntegerField(default=0)
    drawn_micro = models.BigIntegerField(default=0)
    returned_micro = models.BigIntegerField(default=0)
    charged_micro = models.BigIntegerField(default=0)
    paid = models.BooleanField(default=False)
    most_micro = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(grown_micro__gte=0, drawn_micro__gte=0, returned_micro__gte=0, charged_micro__gte=0)
                & Q(returned_micro__lte=F("drawn_micro")),
                name="ledger_allowance_bounds",
            )
        ]


class Draw(models.Model):
    """What one settled hold drew from its account's allowance, and what it fell short of its charge; once (I33).

    `returned` once its charge was refunded and the allowance has it again.
    """

    hold = models.CharField(primary_key=True, max_length=40)
    account = models.CharField(max_length=80, db_index=True)
    drawn_micro = models.BigIntegerField()
    short_micro = models.BigIntegerField(default=0)
    at_us = models.BigIntegerField()
    returned = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(drawn_micro__gte=0, short_micro__gte=0), name="ledger_draw_bounds")
        ]
