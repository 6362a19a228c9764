"""How often the expiry of a lot was undone because the clock had run ahead: the next one is another entry."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A count on lots."""

    dependencies = [("ledger", "0006_references")]

    operations = [
        migrations.AddField("creditlot", "resets", models.SmallIntegerField(default=0, db_default=0)),
    ]
