"""Announcements: what the shop tells everybody for a time, in both languages; kept as the setting `announcements`."""

from __future__ import annotations

from typing import Any

from . import ids, settings
from .db import Tx
from .errors import CommandError

NAME = "announcements"
TEXT_CHARS_MAX = 500
MANY_MAX = 50
LEVELS = ("info", "warn")


def listed(tx: Tx) -> list[dict[str, Any]]:
    """All announcements, the one that begins last first: id, en, zh, level, from_us, until_us (None: no end)."""
    found: list[dict[str, Any]] = settings.get(tx, NAME, [])
    return sorted(found, key=lambda each: (each["from_us"], each["id"]), reverse=True)


def in_force(tx: Tx, *, now_us: int) -> list[dict[str, Any]]:
    """Those that customers see now."""
    return [
        each
        for each in listed(tx)
        if each["from_us"] <= now_us and (each["until_us"] is None or now_us < each["until_us"])
    ]


def text(each: dict[str, Any], language: str) -> str:
    """What it says in this language, or in the other where that is empty."""
    first, second = ("zh", "en") if language.startswith("zh") else ("en", "zh")
    return str(each[first] or each[second])


def add(
    tx: Tx, *, en: str, zh: str, level: str = "info", from_us: int, until_us: int | None, now_us: int, actor: str
) -> dict[str, Any]:
    """Announce something in at least one language; CommandError with what is wrong."""
    en, zh = " ".join(en.split()), " ".join(zh.split())
    if not (en or zh) or max(len(en), len(zh)) > TEXT_CHARS_MAX or not (en + zh).isprintable():
        raise CommandError("announcement.text", chars_max=TEXT_CHARS_MAX)
    if level not in LEVELS:
        raise CommandError("announcement.level", levels=LEVELS)
    if until_us is not None and until_us <= max(from_us, now_us):
        raise CommandError("announcement.end")
    known = [each for each in settings.get(tx, NAME, []) if each["until_us"] is None or each["until_us"] > now_us]
    if len(known) >= MANY_MAX:
        raise CommandError("announcement.too_many", many=MANY_MAX)
    made = {
        "id": ids.new("ann", now_us),
        "en": en,
        "zh": zh,
        "level": level,
        "from_us": from_us,
        "until_us": until_us,
    }
    settings.put(tx, NAME, [*known, made], actor=actor)
    return made


def end(tx: Tx, announcement: str, *, actor: str) -> dict[str, Any]:
    """Take an announcement away; CommandError if there is none."""
    known = settings.get(tx, NAME, [])
    found = next((each for each in known if each["id"] == announcement), None)
    if found is None:
        raise CommandError("announcement.unknown")
    settings.put(tx, NAME, [each for each in known if each["id"] != announcement], actor=actor)
    return dict(found)
