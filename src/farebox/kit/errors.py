"""The error tree: each has a code, a status, a type, and a sentence to show or an id that has one (clients 5).

FareboxError
├── Refused                    the caller's doing; a call refused so costs nothing (R01)
│   ├── BadRequest             400  malformed, with the parameter
│   │   ├── UnsupportedParameter   400  an option that would change the price and has none
│   │   └── ContextTooLong         400
│   ├── BadKey                 401  no key, bad key, switched off, expired
│   ├── NotAllowed             403  address not on the list, account barred
│   ├── NoSuchModel            404
│   ├── NotFound               404  path or object
│   ├── MethodNotAllowed       405
│   ├── RequestTimeout         408
│   ├── Conflict               409  idempotency key used before
│   ├── TooLarge               413
│   ├── WrongMediaType         415
│   ├── InsufficientFunds      429  insufficient_quota, never retried
│   └── RateLimited            429  rate_limit_exceeded, Retry-After
├── Trouble                    ours or the upstream's; never a 401, never an insufficient_quota
│   ├── UpstreamFailed         502
│   ├── UpstreamTimeout        504
│   ├── Overloaded             503
│   ├── StoreUnavailable       503
│   └── InternalError          500
└── CommandError               a command can't be carried out: a refusal by its id, or a front's own sentence
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from .refusal import ID, Field, Refusal

_jitter = random.SystemRandom()


class FareboxError(Exception):
    """Something that a person or a program must be told, in words and in OpenAI's form."""

    status = 500
    type = "server_error"
    code: str | None = None
    retry: bool | None = None  # what `x-should-retry` says; None leaves it to the client

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status

    def body(self) -> dict[str, dict[str, str | None]]:
        """The answer in OpenAI's form: `{"error": {message, type, param, code}}`."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> list[tuple[str, str]]:
        """Headers that tell the client whether and when to ask again."""
        out = []
        if self.retry_after_s is not None:
            out.append(("Retry-After", str(self.retry_after_s)))
        if self.retry is not None:
            out.append(("x-should-retry", "true" if self.retry else "false"))
        return out


class Refused(FareboxError):
    """The caller's doing: nothing was held, nothing went upstream, nothing is charged (R01)."""

    status = 400
    type = "invalid_request_error"


class BadRequest(Refused):
    """400: a malformed request; `param` names the parameter."""


class UnsupportedParameter(BadRequest):
    """400: an option that would change the price and has none (promises 1.6)."""

    code = "unsupported_parameter"


class ContextTooLong(BadRequest):
    """400: longer than the model's context, by an exact count."""

    code = "context_length_exceeded"


class BadKey(Refused):
    """401: only after a definite look-up; the message holds OpenAI's phrase."""

    status = 401
    code = "invalid_api_key"


class NotAllowed(Refused):
    """403: the address or the account may not."""

    status = 403


class NoSuchModel(Refused):
    """404: unknown, or not allowed for this key: the same words for both."""

    status = 404
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        shown = model if len(model) <= 64 else model[:64] + "…"
        super().__init__(f"The model `{shown}` does not exist or you do not have access to it.", param="model")


class NotFound(Refused):
    """404: no such path or object; what is another's is absent too."""

    status = 404
    code = "unknown_url"


class MethodNotAllowed(Refused):
    """405, with Allow."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow

    def headers(self) -> list[tuple[str, str]]:
        """Allow names the methods that work."""
        return [("Allow", self.allow)]


class RequestTimeout(Refused):
    """408: the body came too slowly."""

    status = 408
    code = "request_timeout"


class Conflict(Refused):
    """409: the same `Idempotency-Key` was sent before; the message names the first call (rules: R26)."""

    status = 409
    code = "idempotency_conflict"

    def headers(self) -> list[tuple[str, str]]:
        """While the first call runs, wait for it; afterwards asking again is of no use."""
        if self.retry_after_s is not None:
            return [("Retry-After", str(self.retry_after_s)), ("x-should-retry", "true")]
        return [("x-should-retry", "false")]


class TooLarge(Refused):
    """413: over the limit that the message names."""

    status = 413
    code = "request_too_large"


class WrongMediaType(Refused):
    """415: not JSON."""

    status = 415
    code = "unsupported_media_type"


class InsufficientFunds(Refused):
    """429 `insufficient_quota`: the money is spent; waiting does not cure it (clients 1.5)."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    retry = False

    def __init__(self, why: str = "") -> None:
        super().__init__(
            "You exceeded your current quota, please check your plan and billing details." + (f" {why}" if why else "")
        )


class RateLimited(Refused):
    """429 `rate_limit_exceeded` with Retry-After: waiting cures it, unless `retry_after_s` is None."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: int | None = 1, more: Sequence[tuple[str, str]] = ()) -> None:
        """`more` are headers of the answer that say what is left of the limits."""
        super().__init__(message, retry_after_s=retry_after_s)
        self.more = more
        if retry_after_s is None:
            self.retry = False

    def headers(self) -> list[tuple[str, str]]:
        """Retry-After, and the same with jitter in milliseconds, so that not all come back at once."""
        out = [*super().headers(), *self.more]
        if self.retry_after_s is not None:
            out.append(("retry-after-ms", str(1000 * self.retry_after_s + _jitter.randint(-300, 300))))
        return out


class Trouble(FareboxError):
    """Ours or the upstream's: free for the customer."""


class UpstreamFailed(Trouble):
    """502 or 503: every attempt failed."""

    status = 502
    code = "upstream_error"


class UpstreamTimeout(Trouble):
    """504: the upstream was silent too long."""

    status = 504
    code = "upstream_timeout"


class Overloaded(Trouble):
    """503 with Retry-After 1 to 5 s: more calls than this process can take."""

    status = 503
    code = "overloaded"

    def __init__(self, message: str = "The server is busy. Please try again in a moment.") -> None:
        super().__init__(message, retry_after_s=_jitter.randint(1, 5))


class StoreUnavailable(Trouble):
    """503 with Retry-After: the database is away; nothing was charged."""

    status = 503
    code = "store_unavailable"

    def __init__(self, message: str = "The service can't reach its books right now. Please try again.") -> None:
        super().__init__(message, retry_after_s=_jitter.randint(1, 5))


class InternalError(Trouble):
    """500: a mistake of ours; the message holds the request id."""

    code = "internal_error"


class CommandError(FareboxError):
    """A command can't be carried out.

    A room below the fronts gives the id of a refusal and its fields, and the front makes the sentence of it:
    `CommandError("key.unknown", key=name)`. A front gives a sentence of its own. `param`, `code` and `status` are those
    of the answer, so no field has their names.
    """

    status = 400
    type = "invalid_request_error"
    code = "command_refused"
    refusal: Refusal | None = None

    def __init__(
        self,
        what: str | Refusal,
        /,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        **fields: Field,
    ) -> None:
        if isinstance(what, Refusal):
            self.refusal = what
        elif fields or ID.fullmatch(what):
            self.refusal = Refusal(what, fields)
        super().__init__(str(self.refusal or what), param=param, code=code, status=status)

    @property
    def reason(self) -> Refusal:
        """The refusal itself, to be said inside another one; a front's own sentence has none, which is a mistake."""
        if self.refusal is None:
            raise AssertionError(f"no refusal, but a sentence: {self.message}")
        return self.refusal

    def is_(self, *idents: str) -> bool:
        """Whether this is one of these refusals."""
        return self.refusal is not None and self.refusal.id in idents
