"""A field of a form for whole numbers."""

from __future__ import annotations

import re
from typing import Any

from django import forms

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


class WholeField(forms.IntegerField):
    """A whole number in digits, between bounds; Python also reads `1_000`, `1.0` and the digits of other scripts."""

    def __init__(self, *, min_value: int, max_value: int, **others: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, **others)

    def to_python(self, value: Any) -> int | None:
        """The number, or None for an empty field; ValidationError."""
        if value not in self.empty_values and not _WHOLE.fullmatch(str(value).strip()):
            raise forms.ValidationError(self.error_messages["invalid"])
        number: int | None = super().to_python(value)
        return number
