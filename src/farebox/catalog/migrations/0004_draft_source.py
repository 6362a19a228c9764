"""A draft knows the version of the USD list from which it takes prices."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Drafts of before know none: they are drawn up anew."""

    dependencies = [("catalog", "0003_price_drafts")]

    operations = [migrations.AddField("pricedraft", "source_n", models.IntegerField(null=True))]
