"""Measure every page of the demo shop as a browser sees it: medians and the slowest, in both languages.

    .venv/bin/python bench/pages.py FOLDER [ROUNDS]     # 9 rounds by default; FOLDER is the demo's own data folder

`farebox demo` is started on a free port, its one-time links sign in to the console and the office, and the addresses
that take arguments are found by following the links of the pages: one example of each, and one with a query. What sends
who is signed in elsewhere is visited as a stranger. Then all pages are visited in turn, a round in English and one in
Chinese, so that a busy moment of the machine hits different pages. Times are the client's, from the first byte sent to
the last one read, on one open loopback connection; on a busy machine look at the processor time, which is what all
threads of the shop used meanwhile.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode, urlsplit

import processes

GOAL_MS = 50
ROUNDS = 9
START_S = 180
LANGUAGES = {"en": "", "zh": "/zh"}
_LINK = re.compile(r"sign in +(\S+)")
_HREF = re.compile(r'(?:href|action)="([^"]+)"')
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
# Exports, of which a person may have so many an hour; ten_million.py measures them.
_EXPORTS = {"calls.csv", "calls.json", "settings.data", "office:audit_export"}


class Client:
    """One browser: a connection that stays open, and its cookies."""

    def __init__(self, host: str, port: int) -> None:
        self._line = http.client.HTTPConnection(host, port, timeout=60)
        self._cookies: dict[str, str] = {}

    def ask(self, path: str, form: dict[str, str] | None = None) -> tuple[int, bytes, float]:
        """Status, body and milliseconds of one GET, or of a POST of `form`."""
        head = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin", "Accept-Encoding": "gzip"}
        head["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        body = None if form is None else urlencode(form)
        if body is not None:
            head["Content-Type"] = "application/x-www-form-urlencoded"
        began = time.perf_counter()
        self._line.request("GET" if form is None else "POST", path, body, head)
        answer = self._line.getresponse()
        said = answer.read()
        took_ms = (time.perf_counter() - began) * 1000
        for line in answer.headers.get_all("set-cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer.status, said, took_ms

    def sign_in(self, link: str) -> None:
        """Use a one-time link of the demo."""
        _, said, _ = self.ask(link)
        found = _TOKEN.search(said.decode())
        if found is None:
            raise SystemExit(f"{link} has no form: is it a link of this shop's last start?")
        status, _, _ = self.ask(link, {"csrfmiddlewaretoken": found[1]})
        if status != 302:
            raise SystemExit(f"{link} was answered with {status}")


@dataclass(slots=True)
class Page:
    """One address with its times, by language; `client` is who asks for it."""

    name: str
    path: str
    client: Client
    size: int = 0
    times: dict[str, list[float]] = field(default_factory=lambda: {language: [] for language in LANGUAGES})
    used: list[float] = field(default_factory=list)  # milliseconds of processor time

    @property
    def all(self) -> list[float]:
        """Its times in all languages, ascending."""
        return sorted(each for times in self.times.values() for each in times)


def start(folder: Path) -> tuple[subprocess.Popen[str], str, list[str]]:
    """The demo's process, its origin, and its one-time links."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
    own = {"FAREBOX_DATA_DIR": str(folder), "FAREBOX_PORT": "0", "FAREBOX_LOG_LEVEL": "error"}
    program = Path(sys.executable).with_name("farebox")
    shop = subprocess.Popen(
        [program, "demo"],
        env=kept | own,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=processes.own_session,  # noqa: PLW1509  (there are no threads here)
    )
    assert shop.stdout is not None
    links: list[str] = []
    until = time.monotonic() + START_S
    while len(links) < 2 and time.monotonic() < until and (line := shop.stdout.readline()):
        links += _LINK.findall(line)
    if len(links) < 2:
        shop.terminate()
        raise SystemExit("The demo did not print its sign-in links.")
    where = urlsplit(links[0])
    return shop, f"{where.scheme}://{where.netloc}", [urlsplit(link).path for link in links]


def routes(patterns: Any, names: tuple[str, ...] = (), place: str = "/") -> Iterator[tuple[str, str]]:
    """(name, path or empty if it takes arguments) of every address in this table."""
    for each in patterns:
        here = place + str(each.pattern)
        if hasattr(each, "url_patterns"):
            yield from routes(each.url_patterns, (*names, each.namespace) if each.namespace else names, here)
        else:
            yield ":".join((*names, each.name or here)), "" if "<" in here or "(" in here else here


def table() -> dict[str, str]:
    """Every address of the shop's pages."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farebox.site.settings")
    import django

    django.setup()
    from farebox.site.urls import urlpatterns

    return dict(routes(urlpatterns))


def crawl(client: Client, stranger: Client, known: dict[str, str]) -> tuple[list[Page], dict[str, str]]:
    """The pages that answer, and why the other addresses are not among them."""
    from django.urls import Resolver404, resolve

    pages: dict[str, list[Page]] = {}
    left = dict.fromkeys(known, "no page links to it")
    waiting = [path for path in known.values() if path]
    asked: set[str] = set()
    while waiting:
        path = waiting.pop(0)
        plain, _, query = path.partition("?")
        if path in asked:
            continue
        asked.add(path)
        try:
            name = resolve(plain).view_name
        except Resolver404:
            continue
        have = pages.setdefault(name, [])
        if name in _EXPORTS or any(bool(query) == ("?" in page.path) for page in have):
            continue
        for who in (client, stranger):
            status, said, _ = who.ask(path)
            if status == 200:
                have.append(Page(name, path, who, len(said)))
                left.pop(name, None)
                links = (unescape(href) for href in _HREF.findall(said.decode("utf-8", "replace")))
                waiting += [plain + link if link[0] == "?" else link for link in links if link[0] in "/?"]
                break
            if not have and who is client:
                left[name] = f"answers {status}"
    return [page for found in pages.values() for page in found], left


def used_ms(process: int) -> float:
    """Processor time of all threads of a process so far."""
    total_ns = 0
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total_ns += int((thread / "schedstat").read_text().split()[0])
    return total_ns / 1e6


def measure(process: int, pages: list[Page], rounds: int) -> None:
    """Visit all pages in turn, so many times in each language; the first time of each does not count."""
    for number in range(rounds + 1):
        for language, prefix in LANGUAGES.items():
            for page in pages:
                before_ms = used_ms(process)
                status, _, took_ms = page.client.ask(prefix + page.path)
                if status != 200:
                    print(f"{prefix + page.path} answered {status}", flush=True)
                elif number:
                    page.times[language].append(took_ms)
                    page.used.append(used_ms(process) - before_ms)


def show(pages: list[Page], left: dict[str, str]) -> None:
    """The table, the slowest first."""
    done = sorted((page for page in pages if page.all), key=lambda page: -median(page.all))
    slow = sum(median(page.all) > GOAL_MS for page in done)
    print("| page | en median | zh median | p95 | slowest | processor, ms | KB |\n|---|--:|--:|--:|--:|--:|--:|")
    for page in done:
        times = page.all
        middles = [median(page.times[language]) for language in LANGUAGES]
        numbers = [*middles, times[int(len(times) * 0.95)], times[-1], median(page.used), page.size / 1000]
        shown = page.name + (" ?" + page.path.partition("?")[2] if "?" in page.path else "")
        print(f"| {shown} | " + " | ".join(f"{number:.1f}" for number in numbers) + " |")
    middle = median(median(page.all) for page in done)
    print(f"\n{len(done)} addresses, median {middle:.1f} ms; {slow} with a median above {GOAL_MS} ms;")
    dear = sorted((median(page.used) for page in done), reverse=True)
    print(f"processor time: median {median(dear):.1f} ms, most {dear[0]:.1f} ms.")
    print("Load of the machine:", " ".join(f"{load:.1f}" for load in os.getloadavg()))
    print("Not visited: " + ", ".join(f"{name} ({why})" for name, why in sorted(left.items())))


def main(folder: Path, rounds: int) -> None:
    """Start, sign in, find, measure, show."""
    shop, origin, links = start(folder)
    try:
        where = urlsplit(origin)
        client, stranger = (Client(where.hostname or "", where.port or 80) for _ in range(2))
        for link in links:
            client.sign_in(link)
        os.environ["FAREBOX_DATA_DIR"] = str(folder)
        pages, left = crawl(client, stranger, table())
        measure(shop.pid, pages, rounds)
        show(pages, left)
    finally:
        shop.send_signal(signal.SIGTERM)
        shop.wait(30)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)
