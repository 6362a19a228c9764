"""What administrators are told by mail once a day at most: what the doctor found, and channels that refuse us.

Once a day a serving process lets the doctor look, in a process of its own (money.md 2).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog

from farebox.kit import audit, clock, settings
from farebox.kit.db import Tx

if TYPE_CHECKING:
    from farebox.accounts.models import Person

log = structlog.get_logger(__name__)

BALANCES = "balances"  # the doctor's check of I04
WITHIN_S = 6 * 3600
_DAY_NAME = "doctor_day"
_SAID_MAX = 20
# The drift of a balance stops that account's spending and blocks upgrades; the rest is for a person to weigh.
_COMMAND = ("-m", "farebox.ops.cli", "doctor", "--freeze", "--json")


class Store(Protocol):
    """The store port of the serving process (kit.db.Store)."""

    async def write(self, fn: Callable[..., Any], *args: Any) -> Any:
        """`fn(tx, *args)` in the next commit."""

    async def read(self, fn: Callable[..., Any], *args: Any) -> Any:
        """`fn(tx, *args)` for reading."""


async def look(store: Store, command: Sequence[str] = _COMMAND) -> None:
    """Once a UTC day, of all processes one: let the doctor look, keep what it found, tell the administrators."""
    if not await store.write(_claim, clock.now_us()):
        return
    found = await _examine(command)
    if found is None:
        log.error("doctor.failed")
        return
    for row in found["wrong"]:
        log.error("ledger_drift" if row["check"] == BALANCES else "doctor.wrong", check=row["check"], seen=row["seen"])
    await store.write(_keep, found)


def found(tx: Tx) -> dict[str, Any]:
    """What the doctor found last: `at_us` and `wrong`, rows of `check`, `seen` and `todo`; empty if it never looked."""
    return dict(settings.get(tx, settings.DOCTOR, {}))


async def _examine(command: Sequence[str]) -> dict[str, Any] | None:
    """The doctor's findings; None where it did not come to an end. It gives way to whatever else runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        os.setpriority(os.PRIO_PROCESS, process.pid, 19)
        out, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:  # too slow, or we are told to stop
            process.kill()
            await process.wait()
    try:
        data = msgspec.json.decode(out)
        wrong = [row for row in data["checks"] if row["verdict"] == "wrong"]
        return {
            "at_us": clock.now_us(),
            "wrong": [{key: row[key] for key in ("check", "seen", "todo")} for row in wrong[:_SAID_MAX]],
        }
    except (msgspec.DecodeError, KeyError, TypeError):
        return None


def tell_refused(tx: Tx, channel: str, why: str, now_us: int) -> None:
    """Tell every administrator that this channel refuses us, if nobody was told so today."""
    from farebox.office import letters

    if settings.once_a_day(tx, f"refused_{channel}"[: settings.NAME_CHARS_MAX], _day(now_us)):
        for person in _administrators():
            letters.refused(tx, person, channel, why)


def _claim(tx: Tx, now_us: int) -> bool:
    return settings.once_a_day(tx, _DAY_NAME, _day(now_us))


def _day(now_us: int) -> str:
    return datetime.fromtimestamp(now_us // 1_000_000, UTC).date().isoformat()


def _keep(tx: Tx, news: dict[str, Any]) -> None:
    from farebox.office import letters

    before = found(tx)
    settings.keep(tx, settings.DOCTOR, news)
    checks = [row["check"] for row in news["wrong"]]
    if checks == [row["check"] for row in before.get("wrong", [])]:
        return
    audit.record(tx, actor="system", verb="doctor.found", object="installation", after={"wrong": checks})
    if checks:
        for person in _administrators():
            letters.doctor(tx, person, news["wrong"])


def _administrators() -> Iterable[Person]:
    from farebox.accounts.models import Person

    return Person.objects.filter(operator_role="admin", is_active=True).order_by("id")
