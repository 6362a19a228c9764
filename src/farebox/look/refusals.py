"""The sentences of refusals: each front says what is wrong, and what to do next there, in the reader's language.

They are data: `sentences/*.toml`, one file for each room that refuses. An entry has the sentence in English (`en`)
and in Chinese (`zh`), and by front what to do next, which follows it: `cli` and `api` only in English, `console` and
`office` in both languages. Plain Python: the terminal and the gateway read it without Django.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from farebox.kit import money
from farebox.kit.errors import CommandError, FareboxError
from farebox.kit.refusal import Amount, Field, Refusal

Front: TypeAlias = Literal["cli", "api", "console", "office"]
FRONTS: tuple[Front, ...] = ("cli", "api", "console", "office")
ENGLISH_ONLY: tuple[Front, ...] = ("cli", "api")
FOLDER = Path(__file__).parent / "sentences"
_AND = {"en": ", ", "zh": "、"}


def said(refusal: Refusal, front: Front, language: str = "en") -> str:
    """The sentence of a refusal and its next step, as this front says it in this language (`en`, `zh-hans`).

    An id that has no sentence is said as logs have it: what is refused stays refused.
    """
    entry = sentences().get(refusal.id)
    if entry is None:
        return str(refusal)
    tongue = "zh" if language.startswith("zh") and front not in ENGLISH_ONLY and "zh" in entry else "en"
    values = {name: _value(value, front, tongue) for name, value in refusal.fields.items()}
    gap = "" if tongue == "zh" else " "
    return gap.join(part.format(**values) for part in (entry[tongue], next_step(entry, front, tongue)) if part)


def of(fault: FareboxError, front: Front, language: str = "en") -> str:
    """What a front says of an error: the sentence of its refusal, else the one that it was raised with."""
    if isinstance(fault, CommandError) and fault.refusal is not None:
        return said(fault.refusal, front, language)
    return fault.message


def next_step(entry: Mapping[str, Any], front: Front, tongue: str) -> str:
    """What an entry says to do next on this front; empty if nothing."""
    step = entry.get(front, "")
    return str(step[tongue] if isinstance(step, dict) else step)


@functools.cache
def sentences() -> dict[str, dict[str, Any]]:
    """Every entry by its id."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        for thing, entries in tomllib.loads(path.read_text(encoding="utf-8")).items():
            for what, entry in entries.items():
                found[f"{thing}.{what}"] = entry
    return found


def _value(value: Field, front: Front, tongue: str) -> str:
    if isinstance(value, Refusal):
        return _inside(value, front, tongue)
    if isinstance(value, Amount):
        return _amount(value, front)
    if isinstance(value, tuple):
        return _AND[tongue].join(value)
    if isinstance(value, int):
        return f"{value:,}"
    return value if value.isprintable() else repr(value)[1:-1]


def _inside(refusal: Refusal, front: Front, tongue: str) -> str:
    """A word or a reason inside another sentence, without a next step; a word that is not known is its own name."""
    entry = sentences().get(refusal.id)
    if entry is None:
        return refusal.id.partition(".")[2]
    return str(entry.get(tongue, entry["en"])).format(
        **{name: _value(value, front, tongue) for name, value in refusal.fields.items()}
    )


def _amount(amount: Amount, front: Front) -> str:
    if not amount.currency:
        return money.text(amount.micro)
    if front in ENGLISH_ONLY:
        return f"{money.text(amount.micro)} {amount.currency}"
    return money.show(amount.micro, amount.currency)
