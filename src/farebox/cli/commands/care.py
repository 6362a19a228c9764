"""`farebox doctor` and `selftest`: is this installation ready for money, and does this program do what it should."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from farebox.care import ready
from farebox.cli import show
from farebox.kit import options

from .base import Command, as_json, emit, write


@click.command(
    "doctor",
    cls=Command,
    example="farebox doctor --backups /backups\nfarebox doctor --head 1204:9f2c…\nfarebox doctor --freeze\n"
    "farebox doctor --unfreeze Ada\nfarebox doctor --keys /media/safe",
)
@click.option("--probe", is_flag=True, help="Also connect to each active channel's address; nothing is sent.")
@click.option(
    "--backups",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the backups, to see how old they are.",
)
@click.option("--head", "heads", multiple=True, help="A head of the audit trail noted earlier: is it in the chain?")
@click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with a copy of the key files: is it whole? Later checks remember it.",
)
@click.option("--freeze", is_flag=True, help="Stop the spending of accounts whose balance is not that of the books.")
@click.option(
    "--unfreeze", metavar="ACCOUNT", help="Release an account that was frozen because of drift; check nothing else."
)
def doctor(
    probe: bool, backups: Path | None, heads: tuple[str, ...], keys: Path | None, freeze: bool, unfreeze: str | None
) -> None:
    """Check whether this installation is ready to take money. Only reads, unless told otherwise.

    Disk, clock, key files, the database and how it commits, the proof, the audit trail's chain, what is on sale, what
    is held. Exit 1 if anything is wrong; with only warnings exit 0. Can run beside a server.
    """
    if unfreeze is not None:
        if probe or freeze or heads or keys is not None or backups is not None:
            raise click.UsageError("--unfreeze takes no other option.")
        done = write("ledger.unfreeze", account=unfreeze)
        emit(done, lambda: print(f"{done['account']} may spend again."))
        return
    from farebox.care.doctor.examine import examine
    from farebox.care.doctor.finding import VERDICTS, Look
    from farebox.kit import chain

    if keys is not None:
        from farebox.care import keymarks

        write("keys.copied", marks=keymarks.copied(keys))
    noted = tuple(chain.parse(head) for head in heads)
    with _progress() as tell:
        look = Look(options.current(), tell=tell, backups=backups, probe=probe, heads=noted)
        found = examine(look)
    frozen = write("ledger.freeze", accounts=look.drifted)["frozen"] if freeze and look.drifted else []
    counted = Counter(one.verdict for one in found)
    counts: dict[str, int] = {verdict: counted[verdict] for verdict in VERDICTS}
    data = {
        "fit": not counts["wrong"],
        **counts,
        "frozen": frozen,
        "checks": [{"check": one.check, "verdict": one.verdict, "seen": one.seen, "todo": one.todo} for one in found],
    }
    emit(data, lambda: _show_findings(found, counts, frozen))
    if counts["wrong"]:
        click.get_current_context().exit(1)


@click.command(
    "selftest",
    cls=Command,
    example="farebox selftest\nfarebox selftest --database postgresql://shop@db/selftest",
)
@click.option("--database", metavar="ADDRESS", default="", help="Use this empty PostgreSQL database instead of SQLite.")
@click.option(
    "--recordings",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Replay the streams of this folder instead of those included (a cases.toml has the expected results).",
)
def selftest(database: str, recordings: Path | None) -> None:
    """Try this program on this machine, on a scratch store: the proof after an upgrade. Takes about a minute.

    Replays vendors' streams, races for the last money, kills the server under load, restores a backup. The shop's own
    store is not touched. Exit 1 if anything failed.
    """
    ready.django()
    from farebox.care.selftest import parts, replay

    with _progress(plain=not as_json()) as tell:
        tried = parts.run(tell, database=database, recordings=recordings or replay.RECORDINGS)
    failed = [part for part in tried if part.failures]
    data = {
        "passed": not failed,
        "parts": [
            {
                "what": part.what,
                "times": part.times,
                "seconds": round(part.seconds, 1),
                "verdict": part.verdict,
                "note": part.note,
                "failures": part.failures,
            }
            for part in tried
        ],
    }
    emit(data, lambda: _show_tried(tried))
    if failed:
        click.get_current_context().exit(1)


@contextlib.contextmanager
def _progress(*, plain: bool = False) -> Iterator[Callable[[str], None]]:
    """What says on standard error how far it is; where that is no terminal, line by line if `plain`, or nothing."""
    if sys.stderr.isatty():
        with show.console(error=True).status("") as status:
            yield status.update
    elif plain:
        yield _Lines()
    else:
        yield lambda _sentence: None


class _Lines:
    """Says each sentence on a line of its own, but of many that begin alike only the first."""

    def __init__(self) -> None:
        self._before = ""

    def __call__(self, sentence: str) -> None:
        begin = sentence.partition(" ")[0]
        if begin != self._before:
            print(sentence, file=sys.stderr, flush=True)
        self._before = begin


def _show_findings(found: list[Any], counts: dict[str, int], frozen: list[str]) -> None:
    show.table(
        ("check", "verdict", "what was seen", "what to do"),
        [(one.check, one.verdict, one.seen, one.todo) for one in found],
        empty="",
    )
    print()
    for name in frozen:
        print(f"The spending of {name} is frozen now.")
    if counts["wrong"]:
        print(f"Not fit to take money: {counts['wrong']} wrong, {counts['warning']} warnings.")
    else:
        print(f"Fit to take money: {counts['ok']} checks are well, {counts['warning']} warnings.")


def _show_tried(tried: list[Any]) -> None:
    show.table(
        ("what was tried", "times>", "seconds>", "verdict", "seen"),
        [(part.what, part.times, f"{part.seconds:.1f}", part.verdict, part.note) for part in tried],
        empty="",
    )
    print()
    for part in tried:
        for sentence in part.failures:
            print(f"{part.what}: {sentence}")
    counts = Counter(part.verdict for part in tried)
    if counts["failed"]:
        print(f"{counts['failed']} of {len(tried)} parts failed: do not take money with this program.")
    else:
        print(f"{counts['ok']} of {len(tried)} parts passed, {counts['not tried']} could not be tried.")


COMMANDS = (doctor, selftest)
