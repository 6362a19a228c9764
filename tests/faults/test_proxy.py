"""The TCP proxy on each of three links, with each fault, streamed and not: right ending, right charge, clean books.

`make test` runs a third (each fault occurs, and each link); `PROXY=all` runs everything. SQLite has no link to the
store. The PostgreSQL of the wheel knows no TLS: on that link an end without TLS's own is a plain one.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kit import world
from kit.proxy import FAULTS, Proxy, certificate
from kit.recording import FIRST, PATH
from kit.shop import Loop
from kit.threeway import MODEL, price_micro
from kit.world import free_port, wait_until

pytestmark = [pytest.mark.store, pytest.mark.slow]

LINKS = ("client", "upstream", "store")
ALL = os.environ.get("PROXY") == "all"
_MODEL_TLS = f"{MODEL}-tls"
_HARMLESS = {"latency", "rate", "split"}
_AFTER_BYTES = 1500  # of an answer: its head and some of its text have come
_ENVIRON = {
    "FAREBOX_CONNECT_S": "1", "FAREBOX_FIRST_BYTE_S": "1", "FAREBOX_IDLE_S": "1", "FAREBOX_SLOW_READER_S": "1",
    "FAREBOX_READ_ON_JSON_S": "1", "FAREBOX_STORE_WAIT_MS": "500", "FAREBOX_LEASE_BEAT_MS": "200",
    "FAREBOX_BODY_GRACE_S": "1", "FAREBOX_HEAD_S": "1",
}  # fmt: skip
_numbers = itertools.count(1)


def cases(links: tuple[str, ...]) -> list[tuple[str, str, bool]]:
    """(link, fault, stream): all, or for each fault one link in turn."""
    out = []
    for place, fault in enumerate(FAULTS):
        out += [
            (link, fault, stream)
            for link in (links if ALL else (links[place % len(links)],))
            for stream in (True, False)
        ]
    return out


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The links that there are on this database."""
    if "link" in metafunc.fixturenames:
        found = cases(LINKS if metafunc.config.getoption("--db") == "postgresql" else LINKS[:2])
        names = [f"{link}-{fault}-{'stream' if stream else 'whole'}" for link, fault, stream in found]
        metafunc.parametrize(("link", "fault", "stream"), found, ids=names)


@dataclass
class Got:
    """What the client got; `fault` is how its connection ended, where that was no proper end."""

    number: int = 0
    status: int = 0
    code: str = ""
    head: dict[str, str] = field(default_factory=dict)
    end: bool = False
    fault: str = ""


class Links:
    """A shop with a proxy on each link, and its client."""

    def __init__(self, stack: contextlib.ExitStack, instance: Any, folder: Path, server: Any) -> None:
        self.loop = Loop()
        stack.callback(self.loop.close)
        self._stack = stack
        self.certificate = certificate(folder)
        environ = {**_ENVIRON, "SSL_CERT_FILE": str(self.certificate)}
        self.store: Proxy | None = None
        if server is not None:
            self.store = self._proxy(server.port)
            environ["FAREBOX_DATABASE"] = server.uri(instance.name, self.store.port) + "&connect_timeout=2"
        self.world = stack.enter_context(
            world.opened(instance, folder, callers=0, reach=self._reach, environ=environ)
        )  # fmt: skip
        port = self.world.ports[0]
        self.client, self.client_tls = self._proxy(port), self._proxy(port, tls=True)
        self.context = ssl.create_default_context(cafile=str(self.certificate))
        self.child = self.world.start()
        assert self.child.wait_ready(), self.world.nursery.said

    def _reach(self, url: str) -> dict[str, str]:
        port = int(url.split(":")[2].split("/", maxsplit=1)[0])
        self.upstream, self.upstream_tls = self._proxy(port), self._proxy(port, tls=True)
        return {
            MODEL: f"http://127.0.0.1:{self.upstream.port}/v1",
            _MODEL_TLS: f"https://127.0.0.1:{self.upstream_tls.port}/v1",
        }

    def _proxy(self, port: int, *, tls: bool = False) -> Proxy:
        made = Proxy(port, certificate=self.certificate if tls else None, listen=free_port())
        self.loop.run(made.start())
        self._stack.callback(lambda: self.loop.run(made.stop()))
        return made

    def at(self, link: str, fault: str) -> Proxy:
        """The proxy of a link; for an end without TLS's own, the one that speaks TLS."""
        tls = fault == "no-close"
        if link == "client":
            return self.client_tls if tls else self.client
        if link == "upstream":
            return self.upstream_tls if tls else self.upstream
        assert self.store is not None
        return self.store

    def call(self, text: str, *, stream: bool, tls: bool = False, model: str = MODEL, direct: bool = False) -> Got:
        """One call through the client's proxy, or past it."""
        got = Got(next(_numbers))
        self.talk(got, text, stream=stream, tls=tls, model=model, direct=direct)
        return got

    def talk(self, got: Got, text: str, *, stream: bool, tls: bool, model: str, direct: bool = False) -> None:
        port = self.client_tls.port if tls else self.client.port
        if direct:
            port = self.world.ports[0]
        line: Any = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        if tls:
            line = http.client.HTTPSConnection("127.0.0.1", port, timeout=15, context=self.context)
        if self.client.fault in {"blackhole", "half-open"}:
            line.timeout = 1.5
        body = {
            "model": model, "stream": stream, "max_tokens": FIRST + got.number,
            "messages": [{"role": "user", "content": f"sandbox: {text}\n{got.number} words"}],
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {self.world.key}", "Content-Type": "application/json"}
        try:
            with contextlib.closing(line):
                line.request("POST", PATH, json.dumps(body).encode(), headers)
                response = line.getresponse()
                got.status = response.status
                got.head = {name.lower(): value for name, value in response.getheaders()}
                for data in response if stream else [response.read()]:
                    self._read(got, data)
        except (OSError, http.client.HTTPException, ValueError) as fault:
            got.fault = type(fault).__name__
        assert got.status not in {401, 402, 403, 429}, got
        assert got.code not in {"insufficient_quota", "invalid_api_key"}, got

    @staticmethod
    def _read(got: Got, data: bytes) -> None:
        data = data.strip().removeprefix(b"data: ")
        if data == b"[DONE]":
            got.end = True
        elif data:
            answer = json.loads(data)
            if "error" in answer:
                got.code = answer["error"]["code"]
            elif answer["object"] == "chat.completion":
                got.end = True

    def receipt(self, got: Got) -> Any:
        """The record of the call once it has ended; None if there is none."""
        from farebox.calls.models import Call

        found = Call.objects.filter(limit_tokens=FIRST + got.number)
        if not found.exists():
            return None
        wait_until(lambda: found.get().outcome != "open", 10, f"the call did not end: {got} {self.world.nursery.said}")
        return found.get()

    def recovered(self, *, stream: bool, model: str) -> None:
        """Once the fault is over a call is served again, nothing is held, and the books add up."""
        from farebox.calls.models import Call
        from farebox.ledger.models import LedgerAccount

        wait_until(
            lambda: self.call("tokens=3", stream=stream, direct=True, model=model).end,
            15,
            f"no call is served after the fault\n{self.world.nursery.said}",
        )
        wait_until(lambda: not self.world.open_holds(), 15, f"a hold stays open\n{self.world.nursery.said}")
        charged_micro = sum(
            charge or 0
            for charge, flags in Call.objects.values_list("charge_micro", "flags")
            if "refunded" not in flags.split()
        )
        account = LedgerAccount.objects.get(id=self.world.account)
        assert account.posted_micro == world.GRANTED_MICRO - charged_micro
        assert self.world.findings() == []


def made(links: Links, got: Got) -> dict[str, int]:
    """What the upstream says that it made for a call; it says so when its connection has ended."""

    def told() -> dict[str, int] | None:
        for line in links.world.upstream_journal.read_text().splitlines():
            record = json.loads(line)
            if record["body"]["messages"][0]["content"].split("\n")[1] == f"{got.number} words":
                usage = record["usage"]
                return {"input": usage["prompt_tokens"], "output": usage["completion_tokens"]}
        return None

    found: dict[str, int] = wait_until(told, 10, "the upstream knows nothing of the call")
    return found


@pytest.fixture(scope="module")
def links(request: pytest.FixtureRequest, own_server: Any, tmp_path_factory: Any) -> Iterator[Links]:
    folder = tmp_path_factory.mktemp("links")
    with contextlib.ExitStack() as stack:
        if own_server is None:
            instance = request.getfixturevalue("shared_instance")
        else:
            from kit import postgres

            instance = stack.enter_context(postgres.opened(own_server, folder / "data"))
        yield Links(stack, instance, folder, own_server)


def served_exactly(links: Links, got: Got, rules: set[str]) -> None:
    """The client saw the end, and pays the price of what the upstream made."""
    assert got.status == 200
    assert got.end, got
    row = links.receipt(got)
    assert row.rule in rules, row.rule
    assert row.charge_micro == price_micro(made(links, got)) > 0


def on_client_link(links: Links, fault: str, *, stream: bool) -> None:
    """The customer's own line: what was delivered is charged, what never came in is not known."""
    got = links.call(_text(stream), stream=stream, tls=fault == "no-close")
    if fault in _HARMLESS:
        served_exactly(links, got, {"R02"})
        return
    assert not got.end
    row = links.receipt(got)
    if fault in {"refuse", "half-open"}:
        assert row is None
        return
    assert row.rule in ({"R02", "R18", "R20"} if stream else {"R02", "R19"})
    assert 0 < row.charge_micro <= price_micro(made(links, got))


def on_upstream_link(links: Links, fault: str, *, stream: bool) -> None:
    """The upstream fails: before any output with a status of its own, in a stream with an error event; free."""
    got = links.call(_text(stream), stream=stream, model=_MODEL_TLS if fault == "no-close" else MODEL)
    if fault in _HARMLESS:
        served_exactly(links, got, {"R02"})
        return
    assert not got.end
    assert got.fault == "", "the customer's connection was cut"
    row = links.receipt(got)
    assert row.charge_micro == 0
    silent = fault in {"half-open", "blackhole"}
    assert got.code == ("upstream_timeout" if silent else "upstream_error"), got
    after_output = stream and fault not in {"refuse", "half-open"}
    assert row.rule == ("R14" if after_output else "R13")
    assert got.status == (200 if after_output else 504 if silent else 502), got


def on_store_link(links: Links, proxy: Proxy, fault: str, *, stream: bool) -> None:
    """The store is away: a call under way ends with its charge journalled, a new one gets a 503 to come again."""
    from farebox.calls.models import Call

    text = "tokens=30+pace=20" if stream else "tokens=30+slow=0.6"
    if fault in _HARMLESS:
        served_exactly(links, links.call(text, stream=stream), {"R02"})
        return
    got = Got(next(_numbers))
    talk = threading.Thread(
        target=links.talk, args=(got, text), kwargs={"stream": stream, "tls": False, "model": MODEL}
    )
    talk.start()
    try:
        wait_until(Call.objects.filter(limit_tokens=FIRST + got.number, outcome="open").exists, 10, "no call")
        time.sleep(0.1)  # others see the hold a moment before its process hears that it is there
        links.loop.run(proxy.set(fault, 1))
        new = links.call("tokens=3", stream=stream)
        talk.join(20)
    finally:
        links.loop.run(proxy.clear())
        talk.join(20)
    assert new.status == 503, new
    assert new.code in {"store_unavailable", "overloaded"}
    assert int(new.head["retry-after"]) >= 1
    served_exactly(links, got, {"R02", "R23"})
    wait_until(lambda: not links.world.open_holds(), 15, f"a hold stays open\n{links.world.nursery.said}")
    row = links.receipt(new)
    assert row is None or row.charge_micro == 0


def _text(stream: bool) -> str:
    return "tokens=30+pace=5" if stream else "bytes=4000"


@pytest.mark.fault("F10", "F11", "F17", "F18", "F27", "F33")
def test_fault_on_a_link(links: Links, link: str, fault: str, stream: bool) -> None:
    proxy = links.at(link, fault)
    if link != "store" or fault in _HARMLESS:
        links.loop.run(proxy.set(fault, _AFTER_BYTES))
    begin = time.monotonic()
    try:
        if link == "client":
            on_client_link(links, fault, stream=stream)
        elif link == "upstream":
            on_upstream_link(links, fault, stream=stream)
        else:
            on_store_link(links, proxy, fault, stream=stream)
    finally:
        if proxy.fault:
            links.loop.run(proxy.clear())
    assert time.monotonic() - begin < 25
    links.recovered(stream=stream, model=_MODEL_TLS if link == "upstream" and fault == "no-close" else MODEL)
    assert links.child.alive


def test_the_sample_has_each_link_and_each_fault() -> None:
    found = cases(LINKS)
    assert {link for link, _, _ in found} == set(LINKS)
    assert {fault for _, fault, _ in found} == set(FAULTS)
    assert len(found) == (54 if ALL else 18)
