"""What a backup says of the store that is in it, and whether a restored one is the same (promises: I30).

A JSON object: `at_us` of the snapshot; `store` (`sqlite` or `postgresql`), `program` and `engine`, their versions;
`schema`, the migrations; `installation`, its id; `trial_balance_micro` by currency and `house_micro` by ledger account;
`postings`; `rows` by table; `findings` of the ledger's proof on this snapshot, in which holds of an ended process may
stay open for `grace_us`; `keys`, the fingerprints of the key files by kind and number.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from farebox.kit import money, options
from farebox.kit.errors import CommandError

from . import keymarks

if TYPE_CHECKING:
    from farebox.kit.db import Tx

FINDINGS_MAX = 20

NOT_KEPT = frozenset({"kit_cache"})  # tables of which a backup holds no row


@dataclass(frozen=True, slots=True)
class Compared:
    """One fact of the manifest beside the same of the restored store, as people read them."""

    what: str
    recorded: str
    found: str

    @property
    def equal(self) -> bool:
        """Whether both are the same."""
        return self.recorded == self.found


def take(tx: Tx, *, at_us: int, grace_us: int) -> dict[str, Any]:
    """The manifest of the store as `tx` sees it, without `keys`: `at_us` is the time of its snapshot."""
    from django.apps import apps
    from django.db import connection

    from farebox.kit import db, settings
    from farebox.ledger import proof as ledger

    books = ledger.prove(tx, now_us=at_us, grace_us=grace_us)
    return {
        "at_us": at_us,
        "grace_us": grace_us,
        "store": "sqlite" if db.on_sqlite() else "postgresql",
        "program": version("farebox"),
        "engine": ".".join(str(part) for part in connection.get_database_version()),
        "schema": applied(),
        "installation": str(settings.get(tx, "installation_id", "")),
        "trial_balance_micro": books.trial_balance,
        "house_micro": books.own,
        "postings": books.entries,
        "rows": {
            model._meta.db_table: model._default_manager.count()
            for model in apps.get_models()
            if model._meta.db_table not in NOT_KEPT
        },
        "findings": books.findings[:FINDINGS_MAX],
    }


def applied() -> list[str]:
    """The migrations of the store in force, those of this program's apps and of newer ones."""
    from django.db import connection
    from django.db.migrations.recorder import MigrationRecorder

    return sorted(" ".join(key) for key in MigrationRecorder(connection).applied_migrations())


def fits_program(manifest: dict[str, Any]) -> None:
    """CommandError unless this program has just the schema that the backup was made of."""
    from farebox.kit import shape

    ours = {" ".join(key) for key in shape.migrations().graph.nodes}
    theirs = set(manifest["schema"])
    if ours != theirs:
        newer = "a newer" if theirs - ours else "an older"
        raise CommandError(
            f"The backup is of {newer} schema, made by Farebox {manifest['program']}; this is {version('farebox')}. "
            "Restore it with that version, then upgrade."
        )


def fits_keys(manifest: dict[str, Any], chosen: options.Options) -> None:
    """CommandError unless the key files hold every key that the store had when it was backed up."""
    have = keymarks.fingerprints(chosen)
    for kind, n in keymarks.lacking(manifest["keys"], have):
        word, path = "lacks" if n not in have[kind] else "has another", keymarks.paths(chosen)[kind]
        raise CommandError(
            f"{path} is not the {kind} file of this backup: it {word} key {n}. Restore the right one from its own "
            "backup."
        )


def compare(recorded: dict[str, Any], found: dict[str, Any]) -> list[Compared]:
    """Fact by fact, what was recorded at the backup and what a restored store holds."""
    rows = [
        Compared("installation", recorded["installation"], found["installation"]),
        Compared("schema, migrations", _schema(recorded), _schema(found)),
    ]
    for name, key in (("trial balance", "trial_balance_micro"), ("house", "house_micro")):
        rows += [
            Compared(f"{name} {of}", _amount(recorded[key].get(of)), _amount(found[key].get(of)))
            for of in sorted({*recorded[key], *found[key]})
        ]
    rows.append(Compared("postings", f"{recorded['postings']:,}", f"{found['postings']:,}"))
    rows += [
        Compared(f"rows of {table}", _count(recorded["rows"].get(table)), _count(found["rows"].get(table)))
        for table in sorted({*recorded["rows"], *found["rows"]} - NOT_KEPT)
    ]
    rows.append(Compared("findings in the ledger", _findings(recorded), _findings(found)))
    return rows


def _schema(manifest: dict[str, Any]) -> str:
    names = manifest["schema"]
    return f"{len(names)} ({hashlib.sha256(chr(10).join(names).encode()).hexdigest()[:8]})"


def _amount(amount_micro: int | None) -> str:
    return "–" if amount_micro is None else money.exact(amount_micro)


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _findings(manifest: dict[str, Any]) -> str:
    return "; ".join(manifest["findings"]) or "none"
