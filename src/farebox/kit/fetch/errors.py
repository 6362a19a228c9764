"""How an outgoing exchange can fail.

FetchError
├── ConnectFailed         nothing of this request reached the upstream on a fresh connection
│   ├── AddressRefused    the address is not one that we talk to
│   └── TargetBusy        the target has as many exchanges as it may
├── FirstByteTimeout      sent, and no complete response head in time
├── BrokenResponse        sent, and the head is missing, invalid, too large or encoded
├── BodyCut               the body ended before its end
├── IdleTimeout           the body fell silent
├── BodyTooLarge          the body is larger than the caller allows
└── Interrupted           the caller's own doing, no fault of the upstream
"""

from __future__ import annotations

from farebox.kit.refusal import Refusal


class FetchError(Exception):
    """An exchange failed; `reason` is a short sentence without secrets, fit for an attempt record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ConnectFailed(FetchError):
    """No connection: name, address, TCP or TLS."""


class AddressRefused(ConnectFailed):
    """The URL or an address behind its name is one that we never connect to; `refusal` is that for who wrote it."""

    def __init__(self, ident: str, *, reason: str) -> None:
        super().__init__(reason)
        self.refusal = Refusal(ident)


class TargetBusy(ConnectFailed):
    """The target already has the greatest number of exchanges allowed to it."""


class FirstByteTimeout(FetchError):
    """The request was sent and the response head did not arrive in time."""


class BrokenResponse(FetchError):
    """The request was sent and no usable response head came back."""


class BodyCut(FetchError):
    """The body was reset, shorter than announced, or malformed: what was read is not the whole."""


class IdleTimeout(FetchError):
    """A reader waited longer for the next piece of the body than allowed."""


class BodyTooLarge(FetchError):
    """The body is larger than the reader allows."""


class Interrupted(FetchError):
    """`interrupt`, `abort` or `release` was called on this exchange."""
