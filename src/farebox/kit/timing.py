"""Whether the time is sure: what takes or deletes by time waits until something but this clock says so (promises 4.7).

Time itself advances and never goes back (`clock`); this judges it. A *witness* says what time it is: the kernel under
NTP, a PostgreSQL on another machine, another machine's node, the `Date` of an upstream's answer over TLS, a person
who has confirmed the time, or, where none of these is there, the machine's own count of seconds since it was started.
One that is at most an hour behind is enough. decisions/0032 has the rule in plain words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from . import clock, db, epochs, settings, sql
from .db import Tx
from .machine import Machine

HOUR_US: Final = 3_600_000_000
LOOK_US: Final = 10_000_000
DATE_US_MAX: Final = 600_000_000  # so old may the `Date` of an answer be
CONFIRMED: Final = "clock_confirmed"
JUMP: Final = "clock_jump"  # a reset that has begun and not ended: from when to when the clock had run ahead
SURE, UNPROVEN, AHEAD = "sure", "unproven", "ahead"


class Witness(NamedTuple):
    """Who says that it is `at_us` now: `kernel`, `database`, `node`, `upstream`, `person` or `counter`."""

    kind: str
    at_us: int


class Judgement(NamedTuple):
    """`state`: `sure`; `unproven`, nobody says anything; or `ahead` of all who do. `ahead_us` is by how much.

    `unproven` is ahead of the last time that was sure.
    """

    state: str
    ahead_us: int
    heard: tuple[Witness, ...] = ()


@dataclass(slots=True)
class Stored:
    """What the store knows: the last sure time, and the counter's of this boot beside it; a person's word; neighbours.

    `nodes` are (epoch, heartbeats, its machine's clock then) of living processes on other machines. `database_us` is
    the time of a database on another machine.
    """

    last_us: int = 0
    anchor: tuple[int, int] | None = None
    confirmed: dict[str, Any] = field(default_factory=dict)
    nodes: list[tuple[str, int, int]] = field(default_factory=list)
    database_us: int | None = None


class Store(Protocol):
    """As much of the store port as this needs."""

    async def write(self, fn: Any, *args: Any, patient: bool = False) -> Any:
        """`fn(tx, *args)` in the next commit."""

    async def read(self, fn: Any, *args: Any) -> Any:
        """`fn(tx, *args)` for reading."""


def judge(now_us: int, heard: Sequence[Witness], *, last_us: int) -> Judgement:
    """The rule: ahead of every witness by more than an hour is `ahead`; without one the last sure time decides.

    The counter speaks only where nobody else does: it carries on what was believed before. `last_us` 0 is a new shop.
    """
    told = [each for each in heard if each.kind != "counter"] or list(heard)
    if told:
        ahead_us = max(0, min(now_us - each.at_us for each in told))
        return Judgement(SURE if ahead_us <= HOUR_US else AHEAD, ahead_us, tuple(heard))
    gap_us = max(0, now_us - last_us) if last_us else 0
    return Judgement(SURE if gap_us <= HOUR_US else UNPROVEN, gap_us)


def witnesses(stored: Stored, machine: Machine, dates: Iterable[tuple[int, int]] = ()) -> list[Witness]:
    """All who say what time it is, as of now; `dates` are (what an upstream said, the counter when it did)."""
    heard = []
    if machine.synchronised():
        heard.append(Witness("kernel", machine.wall_us()))
    if stored.database_us is not None:
        heard.append(Witness("database", stored.database_us))
    heard += [Witness("node", wall_us) for _epoch, _beats, wall_us in stored.nodes]
    counter_us = machine.counter_us()
    if counter_us is None:
        return heard
    for date_us, then_us in dates:
        if 0 <= counter_us - then_us <= DATE_US_MAX:
            heard.append(Witness("upstream", date_us + counter_us - then_us))
    said = stored.confirmed
    if said and said["boot"] and said["boot"] == machine.boot():
        heard.append(Witness("person", int(said["at_us"]) + counter_us - int(said["counter_us"])))
    if stored.anchor is not None:
        heard.append(Witness("counter", stored.anchor[0] + counter_us - stored.anchor[1]))
    return heard


def stored(tx: Tx, machine: Machine, own: str = "") -> Stored:
    """What the store knows of the time, for the process of the epoch `own`."""
    found = Stored(confirmed=settings.get(tx, CONFIRMED, {}))
    row = tx.one(sql.SURE_TIME)
    found.last_us = int(row[0] or 0) if row else 0
    if not found.last_us:  # of a version that judged no time: what its processes wrote down was believed
        times = tx.one(sql.NEWEST_TIMES_OF_OTHERS, (own,)) or ()
        found.last_us = max((int(each) for each in times if each is not None), default=0)
    found.last_us = max(found.last_us, int(found.confirmed.get("at_us", 0)))
    if boot := machine.boot():
        anchor = tx.one(sql.ANCHOR, (boot, machine.host()))
        found.anchor = None if anchor is None else (int(anchor[0]), int(anchor[1]))
    host = machine.host()
    rows = tx.all(sql.LIVING_CLOCKS)
    found.nodes = [
        (str(epoch), int(beats), int(wall_us))
        for epoch, node, beats, wall_us in rows
        if wall_us and epoch != own and node != host
    ]
    found.database_us = db.time_elsewhere_us(tx)
    return found


def inspect(tx: Tx, now_us: int, machine: Machine | None = None) -> Judgement:
    """The judgement of a process that does not serve: of neighbours it knows no news, and it hears no upstream."""
    machine = machine or Machine()
    known = stored(tx, machine)
    known.nodes = []
    return judge(now_us, witnesses(known, machine), last_us=known.last_us)


def confirm(tx: Tx, now_us: int, machine: Machine | None = None) -> None:
    """A person says that `now_us` is right; it counts from here on by the machine's counter."""
    machine = machine or Machine()
    counter_us = machine.counter_us()
    boot = machine.boot() if counter_us is not None else ""
    settings.keep(tx, CONFIRMED, {"at_us": now_us, "boot": boot, "counter_us": counter_us or 0})


def living(tx: Tx) -> list[tuple[str, Judgement]]:
    """(node, how it judges the time) of each process that serves, the worst first."""
    found = [(str(node), _read(str(text))) for node, text in tx.all(sql.LIVING_JUDGEMENTS) if text]
    return sorted(found, key=lambda each: ((AHEAD, UNPROVEN, SURE).index(each[1].state), each[0]))


class Keeper:
    """Judges the time of one serving process, again and again; `judgement` is the newest."""

    def __init__(self, machine: Machine | None = None, dates: Mapping[str, tuple[int, int]] | None = None) -> None:
        self.machine = machine or Machine()
        self.judgement = Judgement(UNPROVEN, 0)
        self._dates = {} if dates is None else dates
        self._anchor: tuple[int, int] | None = None
        self._looked: tuple[int, int] | None = None  # the time and the counter at the last look
        self._beats: dict[str, int] = {}

    def sure(self, now_us: int) -> bool:
        """Whether what takes or deletes by time may do so at `now_us`."""
        return self.judgement.state == SURE and not self.leapt(now_us)

    def leapt(self, now_us: int) -> bool:
        """Whether time has gone on by an hour more than the counter since the last look."""
        if self._looked is None:
            return True
        counter_us = self.machine.counter_us()
        return now_us - self._looked[0] - ((counter_us or 0) - self._looked[1]) > HOUR_US

    def due(self, now_us: int) -> bool:
        """Whether it is time to look again."""
        counter_us = self.machine.counter_us()
        if self._looked is None or counter_us is None or self.leapt(now_us):
            return True
        return counter_us - self._looked[1] >= LOOK_US

    async def look(self, store: Store, epoch: str, time_of: clock.Clock) -> Judgement:
        """Hear all witnesses, judge, and note it in the epoch's row."""
        known: Stored = await store.read(stored, self.machine, epoch)
        known.nodes = self._fresh(known.nodes)
        known.anchor = self._anchor or known.anchor
        now_us, counter_us = time_of.now_us(), self.machine.counter_us() or 0
        found = judge(now_us, witnesses(known, self.machine, self._dates.values()), last_us=known.last_us)
        if found.state == SURE:
            self._anchor = (now_us, counter_us)
        self.judgement, self._looked = found, (now_us, counter_us)
        note = (self.machine.wall_us(), _encode(found).decode())
        await store.write(
            _note, epoch, *note, (now_us, counter_us) if found.state == SURE else None, self.machine.boot()
        )
        return found

    def _fresh(self, nodes: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
        """Those whose heart has beaten since the last look: what the others say is of then."""
        before, self._beats = self._beats, {epoch: beats for epoch, beats, _wall in nodes}
        return [each for each in nodes if before.get(each[0], each[1]) != each[1]]


def _note(tx: Tx, epoch: str, wall_us: int, text: str, sure: tuple[int, int] | None, boot: str) -> None:
    tx.execute(sql.NOTE_CLOCK, (wall_us, text, epoch))
    if sure is not None:
        tx.execute(sql.NOTE_SURE, (*sure, boot, epoch))


_encode = msgspec.json.Encoder().encode


def _read(text: str) -> Judgement:
    state, ahead_us, heard = msgspec.json.decode(text)
    return Judgement(str(state), int(ahead_us), tuple(Witness(str(kind), int(at_us)) for kind, at_us in heard))


def mark_us(tx: Tx) -> int:
    """The newest time that any process wrote down: no clock begins before it."""
    return epochs.newest_us(tx)
