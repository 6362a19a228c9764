"""Value and what is forgiven."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """What a call was worth, and what of that was forgiven; an older node leaves the columns empty."""

    dependencies = [
        ("calls", "0007_own_days"),
    ]

    operations = [
        # By itself Django makes the table of calls anew on SQLite for a column that is not empty: the largest of all.
        migrations.RunSQL(
            "ALTER TABLE calls_call ADD COLUMN cause varchar(12) DEFAULT '' NOT NULL",
            "ALTER TABLE calls_call DROP COLUMN cause",
            state_operations=[
                migrations.AddField(
                    model_name="call",
                    name="cause",
                    field=models.CharField(db_default="", default="", max_length=12),
                ),
            ],
        ),
        migrations.AddField(
            model_name="call",
            name="drawn_micro",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="call",
            name="forgiven_micro",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="call",
            name="value_micro",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="call",
            name="valued",
            field=models.TextField(null=True),
        ),
    ]
