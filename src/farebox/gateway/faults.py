"""The errors that a customer gets for the faults of upstreams."""

from __future__ import annotations

from farebox.kit import errors
from farebox.kit.errors import FareboxError
from farebox.protocol.dialect import Fault


def refusal(fault: Fault) -> FareboxError:
    """The error for a request that the upstream refuses as such: its message is passed on (R12)."""
    message = fault.message or "The upstream refused this request."
    if fault.kind == "context":
        return errors.ContextTooLong(message, param=fault.param)
    if fault.status == 413:
        return errors.TooLarge(message, param=fault.param)
    return errors.BadRequest(message, param=fault.param, code=fault.code)


def failure(fault: Fault, *, after_output: bool, charged: bool) -> FareboxError:
    """The error for an upstream that failed: whose key or money it was is no news to the customer.

    It is free, but for what reached a customer whose allowance is used up, or who did not read (`charged`).
    """
    paid = "What reached you was charged; the receipt says why." if charged else "Nothing was charged."
    if fault.kind == "timeout":
        return errors.UpstreamTimeout(f"The upstream was silent for too long. {paid}")
    if after_output or charged:
        return errors.UpstreamFailed(f"The upstream broke off in the middle of its answer. {paid}")
    if fault.kind == "busy":
        return errors.UpstreamFailed(
            "The upstream has no capacity right now. Nothing was charged; please try again.",
            status=503,
            retry_after_s=min(60, fault.retry_after_s or 1),
        )
    return errors.UpstreamFailed("The upstream could not answer this call. Nothing was charged; please try again.")
