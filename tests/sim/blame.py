"""The breakers of a node, judged beside them: by whom, and after what, a channel may be closed to everybody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from farebox.protocol.dialect import Fault
from farebox.upstreams.health import Health, Slot
from farebox.upstreams.spec import ChannelSpec

if TYPE_CHECKING:
    from .life import Life

IN_A_ROW, ACCOUNTS, CALLED_S, PROBE_S = 5, 3, 600, 10


@dataclass
class _Seen:
    """What happened on one channel of one life: accounts of the failures in a row, who called when, the last probe."""

    failed: list[str] = field(default_factory=list)
    called_us: dict[str, int] = field(default_factory=dict)
    probed_us: int | None = None
    broke_us: dict[str, int] = field(default_factory=dict)  # by account, when an answer of its broke off last
    probe_failed: bool = False


BROKE_OTHERS, BROKE_S = 2, 3600


class Judged(Health):
    """Production's breakers; what they do is compared with promises 4.6 as it is written there."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life
        self._seen: dict[str, _Seen] = {}

    def take(
        self, channel: ChannelSpec, now_us: int, *, account: str = "", model: str = "", forced: bool = False
    ) -> Slot | None:
        before, seen = self.state(channel.id, now_us), self._seen.setdefault(channel.id, _Seen())
        slot = super().take(channel, now_us, account=account, model=model, forced=forced)
        if slot is not None and forced:
            if seen.probed_us is not None and now_us - seen.probed_us < PROBE_S * 1_000_000:
                self._find(slot, "was probed twice in ten seconds")
            seen.probed_us = now_us
        elif slot is not None:
            seen.called_us[account] = now_us
            if before != "closed":
                self._find(slot, f"is {before}, and a customer's call tries it")
        return slot

    def broke(self, slot: Slot, now_us: int) -> None:
        super().broke(slot, now_us)
        self._seen[slot.channel_id].broke_us[slot.account] = now_us

    def at_fault(self, channel_id: str, account: str, now_us: int) -> bool:
        """R14 draws nothing while the channel failed after output for two other accounts within the hour (promises 4.4)."""
        found, seen = super().at_fault(channel_id, account, now_us), self._seen.get(channel_id, _Seen())
        others = [
            each for each, at_us in seen.broke_us.items() if each != account and now_us - at_us < BROKE_S * 1_000_000
        ]
        if found != (len(others) >= BROKE_OTHERS) and not (found and seen.probe_failed):
            self._life.world.find(
                f"4.4 {self._life.name}: a channel is {'' if found else 'not '}at fault after {others}"
            )
        self._life.world.faulted.setdefault((self._life, account), set()).add(found)
        return found

    def succeeded(self, slot: Slot, now_us: int) -> None:
        before = self.state(slot.channel_id, now_us)
        super().succeeded(slot, now_us)
        if before != "closed" and self.state(slot.channel_id, now_us) == "closed" and slot.account != "acc_house":
            self._find(slot, "was opened to all by a customer's call")
        if before == "closed":
            self._seen[slot.channel_id].failed.clear()
        if slot.account == "acc_house":
            self._seen[slot.channel_id].probe_failed = False

    def failed(self, slot: Slot, fault: Fault, now_us: int) -> None:
        before, seen = self.state(slot.channel_id, now_us), self._seen[slot.channel_id]
        own = slot.account == "acc_house"
        if not own and fault.kind in {"down", "timeout", "busy"} and not fault.own and fault.status // 100 != 4:
            seen.failed.append(slot.account)
        super().failed(slot, fault, now_us)
        seen.probe_failed = seen.probe_failed or own
        if before != "closed" or self.state(slot.channel_id, now_us) == "closed":
            return
        world = self._life.world
        world.note(f"{self._life.name} {slot.name} rests, by {'a probe' if own else 'customers'}")
        lately = [at_us for at_us in seen.called_us.values() if now_us - at_us <= CALLED_S * 1_000_000]
        many = len(set(seen.failed)) >= ACCOUNTS and len(lately) >= ACCOUNTS
        if not own and not (len(seen.failed) >= IN_A_ROW and many):
            self._find(
                slot, f"rests for {len(seen.failed)} failures of {sorted(set(seen.failed))}, and no probe failed"
            )
        seen.failed.clear()

    def _find(self, slot: Any, what: str) -> None:
        self._life.world.find(f"I34 {self._life.name}: channel {slot.name} {what}")
