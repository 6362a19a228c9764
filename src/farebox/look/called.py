"""What pages on both sides of the counter call usage classes and kinds of endpoint."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy

from farebox.protocol import kinds

CLASSES: dict[str, Any] = {
    "input": gettext_lazy("Input"),
    "cached_read": gettext_lazy("Cached input"),
    "cache_write": gettext_lazy("Cache write"),
    "input_audio": gettext_lazy("Audio in"),
    "output": gettext_lazy("Output"),
    "reasoning": gettext_lazy("Reasoning"),
    "output_audio": gettext_lazy("Audio out"),
    "images": gettext_lazy("Images"),
}
KINDS: dict[str, Any] = {name: gettext_lazy(kind.title) for name, kind in kinds.KINDS.items()}
