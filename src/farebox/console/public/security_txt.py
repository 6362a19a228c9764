"""`/.well-known/security.txt` (RFC 9116): where somebody who finds a fault of security reports it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from farebox.accounts.people import people
from farebox.kit import clock, db, options, settings

PATH: Final = "/.well-known/security.txt"
_LASTS = timedelta(days=180)


@require_safe
def text(request: HttpRequest) -> HttpResponse:
    """The contact, and half a year in which it holds, anew each day; 404 where the operator named none."""
    del request
    if not (contact := _contact()):
        raise Http404
    today = datetime.fromtimestamp(clock.now_us() // 1_000_000, UTC).replace(hour=0, minute=0, second=0)
    lines = [
        f"Contact: {contact}",
        f"Expires: {(today + _LASTS).strftime('%Y-%m-%dT%H:%M:%SZ')}",
        "Preferred-Languages: en, zh",
    ]
    if (origin := options.current().origin).startswith("https:"):
        lines.append(f"Canonical: {origin}{PATH}")
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")


def _contact() -> str:
    """The option, or the shop's support contact where that is an e-mail address; empty for none."""
    chosen = options.current().security_contact.strip()
    if chosen:
        return chosen if chosen.isprintable() and chosen.startswith(("mailto:", "https://")) else ""
    support = str(db.read(settings.values)["support_contact"]).strip()
    return f"mailto:{support}" if people.is_email(support) else ""
