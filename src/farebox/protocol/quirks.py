"""How one channel differs from OpenAI's own API: fields of the channel, so that a new vendor needs no code.

A channel stores its quirks as a JSON object with the names of `QUIRKS`; what is not named has its default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import unquote, unquote_plus

import msgspec

from farebox.catalog import kinds
from farebox.kit import places, secrets
from farebox.kit.errors import CommandError

EVENT_BYTES_MIN: Final = 1024
QUIRKS: Final[dict[str, str]] = {
    "auth_header": "Header that carries the secret; default Authorization.",
    "auth_scheme": "Word before the secret in that header; empty for the bare secret; default Bearer.",
    "no_auth": "true: send no secret at all.",
    "extra_headers": "Further headers for each request, as an object of name to value; no secrets, see auth_header.",
    "paths": f"Path for each kind ({', '.join(kinds.NAMES)}) after the base URL; may hold {{model}}; "
    "an empty one means that the channel does not answer this kind.",
    "query": "Query string for each request, without the question mark, such as api-version=2024-10-21; no secrets.",
    "model_in_body": "false: leave the model out of the body, for upstreams that have it in the path.",
    "drop": "Names of parameters that are not sent, because the upstream refuses them; messages.NAME is a field of "
    "messages and of their parts.",
    "rename": "Parameters that the upstream calls by another name, as an object of OpenAI's name to theirs; "
    "messages.NAME is a field of messages. max_completion_tokens may be renamed to max_tokens, and the reverse.",
    "pass": "Names of parameters, and of fields of messages, unknown to Farebox that are sent on as the customer gave "
    "them.",
    "limit_name": "Name of an output limit that Farebox adds to a chat call: max_tokens (default) or "
    "max_completion_tokens. A limit of the customer's keeps its name.",
    "stream_options": "false: the upstream does not know stream_options, so it is not asked for usage.",
    "developer_role": "false: messages of the role developer are sent as the role system.",
    "token_arrays": "false: prompts and inputs given as token numbers are turned back into text first.",
    "base64_embeddings": "false: the upstream does not understand encoding_format, so it is not sent.",
    "cached_in_prompt": "true: the upstream counts cached tokens inside prompt_tokens; false: beside them. "
    "Not set: the totals of each report decide.",
    "hidden_thinking": "true: what total_tokens has beyond prompt and completion is thinking, and is charged as such.",
    "event_bytes_max": "Longest event of a stream, in bytes, where it is not that of the option of this name; "
    "images inside an answer need room.",
    "clean_end_without_done": "true: streams end without [DONE] here, as a matter of course.",
}

# What money depends on, or what makes the call a call, can't be dropped, renamed or passed through.
_OURS: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "messages",
        "prompt",
        "input",
    }
)
# A quirk's name for a field of messages and of their parts.
INSIDE: Final = "messages."
# Fields without which a message is none, or that say what it costs.
_OURS_INSIDE: Final = frozenset({"role", "content", "type", "text", "image_url", "tool_calls", "tool_call_id"})
_LIMITS: Final = frozenset({"max_tokens", "max_completion_tokens"})
# Options that change the price and have none (promises 1.6) can't be passed through either.
_UNPRICED: Final = frozenset(
    {"service_tier", "store", "modalities", "audio", "prediction", "web_search_options", "background"}
)
# Headers that the client sets itself; a second one would make the request ambiguous.
_HEADERS_OF_THE_CLIENT: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "accept-encoding",
        "content-type",
        "upgrade",
        "te",
    }
)
# Names under which a secret is sent: as a quirk it would lie open in the store, in the trail and in `channel list`.
_SECRET_WORDS: Final = frozenset(
    {"key", "keys", "apikey", "auth", "authorization", "token", "secret", "sig", "signature", "cookie", "password"}
    | {"passwd", "pwd", "credential", "credentials", "code", "jwt", "bearer", "session"}
)
_SECRET_PARTS: Final = ("apikey", "authorization", "accesstoken", "authtoken", "secret", "cookie", "password")
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[\t !-~]{0,4000}")
_PATH: Final = re.compile(r"(?:/[!-~]*)?")
_QUERY: Final = re.compile(r"[!-\"$-~]*")
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Quirks(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is special about a channel; `QUIRKS` has a sentence for each field (`pass_` is `pass` there)."""

    auth_header: str = "Authorization"
    auth_scheme: str = "Bearer"
    no_auth: bool = False
    extra_headers: dict[str, str] = {}
    paths: dict[str, str] = {}
    query: str = ""
    model_in_body: bool = True
    drop: list[str] = []
    rename: dict[str, str] = {}
    pass_: list[str] = msgspec.field(name="pass", default_factory=list)
    limit_name: str = "max_tokens"
    stream_options: bool = True
    developer_role: bool = True
    token_arrays: bool = True
    base64_embeddings: bool = True
    cached_in_prompt: bool | None = None
    hidden_thinking: bool = False
    event_bytes_max: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 0
    clean_end_without_done: bool = False


def parsed(given: Mapping[str, Any] | str) -> Quirks:
    """The quirks of a JSON object or its text; CommandError for an unknown name or an impossible value."""
    if isinstance(given, str):
        places.once(given, "quirks")
    try:
        plain = msgspec.json.decode(given) if isinstance(given, str) else dict(given)
        if not isinstance(plain, dict):
            raise CommandError("quirk.object")
        for name in plain:
            if name not in QUIRKS:
                raise CommandError("quirk.unknown", quirk=str(name)[:64], known=tuple(QUIRKS))
        quirks = msgspec.convert(plain, Quirks)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        raise CommandError("quirk.unreadable", why=str(fault)) from None
    _check_headers(quirks)
    _check_paths(quirks)
    _check_secrets(quirks)
    _check_parameters(quirks)
    return quirks


def text(quirks: Quirks) -> str:
    """The JSON text that the channel's row keeps: only what differs from the defaults."""
    return msgspec.json.encode(quirks).decode()


def head_lines(quirks: Quirks, secret: str) -> bytes:
    """Header lines of each request of a channel, with CRLF each; CommandError for an impossible secret."""
    headers = {"User-Agent": "farebox"}
    if any(name.lower() == "user-agent" for name in quirks.extra_headers):
        headers.clear()
    headers |= quirks.extra_headers
    if secret and not quirks.no_auth:
        headers[quirks.auth_header] = f"{quirks.auth_scheme} {secret}" if quirks.auth_scheme else secret
    for value in headers.values():
        if not _HEADER_VALUE.fullmatch(value):
            raise CommandError("channel.secret_characters")
    return b"".join(f"{name}: {value}\r\n".encode("ascii") for name, value in headers.items())


def _check_headers(quirks: Quirks) -> None:
    for name, value in (*quirks.extra_headers.items(), (quirks.auth_header, quirks.auth_scheme)):
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _HEADERS_OF_THE_CLIENT:
            raise CommandError("quirk.header", header=name[:100])
        if not _HEADER_VALUE.fullmatch(value):
            raise CommandError("quirk.header_value", header=name)
    if any(name.lower() == quirks.auth_header.lower() for name in quirks.extra_headers):
        raise CommandError("quirk.secret_header")


def _check_paths(quirks: Quirks) -> None:
    for kind, path in quirks.paths.items():
        if kind not in kinds.NAMES:
            raise CommandError("quirk.paths", known=tuple(kinds.NAMES), kind=kind)
        bare = path.replace("{model}", "m")
        if not _PATH.fullmatch(bare) or any(sign in bare for sign in "{}?#"):
            raise CommandError("quirk.path", kind=kind)
    if not _QUERY.fullmatch(quirks.query) or quirks.query.startswith("?"):
        raise CommandError("quirk.query")


def _check_secrets(quirks: Quirks) -> None:
    pairs = [part.partition("=") for part in quirks.query.split("&")]
    for what, values in (
        ("extra_headers", quirks.extra_headers.items()),
        ("query", [(unquote(name), unquote_plus(value)) for name, _, value in pairs]),
        ("paths", quirks.paths.items()),
    ):
        for name, value in values:
            if (what != "paths" and _is_secret(name)) or secrets.redact(value) != value:
                raise CommandError("quirk.secret", quirk=what, name=name[:60])


def _is_secret(name: str) -> bool:
    """Whether a header or a parameter of this name carries a secret, as far as a name can tell."""
    plain = "".join(sign for sign in name.lower() if sign.isalnum())
    words = {word.lower() for word in _WORD.findall(name)} | {name.lower()}
    return bool(words & _SECRET_WORDS) or any(part in plain for part in _SECRET_PARTS)


def _check_parameters(quirks: Quirks) -> None:
    limits = {name: to for name, to in quirks.rename.items() if name in _LIMITS and to in _LIMITS}
    renamed = [word for name, to in quirks.rename.items() if name not in limits for word in (name, to)]
    for name in (*quirks.drop, *renamed, *quirks.pass_):
        if name.startswith(INSIDE):
            _check_inside(name, dropped=name in quirks.drop)
            continue
        if name in _OURS:
            raise CommandError("quirk.parameter_ours", parameter=name)
        if name in _UNPRICED and name not in quirks.drop:
            raise CommandError("quirk.parameter_unpriced", parameter=name)
        if not _PARAMETER.fullmatch(name):
            raise CommandError("quirk.parameter_name", parameter=name[:64])
    if 0 < quirks.event_bytes_max < EVENT_BYTES_MIN:
        raise CommandError("quirk.event_bytes", least=EVENT_BYTES_MIN)
    if quirks.limit_name not in _LIMITS:
        raise CommandError("quirk.limit_name")


def _check_inside(name: str, *, dropped: bool) -> None:
    field = name.removeprefix(INSIDE)
    if field in _OURS_INSIDE:
        raise CommandError("quirk.field_ours", field=field)
    if field in _UNPRICED and not dropped:
        raise CommandError("quirk.field_unpriced", field=field)
    if not _PARAMETER.fullmatch(field):
        raise CommandError("quirk.field_name", field=field[:64])
