"""The sandbox's journal: what was asked of it, what it did, and how that ended."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec

KEPT: Final = 10_000
_BODY_BYTES_MAX: Final = 1024 * 1024
# Never written down, whoever's they are.
_SECRET_HEADERS: Final = frozenset({"authorization", "api-key", "x-api-key", "cookie", "proxy-authorization"})


class Record(msgspec.Struct):
    """One request.

    `time` is seconds since 1970, `status` None until one was sent, `events` the `data:` lines sent, `usage`
    what the answer would report. `body` is the parsed request; of one over 1 MiB only its size is kept.
    `ended` is open, complete, client-left, cut, reset, refused, stopped (the sandbox) or failed.
    """

    time: float
    method: str
    path: str
    model: str = ""
    behaviours: dict[str, str] = {}
    stream: bool = False
    headers: dict[str, str] = {}
    body: Any = None
    status: int | None = None
    events: int = 0
    usage: Any = None
    ended: str = "open"

    def take(self, headers: dict[str, str], body: Any, size: int) -> None:
        """Note what came, without its secrets."""
        self.headers = {name: value for name, value in headers.items() if name not in _SECRET_HEADERS}
        self.body = body if size <= _BODY_BYTES_MAX else {"body_bytes": size}


class Journal:
    """The last records in memory, oldest first, and all of them in a file, one JSON object a line.

    A record is in memory from the moment its request was read; it is written to the file when it ended.
    """

    def __init__(self, path: Path | None, *, keep: int) -> None:
        self.records: deque[Record] = deque(maxlen=keep)
        self._file = path.open("ab", buffering=0) if path is not None else None

    def begin(self, record: Record) -> None:
        """Keep a record that is open."""
        self.records.append(record)

    def end(self, record: Record) -> None:
        """Write a record that ended."""
        if self._file is not None:
            self._file.write(msgspec.json.encode(record) + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
