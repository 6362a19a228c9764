"""A node's disk: what was synced survives a kill; what was only written may be there, or not."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .life import Life


class SimDisk:
    """The journal's folder on one machine: lives in the order in which they began, each with its records."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.files: dict[str, list[bytes]] = {}
        self.tails: dict[str, list[bytes]] = {}
        self.full_until_s = 0.0

    def crash(self, name: str) -> None:
        """The process that writes `name` is gone: of what it had not synced a random first part is on the disk."""
        tail = self.tails.pop(name, [])
        self.files.setdefault(name, []).extend(tail[: self.rng.randint(0, len(tail))])


class SimLog:
    """The append log of one node life; see kit.appendlog."""

    def __init__(self, life: Life, disk: SimDisk) -> None:
        self._life = life
        self._disk = disk
        self._loop = life.world.loop
        self._name = life.name
        self.inherited = [record for records in disk.files.values() for record in records]
        self._dead = list(disk.files)
        disk.files[self._name] = []

    async def append(self, records: Sequence[bytes]) -> None:
        disk, life = self._disk, self._life
        life.fence()
        if disk.full_until_s > self._loop.now:
            life.world.fired("journal full")
            raise OSError(errno.ENOSPC, "no space left on the device")
        tail = disk.tails.setdefault(self._name, [])
        tail += records
        await asyncio.sleep(disk.rng.uniform(0.001, 0.02))
        life.fence()
        disk.tails[self._name] = []
        disk.files[self._name] += records
        life.world.journalled(records)

    async def clear(self) -> None:
        await asyncio.sleep(self._disk.rng.uniform(0.0005, 0.005))
        self._life.fence()
        for name in self._dead:
            self._disk.files.pop(name, None)
        self._dead = []
        self._disk.files[self._name] = []
