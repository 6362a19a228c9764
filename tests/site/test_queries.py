"""No search, filter or address of a page is too odd for an answer: every GET parameter of every page, on both stores.

Which parameters a page has is seen by what it reads, so that a new one is tried without being named here.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from kit import people
from kit.visitor import Visitor

pytestmark = [pytest.mark.slow, pytest.mark.store, pytest.mark.timeout(500)]

MATRIX = tomllib.loads((Path(__file__).parents[1] / "matrix.toml").read_text("utf-8"))
ODD = {
    "a NUL": "%00",
    "a NUL inside": "a%00b",
    "half a pair": "%ED%A0%80",
    "bytes that are no text": "%FF%FE",
    "a line break": "a%0D%0Ab",
    "a turned text": "%E2%80%AEabc",
    "much": "x" * 10_000,
    "a great number": "9" * 40,
    "a number of another script": "%D9%A1%D9%A2",
    "a text where a number stands": "-1e400",
    "a quote and signs of patterns": "'%22%25_%5C",
    "a day that is none": "2026-13-45",
    "a day of long ago": "0001-01-01T00:00",
    "the last day": "9999-12-31T23:59",
}
# PostgreSQL takes less than SQLite does: each parameter is tried with every fifth of these values there, and with one on
# SQLite, others each time; with NIGHT=1 PostgreSQL is asked all of them.
PAIRS = ("a NUL inside", "much", "half a pair", "a great number")  # what an address of an object is tried with


class Read:
    """Which parameters of the address pages have read, noted while they are asked."""

    def __init__(self, monkeypatch: Any) -> None:
        from django.http.request import QueryDict

        self.names: set[str] = set()
        for name in ("get", "getlist", "__getitem__", "__contains__"):
            monkeypatch.setattr(QueryDict, name, self._noting(getattr(QueryDict, name)))

    def _noting(self, real: Any) -> Any:
        def noting(query: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(key, str):
                self.names.add(key)
            return real(query, key, *args, **kwargs)

        return noting

    def by(self, visitor: Visitor, path: str) -> set[str]:
        """The names that this page reads."""
        self.names.clear()
        visitor.get(path)
        return set(self.names)


@pytest.fixture(scope="module")
def world(shop: Any) -> dict[str, Any]:
    """Who may see most, and an object of each kind."""
    from look.test_walk import examples

    shop.options.public_price_list = "usd"
    owner = people.customer(shop, "20")
    made = examples(shop, owner) | {"language": "en", "number": "1", "change": "none_0000", "session": "none_0000"}
    return {"A": Visitor(shop, "en"), "O": owner, "X": people.operator(shop), "made": made}


def routes(world: dict[str, Any]) -> list[tuple[str, str, str, dict[str, str]]]:
    """(name, who sees it, path, parts of the path) of every page that can be opened."""
    from django.urls import reverse

    found = []
    for name, said in MATRIX.items():
        row = said.get("GET", "").split()
        if not row or " " in name or name.startswith("office:management:"):
            continue
        who = next((who for who, at in (("A", 0), ("O", 4), ("X", 7)) if row[at].startswith(("ok", "no"))), "O")
        if name.startswith("office:") and who == "O":
            who = "X"
        kinds = dict(part.split("=") for part in said.get("objects", "").split())
        parts = {at: world["made"].get(kind, "none_0000") for at, kind in kinds.items()}
        found.append((name, who, reverse(name, kwargs=parts), parts))
    return found


def test_every_parameter_of_every_page(shop, world, monkeypatch):
    from django.db import connection

    from farebox.calls import export

    monkeypatch.setattr(export, "PER_MINUTE", 1_000_000)
    read = Read(monkeypatch)
    sqlite, tried, asked, faults = connection.vendor == "sqlite", 0, 0, []
    step = len(ODD) if sqlite else 1 if os.environ.get("NIGHT") else 5
    for name, who, path, _parts in routes(world):
        visitor = world[who]
        names = read.by(visitor, path) - {"csrfmiddlewaretoken"}
        if names:  # what is read only when something else was asked for
            names |= read.by(visitor, path + "?" + "&".join(f"{each}=1" for each in sorted(names)))
        for each in sorted(names):
            tried += 1
            for what, value in list(ODD.items())[tried % step :: step]:
                status = visitor.get(f"{path}?{each}={value}").status
                asked += 1
                if status >= 500:
                    faults.append(f"{name}: {status} for {each} with {what}")
    assert faults == []
    assert asked > 500 / step


def test_every_part_of_every_address(shop, world):
    faults = []
    for name, who, path, parts in routes(world):
        for at, own in parts.items():
            assert quote(own, safe="/") in path, (name, path)
            for what in PAIRS:
                odd = path.replace(quote(own, safe="/"), ODD[what], 1)
                status = world[who].get(odd).status
                if status >= 500:
                    faults.append(f"{name}: {status} for {at} with {what}")
    assert faults == []


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_a_nul_is_answered_in_words(shop, world, language):
    """Also in a form, where no field is so odd that a page has to think of it."""
    from kit.visitor import Page

    visitor = Visitor(shop, language)
    visitor.cookies |= world["X"].cookies
    words = {
        "en": ("Invalid request", "Page not found"),
        "zh-CN": ("请求无效", "页面不存在"),
    }
    searched = Page(visitor.get("/office/customers?q=a%00b"))
    assert (searched.status, words[language][0] in searched.text) == (400, True), searched.text
    absent = Page(visitor.get("/office/customers/a%00b"))
    assert (absent.status, words[language][1] in absent.text) == (404, True), absent.text
    path = f"/office/customers/{world['made']['account']}/rename"
    assert visitor.send(path, {"name": "a\x00b"}).status == 400
    assert visitor.send("/account/sign-in", {"login": "a\x00b@example.com", "password": "x"}).status == 400


def test_every_parameter_of_the_management_api(shop, world):
    from farebox.accounts.sign_in import tokens
    from farebox.kit import clock

    _row, text = shop.write(
        tokens.make, person=world["X"].person, name="odd", role="admin", days=1, now_us=clock.now_us(), actor="test"
    )
    script = Visitor(shop, "en", Authorization=f"Bearer {text}")
    paths = Visitor.get(script, "/office/api/openapi.json").json["paths"]
    faults = []
    for path, operations in paths.items():
        if "get" not in operations:
            continue
        fields = [(each["name"], each["in"]) for each in operations["get"].get("parameters", [])]
        plain = {each: world["made"].get(each, "none_0000") for each, where in fields if where == "path"}
        for field, where in fields:
            for what, value in ODD.items():
                odd = path.format(**(plain | ({field: value} if where == "path" else {})))
                status = script.get(odd + (f"?{field}={value}" if where == "query" else "")).status
                if status >= 500:
                    faults.append(f"{path}: {status} for {field} with {what}")
    assert faults == []
