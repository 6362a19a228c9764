"""The dialects that upstreams speak, by the name that channels store."""

from __future__ import annotations

from typing import Final

from farebox.kit.errors import CommandError
from farebox.protocol.dialect import Dialect
from farebox.protocol.dialects import openai

DIALECTS: Final[dict[str, Dialect]] = {}


def register(dialect: Dialect) -> None:
    """Add a dialect."""
    DIALECTS[dialect.name] = dialect


register(openai.DIALECT)


def of(name: str) -> Dialect:
    """The dialect of that name; CommandError for an unknown one."""
    try:
        return DIALECTS[name]
    except KeyError:
        raise CommandError("dialect.unknown", dialect=name[:32], known=tuple(DIALECTS)) from None
