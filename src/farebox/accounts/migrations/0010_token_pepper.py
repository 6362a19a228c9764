"""A token of the management API knows under which pepper its digest is, as an API key does (security 4)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Until now nothing added a second pepper: the first is right."""

    dependencies = [("accounts", "0009_invited_operators")]

    operations = [migrations.AddField("officetoken", "pepper_n", models.IntegerField(default=1))]
