"""What each process knows of the time: whether it is sure, and by which count of its machine (promises 4.7)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns of epochs."""

    dependencies = [("kit", "0009_epoch_keys")]

    operations = [
        migrations.AddField("epoch", "wall_us", models.BigIntegerField(default=0, db_default=0)),
        migrations.AddField("epoch", "sure_us", models.BigIntegerField(default=0, db_default=0)),
        migrations.AddField("epoch", "counter_us", models.BigIntegerField(default=0, db_default=0)),
        migrations.AddField("epoch", "boot", models.CharField(max_length=36, default="", db_default="")),
        migrations.AddField("epoch", "clock", models.TextField(default="", db_default="")),
    ]
