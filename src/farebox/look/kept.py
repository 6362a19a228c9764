"""What a session keeps for its next pages, sealed and for minutes: a secret made just now, or typed into a form.

A page that answers a form with a secret leads to an address of its own, so that another language, another theme or a
reload show it again and do nothing again. The text is sealed for one person and one thing (security 4).
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.http import HttpRequest

from farebox.kit import clock, options, secrets
from farebox.kit.errors import CommandError

KEPT_S = 600
AT_ONCE_MAX = 8
_NAME = "kept"


def put(request: HttpRequest, what: str, facts: Any) -> None:
    """Keep JSON values for ten minutes under a name such as `key key_1`; of many things the oldest goes."""
    until_s = clock.now_us() // 1_000_000 + KEPT_S
    text = msgspec.json.encode([until_s, facts]).decode()
    sealed = secrets.seal(secrets.master_keys(options.current()), text, **_place(request, what))
    others = {name: kept for name, kept in request.session.get(_NAME, {}).items() if name != what}
    newest = list(others.items())[-(AT_ONCE_MAX - 1) :]
    request.session[_NAME] = dict([*newest, (what, sealed)])


def get(request: HttpRequest, what: str) -> Any:
    """What was kept under this name, or None: nothing, too long ago, or sealed for somebody else."""
    sealed = request.session.get(_NAME, {}).get(what)
    if sealed is None:
        return None
    try:
        text = secrets.unseal(secrets.master_keys(options.current()), sealed, **_place(request, what))
    except CommandError:
        return None
    until_s, facts = msgspec.json.decode(text)
    return facts if clock.now_us() // 1_000_000 < until_s else None


def drop(request: HttpRequest, what: str) -> None:
    """Forget what was kept under this name."""
    kept = dict(request.session.get(_NAME, {}))
    if kept.pop(what, None) is not None:
        request.session[_NAME] = kept


def _place(request: HttpRequest, what: str) -> dict[str, str]:
    return {"table": "accounts_session", "column": _NAME, "row": f"{request.user.pk} {what}"}
