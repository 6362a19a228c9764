"""The examples of docs/api.md are what a running shop answers: same fields, same kinds of values."""

from __future__ import annotations

import ast
import json
import re
import runpy
import time
from pathlib import Path
from typing import Any

from farebox.kit import webhook

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r"^### ([^\n]+)\n\n```sh\ncurl \"?\$FAREBOX([^\s\"]+)\"?(.*?)```\n\n```(json|text)\n(.*?)```$",
    PAGE.partition("\n## Examples\n")[2],
    re.MULTILINE | re.DOTALL,
)
# What is another one from shop to shop, or from call to call.
OPEN = ("diagnostics",)


def shape(value: Any) -> Any:
    """The fields of an answer, and the kinds of their values: what a program relies on."""
    if isinstance(value, dict):
        return {name: "open" if name in OPEN else shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if type(value) in {int, float} else type(value).__name__


def chunks(text: str) -> list[Any]:
    """The shapes of a stream's chunks, each once, in their order."""
    found: list[Any] = []
    for line in filter(None, text.split("\n")):
        payload = line.removeprefix("data: ")
        each = payload if payload == "[DONE]" else shape(json.loads(payload))
        if each not in found:
            found.append(each)
    return found


def test_every_example_is_what_a_shop_answers(shop):
    shop.model("omni-moderation-latest", {"input": "0.1"}, kinds=["moderations"], output_tokens_max=0)
    me = shop.account("10")
    me.request("POST", "/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hello"})
    of = me.request("POST", "/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hello"}).call
    me.receipt(of)
    for title, path, rest, kind, wanted in EXAMPLES:
        body = re.search(r"-d '\n(.*)'", rest, re.DOTALL)
        path = re.sub(r"call_[0-9A-Za-z]{25}", of, path)
        got = me.request("POST" if body else "GET", path, json.loads(body[1]) if body else None)
        if kind == "text":
            assert chunks(got.body.decode()) == chunks(wanted), title
            continue
        want, have = json.loads(wanted), got.json
        if path.startswith("/v1/calls?"):
            assert have["data"][0].keys() == want["data"][0].keys(), title
            continue
        assert shape(have) == shape(want), title
        assert (got.status < 400) == ("error" not in want), title


def test_every_endpoint_has_its_example():
    listed = re.findall(r"^\| `((?:GET|POST) [^`]+)` \|", PAGE, re.MULTILINE)
    assert len(listed) > 10
    titles = {title.partition("`, ")[0].strip("`") for title, *_ in EXAMPLES}
    assert titles == {*listed, "An error"}


def test_the_webhook_of_the_page_is_signed_as_it_says():
    head, body = re.search(r"^POST /farebox HTTP/1.1\n(.*?)\n\n(.*?)\n```", PAGE, re.MULTILINE | re.DOTALL).groups()
    secret = re.search(r"`(whsec_[^`]+)`", PAGE)[1]
    headers = dict(line.split(": ", 1) for line in head.split("\n"))
    at_s = int(headers["Farebox-Signature"].partition(",")[0].removeprefix("t="))
    told = json.loads(body)
    assert webhook.body(told, ident=headers["Farebox-Message"], at_s=told["at"]) == body.encode()
    assert webhook.signature(secret, body.encode(), at_s=at_s) == headers["Farebox-Signature"]


def test_the_receiver_of_the_page_knows_ours_from_others(tmp_path):
    program = re.search(r"```python\n(.*?)```", PAGE.partition("\n## Webhooks\n")[2], re.DOTALL)[1]
    (tmp_path / "receiver.py").write_text(program)
    is_genuine = runpy.run_path(str(tmp_path / "receiver.py"))["is_genuine"]
    now_s = int(time.time())
    signed = webhook.signature("whsec_x", b"{}", at_s=now_s)
    assert is_genuine("whsec_x", signed, b"{}")
    assert not is_genuine("whsec_x", signed, b"{ }")
    assert not is_genuine("whsec_y", signed, b"{}")
    assert not is_genuine("whsec_x", webhook.signature("whsec_x", b"{}", at_s=now_s - 400), b"{}")


def told() -> dict[str, set[str]]:
    """The events that members are told, each with the fields of its `data`, as the source has them."""
    found: dict[str, set[str]] = {}
    tree = ast.parse((ROOT / "src" / "farebox" / "jobs" / "notices.py").read_text(encoding="utf-8"))
    for function in (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)):
        named = {
            node.targets[0].id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
                event, _, data = node.value.elts
                data = named[data.id] if isinstance(data, ast.Name) else data
                name = event.value if isinstance(event, ast.Constant) else "key.*"
                found[name] = {key.value for key in data.keys}
    return found


def test_every_event_of_a_webhook_is_listed_with_its_fields():
    rows = re.findall(r"^\| `([a-z.*]+)` \| [^|]+ \| (`[^|]+`) \|$", PAGE, re.MULTILINE)
    assert {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows} == told()
