"""What an upstream's error means for us: whose doing it is, and what the customer may read of it.

The forms are those of OpenAI's API reference ("Error codes") and of what compatible servers were seen to
send: `{"error": {message, type, param, code}}`, `{"error": "text"}`, `{"object": "error", "message"}`,
`{"detail"}`, a list of one of them, or plain text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from farebox.kit.secrets import redact
from farebox.protocol import halves
from farebox.protocol.dialect import Fault, FaultKind

MESSAGE_CHARS_MAX: Final = 1000
RETRY_AFTER_S_MAX: Final = 60
_BODY_BYTES_MAX: Final = 65_536
_OWN_CODES: Final = 1000  # numbers below are HTTP's

_POLICY: Final = re.compile(
    r"content[ _-]?(?:management[ _-])?(?:policy|filter)|moderation|safety system|usage polic(?:y|ies)"
    r"|responsible_?ai|data_?inspection",
    re.IGNORECASE,
)
_CONTEXT: Final = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|context (?:length|window|size)"
    r"|reduce the length|(?:prompt|input) is too long|input tokens exceed|too many (?:input )?tokens",
    re.IGNORECASE,
)
# Vendors' own codes for "no money" and "not your key", in lower case, where a status says less: of the references of
# OpenAI (also Azure), DeepSeek, DashScope, BigModel (numbers), Moonshot, Groq, Volcengine Ark, Anthropic, Google (the
# reason of an ErrorInfo), and of gateways of the kind of New API, November 2026.
_MONEY_CODES: Final = frozenset(
    {"insufficient_quota", "insufficient_user_quota", "insufficient_balance", "billing_hard_limit_reached",
     "billing_not_active", "billing_error", "account_deactivated", "access_terminated", "organization_restricted",
     "arrearage", "accountoverdueerror", "exceeded_current_quota_error", "1110", "1111", "1112", "1113", "1121", "1309"}
)  # fmt: skip
_KEY_CODES: Final = frozenset(
    {"invalid_api_key", "api_key_invalid", "invalidapikey", "incorrect_api_key_error", "authentication_error",
     "invalid_authentication", "invalid_authentication_error"}
)  # fmt: skip
# Words are in every message that repeats what a customer wrote: they end his own call as ours, and prove nothing.
_REFUSING_WORDS: Final = re.compile(
    r"insufficient[ _](?:account )?balance|credit balance is too low|(?:incorrect|invalid) api[ -]?key"
    r"|api[ -]?key (?:is )?(?:not valid|invalid|expired|not found)",
    re.IGNORECASE,
)
_MAPPING_CODES: Final = frozenset({"model_not_found", "deploymentnotfound", "unknown_url", "model_not_exist"})

_MAPPING_STATUSES: Final = frozenset({404, 405, 406, 410, 415})


def of_response(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """The fault of an HTTP answer that is not a 200; `headers` by lower-case name. Never raises."""
    found = _inside(body, headers.get("content-type", ""))
    message, type_, code, param = _parts(found)
    kind, words = _kind(status, message, type_, code)
    fault = _fault(kind, message, status=status, code=code, param=param, words=words)
    return msgspec.structs.replace(fault, retry_after_s=_retry_after_s(headers)) if kind == "busy" else fault


def of_object(error: Any, *, status: int = 200) -> Fault:
    """The fault of an error object that came with a 200, whole or as an event of a stream. Never raises."""
    message, type_, code, param = _parts({"error": error})
    named = error.get("code") if isinstance(error, dict) else None
    if type(named) is not int and isinstance(error, dict):
        named = error.get("status")
    if type(named) is int and 400 <= named <= 599:
        status = named
    type_ = type_ or ""
    meant = status
    if status < 400 and type_.lower() in {"invalid_request_error", "badrequesterror", "bad_request_error"}:
        meant = 400
    elif status < 400 and (
        type_.lower() in {"rate_limit_error", "rate_limit_exceeded"} or code == "rate_limit_exceeded"
    ):
        meant = 429
    elif status < 400:
        meant = 200
    kind, words = _kind(meant, message, type_, code)
    return _fault(kind, message, status=status, code=code, param=param, words=words)


def _kind(status: int, message: str, type_: str | None, code: str | None) -> tuple[FaultKind, bool]:
    """The kind, and whether words alone say so of one that is `ours`."""
    names = {(type_ or "").lower(), (code or "").lower()}
    words = f"{code or ''} {type_ or ''} {message}"
    if status < 500 and status not in {401, 402, 404}:
        if names & (_MONEY_CODES | _KEY_CODES | _MAPPING_CODES):
            return "ours", False
        if status not in {403, 429} and _REFUSING_WORDS.search(message):
            return "ours", True
        if status not in {408, 409, 429} and _POLICY.search(words):
            return "policy", False
    if status in {200, 400, 413, 422} and _CONTEXT.search(words):
        return "context", False
    # One server says so with a 500; its type is unmistakable.
    if status >= 500 and names & {"exceed_context_size_error", "context_length_exceeded"}:
        return "context", False
    return _kind_by_status(status), False


def _kind_by_status(status: int) -> FaultKind:
    if status in {400, 413, 422}:
        return "request"
    # What we wrote wrongly (path, method, type of the body) is not the customer's doing either.
    if status in {401, 402, 403} or status in _MAPPING_STATUSES:
        return "ours"
    if status in {429, 503, 529}:
        return "busy"
    if status == 408:
        return "timeout"
    return "down"


def _inside(body: bytes, content_type: str) -> Any:
    piece = body[:_BODY_BYTES_MAX]
    try:
        found = halves.mended_tree(halves.loads(piece))
    except (ValueError, RecursionError):
        shown = piece.decode("utf-8", "replace").strip()
        return "" if "html" in content_type.lower() or shown.startswith("<") else shown
    return found[0] if isinstance(found, list) and found else found


def _parts(found: Any) -> tuple[str, str | None, str | None, str | None]:
    """Message, type, code and parameter of an error in any of the known forms."""
    if isinstance(found, str):
        return found, None, None, None
    if not isinstance(found, dict):
        return "", None, None, None
    error = found.get("error", found)
    if isinstance(error, str):
        code = found.get("code")
        return error, None, code if isinstance(code, str) else None, None
    if not isinstance(error, dict):
        return "", None, None, None
    message = error.get("message", error.get("detail", error.get("msg")))
    if isinstance(message, list):
        message = "; ".join(str(item.get("msg", "")) for item in message if isinstance(item, dict))
    code = _code(error)
    type_, param = error.get("type"), error.get("param")
    return (
        message if isinstance(message, str) else "",
        type_ if isinstance(type_, str) else None,
        code,
        param if isinstance(param, str) else None,
    )


def _code(error: dict[str, Any]) -> str | None:
    """The vendor's own code: `code`, a number above those of HTTP too, or Google's reason or status."""
    code = error.get("code")
    if type(code) is int and code >= _OWN_CODES:
        code = str(code)
    if isinstance(code, str):
        return code
    details = error.get("details")
    for each in details if isinstance(details, list) else ():
        if isinstance(each, dict) and isinstance(each.get("reason"), str):
            return str(each["reason"])
    return error["status"] if isinstance(error.get("status"), str) else None


def _fault(kind: FaultKind, message: str, *, status: int, code: str | None, param: str | None, words: bool) -> Fault:
    shown = redact(message[: 4 * MESSAGE_CHARS_MAX])[:MESSAGE_CHARS_MAX]
    if not shown.strip():
        shown = f"The upstream answered with HTTP status {status} and no message."
    unknown = status in _MAPPING_STATUSES or (code or "").lower() in _MAPPING_CODES
    return Fault(
        kind,
        shown,
        status,
        code=code and redact(code[:100]),
        param=param and redact(param[:200]),
        mapping=kind == "ours" and unknown and not words,
        words=words,
    )


def _retry_after_s(headers: Mapping[str, str]) -> int | None:
    """Seconds, 1 to 60, of `retry-after-ms` or `retry-after` (RFC 9110 10.2.3, no dates), or None."""
    for name, per_s in (("retry-after-ms", 1000), ("retry-after", 1)):
        given = headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", given):
            whole, _, rest = given.partition(".")
            seconds = -(-int(whole) // per_s) + (1 if per_s == 1 and rest.strip("0") else 0)
            return min(max(seconds, 1), RETRY_AFTER_S_MAX)
    return None
