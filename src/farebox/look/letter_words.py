"""What letters are made of: paragraphs, and names that customers have chosen, with nothing in them to click on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from farebox.kit import options

CHARS_MAX = 60
# What programs of mail make a link of: an address with a scheme, www., and a name with a top-level domain.
_LINK = re.compile(r"(?:[a-z][a-z0-9+.-]{0,20}:)?//\S*|\bwww\.\S*|\b(?:mailto|tel|javascript|data):\S*", re.IGNORECASE)
_DOMAIN = re.compile(r"[\w@-]+(?:[.\u3002\uff0e\uff61][\w-]+)*[.\u3002\uff0e\uff61][^\W\d_]{2,}(?:[/:?#]\S*)?")


def in_mail(name: str) -> str:
    """`name` for a mail to a stranger, 60 characters at most; empty if nothing of it can stay."""
    plain = "".join(sign if sign.isprintable() else " " for sign in name)
    plain = _DOMAIN.sub(" ", _LINK.sub(" ", plain))
    plain = " ".join(plain.split())
    return plain if len(plain) <= CHARS_MAX else plain[: CHARS_MAX - 1].rstrip() + "…"


def letter(lines: Sequence[str]) -> str:
    """The text of a mail: paragraphs, then the shop's name and address."""
    chosen: Any = options.current()
    return "\n\n".join([*lines, f"{chosen.shop_name}\n{chosen.origin}"]) + "\n"
