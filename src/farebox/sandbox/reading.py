"""Reading of a request: its messages, prompts, limits, and how many tokens it holds."""

from __future__ import annotations

from typing import Any

import msgspec

from . import text
from .errors import Refusal


def prompts(given: Any, *, param: str) -> list[str | list[int]]:
    """The prompts or inputs: a string, strings, token numbers, or lists of them. Raises Refusal."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and given:
        if all(isinstance(each, str) for each in given):
            return given
        if _are_numbers(given):
            return [given]
        if all(isinstance(each, list) and each and _are_numbers(each) for each in given):
            return given
    raise Refusal(400, f"'$.{param}' is invalid: a string, strings, or arrays of token numbers.", param=param)


def control_text(body: dict[str, Any], path: str) -> str:
    """The text whose first line may ask for behaviours: of the last user message, prompt or input."""
    if path.endswith("/chat/completions"):
        messages = body.get("messages")
        return last_user(messages) if isinstance(messages, list) else ""
    given = body.get("prompt", body.get("input"))
    if isinstance(given, list) and given:
        given = given[0]
    return given if isinstance(given, str) else ""


def number(body: dict[str, Any], name: str, *, least: int, most: int = 2**53) -> int | None:
    """A whole number of the request, or None where it is absent. Raises Refusal."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refusal(400, f"Invalid value for '{name}': a whole number of at least {least}.", param=name)
    return value


def stops(body: dict[str, Any]) -> list[str]:
    """The stop sequences of the request. Raises Refusal."""
    stop = body.get("stop")
    listed = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise Refusal(400, "Invalid value for 'stop': a string or strings.", param="stop")
    return [each for each in listed if each]


def messages_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of the request. Raises Refusal."""
    messages = body.get("messages")
    if messages is None:
        raise Refusal(
            400,
            "Missing required parameter: 'messages'.",
            param="messages",
            code="missing_required_parameter",
        )
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise Refusal(400, "Invalid value for 'messages': a list of messages.", param="messages")
    return messages


def parts(message: dict[str, Any]) -> tuple[str, int]:
    """The text of a message, and how many pictures it holds."""
    content = message.get("content")
    if isinstance(content, str):
        return content, 0
    if not isinstance(content, list):
        return "", 0
    said = [str(part.get("text", "")) for part in content if isinstance(part, dict) and part.get("type") == "text"]
    images = sum(1 for part in content if isinstance(part, dict) and part.get("type") == "image_url")
    return "\n".join(filter(None, said)), images


def last_user(messages: list[Any]) -> str:
    """The text of the last user message, empty where there is none."""
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return parts(message)[0]
    return ""


def chat_input(body: dict[str, Any], messages: list[dict[str, Any]]) -> tuple[int, int]:
    """Tokens of input, and pictures in the messages."""
    total = 0
    images = 0
    for message in messages:
        said, pictures = parts(message)
        total += text.count(said)
        images += pictures
        for extra in ("tool_calls", "function_call"):
            if message.get(extra):
                total += _compact_tokens(message[extra])
    for extra in ("tools", "functions", "response_format"):
        if body.get(extra):
            total += _compact_tokens(body[extra])
    return total + images * text.IMAGE_TOKENS, images


def _compact_tokens(value: Any) -> int:
    return text.count(msgspec.json.encode(value).decode())


def _are_numbers(given: list[Any]) -> bool:
    return all(isinstance(each, int) and not isinstance(each, bool) for each in given)
