"""Between the proofs: who has begun to sign in, the session that follows, and where it leads."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from farebox.accounts.models import Person
from farebox.accounts.sign_in import attempts, browsers, desk, operator_factors
from farebox.kit import clock, db
from farebox.kit.errors import CommandError
from farebox.look import kept, qr
from farebox.look.views import own_page
from farebox.office import refusals

BEGUN = "office_begun"
BEGUN_S = 600
METHODS = "account_authentication_methods"
KNOWN = "__Host-k"
CODES = "recovery codes"


def begin(request: HttpRequest, person: Person) -> HttpResponse:
    """The first proof is given: on to the second, or to enrolling it."""
    request.session.cycle_key()
    request.session[BEGUN] = {"person": person.pk, "at": now_s(), "proof": person.get_session_auth_hash()}
    has = operator_factors.listed(person.pk)
    return HttpResponseRedirect(with_next(request, "office:second" if has else "office:enrol"))


def begun(request: HttpRequest) -> Person | None:
    """Who has given the first proof within ten minutes, or None; a password that was changed since proves nothing."""
    found = request.session.get(BEGUN)
    if not found or found["at"] < now_s() - BEGUN_S:
        return None
    person = Person.objects.exclude(operator_role="").filter(pk=found["person"], is_active=True).first()
    fits = person is not None and constant_time_compare(person.get_session_auth_hash(), found.get("proof", ""))
    return person if fits else None


def enter(request: HttpRequest, person: Person, how: str) -> HttpResponse:
    """Both proofs are given: in, and on to where the person wanted to go."""
    let_in(request, person, how)
    return known(HttpResponseRedirect(to_page(request)), person)


def let_in(request: HttpRequest, person: Person, how: str) -> None:
    """A session of this person under a new key, with both proofs."""
    first = request.session.pop(BEGUN, {"at": now_s()})
    login(request, person, backend="django.contrib.auth.backends.ModelBackend")
    request.session[METHODS] = [
        {"method": "password", "at": first["at"], "email": person.email},
        {"method": "mfa", "at": now_s(), "type": how},
    ]
    db.write(desk.note_sign_in, person, how=how, address=address_of(request))


def known(response: HttpResponse, person: Person) -> HttpResponse:
    """The answer, with a cookie by which this browser is known again."""
    kept_s, mark = browsers.KNOWN_AGE_S, browsers.mark(person.pk)
    response.set_cookie(KNOWN, mark, max_age=kept_s, secure=True, httponly=True, samesite="Strict")
    return response


def prove(request: HttpRequest, how: str) -> None:
    """Note a fresh proof; the session gets a new key."""
    kept = [each for each in request.session.get(METHODS, []) if each.get("method") != how]
    request.session[METHODS] = [*kept, {"method": how, "at": now_s(), "reauthenticated": True}]
    request.session.cycle_key()


def add_factor(request: HttpRequest, person: Person, secret: str) -> tuple[str, str]:
    """What was added (`totp`, `webauthn`), or why nothing was."""
    if "answer" not in request.POST:
        if db.write(operator_factors.add_totp, person, secret=secret, code=request.POST.get("code", "")):
            request.session.pop("mfa.totp.secret", None)
            return "totp", ""
        return "", _("Wrong code. Check that your phone's clock is correct.")
    try:
        name, answer = request.POST.get("name", ""), request.POST["answer"]
        db.write(operator_factors.add_passkey, person, name=name or _("Passkey"), answer=answer)
    except CommandError as fault:
        return "", refusals.said(fault)
    return "webauthn", ""


def enrolling(person: Person, secret: str) -> dict[str, Any]:
    """What the page of a new second factor shows: QR code, seed, and the offer for a passkey."""
    return {
        "qr": qr.svg(operator_factors.totp_address(person, secret), _("QR code for your authenticator")),
        "seed": " ".join(secret[place : place + 4] for place in range(0, len(secret), 4)),
        "offer": as_json(operator_factors.passkey_offer(person)),
        "person": person,
    }


def too_many(wait: attempts.TooMany) -> str:
    """How long to wait."""
    minutes = -(-wait.wait_s // 60)
    return ngettext(
        "Too many attempts. Try again in %(n)d minute.",
        "Too many attempts. Try again in %(n)d minutes.",
        minutes,
    ) % {"n": minutes}


def keep_codes(request: HttpRequest, person: Person) -> None:
    """Make ten new recovery codes and keep them for the page that shows them."""
    codes = db.write(operator_factors.recovery_codes, person, actor=f"operator:{person.pk}")
    kept.put(request, CODES, codes)


def to_page(request: HttpRequest) -> str:
    """The page of the office that was asked for before signing in; the first one if none was, or it is elsewhere."""
    to = own_page(request.GET.get("next", ""))
    return to if to.startswith(("/office/", "/zh/office/")) else reverse("office:home")


def with_next(request: HttpRequest, name: str) -> str:
    """Another page of signing in, which still knows where it leads in the end."""
    given = request.GET.get("next", "")
    return reverse(name) + (f"?next={quote(given)}" if given else "")


def address_of(request: HttpRequest) -> str:
    """Where the request comes from."""
    return str(request.META.get("REMOTE_ADDR", ""))


def as_json(value: Any) -> str:
    """What a script reads from an attribute; empty for nothing."""
    return json.dumps(value) if value else ""


def now_s() -> float:
    """The time as allauth notes it beside a proof."""
    return clock.now_us() / 1_000_000
