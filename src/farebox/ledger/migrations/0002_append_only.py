"""The journal and its postings are append-only (promises: I02)."""

from django.db import migrations

from farebox.kit import triggers


class Migration(migrations.Migration):
    """Triggers that refuse UPDATE and DELETE."""

    dependencies = [("ledger", "0001_initial")]

    operations = [
        migrations.RunPython(*triggers.keep("ledger_entry")),
        migrations.RunPython(*triggers.keep("ledger_posting")),
    ]
