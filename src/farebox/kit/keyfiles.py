"""Key files that change while processes run: what a process reads again, and what each says that it has.

A process that serves looks at its two files once a second (`KeyFiles`), and writes into its epoch which keys they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from django.conf import settings as django

from . import db, options, secrets
from .db import Tx
from .models import Epoch
from .secrets import Keys

LIVES_US = 30_000_000
SIGNING = "django"
# Whether this process serves: on SQLite no other can, so that a command that works alone has no nodes to wait for.
serving = False


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """A living process, and the keys of its files: numbers by kind, and which one mints."""

    epoch: str
    name: str
    have: Mapping[str, list[int]]
    mints: Mapping[str, int]


class KeyFiles:
    """The key files of this process as they were read last."""

    def __init__(self, chosen: options.Options) -> None:
        self._chosen = chosen
        self._seen = self._looks()
        self.peppers = secrets.peppers(chosen)
        self.master = secrets.master_keys(chosen)

    def changed(self) -> bool:
        """Whether a file is another than before; then both were read. CommandError for one that can't be."""
        looks = self._looks()
        if looks == self._seen:
            return False
        peppers, master = secrets.peppers(self._chosen), secrets.master_keys(self._chosen)
        self._seen, self.peppers, self.master = looks, peppers, master
        sign_anew()
        return True

    def said(self) -> str:
        """What the epoch says of them."""
        return said(self.peppers, self.master)

    def _looks(self) -> tuple[tuple[int, int, int], ...]:
        found = [secrets.path_of(kind, self._chosen).stat() for kind in secrets.KINDS]
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


def sign_anew() -> None:
    """Let Django sign under the master key of now, and read what was signed under the others."""
    chosen = options.current()
    django.SECRET_KEY = secrets.derived_text(chosen, SIGNING)
    django.SECRET_KEY_FALLBACKS = secrets.older_derived_texts(chosen, SIGNING)


def said(peppers: Keys, master: Keys) -> str:
    """Numbers and the one that mints, by kind, as JSON."""
    files = (("pepper", peppers), ("master", master))
    facts = {kind: {"have": sorted(keys), "mints": keys.mints} for kind, keys in files}
    return msgspec.json.encode(facts).decode()


def note(tx: Tx, epoch: str, text: str) -> None:
    """Write down what `said` gave."""
    del tx  # the ORM writes in the same transaction
    Epoch.objects.filter(id=epoch).update(keys=text)


def nodes(tx: Tx, *, now_us: int) -> list[NodeKeys]:
    """The processes that live, the oldest first."""
    del tx  # the ORM reads in the same transaction
    if db.on_sqlite() and not serving:
        return []
    rows = Epoch.objects.filter(ended_us=None, seen_us__gt=now_us - LIVES_US).order_by("id")
    return [_node(*row) for row in rows.values_list("id", "node", "keys")]


def _node(epoch: str, name: str, text: str) -> NodeKeys:
    facts: dict[str, Any] = msgspec.json.decode(text) if text else {}
    have = {kind: list(facts.get(kind, {}).get("have", [])) for kind in secrets.KINDS}
    return NodeKeys(epoch, name, have, {kind: int(facts.get(kind, {}).get("mints", 0)) for kind in secrets.KINDS})
