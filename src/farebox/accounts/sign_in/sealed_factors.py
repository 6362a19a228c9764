"""Second factors as allauth keeps them, with seeds sealed for their person and recovery codes of 80 bits, hashed.

allauth asks its own classes for both. `install` puts ours in their place when the shop starts, so that every caller of
allauth's functions has them, in the console as in the office.
"""

from __future__ import annotations

import base64
import hmac
import secrets as random_
import time
from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal import auth as codes
from allauth.mfa.recovery_codes.internal import flows as code_flows
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.totp.internal import flows as totp_flows
from django.core.cache import cache
from django.db import transaction

from farebox.kit import options, secrets

CODES = 10
CODE_BYTES = 10
PLACE = ("mfa_authenticator", "data")  # table and column to which the texts are bound
_LABEL = "recovery"
_USED_S = 150  # longer than a code of TOTP is accepted


def seal(text: str, *, person: str) -> str:
    """A secret of this person's second factor, encrypted for them alone."""
    return secrets.seal(secrets.master_keys(options.current()), text, table=PLACE[0], column=PLACE[1], row=person)


def unseal(sealed: str, *, person: str) -> str:
    """What `seal` took; CommandError if it was changed, or is another person's."""
    return secrets.unseal(secrets.master_keys(options.current()), sealed, table=PLACE[0], column=PLACE[1], row=person)


class FactorsAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """What allauth asks of second factors; secrets that belong to nobody yet are sealed for nobody."""

    error_messages = DefaultMFAAdapter.error_messages | {"passkey_refused": "This passkey was not accepted."}

    def encrypt(self, text: str) -> str:
        """Sealed, for callers of allauth that name no person."""
        return seal(text, person="")

    def decrypt(self, encrypted_text: str) -> str:
        """What `encrypt` took."""
        return unseal(encrypted_text, person="")


class SealedTotp(totp.TOTP):  # type: ignore[misc]
    """A seed that is sealed for its person; each code is good once."""

    @classmethod
    def activate(cls, user: Any, secret: str) -> SealedTotp:
        """Keep a seed."""
        data = {"secret": seal(secret, person=user.pk)}
        return cls(Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data=data))

    def validate_code(self, code: str) -> bool:
        """Whether it is the code of now, and the first time."""
        seed = unseal(self.instance.data["secret"], person=self.instance.user.pk)
        if not totp.validate_totp_code(seed, code):
            return False
        return bool(cache.add(self._get_used_cache_key(code), "y", timeout=_USED_S))

    def _get_used_cache_key(self, code: str) -> str:
        """Under what a used code is remembered: a digest, of its figures alone."""
        figures = f"{self.instance.user_id} {_plain(code)}"
        return f"totp.used:{secrets.digest_code(_pepper(), figures, label='totp')}"


class HashedCodes(codes.RecoveryCodes):  # type: ignore[misc]
    """Ten codes, shown once; kept as digests, and sealed only until they were shown."""

    instance: Any
    _shown: tuple[str, ...] = ()

    @classmethod
    def activate(cls, user: Any) -> HashedCodes:
        """New codes, unless there are some."""
        kind = Authenticator.Type.RECOVERY_CODES
        found = Authenticator.objects.filter(user=user, type=kind).first()
        if found is None:
            made = [new_code() for _ in range(CODES)]
            data = {
                "digests": [digest(code) for code in made],
                "pepper_n": secrets.newest(secrets.peppers(options.current()))[0],
                "fresh": seal("\n".join(made), person=user.pk),
            }
            found = Authenticator.objects.create(user=user, type=kind, data=data)
        return cls(found)

    def generate_codes(self) -> list[str]:
        """Those that may be shown."""
        return self.get_unused_codes()

    def get_unused_codes(self) -> list[str]:
        """The codes themselves while they are shown for the first time, later as many stars."""
        if self._shown:
            return list(self._shown)
        if fresh := self.instance.data.get("fresh"):
            return unseal(fresh, person=self.instance.user.pk).split("\n")
        return ["•" * 4 for _ in self.instance.data["digests"]]

    def mark_as_viewed(self) -> None:
        """They were shown: from now on nobody can see them."""
        if not self.did_view:
            self._shown = tuple(self.get_unused_codes())
            kept = {name: fact for name, fact in self.instance.data.items() if name != "fresh"}
            self.instance.data = kept | {"viewed_at": time.time()}
            self.instance.save(update_fields=["data"])

    @transaction.atomic
    def validate_code(self, code: str) -> bool:
        """Whether it is one of them; it is used up."""
        rows = Authenticator.objects.select_for_update()
        self.instance = rows.get(pk=self.instance.pk)
        left = list(self.instance.data["digests"])
        given = digests(code)
        for kept in left:
            if any(hmac.compare_digest(kept, each) for each in given):
                left.remove(kept)
                self.instance.data["digests"] = left
                self.instance.save(update_fields=["data"])
                return True
        return False


def install() -> None:
    """Put our classes in the place of allauth's."""
    totp.TOTP = totp_flows.TOTP = SealedTotp
    codes.RecoveryCodes = code_flows.RecoveryCodes = HashedCodes


def new_code() -> str:
    """80 random bits as people can copy them: four groups of four."""
    text = base64.b32encode(random_.token_bytes(CODE_BYTES)).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def digest(code: str) -> str:
    """What is kept of a code."""
    return secrets.digest_code(_pepper(), _plain(code), label=_LABEL)


def digests(code: str) -> list[str]:
    """What may be kept of it, under each pepper."""
    peppers = secrets.peppers(options.current()).values()
    return [secrets.digest_code(pepper, _plain(code), label=_LABEL) for pepper in peppers]


def _pepper() -> bytes:
    return secrets.newest(secrets.peppers(options.current()))[1]


def _plain(code: str) -> str:
    return "".join(sign for sign in code.lower() if sign.isalnum())
