"""Limits per minute and of concurrent calls; keys of the playground; the successor of a rotated key."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q

PACED = ("account", "project", "member", "apikey")
LIMITS = ("rpm", "tpm", "concurrency")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_people")]

    operations = [
        *(migrations.AddField(model, name, models.IntegerField(null=True)) for model in PACED for name in LIMITS),
        migrations.AddField("apikey", "kind", models.CharField(default="", max_length=12)),
        migrations.AddField("apikey", "session", models.CharField(default="", max_length=64)),
        migrations.AddField("apikey", "replaced_by", models.CharField(default="", max_length=40)),
        migrations.AddIndex(
            "apikey",
            models.Index(condition=~Q(session=""), fields=["session"], name="accounts_key_session"),
        ),
    ]
