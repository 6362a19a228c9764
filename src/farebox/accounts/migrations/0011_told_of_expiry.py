"""Owners are told before granted credit expires, unless they say otherwise."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models

from farebox.kit import clock, ids


def _owners(apps: Any, _editor: Any) -> None:
    notices, members = apps.get_model("accounts", "notice").objects, apps.get_model("accounts", "member").objects
    owners = members.filter(role="owner", state="active", account__kind="customer").exclude(account__state="closed")
    for person, account in owners.values_list("person_id", "account_id").distinct():
        row, made = notices.get_or_create(
            person_id=person,
            account_id=account,
            defaults={"id": ids.new("ntc", clock.now_us()), "expiry": True},
        )
        if not made:
            notices.filter(id=row.id).update(expiry=True)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0010_token_pepper")]

    operations = [
        migrations.AddField("notice", "expiry", models.BooleanField(default=False)),
        migrations.RunPython(_owners, migrations.RunPython.noop),
    ]
