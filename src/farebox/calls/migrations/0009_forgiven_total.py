"""Totals of what is forgiven."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """What is forgiven by day, account, model, channel and cause; an older node forgives nothing and writes none."""

    dependencies = [
        ("calls", "0008_forgiven"),
    ]

    operations = [
        migrations.CreateModel(
            name="ForgivenTotal",
            fields=[
                ("id", models.CharField(max_length=300, primary_key=True, serialize=False)),
                ("day", models.CharField(max_length=10)),
                ("account", models.CharField(max_length=40)),
                ("model", models.CharField(max_length=128)),
                ("channel", models.CharField(max_length=64)),
                ("cause", models.CharField(max_length=12)),
                ("currency", models.CharField(max_length=3)),
                ("calls", models.BigIntegerField()),
                ("forgiven_micro", models.BigIntegerField()),
                ("drawn_micro", models.BigIntegerField()),
            ],
            options={
                "indexes": [models.Index(fields=["day"], name="calls_forgiven_day")],
            },
        ),
    ]
