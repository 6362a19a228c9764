"""A browser without a window: cookies, forms with their token, and the headers that browsers send."""

from __future__ import annotations

import contextlib
import functools
import http.client
import re
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit

from kit.shop import Answer

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


class Visitor:
    """Keeps its cookies from page to page; follows no redirect by itself."""

    def __init__(self, shop: Any, language: str = "", **headers: str) -> None:
        self.shop = shop
        self.headers = {"Accept": HTML, **({"Accept-Language": language} if language else {}), **headers}
        self.cookies: dict[str, str] = {}
        self.set: list[str] = []  # the cookies that the last answer set, as they came

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request; `_` in the names of headers stands for `-`."""
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        line = http.client.HTTPConnection("127.0.0.1", self.shop.server.port, timeout=60)
        with contextlib.closing(line):
            line.request(method, path, body, given)
            response = line.getresponse()
            self.set = response.headers.get_all("Set-Cookie") or []
            for text in self.set:
                for name, morsel in SimpleCookie(text).items():
                    if morsel["max-age"] == "0" or not morsel.value:
                        self.cookies.pop(name, None)
                    else:
                        self.cookies[name] = morsel.value
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def page(self, path: str) -> Page:
        """A page, read."""
        return Page(self.get(path))

    def send(self, path: str, fields: dict[str, Any], **headers: str) -> Answer:
        """A form of a page that was seen before, with its token; `csrfmiddlewaretoken` may be given."""
        name = next((name for name in self.cookies if "csrf" in name), "")
        if "csrfmiddlewaretoken" not in fields and not name:
            self.get("/")
            name = next((name for name in self.cookies if "csrf" in name), "")
        fields = {"csrfmiddlewaretoken": self.cookies.get(name, ""), **fields}
        given = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", **headers}
        return self.request("POST", path, urlencode(fields, doseq=True).encode(), **given)

    def fill(self, path: str, to: str | None = None, **fields: Any) -> Page:
        """Open the page of a form, fill it in and send it there, or to the address `to`; marks of what it shows go along."""
        html = self.page(path).html
        hidden = dict(re.findall(r'name="(csrfmiddlewaretoken|seen)" value="([^"]*)"', html))
        assert "csrfmiddlewaretoken" in hidden, "there is no form"
        return Page(self.send(path if to is None else to, {**hidden, **fields}))

    def through(self, path: str, to: str | None = None, **fields: Any) -> Page:
        """The same, and on to where the answer leads."""
        answer = self.fill(path, to, **fields)
        return self.follow(answer) if answer.status in {302, 303} else answer

    def follow(self, page: Page | Answer) -> Page:
        """Where a redirect leads."""
        assert page.status in {302, 303}, page.status
        found = urlsplit(page.headers["location"])
        return self.page(found.path + (f"?{found.query}" if found.query else ""))


def folded(html: str) -> str:
    """A page with its white space as a browser sees it: none before cells, one space elsewhere, all of it in `pre`."""
    parts = re.split(r"(<(?:pre|textarea)\b.*?</(?:pre|textarea)>)", html, flags=re.DOTALL)
    parts[::2] = [re.sub(r" (?=<t[dh]\b|</?tr\b)", "", re.sub(r"\s+", " ", part)) for part in parts[::2]]
    parts[1::2] = [re.sub(r"<[^!<>][^<>]*>", lambda tag: " ".join(tag[0].split()), part) for part in parts[1::2]]
    return "".join(parts)


class Page:
    """An answer read as a page."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.html = folded(answer.body.decode())

    @functools.cached_property
    def _read(self) -> _Reader:
        """The page taken apart, once somebody asks: to read one takes longer than to make it."""
        reader = _Reader()
        reader.feed(self.html)
        return reader

    @functools.cached_property
    def text(self) -> str:
        """All words, one space between them."""
        return " ".join(" ".join(self._read.words).split())

    @property
    def tables(self) -> list[list[list[str]]]:
        """Rows of cells, the head among them."""
        return self._read.tables

    def column(self, number: int, table: int = 0) -> list[str]:
        """The texts of a column, without the head."""
        return [row[number] for row in self.tables[table][1:]]

    def rows(self, table: int = 0) -> dict[str, list[str]]:
        """Rows by the first word of their first cell."""
        return {row[0].split()[0]: row[1:] for row in self.tables[table][1:]}


def links(answer: Answer) -> list[str]:
    """Where the links and forms of a page lead."""
    return re.findall(r'(?:href|action)="([^"]*)"', answer.body.decode())


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
