"""The counters of usage reports under all their names: rows, so that a new spelling is one line more.

What each vendor's name counts: OpenAI's and Anthropic's API references, Google's `usageMetadata`, DeepSeek's,
Moonshot's and xAI's "Create chat completion", and what LiteLLM, New API and OpenRouter write when they speak OpenAI's
format for others.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from farebox.catalog.usage import UNITS_MAX
from farebox.protocol.dialect import BadUsage

_LEAVES_MAX = 256
_DEPTH_MAX = 5
# Where the parts of each side stand; "" is the report itself.
_IN: Final = ("prompt_tokens_details.", "input_tokens_details.", "input_token_details.")
_OUT: Final = ("completion_tokens_details.", "output_tokens_details.", "output_token_details.")
_SPLITS: Final = ("cache_creation.", "cache_creation_token_details.")
_GOOGLE_IN: Final = ("promptTokensDetails.", "toolUsePromptTokensDetails.")


def _named(role: str, *names: str, at: tuple[str, ...] = ("",)) -> dict[str, str]:
    return {place + name: role for place in at for name in names}


# By path, what it counts: a whole of one side, a part that has its own price, or a part (`same`) whose price is that of
# its side. What is in no row is unknown.
ROWS: Final[dict[str, str]] = {
    **_named("prompt", "prompt_tokens", "input_tokens", "promptTokenCount"),
    **_named("completion", "completion_tokens", "output_tokens", "candidatesTokenCount"),
    **_named("total", "total_tokens", "totalTokenCount"),
    **_named("tool", "toolUsePromptTokenCount"),
    **_named("read", "cached_tokens", "cache_read_tokens", "cache_read_input_tokens", at=("", *_IN)),
    **_named("read", "prompt_cache_hit_tokens", "cached_input_tokens", "cachedContentTokenCount"),
    **_named("write", "cache_write_tokens", "cache_creation_tokens", "cached_creation_tokens", at=("", *_IN)),
    **_named("write", "cache_creation_input_tokens", "cache_write_input_tokens", at=("", *_IN)),
    **_named("write_5m", "ephemeral_5m_input_tokens", at=tuple(p + s for p in ("", *_IN) for s in _SPLITS)),
    **_named("write_1h", "ephemeral_1h_input_tokens", at=tuple(p + s for p in ("", *_IN) for s in _SPLITS)),
    **_named("write_5m", "claude_cache_creation_5_m_tokens"),
    **_named("write_1h", "claude_cache_creation_1_h_tokens"),
    **_named("heard", "audio_tokens", at=_IN),
    **_named("heard", "AUDIO", at=("promptTokensDetails.",)),
    **_named("heard_tool", "AUDIO", at=("toolUsePromptTokensDetails.",)),
    **_named("heard_cached", "audio_tokens", at=tuple(p + "cached_tokens_details." for p in _IN)),
    **_named("heard_cached", "AUDIO", at=("cacheTokensDetails.",)),
    **_named("reasoning", "reasoning_tokens", "thinking_tokens", at=("", *_OUT)),
    **_named("reasoning", "thoughtsTokenCount"),
    **_named("spoken", "audio_tokens", at=_OUT),
    **_named("spoken", "AUDIO", at=("candidatesTokensDetails.",)),
    **_named("same", "prompt_cache_miss_tokens"),
    **_named("same", "text_tokens", "image_tokens", "video_tokens", at=_IN),
    **_named("same", "text_tokens", "image_tokens", at=tuple(p + "cached_tokens_details." for p in _IN)),
    **_named("same", "text_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens", at=_OUT),
    **_named("same", "TEXT", "IMAGE", "VIDEO", "DOCUMENT", at=(*_GOOGLE_IN, "cacheTokensDetails.")),
    **_named("same", "TEXT", at=("candidatesTokensDetails.",)),
}
_DETAILS: Final = tuple(name.rstrip(".") for name in (*_IN, *_OUT))
_OBJECT: Final = (dict, type(None))
# Numbers that count nothing which is sold by the piece: money, times, speeds.
_NO_COUNTER: Final = re.compile(r"cost|price|credit|byok|time|latency|_ms\b|per_second|tps\b|ticks", re.IGNORECASE)


def leaves(reported: Any) -> list[tuple[str, Any]]:
    """(path, value) of everything in a report that is no object and no list: `prompt_tokens_details.cached_tokens`.

    Google's lists of {modality, tokenCount} give paths such as `promptTokensDetails.AUDIO`. Nothing deeper than five.
    """
    found: list[tuple[str, Any]] = []
    _walk(found, reported, "", 0)
    return found


def _walk(found: list[tuple[str, Any]], reported: Any, path: str, depth: int) -> None:
    if depth >= _DEPTH_MAX or len(found) > _LEAVES_MAX:
        return
    if type(reported) is dict:
        modality = reported.get("modality")
        if type(modality) is str and "tokenCount" in reported:
            found.append((path + modality[:40], reported["tokenCount"]))
            return
        for name, value in reported.items():
            inside = path + name[:64]
            if type(value) is dict or type(value) is list:
                _walk(found, value, f"{inside}.", depth + 1)
            else:
                found.append((inside, value))
    elif type(reported) is list:
        for value in reported:
            _walk(found, value, path, depth + 1)
    else:
        found.append((path, reported))


class Gathered(NamedTuple):
    """What each role counts, the largest where it is there twice; the paths that were seen, and the unknown ones.

    `wrong` says what is the matter with the first known counter that is no count, and is in no role; empty for none.
    """

    roles: dict[str, int]
    seen: frozenset[str]
    unknown: tuple[str, ...]
    wrong: str


def gather(reported: dict[str, Any]) -> Gathered:
    """The counters of a report by what they count; BadUsage for one with more than 256 values."""
    roles: dict[str, int] = {}
    unknown: list[str] = []
    wrong = [f"{name} is not an object." for name in _DETAILS if type(reported.get(name)) not in _OBJECT]
    found = leaves(reported)
    if len(found) > _LEAVES_MAX:
        raise BadUsage("The usage has too many counters.")
    for path, value in found:
        role = ROWS.get(path)
        if role is None:
            if _is_counter(path, value):
                unknown.append(path)
        elif value is not None:
            if fault := _fault(path, value):
                wrong.append(fault)
                continue
            units = int(value)
            if role == "write_1h" and units:  # it costs the upstream more than what a write costs here
                unknown.append(path)
            if units >= roles.get(role, 0):
                roles[role] = units
    return Gathered(roles, frozenset(path for path, _ in found), tuple(unknown), wrong[0] if wrong else "")


def shown(reported: Any) -> Any:
    """The counters of a report as a customer may read them: whole numbers that count tokens, and nothing else.

    What it cost, and who answered, is the shop's own business.
    """
    if isinstance(reported, dict):
        kept = {}
        for name, value in reported.items():
            if _NO_COUNTER.search(name):
                continue
            if isinstance(value, (dict, list)):
                if inside := shown(value):
                    kept[name] = inside
            elif name == "modality" or (type(value) is int and "token" in name.lower()):
                kept[name] = value
        return kept
    return [inside for value in reported if (inside := shown(value))] if isinstance(reported, list) else {}


def spelled(reported: Any) -> str:
    """A report as one line of JSON for people to read; empty for none."""
    return json.dumps(reported, ensure_ascii=False) if reported else ""


def _is_counter(path: str, value: Any) -> bool:
    return type(value) in (int, float) and value > 0 and not _NO_COUNTER.search(path)


def _fault(path: str, value: Any) -> str:
    """Why a value is no count; empty for one."""
    name = path.rpartition(".")[2]
    if type(value) is not int:
        return f"{name} is not a whole number."
    return "" if 0 <= value <= UNITS_MAX else f"{name} is out of bounds."
