"""Usage: what a call used, in disjoint classes of whole units.

Classes are a closed set. `output` is visible output only; `reasoning` is hidden output; `input` is input that
no cache served or wrote. Every class counts tokens but `images`, which counts delivered images.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

INPUT_CLASSES = ("input", "cached_read", "cache_write", "input_audio")
OUTPUT_CLASSES = ("output", "reasoning", "output_audio")
OTHER_CLASSES = ("images",)
CLASSES = (*INPUT_CLASSES, *OUTPUT_CLASSES, *OTHER_CLASSES)

# No call of today comes near; what is reported beyond it is no count (fault F25).
UNITS_MAX = 2**31


class UsageError(ValueError):
    """Units that are no exact, non-negative, plausible integer, or of a class that does not exist."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Units used by class; UsageError unless each is an exact integer from 0 to `UNITS_MAX` (I10).

    Encodes to the JSON object of a receipt: classes that were not used are left out.
    """

    input: int = 0
    cached_read: int = 0
    cache_write: int = 0
    input_audio: int = 0
    output: int = 0
    reasoning: int = 0
    output_audio: int = 0
    images: int = 0

    def __post_init__(self) -> None:
        for name in CLASSES:
            units = getattr(self, name)
            # bool is an int to Python and a mistake to us.
            if type(units) is not int or not 0 <= units <= UNITS_MAX:
                raise UsageError(f"{name} is no count of units: {units!r:.40}")

    @property
    def input_tokens(self) -> int:
        """Tokens that went in, of every input class."""
        return self.input + self.cached_read + self.cache_write + self.input_audio

    @property
    def output_tokens(self) -> int:
        """Tokens that came out, hidden ones included."""
        return self.output + self.reasoning + self.output_audio

    @property
    def total(self) -> int:
        """All tokens, in and out; images are no tokens."""
        return self.input_tokens + self.output_tokens

    @property
    def inputs(self) -> Usage:
        """The input classes alone."""
        return msgspec.structs.replace(self, output=0, reasoning=0, output_audio=0, images=0)

    @property
    def outputs(self) -> Usage:
        """All other classes."""
        return msgspec.structs.replace(self, input=0, cached_read=0, cache_write=0, input_audio=0)

    def with_inputs(self, given: Usage) -> Usage:
        """The same with the input classes of another."""
        return msgspec.structs.replace(
            self,
            input=given.input,
            cached_read=given.cached_read,
            cache_write=given.cache_write,
            input_audio=given.input_audio,
        )

    def items(self) -> tuple[tuple[str, int], ...]:
        """The classes that were used with their units, in the fixed order of `CLASSES`."""
        return tuple((name, units) for name in CLASSES if (units := getattr(self, name)))


def of(units: Mapping[str, int]) -> Usage:
    """The usage in a receipt's object of class -> units; UsageError for an unknown class or a bad count."""
    unknown = sorted(set(units) - set(CLASSES))
    if unknown:
        raise UsageError(f"no such usage class: {unknown[0]!r:.40}")
    return Usage(**units)
