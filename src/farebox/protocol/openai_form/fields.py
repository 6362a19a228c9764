"""What of an answer in OpenAI's form a customer gets to see: tables, and what can be said with only them.

A field that is not listed is not passed on: vendors tell there what the call costs us, and who has answered.
Listed are OpenAI's own fields (API reference, "The chat completion chunk object" and its neighbours), texts that
clients show, and what must be sent back to the model in the next turn (reasoning and its signatures).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

# Beside id, object, created, model, choices and usage, which are written anew.
TOP: Final = frozenset({"citations", "search_results", "obfuscation"})
# OpenAI's padding, which hides how long a token is; it is no text, and no longer than it needs to be.
PADDING: Final = r"[A-Za-z0-9+/=_-]{0,128}"
is_padding: Final = re.compile(PADDING).fullmatch
# Texts of a message or a delta, in the order in which they are read.
TEXTS: Final = ("content", "reasoning_content", "reasoning", "refusal")
THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks")
# Lists of objects, which a client joins by their `index` in a stream.
LISTS: Final = ("annotations", "images", "reasoning_details", "thinking_blocks")
CALL: Final = frozenset({"index", "id", "type", "function", "custom", "extra_content"})
FUNCTION: Final = frozenset({"name", "arguments"})
CUSTOM: Final = frozenset({"name", "input"})
AUDIO: Final = frozenset({"id", "data", "transcript", "expires_at"})
VECTOR: Final = frozenset({"object", "index", "embedding"})

# Counters of a usage object: OpenAI's, and those by which others say the same (see `OpenAI.usage`).
USAGE: Final = frozenset(
    {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens"}
    | {"cached_tokens", "reasoning_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}
)
USAGE_DETAILS: Final = {
    "prompt_tokens_details": frozenset(
        {"cached_tokens", "cache_write_tokens", "cache_creation_tokens", "audio_tokens", "text_tokens", "image_tokens"}
        | {"video_tokens"}
    ),
    "completion_tokens_details": frozenset(
        {"reasoning_tokens", "audio_tokens", "text_tokens", "image_tokens"}
        | {"accepted_prediction_tokens", "rejected_prediction_tokens"}
    ),
}


class Rows(NamedTuple):
    """How one of the form's two streamed endpoints writes choices: `object` of a chunk and of a whole answer.

    With `delta` a choice says in an object what is new, or all that was said; without, in a text.
    """

    chunk: str
    whole: str
    delta: bool


CHAT: Final = Rows("chat.completion.chunk", "chat.completion", delta=True)
TEXT: Final = Rows("text_completion", "text_completion", delta=False)
ROWS: Final[dict[str, Rows]] = {"chat": CHAT, "completions": TEXT}  # by the kind of the call

FINISHES: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
# Other vendors' words for them, in lower case with underscores: Anthropic's, Gemini's, Cohere's, Mistral's, Zhipu's,
# text-generation-inference's, and what was seen of gateways that translate only half.
SAME_AS: Final = {
    "eos": "stop", "eos_token": "stop", "end": "stop", "end_turn": "stop", "stop_sequence": "stop", "complete": "stop",
    "completed": "stop", "done": "stop", "finish": "stop", "finished": "stop", "normal": "stop", "pause_turn": "stop",
    "max_tokens": "length", "max_output_tokens": "length", "max_length": "length", "model_length": "length",
    "model_context_window_exceeded": "length", "token_limit": "length",
    "tool_use": "tool_calls", "tool_call": "tool_calls", "function_calls": "tool_calls",
    "sensitive": "content_filter", "safety": "content_filter", "refusal": "content_filter",
    "recitation": "content_filter", "blocklist": "content_filter", "prohibited_content": "content_filter",
    "spii": "content_filter", "image_safety": "content_filter", "content_filtered": "content_filter",
    "error_toxic": "content_filter", "moderation": "content_filter",
}  # fmt: skip
# And words for an answer that broke off: OpenRouter, Zhipu, DeepSeek ("Create chat completion" of each), vLLM, SGLang.
BROKEN: Final = frozenset({"error", "network_error", "insufficient_system_resource", "abort"})


def finish(word: Any, seen: str) -> str | None:
    """OpenAI's word for a finish reason of whatever vendor, a word of `BROKEN`, or None for none.

    `seen` is what an unknown word stands for: what has come of the answer tells.
    """
    if not word or not isinstance(word, str):
        return None if not word else seen
    if word in FINISHES:
        return word
    plain = word.strip().lower().replace("-", "_").replace(" ", "_")
    if plain in FINISHES or plain in BROKEN:
        return plain
    return SAME_AS.get(plain, seen) if plain else None


def only(value: Any, names: frozenset[str]) -> dict[str, Any] | None:
    """The listed fields of an object; None for anything else."""
    return {name: each for name, each in value.items() if name in names} if isinstance(value, dict) else None


def usage(reported: Mapping[str, Any]) -> dict[str, Any]:
    """A usage object as the customer sees it: the counters that are listed, and nothing of what they cost us."""
    shown: dict[str, Any] = {}
    for name, value in reported.items():
        if name in USAGE:
            if value is None or type(value) is int:
                shown[name] = value
        elif name in USAGE_DETAILS:
            details = only(value, USAGE_DETAILS[name])
            shown[name] = details and {part: each for part, each in details.items() if type(each) is int}
    return shown
