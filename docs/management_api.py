"""Writes docs/management-api.md from the schema of the management API; `make docs` runs it, and a test compares."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("management-api.md")
_HEAD = """# The management API

What the office does, for scripts. This page is generated from the API's own schema: `make docs`. A running shop has the
same as OpenAPI at `GET /office/api/openapi.json`, and for people in the office under API.

- Base URL: `https://your-shop/office/api`.
- Token: `Authorization: Bearer fbo-…`. An operator creates it in the office; it has a role, an expiry date and no more
  rights than the operator. API keys and cookies do not work here.
- Bodies are JSON. Unknown fields are refused. Amounts (`…_micro`) are millionths of the currency's unit, times (`…_us`)
  are epoch microseconds in UTC.
- A token proposes, a person approves: 202 means that a proposal was made, which waits in the office.
- An error is `{"error": {"code", "message"}}`: 400 refused, 401 no valid token, 404 not there, or not for this role,
  422 a field does not fit, 429 too many requests, 503 the store is unreachable (both with `Retry-After`).

```sh
curl https://your-shop/office/api/customers -H "Authorization: Bearer $FAREBOX_TOKEN"
```
"""
_PREFIX = "/office/api"
_WORDS = {"boolean": "true or false", "null": "null", "object": "object", "number": "number"}
Schema = Mapping[str, Any]


def page(found: Schema) -> str:
    """The whole document of an OpenAPI description."""
    shapes = found["components"]["schemas"]
    by_tag: dict[str, list[str]] = {}
    for path, method, each in operations(found):
        by_tag.setdefault(each["tags"][0], []).append(operation(path, method, each, shapes))
    parts = [_HEAD]
    for tag, texts in by_tag.items():
        parts += [f"\n## {tag.capitalize()}\n", *texts]
    parts.append("\n## Answers\n\nThe fields of the answers above, and of the objects in them.\n")
    parts += [shape(name, shapes[name]) for name in sorted(answered(found))]
    return "".join(parts)


def operations(found: Schema) -> Iterator[tuple[str, str, Schema]]:
    """(path below the base URL, method, operation) of all of them."""
    for path, methods in found["paths"].items():
        for method, each in methods.items():
            yield path.removeprefix(_PREFIX), method.upper(), each


def operation(path: str, method: str, each: Schema, shapes: Schema) -> str:
    """One operation: what it does, for whom, what it takes and what it answers."""
    answers = ", ".join(f"{code} {link(refers(of))}" for code, of in each["responses"].items() if int(code) < 400)
    lines = [f"\n### `{method} {path}`\n", f"{plain(each['description'])}\n"]
    lines += [f"Roles: {', '.join(each['x-roles'])}. Answer: {answers}.", ""]
    taken = list(fields(each, shapes))
    if taken:
        lines += ["| field | value | |", "|---|---|---|"]
        lines += [f"| `{name}` | {value(of)} | {how} |" for name, of, how in taken]
        lines.append("")
    return "\n".join(lines)


def fields(each: Schema, shapes: Schema) -> Iterator[tuple[str, Schema, str]]:
    """(name, schema, where it stands and whether it must) of all that an operation takes."""
    for of in each.get("parameters", []):
        yield (
            of["name"],
            of["schema"],
            "in the path" if of["in"] == "path" else f"in the query, {default(of['schema'])}",
        )
    if "requestBody" in each:
        body = shapes[refers(each["requestBody"])]
        for name, of in body["properties"].items():
            yield name, of, "required" if name in body.get("required", []) else default(of)


def shape(name: str, of: Schema) -> str:
    """The fields of one object of an answer."""
    lines = [f"\n### Object {name}\n", f"{plain(of.get('description', ''))}\n", "| field | value |", "|---|---|"]
    lines += [f"| `{field}` | {value(each, linked=True)} |" for field, each in of["properties"].items()]
    return "\n".join([*lines, ""])


def refers(of: Schema) -> str:
    """The name of the object in a request or an answer."""
    return str(of["content"]["application/json"]["schema"]["$ref"]).rpartition("/")[2]


def answered(found: Schema) -> set[str]:
    """The names of all objects that answers are made of, but for refusals."""
    shapes = found["components"]["schemas"]
    responses = [each["responses"] for _, _, each in operations(found)]
    waiting = [refers(of) for by_code in responses for code, of in by_code.items() if int(code) < 400]
    names: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += named(shapes[name]["properties"])
    return names


def named(of: Any) -> list[str]:
    """The names of the objects that a schema refers to."""
    if isinstance(of, Mapping):
        own = [str(of["$ref"]).rpartition("/")[2]] if "$ref" in of else []
        return own + [name for each in of.values() for name in named(each)]
    return [name for each in of for name in named(each)] if isinstance(of, list) else []


def value(of: Schema, *, linked: bool = False) -> str:
    """What a field holds, in words."""
    if "$ref" in of:
        name = str(of["$ref"]).rpartition("/")[2]
        return link(name) if linked else name
    if "anyOf" in of:
        return " or ".join(value(each, linked=linked) for each in of["anyOf"])
    if "enum" in of:
        return "one of " + ", ".join(f"`{each}`" for each in of["enum"])
    if of.get("type") == "array":
        return f"list of {value(of['items'], linked=linked)}{bounds(of, 'minItems', 'maxItems')}"
    if of.get("type") == "string":
        return f"text{bounds(of, 'minLength', 'maxLength', ' characters')}"
    if of.get("type") == "integer":
        return f"integer{bounds(of, 'minimum', 'maximum')}"
    return _WORDS.get(of.get("type", ""), "any")


def bounds(of: Schema, low: str, high: str, unit: str = "") -> str:
    """The least and the most, as far as the schema has them."""
    if low in of and high in of:
        return f", {of[low]:,} to {of[high]:,}{unit}"
    if high in of:
        return f", at most {of[high]:,}{unit}"
    return f", at least {of[low]:,}{unit}" if low in of else ""


def default(of: Schema) -> str:
    """What an optional field is without a value."""
    if of.get("default") in (None, ""):
        return "optional"
    return f"optional, `{json.dumps(of['default'])}` by default"


def link(name: str) -> str:
    """A link to the fields of an object."""
    return f"[{name}](#object-{name.lower()})"


def plain(text: str) -> str:
    """A docstring as one paragraph."""
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write the page."""
    from farebox.care import ready

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farebox.site.settings")
    ready.django()
    from farebox.office.api.app import described

    PAGE.write_text(page(described()), encoding="utf-8")


if __name__ == "__main__":
    main()
