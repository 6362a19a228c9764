"""Prices that one person proposes and another publishes (security 1)."""

from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    """The table of drafts."""

    dependencies = [("catalog", "0002_prices_immutable")]

    operations = [
        migrations.CreateModel(
            name="PriceDraft",
            fields=[
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("price_list", models.ForeignKey(on_delete=models.deletion.PROTECT, to="catalog.pricelist")),
                ("base_n", models.IntegerField()),
                ("plan", models.TextField()),
                ("note", models.CharField(default="", max_length=300)),
                ("state", models.CharField(default="open", max_length=10)),
                ("requester", models.CharField(max_length=200)),
                ("made_us", models.BigIntegerField()),
                ("decider", models.CharField(default="", max_length=200)),
                ("decided_us", models.BigIntegerField(null=True)),
                ("single_person", models.BooleanField(default=False)),
                ("version_n", models.IntegerField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(state__in=["open", "published", "dropped"]), name="catalog_price_draft_state"
                    ),
                    models.CheckConstraint(
                        condition=~Q(state="published") | Q(single_person=True) | ~Q(decider=F("requester")),
                        name="catalog_draft_two_people",
                    ),
                ],
            },
        ),
    ]
