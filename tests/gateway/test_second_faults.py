"""Corners of the endings: what a journal, a start, a cut and a stop do where something else goes wrong beside them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kit.shop import Away
from kit.talk import Talk, chat, wait_for

pytestmark = pytest.mark.store

TOKEN = 10
START = 1_000_000


@pytest.fixture
def shop_here(shop_here):
    """With a model whose answers may be long."""
    shop_here.model("far", {"input": "0", "output": "10"}, output_tokens_max=4_000_000, context_tokens=8_000_000)
    return shop_here


def settlement(number: int) -> tuple[Any, Any]:
    from farebox.calls.log import CallEnd, CallStart
    from farebox.ledger.holds import Purse

    begun = CallStart(
        id=f"call_{number}", account="acc", project="prj", key="key", member=None, endpoint="chat", model="m",
        asked="m", stream=True, epoch="ep", currency="USD", limit_tokens=None, price_list="pl", price_version=1,
        prices="{}", rule_version=1, opened_us=1, purses=(Purse("acc"),),
    )  # fmt: skip
    ended = CallEnd(
        outcome="served", rule="R02", status=200, charge_micro=1, usage={}, usage_source="", finish_reason="",
        flags=[], attempts=[], ended_us=2,
    )  # fmt: skip
    return begun, ended


# the journal


class SlowLog:
    """A log whose next `append` waits for `gate`."""

    def __init__(self) -> None:
        self.inherited: list[bytes] = []
        self.records: list[bytes] = []
        self.gate = asyncio.Event()

    async def append(self, records: Any) -> None:
        await self.gate.wait()
        self.gate.clear()
        self.records += records

    async def clear(self) -> None:
        self.records.clear()


@pytest.mark.fault("F33")
@pytest.mark.parametrize("how", ["cancelled", "bug"])
def test_who_shares_a_write_that_breaks_off_is_not_told_that_it_is_done(how):
    """The first of a batch writes for all; where he is stopped meanwhile the others know that it was not done."""
    from farebox.gateway.journal import Journal

    async def run() -> None:
        log = SlowLog()
        journal = Journal(log)
        tasks = [asyncio.create_task(journal.keep(*settlement(number), "")) for number in range(3)]
        await asyncio.sleep(0)
        if how == "cancelled":
            log.gate.set()
            await tasks[0]
            await asyncio.sleep(0.01)
            tasks[1].cancel()
            await asyncio.sleep(0.01)
            log.gate.set()
        else:

            async def broken(records: Any) -> None:
                raise RuntimeError("no thread takes it")

            log.append = broken  # type: ignore[method-assign]
            log.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        kept = {entry.opened.id for entry in journal.waiting}
        for number, result in enumerate(results):
            assert (result is None) == (f"call_{number}" in kept), (number, result, kept)

    asyncio.run(run())


def test_a_record_that_can_not_be_written_down_fails_alone():
    from farebox.gateway.journal import Journal

    async def run() -> None:
        log = SlowLog()
        journal = Journal(log)
        bad = settlement(1)
        bad[1].error = "half of a pair: \ud83d"
        tasks = [asyncio.create_task(journal.keep(*each, "")) for each in (settlement(0), bad, settlement(2))]
        await asyncio.sleep(0)
        for _ in range(2):  # the first alone, then the others
            log.gate.set()
            await asyncio.sleep(0.01)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [type(None), UnicodeEncodeError, type(None)]
        assert [entry.opened.id for entry in journal.waiting] == ["call_0", "call_2"]
        assert len(log.records) == 2

    asyncio.run(run())


def test_two_processes_begin_on_one_folder_at_one_time(tmp_path, monkeypatch):
    """The second looks for the dead while the first has made its file and not locked it yet."""
    from farebox.kit import appendlog

    right, others = os.open, []

    def slow(path: Any, *args: Any) -> int:
        handle = right(path, *args)
        if "ep_1" in str(path) and not others:
            others.append(None)
            others[0] = appendlog.AppendLog(tmp_path, "ep_2")
        return handle

    monkeypatch.setattr(os, "open", slow)
    first = appendlog.AppendLog(tmp_path, "ep_1")
    monkeypatch.undo()
    asyncio.run(first.append([b"{}"]))
    asyncio.run(others[0].clear())
    assert (tmp_path / "ep_1.log").read_bytes() == appendlog.line(b"{}")
    first.close()
    others[0].close()


def test_a_dead_process_that_owed_nothing_leaves_no_file(tmp_path):
    from farebox.kit.appendlog import AppendLog

    (tmp_path / "ep_dead.log").write_bytes(b"")
    (tmp_path / "ep_cut.log").write_bytes(b"0000")
    log = AppendLog(tmp_path, "ep_new")
    assert [path.name for path in tmp_path.iterdir()] == ["ep_new.log"]
    assert log.inherited == []
    log.close()


def test_a_dead_file_that_another_has_cleared_meanwhile_is_passed_over(tmp_path, monkeypatch):
    from farebox.kit.appendlog import AppendLog

    right = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, words: [*right(self, words), self / "ep_gone.log"])
    log = AppendLog(tmp_path, "ep_1")
    assert log.inherited == []
    log.close()


# the start


@pytest.mark.slow
@pytest.mark.fault("F33")
@pytest.mark.rule("R23")
def test_nothing_expires_while_the_journal_still_waits(shop_here, monkeypatch):
    """The store takes the new epoch, fails once at the replay, and is back: the journal's charge must not be lost."""
    from farebox.gateway import second_write
    from farebox.kit import db, errors

    away = Away(shop_here)
    me = shop_here.account("1")
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: slow=1+tokens=20", stream=True))
    wait_for(lambda: me.balance[1] > 0)
    away.away = True
    talk.rest()
    assert b"[DONE]" in talk.data
    shop_here.stop()
    right, failed = db.Store.write, []

    async def write(self: Any, fn: Any, *args: Any, **kwargs: Any) -> Any:
        if fn is second_write.end_call and not failed:
            failed.append(fn)
            raise errors.StoreUnavailable from OSError("the database is away")
        return await right(self, fn, *args, **kwargs)

    monkeypatch.setattr(db.Store, "write", write)
    for _ in range(2):
        try:
            shop_here.start()
        except errors.StoreUnavailable:
            continue
        break
    assert failed
    wait_for(lambda: me.balance == (START - 20 * TOKEN, 0))
    assert me.receipt(talk.call)["rule"] == "R23"


@pytest.mark.slow
@pytest.mark.rule("R25")
def test_what_ended_before_there_were_marks_is_not_refunded(instance):
    """An epoch that ended under an older version left no delivery marks; its answers were delivered all the same."""
    from django.core.management import call_command
    from django.db import connection

    from farebox.kit.models import Epoch

    call_command("migrate", "kit", "0001", verbosity=0)
    with connection.cursor() as cursor:
        for name, ended in (("ep_ended", "9"), ("ep_open", "NULL")):
            cursor.execute(
                "INSERT INTO kit_epoch (id, node, started_us, beats, ended_us, ended_why) "
                f"VALUES ('{name}', 'n', 1, 1, {ended}, '')"
            )
    call_command("migrate", "kit", verbosity=0)
    assert Epoch.objects.get(id="ep_ended").cleared_us == 9
    assert Epoch.objects.get(id="ep_open").cleared_us is None


@pytest.mark.slow
@pytest.mark.rule("R25")
@pytest.mark.fault("F32")
def test_what_waited_long_for_its_commit_is_of_the_last_seconds_too(shop_here):
    """A settlement may be as old as the store was silent when it is committed; its answer has not left before that."""
    from farebox.calls.models import Call

    me = shop_here.account("1")
    waited, last = me.chat("far", "sandbox: tokens=5"), me.chat("far", "sandbox: tokens=7")
    wait_for(lambda: Call.objects.get(id=last.call).delivered_us and Call.objects.get(id=waited.call).delivered_us)
    shop_here.crash()
    row = Call.objects.get(id=last.call)
    waited_us = (shop_here.options.settle_wait_s + 3) * 1_000_000
    Call.objects.filter(id=waited.call).update(delivered_us=None, ended_us=row.ended_us - waited_us - 4_000_000)
    shop_here.start()
    assert me.balance == (START - 7 * TOKEN, 0)


# idempotency keys


@pytest.mark.slow
@pytest.mark.rule("R26")
def test_old_idempotency_keys_are_forgotten_by_the_schedule(shop_here):
    from farebox.calls import once
    from farebox.calls.models import Once
    from farebox.jobs import schedule
    from farebox.kit import clock

    now_us = clock.now_us()
    Once.objects.create(id="old", call="call_1", at_us=now_us - once.KEPT_US - 1)
    Once.objects.create(id="new", call="call_2", at_us=now_us)
    shop_here.loop.run(schedule.forget(schedule.Context(store=shop_here.server.store)))
    assert [row.id for row in Once.objects.all()] == ["new"]


# keys that end under a call (R21)


def revoke(shop: Any, me: Any) -> None:
    from farebox.accounts.keys import keys
    from farebox.kit import clock

    shop.write(keys.revoke, me.key_id, now_us=clock.now_us(), actor="test")


@pytest.mark.slow
@pytest.mark.rule("R21")
def test_a_cut_waits_for_a_store_that_can_not_be_asked(shop_here, monkeypatch):
    """The look fails for longer than calls are looked at after a change; it is made up for."""
    from farebox.accounts.keys import authenticate
    from farebox.kit import errors
    from farebox.site import node

    monkeypatch.setattr(node, "_LOOK_AGAIN_S", 0.5)
    store, away = shop_here.server.ports.store, [True]
    right = store.watch

    async def watch(fn: Any, *args: Any) -> Any:
        if away[0] and fn.__module__ == authenticate.__name__:
            raise errors.StoreUnavailable
        return await right(fn, *args)

    monkeypatch.setattr(store, "watch", watch)
    me = shop_here.account("1")
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: tokens=1000+pace=20", stream=True))
    talk.until(b"data: ")
    revoke(shop_here, me)
    time.sleep(2)
    away[0] = False
    begun = time.monotonic()
    talk.rest()
    assert time.monotonic() - begun < 5
    assert b'"invalid_api_key"' in talk.data


@pytest.mark.slow
@pytest.mark.rule("R21")
def test_a_key_that_is_switched_off_during_the_last_look(shop_here, monkeypatch):
    """The look has read the key as it was, and is the last one for the change before."""
    from farebox.accounts.keys import authenticate
    from farebox.site import node

    monkeypatch.setattr(node, "_LOOK_AGAIN_S", 0)
    store, under_way, revoked = shop_here.server.ports.store, threading.Event(), threading.Event()
    right = store.watch

    async def watch(fn: Any, *args: Any) -> Any:
        found = await right(fn, *args)
        if fn.__module__ == authenticate.__name__ and not under_way.is_set():
            under_way.set()
            await asyncio.to_thread(revoked.wait, 20)
        return found

    me = shop_here.account("1")
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: tokens=1000+pace=20", stream=True))
    talk.until(b"data: ")
    monkeypatch.setattr(store, "watch", watch)
    shop_here.account("1")
    assert under_way.wait(10)
    revoke(shop_here, me)
    shop_here.refresh()
    revoked.set()
    talk.rest()
    assert b'"invalid_api_key"' in talk.data


@pytest.mark.slow
@pytest.mark.rule("R21")
@pytest.mark.parametrize("how", ["set_expiry", "rotate"])
def test_a_key_that_is_given_an_end_under_the_call(shop_here, monkeypatch, how):
    from farebox.accounts.keys import key_line, keys
    from farebox.kit import clock
    from farebox.site import node

    monkeypatch.setattr(node, "_LOOK_AGAIN_S", 0.3)
    me = shop_here.account("1")
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: tokens=1000+pace=20", stream=True))
    talk.until(b"data: ")
    now_us = clock.now_us()
    if how == "set_expiry":
        shop_here.write(keys.set_expiry, me.key_id, expires_us=now_us + 3_000_000, now_us=now_us, actor="test")
    else:
        shop_here.write(key_line.rotate, me.key_id, grace_s=3, now_us=now_us, actor="test")
    begun = time.monotonic()
    talk.rest()
    assert 2 < time.monotonic() - begun < 3 + 5
    assert b'"invalid_api_key"' in talk.data


@pytest.mark.slow
@pytest.mark.rule("R21")
@pytest.mark.parametrize("later", [3600, None], ids=["moved", "removed"])
def test_a_key_whose_end_is_put_off_under_the_call(shop_here, later):
    from farebox.accounts.keys import keys
    from farebox.kit import clock

    ends_us = clock.now_us() + 3_000_000
    me = shop_here.account("1", expires_us=ends_us)
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: tokens=250+pace=20", stream=True))
    talk.until(b"data: ")
    now_us = clock.now_us()
    new_us = None if later is None else now_us + later * 1_000_000
    shop_here.write(keys.set_expiry, me.key_id, expires_us=new_us, now_us=now_us, actor="test")
    talk.rest()
    assert clock.now_us() > ends_us + 1_000_000
    assert b"[DONE]" in talk.data
    assert me.receipt(talk.call)["charge_micro"] == 250 * TOKEN


# a store that hangs


@pytest.mark.slow
@pytest.mark.fault("F29")
def test_a_stream_whose_hold_must_grow_does_not_wait_for_a_store_that_hangs(shop_here):
    gate = threading.Event()
    store = shop_here.server.store

    def hang(tx: Any) -> None:
        gate.wait(40)

    me = shop_here.account("100")
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: tokens=4000+pace=2", stream=True))
    talk.until(b"data: ", times=3)
    hung = asyncio.run_coroutine_threadsafe(store.write(hang, patient=True), shop_here.loop.loop)
    try:
        begun = time.monotonic()
        talk.rest()
        assert time.monotonic() - begun < 20
        assert b"[DONE]" not in talk.data
        assert b'"error"' in talk.data
    finally:
        gate.set()
        hung.result(10)
    assert me.receipt(talk.call)["charge_micro"] == 0
    assert me.balance == (100 * START, 0)


HANGS = """
import asyncio, threading
from farebox.care import ready
ready.logs(); ready.store()
from farebox.kit import db

async def main():
    store = db.Store()
    for part in (store.read, store.watch):
        asyncio.get_running_loop().create_task(part(lambda tx: threading.Event().wait()))
    await asyncio.sleep(0.2)
    await store.close()
    print("closed", flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.fault("F29")
def test_a_process_ends_though_readers_of_its_store_hang(instance):
    done = subprocess.run(
        [sys.executable, "-c", HANGS], env={**os.environ, **instance.environ}, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL, timeout=40, check=False,
    )  # fmt: skip
    assert done.stdout == "closed\n"
