"""From a request to what is answered: the routes, the key, and the misbehaviours of a whole answer."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from . import answers, embeddings, errors, frames, reading
from .behaviours import Behaviours, UnknownBehaviour, asked
from .errors import Refusal
from .journal import Record

# What `GET /v1/models` lists; any other name is answered too.
MODELS: Final = (
    "gpt-3.5-turbo-0125", "gpt-3.5-turbo-instruct", "gpt-4", "gpt-4-32k", "gpt-4-0125-preview",
    "gpt-4-1106-preview", "gpt-4-1106-vision-preview", "gpt-4o-mini", "text-embedding-3-small", "echo",
)  # fmt: skip
_OWNER: Final = "farebox-sandbox"
_BORN: Final = 1_760_000_000
_JSON: Final = "application/json"
_POSTS: Final = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/moderations"})
_HTML: Final = b"<!doctype html><title>Sandbox</title><h1>Service page of the sandbox</h1>\n"

_count = itertools.count(1)


class Request(msgspec.Struct):
    """A request as it came; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    raw: bytes
    keep_alive: bool
    http11: bool

    @property
    def path(self) -> str:
        """The path without its query, unquoted."""
        return unquote(self.target.partition("?")[0])


class Reply(msgspec.Struct):
    """What to send: a body, or the events of a stream; with the head that its broken events repeat."""

    status: int
    body: bytes = b""
    content_type: str = _JSON
    headers: tuple[tuple[str, str], ...] = ()
    events: Iterator[bytes] | None = None
    head: frames.Head | None = None


def refused(refusal: Refusal) -> Reply:
    """The reply that a refusal stands for."""
    extra = (("retry-after", refusal.retry_after),) if refusal.retry_after is not None else ()
    return Reply(refusal.status, refusal.body, headers=extra)


def check_key(request: Request, key: str | None) -> None:
    """Raise Refusal unless the request shows the key; no key is asked for where there is none."""
    if key is None:
        return
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    shown = (bearer, request.headers.get("api-key"), request.headers.get("x-api-key"))
    if key not in shown:
        raise errors.wrong_key()


def read(request: Request, record: Record) -> tuple[dict[str, Any], Behaviours]:
    """The parsed body (empty for a GET) and the behaviours asked for, both noted in the record.

    Raises Refusal where the body is not a JSON object or a behaviour is unknown.
    """
    body: Any = {}
    record.take(request.headers, None, 0)
    if request.method == "POST":
        try:
            body = msgspec.json.decode(request.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        record.take(request.headers, body, len(request.raw))
        if not isinstance(body, dict):
            raise Refusal(400, "We could not parse the JSON body of your request.")
    model = body.get("model", "")
    if request.path.startswith("/v1/models/"):
        model = request.path.removeprefix("/v1/models/")
    record.model = str(model)
    record.stream = body.get("stream") is True
    text = reading.control_text(body, request.path)
    try:
        found = asked(header=request.headers.get("x-sandbox", ""), model=record.model, text=text)
    except UnknownBehaviour as error:
        raise Refusal(400, str(error), code="unknown_behaviour", param="model") from error
    record.behaviours = dict(found)
    return body, found


def respond(
    request: Request, body: dict[str, Any], behaviours: Behaviours, record: Record, failed: Counter[str]
) -> Reply:
    """The reply to a request; `failed` counts what `fail-first` made fail. Raises Refusal."""
    instead = _instead(body, behaviours, record, failed) if behaviours else None
    if instead is not None:
        return instead
    path = request.path
    if path in _POSTS:
        if request.method != "POST":
            raise Refusal(405, f"Not allowed to {request.method} on {path}.", code="method_not_allowed")
        if not record.model or not isinstance(body.get("model"), str):
            raise Refusal(400, "you must provide a model parameter", param="model")
        if path == "/v1/moderations":
            return _moderations(body, behaviours, record)
        return (
            _embeddings(body, behaviours, record) if path == "/v1/embeddings" else _text(path, body, behaviours, record)
        )
    if request.method == "GET" and path == "/v1/models":
        return Reply(200, msgspec.json.encode({"object": "list", "data": [_model(name) for name in MODELS]}))
    if request.method == "GET" and path.startswith("/v1/models/"):
        return Reply(200, msgspec.json.encode(_model(record.model)))
    if request.method == "GET" and path == "/":
        said = b"This is a Farebox sandbox: it echoes and sells nothing. Its API is at /v1.\n"
        return Reply(200, said, "text/plain; charset=utf-8")
    raise Refusal(404, f"Invalid URL ({request.method} {path})", code="unknown_url")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _BORN, "owned_by": _OWNER}


def _instead(body: dict[str, Any], behaviours: Behaviours, record: Record, failed: Counter[str]) -> Reply | None:
    """What some behaviours answer in place of everything else. Raises Refusal for errors."""
    after = behaviours.get("retry-after")
    first = behaviours.number("fail-first")
    if first is not None:
        asked_for = f"{record.model}\n{behaviours.spelled()}"
        failed[asked_for] += 1
        if failed[asked_for] <= first:
            raise errors.by_status(behaviours.number("status") or 500, retry_after=after)
    if "quota" in behaviours:
        raise errors.no_quota(retry_after=after)
    if "context" in behaviours:
        raise errors.too_long(tokens=len(msgspec.json.encode(body)))
    status = behaviours.number("status")
    if status is not None and first is None:
        raise errors.by_status(status, retry_after=after)
    if "redirect" in behaviours:
        return Reply(307, headers=(("location", "/v1/elsewhere"),))
    if "html" in behaviours:
        return Reply(200, _HTML, "text/html; charset=utf-8")
    if "empty-body" in behaviours:
        return Reply(200)
    if "error-200" in behaviours:
        return Reply(200, errors.server_event())
    return None


def _text(path: str, body: dict[str, Any], behaviours: Behaviours, record: Record) -> Reply:
    chat = path == "/v1/chat/completions"
    answer = answers.chat(body, behaviours) if chat else answers.completion(body, behaviours)
    head = frames.Head(
        id=f"{'chatcmpl' if chat else 'cmpl'}-sandbox{next(_count):08d}",
        created=int(time.time()),
        model=record.model,
        chat=chat,
    )
    record.usage = frames.of_answer(answer, behaviours)
    if not record.stream:
        return Reply(200, _faulty(head, behaviours) or frames.whole(head, answer, behaviours), head=head)
    options = body.get("stream_options")
    include = isinstance(options, dict) and options.get("include_usage") is True
    events = frames.events(head, answer, behaviours, asked=include)
    return Reply(200, content_type="text/event-stream", events=events, head=head)


def _embeddings(body: dict[str, Any], behaviours: Behaviours, record: Record) -> Reply:
    data, tokens = embeddings.answer(body)
    record.usage = frames.usage(behaviours, given=tokens, written=None)
    head = frames.Head(id="", created=0, model=record.model, chat=True)
    broken = _faulty(head, behaviours)
    if broken is not None:
        return Reply(200, broken, head=head)
    fields = {"object": "list", "data": data, "model": frames.named(record.model, behaviours)}
    return Reply(200, msgspec.json.encode(frames.attach(fields, record.usage, behaviours)), head=head)


def _moderations(body: dict[str, Any], behaviours: Behaviours, record: Record) -> Reply:
    """A result for each text, harmful where it says so; usage only where it is asked for, as OpenAI reports none."""
    given = body.get("input")
    texts = given if isinstance(given, list) and all(isinstance(each, str) for each in given) else [given]
    flags = ["harmful" in str(text) for text in texts]
    head = frames.Head(id="", created=0, model=record.model, chat=True)
    broken = _faulty(head, behaviours)
    if broken is not None:
        return Reply(200, broken, head=head)
    results = [
        {"flagged": flag, "categories": {"violence": flag}, "category_scores": {"violence": 0.99 if flag else 0.01}}
        for flag in flags
    ]
    fields = {
        "id": f"modr-sandbox{next(_count):08d}",
        "model": frames.named(record.model, behaviours),
        "results": results,
    }
    if "usage" in behaviours:
        record.usage = frames.usage(behaviours, given=0, written=None)
        fields = frames.attach(fields, record.usage, behaviours)
    return Reply(200, msgspec.json.encode(fields), head=head)


def _faulty(head: frames.Head, behaviours: Behaviours) -> bytes | None:
    """The body in place of an answer that is not streamed, where a fault of one event was asked for."""
    for name in frames.EVENT_FAULTS:
        if name in behaviours:
            return frames.fault(name, head, behaviours)
    return None
