"""What known vendors' APIs need, so that a channel to one of them is one choice instead of a page of quirks.

Facts are those of each vendor's API reference for chat completions in November 2026. A channel begins with them; its
quirks are its own from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from farebox.kit.errors import CommandError

# OpenAI refuses fields of messages that it does not know ("Unknown parameter: 'messages[0].cache_control'").
_STRICT_MESSAGES: Final = [
    f"messages.{name}"
    for name in (
        "cache_control", "reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "prefix", "partial",
    )
]  # fmt: skip
# One name for the limit, and no role developer.
_OLD_WORDS: Final = {"rename": {"max_completion_tokens": "max_tokens"}, "developer_role": False}
_SAMPLING: Final = ["top_k", "min_p", "repetition_penalty"]


# What a channel speaks if nobody says otherwise.
DIALECT: Final = "openai"


class Preset(NamedTuple):
    """A vendor: its name, a base URL to begin with, the quirks of its API, how it bills, and what it speaks."""

    title: str
    base_url: str
    quirks: Mapping[str, Any]
    currency: str = "USD"
    cancel_billing: str = "unknown"
    local: bool = False
    dialect: str = DIALECT


PRESETS: Final[dict[str, Preset]] = {
    "openai": Preset(
        "OpenAI",
        "https://api.openai.com/v1",
        {"limit_name": "max_completion_tokens", "drop": _STRICT_MESSAGES, "cached_in_prompt": True},
    ),
    # The API of the version v1, in which the name of the deployment is the model.
    "azure": Preset(
        "Azure OpenAI",
        "https://RESOURCE.openai.azure.com/openai/v1",
        {
            "auth_header": "api-key",
            "auth_scheme": "",
            "limit_name": "max_completion_tokens",
            "drop": _STRICT_MESSAGES,
            "cached_in_prompt": True,
        },
    ),
    "deepseek": Preset(
        "DeepSeek",
        "https://api.deepseek.com",
        {**_OLD_WORDS, "paths": {"completions": "/beta/completions", "embeddings": ""}, "cached_in_prompt": True},
        "CNY",
    ),
    "qwen": Preset(
        "Qwen (DashScope)",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        {**_OLD_WORDS, "pass": ["top_k", "enable_thinking", "thinking_budget"], "cached_in_prompt": True},
        "CNY",
    ),
    # Its streams end with usage unasked.
    "zhipu": Preset(
        "Zhipu (GLM)",
        "https://open.bigmodel.cn/api/paas/v4",
        {
            **_OLD_WORDS,
            "stream_options": False,
            "paths": {"completions": ""},
            "pass": ["thinking", "do_sample"],
            "cached_in_prompt": True,
        },
        "CNY",
    ),
    "moonshot": Preset(
        "Moonshot (Kimi)",
        "https://api.moonshot.cn/v1",
        {"developer_role": False, "paths": {"completions": "", "embeddings": ""}, "cached_in_prompt": True},
        "CNY",
    ),
    "groq": Preset("Groq", "https://api.groq.com/openai/v1", {"cached_in_prompt": True}),
    "openrouter": Preset(
        "OpenRouter",
        "https://openrouter.ai/api/v1",
        {"pass": ["reasoning", *_SAMPLING], "cached_in_prompt": True},
    ),
    "vllm": Preset(
        "vLLM",
        "http://127.0.0.1:8000/v1",
        {"pass": [*_SAMPLING, "stop_token_ids", "chat_template_kwargs"], "cached_in_prompt": True},
        cancel_billing="stops",
        local=True,
    ),
    "llamacpp": Preset(
        "llama.cpp",
        "http://127.0.0.1:8081/v1",
        {**_OLD_WORDS, "pass": ["top_k", "min_p", "repeat_penalty", "grammar"], "cached_in_prompt": True},
        cancel_billing="stops",
        local=True,
    ),
    # A gateway says with each report where it counts cached tokens (usage_semantic), or its totals do.
    "new-api": Preset("New API, One API", "https://HOST/v1", {"pass": ["enable_thinking", "thinking"]}),
}


def quirks(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The quirks of a vendor with `given` over them; without a name `given` alone. CommandError for an unknown name."""
    if not name:
        return dict(given)
    if name not in PRESETS:
        raise CommandError("preset.unknown", preset=name[:32], known=tuple(PRESETS))
    return {**PRESETS[name].quirks, **given}
