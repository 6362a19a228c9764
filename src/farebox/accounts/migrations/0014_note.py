"""Notes on keys."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """What its holder notes about a key; an older node leaves the column empty."""

    dependencies = [
        ("accounts", "0013_trusted"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="note",
            field=models.CharField(db_default="", default="", max_length=200),
        ),
    ]
