"""`python tests/sim/run.py --from 0 --count 1000`: run seeds, shrink what fails, and say what was tried.

BUG=<name> plants a bug (see bugs.py). One line a failure: seed and finding, then the shrunk trace.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TRACE_LINES = 30
CHUNK = 1000
REPORTED_MAX = 5
# With so many seeds every fault of the menu must have bitten.
ENOUGH = 1000


def nearest(row: tuple[int, ...]) -> tuple[float, int]:
    """How near to its bound an account has drawn, and how much that is; of (forgiven, drawn, bound)."""
    return row[1] / max(1, row[2]), row[1]


@dataclass
class Report:
    """What a run of seeds tried and found."""

    seeds: int = 0
    repeated: int = 0
    calls: int = 0
    steps: int = 0
    seconds: float = 0.0
    failures: list[tuple[int, str]] = field(default_factory=list)
    active: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    crashed: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    # Of the account that was forgiven most, and of the one nearest to its bound: forgiven, drawn, the bound, the seed.
    forgiven: tuple[int, ...] = (0, 0, 0, 0)
    drawn: tuple[int, ...] = (0, 0, 0, 0)

    def add(self, result: Any) -> None:
        """One seed more."""
        self.seeds += 1
        self.calls += result.calls
        self.steps += result.steps
        self.active.update(result.active)
        self.fired.update(result.counts)
        self.crashed.update(result.crashed)
        self.verdicts.update(result.verdicts)
        self._largest((*result.forgiven, result.seed), (*result.drawn, result.seed))
        self.failures += [(result.seed, finding) for finding in result.findings[:1]]

    def join(self, other: Report) -> None:
        """Another process's part."""
        for name in ("seeds", "repeated", "calls", "steps"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("active", "fired", "crashed", "verdicts"):
            getattr(self, name).update(getattr(other, name))
        self.failures += other.failures
        self._largest(other.forgiven, other.drawn)

    def _largest(self, forgiven: tuple[int, ...], drawn: tuple[int, ...]) -> None:
        self.forgiven = max(self.forgiven, forgiven)
        self.drawn = max(self.drawn, drawn, key=nearest)

    @property
    def never(self) -> list[str]:
        """Faults of the menu that never bit, and failpoints that no kill has hit."""
        from sim.plan import BESIDE, MENU, POINTS

        quiet = [f"fault {name}" for name in (*MENU, *BESIDE) if not self.fired[name]]
        return quiet + [f"failpoint {name}" for name in sorted(set(POINTS)) if not self.crashed[name]]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        kills = self.fired["kill at a time"] + self.fired["kill at a point"]
        return {
            "seeds": self.seeds, "repeated": self.repeated, "calls": self.calls, "steps": self.steps, "kills": kills,
            "seconds": round(self.seconds, 1), "failures": self.failures, "faults_fired": dict(sorted(self.fired.items())),
            "faults_active_in_seeds": dict(sorted(self.active.items())),
            "kills_at_failpoints": dict(sorted(self.crashed.items())), "verdicts": dict(self.verdicts.most_common()),
            "never": self.never, "forgiven_most": self.forgiven, "nearest_to_its_bound": self.drawn,
        }  # fmt: skip

    def as_text(self) -> str:
        """For people."""
        from sim.plan import MENU

        found = self.as_dict()
        exact = sum(count for name, count in self.verdicts.items() if not name.endswith("range") and "," not in name)
        judged = max(1, sum(self.verdicts.values()))
        ran = (
            f"{self.seeds:,} seeds ({self.repeated:,} of them run twice), {self.calls:,} requests, {found['kills']:,} "
            f"kills, {self.steps:,} steps, {self.seconds:,.0f} s: {len(self.failures)} failures"
        )
        lines = [
            ran,
            f"judged: {exact / judged:.1%} of the requests to one amount; "
            + ", ".join(f"{name} {count:,}" for name, count in self.verdicts.most_common()),
            "faults (active in seeds, fired): "
            + ", ".join(f"{name} {self.active[name]:,}/{self.fired[name]:,}" for name in MENU),
            "tricks: "
            + ", ".join(f"{name[7:]} {count:,}" for name, count in self.fired.items() if name[:7] == "trick: "),
            *(
                f"{what}: an account was forgiven {forgiven:,} and drew {drawn:,} micro-units of {bound:,} (seed {seed})"
                for what, (forgiven, drawn, bound, seed) in (
                    ("forgiven most", self.forgiven),
                    ("nearest to its bound", self.drawn),
                )
            ),
            "kills at failpoints: " + ", ".join(f"{name} {count:,}" for name, count in sorted(self.crashed.items())),
        ]
        return "\n".join(lines + [f"never: {name}" for name in self.never])


def run(place: Any, start: int, count: int, family: str | None = None) -> Report:
    """Run seeds, of one family if it is named; each tenth twice, and both runs must be the same."""
    from sim import plan, seed

    report = Report()
    begun_s = time.monotonic()
    for number in range(start, start + count):
        result = seed.play(plan.make(number, family), place)
        if number % 10 == 0:
            report.repeated += 1
            if seed.play(plan.make(number, family), place).hash != result.hash:
                result.findings.append("two runs of this seed differ")
        report.add(result)
    report.seconds = time.monotonic() - begun_s
    return report


def told(place: Any, number: int, finding: str, family: str | None = None) -> str:
    """A failure for people: its seed, what was found, and the shrunk trace."""
    from sim import plan, seed

    smallest = seed.shrink(plan.make(number, family), place)
    lines = [f"seed {number}: {finding}"]
    if smallest.findings:
        lines += [f"  shrunk: {smallest.findings[0]}", *(f"  {line}" for line in smallest.trace[-TRACE_LINES:])]
    return "\n".join(lines)


@contextlib.contextmanager
def place() -> Iterator[Any]:
    """Django over a store in memory, in a process that is nothing else; with the bug of BUG planted."""
    folder = tempfile.mkdtemp(prefix="farebox-sim-")
    for name in [name for name in os.environ if name.startswith("FAREBOX_")]:
        del os.environ[name]
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "farebox.site.settings", "FAREBOX_DATA_DIR": folder, "FAREBOX_LOG_LEVEL": "error",
    }  # fmt: skip
    try:
        import django

        from farebox.kit import options, secrets

        secrets.ensure(options.current())
        django.setup()
        from sim import bugs, town

        bug = os.environ.get("BUG", "")
        if bug and bug not in bugs.BUGS:
            sys.exit(f"There is no planted bug {bug}. There are: {', '.join(bugs.BUGS)}")
        with town.built() as built, bugs.planted(bug) if bug else contextlib.nullcontext():
            yield built
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _chunk(start: int, count: int, family: str | None) -> tuple[Report, list[str]]:
    with place() as built:
        report = run(built, start, count, family)
        return report, [told(built, *failure, family) for failure in report.failures[:REPORTED_MAX]]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="start", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--family", help="seeds of one family alone: 'hostile customers' or 'honest customers'")
    parser.add_argument("--json", type=Path, help="file of the report")
    given = parser.parse_args()
    begun_s = time.monotonic()
    report = Report()
    size = max(1, min(CHUNK, -(-given.count // given.processes)))
    chunks = [(start, min(size, given.start + given.count - start))
              for start in range(given.start, given.start + given.count, size)]  # fmt: skip
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.processes, mp_context=spawn, max_tasks_per_child=1) as pool:
        for done in as_completed([pool.submit(_chunk, *chunk, given.family) for chunk in chunks]):
            part, texts = done.result()
            report.join(part)
            for text in texts:
                print(text, flush=True)
            if len(chunks) > 1:
                print(f"{report.seeds:,} of {given.count:,} seeds, {len(report.failures)} failures", flush=True)
    report.seconds = time.monotonic() - begun_s
    if given.json is not None:
        given.json.write_text(json.dumps(report.as_dict(), indent=1))
    print(report.as_text() if given.count > 1 else f"seed {given.start}: {len(report.failures)} failures")
    return 1 if report.failures or (given.family is None and given.count >= ENOUGH and report.never) else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a seed
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
    here = str(Path(__file__).resolve().parent.parent)
    sys.path.insert(0, here)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    sys.exit(main())
