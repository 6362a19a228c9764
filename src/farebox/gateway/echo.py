"""What of a completion is its own prompt come back: measured, never assumed (promises 4.3, `echo`).

Many upstreams ignore `echo`; what they send is an answer, and no prompt. So a choice has an echo if its text begins
with its prompt, byte for byte. While one is under way, what has come of it counts as echo; if it then continues
differently, or ends before the prompt does, it was an answer from its first character.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_NONE: Final = -1


def echoed_bytes(prompt: str, text: str) -> int:
    """The UTF-8 bytes of `text`, a whole choice, that are its prompt: all of the prompt, or 0."""
    return _size(prompt) if text.startswith(prompt) else 0


class Echo:
    """Measures the echo of one call while its choices come; `prompts` have `choices_per_prompt` choices each, in order.

    A prompt whose text is not known is an empty one: nothing of it is known to have come back.
    """

    __slots__ = ("_at", "_bytes", "_each", "_prompts", "total_bytes")

    def __init__(self, prompts: Sequence[str], choices_per_prompt: int) -> None:
        self._prompts = prompts
        self._each = max(1, choices_per_prompt)
        self._at: dict[int, int] = {}  # signs of its prompt with which a choice has begun; _NONE: it has another text
        self._bytes: dict[int, int] = {}
        self.total_bytes = 0

    def feed(self, index: int, text: str) -> int:
        """By how many bytes the echo has grown with the next piece of a choice.

        Less than 0 where the choice turns out to have none: by what was taken for one.
        """
        at = self._at.get(index, 0)
        if at == _NONE or not text:
            return 0
        prompt = self._prompt(index)
        if len(prompt) - at < len(text):  # what is behind the prompt is the answer
            if at == len(prompt):
                return 0
            text = text[: len(prompt) - at]
        if not prompt.startswith(text, at):
            return self._lost(index)
        self._at[index] = at + len(text)
        return self._grown(index, _size(text))

    def end(self, index: int) -> int:
        """As `feed`, for the end of a choice by its finish reason: what has ended within its prompt was no echo."""
        if self._at.get(index, 0) in {_NONE, len(self._prompt(index))}:
            return 0
        return self._lost(index)

    def echoed(self, index: int) -> str:
        """With what of its prompt a choice begins, as far as it has come; empty where it has no echo."""
        return self._prompt(index)[: max(0, self._at.get(index, 0))]

    def _prompt(self, index: int) -> str:
        number = index // self._each
        return self._prompts[number] if 0 <= number < len(self._prompts) else ""

    def _lost(self, index: int) -> int:
        self._at[index] = _NONE
        return self._grown(index, -self._bytes.get(index, 0))

    def _grown(self, index: int, by_bytes: int) -> int:
        self._bytes[index] = self._bytes.get(index, 0) + by_bytes
        self.total_bytes += by_bytes
        return by_bytes


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
