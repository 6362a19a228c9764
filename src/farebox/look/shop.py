"""The shop itself, as pages know it."""

from __future__ import annotations

from farebox.kit import db, options, settings


def names() -> tuple[str, ...]:
    """What this shop is called: by its settings, if they say, and by the options of the process."""
    return tuple(name for name in (db.read(settings.values)["shop_name"], options.current().shop_name) if name)
