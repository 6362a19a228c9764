"""Published versions and their prices are never changed (promises: I24)."""

from django.db import migrations

from farebox.kit import triggers


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial")]

    operations = [
        migrations.RunPython(*triggers.keep("catalog_pricelistversion")),
        migrations.RunPython(*triggers.keep("catalog_price")),
    ]
