"""The JSON schema of a `response_format`: what no upstream takes is refused before money is held."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .body import bad

# OpenAI's own limit of a structured output ("Supported schemas" in its guide).
PROPERTIES_MAX = 5000
# Ours: every reference is followed once, on the loop that serves all customers.
REFERENCES_MAX = 5000
REFERENCE_STEPS_MAX = 64
# Servers that write a grammar of a schema write every repetition out.
REPETITIONS_MAX = 10_000
_RANGES = (("minItems", "maxItems"), ("minLength", "maxLength"), ("minProperties", "maxProperties"))
_WORDS = (b"Items", b"Length", b"Properties", b"pattern", b"\\u")
_REPEATED = re.compile(r"\{(\d{1,12})(?:,(\d{0,12}))?\}")
_PARAM = "response_format"
_FORMATS = frozenset({"text", "json_object", "json_schema"})


def check(form: dict[str, Any]) -> None:
    """BadRequest unless it is text, json_object, or json_schema with a schema that can be followed."""
    kind = form.get("type")
    if not isinstance(kind, str) or kind not in _FORMATS:
        bad(_PARAM, "Invalid value for 'response_format': text, json_object or json_schema.")
    if kind != "json_schema":
        return
    named = form.get("json_schema")
    if not isinstance(named, dict) or not isinstance(named.get("schema", {}), dict):
        bad(_PARAM, "Invalid value for 'response_format': json_schema must hold a name and a schema.")
    _walk(named.get("schema", {}))


def _walk(root: dict[str, Any]) -> None:
    properties = references = 0
    good: set[int] = set()
    left: list[Any] = [root]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            _check_ranges(node, _PARAM)
            inner = node.get("properties")
            properties += len(inner) if isinstance(inner, dict) else 0
            if properties > PROPERTIES_MAX:
                bad(_PARAM, f"Invalid schema in 'response_format': more than {PROPERTIES_MAX} properties.")
            if isinstance(node.get("$ref"), str):
                references += 1
                if references > REFERENCES_MAX:
                    bad(_PARAM, f"Invalid schema in 'response_format': more than {REFERENCES_MAX} references.")
                _follow(root, node, good)
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)


def may_repeat(data: bytes) -> bool:
    """Whether a JSON text may hold what `check_tools` looks for: most don't, and need not be walked through."""
    return any(word in data for word in _WORDS)


def check_tools(tools: Sequence[dict[str, Any]]) -> None:
    """BadRequest for tools whose parameters ask for more repetitions than any server can write out."""
    left: list[Any] = list(tools)
    while left:
        node = left.pop()
        if isinstance(node, dict):
            _check_ranges(node, "tools")
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)


def _check_ranges(node: dict[str, Any], param: str) -> None:
    for least, most in _RANGES:
        low, high = node.get(least), node.get(most)
        for name, value in ((least, low), (most, high)):
            if type(value) is int and value > REPETITIONS_MAX:
                bad(param, f"Invalid schema in '{param}': {name} is at most {REPETITIONS_MAX:,}.")
        if type(low) is int and type(high) is int and low > high:
            bad(param, f"Invalid schema in '{param}': {least} is larger than {most}.")
    pattern = node.get("pattern")
    if isinstance(pattern, str) and "{" in pattern:
        for found in _REPEATED.finditer(pattern):
            least_n, most_n = int(found[1]), int(found[2] or found[1])
            if max(least_n, most_n) > REPETITIONS_MAX or least_n > most_n:
                bad(param, f"Invalid schema in '{param}': a pattern repeats at most {REPETITIONS_MAX:,} times.")


def _follow(root: dict[str, Any], node: dict[str, Any], good: set[int]) -> None:
    """Refuse references that lead to each other and to nothing else; recursion through properties is fine.

    `good` holds the nodes whose chain is known to end, so that all chains together are followed once.
    """
    seen: set[int] = set()
    found: Any = node
    while isinstance(found, dict) and isinstance(found.get("$ref"), str) and found["$ref"].startswith("#"):
        if id(found) in good:
            break
        if id(found) in seen:
            bad(_PARAM, "Invalid schema in 'response_format': a `$ref` leads to itself.")
        seen.add(id(found))
        if found["$ref"].count("/") > REFERENCE_STEPS_MAX:
            bad(_PARAM, f"Invalid schema in 'response_format': a `$ref` has more than {REFERENCE_STEPS_MAX} steps.")
        steps = [step.replace("~1", "/").replace("~0", "~") for step in found["$ref"][1:].split("/")[1:]]
        found = root
        for step in steps:
            found = found.get(step) if isinstance(found, dict) else None
    good |= seen
