"""Connections that are slow, idle, half closed or cut; and that nothing of a request outlives it."""

from __future__ import annotations

import contextlib
import gc
import json
import resource
import socket
import struct
import time

import pytest

from farebox.gateway.http.door import SPARE_MAX, FrontDoor
from farebox.gateway.http.exchange import Exchange
from farebox.gateway.http.wire import HEADS_PER_ADDRESS_MAX
from farebox.kit import fetch
from farebox.upstreams.send import Along
from kit import raw
from kit.receipts import alone
from kit.talk import PROMPTLY_S

pytestmark = [pytest.mark.slow]

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def me(shop):
    shop.model(
        "talker",
        {"input": "1", "output": "2"},
        context_tokens=4_000_000,
        output_tokens_max=1_000_000,
        tokenizer="o200k_base",
    )
    return shop.account("50")


@contextlib.contextmanager
def options(shop, **changes):
    """Other limits for a while."""
    before = {name: getattr(shop.options, name) for name in changes}
    for name, value in changes.items():
        setattr(shop.options, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(shop.options, name, value)


def chat(text, *, key, stream, model="gpt-4", lines=()):
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}).encode()
    return raw.post(CHAT, body, *lines, key=key)


def until(condition, within_s=10.0):
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def quiet(shop):
    """Wait until no request is under way."""
    until(lambda: not shop.server.reception.tasks)


def last_receipt(me):
    until(lambda: (rows := me.get("/v1/calls?limit=1").json["data"]) and rows[0]["outcome"] != "open")
    return me.get("/v1/calls?limit=1").json["data"][0]


# Heads


def test_a_head_that_does_not_come_is_closed(shop, me):
    with options(shop, head_s=1):
        began = time.monotonic()
        answer = raw.talk(shop, b"GET /v1/models HTTP/1.1\r\nHost: s", quiet_s=6)
        assert answer.status == 408 and answer.closed and answer.json["error"]["code"] == "request_timeout"
        assert 0.9 < time.monotonic() - began < PROMPTLY_S


def test_a_byte_a_second_does_not_keep_a_head_open(shop):
    with options(shop, head_s=1):
        answer = raw.talk(shop, b"GET ", 0.4, b"/", 0.4, b"v", 0.4, b"1", 0.4, b"/", 0.4, b"m", quiet_s=6)
        assert answer.status == 408 and answer.closed


def test_a_connection_that_rested_gets_the_whole_time_for_its_next_head(shop, me):
    with options(shop, head_s=1), contextlib.closing(raw.connect(shop)) as line:
        head = raw.get("/v1/models/gpt-4", key=me.key)
        line.sendall(head)
        assert raw.listen(line, until=b"}").status == 200
        time.sleep(1.6)
        line.sendall(head[:20])
        time.sleep(0.7)
        line.sendall(head[20:])
        assert raw.listen(line, until=b"}").status == 200


def test_many_slow_heads_of_one_address_end_and_others_are_served(shop, me):
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(contextlib.closing(raw.connect(shop))) for _ in range(HEADS_PER_ADDRESS_MAX + 20)]
        for line in lines:
            line.sendall(b"GET /v1/models HTTP/1.1\r\nX-A: ")
        began = time.monotonic()
        assert me.get("/v1/models").status == 200 and time.monotonic() - began < PROMPTLY_S
        until(
            lambda: (
                sum(door.head_since is not None for door in list(shop.server.reception.doors)) <= HEADS_PER_ADDRESS_MAX
            ),
            5,
        )
        assert raw.listen(lines[0], quiet_s=3).status == 408
        assert raw.listen(lines[-1], quiet_s=0.2).data == b""


# Bodies


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_slow_body_is_refused(shop, me, framing):
    before = shop.counts(), len(shop.sandbox.requests)
    head = raw.post(CHAT, b"x" * 100_000, key=me.key)[:-100_000]
    piece = b"{"
    if framing == "chunks":
        head, piece = head.replace(b"Content-Length: 100000", b"Transfer-Encoding: chunked"), b"1\r\n{\r\n"
    with options(shop, body_grace_s=1):
        answer = raw.talk(shop, head, *[item for _ in range(5) for item in (piece, 0.4)], quiet_s=6)
    assert answer.status == 408 and answer.closed and answer.json["error"]["code"] == "request_timeout"
    assert (shop.counts(), len(shop.sandbox.requests)) == before


def test_a_steady_body_may_take_longer_than_the_grace(shop, me):
    data = chat("x" * 20_000, key=me.key, stream=False, model="talker", lines=["Connection: close"])
    step = len(data) // 6
    with options(shop, body_grace_s=1):
        answer = raw.talk(shop, *[item for at in range(0, len(data), step) for item in (data[at : at + step], 0.3)])
    assert answer.status == 200


def test_a_body_that_breaks_leaves_nobody_waiting(shop, me):
    head = raw.post(CHAT, b"", key=me.key).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    for pieces in ([head, 0.05, b"zz\r\n"], [head, 0.05, b"5\r\n{", 0.05], [head + b"1\r\n{"]):
        raw.talk(shop, *pieces, quiet_s=0.2)
    quiet(shop)


# Readers


def deaf(shop, data):
    """A customer who sends and never reads, with a small window."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", shop.server.port))
    line.sendall(data)
    return line


def test_a_stream_that_nobody_reads_is_cut_and_charged_for_what_was_sent(shop, me):
    with options(shop, slow_reader_s=1, keepalive_every_s=1):
        with contextlib.closing(deaf(shop, chat("sandbox: tokens=60000\nx", key=me.key, stream=True, model="talker"))):
            most = 0

            def cut():
                nonlocal most
                doors = [door for door in list(shop.server.reception.doors) if door.paused]
                most = max([most, *[door._transport.get_write_buffer_size() for door in doors]])
                return most and not doors

            until(cut, 30)
    assert 0 < most <= 768 * 1024  # the high mark, the buffer of the upstream, and one more read
    quiet(shop)
    found = last_receipt(me)
    assert (found["outcome"], found["rule"]) == ("left", "R18") and found["charge_micro"] > 0
    assert me.balance[1] == 0


def test_an_answer_that_nobody_reads_does_not_stay(shop, me):
    body = json.dumps({"model": "text-embedding-3-small", "input": ["x"] * 400}).encode()
    with options(shop, slow_reader_s=1):
        with contextlib.closing(deaf(shop, raw.post("/v1/embeddings", body, key=me.key) * 3)):
            until(lambda: any(door.paused for door in list(shop.server.reception.doors)), 15)
            until(lambda: not any(door.paused for door in list(shop.server.reception.doors)), 15)
    quiet(shop)
    assert me.balance[1] == 0


def test_a_slow_reader_gets_everything(shop, me):
    with options(shop, slow_reader_s=1), contextlib.closing(deaf(shop, chat("sandbox: tokens=4000\nx", key=me.key, stream=True, model="talker", lines=["Connection: close"]))) as line:  # fmt: skip
        got = b""
        while piece := line.recv(60_000):
            got += piece
            time.sleep(0.02)
    assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


# Customers who leave


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_is_noticed_and_nothing_stays_held(shop, me, how, stream):
    with contextlib.closing(raw.connect(shop)) as line:
        line.sendall(chat("sandbox: pace=100+slow=0.2\none two three four five six", key=me.key, stream=stream))
        if stream:
            assert b"data: " in raw.listen(line, until=b"data: ").data
        else:
            time.sleep(0.05)
        if how == "reset":
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    quiet(shop)
    found = last_receipt(me)
    if stream:
        assert (found["outcome"], found["rule"]) == ("left", "R18")
    else:  # read on to its end, as the upstream bills it (R19)
        assert (found["outcome"], found["rule"]) == ("served", "R02")
    assert me.balance[1] == 0


def test_who_closes_both_sides_before_the_upstream_accepted_pays_nothing(shop, me):
    """To us a full close begins as a half one does; that nobody reads is found out by writing."""
    before = me.balance[0]
    with contextlib.closing(raw.connect(shop)) as line:
        line.sendall(chat("sandbox: slow=30\nHi", key=me.key, stream=True, model="gpt-4"))
        until(lambda: me.balance[1] and shop.sandbox.requests[-1].behaviours.get("slow") == "30")
    quiet(shop)
    found = last_receipt(me)
    assert (found["outcome"], found["rule"], found["charge_micro"]) == ("left", "R16", 0)
    assert me.balance == (before, 0)
    until(lambda: shop.sandbox.requests[-1].ended == "client-left")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("begun", [True, False])
def test_who_closes_only_his_own_side_is_answered(shop, me, stream, begun):
    """What a shell's pipe does: send, close, read. He pays for what he gets, once."""
    before, calls = me.balance[0], len(me.get("/v1/calls").json["data"])
    with contextlib.closing(raw.connect(shop)) as line:
        line.sendall(chat("sandbox: pace=100+slow=0.2\none two three four", key=me.key, stream=stream))
        if begun:
            data = raw.listen(line, until=b"data: ").data if stream else time.sleep(0.05) or b""
        else:
            data = b""
        line.shutdown(socket.SHUT_WR)
        answer = raw.Raw(data + raw.listen(line, quiet_s=20).data, closed=True, interim=True)
    assert answer.status == 200 and answer.headers.get("connection", "close") == "close"
    text = answer.body.decode()
    assert ("[DONE]" in text) if stream else json.loads(text)["usage"]
    quiet(shop)
    found = last_receipt(me)
    assert (found["outcome"], found["rule"]) == ("served", "R02") and found["charge_micro"] > 0
    assert me.balance[1] == 0 and before - me.balance[0] == found["charge_micro"]
    assert len(me.get("/v1/calls").json["data"]) == min(calls + 1, 20)


def test_all_that_came_whole_is_answered_before_the_end(shop, me):
    with contextlib.closing(raw.connect(shop)) as line:
        line.sendall(raw.get("/v1/models/gpt-4", key=me.key) * 3 + raw.get("/static/look/farebox.css") + b"GET /v1/mod")
        line.shutdown(socket.SHUT_WR)
        answer = raw.listen(line, quiet_s=20)
    assert answer.closed and answer.data.count(b"HTTP/1.1 200") == 4
    with contextlib.closing(raw.connect(shop)) as line:
        line.sendall(b"nonsense\r\n\r\n")
        line.shutdown(socket.SHUT_WR)
        assert raw.listen(line).status == 400
    before, asked = shop.counts(), len(shop.sandbox.requests)
    with contextlib.closing(raw.connect(shop)) as line:  # a body that ends before it is whole is none
        line.sendall(chat("Hi", key=me.key, stream=False)[:-3])
        line.shutdown(socket.SHUT_WR)
        assert raw.listen(line).closed
    assert (shop.counts(), len(shop.sandbox.requests)) == (before, asked)


def test_connection_close_is_obeyed_and_kept_alive_otherwise(shop, me):
    answer = raw.talk(shop, raw.get("/v1/models/gpt-4", "Connection: close", key=me.key))
    assert answer.closed and answer.headers["connection"] == "close"
    with contextlib.closing(raw.connect(shop)) as line:
        for stream in (False, True, False, True):
            line.sendall(chat("Hi", key=me.key, stream=stream))
            answer = raw.listen(line, until=b"0\r\n\r\n" if stream else b'"usage"')
            assert answer.status == 200 and "connection" not in answer.headers


# Many


def test_a_thousand_idle_connections_cost_little_and_end(shop, me):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    reception = shop.server.reception
    before_kib = _rss_kib()
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(contextlib.closing(raw.connect(shop))) for _ in range(1000)]
        until(lambda: len(reception.doors) >= 1000)
        assert _rss_kib() - before_kib < 24 * 1024  # both ends of each, in one process
        began = time.monotonic()
        for _ in range(5):
            assert me.chat("gpt-4").status == 200
        assert time.monotonic() - began < PROMPTLY_S
        with options(shop, idle_connection_s=1):
            until(lambda: len(reception.doors) < 10, 10)
            assert lines[0].recv(1) == b"" and lines[-1].recv(1) == b""


def test_connections_over_the_limit_get_503_and_many_more_are_closed_at_once(shop, me):
    with contextlib.ExitStack() as stack:
        doors = len(shop.server.reception.doors)
        with options(shop, connections_max=doors + 5):
            lines = [stack.enter_context(contextlib.closing(raw.connect(shop))) for _ in range(8)]
            until(lambda: len(shop.server.reception.doors) == doors + 8)
            refused = me.get("/v1/models")
            assert (refused.status, refused.json["error"]["code"]) == (503, "overloaded")
            assert refused.headers["retry-after"] and refused.headers["connection"] == "close"
            lines += [stack.enter_context(contextlib.closing(raw.connect(shop))) for _ in range(SPARE_MAX)]
            assert raw.listen(lines[-1], quiet_s=3).closed
    assert me.get("/v1/models").status == 200


def _rss_kib() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def test_nothing_of_a_request_outlives_it(shop, me):
    """No circle of references either: the collector is off meanwhile."""
    poor = shop.account("0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        deaf = alone(shop, "deaf", f"http://127.0.0.1:{free.getsockname()[1]}/v1")
    kinds = (Exchange, FrontDoor, Along, fetch.Exchange)

    def alive():
        return [each for each in gc.get_objects() if isinstance(each, kinds)]

    until(lambda: not shop.server.reception.doors)
    gc.collect()
    before = alive()  # of the tests before, whose tasks may still be at work
    gc.disable()
    try:
        for _ in range(3):
            (
                me.chat("gpt-4"),
                me.chat("gpt-4", stream=True),
                me.get("/v1/models"),
                me.get("/v1/nothing"),
                poor.chat("gpt-4"),
            )
            (
                me.chat("none"),
                me.request("POST", CHAT, b"{"),
                me.chat("gpt-4", "sandbox: status=500\nx"),
                me.request("GET", CHAT),
            )
            for how in ("gzip", "cut", "reset", "cut=3", "garbage=3", "refuse"):
                for stream in (False, True):
                    shop.reset_health()
                    me.chat("gpt-4", f"sandbox: {how}\nx", stream=stream)
            assert me.chat(deaf).status == 502
            shop.reset_health()
            (
                raw.talk(shop, b"nonsense\r\n\r\n"),
                raw.talk(shop, raw.get("/v1/models", "Upgrade: x", "Connection: Upgrade")),
            )
            raw.talk(shop, raw.post(CHAT, b"x" * 100, key=me.key)[:-50], quiet_s=0.1)
            raw.talk(shop, chat("sandbox: pace=50\nx", key=me.key, stream=True), until=b"data: ")
        quiet(shop)
        until(lambda: not shop.server.reception.doors)
        known = {id(each) for each in before}
        until(lambda: not [each for each in alive() if id(each) not in known], 3)
    finally:
        gc.enable()
    assert not shop.server.ports.shop.under_way and shop.server.ports.shop.calls == 0
    assert not shop.server.reception.per_address
