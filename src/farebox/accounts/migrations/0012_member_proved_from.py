"""An owner can end what the open sessions of a member may do in the account."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0011_told_of_expiry")]

    operations = [migrations.AddField("member", "proved_from_us", models.BigIntegerField(default=0))]
