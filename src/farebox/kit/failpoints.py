"""Named points in the code where a test can make the process fail; in production each is one comparison.

Only a test arms them. A kill at the n-th passage of a point is how "fail at every place" is said (testing of faults).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

Hook = Callable[[str], None]

# Every point with its sentence. The kill tests' report requires that each was hit.
POINTS: dict[str, str] = {
    "tx.statement": "before a statement of a write",
    "store.before_commit": "the group's statements are done, nothing is durable",
    "store.after_commit": "the commit is durable, nobody knows it yet",
    "serve.before_hold": "the call is priced and routed, no money is held",
    "serve.held": "the money is held, nothing has gone upstream",
    "serve.event": "an event of the stream is covered and counted, not delivered",
    "serve.before_settle": "the answer is complete, its charge is not durable",
    "serve.settled": "the charge is durable, the last byte has not left",
    "serve.answered": "the last byte has left, no mark says so",
    "journal.before_write": "the store is away, the settlement is not on the disk",
    "journal.written": "the settlement is on the disk, the last byte has not left",
    "journal.replayed": "a journalled settlement is in the store, the journal still holds it",
    "marks.before_write": "answers were delivered, their marks are not written",
    "node.begun": "the epoch has begun, the journal is not replayed",
    "node.replayed": "the journal is replayed, undelivered answers are not refunded",
    "node.refunded": "undelivered answers are refunded, nothing has expired",
}

_hook: Hook | None = None


def point(name: str) -> None:
    """Pass a point: nothing happens unless a test has armed it."""
    if _hook is not None:
        _hook(name)


def arm(hook: Hook | None) -> None:
    """Let `hook(name)` be called at every passage of this process; None disarms."""
    global _hook  # noqa: PLW0603 - one for the process, like a signal handler
    _hook = hook


def from_text(text: str) -> Hook:
    """The hook that `name:n:kill` describes: kill -9 of this process at the n-th passage of a point.

    ValueError for an unknown name or another form.
    """
    name, _, rest = text.partition(":")
    number, _, deed = rest.partition(":")
    if name not in POINTS or not number.isdecimal() or deed != "kill":
        raise ValueError(f"{text!r} is not `name:n:kill` with a name of POINTS")
    left = int(number)

    def hook(passed: str) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook
