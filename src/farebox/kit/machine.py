"""What this machine says of the time: its clock, its count of seconds, and whether NTP keeps the clock."""

from __future__ import annotations

import ctypes
import socket
import sys
import time
from pathlib import Path

from . import clock

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# struct timex of adjtimex(2) on 64-bit Linux: `status` is the int behind modes, offset, freq, maxerror and esterror.
_TIMEX_BYTES = 256
_STATUS_AT = 40
_STA_UNSYNC = 0x0040


class Machine:
    """What this machine says of the time; the simulator and tests bring their own."""

    def wall_us(self) -> int:
        """Its clock, as it is set."""
        return clock.wall_us()

    def counter_us(self) -> int | None:
        """Microseconds since some moment, sleep included, whatever the clock is set to; None where there is no such."""
        name = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC"}.get(sys.platform, "")
        found: int | None = getattr(time, name, None)
        return None if found is None else time.clock_gettime_ns(found) // 1000

    def boot(self) -> str:
        """The name of the time since it was started last, for which the counter continues; empty where it has none."""
        try:
            return _BOOT.read_text("ascii").strip()[:36]
        except OSError:
            return ""

    def synchronised(self) -> bool | None:
        """Whether its kernel says that NTP keeps the clock; None where it does not say.

        In a container this is the host's kernel, whose clock it is. Who sets the clock by hand ends it.
        """
        if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_void_p) != 8:
            return None
        timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # all 0: asks, and sets nothing
        try:
            state: int = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
        except (OSError, AttributeError):
            return None
        if state < 0:
            return None
        return not int.from_bytes(timex.raw[_STATUS_AT : _STATUS_AT + 4], sys.byteorder) & _STA_UNSYNC

    def host(self) -> str:
        """Its name."""
        return socket.gethostname()[:100]
