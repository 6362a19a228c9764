"""Bearer to Caller: the K rows of the corpus, the ring's memory, and a store that is away (F02, F03)."""

from __future__ import annotations

import asyncio
import time

import pytest

from farebox.accounts import sql
from farebox.accounts.keys import authenticate, key_format
from farebox.accounts.keys.authenticate import KeyRing
from farebox.kit import secrets
from farebox.kit.errors import BadKey, NotAllowed, RateLimited, StoreUnavailable

PEPPER = b"p" * 32
SITE = key_format.site_code("this installation")
OTHER_SITE = key_format.site_code("another one")
NOW = 1_795_500_000_000_000
HERE = "203.0.113.7"


class FakeStore:
    """A store in memory that counts look-ups; `away` is what it raises instead of answering."""

    def __init__(self):
        self.rows = {}
        self.versions = {}
        self.lookups = 0
        self.away = None
        self.gate = None
        self.rehashed = []

    def put(self, key, *, pepper=PEPPER, **changes):
        row = {
            "key": "key_1", "name": "app", "state": "active", "models": "[]", "addresses": "[]", "expires": None,
            "counts_as": "", "pepper_n": 1, "project": "prj_1", "project_state": "active",
            "account": "acc_1", "account_name": "Acme", "kind": "customer",
            "account_state": "active", "currency": "USD", "list": "official-usd", "zone": "UTC", "member": None,
            "member_state": None, **dict.fromkeys(f"limit {n}" for n in range(9 + 12)), "trusted": False,
        }  # fmt: skip
        assert not set(changes) - set(row)
        self.rows[secrets.digest_key(pepper, key)] = tuple((row | changes).values())

    async def read(self, fn, *args):
        self.lookups += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.away is not None:
            raise self.away
        return fn(self, *args)

    async def write(self, fn, *args):
        return fn(self, *args)

    def one(self, text, params):
        assert text == sql.FIND_KEY
        return self.rows.get(params[0])

    def all(self, text, params=()):
        assert "kit_version" in text
        return list(self.versions.items())

    def execute(self, text, params):
        assert text == sql.REHASH_KEY
        self.rehashed.append(params)
        return 1


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def ring():
    return KeyRing(peppers={1: PEPPER}, site=SITE)


KEY = key_format.mint(SITE)


def ask(ring, store, authorization, *, address=HERE, now_us=NOW):
    return asyncio.run(authenticate.bearer(ring, store, authorization=authorization, address=address, now_us=now_us))


def refusal(kind, ring, store, authorization, **more):
    with pytest.raises(kind) as caught:
        ask(ring, store, authorization, **more)
    return caught.value


def test_a_good_key_is_looked_up_once(ring, store):
    store.put(KEY, models='["gpt-4"]')
    caller = ask(ring, store, f"Bearer {KEY}")
    assert (caller.key, caller.account, caller.project, caller.currency) == ("key_1", "acc_1", "prj_1", "USD")
    assert caller.may_use("gpt-4")
    assert not caller.may_use("gpt-4o")
    assert ask(ring, store, f"Bearer {KEY}") is caller
    assert store.lookups == 1
    assert not any(KEY in repr(getattr(ring, slot)) for slot in ring.__slots__)


@pytest.mark.parametrize(
    "form", ["bearer {}", "BEARER {}", "Bearer  {}", "Bearer\t{}", "  Bearer {}  ", "bEaReR \t {} \t"]
)
def test_k03_scheme_and_white_space_do_not_matter(ring, store, form):
    store.put(KEY)
    assert ask(ring, store, form.format(KEY)).key == "key_1"


@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "Bearer ", "bearer\t"])
def test_k01_no_key(ring, store, header):
    error = refusal(BadKey, ring, store, header)
    assert "Incorrect API key provided" in error.message
    assert (error.status, error.type, error.code) == (401, "invalid_request_error", "invalid_api_key")
    assert store.lookups == 0


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", f"Token {KEY}", KEY, f"Bearer{KEY}", f"Bearer:{KEY}"])
def test_k02_other_schemes(ring, store, header):
    store.put(KEY)
    error = refusal(BadKey, ring, store, header)
    assert "Incorrect API key provided" in error.message
    assert KEY[7:-4] not in error.message
    assert store.lookups == 0


@pytest.mark.parametrize(
    "wrong",
    [
        KEY[:20] + ("a" if KEY[20] != "a" else "b") + KEY[21:],
        KEY[:-1],
        KEY + KEY[-1],
        KEY[:10],
        KEY[:9] + KEY[8:],
    ],
)
def test_k05_a_mistyped_key_needs_no_look_up(ring, store, wrong):
    store.put(KEY)
    error = refusal(BadKey, ring, store, f"Bearer {wrong}")
    assert error.message.startswith("Incorrect API key provided: ")
    assert "checksum" in error.message
    assert store.lookups == 0


def test_k06_an_unknown_key_is_looked_up_once_in_5_s(ring, store):
    unknown = key_format.mint(SITE)
    for elapsed_us in (0, 1_000_000, 4_999_999):
        error = refusal(BadKey, ring, store, f"Bearer {unknown}", now_us=NOW + elapsed_us)
        assert error.message.startswith(f"Incorrect API key provided: sk-FBX1****{unknown[-4:]}. ")
        assert unknown[7:-4] not in error.message
    assert store.lookups == 1
    store.put(unknown)
    assert ask(ring, store, f"Bearer {unknown}", now_us=NOW + 5_000_000).key == "key_1"
    assert store.lookups == 2


def test_k07_a_key_of_another_installation(ring, store):
    error = refusal(BadKey, ring, store, f"Bearer {key_format.mint(OTHER_SITE)}")
    assert "Incorrect API key provided" in error.message
    assert "belongs to another installation" in error.message


@pytest.mark.parametrize(
    "key", ["k" * 100_000, "sk-FBX1" + "a" * 4097, "ключ" * 12, "sk-\x00" + "a" * 48, "a b" * 16, "\xff" * 48]
)
def test_k08_absurd_keys_need_no_look_up(ring, store, key):
    error = refusal(BadKey, ring, store, f"Bearer {key}")
    assert "Incorrect API key provided" in error.message
    assert len(error.message) < 300
    assert error.message.isascii()
    assert store.lookups == 0


def test_k11_dead_keys_and_accounts(ring, store):
    keys = {}
    for name, changes in {
        "revoked": {"state": "revoked"},
        "archived": {"project_state": "archived"},
        "removed": {"member": "mem_1", "member_state": "removed"},
        "closed": {"account_state": "closed"},
        "expired": {"expires": NOW},
        "frozen": {"account_state": "frozen"},
        "barred": {"account_state": "barred"},
    }.items():
        keys[name] = key_format.mint(SITE)
        store.put(keys[name], **changes)
    for name in ("revoked", "archived", "removed", "closed"):
        error = refusal(BadKey, ring, store, f"Bearer {keys[name]}")
        assert "API key has been deactivated" in error.message
        assert "Incorrect" not in error.message
    error = refusal(BadKey, ring, store, f"Bearer {keys['expired']}")
    assert "API key has been deactivated (expired)" in error.message
    assert ask(ring, store, f"Bearer {keys['expired']}", now_us=NOW - 1).key == "key_1"
    for name in ("frozen", "barred"):
        refused = refusal(NotAllowed, ring, store, f"Bearer {keys[name]}")
        assert (refused.status, refused.code, refused.type) == (
            403,
            "account_deactivated",
            "invalid_request_error",
        )
        assert "account is not active" in refused.message


@pytest.mark.parametrize(
    ("addresses", "address", "allowed"),
    [
        ('["203.0.113.7"]', HERE, True),
        ('["203.0.113.0/24", "2001:db8::/32"]', HERE, True),
        ('["203.0.113.0/24", "2001:db8::/32"]', "2001:db8::1", True),
        ('["203.0.113.0/24"]', "::ffff:203.0.113.9", True),
        ('["203.0.113.8"]', HERE, False),
        ('["203.0.113.0/24"]', "2001:db8::1", False),
        ('["203.0.113.0/24"]', "", False),
        ('["0.0.0.0/0"]', "unix", False),
    ],
)
def test_k11_addresses(ring, store, addresses, address, allowed):
    store.put(KEY, addresses=addresses)
    if allowed:
        assert ask(ring, store, f"Bearer {KEY}", address=address).key == "key_1"
        return
    error = refusal(NotAllowed, ring, store, f"Bearer {KEY}", address=address)
    assert (error.status, error.code) == (403, "ip_not_allowed")
    assert f"Your address {address} is not on the list" in error.message
    assert "change it" in error.message


def test_k13_wrong_keys_are_throttled_and_right_ones_are_not(ring, store):
    store.put(KEY)
    wrong = KEY[:-1] + ("a" if KEY[-1] != "a" else "b")
    for _ in range(60):
        refusal(BadKey, ring, store, f"Bearer {wrong}")
    error = refusal(RateLimited, ring, store, f"Bearer {wrong}")
    assert (error.status, error.code, error.retry_after_s) == (429, "rate_limit_exceeded", 1)
    assert ask(ring, store, f"Bearer {KEY}").key == "key_1"
    refusal(BadKey, ring, store, f"Bearer {wrong}", address="203.0.113.8")
    refusal(BadKey, ring, store, f"Bearer {wrong}", now_us=NOW + 1_000_000)
    refusal(RateLimited, ring, store, f"Bearer {wrong}", now_us=NOW + 1_000_001)


def test_k13_the_limit_is_an_option_and_an_ipv6_network_is_one_address(store):
    ring = KeyRing(peppers={1: PEPPER}, site=SITE, wrong_keys_per_min=2)
    for last in ("1", "2"):
        refusal(BadKey, ring, store, "Bearer sk-FBX1x", address=f"2001:db8:0:1::{last}")
    assert refusal(RateLimited, ring, store, "Bearer sk-FBX1x", address="2001:db8:0:1::3").retry_after_s == 30
    refusal(BadKey, ring, store, "Bearer sk-FBX1x", address="2001:db8:0:2::1")


def test_the_throttle_remembers_so_many_addresses_only():
    throttle = authenticate.Throttle(per_min=1, addresses_max=3)
    for n in range(10):
        assert throttle.count(f"203.0.113.{n}", now_us=NOW) == 0
    assert len(throttle) == 3
    assert throttle.count("203.0.113.9", now_us=NOW) == 60_000_000
    assert throttle.count("203.0.113.9", now_us=NOW + 60_000_000) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [RuntimeError("connection lost"), OSError("gone"), TimeoutError(), StoreUnavailable()]
)
def test_f02_a_store_that_is_away_is_503_and_nothing_is_remembered(ring, store, fault):
    store.put(KEY)
    store.away = fault
    error = refusal(StoreUnavailable, ring, store, f"Bearer {KEY}")
    assert error.status == 503
    assert error.retry_after_s
    store.away = None
    assert ask(ring, store, f"Bearer {KEY}").key == "key_1"


def test_f03_a_revoked_key_is_refused_after_the_version_changed(ring, store):
    store.put(KEY)
    ask(ring, store, f"Bearer {KEY}")
    store.put(KEY, state="revoked")
    ask(ring, store, f"Bearer {KEY}")
    ring.forget_all()
    assert "deactivated" in refusal(BadKey, ring, store, f"Bearer {KEY}").message


def test_a_key_made_just_now_works_after_the_version_changed(ring, store):
    refusal(BadKey, ring, store, f"Bearer {KEY}")
    store.put(KEY)
    ring.forget_all()
    assert ask(ring, store, f"Bearer {KEY}").key == "key_1"


def test_f03_a_stale_ring_looks_up_again_every_time(ring, store):
    store.put(KEY)
    ask(ring, store, f"Bearer {KEY}")
    ring.stale = True
    store.put(KEY, state="revoked")
    assert "deactivated" in refusal(BadKey, ring, store, f"Bearer {KEY}").message
    store.away = StoreUnavailable()
    refusal(StoreUnavailable, ring, store, f"Bearer {KEY}")
    assert store.lookups == 3
    ring.stale = False


def test_a_look_up_that_began_before_a_change_is_not_remembered(ring, store):
    async def main():
        store.put(KEY)
        store.gate = asyncio.Event()
        call = authenticate.bearer(ring, store, authorization=f"Bearer {KEY}", address=HERE, now_us=NOW)
        first = asyncio.create_task(call)
        await asyncio.sleep(0)
        ring.forget_all()
        store.gate.set()
        assert (await first).key == "key_1"
        assert len(ring) == 0
        await authenticate.bearer(ring, store, authorization=f"Bearer {KEY}", address=HERE, now_us=NOW)
        assert store.lookups == 2

    asyncio.run(main())


def test_callers_of_one_key_share_a_look_up_and_a_cancelled_one_takes_nobody_along(ring, store):
    async def main():
        store.put(KEY)
        store.gate = asyncio.Event()

        def start():
            call = authenticate.bearer(ring, store, authorization=f"Bearer {KEY}", address=HERE, now_us=NOW)
            return asyncio.create_task(call)

        calls = [start() for _ in range(50)]
        await asyncio.sleep(0.01)
        assert store.lookups == 1
        calls[0].cancel()
        await asyncio.sleep(0.01)
        store.gate.set()
        callers = await asyncio.gather(*calls[1:])
        assert len({id(caller) for caller in callers}) == 1
        assert store.lookups == 2

    asyncio.run(main())


def test_callers_of_one_key_share_a_failure(ring, store):
    async def main():
        store.gate = asyncio.Event()
        store.away = RuntimeError("lost")
        calls = [
            asyncio.create_task(
                authenticate.bearer(ring, store, authorization=f"Bearer {KEY}", address=HERE, now_us=NOW)
            )
            for _ in range(20)
        ]
        await asyncio.sleep(0.01)
        store.gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailable}
        assert store.lookups == 1

    asyncio.run(main())


def test_the_ring_is_bounded(store):
    ring = KeyRing(peppers={1: PEPPER}, site=SITE, entries_max=3, wrong_keys_per_min=1000)
    known = [key_format.mint(SITE) for _ in range(5)]
    for key in known:
        store.put(key)
        ask(ring, store, f"Bearer {key}")
    assert len(ring) == 3
    lookups = store.lookups
    ask(ring, store, f"Bearer {known[4]}")
    assert store.lookups == lookups
    ask(ring, store, f"Bearer {known[0]}")
    assert store.lookups == lookups + 1
    for _ in range(10):
        refusal(BadKey, ring, store, f"Bearer {key_format.mint(SITE)}")
    assert len(ring._unknown) == 3


def test_imported_keys_take_the_look_up_path(ring, store):
    old = "sk-" + "o" * 48
    store.put(old)
    refusal(BadKey, ring, store, f"Bearer {old}")
    refusal(BadKey, ring, store, "Bearer sk-" + "p" * 48)
    assert store.lookups == 1
    store.versions[authenticate.IMPORTED] = 1
    ring.forget_all()
    assert ask(ring, store, f"Bearer {old}").key == "key_1"
    moved = key_format.mint(OTHER_SITE)
    store.put(moved)
    assert ask(ring, store, f"Bearer {moved}").key == "key_1"


def test_a_key_of_an_older_pepper_works_and_is_digested_anew(store):
    ring = KeyRing(peppers={1: PEPPER, 2: b"q" * 32}, site=SITE)
    store.put(KEY)
    assert ask(ring, store, f"Bearer {KEY}").key == "key_1"
    assert store.rehashed == [(secrets.digest_key(b"q" * 32, KEY), 2, "key_1", secrets.digest_key(PEPPER, KEY))]
    ask(ring, store, f"Bearer {KEY}")
    assert len(store.rehashed) == 1
    assert store.lookups == 1


def test_a_hit_costs_a_few_microseconds(ring, store):
    store.put(KEY)

    async def main():
        async def once():
            return await authenticate.bearer(ring, store, authorization=f"Bearer {KEY}", address=HERE, now_us=NOW)

        await once()
        best_ns = 10**9
        for _ in range(20):
            start_ns = time.perf_counter_ns()
            for _ in range(200):
                await once()
            best_ns = min(best_ns, (time.perf_counter_ns() - start_ns) // 200)
        return best_ns

    assert asyncio.run(main()) < 50_000
