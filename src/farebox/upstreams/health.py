"""Which channels are fit to be tried: a breaker and a count of calls for each, in this process's memory.

A breaker is `closed` (calls pass), `open` (none do) or `half_open` (one customer's call goes through as the
probe; money.md 1.14). Times come from the caller, so that the simulator can bring its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import structlog

from farebox.upstreams.dialect import ChannelSpec, Fault

FAILURES_MAX: Final = 5
OPEN_FIRST_US: Final = 10_000_000
OPEN_MAX_US: Final = 300_000_000
OPEN_OURS_US: Final = 60_000_000
_ALERTS_MAX: Final = 100
_REFUSED: Final = "refused"  # the channel as a whole; other alerts are about one mapping each
COUNTED: Final = frozenset({"down", "timeout", "busy"})

BreakerState = Literal["closed", "open", "half_open"]
_log = structlog.get_logger()


class Slot:
    """One call's place on a channel, from `take` to `give`."""

    __slots__ = ("channel_id", "given", "name", "probe")

    def __init__(self, channel_id: str, name: str, *, probe: bool) -> None:
        self.channel_id = channel_id
        self.name = name
        self.probe = probe
        self.given = False


class _Breaker:
    __slots__ = ("alerted", "calls", "failures", "open_us", "opened", "probing", "until_us", "why")

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0
        self.opened = False
        self.probing = False
        self.alerted: set[str] = set()
        self.until_us = 0
        self.open_us = OPEN_FIRST_US
        self.why = ""

    def state(self, now_us: int) -> BreakerState:
        if not self.opened:
            return "closed"
        return "open" if now_us < self.until_us else "half_open"


class Health:
    """Breakers and counts of all channels of one process.

    `on_alert(channel name, why)` is called when a channel refuses us (key, money), once until it works again,
    and once for each wrong mapping; `alerts` and `openings` count for the metrics. Not for several threads.
    """

    def __init__(self, on_alert: Callable[[str, str], None] | None = None) -> None:
        self.on_alert = on_alert
        self.alerts = 0
        self.openings = 0
        self._breakers: dict[str, _Breaker] = {}

    def state(self, channel_id: str, now_us: int) -> BreakerState:
        """The breaker of a channel; closed for one that was never tried."""
        found = self._breakers.get(channel_id)
        return "closed" if found is None else found.state(now_us)

    def calls(self, channel_id: str) -> int:
        """Calls under way on a channel."""
        found = self._breakers.get(channel_id)
        return 0 if found is None else found.calls

    def usable(self, channel: ChannelSpec, now_us: int) -> bool:
        """Whether the breaker would let a call through now."""
        found = self._breakers.get(channel.id)
        if found is None or not found.opened:
            return True
        return now_us >= found.until_us and not found.probing

    def full(self, channel: ChannelSpec) -> bool:
        """Whether the channel has as many calls as it may; `concurrency_max` 0 is no limit."""
        return 0 < channel.concurrency_max <= self.calls(channel.id)

    def take(self, channel: ChannelSpec, now_us: int, *, forced: bool = False) -> Slot | None:
        """A place for one call, ended with `give`; None if the breaker is open or the channel is full.

        A `forced` one, an operator's test, is never refused; its outcome counts as that of a probe.
        """
        if not forced and (self.full(channel) or not self.usable(channel, now_us)):
            return None
        breaker = self._of(channel.id)
        breaker.calls += 1
        probe = breaker.opened and not breaker.probing
        breaker.probing = breaker.opened
        return Slot(channel.id, channel.name, probe=probe)

    def give(self, slot: Slot) -> None:
        """Give the place back, once; after a probe without a verdict the next call is the probe."""
        if slot.given:
            return
        slot.given = True
        breaker = self._of(slot.channel_id)
        breaker.calls = max(0, breaker.calls - 1)
        if slot.probe:
            breaker.probing = False

    def succeeded(self, slot: Slot) -> None:
        """The upstream answered: forgets failures, and closes the breaker that this call was the probe of."""
        breaker = self._of(slot.channel_id)
        if breaker.opened and not slot.probe:
            return  # begun before the breaker opened: no news of how the upstream is now
        if breaker.opened:
            _log.info("channel works again", channel=slot.name)
            # While it is closed the other calls need no probe.
            slot.probe = breaker.probing = breaker.opened = False
            breaker.open_us = OPEN_FIRST_US
        breaker.alerted.discard(_REFUSED)
        breaker.failures = 0
        breaker.why = ""

    def failed(self, slot: Slot, fault: Fault, now_us: int) -> None:
        """The attempt ended with this fault.

        `ours` opens at once for 60 s, but a wrong mapping only alerts, since other models work; `down`,
        `timeout` and `busy` open at the fifth in a row, for 10 s, doubled up to 5 min while probes fail;
        what is the customer's doing, or the fault of one answer alone, says nothing about the channel.
        """
        if fault.own:
            return
        breaker = self._of(slot.channel_id)
        if fault.mapping:
            self._alert(breaker, slot, fault.message, about=fault.message)
        elif fault.kind == "ours":
            self._alert(breaker, slot, fault.message, about=_REFUSED)
            self._open(breaker, slot, now_us + OPEN_OURS_US, fault.message)
        elif fault.kind in COUNTED:
            breaker.failures += 1
            if slot.probe:
                breaker.open_us = min(2 * breaker.open_us, OPEN_MAX_US)
            elif breaker.opened or breaker.failures < FAILURES_MAX:
                return
            self._open(breaker, slot, now_us + breaker.open_us, fault.message)

    def reset(self, channel_id: str) -> None:
        """Forget a channel's failures, after an operator changed it; calls under way stay counted."""
        found = self._breakers.get(channel_id)
        if found is not None:
            calls = found.calls
            self._breakers[channel_id] = fresh = _Breaker()
            fresh.calls = calls

    def keep_only(self, channel_ids: Iterable[str]) -> None:
        """Forget channels that are gone and have no calls under way."""
        kept = set(channel_ids)
        self._breakers = {id_: b for id_, b in self._breakers.items() if id_ in kept or b.calls}

    def report(self, now_us: int) -> dict[str, dict[str, Any]]:
        """State, calls under way, failures in a row and last reason by channel id, for metrics and pages."""
        return {
            id_: {"state": b.state(now_us), "calls": b.calls, "failures": b.failures, "why": b.why}
            for id_, b in self._breakers.items()
        }

    def _of(self, channel_id: str) -> _Breaker:
        found = self._breakers.get(channel_id)
        if found is None:
            found = self._breakers[channel_id] = _Breaker()
        return found

    def _open(self, breaker: _Breaker, slot: Slot, until_us: int, why: str) -> None:
        if slot.probe:
            slot.probe = breaker.probing = False
        if not breaker.opened:
            self.openings += 1
            _log.warning("channel rests", channel=slot.name, why=why)
        breaker.opened = True
        breaker.until_us = max(breaker.until_us, until_us)
        breaker.why = why[:200]

    def _alert(self, breaker: _Breaker, slot: Slot, why: str, *, about: str) -> None:
        if about in breaker.alerted or len(breaker.alerted) >= _ALERTS_MAX:
            return
        breaker.alerted.add(about)
        self.alerts += 1
        _log.warning("channel refuses us", channel=slot.name, why=why)
        if self.on_alert is not None:
            try:
                self.on_alert(slot.name, why)
            except Exception:
                # The call that found it out goes on to the next channel, whatever becomes of the note.
                _log.exception("the alert could not be noted", channel=slot.name)
