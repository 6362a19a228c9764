"""Ids made by us: `call_…`, `acc_…`; ordered by time, unguessable, never by the database."""

from __future__ import annotations

import secrets
from typing import Protocol

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TIME_DIGITS = 9  # 62**9 microseconds last until the year 2398
_RANDOM_DIGITS = 16  # 95 bits beside the time


class Ids(Protocol):
    """What makes ids; the simulator brings its own."""

    def new(self, kind: str, now_us: int) -> str:
        """A new id `<kind>_<25 letters and digits>` that sorts by `now_us`."""


def base62(number: int, digits: int) -> str:
    """`number` in base 62 (0-9A-Za-z), left-padded with 0 to `digits`; ValueError if it does not fit."""
    out = []
    for _ in range(digits):
        number, rest = divmod(number, 62)
        out.append(ALPHABET[rest])
    if number:
        raise ValueError("number does not fit")
    return "".join(reversed(out))


def time_us(ident: str) -> int:
    """The time that an id of ours sorts by, in microseconds."""
    number = 0
    for digit in ident.partition("_")[2][:TIME_DIGITS]:
        number = number * 62 + ALPHABET.index(digit)
    return number


class RandomIds:
    """Time-ordered ids with 95 random bits."""

    __slots__ = ()

    def new(self, kind: str, now_us: int) -> str:
        """A new id; two of the same microsecond sort at random."""
        number = (now_us << 95) | secrets.randbits(95)
        return f"{kind}_{_encode(number)}"


def _encode(number: int) -> str:
    time_us, random_bits = number >> 95, number & ((1 << 95) - 1)
    return base62(time_us, TIME_DIGITS) + base62(random_bits, _RANDOM_DIGITS)


RANDOM = RandomIds()


def new(kind: str, now_us: int) -> str:
    """A new id of `kind` from the process's own source."""
    return RANDOM.new(kind, now_us)
