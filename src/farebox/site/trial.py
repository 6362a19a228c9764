"""A channel test where no server runs: one is started on a free port for the length of the test."""

from __future__ import annotations

from typing import Any

from farebox.kit import options

from . import probe
from .serve import Server


async def test_channel(channel: str, model: str) -> dict[str, Any]:
    """One call of `model` on `channel` alone, as `probe.call` says."""
    chosen = options.current()
    chosen.port = 0
    server = Server(chosen)
    await server.start()
    try:
        return await probe.call(server.ports, channel, model)
    finally:
        await server.stop(drain_s=1)
