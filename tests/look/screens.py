"""Small pictures of every page of a running demo, for docs/screens: wide, light and English; narrow, dark and Chinese.

`python tests/look/screens.py ADDRESS CONSOLE_LINK OFFICE_LINK [AUDITOR_LINK]`, as `farebox demo` prints them; one for
its auditor (audit@demo.example), whose pages an administrator does not see, is minted by `accounts.links.mint`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MATRIX = tomllib.loads((ROOT / "tests" / "matrix.toml").read_text("utf-8"))
FILES = (".json", ".csv", "playground.models", "settings.data", "account_", "mfa_", "office:management")
AUDITORS = ("/office/audit/chain?check=1",)
STRANGERS = ("/account/sign-in", "/account/sign-up", "/office/sign-in")  # those who have signed in are sent on
LOOKS = (("", 1440, "light"), ("/zh", 360, "dark"))
# Pages of one thing: the page, the beginning of its links to things of this kind, and which of them is taken.
THINGS = (
    ("/console/calls", "/console/calls/call_", 0), ("/console/keys", "/console/keys/key_", -1),
    ("/console/team", "/console/team/projects/", -1), ("/console/team", "/console/team/members/", -1),
    ("/console/statements", "/console/statements/", 0), ("/prices", "/prices/", 0),
    ("/office/customers", "/office/customers/acc_", -1), ("/office/price-lists", "/office/price-lists/", 0),
    ("/office/upstreams", "/office/upstreams/", 0),
)  # fmt: skip
CUSTOMER = "/office/customers/acc_"


def pages() -> list[str]:
    """The paths of all pages that need no argument."""
    from django.urls import reverse

    names = [
        name
        for name, said in MATRIX.items()
        if {*said.get("GET", "").split()[4:8:3]} & {"ok"}  # for an owner or an administrator
        and not said.get("objects")
        and not any(part in name for part in FILES)
    ]
    return sorted({reverse(name) for name in names})


def main(address: str, console: str, office: str, auditor: str = "") -> None:
    from kit import chromium

    folder = ROOT / "docs" / "screens"
    folder.mkdir(exist_ok=True)
    paths = pages()
    with chromium.launched() as browser:
        state, page = _entered(browser, console, office)
        things = []
        for path, part, which in THINGS:
            page.goto(address + path)
            hrefs = [each.get_attribute("href") for each in page.locator(f"main a[href^='{part}']").all()]
            things.append(
                [href for href in hrefs if href and href.partition("?")[0] not in paths and "/new" not in href][which]
            )
        paths += things
        customer = next(path for path in things if path.startswith(CUSTOMER))
        page.goto(f"{address}{customer}/statements")
        month = page.locator(f"main a[href^='{customer}/statements/']").first.get_attribute("href")
        paths += [f"{customer}/statements", str(month)]
        _cover(browser, state, address + things[0], folder)
        seen_by = [(state, [path for path in paths if path not in STRANGERS]), (None, STRANGERS)]
        if auditor:
            seen_by.append((_entered(browser, auditor)[0], AUDITORS))
        for prefix, width, theme in LOOKS:
            for known, seen in seen_by:
                context = browser.new_context(
                    storage_state=known, viewport={"width": width, "height": 800}, color_scheme=theme,
                    device_scale_factor=0.5 if width > 400 else 1,
                )  # fmt: skip
                _shoot(context.new_page(), address + prefix, seen, folder, f"{width}")
                context.close()


def _entered(browser: Any, *links: str) -> tuple[Any, Any]:
    """The cookies of who used these links, and a page of his."""
    context = browser.new_context()
    page = context.new_page()
    for link in links:
        page.goto(link)
        page.locator("main button").first.click()
        page.wait_for_load_state()
    return context.storage_state(), page


def _cover(browser: Any, state: Any, receipt: str, folder: Path) -> None:
    """The picture of the README: a receipt, as large as it is read."""
    context = browser.new_context(storage_state=state, viewport={"width": 1200, "height": 700})
    page = context.new_page()
    page.goto(receipt)
    page.screenshot(path=folder / "receipt.jpg", type="jpeg", quality=80)
    context.close()


def _shoot(page: Any, address: str, paths: Sequence[str], folder: Path, suffix: str) -> None:
    for path in paths:
        name = re.sub(r"_\w+", "", path.partition("?")[0].strip("/").replace("/", "-")) or "landing"
        name = re.sub(r"\d{4}-\d\d$", "month", name)
        page.goto(address + path)
        page.screenshot(
            path=folder / f"{name}.{suffix}.jpg",
            type="jpeg",
            quality=55,
            clip=_clip(page),
            full_page=True,
            timeout=90_000,
        )
        print(name, suffix)


def _clip(page: Any) -> dict[str, int]:
    wide, high = page.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollHeight]")
    return {"x": 0, "y": 0, "width": wide, "height": min(high, 2400)}


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farebox.site.settings")
    sys.path.insert(0, str(ROOT / "tests"))
    django.setup()
    main(*sys.argv[1:])
