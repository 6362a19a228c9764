"""How far the jobs have come that walk through the calls."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """The table of marks."""

    dependencies = [("calls", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Mark",
            fields=[
                ("name", models.CharField(max_length=24, primary_key=True, serialize=False)),
                ("call", models.CharField(max_length=40)),
            ],
        ),
    ]
