"""The machine: room on the disk, the kind of disk, who may read the files, clock and event loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from farebox.kit import disk, loopwatch
from farebox.kit.machine import Machine

from .finding import Check, Finding, Look, ok, some, warning, wrong

MIB = 1024 * 1024
FREE_WRONG_BYTES = 128 * MIB
FREE_WARNING_BYTES = 1024 * MIB
LOOP_MS_MAX = 250
_TIMESYNC = Path("/run/systemd/timesync/synchronized")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def room(look: Look) -> Iterator[Finding]:
    """Room for the store, its WAL, the journal of settlements and a backup."""
    found = os.statvfs(look.chosen.data)
    free_bytes = found.f_bavail * found.f_frsize
    store_bytes = look.chosen.sqlite_file.stat().st_size if look.chosen.on_sqlite else 0
    seen = f"{free_bytes // MIB:,} MiB free in {look.chosen.data}"
    if free_bytes < FREE_WRONG_BYTES:
        yield wrong("disk", seen, "Make room now: with a full disk no call can be settled.")
    elif free_bytes < max(FREE_WARNING_BYTES, 2 * store_bytes):
        yield warning("disk", seen, "Make room: a backup needs once more what the store has, and the WAL grows.")
    else:
        yield ok("disk", seen)


def kind(look: Look) -> Iterator[Finding]:
    """No network disk under an SQLite store or a journal (promises: F40)."""
    data = look.chosen.data
    name = disk.file_system(data)
    if not name:
        yield ok("file system", "not known: this system does not say")
    elif name in disk.NETWORK or (name.startswith("fuse.") and name[5:].startswith(disk.NETWORK_FUSE)):
        todo = f"Move {data} to a local disk: locks and syncs of a network disk can't be trusted."
        seen = f"{name}, a network disk"
        yield wrong("file system", seen, todo) if look.chosen.on_sqlite else warning("file system", seen, todo)
    elif name in _IN_MEMORY:
        yield warning("file system", f"{name}, in memory", f"Move {data} to a disk: a loss of power loses all of it.")
    else:
        yield ok("file system", name)


def modes(look: Look) -> Iterator[Finding]:
    """Nobody else on this machine reads keys, store or journal."""
    chosen = look.chosen
    store = [chosen.sqlite_file, Path(f"{chosen.sqlite_file}-wal")] if chosen.on_sqlite else []
    bad = _open((chosen.pepper, chosen.master_key, *store, *sorted((chosen.data / "journal").glob("*.log"))))
    if bad:
        yield wrong("modes of files", f"open to others: {some(bad)}", "Close them: chmod go= FILE.")
    elif _open((chosen.data, chosen.pepper.parent, chosen.master_key.parent)):
        yield warning(
            "modes of files", f"others may look into {chosen.data} or the folder of keys", "chmod 700 both folders."
        )
    else:
        yield ok("modes of files", "keys and store are their owner's alone")


def loop(look: Look) -> Iterator[Finding]:
    """What held all calls up for longest within the last day (promises 4.6)."""
    worst = loopwatch.read(look.chosen.data)
    place = f", at {worst.place}" if worst and worst.place else ""
    if worst is None:
        yield ok("event loop", "nothing held calls up for more than 50 ms within a day")
    elif worst.cpu_ms <= LOOP_MS_MAX:
        yield ok("event loop", f"held up for {worst.cpu_ms} ms of processor time at most{place}")
    else:
        seen = f"held up for {worst.cpu_ms:,} ms of processor time{place}"
        yield warning("event loop", seen, "Look for loop.slow in the log, and report it: no request should do that.")


def discipline(look: Look) -> Iterator[Finding]:
    """Whether something keeps the clock right; `not known` is no finding against it."""
    del look
    synchronised = _synchronised()
    if synchronised is None:
        yield ok("clock discipline", "not known: this system does not say")
    elif synchronised:
        yield ok("clock discipline", "the kernel's clock is synchronised")
    else:
        yield warning("clock discipline", "nothing synchronises the clock", "Run an NTP service on this machine.")


def _synchronised() -> bool | None:
    return True if _TIMESYNC.exists() else Machine().synchronised()


def _open(paths: tuple[Path, ...]) -> list[str]:
    found = []
    for path in paths:
        try:
            mode = path.stat().st_mode & 0o777
        except OSError:
            continue
        if mode & 0o077:
            found.append(f"{path} ({mode:04o})")
    return found


CHECKS: tuple[tuple[str, Check], ...] = (
    ("disk", room),
    ("file system", kind),
    ("modes of files", modes),
    ("clock discipline", discipline),
    ("event loop", loop),
)
