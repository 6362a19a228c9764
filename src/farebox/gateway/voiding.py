"""Calls whose customer was told that they failed while the store was away: free, once it is back (R15, R25)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from farebox.calls import log
from farebox.calls.log import AttemptFacts, CallEnd, CallStart
from farebox.kit import errors

from .ports import Ports

_log = structlog.get_logger(__name__)
_VOID_AGAIN_S = 1.0
FAILED_AGAIN_S = 60.0
_TO_VOID_MAX = 10_000


def void_later(ports: Ports, start: CallStart, attempts: Sequence[AttemptFacts] = ()) -> None:
    """Void a call whose customer was told that it failed, when the store is back; a charge is given back.

    One task asks for all of them, one after the other, so that a store that comes back is not overrun.
    """
    shop = ports.shop
    if len(shop.to_void) >= _TO_VOID_MAX:
        _log.error("void.too_many", call=start.id)  # it expires with the epoch of this process
        return
    shop.to_void[start.id] = (start, list(attempts))
    if shop.voider is None or shop.voider.done():
        shop.voider = asyncio.get_running_loop().create_task(_void_all(ports))


async def _void_all(ports: Ports) -> None:
    shop = ports.shop
    again_at: dict[str, float] = {}  # loop time for those that were refused for a mistake of ours
    while shop.to_void:
        now = asyncio.get_running_loop().time()
        call = next((each for each in shop.to_void if again_at.get(each, now) <= now), None)
        if call is None:
            if shop.stopping:
                return
            await asyncio.sleep(_VOID_AGAIN_S)
            continue
        start, attempts = shop.to_void[call]
        try:
            await _void(ports, start, attempts)
        except errors.StoreUnavailable:
            if shop.stopping:
                return
            await asyncio.sleep(_VOID_AGAIN_S)
            continue
        except Exception:
            _log.exception("void.failed", call=call)
            if attempts:  # they may be what can't be written
                shop.to_void[call] = (start, [])
            else:
                again_at[call] = now + FAILED_AGAIN_S
            continue
        del shop.to_void[call]


async def _void(ports: Ports, start: CallStart, attempts: list[AttemptFacts]) -> None:
    for attempt in attempts:
        attempt.charged = False
    end = CallEnd(
        outcome="broken",
        rule="R15",
        status=503,
        charge_micro=0,
        usage={},
        usage_source="",
        finish_reason="",
        flags=["voided"],
        attempts=attempts,
        ended_us=ports.clock.now_us(),
        error="the books could not be reached",
    )
    locks = [purse.id for purse in start.purses]
    refund_micro = await ports.store.write(log.void_call, start, end, locks=locks, patient=True)
    if refund_micro:
        _log.warning("void.refunded", call=start.id, refund_micro=refund_micro)
