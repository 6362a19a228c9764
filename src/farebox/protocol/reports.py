"""What a usage report means, in disjoint classes: whether its parts are inside their wholes or beside them.

OpenAI counts cached tokens and reasoning inside (API reference, "The usage object"); Anthropic counts cached tokens
beside `input_tokens`, Google thoughts beside `candidatesTokenCount`, xAI reasoning beside `completion_tokens`;
resellers pass either on under OpenAI's names. A quirk of the channel says which; else the report's own total decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from farebox.catalog.usage import UNITS_MAX, Usage, UsageError
from farebox.protocol import counters, plain_usage
from farebox.protocol.dialect import BadUsage, Reading

KEPT_BYTES_MAX: Final = 2048
_LEAVES_KEPT: Final = 32
_ANTHROPIC: Final = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})
_encode: Final = msgspec.json.Encoder().encode


class _Way(NamedTuple):
    """One way to read a report: what is counted beside its whole instead of inside it."""

    read: bool = False
    write: bool = False
    reasoning: bool = False


@dataclass(frozen=True, slots=True)
class _Counts:
    """The counters of a report by what they count; `total` is None where the report has none."""

    prompt: int
    completion: int
    total: int | None
    read: int
    write: int
    heard: int
    reasoning: int
    spoken: int

    def total_by(self, way: _Way) -> int:
        return (
            self.prompt
            + self.completion
            + self.read * way.read
            + self.write * way.write
            + self.reasoning * way.reasoning
        )

    def input_by(self, way: _Way) -> int:
        """What is left of the prompt as plain input; negative where its parts don't fit into it."""
        return self.prompt - self.read * (not way.read) - self.write * (not way.write) - self.heard

    def output_by(self, way: _Way) -> int:
        """What is left of the completion as visible text."""
        return self.completion - self.reasoning * (not way.reasoning) - self.spoken

    def usage(self, way: _Way, hidden: int = 0) -> Usage:
        """The classes by this way, `hidden` tokens of thinking among them; BadUsage where they don't fit."""
        plain, visible = self.input_by(way), self.output_by(way)
        if plain < 0:
            why = f"The parts of prompt_tokens are more than its {self.prompt}."
            raise BadUsage(why, _likely(self, way, 0), self.by_themselves())
        if visible < 0:
            why = f"The parts of completion_tokens are more than its {self.completion}."
            raise BadUsage(why, _likely(self, way, 0), self.by_themselves())
        try:
            return Usage(
                input=plain,
                cached_read=self.read,
                cache_write=self.write,
                input_audio=self.heard,
                output=visible,
                reasoning=self.reasoning + hidden,
                output_audio=self.spoken,
            )
        except UsageError as fault:
            raise BadUsage(f"{fault}.", None, self.by_themselves()) from None

    def by_themselves(self) -> Usage:
        """The wholes, whose parts don't fit into them or don't add up."""
        return _plainly(self.prompt, self.completion, self.reasoning)


def _plainly(prompt: int, completion: int, reasoning: int) -> Usage:
    """The wholes of both sides, nothing for what can't be; thoughts inside the completion where they fit into it."""
    prompt, completion, reasoning = (units if units <= UNITS_MAX else 0 for units in (prompt, completion, reasoning))
    inside = reasoning if reasoning <= completion else 0
    return Usage(input=prompt, output=completion - inside, reasoning=reasoning)


def read(reported: Any, *, cached_in_prompt: bool | None = None, hidden_thinking: bool = False) -> Reading:
    """The classes of a usage object; BadUsage if it can't be believed.

    `cached_in_prompt` says where the channel counts cached tokens, None if nobody knows; `hidden_thinking` that output
    which only the total shows is thinking.
    """
    if cached_in_prompt is not False and (found := plain_usage.read(reported)) is not None:
        return Reading(found)
    if not isinstance(reported, dict):
        raise BadUsage("The usage is not an object.")
    roles, seen, unknown, wrong = counters.gather(reported)
    if wrong or "prompt" not in roles:
        parts = _plainly(*(roles.get(role, 0) for role in ("prompt", "completion", "reasoning")))
        raise BadUsage(wrong or "prompt_tokens is missing.", None, parts)
    counts = _counts(roles)
    inside = cached_in_prompt
    if inside is None:
        inside = {"anthropic": False, "openai": True}.get(str(reported.get("usage_semantic")))  # New API
    style = _style(seen)
    usage = _whole(counts, inside, style) if counts.total is None else _by_total(counts, inside, style, hidden_thinking)
    return Reading(usage, unknown)


def kept(reported: Any) -> str:
    """A report as the receipt keeps it: its JSON as it came, or, beyond 2 KiB, its first numbers by path."""
    try:
        text = _encode(reported)
        if len(text) > KEPT_BYTES_MAX:
            numbers = ((path, value) for path, value in counters.leaves(reported) if type(value) in (int, float))
            some = {path[:48]: value for (path, value), _ in zip(numbers, range(_LEAVES_KEPT), strict=False)}
            text = _encode({"shortened": True, **some})
    except (TypeError, ValueError, RecursionError):
        return ""
    return text.decode("utf-8", "replace") if len(text) <= 2 * KEPT_BYTES_MAX else ""


def _counts(roles: dict[str, int]) -> _Counts:
    heard = roles.get("heard", 0) + roles.get("heard_tool", 0)
    return _Counts(
        prompt=roles["prompt"] + roles.get("tool", 0),
        completion=roles.get("completion", 0),
        total=roles.get("total"),
        read=roles.get("read", 0),
        write=max(roles.get("write", 0), roles.get("write_5m", 0) + roles.get("write_1h", 0)),
        heard=heard - min(heard, roles.get("heard_cached", 0)),
        reasoning=roles.get("reasoning", 0),
        spoken=roles.get("spoken", 0),
    )


def _style(seen: frozenset[str]) -> str:
    if "promptTokenCount" in seen or "candidatesTokenCount" in seen:
        return "google"
    if "input_tokens" in seen and "prompt_tokens" not in seen and not _ANTHROPIC.isdisjoint(seen):
        return "anthropic"
    return "openai"


def _whole(counts: _Counts, inside: bool | None, style: str) -> Usage:
    """Without a total: as the vendor whose names these are counts."""
    beside = style == "anthropic" if inside is None else not inside
    if inside is None and _too_large(counts):
        beside = True
    return counts.usage(_Way(beside, beside, style == "google"))


def _by_total(counts: _Counts, inside: bool | None, style: str, hidden_thinking: bool) -> Usage:
    """The reading that adds up to the total."""
    total = counts.total or 0
    for way in _ways(inside, style):
        if counts.total_by(way) == total and counts.input_by(way) >= 0 and counts.output_by(way) >= 0:
            return counts.usage(way)
    beside = (inside is None and _too_large(counts)) or inside is False
    if beside:  # a total that leaves them out
        for reasoning in (False, True):
            if counts.prompt + counts.completion + counts.reasoning * reasoning == total:
                return counts.usage(_Way(True, True, reasoning))
    plain = _Way(beside, beside)
    if total == counts.total_by(plain):
        return counts.usage(plain)  # it adds up, and yet its parts don't fit: says so
    return _hidden(counts, plain, hidden_thinking)


def _hidden(counts: _Counts, way: _Way, hidden_thinking: bool) -> Usage:
    """Output that only the total shows: thinking, where the channel is known for it, else a dispute (R06)."""
    hidden = (counts.total or 0) - counts.total_by(way)
    why = f"total_tokens is {counts.total}, not {counts.prompt} + {counts.completion}."
    if hidden < 0:
        raise BadUsage(why, _likely(counts, way, 0), counts.by_themselves())
    more = hidden - counts.reasoning  # what is named of it is a part of it
    likely = _likely(counts, way, hidden)
    if not hidden_thinking or more < 0:
        raise BadUsage(why, likely, counts.by_themselves())
    return counts.usage(way._replace(reasoning=True), more)


def _likely(counts: _Counts, way: _Way, hidden: int) -> Usage | None:
    """What a report that doesn't add up most likely means, for what it costs us."""
    read, written = counts.read, counts.write
    if not way.read:
        read = min(counts.prompt, read)
        written = min(counts.prompt - read, written)
    plain = counts.prompt if way.read else counts.prompt - read - written
    try:
        return Usage(input=plain, cached_read=read, cache_write=written, output=counts.completion + hidden)
    except UsageError:
        return None


def _ways(inside: bool | None, style: str) -> Iterator[_Way]:
    """The ways to read a report, the likeliest first; the quirk leaves those that it allows."""
    thoughts = (True, False) if style == "google" else (False, True)
    if inside is not None:
        yield from (_Way(not inside, not inside, reasoning) for reasoning in thoughts)
        return
    for reasoning in thoughts:
        yield _Way(reasoning=reasoning)
        yield _Way(read=True, write=True, reasoning=reasoning)
    for reasoning in thoughts:
        yield _Way(read=True, reasoning=reasoning)
        yield _Way(write=True, reasoning=reasoning)


def _too_large(counts: _Counts) -> bool:
    """Whether one part alone is larger than the prompt, so it can't be inside it; two may overlap."""
    return max(counts.read, counts.write) > counts.prompt
