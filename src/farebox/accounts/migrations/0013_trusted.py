"""Trusted accounts."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Accounts of whom nothing that is forgiven is counted; an older node leaves the column at false."""

    dependencies = [
        ("accounts", "0012_member_proved_from"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="trusted",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
