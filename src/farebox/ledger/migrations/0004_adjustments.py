"""Manual money: what one person proposes and another approves (promises: I27)."""

from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    """The table of adjustments."""

    dependencies = [("ledger", "0003_bounds")]

    operations = [
        migrations.CreateModel(
            name="Adjustment",
            fields=[
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("account", models.CharField(max_length=80)),
                ("kind", models.CharField(max_length=12)),
                ("amount_micro", models.BigIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("reason", models.CharField(max_length=300)),
                ("call", models.CharField(default="", max_length=40)),
                ("expires_us", models.BigIntegerField(null=True)),
                ("state", models.CharField(default="proposed", max_length=10)),
                ("requester", models.CharField(max_length=200)),
                ("proposed_us", models.BigIntegerField(db_index=True)),
                ("decider", models.CharField(default="", max_length=200)),
                ("decided_us", models.BigIntegerField(null=True)),
                ("note", models.CharField(default="", max_length=300)),
                ("single_person", models.BooleanField(default=False)),
                ("booked_micro", models.BigIntegerField(null=True)),
                ("entry", models.CharField(default="", max_length=40)),
            ],
            options={
                "indexes": [models.Index(fields=["account", "id"], name="ledger_adjustment_account")],
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(state__in=["proposed", "booked", "declined", "withdrawn"]),
                        name="ledger_adjustment_state",
                    ),
                    models.CheckConstraint(condition=Q(amount_micro__gt=0), name="ledger_adjustment_amount"),
                    models.CheckConstraint(
                        condition=~Q(state="booked") | Q(single_person=True) | ~Q(decider=F("requester")),
                        name="ledger_adjustment_two_people",
                    ),
                    models.CheckConstraint(
                        condition=~Q(state="booked") | Q(booked_micro__gt=0, booked_micro__lte=F("amount_micro")),
                        name="ledger_adjustment_booked",
                    ),
                ],
            },
        ),
    ]
