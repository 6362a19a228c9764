"""`farebox setting …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from farebox.care import ready
from farebox.cli import show, when
from farebox.kit.errors import CommandError

from .base import Group, emit, read, write

if TYPE_CHECKING:
    from farebox.kit.settings import KnownSetting

setting = Group("setting", help="Settings of the shop: texts, signing up, trial credit, limits of manual money.")
COMMANDS = (setting,)


@setting.command("list", example="farebox setting list")
def list_() -> None:
    """Every setting as it is now."""
    ready.store()
    from farebox.kit import settings
    from farebox.office.pages.settings import write as typed

    found = dict(read(settings.values))
    rows = [(name, typed(known, found[name]).replace("\n", ", ")[:80]) for name, known in settings.BY_NAME.items()]
    emit(found, lambda: show.table(("setting", "value"), rows, empty=""))


@setting.command("set", example="farebox setting set trial_micro 'USD 1.00, CNY 7.00'")
@click.argument("name")
@click.argument("value")
def set_(name: str, value: str) -> None:
    """Set NAME to VALUE without approval, as the administrator of this machine; the audit trail records it.

    In the office another administrator approves what gives money or limits it. Amounts are decimal numbers, those by
    currency `USD 1.00, CNY 7.00`, a time `2027-01-31T00:00` (UTC) or `10d`; an empty text restores the default.
    """
    ready.store()
    from farebox.kit import settings

    known = settings.BY_NAME.get(name)
    if known is None:
        raise CommandError("setting.unknown", setting=name[:64])
    done = write("setting.set", name=name, value=_value(known, value))
    emit(done, lambda: print(f"{name} is set." if done["changed"] else f"{name} was so already."))


def _value(known: KnownSetting, given: str) -> Any:
    from farebox.kit import clock
    from farebox.office.pages.settings import read as parsed

    if known.kind == "moment" and given:
        return when.point(given, now_us=clock.now_us())
    return parsed(known, given.replace(",", "\n") if known.kind == "amounts" else given)
