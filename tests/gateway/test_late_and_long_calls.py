"""How calls end when something goes on for too long, comes too late, or was done although nobody heard of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from uuid import uuid4

import pytest

from farebox.accounts.caps import Caps
from farebox.gateway import voiding
from kit.raw import Raw, connect, listen, post
from kit.talk import PROMPTLY_S, Talk, chat, on_sale, wait_for

pytestmark = pytest.mark.slow

START = 1_000_000
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@pytest.fixture(autouse=True)
def _healthy(shop):
    shop.reset_health()


# a settlement that was committed although its customer was told otherwise


class Deaf:
    """A store whose answer to the settlement of a call is lost, after its commit; `away` for what comes later.

    So many voidings as `refuses` it refuses for a mistake of ours.
    """

    def __init__(self, store) -> None:
        self._store = store
        self.away = False
        self.refuses = 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def write(self, fn, *args, **kwargs):
        from farebox.kit import errors

        if self.away and fn.__name__ == "void_call":
            raise errors.StoreUnavailable
        if self.refuses and fn.__name__ == "void_call":
            self.refuses -= 1
            raise RuntimeError("permission denied for this table")
        found = await self._store.write(fn, *args, **kwargs)
        if fn.__name__ == "end_call":
            raise errors.StoreUnavailable from OSError("the connection was lost after the commit")
        return found


@pytest.fixture
def deaf(shop, option, no_journal):
    option(settle_wait_s=0)
    ports = shop.server.ports
    store, ports.store = ports.store, Deaf(ports.store)
    yield
    ports.store = store


def spent(me) -> int:
    """What the day's totals say, in cents."""
    return me.get("/v1/dashboard/billing/usage").json["total_usage"]


@pytest.mark.store
@pytest.mark.rule("R25")
def test_a_charge_whose_customer_saw_an_error_is_given_back(shop, deaf):
    from farebox.ledger.models import Entry, LedgerAccount, Posting

    me = shop.account("1", caps=Caps(day_micro=500_000))
    answer = me.chat("gpt-4", "sandbox: tokens=5")
    assert (answer.status, answer.json["error"]["code"]) == (503, "store_unavailable")
    wait_for(lambda: "refunded" in me.receipt(answer)["flags"])
    assert me.balance == (START, 0)
    receipt = me.receipt(answer)
    assert receipt["charge_micro"] >= 300
    assert receipt["charge"]["refunded_micro"] == receipt["charge_micro"]
    entry = Entry.objects.get(account=me.account, kind="refund", ref=answer.call)
    lines = dict(Posting.objects.filter(entry_id=entry.id).values_list("account", "amount_micro"))
    assert lines == {me.account: receipt["charge_micro"], "house:revenue:USD": -receipt["charge_micro"]}
    cap = LedgerAccount.objects.get(id__startswith=f"cap:{me.key_id}:")
    assert (cap.posted_micro, cap.held_micro) == (0, 0)
    assert spent(me) == 0
    assert shop.findings() == []


@pytest.mark.store
def test_a_charge_is_given_back_once(shop, me, deaf):
    from farebox.ledger import holds
    from farebox.ledger.models import Entry

    answer = me.chat("gpt-4", "sandbox: tokens=5")
    wait_for(lambda: "refunded" in me.receipt(answer)["flags"])
    for _ in range(2):
        assert shop.write(holds.refund, hold=answer.call, currency="USD", now_us=time.time_ns() // 1000) == 0
    assert Entry.objects.filter(kind="refund", ref=answer.call).count() == 1
    assert me.receipt(answer)["flags"].count("refunded") == 1
    assert me.balance == (START, 0)


@pytest.mark.store
def test_a_charge_that_was_given_back_has_eaten_no_credit(shop, me, deaf):
    from farebox.ledger import lots

    answer = me.chat("gpt-4", "sandbox: tokens=5")
    wait_for(lambda: "refunded" in me.receipt(answer)["flags"])
    assert list(shop.read(lots.lots_of, me.account)[1].values()) == [START]


@pytest.mark.store
@pytest.mark.rule("R15")
@BOTH
def test_a_task_that_is_cancelled_while_it_settles(shop, me, option, stream):
    option(settle_wait_s=60)
    ports = shop.server.ports
    own, ports.store = ports.store, Deaf(ports.store)
    try:
        talk = Talk(me, "/v1/chat/completions", chat("gpt-4", "sandbox: tokens=5", stream=stream))
        wait_for(lambda: me.balance[0] < START)  # committed, and tried again and again

        async def cancel() -> None:
            for task in list(shop.server.reception.tasks):
                task.cancel()

        shop.loop.run(cancel())
        wait_for(lambda: not shop.server.reception.tasks and not shop.server.ports.shop.to_void)
    finally:
        ports.store = own
    receipt = me.receipt(talk.call)
    assert receipt["charge_micro"] >= 300
    assert "refunded" in receipt["flags"]
    assert me.balance == (START, 0)
    talk.leave()


@pytest.mark.store
def test_a_charge_that_can_not_be_given_back_for_a_mistake_of_ours_is_given_back_later(shop, me, deaf, monkeypatch):
    monkeypatch.setattr(voiding, "FAILED_AGAIN_S", 1)
    store = shop.server.ports.store
    store.refuses = 3
    answer = me.chat("gpt-4", "sandbox: tokens=5")
    assert answer.status == 503
    wait_for(lambda: store.refuses == 0)
    wait_for(lambda: not shop.server.ports.shop.to_void)
    assert "refunded" in me.receipt(answer)["flags"]
    assert me.balance == (START, 0)


@pytest.mark.store
@pytest.mark.fault("F34")
def test_a_stream_that_may_have_been_charged_breaks_off_and_its_charge_is_given_back(shop, me, deaf):
    """An error would say that it was free; if we died now, it would not be."""
    talk = Talk(me, "/v1/chat/completions", chat("gpt-4", "sandbox: tokens=5", stream=True))
    with contextlib.suppress(ConnectionResetError):
        talk.rest()
    assert b"data: " in talk.data
    assert b"error" not in talk.data
    assert b"[DONE]" not in talk.data
    wait_for(lambda: not shop.server.ports.shop.to_void)
    receipt = me.receipt(talk.call)
    assert receipt["charge_micro"] == receipt["charge"]["refunded_micro"] >= 300
    assert "refunded" in receipt["flags"]
    assert me.balance == (START, 0)


@pytest.mark.store
def test_a_service_that_stops_gives_back_what_it_still_can(shop, me, deaf, monkeypatch):
    monkeypatch.setattr("farebox.gateway.voiding._VOID_AGAIN_S", 0.05)
    ports = shop.server.ports
    ports.store.away = True
    answer = me.chat("gpt-4", "sandbox: tokens=5")
    assert answer.status == 503

    async def stop() -> None:
        ports.shop.stopping = True
        ports.store.away = False

    shop.loop.run(stop())
    wait_for(lambda: me.balance == (START, 0))
    ports.shop.stopping = False
    assert "refunded" in me.receipt(answer)["flags"]


# nothing makes a call last longer than `call_s_max`


class Drip:
    """An upstream that answers with a head, some first bytes, and then the same piece again and again."""

    def __init__(self, kind: str, first: bytes, piece: bytes, every_s: float) -> None:
        self.base_url = ""
        self._head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode() + first
        self._piece = piece
        self._every_s = every_s
        self.left = 0

    async def serve(self, reader, writer) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            writer.write(self._head)
            while not reader.at_eof():
                writer.write(self._piece)
                await writer.drain()
                await asyncio.sleep(self._every_s)
        self.left += 1
        writer.close()


@pytest.fixture
def drip(shop):
    servers = []

    def make(name: str, kind: str, first: bytes, piece: bytes, every_s: float = 0.02) -> Drip:
        upstream = Drip(kind, first, piece, every_s)

        async def start() -> None:
            server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
            servers.append(server)
            upstream.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

        shop.loop.run(start())
        shop.model(name, {"input": "30", "output": "60"})
        shop.add_channel(name, upstream.base_url, [name], tier=0)
        from farebox.upstreams import channels

        shop.write(channels.withdraw, channel="sandbox", model=name, actor="test")
        shop.refresh()
        on_sale(shop, name)
        return upstream

    yield make

    async def stop() -> None:
        for server in servers:
            server.close()

    shop.loop.run(stop())


def event(**delta) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    body = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


SSE, JSON = "text/event-stream", "application/json"
ENDLESS = {
    "comments": (SSE, b"", b": ping\n\n"),
    "no-output": (SSE, b"", event(role="assistant")),
    "json": (JSON, b"", b" "),
    "json-for-a-stream": (JSON, b"", b" "),
}


@pytest.mark.rule("R13")
@pytest.mark.parametrize("case", ENDLESS)
def test_an_endless_answer_without_output_is_a_timeout(shop, me, option, drip, case):
    option(call_s_max=0.3)
    upstream = drip(f"endless-{case}", *ENDLESS[case])
    since_s = time.monotonic()
    answer = me.chat(f"endless-{case}", stream=case != "json")
    assert time.monotonic() - since_s < PROMPTLY_S
    assert (answer.status, answer.json["error"]["code"]) == (504, "upstream_timeout")
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R13", 0)
    assert me.balance == (START, 0)
    wait_for(lambda: upstream.left == 1)


@pytest.mark.rule("R07")
@pytest.mark.parametrize("piece", [b": ping\n\n", event(role="assistant")], ids=["comments", "no-output"])
def test_an_endless_answer_with_output_is_cut(shop, me, option, drip, piece):
    option(call_s_max=0.3)
    name = f"endless-after-{len(piece)}"
    upstream = drip(name, SSE, event(role="assistant", content="Some words"), piece)
    answer = me.chat(name, stream=True)
    assert answer.text == "Some words"
    assert answer.events[-1] == "[DONE]"
    assert answer.events[-2]["choices"][0]["finish_reason"] == "length"
    receipt = me.receipt(answer)
    assert receipt["rule"] == "R07"
    assert "longest_duration" in receipt["flags"]
    assert receipt["charge_micro"] > 0
    assert me.balance == (START - receipt["charge_micro"], 0)
    wait_for(lambda: upstream.left == 1)


@pytest.mark.rule("R18")
def test_a_customer_who_reads_too_slowly_for_a_call(shop, me, option):
    option(call_s_max=4)
    name = shop.model("slow-reader", {"input": "1", "output": "1"}, output_tokens_max=200_000, context_tokens=400_000)
    body = chat(on_sale(shop, name), "sandbox: tokens=150000", stream=True)
    talk = Talk(me, "/v1/chat/completions", body, receive_bytes=4096)
    talk.until(b"data: ", times=4)
    wait_for(lambda: me.balance[1] == 0, 15)
    receipt = me.receipt(talk.call)
    assert (receipt["rule"], receipt["outcome"]) == ("R18", "left")
    assert 0 < receipt["usage"]["output"] < 150_000
    talk.leave()


def test_what_comes_before_any_output_is_bounded(shop, me, drip):
    upstream = drip("flood", SSE, b"", event(role="assistant") * 500, 0)
    answer = me.chat("flood", stream=True)
    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_error")
    assert me.receipt(answer)["rule"] == "R13"
    wait_for(lambda: upstream.left == 1)


# a key that ends while the body comes


@pytest.mark.store
@pytest.mark.parametrize("what", ["revoke", "freeze"])
def test_a_key_that_ends_while_the_body_comes(shop, me, what):
    from farebox.accounts import accounts
    from farebox.accounts.keys import keys
    from farebox.kit import clock

    assert me.chat("gpt-4", "sandbox: tokens=1").status == 200
    before = me.balance
    request = post("/v1/chat/completions", json.dumps(chat("gpt-4", "Hello")).encode(), key=me.key)
    with contextlib.closing(connect(shop)) as line:
        line.sendall(request[:-10])
        time.sleep(0.1)
        if what == "revoke":
            shop.write(keys.revoke, me.key_id, now_us=clock.now_us(), actor="test")
        else:
            shop.write(accounts.freeze, me.account, actor="test")
        wait_for(lambda: me.get("/v1/models").status != 200)
        line.sendall(request[-10:])
        assert listen(line, until=b"}}").status == (401 if what == "revoke" else 403)
    assert me.balance == before


# what an upstream reports


@pytest.mark.rule("R27")
@pytest.mark.usefixtures("rules_1")
def test_r27_a_report_of_no_input_is_not_believed(shop, me):
    body = {"model": "text-embedding-3-small", "input": "sandbox: usage-zero\n" + "hello world " * 200}
    answer = me.request("POST", "/v1/embeddings", body)
    assert answer.status == 200
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["usage_source"]) == ("R27", "counted")
    assert "estimated" in receipt["flags"]
    assert receipt["usage"]["input"] == answer.json["usage"]["prompt_tokens"] > 400
    assert receipt["charge_micro"] > 0


@pytest.mark.rule("R05")
@pytest.mark.usefixtures("rules_1")
def test_r05_tells_the_operator(shop, me, monkeypatch):
    from farebox.gateway import settlement

    said = []
    monkeypatch.setattr(settlement.log, "warning", lambda word, **facts: said.append((word, facts)), raising=False)
    name = on_sale(shop, shop.model("r05-alarm", {"input": "30", "output": "60"}))
    answer = me.chat(name, "sandbox: cached=4+tokens=5\nHello there, how are you?")
    assert me.receipt(answer)["rule"] == "R05"
    assert said == [("meter.unpriced", {"model": name, "classes": ["cached_read"], "call": answer.call})]


@pytest.mark.rule("R02")
@BOTH
def test_unknown_parameters_that_are_passed_on_are_held_for(shop, me, stream):
    name = f"passes-{stream}".lower()
    shop.model(name, {"input": "30", "output": "60"})
    shop.add_channel(name, shop.sandbox.base_url, [name], tier=0, quirks={"pass": ["documents", "absent"]})
    on_sale(shop, name, 2)
    documents = ["word " * 500]
    text = "sandbox: tokens=1"
    plain = me.receipt(me.chat(name, text, stream=stream, max_tokens=16))
    dropped = me.receipt(me.chat(name, text, stream=stream, max_tokens=16, papers=documents))
    passed = me.receipt(me.chat(name, text, stream=stream, max_tokens=16, documents=documents))
    assert dropped["hold_micro"] == plain["hold_micro"]
    assert passed["hold_micro"] - plain["hold_micro"] == 30 * len("documents" + json.dumps(documents))
    told = me.receipt(me.chat(name, "sandbox: tokens=1+usage=600,1", stream=stream, max_tokens=16, documents=documents))
    assert (told["rule"], told["usage"]["input"]) == ("R02", 600)


# a channel test looks at the channel, whatever its health


def test_a_channel_test_asks_a_channel_that_rests(shop):
    from farebox.site import probe

    ports = shop.server.ports
    health = ports.shop.health
    channel = ports.shop.board.current.candidates("gpt-4")[0].channel
    shop.rest(channel)
    assert not health.usable(channel)
    before = len(shop.sandbox.requests)
    found = shop.loop.run(probe.call(ports, channel.name, "gpt-4"))
    assert (found["ok"], found["error"]) == (True, None)
    assert len(shop.sandbox.requests) == before + 1
    assert health.state(channel.id, ports.clock.now_us()) == "closed"
    assert health.calls(channel.id) == 0


# the service stops


@pytest.mark.store
@pytest.mark.rule("R15")
def test_a_call_whose_money_was_held_after_the_others_were_stopped(shop, me):
    own = shop.server.ports.shop
    before = len(shop.sandbox.requests)
    own.halted = True
    try:
        answer = me.chat("gpt-4")
    finally:
        own.halted = False
    assert answer.status == 500
    receipt = me.receipt(answer)
    assert (receipt["rule"], receipt["charge_micro"]) == ("R15", 0)
    assert me.balance == (START, 0)
    assert len(shop.sandbox.requests) == before


@pytest.mark.rule("R15")
@pytest.mark.fault("F29")
def test_a_customer_who_does_not_read_does_not_keep_the_service(shop):
    from farebox.calls.models import Call

    me = shop.account("100")
    name = shop.model("drained", {"input": "1", "output": "1"}, output_tokens_max=200_000, context_tokens=400_000)
    body = chat(on_sale(shop, name), "sandbox: tokens=150000", stream=True)
    talk = Talk(me, "/v1/chat/completions", body, receive_bytes=4096)
    talk.until(b"data: ", times=4)
    wait_for(lambda: any(door.paused for door in shop.server.reception.doors))
    since_s = time.monotonic()
    shop.loop.run(shop.server.stop(drain_s=0.1))
    assert time.monotonic() - since_s < PROMPTLY_S
    shop.start()
    call = Call.objects.get(account=me.account)
    assert (call.outcome, call.rule, call.charge_micro) == ("broken", "R15", 0)
    assert me.balance == (100_000_000, 0)
    talk.leave()


def let_little_wait_in_the_system(shop) -> None:
    """What a customer does not read waits in the process, from the first bytes on."""
    for listener in shop.server._listener.sockets:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


class Unread:
    """A call that has ended, charged, while its customer has read nothing but its beginning."""

    def __init__(self, shop, *, stream: bool) -> None:
        let_little_wait_in_the_system(shop)
        self.me = shop.account("100")
        name = shop.model(f"unread-{uuid4().hex[:8]}", {"input": "1", "output": "1"}, output_tokens_max=100_000)
        tokens = 500 if stream else 25_000
        body = chat(on_sale(shop, name), f"sandbox: tokens={tokens}", stream=stream)
        self.talk = Talk(self.me, "/v1/chat/completions", body, receive_bytes=4096)
        self.talk.until(b"\r\n\r\n")
        wait_for(lambda: not shop.server.reception.tasks)
        assert shop.server.reception.unsent == 1

    @property
    def paid_micro(self) -> int:
        from farebox.calls.models import Call

        call = Call.objects.get(account=self.me.account)
        assert (call.outcome, call.rule) == ("served", "R02")
        return call.charge_micro


@pytest.mark.store
@pytest.mark.fault("F29")
@BOTH
def test_an_answer_that_was_charged_leaves_before_the_service_stops(shop, stream):
    unread = Unread(shop, stream=stream)
    stopping = asyncio.run_coroutine_threadsafe(shop.server.stop(drain_s=60), shop.loop.loop)
    with pytest.raises(TimeoutError):
        stopping.result(1)
    unread.talk.rest()
    stopping.result(30)
    answer = Raw(unread.talk.data, closed=True)
    if stream:
        assert answer.body.endswith(b"data: [DONE]\n\n")
    else:
        assert answer.json["choices"][0]["finish_reason"] == "stop"
    shop.start()
    assert unread.paid_micro > 0
    assert unread.me.balance == (100_000_000 - unread.paid_micro, 0)


@pytest.mark.store
@pytest.mark.fault("F29")
@BOTH
def test_a_customer_who_does_not_read_what_was_charged_keeps_the_service_for_the_drain_alone(shop, stream):
    unread = Unread(shop, stream=stream)
    since_s = time.monotonic()
    shop.loop.run(shop.server.stop(drain_s=0.5))
    assert 0.5 <= time.monotonic() - since_s < PROMPTLY_S
    shop.start()
    assert unread.paid_micro > 0
    unread.talk.leave()


@pytest.mark.rule("R15")
@pytest.mark.fault("F29")
def test_a_customer_who_is_behind_hears_that_his_call_was_cut(shop, drip):
    let_little_wait_in_the_system(shop)
    me = shop.account("1")
    drip("cut-behind", SSE, event(role="assistant", content="Some words") * 400, b": ping\n\n")
    talk = Talk(me, "/v1/chat/completions", chat("cut-behind", "Hello", stream=True), receive_bytes=4096)
    talk.until(b"data: ")
    wait_for(lambda: shop.server.reception.unsent)
    own = shop.server.ports.shop
    stopping = asyncio.run_coroutine_threadsafe(shop.server.stop(drain_s=0.1), shop.loop.loop)
    wait_for(lambda: own.halted and not own.under_way)
    talk.rest()
    stopping.result(30)
    assert b'"internal_error"' in talk.data[-1000:]
    shop.start()
    assert me.receipt(talk.call)["rule"] == "R15"
    assert me.balance == (START, 0)
