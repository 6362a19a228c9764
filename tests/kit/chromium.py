"""Chromium for page tests; where there is none they fail with a line that says how to get it.

The one that has no windows comes first: it takes half the processor time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

GET_IT = "Get it with apt-get install chromium-headless-shell, or with .venv/bin/playwright install chromium."


def found() -> str | None:
    """Where a Chromium is; empty where playwright has one of its own, None where there is none."""
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        return "" if Path(tools.chromium.executable_path).is_file() else None


@contextmanager
def launched() -> Iterator[Any]:
    """A browser; it has a loop in this thread, so all that needs the store happens before it or in other threads."""
    from playwright.sync_api import sync_playwright

    path = found()
    if path is None:
        pytest.fail(f"There is no Chromium to look at the pages with. {GET_IT}")
    with sync_playwright() as tools:
        running = tools.chromium.launch(executable_path=path or None, args=["--no-sandbox"])
        yield running
        running.close()


_AUTHENTICATOR = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


def with_authenticator(running: Any) -> tuple[Any, list[str]]:
    """A new page that can make and use passkeys, and the list of what its console will complain of."""
    page, faults = running.new_context(locale="en-US").new_page(), []
    page.on("console", lambda said: said.type == "error" and faults.append(said.text))
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    line = page.context.new_cdp_session(page)
    line.send("WebAuthn.enable")
    line.send("WebAuthn.addVirtualAuthenticator", {"options": _AUTHENTICATOR})
    return page, faults
