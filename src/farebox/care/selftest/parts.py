"""The parts of the self-test, one after the other; a part that can't be tried has failed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from farebox.kit.errors import FareboxError
from farebox.look import refusals

from . import kills, race, replay, restored, scratch
from .scratch import Scratch
from .tried import Tell, Tried

_ON_A_SHOP: tuple[Callable[[Tell, Scratch], Tried], ...] = (race.run, kills.run, restored.run)


def run(tell: Tell, *, database: str = "", recordings: Path = replay.RECORDINGS) -> list[Tried]:
    """Try everything and give what came of it; `tell` hears what is under way.

    The scratch store is SQLite in a temporary folder, or the empty PostgreSQL database at `database`.
    """
    found = [_timed(lambda: replay.run(tell, recordings), "vendors' streams")]
    with ExitStack() as stack:
        tell("Making the scratch store …")
        shops: list[Scratch] = []

        def made() -> Tried:
            shops.append(stack.enter_context(scratch.opened(database)))
            return Tried("a scratch store, made and filled", times=1, note="PostgreSQL" if database else "SQLite")

        found.append(_timed(made, "a scratch store"))
        if shops:
            found += [_timed(partial(part, tell, shops[0]), part.__module__) for part in _ON_A_SHOP]
    return found


def _timed(part: Callable[[], Tried], what: str) -> Tried:
    begun_s = time.monotonic()
    try:
        tried = part()
    except FareboxError as refusal:
        tried = Tried(what, failures=[refusals.of(refusal, "cli")])
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as fault:
        tried = Tried(what, failures=[f"it broke: {type(fault).__name__}: {str(fault)[:200]}"])
    tried.seconds = time.monotonic() - begun_s
    return tried
