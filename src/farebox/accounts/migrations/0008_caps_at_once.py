"""Up to three caps together, per day, per month and in total; a rotated key is counted with the one it replaces.

Keys that were rotated earlier still count separately: what each has used is in its own memo account.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations, models
from django.db.models import F

_CAPPED = ("apikey", "invitation", "member", "project")
_PERIODS = ("day", "month", "ever")


def _apart(apps: Any, _editor: Any) -> None:
    for name in _CAPPED:
        rows = apps.get_model("accounts", name).objects
        for period in _PERIODS:
            rows.filter(cap_period=period).update(**{f"cap_{period}_micro": F("cap_micro")})


def _together(apps: Any, _editor: Any) -> None:
    """The way back has room for one cap: the one of the shortest period stays."""
    for name in _CAPPED:
        rows = apps.get_model("accounts", name).objects
        for period in _PERIODS:
            left = rows.filter(cap_micro__isnull=True, **{f"cap_{period}_micro__isnull": False})
            left.update(cap_micro=F(f"cap_{period}_micro"), cap_period=period)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_office_tokens")]

    operations = [
        *(
            migrations.AddField(name, f"cap_{period}_micro", models.BigIntegerField(null=True))
            for name in _CAPPED
            for period in _PERIODS
        ),
        migrations.RunPython(_apart, _together),
        *(migrations.RemoveField(name, column) for name in _CAPPED for column in ("cap_micro", "cap_period")),
        migrations.AddField("apikey", "counts_as", models.CharField(default="", max_length=40)),
    ]
