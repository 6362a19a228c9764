"""Delivery marks (R25), and the idempotency keys of the last day (R26)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that may be empty, which no rebuild of the table is needed for, and a table."""

    dependencies = [("calls", "0002_mark")]

    operations = [
        migrations.AddField(
            model_name="call",
            name="delivered_us",
            field=models.BigIntegerField(null=True),
        ),
        migrations.CreateModel(
            name="Once",
            fields=[
                ("id", models.CharField(max_length=48, primary_key=True, serialize=False)),
                ("call", models.CharField(max_length=40)),
                ("at_us", models.BigIntegerField(db_index=True)),
            ],
        ),
    ]
