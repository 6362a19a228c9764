"""Addresses of this shop that commands print."""

from __future__ import annotations

from farebox.kit import options


def office(code: str) -> str:
    """The address of a one-time code of the office, as this process is reached; empty for none."""
    return f"{options.current().origin}/office/set-up?code={code}" if code else ""
