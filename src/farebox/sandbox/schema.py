"""The smallest JSON value that a JSON schema admits: for answers in a schema and arguments of tool calls."""

from __future__ import annotations

import math
from typing import Any, Final

_DEPTH_MAX: Final = 24
_ITEMS_MAX: Final = 100
_LENGTH_MAX: Final = 10_000
_FORMATS: Final = {
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "date-time": "2026-01-01T00:00:00Z",
    "duration": "PT1S",
    "email": "sandbox@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}


def smallest(schema: Any, *, root: Any = None, depth: int = 0) -> Any:
    """A small value valid for `schema`: required properties only, first of each choice.

    References are looked up in `root` (the schema itself by default). `pattern` is not obeyed.
    Where a schema nests without end, the value stops at a fixed depth with null.
    """
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > _DEPTH_MAX:
        return None if depth > _DEPTH_MAX else {}
    if "$ref" in schema:
        return smallest(_referred(root, str(schema["$ref"])), root=root, depth=depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("allOf"):
        return smallest(_merged(schema, root), root=root, depth=depth + 1)
    for choice in ("anyOf", "oneOf"):
        options = schema.get(choice)
        if options:
            return smallest(_chosen(options, depth), root=root, depth=depth + 1)
    return _of_type(schema, root, depth)


def _of_type(schema: dict[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind is None:
        kind = "array" if "items" in schema else "object"
    if kind == "object":
        properties = schema.get("properties", {})
        return {
            name: smallest(properties.get(name, {"type": "string"}), root=root, depth=depth + 1)
            for name in schema.get("required", ())
        }
    if kind == "array":
        firsts = list(schema.get("prefixItems", ()))
        least = min(_ITEMS_MAX, int(schema.get("minItems", 0)))
        rest = [schema.get("items", {})] * max(0, least - len(firsts))
        return [smallest(item, root=root, depth=depth + 1) for item in firsts + rest]
    if kind == "string":
        text = _FORMATS.get(str(schema.get("format")), "sandbox")
        text = text.ljust(min(_LENGTH_MAX, int(schema.get("minLength", 0))), ".")
        return text[: int(schema.get("maxLength", len(text)))]
    if kind in ("integer", "number"):
        return _number(schema)
    return False if kind == "boolean" else None


def _number(schema: dict[str, Any]) -> int | float:
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = 0 if high is None or high > 0 else high - 1
    value = math.ceil(low / step) * step
    if value == schema.get("exclusiveMinimum"):
        value += step
    if high is not None and value > high:  # no whole number between the bounds
        return float(low + high) / 2
    return value  # type: ignore[no-any-return]


def _chosen(options: list[Any], depth: int) -> Any:
    """The first option; deep down null where that is one, so that a recursive schema ends."""
    if depth > _DEPTH_MAX // 2:
        for option in options:
            if isinstance(option, dict) and option.get("type") == "null":
                return option
    return options[0]


def _merged(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
    for each in schema["allOf"]:
        part = _referred(root, str(each["$ref"])) if isinstance(each, dict) and "$ref" in each else each
        if not isinstance(part, dict):
            continue
        for name, value in part.items():
            if name == "properties":
                merged[name] = {**merged.get(name, {}), **value}
            elif name == "required":
                merged[name] = [*merged.get(name, ()), *value]
            else:
                merged.setdefault(name, value)
    return merged


def _referred(root: Any, reference: str) -> Any:
    found = root
    for step in reference.lstrip("#").strip("/").split("/"):
        if step and isinstance(found, dict):
            found = found.get(step.replace("~1", "/").replace("~0", "~"))
    return found
