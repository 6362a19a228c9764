"""Samples of what upstreams report, and the factors learned from them (promises 4.2)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Two tables, empty at first."""

    dependencies = [("catalog", "0004_draft_source")]

    operations = [
        migrations.CreateModel(
            name="ModelFactors",
            fields=[
                ("model", models.CharField(max_length=128, primary_key=True, serialize=False)),
                ("factors", models.TextField()),
                ("fitted_us", models.BigIntegerField()),
                ("newest", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Sample",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("model", models.CharField(max_length=128)),
                ("account", models.CharField(max_length=44)),
                ("at_us", models.BigIntegerField()),
                ("input_vector", models.CharField(max_length=120)),
                ("output_vector", models.CharField(max_length=120)),
                ("messages", models.IntegerField()),
                ("images", models.IntegerField()),
                ("reported_input", models.BigIntegerField()),
                ("reported_output", models.BigIntegerField()),
                ("hidden", models.BigIntegerField()),
                ("input_bytes", models.BigIntegerField()),
                ("output_bytes", models.BigIntegerField()),
                ("bound", models.BigIntegerField()),
                ("own_input", models.BigIntegerField(null=True)),
                ("own_output", models.BigIntegerField(null=True)),
                ("trusted", models.BooleanField(default=False)),
            ],
            options={
                "indexes": [models.Index(fields=["model", "account", "id"], name="catalog_sample_of")],
            },
        ),
    ]
