"""`farebox keys …`: the pepper and the master key, and what is still under older ones."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from farebox.care import ready
from farebox.cli import show, when
from farebox.kit.errors import CommandError

from .base import Group, as_json, emit, read, write

keys = Group("keys", help="Key files: the pepper behind customers' keys, the master key behind secrets.")
COMMANDS = (keys,)
TRIES_S = 6
SETTLE_S = 3.2
Say = Callable[[str, int, int], None]


@keys.command("show", example="farebox keys show")
def show_() -> None:
    """Which keys the files hold, what is left under older ones, and which nodes lack one."""
    ready.store()
    from farebox.care import rotation

    found = read(rotation.state)
    emit(found, lambda: show.facts(_facts(found)))


@keys.command("rotate-pepper", example="farebox keys rotate-pepper")
@click.option("--again", is_flag=True, help="A new pepper also while older ones still verify.")
def rotate_pepper(again: bool) -> None:
    """A new pepper: new keys are digested with it, older ones move to it as they are used.

    Older peppers verify for 90 days; then `farebox keys drop-pepper` removes them. It can be run again, and continues.
    """
    ready.store()
    begun = write("keys.begin", kind="pepper", again=again)
    _activate("pepper")
    with _bar() as say:
        moved = _walk(lambda after: write("keys.rehash", after=after), "mailboxes", 0, say)
    done = {"n": begun["n"], "new": begun["new"], "moved": moved}
    emit(
        done,
        lambda: print(f"Pepper {done['n']} is in use. Copy its file to the safe place again."),
    )


@keys.command("drop-pepper", example="farebox keys drop-pepper")
@click.option("--early", is_flag=True, help="Before the 90 days are over: an older pepper has leaked.")
def drop_pepper(early: bool) -> None:
    """Destroy the older peppers; keys, tokens and recovery codes that still need one are switched off, by mail."""
    ready.store()
    done: dict[str, Any] = {"ended": write("keys.end-old-peppers", early=early)}
    done |= write("keys.drop", kind="pepper")
    ended = ", ".join(f"{n:,} {what}" for what, n in done["ended"].items() if n) or "nothing"
    gone = ", ".join(str(n) for n in done["dropped"])
    emit(done, lambda: print(f"Pepper {gone} is destroyed; it ended {ended}." if gone else "There is no older pepper."))


@keys.command("rotate-master", example="farebox keys rotate-master")
def rotate_master() -> None:
    """A new master key: every secret moves under it while servers run, then the old one is destroyed.

    If it is killed, run it again: it continues.
    """
    ready.store()
    begun = write("keys.begin", kind="master")
    serving = _activate("master")["serving"]
    if serving:
        time.sleep(SETTLE_S)  # whoever read the file before has sealed and committed by then
    with _bar() as say:
        done = begun | _rewrap(say)
    dropped = write("keys.drop", kind="master")["dropped"]
    emit(done | {"dropped": dropped}, lambda: _say_rotated(done, dropped))


@keys.command("rewrap", example="farebox keys rewrap")
def rewrap() -> None:
    """Re-encrypt every secret with the current master key; no key is added or destroyed."""
    ready.store()
    with _bar() as say:
        done = _rewrap(say)
    emit(done, lambda: print(f"{done['moved']:,} of {done['seen']:,} moved.{_lost(done)}"))


def _activate(kind: str) -> Any:
    """Let the new key work; servers look at the file once a second, so they get a moment."""
    until_s = time.monotonic() + TRIES_S
    while True:
        try:
            return write("keys.activate", kind=kind)
        except CommandError as refusal:
            if refusal.code != "keys_behind" or time.monotonic() > until_s:
                raise
        time.sleep(0.2)


def _rewrap(say: Say) -> dict[str, int]:
    from farebox.care import rotation

    totals = {"seen": 0, "moved": 0, "lost": 0}
    for place in rotation.PLACES:
        after: Any = None
        while True:
            step = write("keys.rewrap", place=place, after=after)
            for name in totals:
                totals[name] += step[name]
            say(place, totals["seen"], totals["moved"])
            after = step["last"]
            if after is None:
                break
    return totals


def _walk(step: Callable[[Any], Any], what: str, seen: int, say: Say) -> int:
    after, moved = None, 0
    while True:
        done = step(after)
        moved += int(done["moved"])
        seen += 1
        say(what, seen, moved)
        after = done["last"]
        if after is None:
            return moved


@contextlib.contextmanager
def _bar() -> Iterator[Say]:
    """How far it is, on standard error: a bar in a terminal, a line a place elsewhere, nothing with --json."""
    if as_json():
        yield lambda _place, _seen, _moved: None
        return
    if not sys.stderr.isatty():
        yield lambda place, seen, moved: print(f"{place}: {moved:,} of {seen:,} moved", file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def tell(place: str, seen: int, moved: int) -> None:
            bar.update(task, description=f"{place}: {moved:,} of {seen:,} moved")

        yield tell


def _say_rotated(done: dict[str, Any], dropped: list[int]) -> None:
    print(f"Master key {done['n']} is in use: {done['moved']:,} of {done['seen']:,} moved.{_lost(done)}")
    if dropped:
        print(f"Master key {', '.join(map(str, dropped))} is destroyed. Keep its copy as long as backups of that time.")
    print("Copy the master key file to its safe place: the old copy lacks the new key.")


def _lost(done: dict[str, Any]) -> str:
    return f" {done['lost']:,} can't be opened by any key: farebox doctor names them." if done["lost"] else ""


def _facts(found: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for kind, name in (("pepper", "pepper"), ("master", "master key")):
        one = found[kind]
        left = ", ".join(f"{n:,} {what}" for what, n in one["left"].items() if n)
        rows += [
            (name, one["mints"]),
            ("  since (UTC)", when.shown(one["since_us"])),
            ("  waiting", ", ".join(map(str, one["waiting"])) or "none"),
            ("  older", ", ".join(map(str, one["older"])) or "none"),
            ("  left under older", left or "nothing"),
            ("  nodes behind", ", ".join(one["behind"]) or "none"),
        ]
    rows.append(("older peppers may go (UTC)", when.shown(found["pepper"]["drop_us"])))
    return rows
