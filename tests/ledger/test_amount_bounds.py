"""Amounts are 64-bit integers within bounds, whatever is asked; the journal stays append-only on both databases."""

from __future__ import annotations

import pytest

from farebox.kit import db, errors, money
from farebox.ledger import chart, journal, lots, proof

pytestmark = pytest.mark.store

MOST = money.AMOUNT_MICRO_MAX


def opened(tx, account):
    journal.open_account(tx, id=account, kind="customer", currency="USD", floor_micro=0)


def give(account: str, amount_micro: int, ref: str) -> str:
    return db.write(
        lots.grant, account=account, currency="USD", amount_micro=amount_micro, ref=ref, expires_us=None, now_us=1,
        note="n", requester="r", single_person=True,
    )  # fmt: skip


def test_three_grants_of_the_most_are_refused_and_no_float_gets_into_the_books(instance):
    from django.db import connection

    db.write(opened, "acc_1")
    give("acc_1", MOST, "a")
    for ref in ("b", "c"):
        with pytest.raises(errors.CommandError, match="ledger_account.bounds"):
            give("acc_1", MOST, ref)
    with pytest.raises(errors.CommandError, match="ledger_account.bounds"):
        give("acc_1", 1, "d")
    with connection.cursor() as cursor:
        kind = "typeof" if connection.vendor == "sqlite" else "pg_typeof"
        cursor.execute(f"SELECT CAST({kind}(posted_micro) AS TEXT), posted_micro FROM ledger_ledgeraccount")
        assert {(name, value) for name, value in cursor.fetchall() if value} <= {("integer", MOST), ("bigint", MOST)}
    with db.reading() as tx:
        assert proof.prove(tx, now_us=1, grace_us=0).findings == []


def test_nothing_is_posted_in_another_currency(instance):
    db.write(opened, "acc_1")
    give("acc_1", 5, "a")
    lines = [("acc_1", 7), ("house:grants:CNY", -7)]
    for amounts in (lines, [(name, -amount_micro // 7) for name, amount_micro in lines]):
        with pytest.raises(errors.CommandError, match="ledger_account.currency .*kept='USD' given='CNY'"):
            db.write(journal.post, account="acc_1", kind="credit", ref="b", currency="CNY", lines=amounts, at_us=2)
    with pytest.raises(errors.CommandError, match="ledger_account.currency .*kept='USD' given='CNY'"):
        db.write(
            lots.grant, account="acc_1", currency="CNY", amount_micro=7, ref="c", expires_us=None, now_us=2, note="n",
            requester="r", single_person=True,
        )  # fmt: skip
    with db.reading() as tx:
        found = proof.prove(tx, now_us=3, grace_us=0)
        assert (found.findings, found.trial_balance) == ([], {"USD": 5})


def test_the_store_itself_refuses_what_is_out_of_bounds(instance):
    from farebox.ledger.models import LedgerAccount, Posting

    db.write(opened, "acc_1")
    for change in (
        lambda tx: LedgerAccount.objects.filter(id="acc_1").update(posted_micro=MOST + 1),
        lambda tx: LedgerAccount.objects.filter(id="acc_1").update(
            posted_micro=MOST, floor_micro=-MOST, held_micro=MOST + 1
        ),
        lambda tx: LedgerAccount.objects.filter(id="acc_1").update(posted_micro=-MOST - 1, floor_micro=None),
    ):
        with pytest.raises(Exception, match="ledger_account_bounds"):
            db.write(change)
    for amount_micro in (MOST + 1, -MOST - 1):
        with pytest.raises(Exception, match="ledger_posting_bounds"):
            db.write(
                lambda tx, much=amount_micro: Posting.objects.create(
                    id="x.1", entry_id="x", account="acc_1", amount_micro=much
                )
            )


def test_one_reference_stands_for_one_amount(instance):
    db.write(opened, "acc_1")
    entry = give("acc_1", 100, "r")
    assert give("acc_1", 100, "r") == entry
    with pytest.raises(errors.CommandError, match=rf"entry.other_amount .*entry='{entry}' amount=Amount\(micro=100,"):
        give("acc_1", 900, "r")


def test_the_triggers_of_append_only_tables_are_there_after_all_migrations(instance):
    from django.db import connection

    sqlite = connection.vendor == "sqlite"
    ways = ("no_update", "no_delete") if sqlite else ("no_change",)
    want = {f"{table}_{way}" for table in ("ledger_entry", "ledger_posting") for way in ways}
    with connection.cursor() as cursor:
        if sqlite:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        else:
            cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'")
        assert want <= {name for (name,) in cursor.fetchall()}


def test_neither_entries_nor_postings_can_be_changed(instance):
    from farebox.ledger.models import Entry, Posting

    db.write(opened, "acc_1")
    give("acc_1", 100, "r")
    for change in (
        lambda tx: Entry.objects.update(note="x"),
        lambda tx: tx.execute("DELETE FROM ledger_entry"),
        lambda tx: Posting.objects.update(amount_micro=5),
        lambda tx: tx.execute("DELETE FROM ledger_posting"),
    ):
        with pytest.raises(Exception, match="append-only"):
            db.write(change)


@pytest.mark.slow
def test_the_migration_back_and_forth_keeps_rows_triggers_and_reversals(instance):
    from django.core.management import call_command

    from farebox.ledger.models import CreditLot

    db.write(opened, "acc_1")
    entry = give("acc_1", 100, "r")
    db.write(lots.reverse, entry=entry, at_us=77, note="n", requester="r", single_person=True)
    call_command("migrate", "ledger", "0002", verbosity=0)
    call_command("migrate", "ledger", verbosity=0)
    assert CreditLot.objects.get().reversed_us == 77
    assert chart.own("grants", "USD")
    test_the_triggers_of_append_only_tables_are_there_after_all_migrations(instance)
    with db.reading() as tx:
        assert proof.prove(tx, now_us=1, grace_us=0).findings == []
