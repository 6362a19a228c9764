"""An upstream of our own: it speaks the OpenAI API, echoes, says so, and misbehaves on demand.

Run it with `farebox sandbox`, or inside a program:

    sandbox = await start("127.0.0.1", 0)
    ...  # an OpenAI client on sandbox.base_url with any key
    await sandbox.stop()

How it counts is `text.py`; how it is told to misbehave, and every way it can, is `behaviours.py`.
It sells nothing: any model name is accepted.
"""

from __future__ import annotations

from .behaviours import BEHAVIOURS
from .journal import Record
from .server import Sandbox, run, start
from .threaded import in_thread

__all__ = ["BEHAVIOURS", "Record", "Sandbox", "in_thread", "run", "start"]
