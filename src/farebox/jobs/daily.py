"""What administrators are told by mail once a day at most: what the doctor found, and channels that refuse us.

Once a day a serving process lets the doctor look, in a process of its own (promises 2).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterable
from typing import Any

import msgspec
import structlog

from farebox.accounts.models import Person
from farebox.calls.log import day_of
from farebox.kit import audit, clock, settings
from farebox.kit.db import Tx
from farebox.kit.errors import StoreUnavailable
from farebox.office import letters
from farebox.upstreams.models import Channel

from .trail import Store

log = structlog.get_logger(__name__)

_BALANCES = "balances"  # the doctor's check of I04
_WITHIN_S = 6 * 3600
_DAY_NAME = "doctor_day"
_SAID_MAX = 20
# What these saw is exact: another thing seen is news. The others count days and bytes, which change from day to day.
_EXACT = frozenset({_BALANCES, "receipts", "proof"})
_UNFINISHED = {
    "check": "doctor",
    "seen": "the daily look did not come to its end",
    "todo": "Run farebox doctor on the server, and look at what it says.",
}
# The drift of a balance stops that account's spending and blocks upgrades; the rest is for a person to weigh.
_COMMAND = ("-m", "farebox.cli.main", "doctor", "--freeze", "--json")


async def look(store: Store) -> None:
    """Once a UTC day, of all processes one: let the doctor look, keep what it found, tell the administrators."""
    if not await store.write(_claim, clock.now_us()):
        return
    try:
        news = await _examine()
    except asyncio.CancelledError:  # this process is told to stop: another looks today
        with contextlib.suppress(StoreUnavailable):
            await store.write(_unclaim)
        raise
    if news is None:
        log.error("doctor.failed")
        news = {"at_us": clock.now_us(), "wrong": [_UNFINISHED], "frozen": []}
    for row in news["wrong"]:
        log.error("ledger_drift" if row["check"] == _BALANCES else "doctor.wrong", check=row["check"], seen=row["seen"])
    await store.write(_keep, news)


def found(tx: Tx) -> dict[str, Any]:
    """What the doctor found last: `at_us` and `wrong`, rows of `check`, `seen` and `todo`; empty if it never looked."""
    return dict(settings.get(tx, settings.DOCTOR, {}))


async def _examine() -> dict[str, Any] | None:
    """The doctor's findings; None where it did not come to an end. It gives way to whatever else runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *_COMMAND,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        os.setpriority(os.PRIO_PROCESS, process.pid, 19)
        out, _ = await asyncio.wait_for(process.communicate(), _WITHIN_S)
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
            "frozen": data["frozen"],
        }
    except (msgspec.DecodeError, KeyError, TypeError):
        return None


def tell_refused(tx: Tx, channel: str, why: str, now_us: int) -> None:
    """Tell every administrator that this channel refuses us, if nobody was told so today."""
    if settings.once_a_day(tx, f"refused_{channel}"[: settings.NAME_CHARS_MAX], day_of(now_us)):
        page = Channel.objects.filter(name=channel).values_list("id", flat=True).first() or ""
        for person in _administrators():
            letters.refused(tx, person, channel, why, page=page)


def _claim(tx: Tx, now_us: int) -> bool:
    return settings.once_a_day(tx, _DAY_NAME, day_of(now_us))


def _unclaim(tx: Tx) -> None:
    settings.forget(tx, _DAY_NAME)


def _keep(tx: Tx, news: dict[str, Any]) -> None:
    before = found(tx)
    settings.keep(tx, settings.DOCTOR, {name: news[name] for name in ("at_us", "wrong")})
    checks = [row["check"] for row in news["wrong"]]
    if not news["frozen"] and _said(news["wrong"]) == _said(before.get("wrong", [])):
        return
    audit.record(tx, actor="system", verb="doctor.found", object="installation", after={"wrong": checks})
    if checks:
        for person in _administrators():
            letters.doctor(tx, person, news["wrong"])


def _said(wrong: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(row["check"], row["seen"] if row["check"] in _EXACT else "") for row in wrong]


def _administrators() -> Iterable[Person]:
    return Person.objects.filter(operator_role="admin", is_active=True).order_by("id")
