"""A browser without a window: cookies, forms, and the headers that browsers send."""

from __future__ import annotations

import contextlib
import http.client
import re
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from shop import Answer

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


class Visitor:
    """Keeps its cookies from page to page; follows no redirect by itself."""

    def __init__(self, shop, **headers):
        self.shop = shop
        self.headers = {"Accept": HTML, **headers}
        self.cookies = {}

    def request(self, method, path, body=None, **headers):
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        line = http.client.HTTPConnection("127.0.0.1", self.shop.server.port, timeout=30)
        with contextlib.closing(line):
            line.request(method, path, body, given)
            response = line.getresponse()
            self.set = response.headers.get_all("Set-Cookie") or []
            for text in self.set:
                self.cookies.update({name: morsel.value for name, morsel in SimpleCookie(text).items()})
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )

    def get(self, path, **headers):
        return self.request("GET", path, **headers)

    def send(self, path, fields, **headers):
        """A form of a page that was seen before, with its token; `csrfmiddlewaretoken` may be given."""
        if "csrfmiddlewaretoken" not in fields and "csrftoken" not in self.cookies:
            self.get("/")
        fields = {"csrfmiddlewaretoken": self.cookies.get("csrftoken", ""), **fields}
        given = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", **headers}
        return self.request("POST", path, urlencode(fields).encode(), **given)


def links(answer):
    """Where the links and forms of a page lead."""
    return re.findall(r'(?:href|action)="([^"]*)"', answer.body.decode())
