"""Limits a minute and at once: all scopes pass or none counts, every ending leaves its seat, a refusal costs nothing."""

from __future__ import annotations

import time
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.accounts.keys.pace import Pace
from farebox.gateway.rate_limits import MINUTE_US, Rates, tokens
from farebox.kit.errors import RateLimited
from kit import minting
from kit.talk import PROMPTLY_S, Talk, chat, wait_for

S = 1_000_000
HEADERS = [f"x-ratelimit-{part}-{what}" for what in ("requests", "tokens") for part in ("limit", "remaining", "reset")]


def limit(shop, kind, name, **limits):
    from farebox.accounts.keys import rates

    given = {"rpm": None, "tpm": None, "concurrency": None} | limits
    shop.write(rates.limit, kind, name, **given, actor="test")
    shop.refresh()


def seats(shop):
    """Every scope's calls under way and reserved tokens."""
    return {
        name: (scope.running, scope.reserved_tokens) for name, scope in shop.server.ports.shop.rates._scopes.items()
    }


def scope_of(shop, name):
    return shop.server.ports.shop.rates._scopes[name]


# the pure part


def admitted(rates, paces, at_us, tokens_in=0, tokens_out=0):
    try:
        return rates.admit(paces, tokens_in, tokens_out, at_us)
    except RateLimited:
        return None


STEPS = st.lists(
    st.tuples(
        st.integers(0, 40 * S),  # how much later
        st.sampled_from([("a",), ("b",), ("a", "b")]),  # the scopes of the call
        st.integers(0, 60),  # input tokens
        st.integers(0, 60),  # output tokens reserved
        st.integers(0, 150),  # used in the end
        st.integers(0, 90 * S),  # how long it runs
    ),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    steps=STEPS,
    rpm=st.none() | st.integers(1, 4),
    tpm=st.none() | st.integers(1, 200),
    concurrency=st.none() | st.integers(1, 3),
)
def test_no_window_of_a_minute_holds_more_than_the_limits(steps, rpm, tpm, concurrency):
    """Compared with a plain list of what was let in, searched whole each time."""
    rates, now, calls = Rates(), 1000 * S, []  # calls: [scopes, begun, ends, reserved, used, seat]
    for later, names, tokens_in, tokens_out, used, runs in steps:
        now += later
        for call in sorted((call for call in calls if call[5] and call[2] <= now), key=lambda call: call[2]):
            call[5].used(call[4], call[2])
            call[5].__exit__(None, None, None)
            call[5] = None
        wanted = tokens_in + tokens_out if tpm is None else max(tokens_in, min(tokens_in + tokens_out, tpm))
        may = True
        for name in names:
            own = [call for call in calls if name in call[0]]
            running = [call for call in own if call[5]]
            counted = sum(call[3] for call in running) + sum(
                call[4] for call in own if not call[5] and call[2] > now - MINUTE_US
            )
            may = may and (concurrency is None or len(running) < concurrency)
            may = may and (rpm is None or sum(call[1] > now - MINUTE_US for call in own) < rpm)
            may = may and (tpm is None or counted + wanted <= tpm)
        paces = [Pace("key", name, rpm, tpm, concurrency) for name in names]
        before = {name: (scope.running, scope.reserved_tokens) for name, scope in rates._scopes.items()}
        limited = (rpm, tpm, concurrency) != (None, None, None)
        seat = admitted(rates, paces if limited else [], now, tokens_in, tokens_out)
        assert (seat is not None) == (may or not limited)
        if seat is not None and limited:
            calls.append([names, now, now + runs, wanted, used, seat])
        else:  # nothing is counted anywhere
            for name, (running, reserved) in before.items():
                scope = rates._scopes.get(name)  # one that was idle may be forgotten
                assert ((scope.running, scope.reserved_tokens) if scope else (0, 0)) == (running, reserved)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(gaps=st.lists(st.integers(0, 30 * S), min_size=1, max_size=60), rpm=st.integers(1, 5))
def test_whoever_waits_as_long_as_he_is_told_is_let_in(gaps, rpm):
    rates, now, pace = Rates(), 10**15, (Pace("key", "a", rpm),)
    begun: deque[int] = deque()
    for gap in gaps:
        now += gap
        seat = admitted(rates, pace, now)
        if seat is None:
            with pytest.raises(RateLimited) as refusal:
                rates.admit(pace, 0, 0, now)
            assert 1 <= refusal.value.retry_after_s <= 60
            now += refusal.value.retry_after_s * S
            seat = rates.admit(pace, 0, 0, now)
        with seat:
            begun.append(now)
        assert sum(now - MINUTE_US < at for at in begun) <= rpm


def test_no_limit_makes_nothing_and_remembers_nothing():
    rates = Rates()
    one, two = rates.admit((), 10, 10, 1), rates.admit((), 10, 10, 2)
    assert one is two
    with one:
        one.used(5, 3)
    assert (len(rates), one.headers([("a", "b")])) == (0, [("a", "b")])


def test_a_scope_that_is_idle_for_a_minute_is_forgotten():
    rates = Rates()
    with rates.admit([Pace("key", "a", 5)], 0, 0, S):
        assert len(rates) == 1
        with rates.admit([Pace("key", "b", 5)], 0, 0, 2 * MINUTE_US):  # a sweep: `a` has a call under way
            assert len(rates) == 2
    with rates.admit([Pace("key", "c", 5)], 0, 0, 4 * MINUTE_US):
        assert len(rates) == 1


def test_a_small_limit_of_tokens_does_not_forbid_every_call():
    rates, pace = Rates(), [Pace("key", "a", None, 100)]
    with rates.admit(pace, 40, 5000, S) as seat:
        assert ("x-ratelimit-remaining-tokens", "0") in seat.headers([])
        seat.used(60, 2 * S)
    with pytest.raises(RateLimited) as waits:  # 60 are used
        rates.admit(pace, 41, 0, 3 * S)
    assert (waits.value.retry_after_s, waits.value.retry) == (59, None)
    with rates.admit(pace, 40, 0, 4 * S):
        pass
    with pytest.raises(RateLimited, match="Request too large") as never:
        rates.admit(pace, 101, 0, 200 * S)
    assert ("x-should-retry", "false") in never.value.headers()
    assert not any(name in {"Retry-After", "retry-after-ms"} for name, _ in never.value.headers())


def test_the_estimate_of_an_input():
    assert tokens(text_bytes=300, input_tokens=0, bound_tokens=312) == 112
    assert tokens(text_bytes=0, input_tokens=70, bound_tokens=1120) == 70


# over HTTP


@pytest.fixture
def slow(shop):
    shop.reset_health()
    return shop.model("slow", {"input": "1", "output": "10"})


def refused(answer, words):
    assert (answer.status, answer.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert answer.json["error"]["type"] == "rate_limit_error"
    assert words in answer.json["error"]["message"]


@pytest.mark.store
def test_calls_a_minute_of_a_key(shop, me):
    limit(shop, "key", me.key_id, rpm=2)
    first = me.chat("gpt-4o-mini", "Hello")
    assert first.status == 200
    assert [first.headers[name] for name in HEADERS[:3]] == ["2", "1", "1m0s"]
    assert not any(name in first.headers for name in HEADERS[3:])
    assert me.chat("gpt-4o-mini", "Hello", stream=True).headers["x-ratelimit-remaining-requests"] == "0"
    before, counts = me.balance, shop.counts()
    third = me.chat("gpt-4o-mini", "Hello")
    refused(third, f"requests per min (RPM) of key `{me.key_id}`: Limit 2, Used 2, Requested 1. Please try again in ")
    assert 55 <= int(third.headers["retry-after"]) <= 60
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert "x-ratelimit-limit-requests" in third.headers["access-control-expose-headers"]
    assert (me.balance, shop.counts()) == (before, counts)  # it cost nothing and left nothing
    assert me.get("/v1/models").status == 200  # what is free is free


def test_what_no_limit_is_set_for_has_no_headers(me):
    answer = me.chat("gpt-4o-mini", "Hello")
    assert answer.status == 200
    assert not any(name in answer.headers for name in HEADERS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["key", "member", "project", "account"])
def test_every_scope_counts_for_itself(shop, kind):
    from farebox.accounts.models import ApiKey
    from farebox.kit import clock
    from kit import people
    from kit.shop import Customer

    owner = people.customer(shop, "1")
    project = ApiKey.objects.get(id=owner.customer.key_id).project_id
    made = []
    for _ in range(2):
        row, text = shop.write(
            minting.issue, project=project, member=owner.member, name="k", now_us=clock.now_us(), actor="test"
        )
        made.append(Customer(shop, owner.customer.account, row.id, text))
    one, two = made
    name = {"key": one.key_id, "member": owner.member, "project": project, "account": one.account}[kind]
    limit(shop, kind, name, rpm=1)
    assert one.chat("gpt-4o-mini").status == 200
    refused(one.chat("gpt-4o-mini"), f"of {kind} `{name}`")
    assert two.chat("gpt-4o-mini").status == (200 if kind == "key" else 429)
    without_member = owner.customer.chat("gpt-4o-mini").status
    assert without_member == (200 if kind in {"key", "member"} else 429)


def test_a_call_that_one_scope_refuses_counts_in_none(shop, me):
    limit(shop, "key", me.key_id, rpm=5)
    limit(shop, "account", me.account, rpm=1)
    assert me.chat("gpt-4o-mini").headers["x-ratelimit-limit-requests"] == "1"  # the tightest is shown
    refused(me.chat("gpt-4o-mini"), "of account")
    refused(me.chat("gpt-4o-mini"), "of account")
    assert len(scope_of(shop, me.key_id).begun_us) == 1


@pytest.mark.slow
def test_tokens_are_reserved_and_corrected(shop, me, slow):
    limit(shop, "key", me.key_id, tpm=2000)
    talk = Talk(me, "/v1/chat/completions", chat(slow, "sandbox: tokens=30+pace=20", stream=True, max_tokens=1500))
    talk.until(b"data: ")
    reserved = seats(shop)[me.key_id][1]
    assert 1024 < reserved < 1200  # no more output than a stream holds money for
    refused(me.chat(slow, "word " * 500, max_tokens=1500), "tokens per min (TPM)")
    talk.rest()
    receipt = me.receipt(talk.call)
    wait_for(lambda: seats(shop)[me.key_id] == (0, 0))
    used = sum(receipt["usage"].values())
    assert scope_of(shop, me.key_id).used_tokens == used
    after = me.chat(slow, "Hi", max_tokens=16)
    assert after.status == 200
    assert after.headers["x-ratelimit-limit-tokens"] == "2000"
    assert int(after.headers["x-ratelimit-remaining-tokens"]) <= 2000 - used


def test_a_request_larger_than_the_limit_is_not_worth_another_try(shop, me):
    limit(shop, "key", me.key_id, tpm=20)
    answer = me.chat("gpt-4o-mini", "word " * 100)
    refused(answer, "Request too large")
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


ENDINGS = {
    "served": "sandbox: tokens=20+pace=10",
    "left": "sandbox: tokens=2000+pace=20",
    "broken off": "sandbox: cut=3+pace=10",
    "upstream fails": "sandbox: status=500",
    "refused upstream": "sandbox: context",
    "policy": "sandbox: policy-event=2+pace=10",
}


@pytest.mark.slow
@pytest.mark.store
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", ENDINGS)
def test_every_ending_leaves_its_seat(shop, slow, how, stream):
    me = shop.account("1")
    limit(shop, "key", me.key_id, concurrency=1, tpm=1_000_000)
    text = ENDINGS[how]
    if how == "left" and not stream:
        text = "sandbox: slow=4"  # it is read to its end for the customer who left (R19), and keeps its seat so long
    talk = Talk(me, "/v1/chat/completions", chat(slow, text, stream=stream))
    if how == "left":
        wait_for(lambda: seats(shop).get(me.key_id, (0,))[0] == 1)
        if stream:
            talk.until(b"data: ")
        refused(me.chat(slow, "Hello"), "Rate limit reached for calls at once of key")
        talk.leave()
    else:
        talk.rest()
    wait_for(lambda: seats(shop)[me.key_id] == (0, 0))
    shop.reset_health()
    assert me.chat(slow, "Hello").status == 200
    assert me.balance[1] == 0


def test_a_task_that_is_cancelled_leaves_its_seat(shop, me, slow):
    limit(shop, "key", me.key_id, concurrency=1, tpm=1_000_000)
    talk = Talk(me, "/v1/chat/completions", chat(slow, "sandbox: tokens=2000+pace=20", stream=True))
    talk.until(b"data: ")

    async def cancel() -> None:
        for task in list(shop.server.reception.tasks):
            task.cancel()

    shop.loop.run(cancel())
    wait_for(lambda: seats(shop)[me.key_id] == (0, 0))
    talk.leave()


def test_no_money_leaves_no_seat(shop, slow):
    me = shop.account("0")
    limit(shop, "key", me.key_id, concurrency=1, tpm=100_000)
    for _ in range(3):
        answer = me.chat(slow, "Hello")
        assert (answer.status, answer.json["error"]["code"]) == (429, "insufficient_quota")
    assert seats(shop)[me.key_id] == (0, 0)
    assert scope_of(shop, me.key_id).used_tokens == 0


def test_a_customer_with_one_call_at_a_time_never_waits_for_his_own_last_one(shop, me, slow):
    """The seat is free before the customer can know that the answer is complete."""
    limit(shop, "key", me.key_id, concurrency=1)
    for stream in (True, False) * 10:
        assert me.chat(slow, "Hello", stream=stream).status == 200


@pytest.mark.store
def test_a_change_is_in_force_within_a_second(shop, me):
    from farebox.accounts.keys import rates

    assert me.chat("gpt-4o-mini").status == 200
    shop.write(rates.limit, "key", me.key_id, rpm=1, tpm=None, concurrency=None, actor="test")
    begun = time.monotonic()
    wait_for(lambda: me.chat("gpt-4o-mini").status == 429)
    assert time.monotonic() - begun < PROMPTLY_S
    shop.write(rates.limit, "key", me.key_id, rpm=None, tpm=None, concurrency=None, actor="test")
    begun = time.monotonic()
    wait_for(lambda: me.chat("gpt-4o-mini").status == 200)
    assert time.monotonic() - begun < PROMPTLY_S


def test_the_official_library_waits_and_tries_again(shop, me):
    """`retry-after-ms` is what it obeys; without tries it raises its own class."""
    import openai

    limit(shop, "key", me.key_id, rpm=1)
    hello = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    with openai.OpenAI(base_url=f"{shop.url}/v1", api_key=me.key, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(**hello)
        assert raw.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**hello)
    assert caught.value.code == "rate_limit_exceeded"


def test_limits_that_are_none(shop, me):
    from farebox.accounts.keys import rates
    from farebox.kit.errors import CommandError

    for wrong in ({"rpm": 0}, {"tpm": -1}, {"concurrency": 10_001}, {"rpm": True}):
        with pytest.raises(CommandError, match="limit.range"):
            limit(shop, "key", me.key_id, **wrong)
    with pytest.raises(CommandError, match="account.house"):
        limit(shop, "account", "acc_house", rpm=1)
    with pytest.raises(CommandError, match="limit.kind kinds="):
        shop.write(rates.limit, "shop", "x", rpm=1, tpm=None, concurrency=None, actor="test")
