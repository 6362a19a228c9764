"""References from outside: a table of their own, which no call writes (promises 4.8).

What was booked before has no source: its references stay what they are, unique only on their account, and `prove`
names those that several accounts have.
"""

from django.db import migrations, models
from django.db.models import Q

from farebox.kit import triggers


class Migration(migrations.Migration):
    """The table of references, and which one an adjustment will take."""

    dependencies = [("ledger", "0005_two_approvers")]

    operations = [
        migrations.CreateModel(
            name="Reference",
            fields=[
                ("entry", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=12)),
                ("source", models.CharField(max_length=32)),
                ("reference", models.CharField(max_length=200)),
                ("at_us", models.BigIntegerField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["kind", "source", "reference"], name="ledger_reference_once"),
                    models.CheckConstraint(
                        condition=Q(kind__in=["manual", "payment", "code", "bank"]) & ~Q(source="") & ~Q(reference=""),
                        name="ledger_reference_whole",
                    ),
                ],
            },
        ),
        migrations.RunPython(*triggers.keep("ledger_reference")),
        migrations.AddField("adjustment", "source", models.CharField(max_length=32, default="", db_default="")),
        migrations.AddField("adjustment", "reference", models.CharField(max_length=200, default="", db_default="")),
        migrations.AddConstraint(
            "adjustment",
            models.CheckConstraint(
                condition=Q(source="", reference="") | (~Q(source="") & ~Q(reference="")),
                name="ledger_adjustment_outside",
            ),
        ),
        migrations.AddIndex(
            "adjustment",
            models.Index(fields=["source", "reference"], condition=~Q(source=""), name="ledger_adjustment_reference"),
        ),
    ]
