"""Which channels are fit to be tried: a breaker and a count of calls for each, in this process's memory.

Times come from the caller, so that the simulator can bring its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog

from farebox.kit.shares import hogs
from farebox.protocol.dialect import Fault
from farebox.upstreams.breaker import Breaker, State
from farebox.upstreams.spec import ChannelSpec

_ALERTS_MAX: Final = 100
_REFUSED: Final = "refused"  # the channel as a whole; other alerts are about one mapping each
_BROKE_US: Final = 3_600_000_000
_BROKE_OTHERS: Final = 2
_BROKE_KEPT: Final = 3  # accounts: two others beside whoever asks
COUNTED: Final = frozenset({"down", "timeout", "busy"})

_log = structlog.get_logger()


class Slot:
    """One call's place on a channel, from `take` to `give`: whose it is, and what the model is called there.

    `probe`: it is the shop's own.
    """

    __slots__ = ("account", "channel_id", "given", "model", "name", "probe")

    def __init__(self, channel: ChannelSpec, *, account: str, model: str, probe: bool) -> None:
        self.channel_id = channel.id
        self.name = channel.name
        self.account = account
        self.model = model
        self.probe = probe
        self.given = False


def counts(fault: Fault) -> bool:
    """Whether this is how a channel fails: nothing or a 5xx came, or silence. A 4xx is an upstream that answers."""
    return fault.kind in COUNTED and not fault.own and not 400 <= fault.status <= 499


class Health:
    """Breakers and counts of all channels of one process.

    `on_alert(channel name, why)` is called when the shop's own call is refused on a channel (key, money), once until
    it works again, and once for each wrong mapping; `alerts` and `openings` count for the metrics. Not for several
    threads.
    """

    def __init__(self, on_alert: Callable[[str, str], None] | None = None) -> None:
        self.on_alert = on_alert
        self.alerts = 0
        self.openings = 0
        self._breakers: dict[str, Breaker] = {}
        # Of each channel, the accounts whose answers it broke off last, and when.
        self._broke: dict[str, dict[str, int]] = {}

    def state(self, channel_id: str, now_us: int) -> State:
        """The breaker of a channel; closed for one that was never tried."""
        found = self._breakers.get(channel_id)
        return "closed" if found is None else found.state(now_us)

    def calls(self, channel_id: str) -> int:
        """Calls under way on a channel."""
        found = self._breakers.get(channel_id)
        return 0 if found is None else found.calls

    def usable(self, channel: ChannelSpec) -> bool:
        """Whether a customer's call may be tried: never while it rests, nor before a probe was answered."""
        found = self._breakers.get(channel.id)
        return found is None or not found.opened

    def full(self, channel: ChannelSpec, account: str = "") -> bool:
        """Whether the channel has as many calls as it may, or of this account; `concurrency_max` 0 is no limit.

        While three quarters of its places are taken, who has a quarter of them leaves the rest to others, if there are
        any: a channel that one account alone has called is all its own.
        """
        most, found = channel.concurrency_max, self._breakers.get(channel.id)
        if not most or found is None:
            return False
        return found.calls >= most or (found.shared and hogs(found.calls, found.held.get(account, 0), most))

    def take(
        self, channel: ChannelSpec, now_us: int, *, account: str = "", model: str = "", forced: bool = False
    ) -> Slot | None:
        """A place for one call, ended with `give`; None if the channel rests or is full.

        `forced` is a call of the shop's own, a probe or an operator's test: never refused, and what it finds counts.
        """
        if not forced and (self.full(channel, account) or not self.usable(channel)):
            return None
        breaker = self._of(channel.id)
        breaker.calls += 1
        if forced:
            breaker.probing += 1
            breaker.turn += 1
            breaker.ask(now_us)
        else:
            breaker.called(account, now_us)
            breaker.held[account] = breaker.held.get(account, 0) + 1
        return Slot(channel, account=account, model=model, probe=forced)

    def give(self, slot: Slot) -> None:
        """Give the place back, once; a probe without a verdict has changed nothing."""
        if slot.given:
            return
        slot.given = True
        breaker = self._of(slot.channel_id)
        breaker.calls = max(0, breaker.calls - 1)
        if slot.probe:
            breaker.probing = max(0, breaker.probing - 1)
        elif (left := breaker.held.get(slot.account, 0) - 1) > 0:
            breaker.held[slot.account] = left
        else:
            breaker.held.pop(slot.account, None)

    def succeeded(self, slot: Slot, now_us: int) -> None:
        """The upstream answered: forgets what failed in a row; the shop's own call closes the breaker."""
        breaker = self._of(slot.channel_id)
        if slot.probe:
            if breaker.found_well(slot.model, now_us):
                _log.info("channel works again", channel=slot.name)
        else:
            breaker.worked(slot.model)
        if not breaker.opened:
            breaker.alerted.discard(_REFUSED)

    def answered(self, slot: Slot, now_us: int) -> None:
        """The upstream refused the request as such: of a customer's this says nothing, of ours that it is there."""
        if slot.probe:
            self.succeeded(slot, now_us)

    def broke(self, slot: Slot, now_us: int) -> None:
        """The upstream failed after output: remembered by account, for it may be the customer's doing."""
        accounts = self._broke.setdefault(slot.channel_id, {})
        accounts.pop(slot.account, None)
        accounts[slot.account] = now_us
        if len(accounts) > _BROKE_KEPT:
            del accounts[next(iter(accounts))]

    def at_fault(self, channel_id: str, account: str, now_us: int) -> bool:
        """Whether a channel has broken off answers of two other accounts within the hour, or failed its own probe."""
        found = self._breakers.get(channel_id)
        if found is not None and found.confirmed:
            return True
        others = [at_us for whose, at_us in self._broke.get(channel_id, {}).items() if whose != account]
        return sum(at_us > now_us - _BROKE_US for at_us in others) >= _BROKE_OTHERS

    def failed(self, slot: Slot, fault: Fault, now_us: int) -> None:
        """The attempt ended with this fault.

        A customer's is counted (`down`, `timeout`, `busy`, but no 4xx) or, if it looks as if we were refused (`ours`),
        makes the shop's own call look. That one opens the breaker, for 10 s, doubled up to 5 min while probes fail, or
        for 60 s if it is refused. What is the fault of one answer alone says nothing about the channel.
        """
        breaker = self._of(slot.channel_id)
        if slot.probe:
            self._found(breaker, slot, fault, now_us)
        elif fault.kind == "ours":
            breaker.refused(slot.account, slot.model, fault.message)
        elif counts(fault) and breaker.failed(slot.account, slot.model, fault.message, now_us):
            self._note_opened(breaker, slot.name)

    def due(self, now_us: int) -> list[tuple[str, tuple[str, ...]]]:
        """Channels that a probe should try now, each with the models there that it should ask for, the best first."""
        found = ((id_, breaker.asks(now_us)) for id_, breaker in self._breakers.items())
        return [(id_, models) for id_, models in found if models is not None]

    def ask(self, channel_id: str, now_us: int) -> None:
        """A probe of this channel sets out: the next one is due ten seconds later at the earliest."""
        self._of(channel_id).ask(now_us)

    def reset(self, channel_id: str) -> None:
        """Forget a channel's failures, after an operator changed it; calls under way stay counted."""
        self._broke.pop(channel_id, None)
        found = self._breakers.get(channel_id)
        if found is not None:
            self._breakers[channel_id] = found.fresh()

    def keep_only(self, channel_ids: Iterable[str]) -> None:
        """Forget channels that are gone and have no calls under way."""
        kept = set(channel_ids)
        self._breakers = {id_: b for id_, b in self._breakers.items() if id_ in kept or b.calls}
        self._broke = {id_: accounts for id_, accounts in self._broke.items() if id_ in kept}

    def report(self, now_us: int) -> dict[str, dict[str, Any]]:
        """What each breaker reports, by channel id, for metrics and pages."""
        return {id_: breaker.report(now_us) for id_, breaker in self._breakers.items()}

    def _of(self, channel_id: str) -> Breaker:
        found = self._breakers.get(channel_id)
        if found is None:
            found = self._breakers[channel_id] = Breaker()
        return found

    def _found(self, breaker: Breaker, slot: Slot, fault: Fault, now_us: int) -> None:
        """The shop's own call was not answered."""
        if fault.own:
            return
        if fault.kind == "ours":
            self._alert(breaker, slot, fault.message, about=fault.message if fault.mapping else _REFUSED)
        if fault.kind == "ours" and not fault.mapping:
            opened = breaker.found_refusing(slot.model, fault.message, now_us)
        elif counts(fault):
            opened = breaker.found_down(slot.model, fault.message, now_us)
        else:  # a 4xx that is not about us, also a wrong mapping: the upstream is there
            breaker.found_well("" if fault.mapping else slot.model, now_us)
            return
        if opened:
            self._note_opened(breaker, slot.name)

    def _note_opened(self, breaker: Breaker, name: str) -> None:
        self.openings += 1
        _log.warning("channel rests", channel=name, why=breaker.why, accounts=list(breaker.behind))

    def _alert(self, breaker: Breaker, slot: Slot, why: str, *, about: str) -> None:
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
