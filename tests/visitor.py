"""Somebody with a browser and no login, over HTTP: pages, their tables, forms with their token."""

from __future__ import annotations

import contextlib
import http.client
import re
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from shop import Answer


class Visitor:
    """Keeps its cookies."""

    def __init__(self, shop: Any, language: str = "en") -> None:
        self.shop = shop
        self.language = language
        self.cookies: dict[str, str] = {}

    def request(self, method: str, path: str, form: dict[str, Any] | None = None, **headers: str) -> Answer:
        line = http.client.HTTPConnection("127.0.0.1", self.shop.server.port, timeout=60)
        given = {"Accept": "text/html", "Accept-Language": self.language, **headers}
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        data = None
        if form is not None:
            given["Content-Type"] = "application/x-www-form-urlencoded"
            data = urlencode(form).encode()
        with contextlib.closing(line):
            line.request(method, path, data, given)
            response = line.getresponse()
            for name, value in response.getheaders():
                if name.lower() == "set-cookie":
                    self.cookies.update({key: morsel.value for key, morsel in SimpleCookie(value).items()})
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str) -> Page:
        return Page(self.request("GET", path))

    def send(self, path: str, **form: Any) -> Page:
        """Open the page of a form, fill it in and send it."""
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path).html)
        assert found, "there is no form"
        return Page(self.request("POST", path, {"csrfmiddlewaretoken": found[1], **form}))


class Page:
    """An answer read as a page."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.html = answer.body.decode()
        reader = _Reader()
        reader.feed(self.html)
        self.tables = reader.tables
        self.text = " ".join(" ".join(reader.words).split())

    def column(self, number: int, table: int = 0) -> list[str]:
        """The texts of a column, without the head."""
        return [row[number] for row in self.tables[table][1:]]

    def rows(self, table: int = 0) -> dict[str, list[str]]:
        """Rows by the first word of their first cell."""
        return {row[0].split()[0]: row[1:] for row in self.tables[table][1:]}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self._cell = False
        self._mute = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        del attrs
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")
            self._cell = True
        self._mute += tag in {"script", "style", "head"}

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            row = self.tables[-1][-1]
            row[-1] = " ".join(row[-1].split())
            self._cell = False
        self._mute -= tag in {"script", "style", "head"}

    def handle_data(self, data: str) -> None:
        if not self._mute:
            self.words.append(data)
        if self._cell:
            self.tables[-1][-1][-1] += f" {data}"
