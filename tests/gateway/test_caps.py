"""Caps a day, a month and ever at once, and a rotated key that goes on counting, over HTTP."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from farebox.accounts.caps import Caps
from kit import minting
from kit.overlap import overlapped
from kit.shop import Customer
from kit.talk import on_sale, wait_for

pytestmark = pytest.mark.store

TOKEN = 100  # micro-USD for a token of output
CALL = 16 * TOKEN
AHEAD, BEHIND = "Pacific/Kiritimati", "Pacific/Niue"  # 25 hours apart: never the same date


@pytest.fixture(scope="module")
def model(shop):
    """A model of which a call costs as much as its cap holds: 16 tokens of output."""
    return on_sale(shop, shop.model(f"caps-{time.monotonic_ns()}", {"input": "0", "output": "100"}))


@pytest.fixture(autouse=True)
def _sound(shop):
    shop.reset_health()
    yield
    shop.loop.run(shop.sandbox.idle())
    assert shop.findings() == []


def calls(me, model):
    """Whether a call of 16 tokens is served; what it was refused with otherwise."""
    answer = me.chat(model, "sandbox: full", max_tokens=16)
    if answer.status == 200:
        me.receipt(answer)
        return True
    assert (answer.status, answer.json["error"]["code"]) == (429, "insufficient_quota")
    return answer.json["error"]["message"]


def by(**facts):
    from farebox.kit import clock

    return {**facts, "now_us": clock.now_us(), "actor": "test"}


def cap(shop, me, **caps_micro):
    from farebox.accounts.keys import key_line

    shop.write(key_line.set_caps, me.key_id, caps_micro, **by())
    shop.refresh()


def rotate(shop, me, grace_s):
    from farebox.accounts.keys import key_line

    made, text = shop.write(key_line.rotate, me.key_id, grace_s=grace_s, **by())
    shop.refresh()
    return Customer(shop, me.account, made.id, text)


def memos(key):
    """What the memo accounts of a key have counted, by the kind of their period; of two of a kind the one in use."""
    from farebox.ledger.models import LedgerAccount

    rows = LedgerAccount.objects.filter(id__startswith=f"cap:{key.key_id}:").order_by("-posted_micro")
    kinds = {10: "day", 7: "month", 4: "ever"}
    return {kinds[len(row.id.rpartition(":")[2])]: (-row.posted_micro, row.floor_micro) for row in rows}


def zone(shop, me, name):
    from farebox.accounts.models import Account

    shop.write(lambda tx: (Account.objects.filter(id=me.account).update(time_zone=name), shop.db.bump(tx, "keys")))
    shop.refresh()


@pytest.mark.slow
def test_three_caps_hold_at_once_and_a_change_of_one_leaves_the_others(shop, model):
    from farebox.accounts.models import ApiKey

    me = shop.account("1", caps=Caps(CALL, 2 * CALL, 3 * CALL))
    used_up = "The cap of this API key is used up."
    assert calls(me, model) is True
    assert used_up in calls(me, model)  # the day
    cap(shop, me, day=9 * CALL)
    assert ApiKey.objects.get(id=me.key_id).caps == Caps(9 * CALL, 2 * CALL, 3 * CALL)
    assert calls(me, model) is True
    assert used_up in calls(me, model)  # the month
    cap(shop, me, month=None)
    assert ApiKey.objects.get(id=me.key_id).caps == Caps(9 * CALL, None, 3 * CALL)
    assert calls(me, model) is True
    assert used_up in calls(me, model)  # ever
    assert memos(me) == {
        "day": (3 * CALL, -9 * CALL), "month": (2 * CALL, -2 * CALL), "ever": (3 * CALL, -3 * CALL)
    }  # fmt: skip
    cap(shop, me, day=None, ever=None)
    assert calls(me, model) is True
    assert memos(me)["ever"] == (3 * CALL, -3 * CALL)  # what is not capped is not counted
    assert me.balance == (1_000_000 - 4 * CALL, 0)


def test_a_day_cap_frees_with_the_next_day_of_the_account(shop, model):
    from farebox.ledger.models import LedgerAccount

    me = shop.account("1", caps=Caps(day_micro=CALL, ever_micro=2 * CALL))
    zone(shop, me, BEHIND)
    assert calls(me, model) is True
    assert "The cap of this API key is used up." in calls(me, model)
    zone(shop, me, AHEAD)
    assert calls(me, model) is True
    assert "The cap of this API key is used up." in calls(me, model)
    used = dict(LedgerAccount.objects.filter(id__startswith=f"cap:{me.key_id}:").values_list("id", "posted_micro"))
    assert used.pop(f"cap:{me.key_id}:ever") == -2 * CALL
    assert list(used.values()) == [-CALL, -CALL]


def test_a_cap_that_was_lifted_and_set_again_holds(shop, model):
    me = shop.account("1", caps=Caps(ever_micro=CALL))
    assert calls(me, model) is True
    cap(shop, me, ever=None)
    assert calls(me, model) is True
    cap(shop, me, ever=CALL)
    assert "is used up" in calls(me, model)
    cap(shop, me, ever=2 * CALL)
    assert memos(me) == {"ever": (CALL, -2 * CALL)}
    assert calls(me, model) is True
    assert "is used up" in calls(me, model)
    cap(shop, me, ever=0)  # below what is spent: the floor stops there, and the cap itself refuses
    assert memos(me) == {"ever": (2 * CALL, -2 * CALL)}
    assert "is used up" in calls(me, model)


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_cap_that_is_raised_just_before_its_period_ends_is_whole_in_the_next(shop, model, period):
    """A node that has not seen the change is the first to count the new period; the rest of the cap is not barred."""
    from farebox.accounts import caps
    from farebox.accounts.keys import key_line
    from farebox.kit import clock, errors
    from farebox.ledger import holds

    me = shop.account("1", caps=Caps.given({period: CALL}))
    zone(shop, me, AHEAD)
    memo = caps.memo(me.key_id, period, now_us=clock.now_us(), time_zone=AHEAD)
    unseen = [holds.Purse(me.account), holds.Purse(memo, CALL)]
    local = datetime.now(ZoneInfo(AHEAD)).replace(hour=0, minute=0, second=0, microsecond=0)
    begun = local if period == "day" else local.replace(day=1)
    just_before_us = int(begun.timestamp() - 1) * 1_000_000

    def change(tx):
        key_line.set_caps(tx, me.key_id, {period: 3 * CALL}, now_us=just_before_us, actor="test")
        with pytest.raises(errors.InsufficientFunds):
            holds.place(
                tx, hold="call_unseen", purses=unseen, currency="USD", want_micro=CALL + 1, fit=lambda _: -1,
                epoch=shop.server.ports.shop.epoch, now_us=clock.now_us(),
            )  # fmt: skip

    shop.write(change)
    shop.refresh()
    assert [calls(me, model) for _ in range(3)] == [True] * 3
    assert "is used up" in calls(me, model)
    assert memos(me)[period] == (3 * CALL, -3 * CALL)


def test_the_caps_of_a_rotated_key_go_on_counting(shop, model):
    from farebox.accounts.models import ApiKey

    old = shop.account("1", caps=Caps(day_micro=9 * CALL, month_micro=3 * CALL, ever_micro=9 * CALL))
    assert calls(old, model) is True
    new = rotate(shop, old, 3600)
    assert [calls(new, model), calls(old, model)] == [True, True]
    for each in (old, new):
        assert "The cap of this API key is used up." in calls(each, model)
    assert {what: used for what, (used, _floor) in memos(old).items()} == dict.fromkeys(
        ("day", "month", "ever"), 3 * CALL
    )
    assert memos(new) == {}
    cap(shop, new, month=5 * CALL)  # of both: they are counted together
    assert {each.caps.month_micro for each in ApiKey.objects.filter(account=old.account)} == {5 * CALL}
    assert memos(old)["month"] == (3 * CALL, -5 * CALL)
    assert [calls(old, model), calls(new, model)] == [True, True]
    last = rotate(shop, new, 0)  # no grace: the one before has ended
    assert ApiKey.objects.get(id=last.key_id).counts_as == old.key_id
    wait_for(lambda: new.chat(model).status == 401)
    assert "The cap of this API key is used up." in calls(last, model)
    cap(shop, last, month=6 * CALL)
    assert calls(last, model) is True
    assert "is used up" in calls(last, model)
    assert memos(old)["month"] == (6 * CALL, -6 * CALL)


def test_the_limits_a_minute_of_a_rotated_key_go_on_counting(shop, model):
    old = shop.account("1", rpm=3)
    assert calls(old, model) is True
    new = rotate(shop, old, 3600)
    assert [calls(new, model), calls(old, model)] == [True, True]
    for each in (old, new):
        answer = each.chat(model, max_tokens=16)
        assert (answer.status, answer.json["error"]["code"]) == (429, "rate_limit_exceeded")
        assert f"of key `{each.key_id}`: Limit 3, Used 3" in answer.json["error"]["message"]
    last = rotate(shop, new, 0)
    answer = last.chat(model, max_tokens=16)
    assert (answer.status, answer.headers["x-ratelimit-remaining-requests"]) == (429, "0")


@pytest.mark.slow
def test_a_cap_that_changes_while_the_key_is_rotated_is_that_of_both(shop):
    from farebox.accounts.keys import key_line
    from farebox.accounts.models import ApiKey

    changes = (
        lambda tx, key: key_line.rotate(tx, key, grace_s=60, **by()),
        lambda tx, key: key_line.set_caps(tx, key, {"month": 7 * CALL}, **by()),
    )
    for first, second in (changes, changes[::-1]):
        me = shop.account("1", caps=Caps(month_micro=CALL))
        said = overlapped(lambda tx: first(tx, me.key_id), lambda tx: second(tx, me.key_id))  # noqa: B023 - both end here
        assert not any(isinstance(each, Exception) for each in said), said
        assert [each.caps for each in ApiKey.objects.filter(account=me.account)] == [Caps(month_micro=7 * CALL)] * 2


def test_who_comes_back_has_the_caps_that_he_is_given_now(shop, model):
    from farebox.accounts.keys import keys
    from farebox.accounts.people import people
    from farebox.kit import clock

    me = shop.account("1")
    person = shop.write(people.create, email=f"{me.account}@example.org", **by())
    place = {"account": me.account, "person": person.id, "role": "member"}
    for n, month_micro in enumerate((CALL, 2 * CALL)):
        member = shop.write(people.add_member, **place, caps=Caps(month_micro=month_micro), **by())
        project = keys.find(me.key_id).project_id
        row, text = shop.write(minting.issue, project=project, member=member.id, name=f"k{n}", **by())
        shop.refresh()
        mine = Customer(shop, me.account, row.id, text)
        assert calls(mine, model) is True
        assert "The cap of this member is used up." in calls(mine, model)
        shop.write(people.remove_member, member.id, now_us=clock.now_us(), actor="test")


def test_a_cap_that_was_just_changed_is_never_a_fault_of_ours(shop, model):
    """A node may know a change later than the books: whoever calls in between is served, or told that it is used up."""
    from farebox.accounts import caps
    from farebox.kit import clock, errors
    from farebox.ledger import holds

    me = shop.account("1", caps=Caps(day_micro=9 * CALL))
    assert calls(me, model) is True
    shop.write(key_line().set_caps, me.key_id, {"day": CALL}, **by())
    before = holds.Purse(caps.memo(me.key_id, "day", now_us=clock.now_us(), time_zone="UTC"), 9 * CALL)

    def unseen(tx):
        holds.place(
            tx, hold="call_unseen", purses=[holds.Purse(me.account), before], currency="USD", want_micro=CALL,
            fit=lambda left: CALL if left >= CALL else -1, epoch=shop.server.ports.shop.epoch, now_us=clock.now_us(),
        )  # fmt: skip

    with pytest.raises(errors.InsufficientFunds, match="The cap of this API key is used up"):
        shop.write(unseen)
    shop.refresh()
    # Lowered, raised, lifted, given another period, added, lowered: at once, with calls between.
    for change in (
        {"day": 2 * CALL},
        {"day": 5 * CALL},
        {"day": None},
        {"month": CALL},
        {"ever": CALL, "day": CALL},
        {"ever": 0},
    ):
        shop.write(key_line().set_caps, me.key_id, change, **by())
        for _ in range(2):
            calls(me, model)


def key_line():
    from farebox.accounts.keys import key_line

    return key_line


def test_a_refusal_says_when_the_cap_begins_anew_in_the_accounts_own_days(shop, model):
    from datetime import timedelta

    me = shop.account("1", caps=Caps(day_micro=CALL))
    zone(shop, me, AHEAD)
    assert calls(me, model) is True
    today = datetime.now(ZoneInfo(AHEAD)).date()
    said = calls(me, model)
    assert said.endswith(f"The cap of this API key is used up. It resets at {today + timedelta(1)} 00:00 ({AHEAD}).")
    cap(shop, me, day=None, month=0)
    begun = (today.replace(day=1) + timedelta(32)).replace(day=1)
    assert calls(me, model).endswith(f"It resets at {begun} 00:00 ({AHEAD}).")
    cap(shop, me, month=None, ever=0)
    assert calls(me, model).endswith("It never resets.")
