"""How the sandbox counts, and what it says.

A token is: any white space, and then up to four printable ASCII characters or one other character (white space at the
end of a text is a token of its own). So a text has never more tokens than bytes of UTF-8, never none unless it is
empty, and its tokens joined are the text.

    "Hello world"  ->  "Hell" "o" " worl" "d"         "你好"  ->  "你" "好"

Input is the sum over the texts of a request (tools and schemas as compact JSON), 85 a picture, and one for
each number where token numbers were sent. Roles and other framing count nothing.
"""

from __future__ import annotations

import re
from itertools import cycle, islice
from typing import Final

IMAGE_TOKENS: Final = 85
# Each is one token here, and in OpenAI's own vocabularies.
_FILLER: Final = (
    "sand",
    " box",
    " the",
    " cat",
    " sat",
    " on",
    " the",
    " mat",
    " and",
    " ran",
    " far",
    " off",
)
_PIECE: Final = re.compile(r"\s*(?:[!-~]{1,4}|\S)|\s+")


def pieces(text: str) -> list[str]:
    """The tokens of a text, in order; joined they are the text."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """How many tokens a text has."""
    return len(_PIECE.findall(text))


def filler(tokens: int) -> list[str]:
    """Exactly this many tokens of plain words."""
    return list(islice(cycle(_FILLER), tokens))


def filler_bytes(size: int) -> str:
    """Plain words of exactly this many bytes."""
    words = "".join(_FILLER)
    return (words * (size // len(words) + 1))[:size]
