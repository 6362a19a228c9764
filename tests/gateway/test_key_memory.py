"""What a process remembers of keys, and what a look-up does that finds nobody to read for it (F02, F03)."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from kit.shop import opened
from kit.talk import PROMPTLY_S, wait_for

pytestmark = pytest.mark.store


def refused(answer, status: int, code: str) -> None:
    assert (answer.status, answer.json["error"]["code"]) == (status, code), answer.body


@pytest.mark.slow
@pytest.mark.fault("F02")
def test_a_look_up_that_finds_every_reader_busy_is_503(instance, monkeypatch):
    with opened(instance, store_wait_ms=200) as shop:
        me = shop.account("1")
        # Not before: a start on a busy machine takes longer.
        monkeypatch.setattr("farebox.kit.db._HANG_S", 0.3)
        gate = threading.Event()
        store = shop.server.store
        hung = [shop.loop.loop.call_soon_threadsafe(_hang, shop, store, gate) for _ in range(2)]
        assert len(hung) == 2
        since_s = time.monotonic()
        refused(me.chat("gpt-4"), 503, "store_unavailable")
        assert 0.4 < time.monotonic() - since_s < PROMPTLY_S
        gate.set()
        wait_for(lambda: me.chat("gpt-4", "sandbox: tokens=1").status == 200)


def _hang(shop, store, gate) -> None:
    from farebox.kit import errors

    async def read() -> None:
        with contextlib.suppress(errors.StoreUnavailable):
            await store.read(lambda tx: gate.wait(20))

    shop.loop.loop.create_task(read())


class Blind:
    """A store whose versions can't be read; `reads` counts look-ups."""

    def __init__(self, store) -> None:
        self._store = store
        self.blind = False
        self.reads = 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def watch(self, fn, *args):
        from farebox.kit import errors

        if self.blind:
            raise errors.StoreUnavailable
        return await self._store.watch(fn, *args)

    async def read(self, fn, *args):
        if fn.__name__ == "_find":
            self.reads += 1
        return await self._store.read(fn, *args)


def revoke(shop, me) -> None:
    """As another process does: this one is not told."""
    from farebox.accounts.keys import keys
    from farebox.kit import clock

    shop.write(keys.revoke, me.key_id, now_us=clock.now_us(), actor="test")


@pytest.mark.slow
@pytest.mark.fault("F03")
def test_a_revoked_key_is_refused_within_a_second(instance):
    with opened(instance, version_poll_ms=500) as shop:
        me = shop.account("1")
        assert me.chat("gpt-4", "sandbox: tokens=1").status == 200
        revoke(shop, me)
        since_s = time.monotonic()
        wait_for(lambda: me.get("/v1/models").status == 401, 5)
        assert time.monotonic() - since_s < PROMPTLY_S
        refused(me.chat("gpt-4"), 401, "invalid_api_key")


@pytest.mark.slow
@pytest.mark.fault("F03")
def test_a_node_that_cannot_poll_looks_every_key_up(instance):
    with opened(instance) as shop:
        blinded(shop, shop.account("1"))


def blinded(shop, me) -> None:
    ports = shop.server.ports
    own, ports.store = ports.store, Blind(ports.store)
    try:
        assert me.get("/v1/models").status == 200
        ports.store.blind = True
        wait_for(lambda: ports.shop.ring.stale, 3)
        seen = ports.store.reads
        assert me.get("/v1/models").status == me.get("/v1/models").status == 200
        assert ports.store.reads == seen + 2
        revoke(shop, me)
        assert me.get("/v1/models").status == 401
        ports.store.blind = False
        wait_for(lambda: not ports.shop.ring.stale, 3)
        other = shop.account("1")
        assert other.get("/v1/models").status == 200
        seen = ports.store.reads
        assert other.get("/v1/models").status == 200
        assert ports.store.reads == seen
    finally:
        ports.store = own
