"""A backup under load, restored elsewhere: the books there are those of the backup."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from typing import Any

from farebox.care import pgtools
from farebox.kit.errors import CommandError

from . import scratch
from .kills import Client
from .scratch import Scratch
from .tried import Tell, Tried

_CLIENTS = 3
_LOAD_S = 0.3


def run(tell: Tell, shop: Scratch) -> Tried:
    """Back the scratch store up, encrypted, while it serves; restore it into another place and prove it there."""
    tried = Tried("backup under load, restored elsewhere and proved")
    on_sqlite = not shop.environment["FAREBOX_DATABASE"]
    tell("Backing the scratch store up under load, and restoring it …")
    file, key = shop.folder / "shop.backup", shop.folder / "backup.key"
    _done(shop.farebox("backup", "--make-key", str(key), "--json"))
    try:
        made = _under_load(shop, "backup", str(file), "--key-file", str(key), "--json")
    except CommandError as refusal:
        if refusal.code != pgtools.NoProgram.code:
            raise
        tried.note = refusal.message  # the machine lacks a program of PostgreSQL's; that is no fault of this one
        return tried
    where = ["--into", str(shop.folder / "restored")]
    if not on_sqlite:
        where = ["--check", "--database", shop.environment["FAREBOX_DATABASE"]]
    found = _done(
        shop.farebox("restore", str(file), *where, "--key-file", str(key), "--keys", str(shop.data / "keys"), "--json")
    )
    tried.times = 1
    tried.note = f"{len(found['compared'])} facts the same, {made['bytes']:,} bytes"
    for row in found["compared"]:
        if not row["equal"]:
            tried.failures.append(f"{row['what']} was {row['recorded']} and is {row['found']}")
    for room, findings in found["findings"].items():
        tried.failures += [f"{room}: {finding}" for finding in findings]
    if found["trial_balance_micro"] != made["manifest"]["trial_balance_micro"]:
        tried.failures.append("the restored trial balance is not that of the backup")
    if not found["clean"] and not tried.failures:
        tried.failures.append("the restored store is not clean")
    return tried


def _under_load(shop: Scratch, *words: str) -> dict[str, Any]:
    clients = [Client(shop.keys["load"], seed) for seed in range(_CLIENTS)]
    serving = shop.serve()
    try:
        for client in clients:
            client.port = serving.port
            client.start()
        time.sleep(_LOAD_S)
        return _done(shop.farebox(*words))
    finally:
        for client in clients:
            client.going = False
        for client in clients:
            client.join(scratch.CALL_S)
        serving.stop()


def _done(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON that a command printed; CommandError in its own words where it refused."""
    for words in (ran.stdout, ran.stderr):
        with contextlib.suppress(ValueError):
            found: dict[str, Any] = json.loads(words)
            if "error" in found:
                raise CommandError(str(found["error"]["message"]), code=str(found["error"]["code"]))
            return found
    raise CommandError(f"The command ended with exit code {ran.returncode}: {ran.stderr.strip()[-200:]}")
