"""What the machine allows one process: open files and memory (promises: F43)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import resource
from pathlib import Path

RESERVE_FILES = 384  # the store, logs, listening sockets; and idle connections to upstreams, of which 256 are kept
FILES_MAX = 1_048_576  # where the machine sets no limit; also the kernel's own default (nr_open)
MIB = 1024 * 1024
RSS_LEAST_BYTES = 256 * MIB  # what a process needs before its first call, twice

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def raise_open_files() -> int:
    """Raise this process's limit of open files as far as it may; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = FILES_MAX if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < want:
        with contextlib.suppress(OSError, ValueError):  # more than the kernel's nr_open
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
            soft = want
    return FILES_MAX if soft == resource.RLIM_INFINITY else soft


def connections_max(files: int, *, wanted: int, calls_max: int) -> int:
    """How many client connections so many open files allow: each call may need a second one, to its upstream."""
    left = files - min(RESERVE_FILES, files // 2)
    return max(1, min(wanted, max(left - calls_max, left // 2)))


def rss_bytes() -> int:
    """Memory of this process that is really in use, file pages included; 0 where nobody says (proc(5), statm)."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - once a second: no objects for it
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def memory_bytes(*, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory of the machine, or of the control group where that has less; 0 where nobody says."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (proc / "meminfo").read_text("ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")]
    with contextlib.suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text("utf-8").splitlines():
            found += _group_bytes(cgroups, *line.split(":", 2)[1:])
    return min(found, default=0)


def _group_bytes(cgroups: Path, controllers: str, group: str) -> list[int]:
    """The limits of a group and of those above it (cgroups(7)); a container sees its own as the root."""
    if controllers == "":
        base, name = cgroups, "memory.max"
    elif "memory" in controllers.split(","):
        base, name = cgroups / "memory", "memory.limit_in_bytes"
    else:
        return []
    found = []
    place = Path(group.lstrip("/"))
    for each in (place, *place.parents):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            found.append(int((base / each / name).read_text("ascii")))
    return [limit for limit in found if limit > 0]


def rss_max_bytes(option_mb: int) -> int:
    """The most memory that the process should use: the option's, or half of what there is; 0 is no limit."""
    if option_mb:
        return option_mb * MIB
    total = memory_bytes()
    return max(total // 2, RSS_LEAST_BYTES) if total else 0


def return_large() -> None:
    """Let large pieces of memory go back to the machine as soon as they are free.

    glibc keeps more and more of them for itself, up to 32 MiB each, once one was given back (mallopt(3)).
    """
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, MIB)
        library.mallopt(_M_TRIM_THRESHOLD, 16 * MIB)


def give_back() -> None:
    """Give unused memory back to the machine, as far as the C library can."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def exhausted(fault: BaseException | None) -> bool:
    """Whether `fault` or one of its causes says that open files, memory or threads are used up."""
    while fault is not None:
        if isinstance(fault, MemoryError) or (isinstance(fault, OSError) and fault.errno in _NONE_LEFT):
            return True
        if isinstance(fault, RuntimeError) and "start new thread" in str(fault):
            return True
        fault = fault.__cause__
    return False
