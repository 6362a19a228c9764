"""Two writes at one time: the first one's transaction stays open until the second one has ended or waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_WAITS_S = 0.7


def overlapped(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> list[Any]:
    """What both gave, or the CommandError that they raised. On SQLite the second one can't begin before."""
    from django.db import connection

    from farebox.kit import db
    from farebox.kit.errors import CommandError

    ended, done = threading.Event(), threading.Event()
    given: list[Any] = [None, None]

    def leading(tx: Any) -> Any:
        out = first(tx)
        done.set()
        ended.wait(_WAITS_S)
        return out

    def run(place: int, write: Callable[[Any], Any]) -> None:
        try:
            given[place] = db.write(write)
        except CommandError as fault:
            given[place] = fault
        except BaseException as fault:
            given[place] = fault
            raise
        finally:
            (done if place == 0 else ended).set()
            connection.close()

    threads = [threading.Thread(target=run, args=(0, leading))]
    threads[0].start()
    assert done.wait(20)
    threads.append(threading.Thread(target=run, args=(1, second)))
    threads[1].start()
    for each in threads:
        each.join(30)
    return given
