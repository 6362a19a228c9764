"""The upstream's own usage report, kept with the receipt; earlier calls have none."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that may be empty: no rebuild of the table is needed, and an older node can leave it out."""

    dependencies = [("calls", "0005_days")]

    operations = [
        migrations.AddField(
            model_name="call",
            name="reported",
            field=models.TextField(null=True),
        ),
    ]
