"""The texts of one choice: halves of characters joined across events, and images inside a text told from words."""

from __future__ import annotations

import re
from typing import Any, Final

from farebox.protocol.halves import LOST, Halves
from farebox.protocol.openai_form import fields
from farebox.protocol.openai_form.tidy import OpenChoice

_DATA_URL: Final = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,")
# The longest base64 that a model has written between two events; no image is so small.
_WRITTEN_BYTES_MAX: Final = 4096
_BASE64: Final = re.compile(r"[A-Za-z0-9+/=]*")


def rejoin(row: dict[str, Any], lane: OpenChoice, halves: Halves, *, ends: bool) -> None:
    """Join halves of characters in the texts of a row with those before; where the choice `ends`, none is held back."""
    said = row.get("delta", row)
    for holder, name, key in _texts(said, lane.index):
        holder[name] = halves.joined(key, holder[name])
    if ends:
        for key in [key for key in halves.held if key[0] == lane.index]:
            del halves.held[key]
            _append_lost(said, key)


def _texts(said: dict[str, Any], index: int) -> list[tuple[dict[str, Any], str, tuple[Any, ...]]]:
    found: list[tuple[dict[str, Any], str, tuple[Any, ...]]]
    found = [(said, name, (index, name)) for name in (*fields.TEXTS, "text") if isinstance(said.get(name), str)]
    for call in said.get("tool_calls", ()):
        for kind, name in (("function", "arguments"), ("custom", "input")):
            if kind in call:
                found.append((call[kind], name, (index, "tool_calls", call["index"], kind, name)))
    if "function_call" in said:
        found.append((said["function_call"], "arguments", (index, "function_call")))
    if isinstance(said.get("audio", {}).get("transcript"), str):
        found.append((said["audio"], "transcript", (index, "audio")))
    return found


def _append_lost(said: dict[str, Any], key: tuple[Any, ...]) -> None:
    """The other half never came: U+FFFD stands for the first."""
    if key[1] == "tool_calls":
        _, _, number, kind, name = key
        said.setdefault("tool_calls", []).append({"index": number, kind: {name: LOST}})
    elif key[1] == "function_call":
        said.setdefault("function_call", {"arguments": ""})["arguments"] += LOST
    elif key[1] == "audio":
        said.setdefault("audio", {}).setdefault("transcript", "")
        said["audio"]["transcript"] += LOST
    else:
        said[key[1]] = (said.get(key[1]) or "") + LOST


def without_media(text: str, lane: OpenChoice) -> tuple[str, int, str]:
    """A text without the base64 of data URLs in it, which is an image and no words; how long that is; what was written.

    What makes images sends each in a piece. Base64 in short pieces was written sign by sign, and is output of a model
    that was asked to write like this: it is an image for version 1 of the charging rules, and text for version 2.
    `lane.in_media` remembers one that continues in the next event.
    """
    if not lane.in_media and "base64," not in text:
        return text, 0, ""
    out, at, media_bytes, written = [], 0, 0, []
    while True:
        if lane.in_media:
            run = _BASE64.match(text, at)
            end = run.end() if run else at
            media_bytes += end - at
            if end - at <= _WRITTEN_BYTES_MAX:
                written.append(text[at:end])
            at = end
            if at == len(text):
                break
            lane.in_media = False
        found = _DATA_URL.search(text, at)
        out.append(text[at : found.end() if found else len(text)])
        if found is None:
            break
        at, lane.in_media = found.end(), True
    return "".join(out), media_bytes, "".join(written)
