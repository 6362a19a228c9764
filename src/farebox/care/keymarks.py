"""Fingerprints of the key files: they tell keys apart, and whether a copy or another node has the same ones."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from pathlib import Path

from farebox.kit import options, secrets
from farebox.kit.errors import CommandError

Marks = dict[str, dict[str, str]]


def fingerprints(chosen: options.Options) -> Marks:
    """16 hex digits by kind and number of each key in the key files: they tell keys apart and lead to none."""
    found = {"pepper": secrets.peppers(chosen), "master": secrets.master_keys(chosen)}
    return {
        kind: {
            str(n): hmac.digest(key, f"farebox fingerprint\0{kind}".encode(), "sha256").hex()[:16]
            for n, key in keys.items()
        }
        for kind, keys in found.items()
    }


def copied(folder: Path) -> Marks:
    """The fingerprints of a folder's copy of the key files; CommandError unless it holds all that the files hold."""
    chosen = options.current()
    there = options.Options({"pepper_file": str(folder / "pepper"), "master_key_file": str(folder / "master")})
    copy = fingerprints(there)
    for kind, n in lacking(fingerprints(chosen), copy):
        raise CommandError(
            f"{folder / kind} is no whole copy of {paths(chosen)[kind]}: it lacks key {n}. Copy it again."
        )
    return copy


def lacking(wanted: Marks, have: Marks) -> Iterator[tuple[str, str]]:
    """Kind and number of each key of these fingerprints that is not among the others as it is."""
    for kind, marks in wanted.items():
        yield from ((kind, n) for n, mark in marks.items() if have[kind].get(n) != mark)


def others(noted: Marks, have: Marks) -> Iterator[tuple[str, str]]:
    """Kind and number of each key that is there and is another one than was noted under its number."""
    for kind, marks in noted.items():
        yield from ((kind, n) for n, mark in marks.items() if have[kind].get(n, mark) != mark)


def paths(chosen: options.Options) -> dict[str, Path]:
    """The key files by kind."""
    return {"pepper": chosen.pepper, "master": chosen.master_key}
