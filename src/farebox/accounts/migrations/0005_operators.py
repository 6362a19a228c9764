"""One-time codes of the office, and changes of operators that wait for a second person."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_teams")]

    operations = [
        migrations.CreateModel(
            name="OfficeCode",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("made_us", models.BigIntegerField()),
                ("expires_us", models.BigIntegerField()),
                ("used_us", models.BigIntegerField(null=True)),
                (
                    "person",
                    models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=django.db.models.deletion.CASCADE),
                ),
            ],
        ),
        migrations.CreateModel(
            name="OperatorChange",
            fields=[
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=8)),
                ("email", models.CharField(max_length=254)),
                ("name", models.CharField(default="", max_length=100)),
                ("role_before", models.CharField(default="", max_length=8)),
                ("role_after", models.CharField(default="", max_length=8)),
                ("why", models.CharField(default="", max_length=200)),
                ("state", models.CharField(default="proposed", max_length=10)),
                ("requester", models.CharField(max_length=200)),
                ("approver", models.CharField(default="", max_length=200)),
                ("single_person", models.BooleanField(default=False)),
                ("made_us", models.BigIntegerField()),
                ("decided_us", models.BigIntegerField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(state__in=["proposed", "approved", "refused"]), name="accounts_change_state"
                    ),
                    models.UniqueConstraint(
                        fields=["email"], condition=Q(state="proposed"), name="accounts_change_of_one_at_a_time"
                    ),
                ],
            },
        ),
    ]
