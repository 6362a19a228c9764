"""Argon2id (security 2): 32 MiB, two rounds; at most two at a time in a process, few in the queue."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from django.contrib.auth.hashers import Argon2PasswordHasher

from farebox.kit.errors import Overloaded

AT_A_TIME = 2
QUEUE_MAX = 20

_turns = threading.BoundedSemaphore(AT_A_TIME)
_lock = threading.Lock()
_here = 0


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Wait for one of the two places; Overloaded where too many wait already."""
    global _here  # noqa: PLW0603 - how many are in here, of all threads
    with _lock:
        if _here >= AT_A_TIME + QUEUE_MAX:
            raise Overloaded("Too many people are signing in right now. Please try again in a moment.")
        _here += 1
    try:
        with _turns:
            yield
    finally:
        with _lock:
            _here -= 1


class Argon2(Argon2PasswordHasher):
    """Django's hasher, with our cost and our queue."""

    time_cost = 2
    memory_cost = 32 * 1024
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        """The hash."""
        with turn():
            return str(super().encode(password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        """Whether it is this password."""
        with turn():
            return bool(super().verify(password, encoded))

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Nothing: the cost of a hash is the same for all."""
