"""openai-python's names, imported when first used: every worker collects all tests, and the import takes a second."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith(("_", "pytest")):  # pytest looks at every name of a module
        raise AttributeError(name)
    import openai
    import openai.lib.streaming.chat
    import openai.types.chat

    places = (openai.types.chat, openai.types, openai.lib.streaming.chat, openai)
    for place in places:  # the last has old names that only raise
        if hasattr(place, name):
            return getattr(place, name)
    raise AttributeError(name)
