"""Files in the form of a backup, with any manifest and payload."""

from __future__ import annotations

import io
from pathlib import Path

from farebox.ops import sealed


def written(path: Path, payload: bytes, key: bytes | None, **said: object) -> Path:
    """A file of the form with any payload."""
    source = path.with_suffix(".payload")
    source.write_bytes(payload)
    with path.open("wb") as file:
        sealed.write(file, manifest=dict(said), payload=source, key=key)
    return path


def unpacked(path: Path, key: bytes | None) -> bytes:
    target = io.BytesIO()
    with sealed.opened(path, key) as opened:
        opened.unpack(target)
    return target.getvalue()
