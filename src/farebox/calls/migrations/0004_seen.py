"""Which accounts have looked at a receipt."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A table of one row an account at most, written once; no index on the calls, so a call costs what it did."""

    dependencies = [("calls", "0003_delivery")]

    operations = [
        migrations.CreateModel(
            name="Seen",
            fields=[
                ("account", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("call", models.CharField(max_length=40)),
                ("at_us", models.BigIntegerField()),
            ],
        ),
    ]
