"""No page asks the store once a row, and none walks through all calls or everything an account was ever charged."""

from __future__ import annotations

import re
import threading
import time

import pytest

from kit import minting, past, people


@pytest.fixture
def statements(monkeypatch):
    """What the threads of pages have sent to the store: statements with their parameters."""
    from django.db.backends.utils import CursorWrapper

    from farebox.kit.db import Tx

    sent = []

    def counted(kind, name):
        real = getattr(kind, name)

        def execute(self, sql, params=()):
            if threading.current_thread().name.startswith("pages"):
                sent.append((str(sql), params))
            return real(self, sql, params)

        monkeypatch.setattr(kind, name, execute)

    counted(CursorWrapper, "execute")
    for name in ("execute", "one", "all"):
        counted(Tx, name)
    return sent


def stamp():
    return {"now_us": time.time_ns() // 1000, "actor": "test"}


def grow(shop, owner, number):
    """One more of everything that pages list."""
    from farebox.accounts import projects
    from farebox.catalog import price_lists

    account = owner.customer.account
    project = shop.write(projects.create, account=account, name=f"Project {number}", **stamp()).id
    member = people.customer(shop, role="member", of=owner, project=project).member
    key = shop.write(minting.issue, project=project, name=f"key {number}", member=member, **stamp())[0].id
    for ago in range(2):
        shop.write(
            past.call, account, key=key, project=project, member=member, opened_us=stamp()["now_us"] - ago * 10**7,
            usage={"output": 1000}, prices={"output": 1_000_000},
        )  # fmt: skip
    people.customer(shop, role="member", of=owner)
    shop.write(minting.issue, project=f"{account}/default", name=f"other {number}", **stamp())
    shop.account("1")
    shop.write(price_lists.create_list, f"list-{number}", "USD", about="", actor="test")
    people.operator(shop, "support")


PAGES = (
    "/console/", "/console/keys", "/console/calls", "/console/calls?outcome=served", "/console/usage?by=member",
    "/console/team", "/console/changes", "/console/statements", "/console/settings", "/prices", "/estimate", "/status", "/office/",
    "/office/customers", "/office/price-lists", "/office/models", "/office/upstreams", "/office/operators",
    "/office/audit", "/office/money",
)  # fmt: skip


@pytest.fixture
def visitors(shop):
    """An owner and an operator, and every page with who visits it."""
    from farebox.accounts.models import Project

    shop.options.public_price_list = "usd"
    owner, operator = people.customer(shop, "20"), people.operator(shop)
    account = owner.customer.account
    call = owner.customer.chat("gpt-4o-mini", "Hello").call
    project = Project.objects.get(account=account, name="default").id
    single = (
        f"/console/keys/{owner.customer.key_id}", f"/console/calls/{call}", f"/console/team/projects/{project}",
        f"/console/statements/{time.strftime('%Y-%m', time.gmtime())}", "/prices/gpt-4o-mini",
        f"/office/customers/{account}", f"/office/customers/{account}/calls", "/office/price-lists/usd",
        f"/office/customers/{account}/statements/{time.strftime('%Y-%m', time.gmtime())}",
    )  # fmt: skip
    return owner, {path: operator if path.startswith("/office") else owner for path in (*PAGES, *single)}


@pytest.mark.slow
def test_more_rows_are_no_more_statements(shop, statements, visitors, monkeypatch):
    monkeypatch.setattr("farebox.calls.availability._KEPT_US", 10**10)  # or half a minute may end between two looks
    owner, pages = visitors

    def sent() -> dict[str, list[str]]:
        out = {}
        for path, who in pages.items():
            who.get(path)  # what is looked up once a process, or once a minute, is no part of it
            statements.clear()
            assert who.get(path).status == 200, path
            out[path] = [sql for sql, _ in statements]
        return out

    for number in range(2):
        grow(shop, owner, number)
    few = sent()
    assert all(few.values())
    for number in range(2, 8):
        grow(shop, owner, number)
    many = sent()
    grown = [path for path in few if len(many[path]) > len(few[path])]
    assert not grown, "\n".join(f"{path}:\n  " + "\n  ".join(text[:150] for text in many[path]) for path in grown)


# Tables that have a row a call, and an index of them that holds a few rows alone.
_LARGE = r"(calls_call|calls_attempt|ledger_hold|ledger_entry|ledger_posting)"
_SMALL = r"(calls_open|ledger_open_holds)"
_WALK = re.compile(rf"SCAN {_LARGE}\b(?! USING (COVERING )?INDEX {_SMALL})|SEARCH {_LARGE} .*\(account=\?\)$")


@pytest.mark.slow
def test_no_page_walks_through_the_calls(shop, statements, visitors):
    """By the plans of SQLite, which are the same however few rows there are; so it does not run on PostgreSQL."""
    from django.db import connection

    _, pages = visitors
    walks = []
    for path, who in pages.items():
        statements.clear()
        assert who.get(path).status == 200, path
        asked = [each for each in statements if each[0].lstrip().startswith("SELECT")]
        assert asked, path
        with connection.cursor() as cursor:
            for sql, params in asked:
                cursor.execute("EXPLAIN QUERY PLAN " + sql, params)
                plan = [row[-1] for row in cursor.fetchall()]
                # The newest few of all, and whether there is any, are found at once.
                few = sql.rstrip().endswith("LIMIT 1") or ("LIMIT" in sql and "WHERE" not in sql)
                bad = [step for step in plan if _WALK.match(step) and not few]
                walks += [f"{path}: {step}: {sql.strip()[:300]}" for step in bad]
    assert not walks, "\n".join(walks)
