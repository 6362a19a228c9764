"""What was typed into a form of the office that did nothing yet: refused, or sent before a fresh proof of the person.

It is kept sealed for ten minutes, and its page shows it again, once. Secrets are never among it.
"""

from __future__ import annotations

from django.http import HttpRequest

from farebox.look import kept

_CHARS_MAX = 20_000
_NEVER_KEPT = frozenset({"csrfmiddlewaretoken", "password", "again", "secret", "code", "answer", "seen"})


def keep(request: HttpRequest, to: str) -> None:
    """Keep the fields of this form for the page `to`; what is too long for it is left out, not cut."""
    given = {
        name: value
        for name, value in request.POST.items()
        if name not in _NEVER_KEPT and isinstance(value, str) and len(value) <= _CHARS_MAX
    }
    kept.put(request, _name(to), given)


def again(request: HttpRequest) -> dict[str, str]:
    """What was typed into a form of this page that did nothing; once."""
    found: dict[str, str] | None = getattr(request, "_typed_again", None)
    if found is None:
        name = _name(request.path)
        found = dict(kept.get(request, name) or {}) if request.method in {"GET", "HEAD"} else {}
        kept.drop(request, name)
        request._typed_again = found  # type: ignore[attr-defined]
    return found


def _name(to: str) -> str:
    return f"typed {to.partition('?')[0]}"
