"""An epoch says which keys its key files hold, so that a new key mints only once every node has it (security 4)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Epochs of older programs say nothing."""

    dependencies = [("kit", "0008_proposals")]

    operations = [migrations.AddField("epoch", "keys", models.TextField(default=""))]
