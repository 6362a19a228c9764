"""Above a limit two persons approve manual money; caps count net of refunds by hand (promises 1.8, I27)."""

from collections.abc import Iterator
from typing import Any

from django.db import migrations, models
from django.db.models import Exists, F, OuterRef, Q


def _refunds(apps: Any) -> Iterator[tuple[str, int]]:
    """(memo account, micro-units) of each refund by hand that stands, and of each charge that was undone."""
    entries = apps.get_model("ledger", "Entry").objects
    undone = entries.filter(account=OuterRef("account"), kind="reversal", ref=OuterRef("entry"))
    rows = apps.get_model("ledger", "Adjustment").objects.filter(~Exists(undone), kind="refund", state="booked")
    given = list(rows.order_by("id").values_list("call", "account", "booked_micro"))
    charges = entries.filter(id__in=entries.filter(kind="reversal").values("ref"), kind="charge").order_by("id")
    given += [(call, account, None) for call, account in charges.values_list("ref", "account")]
    holds = apps.get_model("ledger", "Hold").objects
    for call, account, amount_micro in given:
        for purses, charge_micro in holds.filter(id=call, account=account).values_list("purses", "charge_micro"):
            for purse in sorted(purses.split()):
                if purse.startswith("cap:"):
                    yield purse, charge_micro if amount_micro is None else amount_micro


def _give_back(apps: Any, _editor: Any) -> None:
    memos = apps.get_model("ledger", "LedgerAccount").objects.filter(kind="memo")
    for purse, amount_micro in list(_refunds(apps)):
        memos.filter(id=purse).update(posted_micro=F("posted_micro") + amount_micro)


def _count_again(apps: Any, _editor: Any) -> None:
    memos = apps.get_model("ledger", "LedgerAccount").objects.filter(kind="memo")
    for purse, amount_micro in list(_refunds(apps)):
        after = F("posted_micro") - amount_micro
        # A floor above that gives way: it is compared with the cap itself when money is held.
        lower = memos.filter(id=purse, floor_micro__gt=after - F("held_micro"))
        if not lower.update(posted_micro=after, floor_micro=after - F("held_micro")):
            memos.filter(id=purse).update(posted_micro=after)


class Migration(migrations.Migration):
    """The first of two approvals, and caps that count net charges."""

    dependencies = [("ledger", "0004_adjustments")]

    operations = [
        migrations.AddField("adjustment", "approvals", models.SmallIntegerField(default=1, db_default=1)),
        migrations.AddField(
            "adjustment", "first_approver", models.CharField(max_length=200, default="", db_default="")
        ),
        migrations.AddField("adjustment", "first_approved_us", models.BigIntegerField(null=True)),
        migrations.AddConstraint(
            "adjustment",
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
        ),
        migrations.RunPython(_give_back, _count_again),
    ]
