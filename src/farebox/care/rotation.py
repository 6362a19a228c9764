"""The pepper and the master key change while everything runs (security 4).

A new key waits in the file until every process that lives has it, then it mints and seals. What an older master key
sealed is moved a batch at a time, and that key is destroyed once nothing is left under it; an older pepper verifies
on, for 90 days. Each step is a verb that may be done twice: a rotation that was killed continues where it was.
"""

from __future__ import annotations

from typing import Any, Final

from farebox.accounts.keys import old_peppers
from farebox.accounts.sign_in import resealing
from farebox.jobs import owners
from farebox.kit import audit, clock, keyfiles, options, outbox, secrets, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.rewrapping import Walk
from farebox.upstreams import board

from . import keymarks

KEPT_DAYS: Final = 90
SETTLE_US: Final = 3_000_000
SINCE = "keys_since"  # when each key began to mint, by kind and number
BEHIND = "keys_behind"  # the code of a refusal: some node has not read the file yet
_DAY_US: Final = 86_400_000_000
PLACES: Final[dict[str, Walk]] = board.PLACES | resealing.PLACES | outbox.PLACES
_WORDS: Final = {"pepper": "pepper", "master": "master key"}


def state(tx: Tx) -> dict[str, Any]:
    """The keys of both files, what is left under older ones, and the nodes that lack or still have one."""
    chosen, now_us = options.current(), clock.now_us()
    since = settings.get(tx, SINCE, {})
    nodes = keyfiles.nodes(tx, now_us=now_us)
    found: dict[str, Any] = {}
    for kind in secrets.KINDS:
        keys = secrets.load(kind, chosen)
        began_us = since.get(kind, {}).get(str(keys.mints))
        found[kind] = {
            "mints": keys.mints,
            "older": [n for n in keys if n < keys.mints],
            "waiting": [n for n in keys if n > keys.mints],
            "since_us": began_us,
            "behind": sorted({node.name for node in nodes if node.mints[kind] != keys.mints}),
            "holding": sorted({node.name for node in nodes if set(node.have[kind]) - set(keys)}),
        }
    found["pepper"]["left"] = dict(old_peppers.counts(tx, found["pepper"]["mints"]))
    found["pepper"]["drop_us"] = _drop_us(found["pepper"])
    found["master"]["left"] = _left(tx) if found["master"]["older"] else {}
    return found


def begin(tx: Tx, *, actor: str, kind: str, again: bool = False) -> dict[str, Any]:
    """Add a key that waits, unless a rotation is under way already; its number, and whether it is new."""
    chosen = options.current()
    keys = secrets.load(_checked(kind), chosen)
    if max(keys) > keys.mints or (min(keys) < keys.mints and not again):
        return {"n": max(keys), "new": False}
    n = secrets.add(kind, chosen)
    audit.record(tx, actor=actor, verb="keys.add", object=kind, after=n)
    return {"n": n, "new": True}


def activate(tx: Tx, *, actor: str, kind: str) -> dict[str, Any]:
    """Let the newest key mint and seal from now on; refused with the code BEHIND while a living node lacks it."""
    chosen, now_us = options.current(), clock.now_us()
    keys = secrets.load(_checked(kind), chosen)
    n = max(keys)
    lacking = {node.name for node in keyfiles.nodes(tx, now_us=now_us) if n not in node.have[kind]}
    if lacking:
        raise _behind(kind, lacking, f"lacks key {n}")
    secrets.activate(kind, chosen)
    since = settings.get(tx, SINCE, {})
    if str(n) not in since.get(kind, {}):
        settings.keep(tx, SINCE, since | {kind: since.get(kind, {}) | {str(n): now_us}})
        audit.record(tx, actor=actor, verb="keys.activate", object=kind, after=n)
    noted = settings.get(tx, settings.KEY_MARKS, {})
    marks = keymarks.fingerprints(chosen)
    settings.keep(tx, settings.KEY_MARKS, {each: noted.get(each, {}) | found for each, found in marks.items()})
    keyfiles.sign_anew()
    return {"n": n, "serving": bool(keyfiles.nodes(tx, now_us=now_us))}


def rewrap(tx: Tx, *, actor: str, place: str, after: str | int | None = None) -> dict[str, Any]:
    """Move one batch of a place under the master key of now; where the next begins, and the counts."""
    del actor  # one event for the rotation, none a batch
    keyfiles.sign_anew()
    step = PLACES[place](tx, secrets.master_keys(options.current()), after, True)
    return {"last": step.last, "seen": step.seen, "moved": step.moved, "lost": step.lost}


def rehash(tx: Tx, *, actor: str, after: str | None = None) -> dict[str, Any]:
    """Move one batch of what can be digested again without its text: mailboxes that had trial credit."""
    del actor
    last, moved = old_peppers.move_trials(tx, after)
    return {"last": last, "moved": moved}


def drop(tx: Tx, *, actor: str, kind: str) -> dict[str, Any]:
    """Destroy the keys before the one that mints; CommandError while anything needs them."""
    chosen, now_us = options.current(), clock.now_us()
    keys = secrets.load(_checked(kind), chosen)
    older = [n for n in keys if n < keys.mints]
    if not older:
        return {"dropped": []}
    nodes = keyfiles.nodes(tx, now_us=now_us)
    if late := {node.name for node in nodes if node.mints[kind] != keys.mints}:
        raise _behind(kind, late, f"does not work with key {keys.mints} yet")
    began_us = settings.get(tx, SINCE, {}).get(kind, {}).get(str(keys.mints), now_us)
    if kind == "master":
        if nodes and now_us < began_us + SETTLE_US:
            raise CommandError("Somebody may still seal under the old key. Try again in some seconds.", code=BEHIND)
        if left := {place: n for place, n in _left(tx).items() if n}:
            said = ", ".join(f"{n:,} {place}" for place, n in left.items())
            raise CommandError(f"The old master key is still needed by {said}. Run farebox keys rewrap first.")
    elif needing := sum(old_peppers.counts(tx, keys.mints).values()):
        raise CommandError(f"The older peppers are still needed by {needing:,} keys, tokens and recovery codes.")
    audit.record(tx, actor=actor, verb="keys.drop", object=kind, before=older, after=keys.mints)
    secrets.drop_older(kind, chosen)
    keyfiles.sign_anew()
    return {"dropped": older}


def end_old_peppers(tx: Tx, *, actor: str, early: bool = False) -> dict[str, int]:
    """Switch off, by mail, what needs an older pepper, after 90 days or `early`; how many of each."""
    now_us = clock.now_us()
    keys = secrets.peppers(options.current())
    began_us = settings.get(tx, SINCE, {}).get("pepper", {}).get(str(keys.mints), now_us)
    if min(keys) == keys.mints:
        return {}
    if now_us < began_us + KEPT_DAYS * _DAY_US and not early:
        raise CommandError(
            f"Older peppers verify for {KEPT_DAYS} days, so that keys move to the new one as they are used. With "
            "--early what has not moved is switched off now."
        )
    return owners.end(tx, keys.mints, now_us=now_us, actor=actor)


def _left(tx: Tx) -> dict[str, int]:
    """How much is still sealed or signed under an older master key, by place."""
    master, found = secrets.master_keys(options.current()), {}
    for place, walk in PLACES.items():
        step = walk(tx, master, None, False)
        found[place] = step.left
        while step.last is not None:
            step = walk(tx, master, step.last, False)
            found[place] += step.left
    return found


def _drop_us(pepper: dict[str, Any]) -> int | None:
    if not pepper["older"] or pepper["since_us"] is None:
        return None
    return int(pepper["since_us"]) + KEPT_DAYS * _DAY_US


def _checked(kind: str) -> str:
    if kind not in secrets.KINDS:
        raise CommandError("Keys are pepper or master.")
    return kind


def _behind(kind: str, names: set[str], what: str) -> CommandError:
    path = secrets.path_of(kind, options.current())
    return CommandError(
        f"A process on {', '.join(sorted(names))} {what}. If that machine has a {_WORDS[kind]} file of its own, copy "
        f"{path} there, then run this again.",
        code=BEHIND,
    )
