"""PostgreSQL's own programs, `pg_dump` and `pg_restore`: found, checked, and run without a password in sight."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from farebox.kit.errors import CommandError

from . import elsewhere

_LOOK_S = 0.1
_VERSION_S = 30


class NoProgram(CommandError):
    """No program of PostgreSQL on this machine can do it: it is missing, or too old for the server."""

    code = "no_postgresql_program"


def find(name: str, given: Path | None) -> str:
    """The program `name`: the one `given`, else the one on PATH; NoProgram with the next step without one."""
    found = shutil.which(str(given) if given is not None else name)
    if found is None:
        where = f"at {given}" if given is not None else "on PATH"
        raise NoProgram(
            f"There is no {name} {where}. Install PostgreSQL's client programs, of the server's version or newer, or "
            f"say where it is with --{name.replace('_', '-')} PATH."
        )
    return found


def major(program: str) -> int:
    """The major version of a program of PostgreSQL; CommandError if it does not say one."""
    try:
        said = subprocess.run(  # noqa: S603 - the operator names it
            [program, "--version"], capture_output=True, text=True, timeout=_VERSION_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as fault:
        raise CommandError(f"{program} can't be run: {fault}.") from None
    found = re.search(r"\(PostgreSQL\) ([0-9]+)", said)
    if found is None:
        raise CommandError(f"{program} is not a program of PostgreSQL: it calls itself {said.strip()[:80]!r}.")
    return int(found[1])


def run(
    arguments: Sequence[str], *, address: str, log: Path, tell: Callable[[], None] = lambda: None, failed: str
) -> None:
    """Run a program on the database at `address`; CommandError, `failed` and its first words, if it fails.

    `log` is a new file for what it says; `tell` is called now and then while it runs. What the address does not say
    comes from the environment (`PGPASSFILE`, `PGSSLMODE`), as it does where this process connects.
    """
    from psycopg.conninfo import make_conninfo

    found = elsewhere.address(address)
    environ = dict(os.environ)
    if "password" in found:
        environ["PGPASSWORD"] = found.pop("password")
    command = [*arguments, "--no-password", f"--dbname={make_conninfo('', **found)}"]
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - the operator names it
            command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            while process.poll() is None:
                tell()
                time.sleep(_LOOK_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
        raise CommandError(f"{failed}: {words[0][:300].removesuffix('.')}.")


def refuse_tables(address: str) -> None:
    """CommandError unless the database at `address` can be reached, has no tables and sorts text by its bytes."""
    from django.db import Error, connection

    from farebox.kit import db

    with elsewhere.store(address):
        try:
            found = connection.introspection.table_names()
            sorts = db.read(db.in_byte_order)
        except Error as fault:
            raise CommandError(f"The database can't be reached: {str(fault).splitlines()[0]}") from None
    if found:
        raise CommandError(f"The database is not empty: it has {len(found)} tables. Name an empty one.")
    if not sorts:
        raise CommandError(
            "This database sorts texts in the order of a language. Make it with: CREATE DATABASE farebox TEMPLATE "
            "template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'."
        )


@contextlib.contextmanager
def scratch_database(address: str) -> Iterator[str]:
    """A database of its own name on the server of `address`, dropped at the end."""
    import psycopg
    from psycopg import sql

    found = elsewhere.address(address)
    name = f"farebox_check_{secrets.token_hex(6)}"
    made = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    dropped = sql.SQL("DROP DATABASE {} WITH (FORCE)")
    try:
        with psycopg.connect(**found, autocommit=True) as line:  # type: ignore[arg-type]  # libpq's names
            line.execute(made.format(sql.Identifier(name)))
    except psycopg.Error as fault:
        raise CommandError(f"No scratch database can be made: {str(fault).splitlines()[0]}") from None
    try:
        yield elsewhere.joined(found | {"dbname": name})
    finally:
        with psycopg.connect(**found, autocommit=True) as line:  # type: ignore[arg-type]
            line.execute(dropped.format(sql.Identifier(name)))
