"""What pages that call the API say of its refusals, by their codes: /v1 itself speaks English alone."""

from __future__ import annotations

from django.utils.translation import gettext as _


def said(key_over: str = "") -> dict[str, str]:
    """The sentences by error code; `key_over` is what is said of a key that is none any more."""
    broken = _("The upstream gave no whole answer. Please send it again, or choose another model.")
    trouble = _("The shop is busy, or has trouble of its own. Please try again in a moment.")
    return {
        "insufficient_quota": _("The balance, or a cap, does not pay for this call. Top up, or raise the cap."),
        "rate_limit_exceeded": _("Too many calls or tokens at one time. Please wait a moment, then send it again."),
        "invalid_api_key": key_over or _("The key of the playground has ended. Load the page again."),
        "account_deactivated": _("The account is not active, so nothing can be called."),
        "model_not_found": _("This model is not on sale to your account. Choose another one."),
        "context_length_exceeded": _("This is longer than the model can read. Start again, or choose another model."),
        "request_too_large": _("This is too large to send. Start again, or leave an image out."),
        "request_timeout": _("Your message took too long to arrive. Please send it again."),
        "upstream_error": broken,
        "upstream_timeout": broken,
        "overloaded": trouble,
        "store_unavailable": trouble,
        "internal_error": trouble,
    }
