"""The forms of signing up and in: allauth's, in our words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from allauth.account import forms as account
from allauth.account.adapter import get_adapter as get_door
from allauth.core import context
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms as factors
from allauth.mfa.totp import forms as totp
from allauth.mfa.webauthn import forms as webauthn
from allauth.socialaccount import forms as social
from django import forms
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from farebox.accounts.people import mailboxes
from farebox.accounts.sign_in import passkeys
from farebox.kit import options
from farebox.kit.errors import CommandError

from . import mailing, puzzle, second

_EMAIL = _("E-mail address")
_PASSWORD = _("Password")
_NEW_PASSWORD = _("New password")
_RULE = _("8 to 256 characters. A sentence works well.")
_CODE = _("Code")
_IN_MAIL = _("From the e-mail that we sent you.")


mailed_code: dict[str, tuple[Any, Any]] = {"code": (_CODE, _IN_MAIL)}


class Worded(forms.Form):
    """A form whose fields say what `words` has for them: a label, and a hint; no placeholders."""

    words: ClassVar[dict[str, tuple[Any, Any]]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["label_suffix"] = ""
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.widget.attrs.pop("placeholder", None)
            if name in self.words:
                field.label, field.help_text = self.words[name]
            if name in {"login", "email"}:
                field.widget.attrs["autocomplete"] = "username"
            if name == "code":
                field.widget.attrs |= {"autocapitalize": "off", "spellcheck": "false", "inputmode": "text"}


def within_limit(per_h: int) -> None:
    """Count a sign-up from this address; ValidationError after so many within an hour."""
    limit = {"sign_up": f"{per_h}/h/ip"}
    # Who comes back from a sign-in service comes with a GET.
    if not ratelimit.consume(context.request, app="farebox", action="sign_up", config=limit, limit_get=True):
        raise forms.ValidationError(_("Too many sign-ups from your network. Please try again later."))


class SignIn(Worded, account.LoginForm):  # type: ignore[misc]  # allauth has no types
    """Address and password."""

    words = {"login": (_EMAIL, ""), "password": (_PASSWORD, "")}


class SignUp(Worded, account.SignupForm):  # type: ignore[misc]
    """Address and password, and where the shop asks for it a solved puzzle."""

    words = {"email": (_EMAIL, ""), "password1": (_PASSWORD, _RULE)}
    altcha = forms.CharField(required=False, widget=forms.HiddenInput, max_length=2000)

    def clean(self) -> dict[str, Any]:
        """Refused after so many from one address (one alone without the puzzle), or with a wrong solution."""
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors:
            return cleaned
        solution = cleaned.get("altcha", "")
        asked = options.current().sign_up_captcha
        if asked and solution and not puzzle.passes(solution):
            raise forms.ValidationError(_("The puzzle was not solved in time. Please submit the form again."))
        within_limit(1 if asked and not solution else options.current().sign_ups_per_h)
        return cleaned

    def try_save(self, request: HttpRequest) -> Any:
        """A new person, or a mail to the one who is known; both take as long, for both hash a password."""
        mailing.demand(request, "confirm", self.cleaned_data["email"], only_ask=True)
        if self.account_already_exists:
            make_password(self.cleaned_data.get("password1"))
        return super().try_save(request)


class ServiceSignUp(Worded, social.SignupForm):  # type: ignore[misc]
    """The address of a person whose service tells none."""

    words = {"email": (_EMAIL, "")}

    def clean(self) -> dict[str, Any]:
        """The same limit as for other sign-ups."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors:
            within_limit(options.current().sign_ups_per_h)
        return cleaned


class ForgottenPassword(Worded, account.ResetPasswordForm):  # type: ignore[misc]
    """The address to which a code goes."""

    words = {"email": (_EMAIL, "")}
    users: Any

    def clean_email(self) -> str:
        """Operators' passwords are not changed at the customers' door. Too many mails are a page of their own (429)."""
        email: str = super().clean_email()
        mailing.demand(context.request, "reset", email)
        self.users = [user for user in self.users if not user.operator_role]
        return email


class NewPassword(Worded, account.ResetPasswordKeyForm):  # type: ignore[misc]
    """A new password after a code."""

    words = {"password1": (_NEW_PASSWORD, _RULE), "password2": (_("Confirm password"), "")}


class ChangePassword(Worded, account.ChangePasswordForm):  # type: ignore[misc]
    """The present password and a new one."""

    words = {
        "oldpassword": (_("Current password"), ""),
        "password1": (_NEW_PASSWORD, _RULE),
        "password2": (_("Confirm password"), ""),
    }

    def clean_oldpassword(self) -> str:
        """The present password; a wrong one is written down."""
        try:
            return str(super().clean_oldpassword())
        except forms.ValidationError:
            second.refused_password(str(self.user.pk))
            raise


class SetPassword(Worded, account.SetPasswordForm):  # type: ignore[misc]
    """A first password, for who has signed in without one."""

    words = {"password1": (_NEW_PASSWORD, _RULE), "password2": (_("Confirm password"), "")}


class ChangeEmail(Worded, account.AddEmailForm):  # type: ignore[misc]
    """Another address; it counts once it is confirmed."""

    words = {
        "email": (
            _("New e-mail address"),
            _("We send a code to this address. The change takes effect once you enter it."),
        )
    }


class MailCode(Worded, account.ConfirmEmailVerificationCodeForm):  # type: ignore[misc]
    """The code that was mailed to confirm an address."""

    words = mailed_code

    def clean_code(self) -> str:
        """The code, if it is right and the address is free: a sign-up that nobody confirmed does not keep it."""
        try:
            code: str = account.BaseConfirmCodeForm.clean_code(self)
        except forms.ValidationError:
            second.refused_code(self.email or "", str(self.user.pk) if self.user else "")
            raise
        if code and self.user and not mailboxes.is_free(self.email, wanted_by=self.user.pk):
            raise get_door().validation_error("email_taken")
        return code


class ResetCode(Worded, account.ConfirmPasswordResetCodeForm):  # type: ignore[misc]
    """The code that was mailed for a forgotten password."""

    words = mailed_code


class AgainPassword(Worded, account.ReauthenticateForm):  # type: ignore[misc]
    """The password once more."""

    words = {"password": (_PASSWORD, "")}


class FactorCode(Worded, factors.AuthenticateForm):  # type: ignore[misc]
    """A code of the authenticator app, or a recovery code."""

    words = {"code": (_CODE, _("From your authenticator app, or one of your recovery codes."))}

    def clean_code(self) -> str:
        """The code, if it is one; tries are counted."""
        return str(second.judged(self.user, super().clean_code))


class AgainFactorCode(Worded, factors.ReauthenticateForm):  # type: ignore[misc]
    """The same, once more."""

    def clean_code(self) -> str:
        """The code, if it is one; tries are counted."""
        return str(second.judged(self.user, super().clean_code))

    words = FactorCode.words


class NewTotp(Worded, totp.ActivateTOTPForm):  # type: ignore[misc]
    """The first code of a new authenticator app."""

    words = {"code": (_("Authenticator code"), _("6-digit code; a new one every 30 seconds."))}


class PasskeyAnswer(forms.Field):
    """What the browser says of a passkey, as `read` takes it: `passkeys.made` or `passkeys.proved`."""

    widget = forms.HiddenInput

    def __init__(self, read: Callable[[Any], dict[str, Any]]) -> None:
        super().__init__()
        self._read = read

    def to_python(self, value: Any) -> dict[str, Any]:
        """The answer; ValidationError for an invalid one."""
        try:
            return self._read(value)
        except CommandError:
            raise get_adapter().validation_error(passkeys.REFUSED) from None


class SignInPasskey(webauthn.LoginWebAuthnForm):  # type: ignore[misc]
    """A passkey in the place of address and password, where its person has said that it may be that."""

    credential = PasskeyAnswer(passkeys.proved)

    def clean_credential(self) -> Any:
        """The passkey; a second factor never signs in alone, whatever its device can do."""
        try:
            found = super().clean_credential()
            if not passkeys.signs_in_alone(found):
                raise get_adapter().validation_error(passkeys.REFUSED)
        except forms.ValidationError:
            second.refused_alone()
            raise
        return found


class FactorPasskey(webauthn.AuthenticateWebAuthnForm):  # type: ignore[misc]
    """A passkey after the password."""

    credential = PasskeyAnswer(passkeys.proved)

    def clean_credential(self) -> Any:
        """The passkey, if it is one of the person's; tries are counted."""
        return second.judged(self.user, super().clean_credential)


class AgainPasskey(webauthn.ReauthenticateWebAuthnForm):  # type: ignore[misc]
    """A passkey, once more."""

    credential = PasskeyAnswer(passkeys.proved)

    def clean_credential(self) -> Any:
        """The passkey, if it is one of the person's; tries are counted."""
        return second.judged(self.user, super().clean_credential)


class NewPasskey(Worded, webauthn.AddWebAuthnForm):  # type: ignore[misc]
    """A passkey that the browser has made."""

    credential = PasskeyAnswer(passkeys.made)
    words = {
        "name": (_("Name"), _("For example, the name of the device.")),
        "passwordless": (
            _("Passwordless sign-in"),
            _("No password needed. The device asks for a fingerprint, face or PIN."),
        ),
    }

    def clean(self) -> dict[str, Any]:
        """What was made, with what its person chose."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and "credential" in cleaned:
            alone = bool(cleaned.get("passwordless"))
            cleaned["credential"] = passkeys.marked(cleaned["credential"], alone=alone)
        return cleaned


class NamePasskey(Worded, webauthn.EditWebAuthnForm):  # type: ignore[misc]
    """Another name of a passkey."""

    words = {"name": (_("Name"), "")}
