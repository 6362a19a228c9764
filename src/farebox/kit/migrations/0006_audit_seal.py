from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kit", "0005_outbox"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("n", models.BigIntegerField(primary_key=True, serialize=False)),
                ("event", models.CharField(max_length=40, unique=True)),
                ("hash", models.CharField(max_length=64)),
            ],
        ),
    ]
