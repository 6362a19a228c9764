"""Channels as operators look at them: whether their secrets can be read, and where vendors are reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from farebox.kit.db import Tx
from farebox.kit.errors import CommandError

from . import board
from .models import Channel


@dataclass(frozen=True, slots=True)
class Vendor:
    """What is known of a vendor before anybody has connected it."""

    name: str
    title: str
    base_url: str
    currency: str = "USD"
    cancel_billing: str = "unknown"
    local: bool = False


VENDORS: Final[tuple[Vendor, ...]] = (
    Vendor("openai", "OpenAI", "https://api.openai.com/v1"),
    Vendor("deepseek", "DeepSeek", "https://api.deepseek.com/v1", "CNY"),
    Vendor("qwen", "Qwen (DashScope)", "https://dashscope.aliyuncs.com/compatible-mode/v1", "CNY"),
    Vendor("moonshot", "Moonshot (Kimi)", "https://api.moonshot.cn/v1", "CNY"),
    Vendor("zhipu", "Zhipu (GLM)", "https://open.bigmodel.cn/api/paas/v4", "CNY"),
    Vendor("groq", "Groq", "https://api.groq.com/openai/v1"),
    Vendor("vllm", "vLLM", "http://127.0.0.1:8000/v1", cancel_billing="stops", local=True),
    Vendor("llamacpp", "llama.cpp", "http://127.0.0.1:8081/v1", cancel_billing="stops", local=True),
)


def unreadable(tx: Tx, master: Mapping[int, bytes]) -> list[str]:
    """The channels, by name, whose secret does not open with these master keys."""
    del tx  # the ORM reads in the same transaction
    unseal = board.unsealer(master)
    found = []
    for row in Channel.objects.exclude(secret="").order_by("name"):
        try:
            unseal(row.secret, row.id)
        except CommandError:
            found.append(row.name)
    return found
