"""What runs when: each job does its work on the store, fails alone, and writes its last counts at the end."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any
from urllib.parse import urlsplit

import pytest

from farebox.jobs import daily, schedule
from farebox.kit import clock
from farebox.kit.errors import StoreUnavailable
from kit import cli

pytestmark = pytest.mark.store


@pytest.mark.slow
def test_expired_credit_is_taken_back_and_the_books_balance(ready_instance):
    from farebox.ledger.models import CreditLot

    cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")
    cli.ok("grant", "Ada", "5.00", "--reason", "x", "--expires", "1s")
    cli.ok("grant", "Ada", "2.00", "--reason", "x")
    asyncio.run(cli.with_store(schedule.expire_lots))
    assert cli.ok("account", "show", "Ada")["posted_micro"] == 7_000_000
    lot = CreditLot.objects.get(expires_us__isnull=False)
    while clock.now_us() <= lot.expires_us:
        time.sleep(0.05)
    asyncio.run(cli.with_store(schedule.expire_lots))
    asyncio.run(cli.with_store(schedule.expire_lots))
    shown = cli.ok("account", "show", "Ada")
    assert shown["posted_micro"] == 2_000_000
    assert [row["left_micro"] for row in shown["credit"]] == [2_000_000]
    assert cli.ok("prove")["clean"]


def test_refusals_are_counted_also_the_last_ones(ready_instance):
    from farebox.calls.models import RefusalTotal

    counts: list[dict[tuple[str, str, str], int]] = [
        {("2026-11-24", "", "invalid_api_key"): 3},
        {("2026-11-24", "", "invalid_api_key"): 2, ("2026-11-24", "acc_1", "insufficient_quota"): 1},
    ]

    async def life(context: schedule.Context) -> None:
        running = await schedule.start(context)
        while len(counts) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await running.stop()
        await running.stop()

    asyncio.run(cli.with_store(life, take_refusals=lambda: counts.pop(0) if counts else {}))
    rows = {(row.account, row.code): row.refusals for row in RefusalTotal.objects.all()}
    assert rows == {("", "invalid_api_key"): 5, ("acc_1", "insufficient_quota"): 1}


def test_old_diagnostics_are_forgotten(ready_instance):
    asyncio.run(cli.with_store(schedule.forget))


def operator(role):
    from farebox.accounts.people import people
    from farebox.kit import clock, db

    db.write(people.create, email="una@example.com", operator_role=role, now_us=clock.now_us(), actor="test")


def test_the_audit_trail_is_sealed_and_its_head_told_once_a_day(ready_instance, capsys):
    from farebox.kit import audit, chain, db, settings
    from farebox.kit.models import Outbox

    operator("auditor")
    before = Outbox.objects.count()
    asyncio.run(cli.with_store(schedule.tell_head))
    head = db.read(chain.head)
    assert head.n > 0
    assert not db.read(chain.unsealed)
    assert str(head) in "".join(capsys.readouterr())
    assert Outbox.objects.count() == before + 1
    db.write(audit.record, actor="test", verb="thing.done", object="later")
    asyncio.run(cli.with_store(schedule.seal))
    assert db.read(chain.head).n == head.n + 1
    asyncio.run(cli.with_store(schedule.tell_head))
    assert Outbox.objects.count() == before + 1
    assert db.write(settings.once_a_day, "audit_head_told", "2001-01-01") is False


@pytest.mark.fault("F12")
def test_a_channel_that_refuses_us_is_told_once_a_day(ready_instance):
    from farebox.kit.models import Outbox

    operator("admin")
    cli.ok("upstream", "add", "vendor")
    cli.ok("channel", "add", "vendor/eu", "vendor", "https://api.example.com/v1", "--secret-file", "-", stdin="sk-x")
    before, said = Outbox.objects.count(), "Incorrect API key provided"
    alerts = deque([("vendor/eu", said), ("vendor/eu", "another model"), ("gone", said)])
    asyncio.run(cli.with_store(schedule.alert, alerts=alerts))
    assert not alerts
    assert Outbox.objects.count() == before + 2


@pytest.mark.fault("F12")
def test_the_mail_about_a_channel_leads_to_its_page(ready_instance, monkeypatch):
    from django.urls import resolve

    from farebox.kit import db
    from farebox.office import letters
    from farebox.upstreams.models import Channel

    operator("admin")
    cli.ok("upstream", "add", "vendor")
    cli.ok("channel", "add", "vendor/eu", "vendor", "https://api.example.com/v1", "--secret-file", "-", stdin="sk-x")
    sent = []
    monkeypatch.setattr(letters, "_send", lambda _tx, _person, _subject, lines: sent.append(lines[-1]))
    for name in ("vendor/eu", "gone"):
        db.write(daily.tell_refused, name, "why", 1_795_500_000_000_000)
    page, pages = (resolve(urlsplit(link).path) for link in sent)
    assert (page.view_name, page.kwargs["channel"]) == ("office:channel", Channel.objects.get().id)
    assert pages.view_name == "office:upstreams"


@pytest.mark.parametrize(("fault", "left"), [(StoreUnavailable("away"), 2), (ValueError("a mistake of ours"), 1)])
def test_an_alert_waits_for_the_store_and_keeps_no_other_waiting(instance, fault, left):
    async def fails(context: schedule.Context) -> None:
        async def write(*_: Any) -> None:
            raise fault

        context.store.write = write
        await schedule.alert(context)

    alerts = deque([("one", "said"), ("two", "said")])
    with pytest.raises(type(fault)):
        asyncio.run(cli.with_store(fails, alerts=alerts))
    assert len(alerts) == left


def test_a_job_that_fails_comes_again(monkeypatch):
    monkeypatch.setattr(schedule, "LOTS_EVERY_S", 0)
    tried = []

    async def broken(_context: schedule.Context) -> None:
        tried.append(1)
        raise RuntimeError("the store is away")

    class Nothing:
        async def read(self, *_: Any) -> Any:
            return []

        async def write(self, *_: Any, **__: Any) -> Any:
            return 0

    monkeypatch.setattr(schedule, "expire_lots", broken)

    async def life() -> None:
        running = await schedule.start(schedule.Context(store=Nothing()))
        while len(tried) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await running.stop()

    asyncio.run(asyncio.wait_for(life(), 10))
