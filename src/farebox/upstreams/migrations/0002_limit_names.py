"""A limit keeps the name that the customer gave it; a channel that wanted one name keeps it, by `rename`."""

import json
from typing import Any

from django.db import migrations

OTHER = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


def keep(apps: Any, schema_editor: Any) -> None:  # noqa: ARG001 - as Django calls it
    """Rename the other name wherever a channel has chosen one."""
    for row in apps.get_model("upstreams", "Channel").objects.filter(quirks__contains='"limit_name"'):
        quirks = json.loads(row.quirks)
        name = quirks.get("limit_name")
        if name in OTHER:
            quirks["rename"] = {OTHER[name]: name, **quirks.get("rename", {})}
            row.quirks = json.dumps(quirks, separators=(",", ":"), ensure_ascii=False)
            row.save(update_fields=["quirks"])


class Migration(migrations.Migration):
    dependencies = [("upstreams", "0001_initial")]

    operations = [migrations.RunPython(keep, migrations.RunPython.noop)]
