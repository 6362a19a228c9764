"""A PostgreSQL store: commits that last, a standby that has them, order by bytes, room for connections, TLS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from farebox.kit import db

from . import sql
from .finding import Check, Finding, Look, ok, some, warning, wrong

VERSION_MIN = 140_000
# What one serving process opens: a writer, readers, the poll, the admin socket, what runs now and then.
CONNECTIONS_PER_NODE = 8
_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1"})
_LASTING = frozenset({"on", "remote_apply"})


def version(look: Look) -> Iterator[Finding]:
    """A version that Farebox is tested with."""
    del look
    seen = _setting("server_version")
    if int(_setting("server_version_num")) < VERSION_MIN:
        yield wrong("PostgreSQL", seen, f"Upgrade it to {VERSION_MIN // 10_000} or newer.")
    else:
        yield ok("PostgreSQL", seen)


def durability(look: Look) -> Iterator[Finding]:
    """A commit is on the disk when it returns, and survives a loss of power."""
    del look
    names = ("synchronous_commit", "fsync", "full_page_writes")
    found = {name: _setting(name) for name in names}
    seen = ", ".join(f"{name} {value}" for name, value in found.items())
    bad = [name for name in names if found[name] not in (_LASTING if name == "synchronous_commit" else {"on"})]
    if bad:
        todo = f"Set {' and '.join(bad)} to on, for the server and for this database and role."
        yield wrong("durability", seen, todo)
    else:
        yield ok("durability", seen)


def standby(look: Look) -> Iterator[Finding]:
    """A synchronous standby, so that a fail-over loses no commit (promises: F39)."""
    del look
    named = _setting("synchronous_standby_names")
    rows = db.read(lambda tx: tx.all(sql.STANDBYS))
    streaming = [name for name, state, sync in rows if state == "streaming" and sync in {"sync", "quorum"}]
    if not named:
        todo = "Name one in synchronous_standby_names: without it a fail-over may lose the last commits."
        yield warning("standby", "no synchronous standby is configured", todo)
    elif not streaming:
        seen = f"synchronous_standby_names is {named}, and no such standby streams (or this role may not see it)"
        todo = "Start the standby: commits wait for it. Grant pg_read_all_stats to see it."
        yield warning("standby", seen, todo)
    else:
        yield ok("standby", f"{some(streaming)} streams")


def order(look: Look) -> Iterator[Finding]:
    """Texts sort by their bytes, as our ids need."""
    del look
    collation = str((db.read(lambda tx: tx.one(sql.COLLATION)) or ("?",))[0])
    if db.read(db.in_byte_order):
        yield ok("order of texts", f"by bytes (LC_COLLATE {collation})")
    else:
        todo = "Create the database again with LC_COLLATE 'C' and restore the books into it."
        yield wrong("order of texts", f"by a language (LC_COLLATE {collation})", todo)


def connections(look: Look) -> Iterator[Finding]:
    """Enough connections for all serving processes and a few commands."""
    del look
    from farebox.kit.models import Epoch

    most = int(_setting("max_connections")) - int(_setting("superuser_reserved_connections"))
    used = int((db.read(lambda tx: tx.one(sql.CONNECTIONS)) or (0,))[0])
    nodes = Epoch.objects.filter(ended_us=None).count()
    need = (nodes + 1) * CONNECTIONS_PER_NODE
    seen = f"{most} for clients, {used} in use, {nodes} serving processes"
    if most < need or most - used < 3:
        yield wrong("connections", seen, f"Raise max_connections: {need} are needed for them and one more.")
    else:
        yield ok("connections", seen)


def encryption(look: Look) -> Iterator[Finding]:
    """TLS to a database on another machine, with its certificate checked."""
    parts = urlsplit(look.chosen.database)
    query = dict(parse_qsl(parts.query))
    host = parts.hostname or query.get("host", "")
    if host in _LOCAL or host.startswith("/"):
        yield ok("link to the database", "local")
        return
    encrypted = bool((db.read(lambda tx: tx.one(sql.ENCRYPTED)) or (False,))[0])
    if not encrypted:
        yield wrong("link to the database", f"to {host}, not encrypted", "Add ?sslmode=verify-full to the address.")
    elif query.get("sslmode") not in {"verify-full", "verify-ca"}:
        todo = "Add sslmode=verify-full: without it anybody in between can be the database."
        yield warning("link to the database", f"to {host}, encrypted, its certificate is not checked", todo)
    else:
        yield ok("link to the database", f"to {host}, encrypted and checked")


def _setting(name: str) -> str:
    row: Any = db.read(lambda tx: tx.one(f"SHOW {name}"))
    return str(row[0]) if row else ""


CHECKS: tuple[tuple[str, Check], ...] = (
    ("PostgreSQL", version),
    ("durability", durability),
    ("standby", standby),
    ("order of texts", order),
    ("connections", connections),
    ("link to the database", encryption),
)
