"""Invitations, and a date at which all keys of a project end."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_rates")]

    operations = [
        migrations.AddField("project", "keys_end_us", models.BigIntegerField(null=True)),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("cap_micro", models.BigIntegerField(null=True)),
                ("cap_period", models.CharField(default="", max_length=8)),
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("role", models.CharField(max_length=8)),
                ("email", models.CharField(max_length=254)),
                ("name", models.CharField(default="", max_length=100)),
                ("with_key", models.BooleanField(default=False)),
                ("state", models.CharField(default="open", max_length=8)),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("invited_by", models.CharField(max_length=80)),
                ("created_us", models.BigIntegerField()),
                ("sent_us", models.BigIntegerField()),
                ("sent_n", models.IntegerField(default=1)),
                ("expires_us", models.BigIntegerField()),
                ("account", models.ForeignKey("accounts.account", on_delete=django.db.models.deletion.PROTECT)),
                (
                    "member",
                    models.ForeignKey("accounts.member", null=True, on_delete=django.db.models.deletion.PROTECT),
                ),
                (
                    "project",
                    models.ForeignKey("accounts.project", null=True, on_delete=django.db.models.deletion.PROTECT),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["account", "state"], name="accounts_invitations_of")],
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(state__in=["open", "used", "revoked"]), name="accounts_invitation_state"
                    ),
                    models.UniqueConstraint(
                        fields=["account", "project", "email"], condition=Q(state="open"), name="accounts_invited_once"
                    ),
                ],
            },
        ),
    ]
