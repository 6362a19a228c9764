"""The committer: group commit, refusals, mistakes, and the three outcomes of a commit, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from farebox.kit import db, errors, failpoints
from farebox.kit.commits import Committer, PendingWrite
from farebox.kit.db import Store, Tx
from kit.talk import PROMPTLY_S

pytestmark = pytest.mark.store

ADD = "INSERT INTO kit_setting (name, value) VALUES (%s, %s)"
FIND = "SELECT value FROM kit_setting WHERE name = %s"
COUNT = "SELECT COUNT(*) FROM kit_setting WHERE name LIKE 't%%'"
SUM = """
INSERT INTO kit_version (name, n) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET n = kit_version.n + excluded.n
"""


def add(tx: Tx, name: str, value: str = "v") -> str:
    if tx.again and tx.one(FIND, (name,)) is not None:
        return f"{name} found"
    tx.execute(ADD, (name, value))
    return name


def refuse(tx: Tx) -> None:
    raise errors.InsufficientFunds


def mistake(tx: Tx, name: str) -> None:
    tx.execute(ADD, (name, "x"))
    raise ZeroDivisionError("a mistake")


def twice(tx: Tx, name: str) -> None:
    tx.execute(ADD, (name, "x"))
    tx.execute(ADD, (name, "x"))


def count(tx: Tx) -> int:
    row = tx.one(COUNT)
    assert row is not None
    return int(row[0])


def with_store(job: Callable[[Store], Awaitable[Any]], **limits: Any) -> Any:
    async def run() -> Any:
        store = Store(**limits)
        try:
            return await job(store)
        finally:
            await store.close()

    return asyncio.run(run())


class Gate:
    """Holds the writer thread, so that what is written meanwhile becomes one group."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def wait(self, tx: Tx) -> None:
        assert self.open.wait(10)


async def grouped(store: Store, *jobs: tuple[Any, ...]) -> list[Any]:
    """Run the jobs in one group; results or exceptions in order."""
    gate = Gate()
    first = asyncio.ensure_future(store.write(gate.wait))
    await asyncio.sleep(0.05)
    rest = [asyncio.ensure_future(store.write(*job)) for job in jobs]
    await asyncio.sleep(0.05)
    gate.open.set()
    await first
    return await asyncio.gather(*rest, return_exceptions=True)


def test_a_refusal_leaves_the_rest_of_its_group_alone(instance):
    async def job(store: Store) -> list[Any]:
        return await grouped(store, (add, "t1"), (refuse,), (add, "t2"))

    found = with_store(job)
    assert found[0] == "t1"
    assert isinstance(found[1], errors.InsufficientFunds)
    assert found[2] == "t2"
    assert db.read(count) == 2


def test_a_mistake_rolls_back_alone_and_the_others_are_tried_again(instance):
    async def job(store: Store) -> list[Any]:
        return await grouped(store, (add, "t1"), (mistake, "t2"), (twice, "t3"), (add, "t4"))

    found = with_store(job)
    assert found[0] == "t1"
    assert isinstance(found[1], ZeroDivisionError)
    assert not isinstance(found[2], (errors.FareboxError, str)), "a broken rule is a mistake of ours, not a 503"
    assert found[3] == "t4"
    assert db.read(count) == 2


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("members", [1, 3])
def test_a_commit_whose_outcome_is_unknown_is_repeated_by_its_key(instance, monkeypatch, done, members):
    from django.db import OperationalError, connections

    wrapper = type(connections["default"])
    original = wrapper._commit
    commits: list[str] = []

    def commit(self: Any) -> None:
        if threading.current_thread().name != "store-write":
            original(self)
            return
        commits.append("tried")
        if len(commits) == 2:  # the first is the gate's, the second the group's
            if done:
                original(self)
            raise OperationalError("disk I/O error")
        original(self)

    monkeypatch.setattr(wrapper, "_commit", commit)

    async def job(store: Store) -> list[Any]:
        return await grouped(store, *[(add, f"t{n}") for n in range(members)])

    found = with_store(job)
    assert found == [f"t{n} found" if done else f"t{n}" for n in range(members)]
    assert db.read(count) == members
    assert len(commits) == 2 + members


def test_sums_are_written_once_a_group_in_order(instance):
    def one(tx: Tx, key: str, amount: int) -> None:
        tx.accumulate(SUM, (key,), (amount,))

    async def job(store: Store) -> list[Any]:
        return await grouped(store, *[(one, f"t{n % 3}", 1) for n in range(30)], (refuse,))

    with_store(job)
    assert {name: n for name, n in db.read(db.versions).items() if name.startswith("t")} == {
        "t0": 10,
        "t1": 10,
        "t2": 10,
    }


def test_sums_of_a_member_that_failed_are_not_written(instance):
    def one(tx: Tx, fail: bool) -> None:
        tx.accumulate(SUM, ("t",), (1,))
        if fail:
            raise ZeroDivisionError

    async def job(store: Store) -> list[Any]:
        return await grouped(store, (one, False), (one, True), (one, False))

    found = with_store(job)
    assert isinstance(found[1], ZeroDivisionError)
    assert db.read(db.versions)["t"] == 2


def test_too_many_waiting_writes_are_turned_away_but_never_a_patient_one(instance):
    async def job(store: Store) -> None:
        gate = Gate()
        first = asyncio.ensure_future(store.write(gate.wait))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(store.write(add, "t1"))
        await asyncio.sleep(0.05)
        with pytest.raises(errors.Overloaded):
            await store.write(add, "t2")
        patient = asyncio.ensure_future(store.write(add, "t3", patient=True))
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(first, second, patient)

    with_store(job, queue_max=2)
    assert db.read(count) == 2


def test_a_write_that_waited_too_long_is_503_and_did_nothing(instance):
    async def job(store: Store) -> None:
        gate = Gate()
        first = asyncio.ensure_future(store.write(gate.wait))
        await asyncio.sleep(0.05)
        late = asyncio.ensure_future(store.write(add, "t1"))
        await asyncio.sleep(0.3)
        gate.open.set()
        await first
        with pytest.raises(errors.StoreUnavailable):
            await late

    with_store(job, wait_s=0.1)
    assert db.read(count) == 0


def test_writers_of_other_threads_get_their_turn(instance):
    """Without the lock around BEGIN … COMMIT a committer running back to back starves everybody else on SQLite."""
    stop = threading.Event()
    taken: list[float] = []

    def other() -> None:
        from django.db import connection

        n = 0
        while not stop.is_set():
            begun = time.monotonic()
            db.write(add, f"other{n}")
            taken.append(time.monotonic() - begun)
            n += 1
        connection.close()

    async def job(store: Store) -> int:
        thread = threading.Thread(target=other)
        thread.start()

        async def busy(start: int) -> None:
            for n in range(100):
                await store.write(add, f"t{start}.{n}")

        await asyncio.gather(*(busy(start) for start in range(16)))
        stop.set()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        return len(taken)

    assert with_store(job) >= 5
    assert max(taken) < PROMPTLY_S


def test_readers_see_one_unchanging_view(instance):
    db.write(add, "t1")
    with db.reading() as tx:
        assert count(tx) == 1
        done = threading.Thread(target=_add_in_thread, args=("t2",))
        done.start()
        done.join()
        assert count(tx) == 1
    assert db.read(count) == 2


def test_what_one_look_up_reads_is_of_one_moment(instance):
    """Also by the ORM, while others write; and nothing is written in it, on either database."""
    from farebox.kit.models import Setting

    def two_looks(tx: Tx) -> tuple[int, int]:
        first = Setting.objects.filter(name__startswith="t").count()
        done = threading.Thread(target=_add_in_thread, args=("t2",))
        done.start()
        done.join()
        return first, count(tx)

    db.write(add, "t1")
    assert db.read(two_looks) == (1, 1)
    assert db.read(lambda _tx: db.read(count)) == 2
    with pytest.raises(errors.StoreUnavailable):
        db.read(add, "t3")
    with pytest.raises(ZeroDivisionError):
        db.read(lambda _tx: 1 // 0)
    assert db.write(add, "t4") == "t4"
    assert db.write(count) == 3


def _add_in_thread(name: str) -> None:
    from django.db import connection

    db.write(add, name)
    connection.close()


def test_a_store_that_hangs_is_not_waited_for(instance):
    async def job(store: Store) -> None:
        gate = Gate()
        first = asyncio.ensure_future(store.write(gate.wait, within_s=0.1))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(store.write(add, "t1", within_s=0.1))
        begun = time.monotonic()
        for late in (first, second):
            with pytest.raises(errors.StoreUnavailable) as told:
                await late
            assert told.value.__cause__ is not None, "perhaps it was done: whoever asked must look"
        assert time.monotonic() - begun < PROMPTLY_S
        gate.open.set()
        await store.write(add, "t2")

    with_store(job)
    assert db.read(count) == 1, "what was given up before it began must not be done later"


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize(("stage", "perhaps"), [("begin", False), ("body", False), ("commit", True)])
def test_only_what_failed_in_its_commit_may_have_been_done(stage, perhaps, together):
    """The cause of StoreUnavailable says so; whoever asked looks, or tells his customer nothing for sure."""
    gone = OperationalError("the connection was lost")

    @contextlib.contextmanager
    def opening(_locks: Any) -> Any:
        if stage == "begin":
            raise gone
        yield SimpleNamespace(again=False)
        if stage == "commit":
            raise gone

    def work(_tx: Any) -> None:
        if stage == "body":
            raise gone

    loop = asyncio.new_event_loop()
    members = [PendingWrite(work, (), patient=True, since_s=0.0, future=loop.create_future()) for _ in range(together)]
    Committer(opening, pause=lambda _most_s: None, monotonic_s=time.monotonic, wait_s=5).run(members)
    loop.close()
    for member in members:
        assert isinstance(member.error, errors.StoreUnavailable)
        assert (member.error.__cause__ is not None) == perhaps


def test_an_observer_ends_an_epoch_whose_heart_stopped_and_counts_each_tick_once(instance):
    from farebox.kit import epochs

    for name in ("own", "alive", "dead"):
        db.write(epochs.begin, epoch=name, node="n", now_us=1)
    observer = epochs.Observer(missed_max=3)
    ended: list[str] = []
    for tick in range(6):
        db.write(epochs.beat, "alive", 1, 1)
        db.write(lambda tx: observer.tick(tx, own="own", now_us=9))  # a try whose commit is not known to be done
        found, observer.seen = db.write(lambda tx: observer.tick(tx, own="own", now_us=10))
        ended += found
        assert ("dead" in ended or db.read(epochs.ended_us, "dead") is not None) == (tick >= 3)
    assert db.read(epochs.ended_us, "alive") is None
    assert not db.write(epochs.beat, "dead", 1, 1)
    assert db.write(epochs.beat, "alive", 1, 1)


def test_again_is_said_of_each_member_by_itself(instance):
    said: dict[str, bool] = {}

    def tell(tx: Tx, name: str) -> None:
        said[name] = tx.again

    async def job(store: Store) -> None:
        gate = Gate()
        first = asyncio.ensure_future(store.write(gate.wait))
        await asyncio.sleep(0.05)
        rest = [
            asyncio.ensure_future(store.write(tell, "fresh")),
            asyncio.ensure_future(store.write(tell, "repeat", again=True)),
            asyncio.ensure_future(store.write(tell, "after")),
        ]
        await asyncio.sleep(0.05)
        gate.open.set()
        await asyncio.gather(first, *rest)

    with_store(job)
    assert said == {"fresh": False, "repeat": True, "after": False}


def test_whether_the_store_is_written_alone_is_said_not_guessed(instance):
    async def job(store: Store) -> bool:
        return store.alone

    assert with_store(job) is db.on_sqlite()
    assert with_store(job, alone=False) is False
    assert with_store(job, alone=True) is True


def test_each_write_passes_its_points_in_order(instance):
    passed: list[str] = []
    failpoints.arm(passed.append)
    try:
        db.write(add, "t1")
    finally:
        failpoints.arm(None)
    assert passed == ["tx.statement", "store.before_commit", "store.after_commit"]


def test_what_ends_the_writer_reaches_whoever_waits(instance):
    class End(BaseException):
        pass

    def end(tx: Tx) -> None:
        raise End

    async def job(store: Store) -> None:
        with pytest.raises(End):
            await store.write(end)
        await store.write(add, "t1")

    with_store(job)
    assert db.read(count) == 1
