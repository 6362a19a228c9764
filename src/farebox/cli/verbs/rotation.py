"""Write verbs of `farebox keys`: see care/rotation.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farebox.care import rotation

RUNS: dict[str, Callable[..., Any]] = {
    "keys.begin": rotation.begin,
    "keys.activate": rotation.activate,
    "keys.rewrap": rotation.rewrap,
    "keys.rehash": rotation.rehash,
    "keys.end-old-peppers": rotation.end_old_peppers,
    "keys.drop": rotation.drop,
}
