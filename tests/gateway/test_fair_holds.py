"""Holding fairly (promises 1.8 to 1.12): what is held, how it grows, who is refused, and what a failing store leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from farebox.accounts.caps import Caps
from kit.talk import Talk, canned, chat, on_sale, wait_for

pytestmark = pytest.mark.usefixtures("rules_1")

TOKEN = 100  # micro-USD for a token of output, where a model is priced by output alone


@pytest.fixture(autouse=True)
def _healthy(shop):
    shop.reset_health()
    yield
    shop.loop.run(shop.sandbox.idle())
    assert shop.findings() == []


@pytest.fixture
def priced(shop):
    """A model of visible output that costs 100 micro-USD a token of output, and nothing else."""
    made = iter(range(100))

    def make(**facts):
        name = f"out-{next(made)}-{time.monotonic_ns()}"
        return on_sale(shop, shop.model(name, {"input": "0", "output": "100"}, **facts))

    return make


def money(tokens: int) -> str:
    """So many tokens of output, in USD."""
    return f"{tokens * TOKEN / 1_000_000:.6f}"


def error(answer) -> str:
    return answer.json["error"]["code"]


# (a) the official prices


OFFICIAL = {
    "gpt-3.5-turbo-0125": 1_250, "gpt-3.5-turbo-instruct": 2_500, "gpt-4": 60_000, "gpt-4-32k": 120_000,
    "gpt-4-0125-preview": 25_000, "gpt-4-1106-preview": 25_000, "gpt-4-1106-vision-preview": 25_000,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.rule("R02")
@pytest.mark.parametrize("model", OFFICIAL)
def test_the_official_models_to_the_micro_unit(shop, model):
    from farebox.accounts import accounts

    me = shop.account("1")
    shop.write(accounts.set_price_list, me.account, price_list="official-usd", actor="test")
    shop.refresh()
    text = "sandbox: usage=1000,500+tokens=500\n" + "x" * 1000
    if model == "gpt-3.5-turbo-instruct":
        answer = me.request("POST", "/v1/completions", {"model": model, "prompt": text, "max_tokens": 500})
    else:
        answer = me.chat(model, text, max_tokens=500)
    assert answer.status == 200
    receipt = me.receipt(answer)
    assert receipt["charge_micro"] == OFFICIAL[model]
    assert me.balance == (1_000_000 - OFFICIAL[model], 0)
    assert (receipt["price_list"], receipt["rule"]) == ("official-usd", "R02")
    if model == "gpt-4":
        assert receipt["charge"]["amount"] == "0.060000"
        assert [
            (line["class"], line["units"], line["price_micro_per_million"], line["amount"]) for line in receipt["lines"]
        ] == [
            ("input", 1000, 30_000_000, "0.030000"),
            ("output", 500, 60_000_000, "0.030000"),
        ]


# (b) two hundred callers for fifty calls


async def _ask(port: int, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    raw = await reader.read()
    writer.close()
    await writer.wait_closed()
    top, _, rest = raw.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, rest


@contextlib.contextmanager
def watched(me):
    """Read the ledger row all the time, from a thread of its own: (posted, held) as often as it can."""
    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def look() -> None:
        from django.db import connection

        while not done.is_set():
            seen.append(me.balance)
            time.sleep(0.002)
        connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


@pytest.mark.store
@pytest.mark.slow
@pytest.mark.rule("R01")
@pytest.mark.fault("F06")
def test_two_hundred_callers_on_money_for_fifty_calls(shop, priced):
    name = priced()
    me = shop.account(money(50 * 16))
    body = json.dumps(chat(name, "sandbox: full+slow=0.4", max_tokens=16)).encode()
    refused: list[str] = []

    async def caller() -> str:
        """As an SDK does: again after Retry-After, unless it is told not to."""
        while True:
            status, headers, answer = await _ask(shop.server.port, me.key, body)
            if status == 200:
                return "served"
            code = json.loads(answer)["error"]["code"]
            assert status == 429
            refused.append(code)
            if headers.get("x-should-retry") == "false":
                assert code == "insufficient_quota"
                return code
            assert code == "rate_limit_exceeded"
            assert int(headers["retry-after"]) >= 1
            await asyncio.sleep(0.25)

    async def everybody() -> list[str]:
        return await asyncio.gather(*(caller() for _ in range(200)))

    with watched(me) as seen:
        ends = asyncio.run(everybody())
    assert (ends.count("served"), ends.count("insufficient_quota")) == (50, 150)
    assert "rate_limit_exceeded" in refused
    assert me.balance == (0, 0)
    assert len(seen) > 20
    assert all(0 <= held <= posted for posted, held in seen)
    assert any(held for _, held in seen)


@pytest.mark.slow
def test_two_hundred_sdk_clients_with_their_own_retries_end_with_the_money_spent(shop, priced):
    import openai

    name = priced()
    me = shop.account(money(50 * 16))

    async def caller(client: openai.AsyncOpenAI) -> str:
        try:
            await client.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "sandbox: full+slow=0.4"}], max_tokens=16
            )
        except openai.RateLimitError as fault:
            return str(fault.code)
        return "served"

    async def everybody() -> list[str]:
        async with openai.AsyncOpenAI(api_key=me.key, base_url=f"{shop.url}/v1") as client:
            return await asyncio.gather(*(caller(client) for _ in range(200)))

    ends = asyncio.run(everybody())
    assert (ends.count("served"), ends.count("insufficient_quota")) == (50, 150)
    assert me.balance == (0, 0)


# (c), (d), (f) streams


@pytest.mark.store
@pytest.mark.slow
def test_ten_streams_on_a_balance_of_three_worst_cases(shop, priced):
    name = priced(output_tokens_max=4096)
    me = shop.account(money(3 * 4096))
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: me.chat(name, "sandbox: tokens=90+pace=8", stream=True), range(10)))
    assert [answer.events[-1] for answer in answers] == ["[DONE]"] * 10
    receipts = [me.receipt(answer) for answer in answers]
    assert max(r["opened_us"] for r in receipts) < min(r["ended_us"] for r in receipts)  # all at once
    assert {r["charge_micro"] for r in receipts} == {90 * TOKEN}
    assert me.balance == ((3 * 4096 - 900) * TOKEN, 0)


@pytest.mark.store
@pytest.mark.slow
def test_a_long_stream_extends_its_hold(shop, priced):
    name = priced(output_tokens_max=4096)
    me = shop.account("1")
    answer = me.chat(name, "sandbox: tokens=1500", stream=True)
    assert answer.events[-1] == "[DONE]"
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R02", 1500 * TOKEN)
    assert receipt["hold_micro"] > 1024 * TOKEN
    assert me.balance == (1_000_000 - 1500 * TOKEN, 0)
    short = me.receipt(me.chat(name, "sandbox: tokens=50", stream=True))
    assert short["hold_micro"] == 1024 * TOKEN


def test_a_stream_never_holds_more_than_its_limit(shop, priced):
    name = priced(output_tokens_max=4096)
    me = shop.account("1")
    answer = me.chat(name, "sandbox: full", stream=True, max_tokens=1100)
    assert me.receipt(answer)["hold_micro"] == 1100 * TOKEN
    assert me.receipt(answer)["charge_micro"] == 1100 * TOKEN


@pytest.mark.store
@pytest.mark.slow
@pytest.mark.rule("R07")
def test_out_of_money_in_mid_stream(shop, priced):
    name = priced(output_tokens_max=4096)
    me = shop.account(money(1500))
    answer = me.chat(name, "sandbox: tokens=3000+pace=0.1", stream=True, stream_options={"include_usage": True})
    assert answer.status == 200
    assert answer.events[-1] == "[DONE]"
    assert answer.events[-2]["usage"]["completion_tokens"] > 0
    assert answer.events[-3]["choices"][0]["finish_reason"] == "length"
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["finish_reason"]) == ("R07", "length")
    assert "hold_used_up" in receipt["flags"]
    assert receipt["hold_micro"] == 1500 * TOKEN
    assert 0 < receipt["charge_micro"] <= receipt["hold_micro"]
    assert len(answer.text.encode()) <= 1500  # no event was delivered that was not covered to its last byte
    assert len(answer.text.encode()) > 1400
    assert me.balance == (1500 * TOKEN - receipt["charge_micro"], 0)
    shop.loop.run(shop.sandbox.idle())
    assert shop.sandbox.requests[-1].ended == "client-left"
    assert "max_tokens" not in shop.sandbox.requests[-1].body
    assert "x-farebox-max-tokens" not in answer.headers


@pytest.mark.rule("R07")
def test_an_event_that_is_not_covered_is_not_delivered(shop, priced):
    event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
             "choices": [{"index": 0, "delta": {"content": "y" * 5000}, "finish_reason": None}]}  # fmt: skip
    raw = b"data: " + json.dumps(event).encode() + b"\n\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(raw) + 100}\r\n\r\n"
    name = priced(output_tokens_max=4096)
    me = shop.account(money(2000))
    with canned(shop, head.encode() + raw) as upstream:
        shop.add_channel("one-event", upstream.base_url, [name], tier=0)
        answer = me.chat(on_sale(shop, name, 2), stream=True)
    assert answer.text == ""
    assert [c["finish_reason"] for e in answer.events[:-1] for c in e["choices"]] == ["length"]
    assert answer.events[-1] == "[DONE]"
    assert me.receipt(answer)["charge_micro"] == 0
    assert me.balance == (2000 * TOKEN, 0)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_hidden_output_holds_the_whole_ceiling(shop, priced, stream):
    prices = {"input": "0", "output": "100", "reasoning": "150"}
    name = shop.model(f"hidden-{stream}".lower(), prices, hidden_output=True, output_tokens_max=3000)
    on_sale(shop, name)
    me = shop.account("1")
    answer = me.chat(name, "sandbox: reasoning=20+tokens=5", stream=stream)
    receipt = me.receipt(answer)
    assert receipt["hold_micro"] == 3000 * 150
    assert receipt["usage"] == {"input": receipt["usage"]["input"], "output": 5, "reasoning": 20}
    assert receipt["charge_micro"] == 5 * 100 + 20 * 150
    poor = shop.account("0.030000")  # for 200 of 3000 tokens
    answer = poor.chat(name, "sandbox: full", stream=stream)
    assert answer.status == 200
    assert shop.sandbox.requests[-1].body["max_tokens"] == 200
    assert "limit_lowered" in poor.receipt(answer)["flags"]


# (e), (g) limits


def test_little_money_lowers_the_limit(shop, priced):
    name = priced(output_tokens_max=4096)
    me = shop.account(money(50))
    answer = me.chat(name, "sandbox: full")
    assert answer.status == 200
    assert answer.headers["x-farebox-max-tokens"] == "50"
    assert answer.json["choices"][0]["finish_reason"] == "length"
    assert shop.sandbox.requests[-1].body["max_tokens"] == 50
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R07", 50 * TOKEN)
    assert "limit_lowered" in receipt["flags"]
    assert me.balance == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_refused_below_the_least_of_asked_and_sixteen(shop, priced, stream):
    name = priced(output_tokens_max=4096)
    me = shop.account(money(15))
    before = shop.counts()
    for params in ({}, {"max_tokens": 16}, {"max_tokens": 2, "n": 8}):
        answer = me.chat(name, stream=stream, **params)
        assert (answer.status, error(answer)) == (429, "insufficient_quota")
    assert shop.counts() == before
    answer = me.chat(name, "sandbox: full", stream=stream, max_tokens=15)
    assert answer.status == 200
    assert me.receipt(answer)["charge_micro"] == 15 * TOKEN


@pytest.mark.parametrize("stream", [False, True])
def test_a_limit_is_sent_only_if_asked_for(shop, priced, stream):
    name = priced(output_tokens_max=4096)
    me = shop.account("1")
    assert me.chat(name, stream=stream).status == 200
    assert not {"max_tokens", "max_completion_tokens"} & shop.sandbox.requests[-1].body.keys()
    answer = me.chat(name, stream=stream, max_completion_tokens=77)
    assert shop.sandbox.requests[-1].body["max_completion_tokens"] == 77  # as the customer called it
    assert "max_tokens" not in shop.sandbox.requests[-1].body
    assert "x-farebox-max-tokens" not in answer.headers
    assert me.chat(name, stream=stream, max_tokens=10**9).status == 200
    assert shop.sandbox.requests[-1].body["max_tokens"] == 4096
    if not stream:
        assert me.receipt(answer)["hold_micro"] == 77 * TOKEN


# (h) caps


@pytest.mark.store
def test_the_caps_of_key_project_and_member_are_held_together(shop, priced):
    from farebox.accounts import projects
    from farebox.accounts.keys import keys
    from farebox.accounts.people import people
    from farebox.kit import clock
    from farebox.ledger.models import Hold, LedgerAccount

    name = priced()
    me = shop.account("1", caps=Caps(ever_micro=20 * TOKEN))
    now_us = clock.now_us()
    project = keys.find(me.key_id).project_id
    shop.write(projects.set_caps, project, {"month": 50 * TOKEN}, now_us=now_us, actor="test")
    person = shop.write(people.create, email=f"{me.account}@example.org", name="M", now_us=now_us, actor="test")
    member = shop.write(
        people.add_member, account=me.account, person=person.id, role="member", caps=Caps(day_micro=30 * TOKEN),
        now_us=now_us, actor="test",
    )  # fmt: skip
    from farebox.accounts.models import ApiKey

    shop.write(lambda tx: ApiKey.objects.filter(id=me.key_id).update(member=member.id))
    shop.write(lambda tx: shop.db.bump(tx, "keys"))
    shop.refresh()
    talk = Talk(me, "/v1/chat/completions", chat(name, "sandbox: full+slow=0.3", max_tokens=16))
    wait_for(lambda: me.balance[1])
    held = {a.id[:7]: a.held_micro for a in LedgerAccount.objects.filter(id__contains=me.key_id)}
    purses = Hold.objects.get(account=me.account).purses.split()
    assert [purse[:7] for purse in purses] == ["acc_" + me.account[4:7], "cap:key", "cap:mem", "cap:prj"]
    assert {a.held_micro for a in LedgerAccount.objects.filter(id__in=purses)} == {16 * TOKEN}
    assert held == {"cap:key": 16 * TOKEN}
    waiting = me.chat(name, max_tokens=16)
    assert (waiting.status, error(waiting)) == (429, "rate_limit_exceeded")
    talk.rest()
    me.receipt(talk.call)
    assert {a.held_micro for a in LedgerAccount.objects.filter(id__in=purses)} == {0}
    assert sorted(a.posted_micro for a in LedgerAccount.objects.filter(id__in=purses)) == [
        -16 * TOKEN, -16 * TOKEN, -16 * TOKEN, 1_000_000 - 16 * TOKEN,
    ]  # fmt: skip
    spent = me.chat(name, max_tokens=16)
    assert (spent.status, error(spent)) == (429, "insufficient_quota")
    assert "The cap of this API key is used up." in spent.json["error"]["message"]
    assert "exceeded your current quota" in spent.json["error"]["message"]
    assert spent.headers["x-should-retry"] == "false"


@pytest.mark.store
@pytest.mark.parametrize(("scope", "word"), [("project", "project"), ("member", "member")])
def test_a_used_up_cap_says_whose_it_is(shop, priced, scope, word):
    from farebox.accounts import projects
    from farebox.accounts.keys import keys
    from farebox.accounts.models import ApiKey
    from farebox.accounts.people import people
    from farebox.kit import clock

    me = shop.account("1")
    now_us = clock.now_us()
    who = {"now_us": now_us, "actor": "test"}
    if scope == "project":
        shop.write(projects.set_caps, keys.find(me.key_id).project_id, {"month": 16 * TOKEN}, **who)
    else:
        person = shop.write(people.create, email=f"{me.account}@example.org", name="M", now_us=now_us, actor="test")
        cap = Caps(month_micro=16 * TOKEN)
        member = shop.write(people.add_member, account=me.account, person=person.id, role="member", caps=cap, **who)
        shop.write(lambda tx: (ApiKey.objects.filter(id=me.key_id).update(member=member.id), shop.db.bump(tx, "keys")))
    shop.refresh()
    name = priced()
    assert me.chat(name, "sandbox: full", max_tokens=16).status == 200
    answer = me.chat(name, max_tokens=16)
    assert error(answer) == "insufficient_quota"
    assert f"The cap of this {word} is used up." in answer.json["error"]["message"]


@pytest.mark.store
def test_a_day_is_the_accounts_own(shop, priced):
    from farebox.accounts.models import Account
    from farebox.ledger.models import LedgerAccount

    me = shop.account("1", caps=Caps(day_micro=5000))
    ahead, behind = "Pacific/Kiritimati", "Pacific/Niue"  # 25 hours apart: never the same date
    name = priced()
    for zone in (ahead, behind):
        shop.write(
            lambda tx, zone=zone: (
                Account.objects.filter(id=me.account).update(time_zone=zone),
                shop.db.bump(tx, "keys"),
            )
        )
        shop.refresh()
        assert me.chat(name, "sandbox: full", max_tokens=16).status == 200
    days = {datetime.now(ZoneInfo(ahead)).date() - timedelta(days=n) for n in range(3)}
    found = {row.id.rpartition(":")[2] for row in LedgerAccount.objects.filter(id__startswith=f"cap:{me.key_id}:")}
    assert len(found) == 2
    assert found <= {str(day) for day in days}
    assert str(datetime.now(ZoneInfo(behind)).date()) in found


# (i) several answers


def test_answers_and_prompts_multiply(shop, priced):
    name = priced(kinds=["chat", "completions"])
    me = shop.account("1")
    answer = me.chat(name, "sandbox: full", n=3, max_tokens=20)
    assert me.receipt(answer)["hold_micro"] == 60 * TOKEN
    assert me.receipt(answer)["charge_micro"] == 60 * TOKEN
    stream = me.chat(name, "sandbox: full", n=3, max_tokens=20, stream=True)
    assert me.receipt(stream)["hold_micro"] == 60 * TOKEN
    assert me.receipt(stream)["charge_micro"] == 60 * TOKEN
    body = {"model": name, "prompt": ["sandbox: full\na", "sandbox: full\nb"], "max_tokens": 10, "n": 2, "best_of": 4}
    answer = me.request("POST", "/v1/completions", body)
    assert len(answer.json["choices"]) == 4
    receipt = me.receipt(answer)
    assert (receipt["hold_micro"], receipt["charge_micro"]) == (80 * TOKEN, 80 * TOKEN)
    answer = me.request("POST", "/v1/completions", {"model": name, "prompt": "sandbox: full"})
    assert me.receipt(answer)["hold_micro"] == 16 * TOKEN
    poor = shop.account(money(49))
    answer = poor.chat(name, "sandbox: full", n=3)
    assert (answer.status, answer.headers["x-farebox-max-tokens"]) == (200, "16")
    assert poor.receipt(answer)["charge_micro"] == 48 * TOKEN


@pytest.mark.rule("R03")
@pytest.mark.fault("F23")
def test_each_answer_is_counted_by_itself(shop):
    """Without a report the texts of several answers are not run together."""
    me = shop.account("1")
    answer = me.chat("gpt-4", "sandbox: tokens=20+no-usage", n=3, stream=True)
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["usage"]["output"]) == ("R03", 60)


# (j), (k) prices and charges


@pytest.mark.store
@pytest.mark.slow
@pytest.mark.rule("R02")
@pytest.mark.fault("F36")
def test_a_call_keeps_the_price_of_its_hold(shop, priced):
    from farebox.catalog import price_lists, sheets
    from farebox.kit import clock

    name = priced()
    me = shop.account("1")
    talk = Talk(me, "/v1/chat/completions", chat(name, "sandbox: tokens=20+pace=30", stream=True))
    talk.until(b"data: ", times=3)
    rows = [sheets.row(name, "input", "0"), sheets.row(name, "output", "300")]
    shop.write(price_lists.publish, "usd", rows, actor="test", now_us=clock.now_us())
    shop.refresh()
    wait_for(
        lambda: shop.server.ports.shop.shelf.current.offer(name, "usd", clock.now_us()).prices["output"] == 300_000_000
    )
    later = me.chat(name, "sandbox: tokens=20")
    talk.rest()
    first, second = me.receipt(talk.call), me.receipt(later)
    assert (first["charge_micro"], second["charge_micro"]) == (20 * TOKEN, 20 * 3 * TOKEN)
    assert first["ended_us"] > second["ended_us"]
    assert first["price_version"] < second["price_version"]


@pytest.mark.slow
@pytest.mark.parametrize(("tokens", "short"), [(3000, False), (1500, True)])
def test_a_plausible_charge_above_the_hold(shop, priced, tokens, short):
    name = priced(output_tokens_max=4096)
    me = shop.account(money(tokens))
    answer = me.chat(name, "sandbox: tokens=10+usage=10,2500", stream=True)
    assert answer.events[-1] == "[DONE]"
    receipt = me.receipt(answer)
    charge = min(tokens, 2500) * TOKEN
    assert receipt["charge_micro"] == receipt["hold_micro"] == charge
    assert ("short" in receipt["flags"]) == short
    assert me.balance == (tokens * TOKEN - charge, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_never_more_than_the_ceiling(shop, priced, stream):
    """A report may lie a little above the limit; what was asked for is the most that is paid all the same."""
    name = priced(output_tokens_max=4096)
    me = shop.account("1")
    answer = me.chat(name, "sandbox: tokens=20+usage=10,30", stream=stream, max_tokens=20)
    receipt = me.receipt(answer)
    assert (receipt["charge_micro"], receipt["hold_micro"]) == (20 * TOKEN, 20 * TOKEN)
    assert receipt["usage"]["output"] == 30
    assert "short" in receipt["flags"]


# what fails between the two writes


class Failing:
    """A store that fails `times` times for the functions `fn`, before they ran or after their commit."""

    def __init__(self, store, fn: str, times: int, *, after: bool) -> None:
        self._store = store
        self._fn = fn
        self.times = times
        self._after = after

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def write(self, fn, *args, **kwargs):
        from farebox.kit import errors

        if fn.__name__ not in self._fn.split() or self.times <= 0:
            return await self._store.write(fn, *args, **kwargs)
        self.times -= 1
        if not self._after:
            raise errors.StoreUnavailable  # without a cause: it was surely not done
        await self._store.write(fn, *args, **kwargs)
        raise errors.StoreUnavailable from OSError("the database went away")


@pytest.fixture
def failing(shop):
    ports = shop.server.ports
    store = ports.store

    def make(fn: str, times: int, *, after: bool = False) -> Failing:
        ports.store = Failing(store, fn, times, after=after)
        return ports.store

    yield make
    ports.store = store


def freed(me) -> None:
    wait_for(lambda: me.balance[1] == 0)


@pytest.mark.store
@pytest.mark.rule("R15")
@pytest.mark.fault("F05")
def test_a_hold_whose_commit_is_unknown_is_voided(shop, priced, failing):
    me = shop.account("1")
    failing("open_call", 1, after=True)
    answer = me.chat(priced(), max_tokens=16)
    assert (answer.status, error(answer)) == (503, "store_unavailable")
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R15", 0)
    assert me.balance == (1_000_000, 0)


@pytest.mark.store
@pytest.mark.slow
def test_holds_are_voided_when_the_store_is_back(shop, priced, failing, option, no_journal):
    option(settle_wait_s=0)
    me = shop.account("1")
    name = priced()
    away = failing("end_call void_call", 10**6)
    answers = [me.chat(name, "sandbox: tokens=5", max_tokens=16) for _ in range(3)]
    assert {answer.status for answer in answers} == {503}
    assert me.balance == (1_000_000, 3 * 16 * TOKEN)
    away.times = 0
    assert {me.receipt(answer)["charge_micro"] for answer in answers} == {0}
    assert me.balance == (1_000_000, 0)
    assert not shop.server.ports.shop.to_void


@pytest.mark.store
@pytest.mark.rule("R01")
def test_a_hold_that_was_never_placed_needs_no_void(shop, priced, failing):
    me = shop.account("1")
    failing("open_call", 1)
    answer = me.chat(priced(), max_tokens=16)
    assert (answer.status, error(answer)) == (503, "store_unavailable")
    time.sleep(0.05)
    assert me.get(f"/v1/calls/{answer.call}").status == 404
    assert me.balance == (1_000_000, 0)


@pytest.mark.store
@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_settlement_is_tried_again(shop, priced, failing, stream):
    me = shop.account("1")
    failing("end_call", 2)
    answer = me.chat(priced(), "sandbox: tokens=5", stream=stream)
    assert answer.status == 200
    assert me.receipt(answer)["charge_micro"] == 5 * TOKEN
    assert me.balance == (1_000_000 - 5 * TOKEN, 0)


@pytest.mark.store
@pytest.mark.slow
@pytest.mark.rule("R15")
@pytest.mark.parametrize("stream", [False, True])
def test_without_a_settlement_there_is_no_end_and_no_charge(shop, priced, failing, option, no_journal, stream):
    option(settle_wait_s=0)
    me = shop.account("1")
    failing("end_call", 1)
    answer = me.chat(priced(), "sandbox: tokens=5", stream=stream)
    if stream:
        assert answer.events[-1]["error"]["code"] == "store_unavailable"
        assert "[DONE]" not in answer.events
    else:
        assert (answer.status, error(answer)) == (503, "store_unavailable")
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R15", 0)
    assert [attempt["charged"] for attempt in receipt["attempts"]] == [False]
    assert me.balance == (1_000_000, 0)


@pytest.mark.store
@pytest.mark.rule("R15")
def test_a_stream_whose_hold_cannot_grow_for_the_store_is_free(shop, priced, failing):
    me = shop.account("1")
    failing("extend_hold", 1)
    answer = me.chat(priced(), "sandbox: tokens=900", stream=True)
    assert "error" in answer.events[-1]
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R15", 0)
    assert me.balance == (1_000_000, 0)


@pytest.mark.store
def test_an_extension_that_was_done_twice_costs_nothing(shop, priced, failing):
    me = shop.account("1")
    failing("extend_hold", 1, after=True)
    answer = me.chat(priced(), "sandbox: tokens=900", stream=True)
    assert me.receipt(answer)["rule"] == "R15"
    assert me.balance == (1_000_000, 0)


MISTAKES = [
    "gateway.settlement._facts",
    "gateway.serve.conclude",
    "gateway.admission.headers",
    "protocol.openai_form.writing.StreamWriter.write",
    "protocol.openai_form.writing.splice.usage_chunk",
]


@pytest.mark.slow
@pytest.mark.rule("R15")
@pytest.mark.parametrize("where", MISTAKES)
def test_a_mistake_of_ours_ends_the_hold(shop, priced, monkeypatch, where):
    def mistake(*args, **kwargs):
        raise ZeroDivisionError

    me = shop.account("1")
    name = priced()
    with monkeypatch.context() as patch:
        patch.setattr(f"farebox.{where}", mistake)
        answer = me.chat(name, "sandbox: tokens=5", stream=True, stream_options={"include_usage": True})
        freed(me)
    assert answer.status == 500 or "error" in answer.events[-1]
    assert b"[DONE]" not in answer.body
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R15", 0)
    assert me.balance == (1_000_000, 0)


@pytest.mark.store
@pytest.mark.slow
@pytest.mark.rule("R15")
@pytest.mark.parametrize("how", ["halted", "cancelled"])
def test_a_call_that_is_stopped_ends_its_hold(shop, priced, how):
    me = shop.account("1")
    talk = Talk(me, "/v1/chat/completions", chat(priced(), "sandbox: tokens=100+pace=50", stream=True))
    talk.until(b"data: ", times=3)

    async def stop() -> None:
        for along in list(shop.server.ports.shop.under_way):
            along.halt()
        if how == "cancelled":
            for task in list(shop.server.reception.tasks):
                task.cancel()

    shop.loop.run(stop())
    talk.rest()
    assert b'"error"' in talk.data
    assert b"[DONE]" not in talk.data
    receipt = me.receipt(talk.call)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R15", 0)
    assert me.balance == (1_000_000, 0)
    shop.loop.run(shop.sandbox.idle())
    assert shop.sandbox.requests[-1].ended == "client-left"


@pytest.mark.store
@pytest.mark.rule("R15")
def test_a_call_that_is_cancelled_while_it_waits_for_the_store(shop, priced, failing):
    me = shop.account("1")
    away = failing("end_call", 10**6)
    talk = Talk(me, "/v1/chat/completions", chat(priced(), "sandbox: tokens=5", stream=True))
    wait_for(lambda: away.times < 10**6)

    async def cancel() -> None:
        for task in list(shop.server.reception.tasks):
            task.cancel()

    shop.loop.run(cancel())
    away.times = 0
    freed(me)
    talk.leave()
    receipt = me.receipt(talk.call)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R15", 0)
    assert me.balance == (1_000_000, 0)


@pytest.mark.store
@pytest.mark.slow
@pytest.mark.rule("R24")
def test_a_settlement_after_expiry_is_refused(shop, priced):
    from farebox.calls import log
    from farebox.kit import clock

    me = shop.account("1")
    talk = Talk(me, "/v1/chat/completions", chat(priced(), "sandbox: tokens=10+pace=20", stream=True))
    talk.until(b"data: ", times=3)
    assert shop.write(log.expire, epoch=shop.server.ports.shop.epoch, now_us=clock.now_us()) == 1
    talk.rest()
    assert b'"error"' in talk.data
    assert b"[DONE]" not in talk.data
    receipt = me.receipt(talk.call)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R24", 0)
    assert [(attempt["outcome"], attempt["charged"]) for attempt in receipt["attempts"]] == [("served", False)]
    assert me.balance == (1_000_000, 0)
