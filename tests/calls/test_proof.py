"""`farebox prove` sees what no other check sees: holds that nobody will end, charges of no call, totals that are gone."""

from __future__ import annotations

import pytest

from farebox.kit import clock, db, epochs
from farebox.ledger import holds, journal
from farebox.ledger import proof as ledger
from farebox.ledger.holds import Purse

pytestmark = pytest.mark.store

ACC = "acc_1"
NOW = 10**15


def place(tx, hold: str, epoch: str) -> None:
    journal.open_account(tx, id=ACC, kind="customer", currency="USD", floor_micro=-10_000)
    holds.place(tx, hold=hold, purses=(Purse(ACC),), currency="USD", want_micro=1000, fit=lambda _: -1, epoch=epoch,
                now_us=1)  # fmt: skip


def found(now_us: int, grace_us: int = 0) -> list[str]:
    with db.reading() as tx:
        return ledger.prove(tx, now_us=now_us, grace_us=grace_us).findings


def test_an_open_hold_of_an_unknown_epoch_is_an_orphan(instance):
    db.write(place, "call_1", "ep_gone")
    assert found(NOW) == ["I06 hold call_1 is open, and its process ep_gone has ended"]
    db.write(holds.expire, epoch="ep_gone", now_us=2)
    assert found(NOW) == []


def test_an_open_hold_of_an_ended_epoch_is_one_after_the_grace(instance):
    db.write(epochs.begin, epoch="ep_1", node="n", now_us=1)
    db.write(place, "call_1", "ep_1")
    assert found(NOW) == []
    db.write(epochs.end, epoch="ep_1", why="stopped", now_us=NOW)
    assert found(NOW + 5, grace_us=6) == []
    assert len(found(NOW + 7, grace_us=6)) == 1


def test_the_command_knows_the_grace(instance):
    from farebox.care import proof
    from farebox.kit import options

    def begin(tx, epoch: str, ended_us: int) -> None:
        epochs.begin(tx, epoch=epoch, node="n", now_us=1)
        place(tx, f"call_{epoch}", epoch)
        epochs.end(tx, epoch=epoch, why="stopped", now_us=ended_us)

    grace_us = (0 if options.current().on_sqlite else options.current().hold_grace_s * 1_000_000) + 60_000_000
    db.write(begin, "long_ago", clock.now_us() - grace_us - 1_000_000)
    db.write(begin, "just_now", clock.now_us() - grace_us + 30_000_000)
    orphans = [finding for finding in proof.prove().findings["ledger"] if "I06" in finding]
    assert orphans == ["I06 hold call_long_ago is open, and its process long_ago has ended"]


def test_a_charge_on_a_hold_without_a_call(instance):
    from farebox.calls import proof

    db.write(place, "call_1", "ep_1")
    db.write(lambda tx: holds.settle(tx, hold="call_1", purses=(Purse(ACC),), currency="USD", charge_micro=500,
                                     now_us=2))  # fmt: skip
    assert found(NOW) == []
    assert db.read(proof.prove) == ["I07 hold call_1 belongs to no call and was charged 500"]


@pytest.mark.slow
def test_an_account_whose_day_totals_are_gone(instance):
    from farebox.calls import proof
    from kit import shop as shops

    with shops.opened(instance) as shop:
        me = shop.account("1")
        charge_micro = me.receipt(me.chat("gpt-4"))["charge_micro"]
        assert charge_micro > 0
        assert shop.read(proof.prove) == []
        shop.write(lambda tx: tx.execute("DELETE FROM calls_daytotal WHERE account = %s", (me.account,)))
        assert shop.read(proof.prove) == [f"day totals of {me.account} say 0, its calls {charge_micro}"]
