"""The store goes away under a complete answer: its charge is on the disk, and comes into the books later (R23, R25)."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from pathlib import Path

import pytest

from kit.shop import Away, Shop
from kit.talk import Talk, chat, wait_for

pytestmark = pytest.mark.slow

TOKEN = 10
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@pytest.fixture
def away(shop_here):
    return Away(shop_here)


def journal_files(shop: Shop) -> list[Path]:
    return sorted((shop.options.data / "journal").glob("*.log"))


def journal_lines(shop: Shop) -> int:
    return sum(path.read_bytes().count(b"\n") for path in journal_files(shop))


@pytest.mark.store
@pytest.mark.rule("R23")
@pytest.mark.fault("F33")
@BOTH
def test_a_complete_answer_is_charged_from_the_journal(shop_here, away, stream):
    me = shop_here.account("1")
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: slow=1+tokens=20", stream=stream))
    wait_for(lambda: me.balance[1] > 0)
    away.away = True
    talk.rest()
    assert talk.data.split(b"\r\n")[0].endswith(b"200 OK")
    assert (b"[DONE]" in talk.data) == stream
    assert me.balance[0] == 1_000_000
    assert journal_lines(shop_here) == 1
    refused = me.chat("far")
    assert (refused.status, refused.json["error"]["code"]) == (503, "store_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    away.away = False
    receipt = me.receipt(talk.call)
    assert (receipt["rule"], receipt["charge_micro"], receipt["outcome"]) == ("R23", 20 * TOKEN, "served")
    assert "journalled" in receipt["flags"]
    assert me.balance == (1_000_000 - 20 * TOKEN, 0)
    wait_for(lambda: journal_lines(shop_here) == 0)


@pytest.mark.store
@pytest.mark.fault("F30")
@pytest.mark.fault("F32")
@BOTH
def test_a_call_has_ended_when_it_was_settled_however_long_that_waited(shop_here, stream):
    """Of a process that hangs before it settles, and dies after it, the answers of its last seconds are refunded."""
    me = shop_here.account("1")
    gate = threading.Event()
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: slow=0.3+tokens=20", stream=stream))
    wait_for(lambda: me.balance[1] > 0)
    hung = shop_here.server.store.write(lambda tx: gate.wait(20), patient=True)
    asyncio.run_coroutine_threadsafe(hung, shop_here.loop.loop)
    time.sleep(1.5)
    opened_us = shop_here.server.ports.clock.now_us()
    gate.set()
    talk.rest()
    assert me.receipt(talk.call)["charge_micro"] == 20 * TOKEN
    [(ended_us,)] = shop_here.read(lambda tx: tx.all("SELECT ended_us FROM calls_call WHERE id = %s", (talk.call,)))
    assert ended_us >= opened_us


@pytest.mark.store
@pytest.mark.fault("F33")
def test_the_journal_is_replayed_by_the_next_process(shop_here, away):
    me = shop_here.account("1")
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: slow=1+tokens=20", stream=True))
    wait_for(lambda: me.balance[1] > 0)
    away.away = True
    talk.rest()
    assert b"[DONE]" in talk.data
    shop_here.stop()  # the store takes nothing to the end
    assert journal_lines(shop_here) == 1
    shop_here.start()
    assert me.balance == (1_000_000 - 20 * TOKEN, 0)
    assert me.receipt(talk.call)["rule"] == "R23"
    assert journal_lines(shop_here) == 0


@pytest.mark.store
@pytest.mark.fault("F33")
@BOTH
def test_what_the_store_refuses_for_a_mistake_of_ours_is_tried_again(shop_here, away, monkeypatch, stream):
    from farebox.gateway import journal

    monkeypatch.setattr(journal, "STUCK_AGAIN_S", 1)
    me = shop_here.account("1")
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: slow=1+tokens=20", stream=stream))
    wait_for(lambda: me.balance[1] > 0)
    away.away = True
    talk.rest()
    away.mistaken = "end_call"
    away.away = False
    wait_for(lambda: away.mistakes >= 2)
    assert me.balance[0] == 1_000_000
    assert me.balance[1] > 0
    away.mistaken = ""
    wait_for(lambda: me.balance == (1_000_000 - 20 * TOKEN, 0))
    assert me.receipt(talk.call)["rule"] == "R23"
    wait_for(lambda: journal_lines(shop_here) == 0)


@pytest.mark.store
@pytest.mark.fault("F33")
@pytest.mark.rule("R24")
def test_a_journal_that_comes_too_late_charges_nothing(shop_here, away):
    from farebox.calls import log
    from farebox.kit import clock

    me = shop_here.account("1")
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: slow=1+tokens=20", stream=True))
    wait_for(lambda: me.balance[1] > 0)
    away.away = True
    talk.rest()
    shop_here.write(log.expire, epoch=shop_here.server.ports.shop.epoch, now_us=clock.now_us())
    away.away = False
    wait_for(lambda: journal_lines(shop_here) == 0)
    assert shop_here.server.node._journal.late == 1
    assert me.balance == (1_000_000, 0)
    assert me.receipt(talk.call)["charge_micro"] == 0


@pytest.mark.store
@pytest.mark.fault("F33")
def test_no_new_calls_while_too_much_waits(shop_here, away, monkeypatch):
    from farebox.gateway import journal

    monkeypatch.setattr(journal, "RECORDS_MAX", 1)
    me = shop_here.account("1")
    talks = [Talk(me, "/v1/chat/completions", chat("far", "sandbox: slow=2+tokens=5")) for _ in range(2)]
    wait_for(lambda: me.balance[1] > 0 and len(shop_here.server.ports.shop.under_way) == 2)
    away.away = True
    for talk in talks:
        talk.rest()
        assert b"200 OK" in talk.data
    assert shop_here.server.ports.journal.full
    asked = len(shop_here.sandbox.requests)
    refused = me.chat("far")
    assert (refused.status, refused.json["error"]["code"]) == (503, "store_unavailable")
    assert len(shop_here.sandbox.requests) == asked
    assert me.get("/v1/models").status == 200
    away.away = False
    wait_for(lambda: me.balance == (1_000_000 - 10 * TOKEN, 0))
    assert me.chat("far", "sandbox: tokens=5").status == 200


@pytest.mark.store
@pytest.mark.fault("F34")
@pytest.mark.rule("R15")
@BOTH
def test_neither_store_nor_journal(shop_here, away, monkeypatch, stream):
    """The last byte is held back for a while, then there is an error, and the call is free."""
    real = os.fdatasync

    def full(handle: int) -> None:
        if away.away:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fdatasync", full)
    me = shop_here.account("1")
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: slow=1+tokens=20", stream=stream))
    wait_for(lambda: me.balance[1] > 0)
    away.away = True
    talk.rest()
    assert b'"store_unavailable"' in talk.data
    assert b"[DONE]" not in talk.data
    assert journal_lines(shop_here) == 0
    away.away = False
    receipt = me.receipt(talk.call)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R15", 0)
    assert me.balance == (1_000_000, 0)


def test_a_line_that_was_cut_is_left_out(tmp_path):
    from farebox.kit.appendlog import AppendLog, line

    whole = [b'{"n":1}', b'{"n":2}']
    data = b"".join(line(record) for record in whole)
    for cut in range(len(line(whole[0])), len(data)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "ep_dead.log").write_bytes(data[:cut])
        log = AppendLog(folder, "ep_new")
        assert log.inherited == whole[:1]
        log.close()


def test_the_log_of_a_living_process_is_left_alone(tmp_path):
    from farebox.kit.appendlog import AppendLog

    living = AppendLog(tmp_path, "ep_1")
    asyncio.run(living.append([b"{}"]))
    other = AppendLog(tmp_path, "ep_2")
    assert other.inherited == []
    asyncio.run(other.clear())
    assert (tmp_path / "ep_1.log").read_bytes()
    other.close()
    living.close()
    heir = AppendLog(tmp_path, "ep_3")
    assert heir.inherited == [b"{}"]
    heir.close()


@pytest.mark.store
def test_a_record_of_another_version_stops_the_start(shop_here):
    from farebox.kit.appendlog import line
    from farebox.kit.errors import CommandError

    shop_here.stop()
    path = shop_here.options.data / "journal" / "ep_dead.log"
    path.write_bytes(line(json.dumps({"opened": {"id": "call_x"}, "more": 1}).encode()))
    with pytest.raises(CommandError, match="journal.other_version"):
        shop_here.start()
    path.unlink()
    shop_here.start()


# answers that were charged and never left (R25)


@pytest.mark.store
@pytest.mark.rule("R25")
@pytest.mark.fault("F32")
def test_a_charged_answer_that_never_left_is_refunded_at_the_next_start(shop_here):
    from farebox.calls.models import Call
    from farebox.ledger.models import Entry

    me = shop_here.account("1")
    lost, kept = me.chat("far", "sandbox: tokens=5"), me.chat("far", "sandbox: tokens=7")
    stream = me.chat("far", "sandbox: tokens=3", stream=True)
    wait_for(lambda: Call.objects.get(id=kept.call).delivered_us)
    assert Call.objects.get(id=stream.call).delivered_us is None
    shop_here.crash()
    Call.objects.filter(id=lost.call).update(delivered_us=None)
    shop_here.start()
    receipt = me.receipt(lost)
    assert "refunded" in receipt["flags"]
    assert receipt["charge"]["refunded_micro"] == receipt["charge_micro"] == 5 * TOKEN
    assert Entry.objects.get(kind="refund", ref=lost.call).note == "refund:call"
    assert me.balance == (1_000_000 - 10 * TOKEN, 0)
    shop_here.crash()
    shop_here.start()
    assert me.balance == (1_000_000 - 10 * TOKEN, 0)
    assert Entry.objects.filter(kind="refund").count() == 1


@pytest.mark.store
@pytest.mark.rule("R25")
def test_what_was_settled_earlier_is_not_looked_at(shop_here):
    from farebox.calls import delivery
    from farebox.calls.models import Call

    me = shop_here.account("1")
    early, last = me.chat("far", "sandbox: tokens=5"), me.chat("far", "sandbox: tokens=7")
    wait_for(lambda: Call.objects.get(id=last.call).delivered_us)
    shop_here.crash()
    row = Call.objects.get(id=early.call)
    Call.objects.filter(id=early.call).update(delivered_us=None, ended_us=row.ended_us - delivery.LAST_US - 6_000_000)
    shop_here.start()
    assert me.balance == (1_000_000 - 12 * TOKEN, 0)


@pytest.mark.store
@pytest.mark.rule("R25")
def test_a_settlement_that_comes_after_the_first_look_at_a_dead_node_is_refunded_too(shop_here):
    """The database may carry out a commit that it got from a process which is dead by then."""
    from farebox.calls.models import Call
    from farebox.kit import clock
    from farebox.kit.models import Epoch
    from farebox.ledger.models import Hold

    if shop_here.options.on_sqlite:
        return  # a commit there dies with its process
    me = shop_here.account("1")
    node, dead = shop_here.server.node, "ep_00000000000000000000dead"
    answer = me.chat("far", "sandbox: tokens=5")
    wait_for(lambda: Call.objects.get(id=answer.call).delivered_us)
    talk = Talk(me, "/v1/chat/completions", chat("far", "sandbox: tokens=50+pace=50", stream=True))
    talk.until(b"data: ")
    now_us = clock.now_us()
    Epoch.objects.create(id=dead, node="a", started_us=now_us, seen_us=now_us, oldest_us=now_us, ended_us=now_us)
    Hold.objects.filter(account=me.account, state="open").update(epoch=dead)
    shop_here.loop.run(node._after_the_dead())
    assert Epoch.objects.get(id=dead).cleared_us is None
    Call.objects.filter(id=answer.call).update(epoch=dead, delivered_us=None)  # now it comes
    talk.rest()
    shop_here.loop.run(node._after_the_dead())
    assert Epoch.objects.get(id=dead).cleared_us is None  # a hold that it was placing may still be committed
    Epoch.objects.filter(id=dead).update(ended_us=now_us - shop_here.options.hold_grace_s * 1_000_000)
    shop_here.loop.run(node._after_the_dead())
    assert "refunded" in me.receipt(answer)["flags"]
    assert Epoch.objects.get(id=dead).cleared_us is not None
    assert me.balance == (1_000_000 - 50 * TOKEN, 0)


@pytest.mark.store
@pytest.mark.rule("R25")
@pytest.mark.fault("F30")
def test_a_process_whose_epoch_was_ended_holds_no_money_any_more(shop_here):
    """It hung, another one has looked after what it left, and it does not know yet: what it charged now would stay."""
    from farebox.calls.models import Call
    from farebox.kit import clock
    from farebox.kit.models import Epoch
    from farebox.ledger.models import Hold

    me = shop_here.account("1")
    assert me.chat("far", "sandbox: tokens=5").status == 200
    before = (me.balance, Hold.objects.count(), Call.objects.count(), len(shop_here.sandbox.requests))
    Epoch.objects.filter(id=shop_here.server.ports.shop.epoch).update(ended_us=clock.now_us(), ended_why="test")
    for stream in (False, True):
        answer = me.chat("far", "sandbox: tokens=5", stream=stream)
        assert (answer.status, answer.json["error"]["code"]) == (503, "store_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    assert (me.balance, Hold.objects.count(), Call.objects.count(), len(shop_here.sandbox.requests)) == before


@pytest.mark.store
def test_a_clean_stop_leaves_nothing_to_refund(shop_here):
    from farebox.calls.models import Call

    me = shop_here.account("1")
    answers = [me.chat("far", "sandbox: tokens=5") for _ in range(3)]
    shop_here.stop()
    assert not Call.objects.filter(id__in=[answer.call for answer in answers], delivered_us=None).exists()
    shop_here.start()
    assert me.balance == (1_000_000 - 15 * TOKEN, 0)
