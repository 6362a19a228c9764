"""Roles of operators are offers to a mailbox: the code that was mailed carries the role until it is entered."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_caps_at_once")]

    operations = [
        migrations.AddField("officecode", "email", models.CharField(default="", max_length=254)),
        migrations.AddField("officecode", "name", models.CharField(default="", max_length=100)),
        migrations.AddField("officecode", "role", models.CharField(default="", max_length=8)),
        migrations.AddField("officecode", "change", models.CharField(default="", max_length=40)),
        migrations.AddField("officecode", "mailed", models.BooleanField(default=False)),
    ]
