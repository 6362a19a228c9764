"""An epoch knows the newest time that it wrote, and when nothing of it was left to do (F37, R25)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """`seen_us` grows with each heartbeat; `cleared_us` is NULL until nothing of a dead epoch is left to do.

    What ended before had no delivery marks: that they are missing must refund nothing (R25).
    """

    dependencies = [("kit", "0001_initial")]

    operations = [
        migrations.AddField("epoch", "seen_us", models.BigIntegerField(default=0)),
        migrations.AddField("epoch", "cleared_us", models.BigIntegerField(null=True)),
        migrations.RunSQL(
            "UPDATE kit_epoch SET cleared_us = ended_us WHERE ended_us IS NOT NULL", migrations.RunSQL.noop
        ),
    ]
