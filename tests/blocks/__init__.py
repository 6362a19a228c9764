"""A made-up protocol, as a kind that customers call and as a dialect that upstreams speak: what the sockets must hold.

A stream has named events, and no end mark. `begin` reports the input, `block` begins a block of a number, `piece` adds
texts to several blocks at once, `end` says why it ends and reports the output; input is in none of both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from farebox.catalog import kinds as names
from farebox.protocol import dialects, kinds

from .dialect import Blocks
from .kind import Notes


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Register both, for a while."""
    before = names.NAMES
    names.NAMES = (*before, Notes.name)
    kinds.register(Notes())
    dialects.register(Blocks())
    try:
        yield
    finally:
        names.NAMES = before
        del kinds.KINDS[Notes.name], kinds.PATHS[Notes.paths[0]], dialects.DIALECTS[Blocks.name]
