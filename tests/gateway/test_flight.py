"""What strangers may hold of the process's memory, and that nobody else notices."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from farebox.gateway.flight import Flight, Share
from farebox.kit import process_limits
from farebox.kit.options import Options
from farebox.site.pages import FORM_BYTES_MAX
from kit import people, raw
from kit.visitor import Visitor

CHAT = "/v1/chat/completions"
SIGN_IN = "/account/sign-in"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def me(shop):
    assert Visitor(shop).get(SIGN_IN).status == 200  # the first page loads them all
    return shop.account("5")


@pytest.fixture(autouse=True)
def nothing_stays(shop):
    """Whatever was held is given back."""
    yield
    until(lambda: not shop.server.reception.tasks and not shop.server.reception.flight.held_bytes)


def until(condition: Any, within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def form(path: str, length: int | None, *lines: str, body: bytes = b"") -> bytes:
    """A form of a browser as bytes; chunked where it has no length."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    fields = [f"POST {path} HTTP/1.1", "Host: shop.test", "Content-Type: application/x-www-form-urlencoded",
              "Accept: text/html", "Sec-Fetch-Site: same-origin", size, *lines]  # fmt: skip
    return "\r\n".join([*fields, "", ""]).encode() + body


@contextlib.contextmanager
def many(shop: Any, count: int, data: bytes) -> Iterator[list[Any]]:
    """So many connections that have sent this and fall silent."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(contextlib.closing(raw.connect(shop))) for _ in range(count)]
        for line in lines:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                line.sendall(data)
        yield lines


@pytest.mark.slow
@pytest.mark.parametrize("path", [SIGN_IN, "/estimate", "/office/sign-in", "/office/settings", "/office/api/me", "/console/team"])  # fmt: skip
@pytest.mark.parametrize("length", [31 * MIB, None])
def test_what_a_stranger_announces_is_refused_before_it_is_read(shop, me, path, length):
    """Twelve who announced 31 MiB and sent 30 made 503s of all calls."""
    before = process_limits.rss_bytes()
    some = b"x" * 200_000 if length else b"100000\r\n" + b"x" * MIB + b"\r\n"
    with many(shop, 12, form(path, length, body=some)) as lines:
        for line in lines:
            answer = raw.listen(line, quiet_s=30)
            assert answer.status == 413 and answer.closed, answer.data[:200]
            if path == "/office/api/me":
                assert answer.json["error"]["code"] == "request_too_large"
            else:
                assert answer.headers["content-type"].startswith("text/html") and b"too large" in answer.body
    assert (
        process_limits.rss_bytes() - before < 40 * MIB
    )  # the test's own bytes too, and what the pages needed at their first


@pytest.mark.slow
def test_three_hundred_strangers_hold_what_they_may_and_calls_go_on(shop, me, option):
    stranger = Visitor(shop)
    assert stranger.get(SIGN_IN).status == 200
    flight, held = shop.server.reception.flight, FORM_BYTES_MAX - 1
    with many(shop, 300, form(SIGN_IN, FORM_BYTES_MAX, body=b"x" * held)) as lines:
        until(lambda: flight.strangers.held_bytes == 300 * held)
        for stream in (False, True):
            assert me.chat("gpt-4", stream=stream).status == 200
        assert stranger.get(SIGN_IN).status == 200
        option(body_grace_s=1)
        for line in (lines[0], lines[-1]):
            answer = raw.listen(line, quiet_s=20)
            assert answer.status == 408 and b"took too long to arrive" in answer.body
        until(lambda: not flight.strangers.held_bytes)


def test_a_burst_buys_no_silence(shop, me, option):
    """The speed counts anew over each few seconds: no average of the whole."""
    option(body_grace_s=1)
    head = raw.post(CHAT, b"", key=me.key).replace(b"Content-Length: 0", b"Content-Length: 2000000")
    began = time.monotonic()
    answer = raw.talk(shop, head, b"x" * 1_000_000, quiet_s=20)
    assert answer.status == 408 and answer.json["error"]["code"] == "request_timeout"
    assert time.monotonic() - began < 10


def test_where_strangers_are_too_many_callers_are_not(shop, me, monkeypatch):
    flight = shop.server.reception.flight
    monkeypatch.setattr(flight.strangers, "bytes_max", 200_000)
    body = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hello " * 5000}]}).encode()
    assert me.request("POST", CHAT, body).status == 200
    with many(shop, 6, form(SIGN_IN, FORM_BYTES_MAX, body=b"x" * 40_000)) as lines:
        refused, _, _ = select.select(lines, [], [], 10)
        assert [raw.listen(line).status for line in refused] == [503]
        assert flight.strangers.held_bytes == 200_000
        answer = raw.talk(shop, form(SIGN_IN, 60_000, "Connection: close", body=b"x" * 60_000))
        assert answer.status == 503 and 1 <= int(answer.headers["retry-after"]) <= 5
        assert b"The server is busy" in answer.body
        answer = raw.talk(shop, form("/office/api/me", 60_000, "Connection: close", body=b"x" * 60_000))
        assert (answer.status, answer.json["error"]["code"]) == (503, "overloaded") and answer.headers["retry-after"]
        assert me.request("POST", CHAT, body).status == 200
        assert Visitor(shop).get(SIGN_IN).status == 200


def test_callers_have_a_bound_too_and_leave_the_pages_their_part(shop, me, monkeypatch):
    flight = shop.server.reception.flight
    monkeypatch.setattr(flight.callers, "bytes_max", 100_000)
    long = {"model": "gpt-4", "messages": [{"role": "user", "content": "x" * 150_000}]}
    answer = me.request("POST", CHAT, long)
    # By the pieces in which it came he holds a good part of what is full, and is told so, or nothing yet.
    refusals = {(503, "overloaded"), (429, "rate_limit_exceeded")}
    assert (answer.status, answer.json["error"]["code"]) in refusals and answer.headers["retry-after"]
    assert me.chat("gpt-4").status == 200
    with contextlib.closing(raw.connect(shop)) as line:  # a call under way holds its body until it is answered
        text = "sandbox: slow=1\n" + "x" * 25_000
        short = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": text}]})
        line.sendall(raw.post(CHAT, short.encode(), key=me.key))
        until(lambda: flight.callers.held_bytes > 25_000)
        assert Visitor(shop).get(SIGN_IN).status == 200
        assert raw.listen(line, until=b'"usage"').status == 200
    assert me.balance[1] == 0


@pytest.mark.slow
def test_small_chunks_weigh_no_more_than_what_they_carry(shop, me):
    head = raw.post(CHAT, b"", key=me.key).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    piece = b"2\r\nxx\r\n" * 10_000
    with contextlib.closing(raw.connect(shop)) as line:
        line.sendall(head + piece)
        callers = shop.server.reception.flight.callers
        until(lambda: callers.held_bytes >= 20_000)
        before = process_limits.rss_bytes()
        for _ in range(40):
            line.sendall(piece)
        until(lambda: callers.held_bytes >= 41 * 20_000)
        assert process_limits.rss_bytes() - before < 12 * MIB  # 400,000 objects would be 20


def test_large_heads_count(shop, monkeypatch):
    flight = shop.server.reception.flight
    monkeypatch.setattr(flight.strangers, "bytes_max", 100_000)
    part = raw.get(SIGN_IN, "X-A: " + "x" * 25_000)[:-4]
    with many(shop, 3, part):
        until(lambda: flight.strangers.held_bytes >= 75_000)
        for head in (part + b"x" * 5000, part + b"\r\n\r\n"):
            assert raw.talk(shop, head, quiet_s=3).status == 503
        assert Visitor(shop).get(SIGN_IN).status == 200  # a head as browsers send it is no weight


@pytest.mark.slow
def test_strangers_who_do_not_read_are_dropped_where_too_much_waits(shop, monkeypatch):
    reception = shop.server.reception
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            line = stack.enter_context(contextlib.closing(socket.socket()))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", shop.server.port))
            line.sendall(raw.get("/static/look/farebox.css") * 120)
        until(lambda: sum(door.unsent_bytes for door in list(reception.doors)) > 100_000)
        monkeypatch.setattr(reception.flight.strangers, "bytes_max", 100_000)
        until(lambda: sum(door.unsent_bytes for door in list(reception.doors)) <= 100_000)


@pytest.mark.slow
def test_who_is_signed_in_may_send_a_long_text(shop):
    text = "请善待彼此。" * 2000
    admin = people.operator(shop, "admin")
    body = urlencode({"terms_zh": text}).encode()
    assert len(body) > FORM_BYTES_MAX
    page = admin.fill("/office/settings", terms_zh=text)
    assert page.status != 413
    stranger = Visitor(shop)
    assert stranger.send("/office/settings", {"terms_zh": text}).status == 413
    assert stranger.fill("/estimate", text=text * 5).status == 200
    assert stranger.fill("/estimate", text=text * 20).status == 413


def test_shares_are_a_quarter_of_the_memory_and_part_of_each_other():
    flight = Flight(Options({"rss_max_mb": 1024}))
    assert (flight.strangers.bytes_max, flight.texts.bytes_max, flight.callers.bytes_max) == (
        32 * MIB,
        16 * MIB,
        224 * MIB,
    )
    small = Flight(Options({"rss_max_mb": 128, "body_bytes_max": MIB}))
    assert (small.strangers.bytes_max, small.callers.bytes_max) == (16 * MIB, 16 * MIB)
    assert Flight(Options({"bodies_mb_max": 100})).callers.bytes_max == 68 * MIB
    assert Flight(Options({"bodies_mb_max": 8})).callers.bytes_max == 32 * MIB  # one body, always
    whole = Share(100)
    first, second = Share(80, whole), Share(80, whole)
    assert first.take(80) and not first.take(1) and not second.take(21) and second.take(20)
    first.give(80)
    assert second.take(60) and not second.take(1) and whole.held_bytes == 80
