"""Tokens of the management API."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """The table of tokens."""

    dependencies = [("accounts", "0005_operators")]

    operations = [
        migrations.CreateModel(
            name="OfficeToken",
            fields=[
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                ("role", models.CharField(max_length=8)),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("hint", models.CharField(max_length=24)),
                ("addresses", models.TextField(default="[]")),
                ("made_us", models.BigIntegerField()),
                ("expires_us", models.BigIntegerField()),
                ("used_us", models.BigIntegerField(null=True)),
                ("revoked_us", models.BigIntegerField(null=True)),
                (
                    "person",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(role__in=["support", "finance", "admin", "auditor"]), name="accounts_token_role"
                    )
                ],
            },
        ),
    ]
