"""What time upstreams say that it is: the `Date` of answers over TLS, with checked certificates (promises 4.7)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from farebox.kit.machine import Machine

_HOSTS_MAX = 100
_EVERY_US = 10_000_000
_machine = Machine()

# By host: what it said, and this machine's counter when it did.
HEARD: dict[str, tuple[int, int]] = {}


def hear(host: str, date: str) -> None:
    """Note what an answer says; of each host one in ten seconds, and nothing that is no date."""
    counter_us = _machine.counter_us()
    before = HEARD.get(host)
    if counter_us is None or (before is not None and counter_us - before[1] < _EVERY_US):
        return
    try:
        at_us = int(parsedate_to_datetime(date).timestamp() * 1_000_000)
    except (ValueError, TypeError, OverflowError):
        return
    if before is None and len(HEARD) >= _HOSTS_MAX:
        HEARD.clear()
    HEARD[host] = (at_us, counter_us)
