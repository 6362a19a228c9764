"""Browsers by the name that people know them by."""

from __future__ import annotations

# The first sign that stands in what a browser says of itself: later ones stand in many.
_BROWSERS = (
    ("MicroMessenger", "WeChat"), ("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"),
    ("Safari/", "Safari"), ("curl/", "curl"),
)  # fmt: skip
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)  # fmt: skip


def browser(agent: str) -> str:
    """What a browser calls itself, short: `Firefox · Windows`; its own words where we know none of them."""
    names = [next((name for sign, name in known if sign in agent), "") for known in (_BROWSERS, _SYSTEMS)]
    return " · ".join(name for name in names if name) or agent
