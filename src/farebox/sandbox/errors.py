"""The sandbox's refusals, in OpenAI's words and form (its API reference, "Error codes")."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_SENTENCES: Final[dict[int, tuple[str, str, str | None]]] = {
    400: ("The sandbox was told to refuse this request.", "invalid_request_error", None),
    401: ("Incorrect API key provided: sandbox. You can find your API key at the upstream's site.",
          "invalid_request_error", "invalid_api_key"),
    402: ("Insufficient balance.", "billing_error", "insufficient_balance"),
    403: ("You are not allowed to do this with this key.", "permission_error", "forbidden"),
    404: ("The model does not exist or is not yours to use.", "invalid_request_error", "model_not_found"),
    408: ("The request timed out.", "server_error", "timeout"),
    409: ("The request is in conflict with another one.", "invalid_request_error", "conflict"),
    413: ("The request is too large.", "invalid_request_error", "request_too_large"),
    422: ("The request could not be processed as it is.", "invalid_request_error", "unprocessable"),
    429: ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    503: ("The engine is currently overloaded, please try again later.", "server_error", "overloaded"),
}  # fmt: skip
_SERVER_ERROR: Final = (
    "The server had an error while processing your request. Sorry about that!",
    "server_error",
    None,
)


class Refusal(Exception):
    """The request is answered with this status and an error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.body = body(message, kind=kind, code=code, param=param)


def body(message: str, *, kind: str, code: str | None, param: str | None = None) -> bytes:
    """An error object on one line."""
    error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}
    return msgspec.json.encode({"error": error})


def by_status(status: int, *, retry_after: str | None = None) -> Refusal:
    """The usual refusal of this status."""
    message, kind, code = _SENTENCES.get(status, _SERVER_ERROR)
    return Refusal(status, message, kind=kind, code=code, retry_after=retry_after)


def no_quota(*, retry_after: str | None = None) -> Refusal:
    """OpenAI's refusal of an account without money."""
    said = (
        "You exceeded your current quota, please check your plan and billing details. "
        "For more information on this error, read the docs: "
        "https://platform.openai.com/docs/guides/error-codes/api-errors."
    )
    return Refusal(429, said, kind="insufficient_quota", code="insufficient_quota", retry_after=retry_after)


def too_long(*, tokens: int) -> Refusal:
    """OpenAI's refusal of a request that does not fit the context."""
    said = (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in "
        f"{max(tokens, 8193)} tokens. Please reduce the length of the messages."
    )
    return Refusal(400, said, code="context_length_exceeded", param="messages")


def wrong_key() -> Refusal:
    """OpenAI's refusal of a key it does not know."""
    return by_status(401)


def server_event() -> bytes:
    """The error object of a server that fails in the middle of an answer."""
    message, kind, code = _SERVER_ERROR
    return body(message, kind=kind, code=code)


def policy_event() -> bytes:
    """The error object of a content policy that stops an answer in its middle."""
    said = "The response was filtered due to the prompt triggering the content management policy."
    return body(said, kind="invalid_request_error", code="content_filter", param="prompt")
