"""The outgoing client against small servers that do each thing right or wrong, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import ipaddress
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from farebox.kit import fetch as f
from farebox.kit.fetch import addresses, connection
from kit.rows import for_each
from kit.talk import PROMPTLY_S

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module", autouse=True)
def swept():
    """Each test lets the collector look for what it left behind, not through all that was there before it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=[pytest.param("asyncio", marks=pytest.mark.slow), "uvloop"])
def run(request):
    factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def go(main):
        with asyncio.Runner(loop_factory=factory) as runner:
            noise = []
            runner.get_loop().set_exception_handler(lambda _loop, context: noise.append(context))
            runner.run(asyncio.wait_for(main(), 30))
            gc.collect()
        assert noise == []

    return go


async def take_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    size = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    return head, await reader.readexactly(size)


class Server:
    """A raw server: `handler` is run for every connection, `connections` counts them."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.tls = tls
        self.connections = 0
        self.tasks: set[asyncio.Task] = set()
        self.port = 0

    def _accept(self, reader, writer):
        # A plain callback: the task that the streams make themselves complains when it is cancelled.
        task = asyncio.ensure_future(self._serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            await self.handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()

    def outgoing(self, scheme="http", host="127.0.0.1", path=b"/v1/x", **changes) -> f.Outgoing:
        target, _ = f.Target.parse(f"{scheme}://{host}:{self.port}", local=True)
        values = {
            "method": b"POST",
            "headers": b"X-A: b\r\n",
            "body": b"{}",
            "connect_s": 5.0,
            "first_byte_s": 5.0,
            "idle_s": 5.0,
        } | changes
        return f.Outgoing(target=target, path=path, **values)


@contextlib.asynccontextmanager
async def client(**options) -> AsyncIterator[f.Fetch]:
    own = f.Fetch(**options)
    try:
        yield own
    finally:
        await own.close()
        assert not own._connections
        assert not own._openings
        assert all(lane.busy == 0 for lane in own._lanes.values())


def answering(*pieces: bytes, pause_s: float = 0.0, then: str = "wait") -> Handler:
    """Answers each request with the pieces, and then waits for the next one, closes, or resets."""

    async def handler(reader, writer):
        while True:
            await take_request(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if pause_s:
                    await asyncio.sleep(pause_s)
            if then == "reset":
                await asyncio.sleep(0.05)
                reset(writer)
                return
            if then == "close":
                return

    return handler


def reset(writer):
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def whole(exchange: f.Exchange) -> tuple[int, bytes]:
    try:
        head = await exchange.response()
        return head.status, await exchange.read_all(1_000_000)
    finally:
        exchange.release()


async def read_into(read: bytearray, exchange: f.Exchange) -> None:
    while piece := await exchange.read():
        read += piece


# ── the plain path ───────────────────────────────────────────────────────────────────────────────────────


def test_request_on_the_wire_and_connection_reused(run):
    seen = []

    async def handler(reader, writer):
        while True:
            seen.append(await take_request(reader))
            writer.write(OK)

    async def main():
        async with Server(handler) as server, client() as fetch:
            for turn in range(3):
                exchange = fetch.start(server.outgoing(body=b'{"a":1}'))
                assert exchange.sent == (turn > 0)
                head = await exchange.response()
                assert exchange.sent
                assert exchange.reused == (turn > 0)
                assert (head.status, head.headers) == (
                    200,
                    {"content-type": "text/plain", "content-length": "5"},
                )
                assert await exchange.read_all(5) == b"hello"
                assert await exchange.read() == b""
                exchange.release()
                exchange.release()
            await whole(fetch.start(server.outgoing(method=b"GET", body=b"", headers=b"")))
            assert server.connections == 1
        host = b"127.0.0.1:%d" % server.port
        ours = b"Host: " + host + b"\r\nAccept-Encoding: identity\r\nConnection: keep-alive\r\n"
        assert seen[0] == (
            b"POST /v1/x HTTP/1.1\r\n" + ours + b"X-A: b\r\nContent-Length: 7\r\n\r\n",
            b'{"a":1}',
        )
        assert seen[3] == (b"GET /v1/x HTTP/1.1\r\n" + ours + b"\r\n", b"")

    run(main)


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Two: a\r\nx-two:  b \r\n\r\n"
    b"5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\nX-Trailer: z\r\n\r\n"
)


def test_chunked_answer_cut_at_every_byte(run):
    async def handler(reader, writer):
        cut = 0
        while True:
            await take_request(reader)
            writer.write(CHUNKED[:cut])
            await asyncio.sleep(0.001)
            writer.write(CHUNKED[cut:])
            cut += 1

    async def main():
        async with Server(handler) as server, client() as fetch:
            for _ in range(len(CHUNKED)):
                exchange = fetch.start(server.outgoing())
                head = await exchange.response()
                assert head.headers == {"transfer-encoding": "chunked", "x-two": "a, b"}
                assert await exchange.read_all(100) == b"hello world"
                exchange.release()
            assert server.connections == 1

    run(main)


@for_each(
    ("answer", "then", "status", "body", "kept"),
    [
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK,
            "wait",
            200,
            b"hello",
            True,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "wait", 204, b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "wait", 200, b"", True),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 2\r\n\r\nno",
            "wait",
            302,
            b"no",
            True,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil close", "close", 200, b"until close", False),
        (b"HTTP/1.0 200 OK\r\n\r\nold", "close", 200, b"old", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", "wait", 200, b"old", False),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold",
            "wait",
            200,
            b"old",
            True,
        ),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", "wait", 200, b"x", False),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 1\r\n\r\nx",
            "wait",
            200,
            b"x",
            True,
        ),
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "wait", 200, b"hello", False),
        (OK + b"\x00\x01", "wait", 200, b"hello", False),
    ],
)
def test_answers_that_are_whole(run, answer, then, status, body, kept):
    async def main():
        async with Server(answering(answer, then=then)) as server, client() as fetch:
            for _ in range(2):
                assert await whole(fetch.start(server.outgoing())) == (status, body)
            assert server.connections == (1 if kept else 2)

    run(main)


def test_bytes_behind_an_answer_never_reach_the_next_exchange(run):
    async def handler(reader, writer):
        await take_request(reader)
        writer.write(OK)
        await asyncio.sleep(0.1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await asyncio.sleep(5)

    async def main():
        async with Server(handler) as server, client() as fetch:
            held = fetch.start(server.outgoing())
            idle = fetch.start(server.outgoing())
            await held.response()
            assert (await whole(idle)) == (200, b"hello")
            await asyncio.sleep(0.3)
            assert await held.read_all(100) == b"hello"
            held.release()
            await asyncio.sleep(0.05)
            assert fetch._idle == 0
            assert (await whole(fetch.start(server.outgoing()))) == (200, b"hello")
            assert server.connections == 3

    run(main)


def test_head_request_has_no_body_and_ends_its_connection(run):
    async def main():
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        async with Server(answering(answer)) as server, client() as fetch:
            for _ in range(2):
                assert await whole(fetch.start(server.outgoing(method=b"HEAD", body=b""))) == (200, b"")
            assert server.connections == 2

    run(main)


# ── answers that are not ─────────────────────────────────────────────────────────────────────────────────


@for_each(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx", "compressed"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nxx",
            "compressed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "length|not valid",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
            "length|not valid",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nxxx", "not valid"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx", "length|not valid"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "length|not valid"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "length"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "not valid|101"),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "version|not valid"),
        (b"<html>no</html>\r\n\r\n", "not valid"),
        (b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n", "not valid"),
        (b"HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n", "not valid"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 201 + b"\r\n", "too many fields"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n", "too large"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000, "too large"),
        (b"HTTP/1.1 102 Wait\r\n\r\n" * 5_000, "too large"),
    ],
)
def test_heads_that_are_refused(run, answer, reason):
    async def main():
        async with Server(answering(answer)) as server, client() as fetch:
            exchange = fetch.start(server.outgoing())
            with pytest.raises(f.BrokenResponse, match=reason) as caught:
                await exchange.response()
            assert caught.value.reason == str(caught.value)
            exchange.release()
            assert fetch._idle == 0

    run(main)


def test_head_at_the_limits_is_accepted(run):
    big = b"HTTP/1.1 200 OK\r\nA: " + b"b" * 60_000 + b"\r\n" + b"C: d\r\n" * 198 + b"Content-Length: 100000\r\n\r\n"

    async def main():
        async with Server(answering(big + b"x" * 100_000)) as server, client() as fetch:
            assert await whole(fetch.start(server.outgoing())) == (200, b"x" * 100_000)

    run(main)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@for_each(
    ("answer", "then", "got"),
    [
        (HEAD + b"short", "close", b"short"),
        (HEAD, "close", b""),
        (HEAD + b"short", "reset", b"short"),
        (CHUNKS + b"5\r\nshort\r\n", "close", b"short"),
        (CHUNKS + b"5\r\nshort\r\n0\r\n", "close", b"short"),
        (CHUNKS + b"9\r\nshort", "close", b"short"),
        (CHUNKS + b"5\r\nshort\r\nzz\r\n", "wait", b"short"),
        (CHUNKS + b"5\r\nshort\r\n0\r\nX: " + b"y" * 300_000, "wait", b"short"),
        (CHUNKS + b"5\r\nshort\r\n5;" + b"y" * 300_000, "wait", b"short"),
        (b"HTTP/1.1 200 OK\r\n\r\nshort", "reset", b"short"),
    ],
)
def test_bodies_that_are_cut(run, answer, then, got):
    async def main():
        async with Server(answering(answer, then=then)) as server, client() as fetch:
            exchange = fetch.start(server.outgoing())
            assert (await exchange.response()).status == 200
            read = bytearray()
            with pytest.raises(f.BodyCut):
                await read_into(read, exchange)
            assert read == got
            exchange.release()
            assert fetch._idle == 0

    run(main)


@pytest.mark.parametrize(
    "piece", [b"1;" + b"e" * 5000 + b"\r\n.\r\n", b"0" * 5000 + b"1\r\n.\r\n"], ids=["extensions", "padded sizes"]
)
def test_what_stands_around_chunks_adds_up(run, piece):
    """30 times 5,000 bytes, none of them long, a byte of data in each."""

    async def main():
        pieces = (CHUNKS, *[piece] * 30)
        async with Server(answering(*pieces, pause_s=0.005)) as server, client() as fetch:
            exchange = fetch.start(server.outgoing())
            assert (await exchange.response()).status == 200
            read = bytearray()
            with pytest.raises(f.BodyCut, match="endless"):
                await read_into(read, exchange)
            assert 5 < len(read) < 20
            exchange.release()
            assert fetch._idle == 0

    run(main)


def test_chunks_of_one_byte_are_no_frames(run):
    async def main():
        small = b"1;x=y\r\n.\r\n" * 5000
        async with Server(answering(CHUNKS, *[small] * 4, b"0\r\n\r\n", pause_s=0.005)) as server, client() as fetch:
            assert await whole(fetch.start(server.outgoing())) == (200, b"." * 20_000)

    run(main)


@pytest.mark.parametrize(
    ("answer", "then"),
    [(b"", "close"), (b"", "reset"), (b"HTTP/1.1 200", "close"), (b"HTTP/1.1 100 C\r\n\r\n", "close")],
)
def test_connection_that_dies_before_the_head_is_not_retried_when_fresh(run, answer, then):
    async def main():
        async with Server(answering(answer, then=then)) as server, client() as fetch:
            exchange = fetch.start(server.outgoing())
            with pytest.raises(f.BrokenResponse):
                await exchange.response()
            assert exchange.sent
            exchange.release()
            assert server.connections == 1

    run(main)


# ── keep-alive ───────────────────────────────────────────────────────────────────────────────────────────


def second_fails(how: str, pause_s: float = 0.0, always: bool = False) -> Handler:
    """Answers the first request of each connection (only the first one, if `always`); the second one fails."""
    count = 0

    async def handler(reader, writer):
        nonlocal count
        count += 1
        if always and count > 1:
            await take_request(reader)
            return
        await take_request(reader)
        writer.write(OK)
        await take_request(reader)
        await asyncio.sleep(pause_s)
        if how == "reset":
            reset(writer)
        elif how == "half":
            writer.write(b"HTTP/1.1 2")

    return handler


@pytest.mark.parametrize("how", ["close", "reset"])
def test_stale_connection_is_tried_again_once_on_a_fresh_one(run, how):
    async def main():
        async with Server(second_fails(how)) as server, client() as fetch:
            for _ in range(2):
                exchange = fetch.start(server.outgoing())
                assert await whole(exchange) == (200, b"hello")
                assert not exchange.reused
            assert server.connections == 2

    run(main)


def test_the_second_try_is_the_last(run):
    async def main():
        async with Server(second_fails("close", always=True)) as server, client() as fetch:
            assert await whole(fetch.start(server.outgoing())) == (200, b"hello")
            with pytest.raises(f.BrokenResponse, match="before an answer"):
                await whole(fetch.start(server.outgoing()))
            assert server.connections == 2

    run(main)


def test_no_second_try_once_the_server_was_at_work_or_answered(run, monkeypatch):
    monkeypatch.setattr(connection, "STALE_WINDOW_S", 0.1)

    async def main():
        for handler in (second_fails("close", pause_s=0.3), second_fails("half")):
            async with Server(handler) as server, client() as fetch:
                assert await whole(fetch.start(server.outgoing())) == (200, b"hello")
                with pytest.raises(f.BrokenResponse):
                    await whole(fetch.start(server.outgoing()))
                assert server.connections == 1

    run(main)


def test_connection_closed_while_idle_is_dropped(run):
    async def main():
        async with Server(answering(OK, then="close")) as server, client() as fetch:
            assert await whole(fetch.start(server.outgoing())) == (200, b"hello")
            await asyncio.sleep(0.05)
            assert fetch._idle == 0
            assert not fetch._connections
            exchange = fetch.start(server.outgoing())
            assert not exchange.sent
            assert await whole(exchange) == (200, b"hello")

    run(main)


def test_idle_connections_are_bounded_and_grow_old(run):
    async def main():
        async with Server(answering(OK)) as server, client(idle_max=2, idle_keep_s=0.2) as fetch:
            exchanges = [fetch.start(server.outgoing()) for _ in range(4)]
            for exchange in exchanges:
                await whole(exchange)
            assert fetch._idle == 2
            await asyncio.sleep(0.5)
            assert fetch._idle == 0
            assert not fetch._connections
            assert not fetch._lanes
            assert await whole(fetch.start(server.outgoing())) == (200, b"hello")
            assert server.connections == 5

    run(main)


def test_target_busy_is_told_by_response(run):
    async def main():
        async with Server(answering(OK)) as server, client(per_target_max=1) as fetch:
            first, second = fetch.start(server.outgoing()), fetch.start(server.outgoing())
            with pytest.raises(f.TargetBusy):
                await second.response()
            assert not second.sent
            second.release()
            await whole(first)
            assert await whole(fetch.start(server.outgoing())) == (200, b"hello")

    run(main)


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", [False, True])
def test_first_byte_limit_runs_to_the_end_of_the_head(run, first):
    slow = answering(*(b"HTTP/1.1 200 OK\r\nA: " if first else b"", *[b"x"] * 50), pause_s=0.05)
    never = answering()

    async def main():
        for handler in (slow, never):
            async with Server(handler) as server, client() as fetch:
                exchange = fetch.start(server.outgoing(first_byte_s=0.3))
                began = time.monotonic()
                with pytest.raises((f.FirstByteTimeout, f.BrokenResponse)) as caught:
                    await exchange.response()
                if first or handler is never:
                    assert caught.type is f.FirstByteTimeout
                    assert 0.25 < time.monotonic() - began < PROMPTLY_S
                exchange.release()
                assert not fetch._idle

    run(main)


def test_idle_limit_counts_silence_only(run):
    pieces = [CHUNKS, *[b"1\r\nx\r\n"] * 6]

    async def main():
        async with Server(answering(*pieces, pause_s=0.15)) as server, client() as fetch:
            exchange = fetch.start(server.outgoing(idle_s=0.4))
            await exchange.response()
            began = time.monotonic()
            read = bytearray()
            with pytest.raises(f.IdleTimeout):
                await read_into(read, exchange)
            assert read == b"xxxxxx"
            assert 1.0 < time.monotonic() - began < PROMPTLY_S
            exchange.release()

    run(main)


async def read_while_interrupted(exchange: f.Exchange) -> None:
    for _ in range(20):
        asyncio.get_running_loop().call_later(0.1, exchange.interrupt)
        with contextlib.suppress(f.Interrupted):
            await exchange.read()
        exchange.resume_after_interrupt()


def test_interruptions_do_not_prolong_a_silence(run):
    async def main():
        async with Server(answering(HEAD)) as server, client() as fetch:
            exchange = fetch.start(server.outgoing(idle_s=0.4))
            await exchange.response()
            began = time.monotonic()
            with pytest.raises(f.IdleTimeout):
                await read_while_interrupted(exchange)
            assert 0.3 < time.monotonic() - began < PROMPTLY_S
            exchange.release()

    run(main)


def test_limits_hold_on_a_reused_connection(run):
    count = 0

    async def handler(reader, writer):
        nonlocal count
        while True:
            await take_request(reader)
            count += 1
            if count == 1:
                writer.write(OK)

    async def main():
        async with Server(handler) as server, client() as fetch:
            await whole(fetch.start(server.outgoing(first_byte_s=60)))
            exchange = fetch.start(server.outgoing(first_byte_s=0.2))
            assert exchange.sent
            began = time.monotonic()
            with pytest.raises(f.FirstByteTimeout):
                await exchange.response()
            assert time.monotonic() - began < PROMPTLY_S
            exchange.release()

    run(main)


def test_connect_refused_and_connect_limit(run):
    async def main():
        async with Server(answering(OK)) as server:
            refused = server.outgoing()
        async with client() as fetch:
            exchange = fetch.start(refused)
            with pytest.raises(f.ConnectFailed, match="refused"):
                await exchange.response()
            assert not exchange.sent
            exchange.release()
        # A listener whose backlog is full does not complete the handshake of TLS either.
        async with Server(answering()) as server, client() as fetch:
            exchange = fetch.start(server.outgoing(scheme="https", connect_s=0.2))
            with pytest.raises(f.ConnectFailed, match=r"within 0\.2 s"):
                await exchange.response()
            assert not exchange.sent
            exchange.release()

    run(main)


# ── interruption ─────────────────────────────────────────────────────────────────────────────────────────


async def interrupted(awaitable, exchange) -> None:
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0.05)
    assert not task.done()
    exchange.interrupt()
    exchange.interrupt()
    with pytest.raises(f.Interrupted):
        await task


def test_interrupt_during_connect_head_and_body_then_read_on(run):
    async def main():
        async with Server(answering()) as server, client() as fetch:  # TLS against a server that speaks none
            exchange = fetch.start(server.outgoing(scheme="https"))
            await interrupted(exchange.response(), exchange)
            exchange.release()
        pieces = (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"hello", b"world")
        async with Server(answering(*pieces, pause_s=0.25)) as server, client() as fetch:
            exchange = fetch.start(server.outgoing())
            await interrupted(exchange.response(), exchange)
            with pytest.raises(f.Interrupted):
                await exchange.response()
            exchange.resume_after_interrupt()
            await exchange.response()
            await interrupted(exchange.read(), exchange)
            with pytest.raises(f.Interrupted):
                await exchange.read()
            await asyncio.sleep(0.3)
            with pytest.raises(f.Interrupted):  # although a piece has arrived
                await exchange.read()
            exchange.resume_after_interrupt()
            assert await exchange.read_all(10) == b"helloworld"
            exchange.release()
            assert fetch._idle == 1

    run(main)


def test_abort_and_early_release_close_the_connection(run):
    closed = asyncio.Event

    async def main():
        gone = closed()

        async def handler(reader, writer):
            await take_request(reader)
            writer.write(HEAD + b"short")
            await reader.read(1)
            gone.set()

        for end in ("abort", "release"):
            gone.clear()
            async with Server(handler) as server, client() as fetch:
                exchange = fetch.start(server.outgoing())
                await exchange.response()
                reader = asyncio.ensure_future(exchange.read())
                assert await reader == b"short"
                reader = asyncio.ensure_future(exchange.read())
                await asyncio.sleep(0.01)
                getattr(exchange, end)()
                with pytest.raises(f.Interrupted):
                    await reader
                await asyncio.wait_for(gone.wait(), 2)
                exchange.abort()
                exchange.release()

    run(main)


def test_a_cancelled_reader_leaves_the_exchange_usable(run):
    async def main():
        async with Server(answering(b"", HEAD, b"helloworld", pause_s=0.1)) as server, client() as fetch:
            exchange = fetch.start(server.outgoing())
            task = asyncio.ensure_future(exchange.response())
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await whole(exchange) == (200, b"helloworld")

    run(main)


def test_close_ends_what_is_under_way_and_refuses_more(run):
    async def main():
        async with Server(answering()) as server:
            async with client() as fetch:
                exchange = fetch.start(server.outgoing())
                task = asyncio.ensure_future(exchange.response())
                await asyncio.sleep(0.05)
                connecting = fetch.start(server.outgoing(scheme="https"))
                await asyncio.sleep(0.05)
                await fetch.close()
                for waiting in (task, connecting.response(), fetch.start(server.outgoing()).response()):
                    with pytest.raises(f.ConnectFailed, match="closed"):
                        await waiting
                assert exchange.sent

    run(main)


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True])
def test_close_at_any_moment_of_a_connect(run, authority, secure):
    """However far a connect has come: close comes back, and nothing is left of it."""
    tls, context = authority
    scheme, host = ("https", "localhost") if secure else ("http", "127.0.0.1")

    async def main():
        async with Server(answering(), tls=tls if secure else None) as server:
            for ticks in range(60):
                fetch = f.Fetch(ssl_context=context)
                exchanges = [fetch.start(server.outgoing(scheme=scheme, host=host)) for _ in range(3)]
                for _ in range(ticks):
                    await asyncio.sleep(0)
                if ticks % 3 == 0:  # all at once, as after a pause of the whole process
                    time.sleep(0.002)  # noqa: ASYNC251 - the process itself stands still
                await asyncio.wait_for(fetch.close(), 5)
                assert not fetch._connections, ticks
                for exchange in exchanges:
                    exchange.abort()

    run(main)


# ── size ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True])
def test_slow_reader_holds_the_server_back(run, secure, authority):
    total, written = 50_000_000, 0

    async def handler(reader, writer):
        nonlocal written
        await take_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        block = b"x" * 100_000
        while written < total:
            writer.write(block)
            await writer.drain()
            written += len(block)
        await asyncio.sleep(30)

    async def main():
        tls, context = authority
        async with (
            Server(handler, tls=tls if secure else None) as server,
            client(ssl_context=context) as fetch,
        ):
            exchange = fetch.start(server.outgoing(**({"scheme": "https", "host": "localhost"} if secure else {})))
            await exchange.response()
            stalled = -1
            while written != stalled:  # until what lies between is full, however slow the machine
                stalled = written
                await asyncio.sleep(0.5)
            assert stalled < total // 2
            got, most = 0, 0
            while piece := await exchange.read():
                got += len(piece)
                most = max(most, len(piece))
                if got < 5_000_000:
                    await asyncio.sleep(0.002)
            assert got == total
            assert most <= 262_144 * 2 + 65_536
            exchange.release()
            assert fetch._idle == 1

    run(main)


@pytest.mark.parametrize("size", [5_000, 400_000])
def test_unread_rest_of_a_paused_answer_does_not_stall_the_next_exchange(run, size):
    async def main():
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
        async with Server(answering(answer)) as server, client(buffer_bytes_max=1000) as fetch:
            for _ in range(3):
                exchange = fetch.start(server.outgoing())
                await exchange.response()
                await asyncio.sleep(0.05)
                exchange.release()
            assert len((await whole(fetch.start(server.outgoing())))[1]) == size

    run(main)


def test_read_all_is_bounded(run):
    async def main():
        async with Server(answering(OK)) as server, client() as fetch:
            exchange = fetch.start(server.outgoing())
            await exchange.response()
            with pytest.raises(f.BodyTooLarge):
                await exchange.read_all(4)
            exchange.release()

    run(main)


@pytest.mark.slow
def test_large_request_body_and_answer_before_it_was_read(run):
    async def early(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.sleep(5)

    async def main():
        body = b"x" * 20_000_000
        async with Server(answering(OK)) as server, client() as fetch:
            assert await whole(fetch.start(server.outgoing(body=body))) == (200, b"hello")
            assert fetch._idle == 1
        async with Server(early) as server, client() as fetch:
            assert await whole(fetch.start(server.outgoing(body=body))) == (413, b"no")
            assert fetch._idle == 0

    run(main)


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A server context with a certificate for localhost and ::1, and a client context that trusts its issuer."""
    folder = tmp_path_factory.mktemp("tls")
    now = dt.datetime.now(dt.UTC)

    def certificate(name, key, issuer, issuer_key, ca):
        build = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("::1"))]
            build = build.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return build.sign(issuer_key, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(certificate(ca_name, ca_key, ca_name, ca_key, True).public_bytes(pem))
    (folder / "cert.pem").write_bytes(certificate(name, key, ca_name, ca_key, False).public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "ca.pem"))


def test_tls_reuse_and_names(run, authority):
    tls, context = authority
    names = []
    tls.sni_callback = lambda _ssl, name, _context: names.append(name)

    async def main():
        async with Server(answering(OK), tls=tls) as server:
            async with client(ssl_context=context) as fetch:
                for turn in range(3):
                    exchange = fetch.start(server.outgoing(scheme="https", host="localhost"))
                    assert await whole(exchange) == (200, b"hello")
                    assert exchange.reused == (turn > 0)
                assert names == ["localhost"]
                exchange = fetch.start(server.outgoing(scheme="https", host="127.0.0.1"))
                with pytest.raises(f.ConnectFailed, match="certificate was not accepted"):
                    await exchange.response()
                assert not exchange.sent
                exchange.release()
            async with client() as fetch:
                with pytest.raises(f.ConnectFailed, match="certificate was not accepted"):
                    await whole(fetch.start(server.outgoing(scheme="https", host="localhost")))

    names.clear()
    run(main)
    tls.sni_callback = None


@pytest.mark.parametrize("polite", [True, False])
def test_tls_end_with_and_without_notice(run, authority, polite):
    tls, context = authority

    async def handler(reader, writer):
        await take_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await writer.drain()
        await asyncio.sleep(0.1)
        if not polite:  # a FIN below TLS
            with socket.socket(fileno=socket.dup(writer.get_extra_info("socket").fileno())) as raw:
                raw.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.3)
            writer.transport.abort()

    async def main():
        async with Server(handler, tls=tls) as server, client(ssl_context=context) as fetch:
            exchange = fetch.start(server.outgoing(scheme="https", host="localhost"))
            await exchange.response()
            assert await exchange.read() == b"all of it"
            if polite:
                assert await exchange.read() == b""
            else:
                with pytest.raises(f.BodyCut):
                    await exchange.read()
            exchange.release()

    run(main)


# ── addresses ────────────────────────────────────────────────────────────────────────────────────────────


@for_each(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "169.254.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.255",
        "100.100.100.200",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "2001::1",
        "2001:db8::1",
        "2001:2::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "100::1",
        "5f00::1",
        "4000::1",
    ],
)
def test_addresses_that_are_refused(address):
    assert not addresses.is_public(address)
    target, _ = f.Target.parse("https://example.com")
    with pytest.raises(f.AddressRefused):
        addresses.check(target, ("8.8.8.8", address))


@for_each(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "126.1.1.1",
        "128.0.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "192.169.0.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1",
        "2a00:1450::1",
        "2001:4860:4860::8888",
        "64:ff9b::8.8.8.8",
    ],
)
def test_addresses_that_are_public(address):
    assert addresses.is_public(address)


def test_local_targets_reach_private_addresses_and_no_metadata_service():
    target, _ = f.Target.parse("http://vault.internal", local=True)
    addresses.check(target, ("127.0.0.1", "10.0.0.1", "fe80::1%eth0", "fd00::1", "8.8.8.8"))
    for address in (
        "169.254.169.254",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "100.100.100.200",
    ):
        with pytest.raises(f.AddressRefused):
            addresses.check(target, (address,))


@for_each(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "localhost",
        "localhost.",
        "0",
    ],
)
def test_no_spelling_leads_to_a_private_address(run, host):
    async def main():
        async with Server(answering(OK)) as server, client() as fetch:
            target, _ = f.Target.parse(f"https://{host}:{server.port}")
            outgoing = server.outgoing()
            outgoing.target = target
            exchange = fetch.start(outgoing)
            with pytest.raises(f.AddressRefused, match="not allowed"):
                await exchange.response()
            assert not exchange.sent
            exchange.release()
            assert server.connections == 0

    run(main)


@for_each(
    "host",
    [
        *("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "100.64.0.1", "224.0.0.1"),
        *("2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0", "localhost", "localhost.", "a.localhost", "[fd00::1]"),
    ],
)
def test_no_spelling_of_a_private_address_is_written_down(host):
    with pytest.raises(f.AddressRefused, match="not a public one"):
        f.check_spelled(f.Target.parse(f"https://{host}/v1")[0])
    if "169.254" in host:
        with pytest.raises(f.AddressRefused):
            f.check_spelled(f.Target.parse(f"http://{host}/v1", local=True)[0])
    else:
        f.check_spelled(f.Target.parse(f"http://{host}/v1", local=True)[0])


def test_public_addresses_and_names_are_written_down():
    for host in ("8.8.8.8", "[2606:4700::1]", "api.example.com", "localhost.example.com"):
        f.check_spelled(f.Target.parse(f"https://{host}/v1")[0])


def test_the_checked_address_is_the_one_connected_to_and_names_are_asked_once(run, authority, monkeypatch):
    """A name that answers otherwise the second time (rebinding) is not asked a second time."""
    tls, context = authority
    asked = []

    async def main():
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def counted(host, port, **options):
            asked.append(host)
            return await real("127.0.0.1" if len(asked) == 1 else "127.0.0.99", port, **options)

        async with Server(answering(OK), tls=tls) as server, client(ssl_context=context) as fetch:
            fetch._loop = loop
            fetch._resolver = addresses.Resolver(loop)
            monkeypatch.setattr(fetch._resolver, "_loop", Proxy(loop, getaddrinfo=counted))
            exchanges = [fetch.start(server.outgoing(scheme="https", host="localhost")) for _ in range(3)]
            for exchange in exchanges:
                assert await whole(exchange) == (200, b"hello")
            assert asked == ["localhost"]
            assert server.connections == 3

    run(main)


class Proxy:
    """An object with some attributes replaced; a loop made of C cannot be patched."""

    def __init__(self, real, **changes) -> None:
        self._real = real
        self.__dict__.update(changes)

    def __getattr__(self, name):
        return getattr(self._real, name)


async def with_known(server, fetch, host, keep_s, *known) -> None:
    loop = fetch._loop = asyncio.get_running_loop()
    fetch._resolver = addresses.Resolver(loop)
    fetch._resolver._known[host, server.port] = (loop.time() + keep_s, known)


def test_the_next_address_is_tried_and_old_answers_are_asked_again(run):
    async def main():
        async with Server(answering(OK)) as server:
            async with client() as fetch:
                await with_known(server, fetch, "127.0.0.1", 9, "127.0.0.77", "::1", "127.0.0.1")
                assert await whole(fetch.start(server.outgoing())) == (200, b"hello")
            async with client() as fetch:
                await with_known(server, fetch, "127.0.0.1", -1, "127.0.0.77")
                assert await whole(fetch.start(server.outgoing())) == (200, b"hello")
            async with client() as fetch:
                with pytest.raises(f.ConnectFailed, match="could not be resolved"):
                    await whole(fetch.start(server.outgoing(host="no-such-name.invalid")))

    run(main)


def test_a_silent_address_leaves_time_for_the_next_one(run, authority):
    tls, context = authority

    async def main():
        async with Server(answering(OK), tls=tls) as server, client(ssl_context=context) as fetch:
            with socket.create_server(("127.0.0.2", server.port)):
                await with_known(server, fetch, "localhost", 9, "127.0.0.2", "127.0.0.1")
                exchange = fetch.start(server.outgoing(scheme="https", host="localhost", connect_s=1.0))
                assert await whole(exchange) == (200, b"hello")

    run(main)


@for_each(
    ("url", "local"),
    [
        ("http://example.com", False),
        ("ftp://example.com", True),
        ("file:///etc/passwd", True),
        ("example.com", True),
        ("https://", False),
        ("https://user@example.com", False),
        ("https://user:pw@example.com", False),
        ("https://@example.com", False),
        ("https://example.com:0", False),
        ("https://example.com:65536", False),
        ("https://example.com:x", False),
        ("https://example.com/?a=b", False),
        ("https://example.com/v1?", False),
        ("https://example.com/#x", False),
        ("https://example.com/a b", False),
        ("https://example.com/a\r\nX: y", False),
        ("https://exa\tmple.com/", False),
        ("https://example.com\\@evil.com/", False),
        ("https://ex%61mple.com/", False),
        ("https://-example.com/", False),
        ("https://[::1", False),
        ("https://[fe80::1%25eth0]/", False),
        ("https://example.com/é", False),
        ("https://" + "a" * 300 + ".com", False),
    ],
)
def test_urls_that_are_refused(url, local):
    with pytest.raises(f.AddressRefused):
        f.Target.parse(url, local)


@pytest.mark.parametrize(
    ("url", "host", "port", "header", "path"),
    [
        ("https://API.Example.com/v1/", "api.example.com", 443, b"api.example.com", b"/v1"),
        ("https://example.com.", "example.com", 443, b"example.com", b""),
        ("https://example.com:443/", "example.com", 443, b"example.com", b""),
        ("https://example.com:8443/a/b", "example.com", 8443, b"example.com:8443", b"/a/b"),
        ("http://127.0.0.1:80", "127.0.0.1", 80, b"127.0.0.1", b""),
        ("http://[::1]:8080/x", "::1", 8080, b"[::1]:8080", b"/x"),
        ("https://bücher.example/", "xn--bcher-kva.example", 443, b"xn--bcher-kva.example", b""),
    ],
)
def test_urls_that_are_read(url, host, port, header, path):
    target, prefix = f.Target.parse(url, local=True)
    assert (target.host, target.port, target.host_header, prefix) == (host, port, header, path)


def test_ports_and_query_on_request():
    assert f.Target.parse("https://a.example/hook?x=1", query=True)[1] == b"/hook?x=1"
    assert f.Target.parse("https://a.example?x=1", query=True)[1] == b"/?x=1"
    with pytest.raises(f.AddressRefused, match="port"):
        f.Target.parse("https://a.example:8443", ports=frozenset({80, 443}))


@for_each(
    "changes",
    [
        {"path": b"/a b"},
        {"path": b"/a\r\nX: y"},
        {"path": b"x"},
        {"path": b"/\xff"},
        {"method": b"GET /\r\n"},
        {"headers": b"X: y"},
        {"headers": b"X: y\r\n\r\n"},
        {"headers": b"\r\nX: y\r\n"},
    ],
)
def test_a_request_that_would_be_two_is_not_sent(run, changes):
    async def main():
        async with Server(answering(OK)) as server, client() as fetch:
            for _ in range(2):
                with pytest.raises(ValueError):
                    fetch.start(server.outgoing(**changes))
                await whole(fetch.start(server.outgoing()))
            assert fetch._lanes[server.outgoing().target].busy == 0

    run(main)


def test_a_second_waiter_is_a_bug_that_is_told(run):
    async def main():
        async with Server(answering()) as server, client() as fetch:
            exchange = fetch.start(server.outgoing())
            task = asyncio.ensure_future(exchange.response())
            await asyncio.sleep(0.02)
            with pytest.raises(RuntimeError, match="two tasks"):
                await exchange.response()
            exchange.abort()
            with pytest.raises(f.Interrupted):
                await task
            with pytest.raises(f.Interrupted):
                await exchange.read()

    run(main)
