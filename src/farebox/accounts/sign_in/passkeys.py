"""What a browser answers for a passkey: read strictly before the library sees it, refused alike whatever is wrong.

The shapes are RegistrationResponseJSON and AuthenticationResponseJSON of WebAuthn Level 3 (5.1.8). What is used of
them is kept, the rest dropped: no row of ours has what else a stranger sends.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.internal import auth
from django.db import DatabaseError, DataError

from farebox.kit import places
from farebox.kit.errors import CommandError, FareboxError

ANSWER_CHARS_MAX = 16_384
REFUSED = "passkey_refused"  # the name of the refusal among the adapter's messages
_BINARY = re.compile(r"[A-Za-z0-9_\-+/]{1,16384}={0,2}")
_MADE = ("clientDataJSON", "attestationObject")
_PROVED = ("clientDataJSON", "authenticatorData", "signature")
_STEPS = (
    "parse_registration_response",
    "complete_registration",
    "parse_authentication_response",
    "extract_user_from_response",
    "complete_authentication",
)


def made(answer: Any) -> dict[str, Any]:
    """The answer of a browser that has made a passkey; CommandError for an invalid one."""
    given = _read(answer, _MADE)
    outcome = given.get("clientExtensionResults")
    properties = outcome.get("credProps") if isinstance(outcome, dict) else None
    resident = properties.get("rk") if isinstance(properties, dict) else None
    return _kept(given, _MADE) | {"clientExtensionResults": {"credProps": {"rk": resident is True}}}


def proved(answer: Any) -> dict[str, Any]:
    """The answer of a browser that has proved a passkey; CommandError for an invalid one."""
    given = _read(answer, _PROVED)
    person = given["response"].get("userHandle")
    if person is not None:
        _binary(person)
    return _kept(given, (*_PROVED, *(("userHandle",) if person is not None else ())))


def marked(answer: Mapping[str, Any], *, alone: bool) -> dict[str, Any]:
    """The same answer with what its person has chosen: whether the passkey signs in alone, or is a second factor only.

    The device's own word counts no more: many make every passkey so that it could sign in alone.
    """
    return {**answer, "clientExtensionResults": {"credProps": {"rk": alone}}}


def signs_in_alone(passkey: Authenticator) -> bool:
    """Whether this passkey may sign in without a password."""
    return passkey.wrap().is_passwordless is True


def _install() -> None:
    """Let whatever the library makes of an answer that is not one be one refusal, never an error of ours."""
    for name in _STEPS:
        setattr(auth, name, _guarded(getattr(auth, name)))


def _guarded(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return step(*args, **kwargs)
        except FareboxError:
            raise
        except DatabaseError as fault:
            if not isinstance(fault, DataError):
                raise  # but a text that no column can hold is the stranger's fault, not the store's
        except Exception:  # noqa: S110 - CBOR, keys and structures of a stranger: what they raise has no end
            pass
        raise get_adapter().validation_error(REFUSED)

    return checked


def _read(answer: Any, binaries: tuple[str, ...]) -> dict[str, Any]:
    try:
        if isinstance(answer, str) and len(answer) <= ANSWER_CHARS_MAX:
            places.once(answer, "passkey")
            given = json.loads(answer)
        else:
            given = None
    except (CommandError, ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or not isinstance(given.get("response"), dict):
        raise _unreadable()
    if given.get("type", "public-key") != "public-key" or given.get("id") != given.get("rawId"):
        raise _unreadable()
    for value in (given.get("rawId"), *(given["response"].get(name) for name in binaries)):
        _binary(value)
    return given


def _kept(given: Mapping[str, Any], binaries: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "public-key",
        "id": given["rawId"],
        "rawId": given["rawId"],
        "response": {name: given["response"][name] for name in binaries},
    }


def _binary(value: Any) -> None:
    if not isinstance(value, str) or _BINARY.fullmatch(value) is None:
        raise _unreadable()


def _unreadable() -> CommandError:
    return CommandError("passkey.unreadable")


# Here and not when the shop starts: processes without pages need not load the library.
_install()
