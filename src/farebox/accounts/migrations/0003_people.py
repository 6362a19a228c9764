import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_sessions"),
    ]

    operations = [
        migrations.AddField(
            model_name="person",
            name="by_sign_up",
            field=models.BooleanField(default=False),
        ),
        migrations.CreateModel(
            name="Link",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("area", models.CharField(max_length=8)),
                ("expires_us", models.BigIntegerField(db_index=True)),
                (
                    "person",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Trial",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("network", models.CharField(max_length=64)),
                ("granted_us", models.BigIntegerField()),
                (
                    "account",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="accounts.account"),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["network", "granted_us"], name="accounts_trial_network")],
            },
        ),
        migrations.CreateModel(
            name="Notice",
            fields=[
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("low_micro", models.BigIntegerField(null=True)),
                ("low_days", models.IntegerField(null=True)),
                ("prices", models.BooleanField(default=False)),
                ("keys", models.BooleanField(default=False)),
                ("by_mail", models.BooleanField(default=True)),
                ("webhook_url", models.CharField(default="", max_length=500)),
                ("webhook_secret", models.TextField(default="")),
                ("told", models.TextField(default="{}")),
                (
                    "account",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="accounts.account"),
                ),
                (
                    "person",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("person", "account"), name="accounts_notice_once")],
            },
        ),
    ]
