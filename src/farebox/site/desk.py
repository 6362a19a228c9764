"""The serving process as the office sees it: page threads ask, the loop answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from farebox.kit.errors import CommandError

T = TypeVar("T")
HEALTH_S = 2
TEST_S = 30


class Desk:
    """`report` and `test` run in the loop alone; whoever asks waits in their own thread, and not for ever."""

    def __init__(self, report: Callable[[], dict[str, dict[str, Any]]], test: Callable[..., Awaitable[Any]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._report = report
        self._test = test
        self._testing = threading.Lock()

    def health(self) -> dict[str, dict[str, Any]]:
        """The breakers; none if the loop is too busy to say."""

        async def ask() -> dict[str, dict[str, Any]]:
            return self._report()

        try:
            return self._ask(ask(), HEALTH_S)
        except TimeoutError:
            return {}

    def test(self, *, actor: str, channel: str, model: str) -> dict[str, Any]:
        """A real call; one at a time, so that tests never keep all the threads of pages. CommandError."""
        if not self._testing.acquire(blocking=False):
            raise CommandError("test.running")

        async def ask() -> dict[str, Any]:
            return dict(await self._test(actor=actor, channel=channel, model=model))

        try:
            return self._ask(ask(), TEST_S)
        except TimeoutError:
            raise CommandError("test.no_answer") from None
        finally:
            self._testing.release()

    def _ask(self, question: Coroutine[Any, Any, T], within_s: int) -> T:
        # A test that is late goes on: its hold ends with it, as that of every call.
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(within_s)
