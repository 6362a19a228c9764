"""Backups: whether the newest one is of last night."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .finding import Check, Finding, Look, ok, span, wrong

OLD_S = 26 * 3600
SUFFIXES = (".fbk", ".backup")


def newest(look: Look) -> Iterator[Finding]:
    """The newest backup in the folder that was named, or below it, is younger than a day and two hours."""
    folder = look.backups
    if folder is None:
        return
    todo = f"Run farebox backup {folder}/NAME{SUFFIXES[0]} each night, and look at what it says."
    try:
        if not folder.is_dir():
            raise NotADirectoryError(0, "it is no folder")
        files = [path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file()]
        times_s = {path: path.stat().st_mtime for path in files}
    except OSError as fault:
        yield wrong("backups", f"{folder} can't be read: {fault.strerror}", todo)
        return
    if not files:
        yield wrong("backups", f"no *{' or *'.join(SUFFIXES)} in {folder}", todo)
        return
    last = max(files, key=lambda path: times_s[path])
    age_s = max(0, int(time.time() - times_s[last]))
    seen = f"{last.name} is {span(age_s)} old"
    yield wrong("backups", seen, todo) if age_s > OLD_S else ok("backups", seen)


CHECKS: tuple[tuple[str, Check], ...] = (("backups", newest),)
