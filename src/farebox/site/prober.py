"""The probes of a serving process: calls of one token on channels that rest, or that customers' calls fail on.

At most one in ten seconds for each channel; nothing else tries a channel that rests (promises 4.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from farebox.gateway.ports import Ports
from farebox.kit.errors import FareboxError
from farebox.upstreams.board import Board

from . import probe

LOOK_S = 0.5
_STOP_S = 2

_log = structlog.get_logger(__name__)


class Prober:
    """Looks which channels need a probe, and sends them; each is a call like any other, with hold and record."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def probe(self) -> None:
        """Send the probes that are due; does not wait for their answers."""
        ports, shop = self._ports, self._ports.shop
        if shop.stopping or shop.ground.short or ports.journal.full:  # as for every call
            return
        now_us, current = ports.clock.now_us(), shop.board.current
        for channel_id, wanted in shop.health.due(now_us):
            channel = current.channels.get(channel_id)
            if channel is None or channel_id in self._tasks or shop.health.full(channel):
                continue
            model = self._model(current, channel_id, wanted)
            if model:
                shop.health.ask(channel_id, now_us)
                task = asyncio.get_running_loop().create_task(self._one(channel_id, channel.name, model))
                self._tasks[channel_id] = task

    async def idle(self) -> None:
        """Wait until no probe is under way."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def stop(self) -> None:
        """End the probes under way; each ends its call before, if the store lets it within two seconds."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_STOP_S)

    async def _one(self, channel_id: str, name: str, model: str) -> None:
        try:
            await probe.one_token(self._ports, channel_id, model)
        except FareboxError as trouble:  # no verdict: the next one is due ten seconds later
            _log.warning("probe.failed", channel=name, error=trouble.message)
        except Exception:
            _log.exception("probe.broken", channel=name)
        finally:
            self._tasks.pop(channel_id, None)

    def _model(self, current: Board, channel_id: str, wanted: Sequence[str]) -> str:
        """The first of the models wanted (by their names there) that the channel offers, else any; empty for none."""
        cards = self._ports.shop.shelf.current
        offered: dict[str, str] = {}
        for model, candidates in current.by_model.items():
            for each in candidates:
                card = cards.card(model) if each.channel.id == channel_id else None
                if card is not None and any(each.channel.path(kind) for kind in card.kinds):
                    offered.setdefault(each.upstream_model, model)
        return next((offered[name] for name in wanted if name in offered), next(iter(offered.values()), ""))
