"""One seed: two nodes at most on one store, customers, upstreams, operators, and everything that goes wrong."""

from __future__ import annotations

import contextlib
import contextvars
import json
import sys
import zlib
from collections import Counter
from random import Random
from typing import Any

import structlog

from farebox.kit import clock, failpoints, ids, options
from farebox.kit.errors import StoreUnavailable
from farebox.kit.fetch import Outgoing
from farebox.ledger.holds import HoldEnded

from . import checks, faults, upstream
from .client import Door, Sent
from .clocks import SimClock, SimIds, Wall
from .hostile import Hustler
from .life import Life, Machine
from .loop import EPOCH, Killed, SimLoop
from .plan import Call, Fault, Plan
from .store import Weather, trouble
from .town import Town
from .upstream import Produced

# Logged as errors by the code under test, and never to be seen: mistakes of ours.
_BUGS = frozenset({"serve.broken", "app.broken", "journal.stuck", "void.failed", "serve.job", "probe.broken"})


class World:
    """Everything of one seed. `findings` is what must not be; `trace` what happened, newest last."""

    def __init__(self, plan: Plan, town: Town) -> None:
        self.plan = plan
        self.town = town
        self.loop = SimLoop(Random(f"order {plan.seed}"))
        self.wall = Wall()
        self.ids = SimIds(Random(f"ids {plan.seed}"))
        self.weather = Weather()
        self.options = options.Options({**vars(options.current()), **plan.options})
        self.machines = [Machine(self, node) for node in range(plan.nodes)]
        self.epochs: dict[str, Life] = {}
        self.by_id: dict[str, Sent] = {}
        self.sents: list[Sent] = []
        self.produced: dict[str, list[Produced]] = {}
        self.counts: Counter[str] = Counter()
        self.crashed: Counter[str] = Counter()
        self.findings: list[str] = []
        self.trace: list[str] = []
        self.kill_points: dict[tuple[int, str], list[int]] = {}
        self.aimed: dict[int, Fault] = {}  # pauses that wait for the next beat of a node
        self.on_disk: set[str] = set()
        self.published: list[tuple[float, int]] = [(0.0, 0)]
        self.granted = dict(town.granted)
        self.by_hand: Counter[str] = Counter()  # what people gave back, by call
        self.ended_keys: dict[int, float] = {}
        self.down_until_s: dict[str, float] = {}  # upstreams that fail at everything, by host
        self.open_plans = 0
        self.probes = 0
        self.quiet_s = 0.0
        self.stormy = False  # the store failed or was slow
        self.troubled = False  # a node was killed, paused or restarted, or the store failed
        self.expired = 0
        self.terminal: dict[str, tuple[str, int]] = {}
        self.hustlers: list[Hustler] = []
        self.faulted: dict[tuple[Life, str], set[bool]] = {}  # by life and account: whether channels failed others too
        self._world_context = contextvars.Context()

    def context(self) -> contextvars.Context:
        return self._world_context.copy()

    def wall_us(self) -> int:
        """The true time of this world."""
        return clock.SYSTEM.now_us()

    def note(self, text: str) -> None:
        """One line of the trace."""
        self.trace.append(f"{self.loop.now - 1000:8.3f} {text}")

    def find(self, text: str) -> None:
        """Something that must not be."""
        self.findings.append(text)
        self.note(f"FINDING {text}")

    def give_by_hand(self, call: str, account: str, amount_micro: int) -> None:
        """People have given back a charge, or a part of it."""
        self.by_hand[call] += amount_micro
        self.granted[account] += amount_micro
        self.note(f"{call[-6:]} {amount_micro} given back by hand")

    def faults_of(self, sent: Sent, account: str) -> frozenset[bool]:
        """Whether the channel of a call that broke off may have been found to fail others too."""
        return frozenset(self.faulted.get((sent.life, account), ())) if sent.life is not None else frozenset()

    def fired(self, kind: str) -> None:
        """A fault of the menu has bitten."""
        self.counts[kind] += 1
        if not kind.startswith(("client", "upstream")):
            self.quiet_s = max(self.quiet_s, self.loop.now)
            if kind not in faults.OPERATORS and not kind.startswith("clock"):
                self.troubled = True
            if kind in faults.STORE:
                self.stormy = True

    # how it runs

    def enter(self) -> None:
        """Put this world's clock, ids, log and failpoints in force."""
        clock.time = self.wall
        clock.SYSTEM = SimClock(self.loop, self.wall)
        ids.RANDOM = self.ids
        failpoints.arm(self._passed)
        structlog.configure(
            processors=[self._logged], wrapper_class=structlog.make_filtering_bound_logger(30),
            cache_logger_on_first_use=False,
        )  # fmt: skip

    def leave_it(self) -> None:
        """Out of force; what is left of the tasks is dropped without a word."""
        failpoints.arm(None)
        self.loop.over = True
        for task in self.loop.kept:
            task._log_destroy_pending = False
            if not task.done():
                with contextlib.suppress(Killed, RuntimeError):
                    task.get_coro().close()
        self.loop.kept.clear()

    def _logged(self, logger: Any, name: str, event: Any) -> Any:
        del logger, name
        what, life = event.get("event", ""), EPOCH.get()
        if what == "serve.expired":
            self.expired += int(event["holds"])
            checks.expiry(self, event["epoch"])
        elif what == "settle.late":
            checks.late_settlement(self, event["call"])
        elif what == "serve.lease_lost" and life is not None and not life.paused and not self.stormy:
            self.find(f"{life.name} has lost its lease, and nothing had happened to it")
        bug = event.get("exc_info")
        if what != "serve.job" or bug:
            self.note(
                f"{life.name if life is not None else '-'} {what} {event.get('call') or event.get('epoch') or ''}"
            )
        if what == "settle.failed" and not isinstance(sys.exc_info()[1], StoreUnavailable):
            self.find(f"settle.failed: {sys.exc_info()[1]!r}")
        if isinstance(bug, HoldEnded):  # a node that was paused so long that its holds have expired (R24)
            checks.late_settlement(self, str(bug))
        elif what in _BUGS and not self.loop.over and (what != "serve.job" or bug):
            self.find(f"{what}: {event.get('error', '')} {bug!r}")
        raise structlog.DropEvent

    def start(self) -> None:
        """Start the nodes, and let the plan come."""
        for node in range(self.plan.nodes):
            self.begin_life(node)
        for call in self.plan.calls:
            self.open_plans += 1
            self._at(call.at_s, self._call, call)
        for fault in self.plan.faults:
            self.open_plans += 1
            self._at(fault.at_s, self._fault, fault)
        for number, (key, at_s) in enumerate(self.plan.hustlers):
            rng = Random(f"hustler {self.plan.seed} {number}")
            self.hustlers.append(Hustler(self, key, rng.randint(12, 24), rng, 1000 * (number + 1)))
            self.hustlers[-1].begin(at_s)

    def _at(self, at_s: float, step: Any, *args: Any) -> None:
        self.loop.call_at(1000 + at_s, step, *args, context=self.context())

    # lives

    def begin_life(self, node: int) -> None:
        machine = self.machines[node]
        machine.lives += 1
        life = machine.life = Life(self, node, machine.lives)
        self.note(f"{life.name} starts")
        life.spawn(life.live())

    def end_life(self, life: Life, *, again_s: float) -> None:
        """The process has ended by itself; it is started again."""
        self.note(f"{life.name} has ended")
        self._bury(life, again_s)

    def kill(self, life: Life, why: str) -> None:
        """End a process between two steps of it: nothing of it runs any more."""
        if life in self.loop.dead:
            return
        self.note(f"{life.name} killed: {why}")
        self.fired("kill at a time" if why == "time" else "kill at a point")
        self._bury(life, Random(f"again {self.plan.seed} {life.name}").choice((0.3, 2.0, 15.0)))

    def stop_at_once(self, life: Life) -> None:
        """An operator stops it, and starts it again."""
        self.note(f"{life.name} is stopped")
        self.troubled = True
        self._bury(life, 0.5)

    def _bury(self, life: Life, again_s: float) -> None:
        life.up = False
        life.gone_s = self.loop.now
        self.loop.dead.add(life)
        self.loop.paused.pop(life, None)
        self.machines[life.node].disk.crash(life.name)
        for door in list(life.doors):
            sent = door.sent
            if not (sent.ended or sent.gone or sent.lost):
                sent.lost = True
                self.broken(sent)
        life.doors.clear()
        for sent in list(life.waiting):
            sent.lost = True
            self.broken(sent)
        life.waiting.clear()
        self.loop.call_later(again_s, self.begin_life, life.node, context=self.context())

    def _passed(self, name: str) -> None:
        """A failpoint: here a process may be killed, or the disk be full."""
        life = EPOCH.get()
        if life is None:
            return
        if life in self.loop.dead:
            raise Killed
        count = self.kill_points.get((life.node, name))
        if count is not None:
            count[0] -= 1
            if count[0] <= 0:
                del self.kill_points[life.node, name]
                self.crashed[name] += 1
                self.kill(life, name)
                raise Killed
        if name == "tx.statement" and life.writing and self.weather.full_until_s > self.loop.now:
            self.fired("disk full")
            raise trouble("database or disk is full")

    # customers

    def _call(self, call: Call) -> None:
        self.open_plans -= 1
        once = f"once-{call.number}" if call.once or call.client == "sends twice" else ""
        self.send(call, 0, call.node, once)
        if call.client == "sends twice":
            self.fired("client: sends twice")
            self.open_plans += 1
            self.loop.call_later(call.client_s * 0.1, self._again, call, 1, once, context=self.context())

    def _again(self, call: Call, repeat: int, once: str) -> None:
        self.open_plans -= 1
        self.send(call, repeat, (call.node + repeat) % self.plan.nodes, once)

    def send(self, call: Call, repeat: int, node: int, once: str) -> Sent:
        """One request to one node."""
        sent = Sent(self, call, repeat, node, once=once)
        self.sents.append(sent)
        life = self.machines[node].life
        if life is None or not life.up or life in self.loop.dead:
            sent.lost = True
            self.broken(sent)
        else:
            life.waiting[sent] = None
            life.post(life.connect, sent)
        return sent

    def leave(self, sent: Sent, life: Life, door: Door) -> None:
        """The customer leaves."""
        if sent.ended or sent.lost or sent.gone:
            return
        self.fired(f"client: {sent.call.client}")
        sent.gone = True
        sent.left_s = sent.end_s = self.loop.now
        self.note(f"customer of {sent.id[-6:]} leaves")
        life.post(door.hung_up)

    def half_close(self, sent: Sent, life: Life, door: Door) -> None:
        """The customer closes his side, and reads on."""
        if sent.ended or sent.lost:
            return
        self.fired(f"client: {sent.call.client}")
        self.note(f"customer of {sent.id[-6:]} half-closes")
        life.post(door.exchange.probe)

    def ended(self, sent: Sent, life: Life) -> None:
        """The answer is complete."""
        sent.ended = True
        if sent.end_s is None:
            sent.end_s = self.loop.now
        if sent.gone or sent.lost:
            return
        answer = sent.read()
        self.note(
            f"{life.name} c{sent.call.number}r{sent.repeat} {sent.id[-6:]} {answer.status} {answer.code or answer.whole}"
        )
        if answer.whole:
            checks.durable(self, sent)
        self._retry(sent, answer.status)

    def broken(self, sent: Sent) -> None:
        """The connection broke under a customer who waited."""
        sent.end_s = self.loop.now
        self._retry(sent, 0)

    def _retry(self, sent: Sent, status: int) -> None:
        if sent.call.client == "retries" and (status == 0 or status >= 429) and sent.repeat < 2:
            self.fired("client: retries")
            self.open_plans += 1
            delay_s = 0.2 + sent.call.client_s
            self.loop.call_later(delay_s, self._again, sent.call, sent.repeat + 1, sent.once, context=self.context())

    # upstreams

    def upstream_asked(self, life: Life, outgoing: Outgoing) -> Produced:
        """A request has come to an upstream: from a call with a hold (I12)."""
        number, repeat, body = upstream.asked(outgoing)
        down = self.down_until_s.get(outgoing.target.host, 0.0) > self.loop.now
        if number is None:
            self.probes += 1
            rng = Random(f"probe {self.plan.seed} {self.probes}")
            script, made = upstream.write(rng, "5xx" if down else "", body, path=outgoing.path, slow=1.0)
            checks.held_by_house(self)
            return Produced(script, made, outgoing.target.host, self.loop.now)
        sent = next(each for each in reversed(self.sents) if (each.call.number, each.repeat) == (number, repeat))
        attempts = self.produced.setdefault(sent.id, [])
        wrongs = sent.call.wrongs
        wrong = "5xx" if down else wrongs[(len(attempts) + repeat) % len(wrongs)] if wrongs else ""
        rng = Random(f"upstream {self.plan.seed} {number} {repeat} {len(attempts)}")
        script, made = upstream.write(rng, wrong, body, path=outgoing.path, slow=sent.call.slow)
        if script.wrong:
            self.fired(f"upstream: {script.wrong}")
        produced = Produced(script, made, outgoing.target.host, self.loop.now)
        attempts.append(produced)
        checks.held(self, life, sent)
        return produced

    # the rest of the menu

    def journalled(self, records: Any) -> None:
        """These records are on a disk."""
        for record in records:
            call = json.loads(record)["opened"]["id"]
            self.on_disk.add(call)
            self.note(f"{call[-6:]} journalled")

    def _fault(self, fault: Fault) -> None:
        self.open_plans -= 1
        self.note(f"fault {fault.kind} node {fault.node} {fault.point} {fault.long_s:g} s, {fault.count}")
        faults.happen(self, fault)

    @property
    def hash(self) -> int:
        """Two runs of one seed have the same."""
        return zlib.crc32(f"{self.loop.mark} {self.loop.steps} {sorted(self.counts.items())}".encode())
