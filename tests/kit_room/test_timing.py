"""The judgement of the time: who is believed, what is ahead, and how long a word counts (promises 4.7, I25)."""

from __future__ import annotations

import pytest

from farebox.kit import timing
from farebox.kit.fetch import dates
from farebox.kit.timing import AHEAD, HOUR_US, SURE, UNPROVEN, Keeper, Stored, Witness, judge, witnesses

NOW = 1_800_000_000_000_000
DAY_US = 24 * HOUR_US


class Machine:
    """A machine whose clock, counter and start a test sets."""

    def __init__(self, *, wall_us: int = NOW, counter_us: int | None = 5_000_000, ntp: bool | None = False) -> None:
        self.wall, self.count, self.name, self.ntp = wall_us, counter_us, "boot-1", ntp

    def wall_us(self) -> int:
        return self.wall

    def counter_us(self) -> int | None:
        return self.count

    def boot(self) -> str:
        return self.name

    def synchronised(self) -> bool | None:
        return self.ntp

    def host(self) -> str:
        return "here"


@pytest.mark.parametrize(
    ("heard", "last_us", "state"),
    [
        ([], 0, SURE),  # a new shop
        ([], NOW - HOUR_US, SURE),
        ([], NOW - HOUR_US - 1, UNPROVEN),  # it was switched off, and nobody says for how long
        ([("kernel", NOW)], NOW - 7 * DAY_US, SURE),
        ([("upstream", NOW - HOUR_US)], NOW - 7 * DAY_US, SURE),
        ([("upstream", NOW - HOUR_US - 1)], NOW, AHEAD),
        ([("database", NOW - DAY_US), ("node", NOW)], 0, SURE),  # one is enough
        ([("database", NOW - DAY_US), ("node", NOW - 2 * DAY_US)], 0, AHEAD),
        ([("kernel", NOW + DAY_US)], 0, SURE),  # a clock that is behind takes nothing too early
        ([("counter", NOW - 100 * DAY_US)], NOW, AHEAD),  # the clock leapt while the machine counted on
        ([("counter", NOW)], NOW - 7 * DAY_US, SURE),  # started anew on a machine that was not
        # Who says something is heard before the machine's own count, which only carries on what was believed.
        ([("counter", NOW), ("upstream", NOW - DAY_US)], NOW, AHEAD),
        ([("person", NOW), ("upstream", NOW - DAY_US)], NOW, SURE),
    ],
)
def test_one_witness_within_an_hour_is_enough(heard, last_us, state):
    assert judge(NOW, [Witness(*each) for each in heard], last_us=last_us).state == state


def test_the_gap_is_what_a_person_is_asked_about():
    assert judge(NOW, [], last_us=NOW - 7 * DAY_US).ahead_us == 7 * DAY_US
    said = judge(NOW, [Witness("kernel", NOW - 3 * DAY_US), Witness("node", NOW - 2 * DAY_US)], last_us=0)
    assert said.ahead_us == 2 * DAY_US


def kinds(known: Stored, machine: Machine, heard: list[tuple[int, int]] | None = None) -> list[str]:
    return [each.kind for each in witnesses(known, machine, heard or [])]


def test_an_upstream_s_date_counts_for_ten_minutes_of_the_machine_s_counter():
    machine = Machine(counter_us=1_000_000_000)
    fresh, old = (NOW, 1_000_000_000 - 600_000_000), (NOW, 1_000_000_000 - 600_000_001)
    assert kinds(Stored(), machine, [fresh]) == ["upstream"]
    assert witnesses(Stored(), machine, [fresh])[0].at_us == NOW + 600_000_000
    assert kinds(Stored(), machine, [old]) == []


def test_a_count_and_a_person_s_word_end_with_the_machine_s_start():
    known = Stored(anchor=(NOW, 0), confirmed={"at_us": NOW, "boot": "boot-1", "counter_us": 0})
    machine = Machine()
    assert kinds(known, machine) == ["person", "counter"]
    machine.name = "boot-2"
    assert kinds(known, machine) == ["counter"]  # the store gives no anchor of another start
    machine.count = None
    assert kinds(known, machine) == []


@pytest.mark.parametrize(("ntp", "said"), [(True, ["kernel"]), (False, []), (None, [])])
def test_a_kernel_counts_only_while_ntp_keeps_it(ntp, said):
    assert kinds(Stored(), Machine(ntp=ntp)) == said


def test_between_two_looks_a_leap_is_seen_at_once():
    machine = Machine()
    keeper = Keeper(machine)
    assert not keeper.sure(NOW), "before the first look nothing is"
    keeper.judgement, keeper._looked = timing.Judgement(SURE, 0), (NOW, machine.count)
    machine.count += 3_000_000
    assert keeper.sure(NOW + 3_000_000)
    assert keeper.sure(NOW + HOUR_US)
    assert not keeper.sure(NOW + HOUR_US + 3_000_001)
    assert keeper.due(NOW + 100 * DAY_US)
    machine.count += 100 * DAY_US  # a laptop that slept
    assert keeper.sure(NOW + 100 * DAY_US)


def test_a_neighbour_is_heard_while_its_heart_beats():
    keeper = Keeper(Machine())
    assert keeper._fresh([("ep_1", 7, NOW)]) == []
    assert keeper._fresh([("ep_1", 8, NOW)]) == [("ep_1", 8, NOW)]
    assert keeper._fresh([("ep_1", 8, NOW)]) == []


def test_dates_of_answers(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(dates, "_machine", machine)
    monkeypatch.setattr(dates, "HEARD", {})
    dates.hear("a", "Sun, 06 Nov 1994 08:49:37 GMT")
    assert dates.HEARD == {"a": (784_111_777_000_000, 5_000_000)}
    for wrong in ("yesterday", "", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 999999 08:49:37 GMT"):
        dates.hear("b", wrong)
    dates.hear("a", "Sun, 06 Nov 1994 09:49:37 GMT")  # once in ten seconds is enough
    assert dates.HEARD == {"a": (784_111_777_000_000, 5_000_000)}
    for number in range(500):
        dates.hear(f"h{number}", "Sun, 06 Nov 1994 08:49:37 GMT")
    assert len(dates.HEARD) <= 100
