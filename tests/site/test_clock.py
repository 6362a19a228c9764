"""A clock that runs ahead takes nothing for good: jobs wait, calls are refused kindly, and a reset puts it right.

promises 4.7: seen before, a clock that was 100 days ahead for a minute took trial credit for good, and time went on at
half its speed for 200 days.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from farebox.jobs import schedule
from farebox.kit import clock, machine, timing
from farebox.kit.errors import CommandError
from farebox.ledger import ahead
from kit import cli, people
from kit.shop import Customer, Shop, opened

pytestmark = pytest.mark.store
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
LEAP_US = 100 * DAY_US


class Watch:
    """The clock of this machine, moved by a test; nobody but it says what time it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_us = 0
        self.ntp = False
        monkeypatch.setattr(clock, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + self.by_us * 1000))
        monkeypatch.setattr(clock, "SYSTEM", clock.SystemClock())
        monkeypatch.setattr(machine.Machine, "synchronised", lambda _self: self.ntp)
        self._monkeypatch = monkeypatch

    def restart(self) -> None:
        """The next process remembers no time."""
        self._monkeypatch.setattr(clock, "SYSTEM", clock.SystemClock())


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


@contextlib.contextmanager
def shop_of(instance: Any) -> Iterator[Shop]:
    with opened(instance) as shop:
        yield shop


def look(shop: Shop) -> str:
    """What the serving process thinks of the time, now."""
    shop.loop.run(shop.server.node.look_at_time())
    return str(shop.server.node.time.judgement.state)


def expire(shop: Shop) -> None:
    """The job, as the process runs it once a minute."""
    context = schedule.Context(shop.server.store, sure=shop.server.node.time.sure)
    shop.loop.run(schedule.expire_lots(context))


def given(shop: Shop, usd: str = "1") -> Customer:
    """An account with granted credit that ends in thirty days."""
    me = shop.account("0")
    cli.ok("grant", me.account, usd, "--reason", "trial", "--expires", "30d")
    return me


def refused(me: Customer) -> None:
    answer = me.chat("gpt-4", "Hello")
    assert answer.status == 503, answer.body
    assert answer.json["error"]["code"] == "store_unavailable"
    assert "clock" in answer.json["error"]["message"]
    assert 1 <= int(answer.headers["retry-after"]) <= 5


@pytest.mark.slow
@pytest.mark.fault("F37")
def test_a_clock_100_days_ahead_for_a_minute_takes_no_credit_and_a_reset_puts_it_right(instance, watch):
    with shop_of(instance) as shop:
        me = given(shop)
        short = shop.account("0", expires_us=clock.now_us() + 50 * DAY_US)
        assert look(shop) == timing.SURE
        watch.by_us = LEAP_US
        expire(shop)  # before anybody has looked
        assert look(shop) == timing.AHEAD
        expire(shop)
        assert me.balance == (1_000_000, 0)
        refused(me)
        refused(short)  # never a 401 for a key that has ended in the jump alone
        assert me.get("/v1/models").status == 200
        watch.by_us = 0
        assert look(shop) == timing.AHEAD, "time never goes back by itself"
        refused(me)
        assert cli.ok("clock")["state"] == "ahead"
        found = {row["check"]: row for row in cli.run("doctor", "--json").json["checks"]}["time"]
        assert found["verdict"] == "wrong"
        assert "clock reset" in found["todo"]
        said = cli.run("clock", "reset", "--reason", "x")
        assert (said.code, "Stop" in said.err) == (1, True)
        shop.stop()
        watch.restart()
        with pytest.raises(CommandError, match="clock.behind"):
            shop.start()
        watch.restart()
        done = cli.ok("clock", "reset", "--reason", "it ran ahead")
        assert done["until_us"] - done["from_us"] > LEAP_US - DAY_US
        assert done["lots"] == []
        assert [row["id"] for row in done["keys"]] == [short.key_id]
        watch.restart()
        shop.start()
        assert look(shop) == timing.SURE
        assert me.chat("gpt-4", "Hello").status == 200
        assert abs(clock.now_us() - time.time_ns() // 1000) < HOUR_US
        assert "nothing to put right" in reset_refused(shop)
        assert shop.findings() == []


def reset_refused(shop: Shop) -> str:
    shop.stop()
    return cli.refused("clock", "reset", "--reason", "again")


@pytest.mark.slow
def test_what_expired_in_a_jump_is_given_back_also_after_an_interruption(instance, watch, monkeypatch):
    """A person had confirmed the wrong time, so credit went; the reset gives it back, and is killed in the middle."""
    from farebox.accounts import timekeeping
    from farebox.kit import settings
    from farebox.ledger.models import CreditLot, Entry

    with shop_of(instance) as shop:
        buyers = [given(shop), given(shop, "2")]
        spent = buyers[1].chat("gpt-4", "Hello")
        assert spent.status == 200
        left = [buyer.balance[0] for buyer in buyers]
        watch.by_us = LEAP_US
        assert look(shop) == timing.AHEAD
        shop.write(timekeeping.confirm, actor="test")
        shop.server.node.time.due = lambda _now_us: True
        assert look(shop) == timing.SURE
        expire(shop)
        assert [buyer.balance[0] for buyer in buyers] == [0, 0]
        watch.by_us = 0
        shop.stop()
        watch.restart()
        give_back, asked = ahead.give_back, []

        def killed(tx: Any, account: str, **facts: Any) -> Any:
            asked.append(account)
            if len(asked) == 2:
                raise RuntimeError("killed")
            return give_back(tx, account, **facts)

        monkeypatch.setattr(ahead, "give_back", killed)
        words = ("clock", "reset", "--reason", "it ran ahead", "--trust-clock")
        with pytest.raises(RuntimeError):
            cli.run(*words)
        assert sorted(buyer.balance[0] for buyer in buyers)[0] == 0
        monkeypatch.setattr(ahead, "give_back", give_back)
        with pytest.raises(CommandError, match="server.clock_reset"):
            shop.start()
        assert cli.ok("clock")["reset_begun"]
        watch.restart()
        done = cli.ok(*words)
        assert len(done["lots"]) == 1
        assert [buyer.balance[0] for buyer in buyers] == left
        assert not shop.read(settings.get, timing.JUMP)
        assert set(CreditLot.objects.values_list("closed", "expired_micro")) == {(False, 0)}
        assert Entry.objects.filter(kind="reversal").count() == 2
        watch.restart()
        shop.start()
        # At its own end it expires as any other, under a reference of its own.
        lot = CreditLot.objects.get(account=buyers[0].account)
        from farebox.ledger import lots

        shop.write(lots.expire, account=buyers[0].account, currency="USD", now_us=lot.expires_us + 1)
        assert buyers[0].balance == (0, 0)
        assert shop.findings() == []
        verbs = [row.verb for row in trail()]
        assert verbs.count("clock.reset") == 1
        assert verbs.count("clock.give_back") == 2
        assert "clock.reset_done" in verbs


def trail() -> Any:
    from farebox.kit.models import AuditEvent

    return AuditEvent.objects.filter(verb__startswith="clock.")


def switched_off(days: int) -> None:
    """As if the shop had been stopped so long ago, and its machine as well."""
    from django.db.models import F

    from farebox.kit.models import Epoch

    by_us = days * DAY_US
    Epoch.objects.update(
        started_us=F("started_us") - by_us, seen_us=F("seen_us") - by_us, ended_us=F("ended_us") - by_us,
        sure_us=F("sure_us") - by_us, boot="",
    )  # fmt: skip


@pytest.mark.slow
def test_after_a_week_off_without_a_witness_a_person_confirms_once(instance, watch):
    with shop_of(instance) as shop:
        me = given(shop)
        shop.stop()
        switched_off(7)
        watch.restart()
        watch.by_us = LEAP_US  # it may have been: nobody knows
        shop.start()
        assert look(shop) == timing.UNPROVEN
        expire(shop)
        assert me.balance == (1_000_000, 0)
        assert me.chat("gpt-4", "Hello").status == 200, "nothing says that the clock is wrong"
        watch.by_us = 0
        shop.stop()
        reset_epochs()
        switched_off(7)
        watch.restart()
        shop.start()
        assert look(shop) == timing.UNPROVEN
        support, admin = people.operator(shop, "support"), people.operator(shop, "admin")
        assert re.search(r"33[56] hours have passed", support.page("/office/clock").text)
        assert "Confirm time" not in support.page("/office/clock").text
        assert support.send("/office/clock/confirm", {}).status == 404
        assert "Confirm it" in admin.page("/office/").text
        page = admin.follow(admin.fill("/office/clock", "/office/clock/confirm"))
        assert "Time confirmed" in page.text
        shop.server.node.time.due = lambda _now_us: True
        assert look(shop) == timing.SURE
        assert "Confirm time" not in admin.page("/office/clock").text
        assert [row.verb for row in trail()] == ["clock.confirm"]
        # Another start of the process asks nobody again.
        shop.stop()
        watch.restart()
        shop.start()
        assert look(shop) == timing.SURE


def reset_epochs() -> None:
    """No mark of the day that has not come."""
    from farebox.kit.models import Epoch

    now_us = time.time_ns() // 1000
    Epoch.objects.filter(seen_us__gt=now_us).update(seen_us=now_us, started_us=now_us, ended_us=now_us)
    Epoch.objects.filter(ended_us__gt=now_us).update(ended_us=now_us)


@pytest.mark.slow
def test_after_a_week_off_a_disciplined_clock_needs_nobody(instance, watch):
    with shop_of(instance) as shop:
        me = given(shop)
        shop.stop()
        switched_off(7)
        watch.restart()
        watch.ntp = True
        shop.start()
        assert look(shop) == timing.SURE
        assert [each.kind for each in shop.server.node.time.judgement.heard] == ["kernel"]
        assert "already confirmed" in cli.refused("clock", "confirm")
        assert me.chat("gpt-4", "Hello").status == 200


def test_a_reset_of_a_shop_that_never_ran_ahead_is_refused(ready_instance, watch):
    assert "nothing to put right" in cli.refused("clock", "reset", "--reason", "x")
    assert "Say why" in cli.refused("clock", "reset", "--reason", " ")
    shown = cli.ok("clock", "show")
    assert shown["state"] == "sure"
    assert shown["witnesses"] == []
    assert "sure" in cli.run("clock").out


def test_a_reset_takes_a_witness_and_in_a_shop_of_two_persons_no_trust_will_do(ready_instance, watch, monkeypatch):
    from farebox.kit import options
    from farebox.kit.models import Epoch

    mark_us = time.time_ns() // 1000 + LEAP_US
    Epoch.objects.create(id="ep_1", node="n", started_us=mark_us, ended_us=mark_us, seen_us=mark_us)
    assert "--trust-clock" in cli.refused("clock", "reset", "--reason", "x")
    monkeypatch.setattr(options.current(), "single_person", False)
    assert "--trust-clock" not in cli.refused("clock", "reset", "--reason", "x", "--trust-clock")
    watch.ntp = True
    assert cli.ok("clock", "reset", "--reason", "x")["lots"] == []
    assert Epoch.objects.get().seen_us < mark_us - LEAP_US + HOUR_US


def test_nothing_is_deleted_by_a_time_that_is_not_sure(ready_instance, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(schedule, "_forget_once", lambda *_: asked.append("once") or 0)
    monkeypatch.setattr(schedule, "_forget_of_people", lambda *_: asked.append("people"))
    monkeypatch.setattr(schedule, "_forget", lambda *_: asked.append("calls") or 0)
    asyncio.run(cli.with_store(schedule.forget, sure=lambda _now_us: False))
    assert asked == []
    asyncio.run(cli.with_store(schedule.forget, sure=lambda _now_us: True))
    assert asked == ["once", "people", "calls"]
