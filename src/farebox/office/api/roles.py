"""Who asks the management API, which roles an operation is for, and what it may answer."""

from __future__ import annotations

import functools
from typing import Any

from django.http import Http404, HttpRequest
from ninja import Schema
from ninja.errors import HttpError
from ninja.security import HttpBearer

from farebox.accounts.keys import ring
from farebox.accounts.sign_in import attempts, refused, tokens
from farebox.accounts.sign_in.tokens import Bearer
from farebox.kit import clock, db, options
from farebox.look.sessions import PERSON
from farebox.office.principal import ROLES, no_entry

from .types import Refusal

ALL = ROLES


@functools.lru_cache(maxsize=1)
def _throttle(per_min: int) -> ring.Throttle:
    """Wrong tokens of one address are counted in this process, as wrong keys are."""
    return ring.Throttle(per_min=per_min)


def find(request: HttpRequest, token: str) -> Bearer | None:
    """Whose token this is. Wrong ones are counted by address; HttpError 429 after too many in a minute."""
    now_us = clock.now_us()
    address = str(request.META.get("REMOTE_ADDR", ""))
    found = db.read(tokens.authenticate, token, address=address, now_us=now_us)
    if found is None:
        refused.note("token.refused", object="office:api", address=address)
        if _throttle(options.current().wrong_keys_per_min).count(attempts.place(address), now_us=now_us):
            raise HttpError(429, "Too many wrong tokens from your address. Try again in a minute.")
        return None
    request.META[PERSON] = found.person
    if tokens.is_due(found, now_us=now_us):
        db.write(tokens.note_use, found, now_us=now_us)
    return found


class ForRoles(HttpBearer):
    """`Authorization: Bearer fbo-…` of one of these roles; for others the operation is not there (404)."""

    def __init__(self, *roles: str) -> None:
        super().__init__()
        self.roles = roles

    def authenticate(self, request: HttpRequest, token: str) -> Bearer | None:
        """Whose token this is; None, and 401, for a wrong one."""
        found = find(request, token)
        if found is not None and found.role not in self.roles:
            no_entry(request, found.actor)
            raise Http404
        return found


def for_roles(*roles: str) -> dict[str, Any]:
    """What the decorator of an operation is given for its roles."""
    return {"auth": ForRoles(*roles), "openapi_extra": {"x-roles": list(roles)}}


def answers(shape: type[Schema], *, proposed: type[Schema] | None = None) -> dict[Any, Any]:
    """The answers of an operation: its own, 202 with a proposal where a person has to approve it, and refusals."""
    waits = {} if proposed is None else {202: proposed}
    return {200: shape, **waits, **dict.fromkeys((400, 401, 404, 422, 429, 503), Refusal)}
