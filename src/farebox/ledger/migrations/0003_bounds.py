"""Amounts stay within bounds on both databases; a lot knows when its grant was undone (promises 1.8, I23)."""

from typing import Any

from django.db import migrations, models
from django.db.models import OuterRef, Q, Subquery

from farebox.kit import triggers

_BOUNDS = (-(2**62), 2**62)
# SQLite makes the table anew, and its triggers would be lost with the old one.
_put, _drop = triggers.keep("ledger_posting")


def _reversed(apps: Any, _editor: Any) -> None:
    entries = apps.get_model("ledger", "Entry").objects.filter(kind="reversal", ref=OuterRef("entry_id"))
    lots = apps.get_model("ledger", "CreditLot").objects.filter(closed=True)
    lots.update(reversed_us=Subquery(entries.values("at_us")[:1]))


class Migration(migrations.Migration):
    """Checks on balances and postings, and the time of a lot's reversal."""

    dependencies = [("ledger", "0002_append_only")]

    operations = [
        migrations.AddField("creditlot", "reversed_us", models.BigIntegerField(null=True)),
        migrations.RunPython(_reversed, migrations.RunPython.noop),
        migrations.AddConstraint(
            "ledgeraccount",
            models.CheckConstraint(
                condition=Q(posted_micro__range=_BOUNDS, held_micro__range=_BOUNDS), name="ledger_account_bounds"
            ),
        ),
        migrations.RunPython(_drop, _put),
        migrations.AddConstraint(
            "posting",
            models.CheckConstraint(condition=Q(amount_micro__range=_BOUNDS), name="ledger_posting_bounds"),
        ),
        migrations.RunPython(_put, _drop),
    ]
