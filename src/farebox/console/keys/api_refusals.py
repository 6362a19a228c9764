"""What pages that call the API say of its refusals, by their codes: /v1 itself speaks only English."""

from __future__ import annotations

from django.utils.translation import gettext as _


def said(key_over: str = "") -> dict[str, str]:
    """The sentences by error code; `key_over` is what is said of a key that is no longer valid."""
    broken = _("The upstream gave no complete answer. Please retry, or choose another model.")
    trouble = _("The server is busy or has a problem. Please try again in a moment.")
    return {
        "insufficient_quota": _("The balance or a cap does not cover this call. Add credit, or raise the cap."),
        "rate_limit_exceeded": _("Rate limit reached. Please wait a moment, then retry."),
        "invalid_api_key": key_over or _("The playground key has expired. Reload the page."),
        "account_deactivated": _("The account is not active and can't make calls."),
        "model_not_found": _("This model is not available to your account. Choose another one."),
        "context_length_exceeded": _(
            "The conversation exceeds the model's context. Start a new chat, or choose another model."
        ),
        "request_too_large": _("The request is too large. Start a new chat, or remove an image."),
        "request_timeout": _("Your message took too long to arrive. Please send it again."),
        "upstream_error": broken,
        "upstream_timeout": broken,
        "overloaded": trouble,
        "store_unavailable": trouble,
        "internal_error": trouble,
    }
