"""A whole shop in this process: store, server and sandbox upstream, for tests that speak HTTP to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import httptools  # noqa: F401 - imported before the loop runs, not in the middle of a test

from kit import minting


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="shop-loop", daemon=True)
        self._thread.start()

    def run(self, coroutine: Any, timeout_s: float = 30) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Answer:
    """An HTTP answer: status, headers (lower case), body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def call(self) -> str:
        return self.headers["x-request-id"]

    @property
    def events(self) -> list[Any]:
        """The payloads of a stream, `[DONE]` as text."""
        out: list[Any] = []
        for line in self.body.decode().split("\n"):
            if not line:
                continue
            assert line.startswith("data: "), line
            out.append(line[6:] if line[6:] == "[DONE]" else json.loads(line[6:]))
        return out

    @property
    def text(self) -> str:
        """The text of a chat stream or answer."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return "".join(
                choice["delta"].get("content") or ""
                for event in self.events
                if isinstance(event, dict)
                for choice in event.get("choices", ())
            )
        return self.json["choices"][0]["message"]["content"]


def stock() -> None:
    """What a shop under test sells: the official models and those of the demo, with their prices as the list `usd`."""
    from farebox.accounts import accounts
    from farebox.catalog import official, price_lists
    from farebox.kit import clock, db, settings

    now_us = clock.now_us()
    db.write(settings.ensure_installation)
    db.write(official.seed_official, actor="test", now_us=now_us)
    db.write(accounts.ensure_house, now_us=now_us)
    db.write(official.define, official.DEMO_MODELS, actor="test", now_us=now_us)
    db.write(price_lists.create_list, name="usd", currency="USD", about="", actor="test")
    rows = [row for facts in (*official.OFFICIAL_MODELS, *official.DEMO_MODELS) for row in facts.rows()]
    db.write(price_lists.publish, "usd", rows, actor="test", now_us=now_us)


class Shop:
    """The running shop. Prices are USD for 1,000,000 units unless said otherwise."""

    def __init__(self, instance: Any, **changes: Any) -> None:
        from farebox.kit import db, options

        self.instance = instance
        self.options = options.current()
        self.options.port = 0
        for name, value in {
            "lease_beat_ms": 500,
            "version_poll_ms": 100,
            "drain_s": 1,
            "store_wait_ms": 5000,
            **changes,
        }.items():
            setattr(self.options, name, value)
        self.db = db
        self.loop = Loop()
        self.sandbox = self.loop.run(self._sandbox())
        self._fill()
        self.server: Any = None
        self.start()

    async def _sandbox(self) -> Any:
        from farebox import sandbox

        return await sandbox.start("127.0.0.1", 0)

    def start(self) -> None:
        """Begin to serve.

        Probes are sent and samples taken when a test says so (`probe`, `sample`), or what others count would change
        under them.
        """
        from farebox.site.prober import Prober
        from farebox.site.serve import Server

        async def begin() -> Any:
            server = Server(self.options)
            await server.start()
            return server

        async def rest(_: Any) -> None: ...

        looks, Prober.probe = Prober.probe, rest  # type: ignore[method-assign]
        try:
            self.server = self.loop.run(begin())
        finally:
            Prober.probe = looks  # type: ignore[method-assign]
        self.server.ports.shop.sampler.at_once = 0

    @contextlib.contextmanager
    def sample(self) -> Iterator[None]:
        """Take samples of calls meanwhile, and wait for the last of them."""
        sampler = self.server.ports.shop.sampler
        sampler.at_once = 1
        try:
            yield
        finally:
            sampler.at_once = 0
            self.loop.run(sampler.finish())

    def probe(self) -> None:
        """Send the probes that are due, and wait for what they find."""

        async def once() -> None:
            await self.server.node.prober.probe()
            await self.server.node.prober.idle()

        self.loop.run(once())

    def stop(self) -> None:
        if self.server is not None:
            self.loop.run(self.server.stop())
            self.server = None

    def crash(self) -> None:
        """End the server without its last words: its epoch stays as it is, or, on PostgreSQL, another has ended it."""
        from farebox.kit.models import Epoch

        epoch = self.server.ports.shop.epoch
        self.stop()
        Epoch.objects.filter(id=epoch).update(ended_us=None if self.options.on_sqlite else 1, cleared_us=None)

    def close(self) -> None:
        from django.db import connection

        self.stop()
        self.loop.run(self.sandbox.stop())
        self.loop.close()
        connection.close()

    # what it sells

    def _fill(self) -> None:
        from farebox.kit.models import Setting

        if not Setting.objects.filter(name="installation_id").exists():
            stock()
        self.add_channel("sandbox", self.sandbox.base_url, [facts.name for facts in self._facts()])

    def _facts(self) -> Any:
        from farebox.catalog import official

        return (*official.OFFICIAL_MODELS, *official.DEMO_MODELS)

    def write(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        return self.db.write(fn, *args, **kwargs)

    def read(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        return self.db.read(fn, *args, **kwargs)

    def model(self, name: str, prices: dict[str, str], **facts: Any) -> str:
        """Define a model, price it, and let the sandbox answer it; its name."""
        from farebox.catalog import definitions, price_lists, sheets
        from farebox.kit import clock

        known = {
            "name": name, "owned_by": "test", "kinds": ["chat", "completions"], "modalities": ["text"],
            "context_tokens": 32_768, "output_tokens_max": 4096, "hidden_output": False, "tokenizer": "",
            "image_formula": "", "input_overhead_tokens": 0, "classes": sorted(prices), **facts,
        }  # fmt: skip
        now_us = clock.now_us()
        self.write(definitions.define_model, **known, actor="test", now_us=now_us)
        rows = [sheets.row(name, usage_class, price) for usage_class, price in prices.items()]
        self.write(price_lists.publish, "usd", rows, actor="test", now_us=now_us)
        self.offer("sandbox", name)
        self.refresh()
        return name

    def add_channel(self, name: str, base_url: str, models: list[str], **facts: Any) -> None:
        from farebox.kit import secrets
        from farebox.upstreams import channels
        from farebox.upstreams.channel_terms import ChannelTerms

        cancel_billing = facts.pop("cancel_billing", "stops")
        self.write(channels.add_upstream, name=name, actor="test", about="", cancel_billing=cancel_billing)
        self.write(
            channels.add_channel, ChannelTerms(**{"name": name, "upstream": name, "base_url": base_url, "local": True} | facts),
            secret="up-secret", actor="test", master=secrets.master_keys(self.options),
        )  # fmt: skip
        for model in models:
            self.offer(name, model)
        self.refresh()

    def offer(self, channel: str, model: str, upstream_model: str = "") -> None:
        from farebox.upstreams import channels

        self.write(
            channels.offer, channel=channel, model=model, upstream_model=upstream_model or model,
            costs={"input": "0.10", "output": "0.20"}, actor="test",
        )  # fmt: skip
        self.refresh()

    def refresh(self) -> None:
        """Let the server see what was changed, without waiting for its next look."""
        if getattr(self, "server", None) is not None:
            self.loop.run(self.server.node.poll())

    def rules(self, version: int) -> None:
        """Hold the money of calls from now on under this version of the charging rules."""
        from farebox.kit import settings

        def put(tx: Any) -> None:
            settings.keep(tx, settings.RULES_2_FROM, 0) if version == 2 else settings.forget(tx, settings.RULES_2_FROM)
            self.db.bump(tx, "shelf")

        self.write(put)
        self.refresh()

    # who buys

    def account(self, usd: str = "0", **key: Any) -> Customer:
        """A new account with so much money and a key."""
        from farebox.accounts import accounts
        from farebox.kit import clock, money
        from farebox.ledger import lots

        now_us = clock.now_us()
        account, project = self.write(
            accounts.open_account, name=f"Test {uuid.uuid4().hex[:8]}", currency="USD", price_list="usd",
            now_us=now_us, actor="test",
        )  # fmt: skip
        if money.parse(usd):
            self.write(
                lots.grant, account=account.id, currency="USD", amount_micro=money.parse(usd), ref=uuid.uuid4().hex,
                expires_us=None, now_us=now_us, note="test", requester="test", single_person=True,
            )  # fmt: skip
        settings = {"models": (), "addresses": (), "expires_us": None, "member": None,
                     "name": "test"} | key  # fmt: skip
        row, plaintext = self.write(minting.issue, project=project.id, now_us=now_us, actor="test", **settings)
        self.refresh()
        return Customer(self, account.id, row.id, plaintext)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def findings(self) -> list[str]:
        """What `farebox prove` finds."""
        from farebox.care import proof

        return [finding for found in proof.prove().findings.values() for finding in found]

    def counts(self) -> dict[str, int]:
        """Rows of the money tables."""
        from farebox.calls.models import Attempt, Call
        from farebox.ledger.models import Entry, Hold, Posting

        return {table.__name__: table.objects.count() for table in (Call, Attempt, Entry, Posting, Hold)}

    def rest(self, channel: Any, why: str = "no money") -> None:
        """Let a channel rest as one that refused the shop's own call."""
        from farebox.kit import clock
        from farebox.protocol.dialect import Fault

        health = self.server.ports.shop.health
        slot = health.take(channel, clock.now_us(), forced=True)
        health.failed(slot, Fault("ours", why, 402), clock.now_us())
        health.give(slot)

    def reset_health(self) -> None:
        health = self.server.ports.shop.health
        for channel in self.server.ports.shop.board.current.channels:
            health.reset(channel)


class Customer:
    """An account with a key, calling over HTTP."""

    def __init__(self, shop: Shop, account: str, key_id: str, key: str) -> None:
        self.shop = shop
        self.account = account
        self.key_id = key_id
        self.key = key

    def request(self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Answer:
        import http.client

        line = http.client.HTTPConnection("127.0.0.1", self.shop.server.port, timeout=60)
        given = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **(headers or {})}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        with contextlib.closing(line):
            line.request(method, path, data, given)
            response = line.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def chat(self, model: str, text: str = "Hello", **params: Any) -> Answer:
        headers = params.pop("headers", None)
        body = {"model": model, "messages": [{"role": "user", "content": text}], **params}
        return self.request("POST", "/v1/chat/completions", body, headers=headers)

    def receipt(self, call: str | Answer) -> dict[str, Any]:
        """The receipt, over the API, once the call has ended."""
        import time

        name = call.call if isinstance(call, Answer) else call
        for _ in range(400):
            found = self.get(f"/v1/calls/{name}")
            if found.status == 200 and found.json["outcome"] != "open":
                return found.json
            time.sleep(0.02)
        raise AssertionError(f"call {name} did not end: {found.status} {found.body!r}")

    @property
    def balance(self) -> tuple[int, int]:
        """(balance, held) in micro-units."""
        from farebox.ledger import holds

        posted_micro, held_micro, _ = self.shop.read(holds.balance, self.account)
        return posted_micro, held_micro


class Away:
    """The store of a running shop, that can go away: every write fails as if the database were gone.

    `mistaken` is the write that it refuses for a mistake of ours, by name; `mistakes` counts them.
    """

    def __init__(self, shop: Shop) -> None:
        self._store = shop.server.ports.store
        self.away = False
        self.mistaken = ""
        self.mistakes = 0
        shop.server.ports.store = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        from farebox.kit import errors

        if self.away:
            raise errors.StoreUnavailable  # without a cause: it was surely not done
        if fn.__name__ == self.mistaken:
            self.mistakes += 1
            raise RuntimeError("permission denied for this table")
        return await self._store.write(fn, *args, **kwargs)


@contextlib.contextmanager
def opened(instance: Any, **changes: Any) -> Iterator[Shop]:
    """A shop on this instance."""
    shop = Shop(instance, **changes)
    try:
        yield shop
    finally:
        shop.close()
