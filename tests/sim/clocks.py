"""Virtual clocks with drift and jumps, held as production holds them, and seeded ids."""

from __future__ import annotations

from random import Random
from typing import Any

from farebox.kit import clock
from farebox.kit.ids import _encode

from .loop import SimLoop

BASE_US = 1_772_355_000_000_000  # a Sunday, 2026-03-01, ten minutes before nine: days and months begin in some seeds


class Wall:
    """What the machine says: the module `time`, as far as kit.clock reads it."""

    def __init__(self) -> None:
        self.wall_us = BASE_US

    def time_ns(self) -> int:
        return self.wall_us * 1000


class SimClock:
    """A node's clock: the world's time plus drift and jumps, behind the production clock that never goes back."""

    def __init__(self, loop: SimLoop, wall: Wall, *, offset_us: int = 0, drift_ppm: int = 0) -> None:
        self._loop = loop
        self._wall = wall
        self._held = clock.SystemClock()
        self.offset_us = offset_us
        self.drift_ppm = drift_ppm

    def restart(self) -> None:
        """Another process, which remembers nothing."""
        self._held = clock.SystemClock()

    def wall_us(self) -> int:
        world_us = int((self._loop.now - 1000.0) * 1e6)
        return BASE_US + world_us + self.offset_us + world_us * self.drift_ppm // 1_000_000

    def now_us(self) -> int:
        self._wall.wall_us = self.wall_us()
        return self._held.now_us()

    def not_before(self, mark_us: int, **more: Any) -> int:
        self._wall.wall_us = self.wall_us()
        return self._held.not_before(mark_us, **more)


class SimMachine:
    """What a node's machine says of the time: its clock may be wrong, its counter goes on as the world does."""

    def __init__(self, loop: SimLoop, told: SimClock, node: int) -> None:
        self._loop = loop
        self._told = told
        self._node = node

    def wall_us(self) -> int:
        return self._told.wall_us()

    def counter_us(self) -> int:
        return int((self._loop.now - 1000.0) * 1e6)

    def boot(self) -> str:
        return f"boot {self._node}"

    def synchronised(self) -> bool:
        return False

    def host(self) -> str:
        return f"n{self._node}"


class SimIds:
    """Ids from a seeded source."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def new(self, kind: str, now_us: int) -> str:
        return f"{kind}_{_encode((now_us << 95) | self._rng.getrandbits(95))}"
