"""What the shop announces now, for the first page, the status page and the home of a customer."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.translation import get_language

from farebox.kit import announcements
from farebox.kit.db import Tx


class News(NamedTuple):
    """An announcement in the language of the page; where it has none, in the other, which `lang` then names."""

    colour: str
    text: str
    lang: str = ""


def read(tx: Tx, now_us: int) -> list[News]:
    """The announcements in force, the one that began last first."""
    chinese = (get_language() or "").startswith("zh")
    own, other = ("zh", "en") if chinese else ("en", "zh-Hans")
    return [
        News("warn" if each["level"] == "warn" else "", announcements.text(each, own), "" if each[own] else other)
        for each in announcements.in_force(tx, now_us=now_us)
    ]
