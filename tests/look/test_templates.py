"""How templates are written: a cell a line, so that a change is seen in a diff."""

from __future__ import annotations

import re
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parents[2] / "src" / "farebox"
LONG_CHARS = 200
# Sentences that are one string of a catalogue can't be broken; there may only be fewer of them.
LONG_MAX = 105


def lines():
    for path in sorted(TEMPLATES.glob("*/templates/**/*.html")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            yield f"{path.relative_to(TEMPLATES)}:{number}", line


def test_long_lines_hold_one_cell():
    crowded = [at for at, line in lines() if len(line) > LONG_CHARS and len(re.findall(r"<t[dh]\b", line)) > 1]
    assert crowded == []


def test_long_lines_get_no_more():
    long = [at for at, line in lines() if len(line) > LONG_CHARS]
    assert len(long) <= LONG_MAX, "break them, a cell or an attribute a line"
