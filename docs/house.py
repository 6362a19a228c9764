"""Writes docs/house.svg, the floors and who imports whom; `make docs` runs it, and a test compares.

The floors are those of the contract in pyproject.toml, the words those of docs/house-plan.md, the dots the imports.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
PICTURE = DOCS / "house.svg"
SOURCE = DOCS.parent / "src" / "farebox"
Floors = Sequence[Sequence[str]]
_ROW, _CELL = 26, 26
_LEFT, _TOP = 460, 92
_LEGEND = (
    "A dot: the room of the row imports the room of the column. Grey: forbidden, since imports only go down and the "
    "rooms of a floor do not import each other."
)
_STYLE = """  <style>
    svg { color-scheme: light dark; }
    .floor { fill: #f3f5f7; }
    .wall { fill: #d9dee4; }
    .line { stroke: #ffffff; }
    .dot { fill: #1f6f54; }
    text { font: 14px system-ui, sans-serif; fill: #1c2127; }
    .s { font-size: 12px; fill: #4a525c; }
    @media (prefers-color-scheme: dark) {
      .floor { fill: #20262d; }
      .wall { fill: #39424c; }
      .line { stroke: #14181c; }
      .dot { fill: #5cc79f; }
      text { fill: #e8ecf0; }
      .s { fill: #aeb7c1; }
    }
  </style>"""


def floors() -> Floors:
    """The rooms by floor, the roof first, as lint-imports checks them."""
    config = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(each for each in config["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    return [[room.strip() for room in layer.split("|")] for layer in contract["layers"]]


def said() -> dict[str, str]:
    """What each room does, as far as the table of the house plan says it in its first words."""
    plan = (DOCS / "house-plan.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [a-z]* ?\| (`[a-z`, ]+`) \| ([^|]+) \|$", plan, re.MULTILINE)
    return {
        room: re.split(r"[:;]", words)[0].replace("`", "").strip()
        for rooms, words in rows
        for room in re.findall(r"`([a-z]+)`", rooms)
    }


def imports() -> dict[str, set[str]]:
    """The other rooms that the modules of each room import, at the top or inside a function."""
    found: dict[str, set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        room, *below = path.relative_to(SOURCE).parts
        if below:
            found.setdefault(room, set()).update(set(_named(ast.parse(path.read_text(encoding="utf-8")))) - {room})
    return found


def _named(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{each.name}" for each in node.names]
        else:
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name.startswith("farebox."))


def picture(by_floor: Floors, words: Mapping[str, str], edges: Mapping[str, set[str]]) -> str:
    """The whole SVG: a row and a column for each room, a dot where the row's room imports the column's."""
    rooms = [room for floor in by_floor for room in floor]
    width, height = _LEFT + len(rooms) * _CELL + 24, _TOP + len(rooms) * _ROW + 44
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="t d">',
            '  <title id="t">The house: floors and rooms of Farebox, and who imports whom</title>',
            f'  <desc id="d">{escape(_described(by_floor, edges))}</desc>',
            _STYLE,
            *_bands(by_floor, width),
            *(line for n, room in enumerate(rooms) for line in _row(n, room, rooms, words, edges)),
            f'  <text class="s" x="12" y="{height - 14}">{_LEGEND}</text>',
            "</svg>\n",
        ]
    )


def _described(by_floor: Floors, edges: Mapping[str, set[str]]) -> str:
    down = "; ".join(", ".join(floor) for floor in by_floor)
    known = [f"{room}: {', '.join(sorted(edges[room]))}" for room in sorted(edges) if edges[room]]
    return f"Floors from the roof down: {down}. Imports: {'; '.join(known)}."


def _bands(by_floor: Floors, width: int) -> Iterator[str]:
    """A band for each floor, with the columns that its rooms may not import in grey."""
    n = 0
    for floor in by_floor:
        y, high = _TOP + n * _ROW, len(floor) * _ROW
        n += len(floor)
        yield f'  <rect class="floor" x="0" y="{y}" width="{width}" height="{high}"/>'
        yield f'  <rect class="wall" x="{_LEFT}" y="{y}" width="{n * _CELL}" height="{high}"/>'
        yield f'  <path class="line" d="M0 {y + high}H{width}"/>'


def _row(
    n: int, room: str, rooms: Sequence[str], words: Mapping[str, str], edges: Mapping[str, set[str]]
) -> Iterator[str]:
    y, x = _TOP + n * _ROW + _ROW - 8, _LEFT + n * _CELL + _CELL // 2
    yield f'  <text x="12" y="{y}">{room}</text><text class="s" x="100" y="{y}">{escape(words.get(room, ""))}</text>'
    yield f'  <text class="s" transform="translate({x + 4} {_TOP - 8}) rotate(-60)">{room}</text>'
    for column, other in enumerate(rooms):
        if other in edges.get(room, ()):
            yield f'  <circle class="dot" cx="{_LEFT + column * _CELL + _CELL // 2}" cy="{y - 5}" r="6"/>'


def drawn() -> str:
    """The picture as it is now."""
    return picture(floors(), said(), imports())


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
