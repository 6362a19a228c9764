"""What pages on both sides of the counter call usage classes, kinds of endpoint, and what the program has named."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy

from farebox.protocol import kinds

CLASSES: dict[str, Any] = {
    "input": gettext_lazy("Input"),
    "cached_read": gettext_lazy("Cached input"),
    "cache_write": gettext_lazy("Cache write"),
    "input_audio": gettext_lazy("Audio input"),
    "output": gettext_lazy("Output"),
    "reasoning": gettext_lazy("Reasoning"),
    "output_audio": gettext_lazy("Audio output"),
    "images": gettext_lazy("Images"),
}
KINDS: dict[str, Any] = {name: gettext_lazy(kind.title) for name, kind in kinds.KINDS.items()}
# Names that the program has given to keys and projects; a person who gives the same name means the same.
NAMES: dict[str, Any] = {
    "Playground": gettext_lazy("Playground"),
    "default": gettext_lazy("default"),
}


def named(name: str) -> str:
    """The name of a key or project: in the page's language where the program has given it, else as it is."""
    return str(NAMES[name]) if name in NAMES else name
