from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kit", "0004_cache"),
    ]

    operations = [
        migrations.CreateModel(
            name="Outbox",
            fields=[
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=8)),
                ("payload", models.TextField()),
                ("state", models.CharField(default="waiting", max_length=8)),
                ("tries", models.IntegerField(default=0)),
                ("due_us", models.BigIntegerField()),
                ("fault", models.CharField(default="", max_length=200)),
                ("created_us", models.BigIntegerField()),
            ],
            options={
                "indexes": [models.Index(fields=["state", "due_us"], name="kit_outbox_due")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["mail", "webhook"])), name="kit_outbox_kind"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["waiting", "sent", "dead"])), name="kit_outbox_state"
                    ),
                ],
            },
        ),
    ]
