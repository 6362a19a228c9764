"""The migration from one cap to three: what was capped stays capped, there and back, on both databases."""

from __future__ import annotations

import pytest

from farebox.kit import db
from kit import minting

pytestmark = pytest.mark.store

KEPT = ("accounts_project", "accounts_member", "accounts_apikey", "accounts_invitation")


@pytest.mark.slow
def test_every_cap_is_where_it_belongs(instance):
    from django.core.management import call_command

    from farebox.accounts import accounts, projects, proof
    from farebox.accounts.caps import Caps
    from farebox.accounts.models import ApiKey, Invitation, Member, Project
    from farebox.accounts.people import people
    from farebox.accounts.team import invitations

    now = {"now_us": 10**15, "actor": "test"}
    by_day, by_month, ever = Caps(day_micro=1), Caps(month_micro=2_000_000), Caps(ever_micro=0)

    def fill(tx):
        from farebox.catalog import price_lists
        from farebox.kit import settings

        settings.ensure_installation(tx)
        price_lists.create_list(tx, "usd", "USD", actor="test")
        account, default = accounts.open_account(tx, name="A", currency="USD", price_list="usd", **now)
        projects.create(tx, account=account.id, name="capped", caps=by_month, **now)
        person = people.create(tx, email="a@example.org", **now)
        people.add_member(tx, account=account.id, person=person.id, role="owner", caps=by_day, **now)
        for name, caps in (("day", by_day), ("month", by_month), ("ever", ever), ("free", Caps())):
            minting.issue(tx, project=default.id, name=name, caps=caps, **now)
        minting.issue(tx, project=default.id, name="all", caps=Caps(5, 6, 7), **now)
        guests = [invitations.Guest("b@example.org")]
        terms = invitations.InvitationTerms(role="owner", caps=ever)
        invitations.invite(tx, account.id, guests, terms, lambda _tx, _row, _code: None, **now)

    db.write(fill)
    call_command("migrate", "accounts", "0006", verbosity=0)
    with db.reading() as tx:
        old = {table: tx.all(f"SELECT cap_micro, cap_period FROM {table} ORDER BY id") for table in KEPT}
    assert sorted(tuple(row) for row in old["accounts_apikey"] if row[1]) == [
        (0, "ever"), (1, "day"), (5, "day"), (2_000_000, "month"),
    ]  # fmt: skip
    assert [tuple(row) for row in old["accounts_invitation"]] == [(0, "ever")]
    call_command("migrate", "accounts", verbosity=0)
    caps = {row.name: row.caps for row in ApiKey.objects.all()}
    assert {name: caps[name] for name in ("day", "month", "ever", "free", "all")} == {
        "day": by_day, "month": by_month, "ever": ever, "free": Caps(), "all": Caps(day_micro=5),
    }  # fmt: skip
    assert set(ApiKey.objects.values_list("counts_as", flat=True)) == {""}
    assert [row.caps for row in Project.objects.filter(name="capped")] == [by_month]
    assert [row.caps for row in Member.objects.all()] == [by_day]
    assert [row.caps for row in Invitation.objects.all()] == [ever]
    with db.reading() as tx:
        assert proof.prove(tx) == []
