"""Damage to the file of a store."""

from __future__ import annotations

import random
from pathlib import Path


def spoil(file: Path, *, pages: int = 3, seed: int = 41) -> None:
    """Overwrite some pages in the middle of an SQLite file."""
    rng = random.Random(seed)
    with file.open("r+b") as handle:
        handle.seek(16)
        page_bytes = int.from_bytes(handle.read(2), "big")
        count = file.stat().st_size // page_bytes
        for page in rng.sample(range(2, count), pages):
            handle.seek(page * page_bytes)
            handle.write(rng.randbytes(page_bytes))
