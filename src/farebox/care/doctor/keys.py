"""The key files: there, whole, and those that the store's keys and secrets were made with."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from farebox.kit import secrets
from farebox.kit.errors import CommandError
from farebox.look import refusals

from .finding import Check, Finding, Look, ok, some, span, warning, wrong

_RESTORE = "Restore the file from its backup; a new one would not fit."


def files(look: Look) -> Iterator[Finding]:
    """Both key files can be read, and hold keys of the right size."""
    for name, load in (("pepper", secrets.peppers), ("master key", secrets.master_keys)):
        try:
            found = load(look.chosen)
        except CommandError as refusal:
            yield wrong(name, refusals.of(refusal, "cli"), _RESTORE)
        else:
            yield ok(name, f"{len(found)} of {secrets.KEY_BYTES} bytes, the newest is number {max(found)}")


def peppers_in_use(look: Look) -> Iterator[Finding]:
    """Every key that works has its pepper in the file."""
    from django.db.models import Count

    from farebox.accounts.models import ApiKey
    from farebox.care import keymarks
    from farebox.kit import db, settings

    try:
        have: Mapping[int, bytes] = secrets.peppers(look.chosen)
        noted = db.read(settings.get, settings.KEY_MARKS, {})
        for kind, n in keymarks.others(noted, keymarks.fingerprints(look.chosen)):
            seen = f"key {n} of the {kind} file is not the one that this store was used with"
            yield wrong(
                "keys", seen, "Copy the key files from another node, or restore them: keys are refused until then."
            )
            return
    except CommandError:
        have = {}
    used = dict(ApiKey.objects.filter(state="active").values_list("pepper_n").annotate(Count("id")).order_by())
    lost = {n: many for n, many in used.items() if n not in have}
    if lost:
        seen = f"{sum(lost.values()):,} keys need pepper {some([str(n) for n in sorted(lost)])}, which the file lacks"
        yield wrong("keys", seen, "Restore the pepper file from its backup: until then these keys are refused.")
    else:
        yield ok("keys", f"{sum(used.values()):,} active keys, each with its pepper")


def sealed(look: Look) -> Iterator[Finding]:
    """Every secret of an upstream opens with a master key that is there."""
    from farebox.upstreams import board
    from farebox.upstreams.models import Channel

    try:
        master: Mapping[int, bytes] = secrets.master_keys(look.chosen)
    except CommandError:
        master = {}
    unseal = board.unsealer(master)
    shut: dict[str, list[str]] = {"active": [], "disabled": []}
    opened = 0
    for channel in Channel.objects.exclude(secret="").order_by("name"):
        try:
            unseal(channel.secret, channel.id)
            opened += 1
        except CommandError:
            shut.setdefault(channel.state, []).append(channel.name)
    todo = "Restore the master key file, or enter the secret again: farebox channel secret NAME."
    if shut["active"]:
        yield wrong("sealed secrets", f"can't be opened: {some(shut['active'])}", todo)
    elif shut["disabled"]:
        yield warning("sealed secrets", f"of disabled channels, can't be opened: {some(shut['disabled'])}", todo)
    else:
        yield ok("sealed secrets", f"{opened} open with the master key")


def copied(look: Look) -> Iterator[Finding]:
    """Somebody has shown the doctor a copy of the key files that holds all that they hold (security 4)."""
    from farebox.care import keymarks
    from farebox.kit import db, settings

    noted = db.read(lambda tx: settings.get(tx, settings.KEYS_COPIED))
    try:
        have = keymarks.fingerprints(look.chosen)
    except CommandError:
        return  # said already
    todo = "Copy both key files to a safe place, not beside the backups, then: farebox doctor --keys FOLDER."
    if noted is None:
        yield warning("copy of the keys", "none was ever looked at: if the files are lost, every key is void", todo)
    elif any(keymarks.lacking(have, noted["marks"])):
        yield warning("copy of the keys", "older than the newest key", todo)
    else:
        ago_s = max(0, time.time_ns() // 1_000_000_000 - noted["at_us"] // 1_000_000)
        yield ok("copy of the keys", f"looked at {span(ago_s)} ago, with every key")


def rotation(look: Look) -> Iterator[Finding]:
    """Nothing is half way between two keys: everything sealed under the newest, old peppers gone after 90 days."""
    del look
    from farebox.care import rotation as room
    from farebox.kit import db

    try:
        found = db.read(room.state)
    except CommandError:
        return  # said already
    told = False
    for kind, name in (("pepper", "pepper"), ("master", "master key")):
        one = found[kind]
        if one["waiting"] or one["behind"]:
            where = f" on {some(one['behind'])}" if one["behind"] else ""
            todo = f"Copy the {name} file to every node, then run farebox keys rotate-{kind} again: it continues."
            yield warning("rotation", f"the newest {name} does not work everywhere yet{where}", todo)
            told = True
        elif one["holding"]:
            yield warning(
                "rotation",
                f"{some(one['holding'])} still has a {name} that was destroyed",
                f"Copy the {name} file there once more.",
            )
            told = True
    if found["master"]["older"]:
        left = sum(found["master"]["left"].values())
        yield warning(
            "rotation",
            f"{left:,} secrets left under an old master key",
            "Run farebox keys rotate-master: it continues.",
        )
        told = True
    drop_us = found["pepper"]["drop_us"]
    if drop_us is not None and drop_us <= time.time_ns() // 1000:
        left = sum(found["pepper"]["left"].values())
        seen = f"older peppers are past their 90 days, {left:,} keys, tokens and recovery codes still need one"
        yield warning("rotation", seen, "Run farebox keys drop-pepper.")
        told = True
    if not told:
        yield ok(
            "rotation", "none is under way" if drop_us is None else "older peppers verify until their 90 days are over"
        )


FILES: tuple[tuple[str, Check], ...] = (("key files", files),)
CHECKS: tuple[tuple[str, Check], ...] = (
    ("keys", peppers_in_use),
    ("copy of the keys", copied),
    ("rotation", rotation),
    ("sealed secrets", sealed),
)
