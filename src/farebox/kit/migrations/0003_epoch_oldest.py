"""An epoch knows when the oldest of its requests under way began, however the clock has jumped since (R25, F37)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Epochs of older programs have no such time: theirs is that of their last sign of life."""

    dependencies = [("kit", "0002_epoch_times")]

    operations = [
        migrations.AddField("epoch", "oldest_us", models.BigIntegerField(default=0)),
        migrations.RunSQL("UPDATE kit_epoch SET oldest_us = seen_us", migrations.RunSQL.noop),
    ]
