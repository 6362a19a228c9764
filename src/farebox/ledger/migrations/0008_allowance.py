"""The allowance."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Allowances and what calls drew from them; made by the first call that changes one."""

    dependencies = [
        ("ledger", "0007_lot_resets"),
    ]

    operations = [
        migrations.CreateModel(
            name="Allowance",
            fields=[
                ("account", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("currency", models.CharField(max_length=3)),
                ("begun_micro", models.BigIntegerField()),
                ("grown_micro", models.BigIntegerField(default=0)),
                ("drawn_micro", models.BigIntegerField(default=0)),
                ("returned_micro", models.BigIntegerField(default=0)),
                ("charged_micro", models.BigIntegerField(default=0)),
                ("paid", models.BooleanField(default=False)),
                ("most_micro", models.BigIntegerField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("charged_micro__gte", 0),
                            ("drawn_micro__gte", 0),
                            ("grown_micro__gte", 0),
                            ("returned_micro__gte", 0),
                            ("returned_micro__lte", models.F("drawn_micro")),
                        ),
                        name="ledger_allowance_bounds",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Draw",
            fields=[
                ("hold", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("account", models.CharField(db_index=True, max_length=80)),
                ("drawn_micro", models.BigIntegerField()),
                ("short_micro", models.BigIntegerField(default=0)),
                ("at_us", models.BigIntegerField()),
                ("returned", models.BooleanField(default=False)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("drawn_micro__gte", 0), ("short_micro__gte", 0)), name="ledger_draw_bounds"
                    )
                ],
            },
        ),
    ]
