"""Holds and the journal on the real store."""

from __future__ import annotations

import pytest

from farebox.kit import db, errors
from farebox.ledger import chart, holds, journal, lots, proof
from farebox.ledger.holds import Purse

pytestmark = pytest.mark.store

ACC = "acc_1"


def fund(tx, amount_micro: int, account: str = ACC) -> None:
    journal.open_account(tx, id=account, kind="customer", currency="USD", floor_micro=0)
    if amount_micro:
        journal.post(
            tx,
            account=account,
            kind="grant",
            ref="g1",
            currency="USD",
            at_us=1,
            lines=[(account, amount_micro), (chart.own("grants", "USD"), -amount_micro)],
            requester="cli",
            single_person=True,
        )


def place(tx, hold: str, want: int, *, least: int | None = None, purses=(Purse(ACC),)) -> int:
    least = want if least is None else least
    return holds.place(
        tx,
        hold=hold,
        purses=purses,
        currency="USD",
        want_micro=want,
        epoch="ep",
        now_us=2,
        fit=lambda have: min(have, want) if have >= least else -1,
    )


def settle(tx, hold: str, charge: int, purses=(Purse(ACC),)):
    return holds.settle(tx, hold=hold, purses=purses, currency="USD", charge_micro=charge, now_us=3)


def clean() -> None:
    with db.reading() as tx:
        assert proof.prove(tx, now_us=1, grace_us=0).findings == []


def test_a_hold_ends_once(instance):
    db.write(fund, 100)
    assert db.write(place, "h", 60) == 60
    assert db.read(holds.balance, ACC) == (100, 60, 40)
    done = db.write(settle, "h", 25)
    assert (done.state, done.held_micro, done.charge_micro, done.short_micro) == ("settled", 60, 25, 0)
    assert db.read(holds.balance, ACC) == (75, 0, 75)
    with pytest.raises(holds.HoldEnded):
        db.write(settle, "h", 25)
    assert db.read(holds.balance, ACC) == (75, 0, 75)
    clean()


def test_a_hold_may_be_less_than_asked_and_tells_held_from_spent(instance):
    db.write(fund, 100)
    assert db.write(place, "a", 90) == 90
    with pytest.raises(errors.RateLimited):
        db.write(place, "b", 50)
    with pytest.raises(errors.InsufficientFunds):
        db.write(place, "b", 101)
    assert db.write(place, "b", 50, least=5) == 10
    db.write(settle, "a", 90)
    db.write(settle, "b", 0)
    with pytest.raises(errors.InsufficientFunds):
        db.write(place, "c", 11)
    clean()


def test_caps_are_held_with_the_balance_or_not_at_all(instance):
    db.write(fund, 100)
    purses = (Purse(ACC), Purse("cap:key_1:2026-11-24", 30))
    assert db.write(place, "a", 20, purses=purses) == 20
    with pytest.raises(errors.RateLimited):
        db.write(place, "b", 20, purses=purses)
    assert db.read(holds.balance, ACC) == (100, 20, 80)
    db.write(settle, "a", 20, purses)
    with pytest.raises(errors.InsufficientFunds, match="cap of this API key"):
        db.write(place, "b", 20, purses=purses)
    db.write(holds.set_cap, scope="key_1", period_id="2026-11-24", cap_micro=10, currency="USD")
    lower = (Purse(ACC), Purse("cap:key_1:2026-11-24", 10))
    with pytest.raises(errors.InsufficientFunds):
        db.write(place, "b", 1, purses=lower)
    higher = (Purse(ACC), Purse("cap:key_1:2026-11-24", 50))
    db.write(holds.set_cap, scope="key_1", period_id="2026-11-24", cap_micro=50, currency="USD")
    assert db.write(place, "b", 30, purses=higher) == 30
    db.write(settle, "b", 30, higher)
    clean()


def test_a_raised_cap_is_whole_where_a_caller_who_knows_the_old_one_is_first(instance):
    """Who has not seen the change yet makes no memo account with the floor of before, which would bar the rest."""
    db.write(fund, 100)
    memo = "cap:key_1:2026-11-24"
    db.write(holds.set_cap, scope="key_1", period_id="2026-11-24", cap_micro=50, currency="USD")
    assert db.write(place, "a", 10, purses=(Purse(ACC), Purse(memo, 10))) == 10
    assert db.write(place, "b", 40, purses=(Purse(ACC), Purse(memo, 50))) == 40
    with pytest.raises(errors.RateLimited):
        db.write(place, "c", 1, purses=(Purse(ACC), Purse(memo, 50)))


def test_a_charge_above_the_hold_stretches_it_as_far_as_the_purse_pays(instance):
    db.write(fund, 100)
    db.write(place, "a", 60)
    done = db.write(settle, "a", 130)
    assert (done.charge_micro, done.short_micro, done.held_micro) == (100, 30, 100)
    assert db.read(holds.balance, ACC) == (0, 0, 0)
    clean()


def test_a_hold_is_lowered_while_it_is_open(instance):
    """To what the caller names and never below, in every purse; twice is once; an ended hold stays as it ended."""
    db.write(fund, 100)
    purses = (Purse(ACC), Purse("cap:key_1:ever", 90))
    db.write(place, "a", 60, purses=purses)

    def lower(to_micro: int) -> int:
        return db.write(holds.lower, hold="a", purses=purses, to_micro=to_micro)

    assert (lower(35), lower(35), lower(50)) == (35, 35, 35)
    assert db.read(holds.balance, ACC) == (100, 35, 65)
    assert db.read(holds.balance, "cap:key_1:ever") == (0, 35, 55)
    done = db.write(settle, "a", 30, purses)
    assert (done.held_micro, done.charge_micro, done.short_micro) == (35, 30, 0)
    with pytest.raises(holds.HoldEnded):
        lower(0)
    with pytest.raises(holds.HoldEnded):
        db.write(holds.lower, hold="nobody's", purses=purses, to_micro=0)
    assert db.read(holds.balance, ACC) == (70, 0, 70)
    assert db.read(holds.balance, "cap:key_1:ever") == (-30, 0, 60)
    clean()


def test_expiry_gives_everything_back_and_a_late_settlement_is_refused(instance):
    db.write(fund, 100)
    purses = (Purse(ACC), Purse("cap:prj_1:ever", 90))
    db.write(place, "a", 60, purses=purses)
    assert db.write(holds.expire, epoch="ep", now_us=9) == ["a"]
    assert db.write(holds.expire, epoch="ep", now_us=9) == []
    with pytest.raises(holds.HoldEnded):
        db.write(settle, "a", 10, purses)
    assert db.read(holds.balance, ACC) == (100, 0, 100)
    clean()


def test_the_journal_is_append_only_and_an_entry_happens_once(instance):
    from farebox.ledger.models import Entry, Posting

    db.write(fund, 100)
    db.write(fund, 100)
    assert db.read(holds.balance, ACC)[0] == 100
    for change in (
        lambda tx: Entry.objects.update(note="x"),
        lambda tx: Posting.objects.all().delete(),
        lambda tx: Posting.objects.update(amount_micro=5),
    ):
        with pytest.raises(Exception, match="append-only"):
            db.write(change)
    entry = Entry.objects.get()
    assert db.write(journal.reverse, entry=entry.id, at_us=5) == db.write(journal.reverse, entry=entry.id, at_us=6)
    assert db.read(holds.balance, ACC)[0] == 0
    clean()


@pytest.mark.parametrize("first", ["refund", "reversal"])
def test_a_charge_is_given_back_once_by_whichever_way(instance, first):
    from farebox.kit import errors
    from farebox.ledger.models import Entry

    db.write(fund, 1000)
    db.write(place, "call_1", 100)
    db.write(settle, "call_1", 60)
    entry = Entry.objects.get(kind="charge", ref="call_1").id

    def refund():
        return db.write(holds.refund, hold="call_1", currency="USD", now_us=3)

    if first == "refund":
        assert refund() == 60
        with pytest.raises(errors.CommandError, match="entry.refunded"):
            db.write(journal.reverse, entry=entry, at_us=4)
    else:
        db.write(journal.reverse, entry=entry, at_us=4)
        assert refund() == 0
    assert db.read(holds.balance, ACC) == (1000, 0, 1000)
    clean()


def test_no_balance_falls_below_its_floor_by_any_statement(instance):
    from farebox.ledger.models import LedgerAccount

    db.write(fund, 100)
    db.write(place, "a", 60)
    with pytest.raises(errors.CommandError, match="ledger_account.too_little"):
        db.write(
            journal.post,
            account=ACC,
            kind="adjustment",
            ref="r",
            currency="USD",
            at_us=4,
            lines=[(ACC, -41), (chart.own("adjustments", "USD"), 41)],
        )
    with pytest.raises(Exception, match="ledger_never_below_floor"):
        db.write(lambda tx: LedgerAccount.objects.filter(id=ACC).update(posted_micro=59))


def test_proof_finds_a_changed_balance(instance):
    from farebox.ledger.models import LedgerAccount

    db.write(fund, 100)
    db.write(lambda tx: LedgerAccount.objects.filter(id=ACC).update(posted_micro=101, held_micro=1))
    with db.reading() as tx:
        found = " ".join(proof.prove(tx, now_us=1, grace_us=0).findings)
    assert "I04" in found
    assert "I05" in found


def test_granted_credit_is_spent_first_and_expires(instance):
    db.write(fund, 0)
    grant = {"account": ACC, "currency": "USD", "note": "trial", "requester": "cli", "single_person": True}
    db.write(lots.grant, amount_micro=50, ref="t", expires_us=1_000, now_us=10, **grant)
    db.write(lots.grant, amount_micro=70, ref="u", expires_us=None, now_us=10, **grant)
    db.write(place, "a", 20)
    db.write(holds.settle, hold="a", purses=(Purse(ACC),), currency="USD", charge_micro=20, now_us=500)
    assert sorted(db.read(lots.lots_of, ACC)[1].values()) == [30, 70]
    db.write(place, "b", 90)
    assert db.write(lots.expire, account=ACC, currency="USD", now_us=2_000) == 10
    db.write(holds.settle, hold="b", purses=(Purse(ACC),), currency="USD", charge_micro=0, now_us=2_100)
    assert lots.due(2_200) == [ACC]
    assert db.write(lots.expire, account=ACC, currency="USD", now_us=2_200) == 20
    assert lots.due(2_300) == []
    assert db.read(holds.balance, ACC) == (70, 0, 70)
    clean()
