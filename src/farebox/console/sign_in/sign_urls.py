"""Addresses of signing up and in. Pages of allauth that are not listed here do not exist."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from allauth.account import views as account
from allauth.mfa.base import views as factors
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as passkeys
from allauth.socialaccount import views as social
from django.conf import settings
from django.urls import include, path

from farebox.console.step_up import rotated

from . import again, mailbox, services, sign


def _addresses(service: str) -> list[Any]:
    """Those of a service that the options name; what it needs is imported with them."""
    found: list[Any] = import_module(f"allauth.socialaccount.providers.{service}.urls").urlpatterns
    return found


urlpatterns = [
    path("sign-in", account.login, name="account_login"),
    path("sign-out", account.logout, name="account_logout"),
    path("sign-up", sign.sign_up, name="account_signup"),
    path("link/<str:code>", sign.link, name="link"),
    path("open", sign.open_account, name="account_open"),
    path("inactive", account.account_inactive, name="account_inactive"),
    path("confirm", account.email_verification_sent, name="account_email_verification_sent"),
    path("again", rotated(account.reauthenticate), name="account_reauthenticate"),
    path("again/code", rotated(again.by_mail), name="account_again_code"),
    path("email", account.email, name="account_email"),
    path("password", account.password_change, name="account_change_password"),
    path("password/set", account.password_set, name="account_set_password"),
    path("password/forgotten", account.password_reset, name="account_reset_password"),
    path("password/code", mailbox.forgotten_code, name="account_confirm_password_reset_code"),
    path("password/new", mailbox.forgotten_password, name="account_complete_password_reset"),
    path("password/done", account.password_reset_from_key_done, name="account_password_reset_completed"),
    path("factors", factors.index, name="mfa_index"),
    path("factors/sign-in", factors.authenticate, name="mfa_authenticate"),
    path("factors/again", rotated(factors.reauthenticate), name="mfa_reauthenticate"),
    path("factors/app", totp.activate_totp, name="mfa_activate_totp"),
    path("factors/app/remove", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("factors/codes", codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("factors/codes/new", codes.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("factors/passkeys", passkeys.list_webauthn, name="mfa_list_webauthn"),
    path("factors/passkeys/new", passkeys.add_webauthn, name="mfa_add_webauthn"),
    path("factors/passkeys/sign-in", passkeys.login_webauthn, name="mfa_login_webauthn"),
    path("factors/passkeys/again", rotated(passkeys.reauthenticate_webauthn), name="mfa_reauthenticate_webauthn"),
    path("factors/passkeys/<int:pk>/name", passkeys.edit_webauthn, name="mfa_edit_webauthn"),
    path("factors/passkeys/<int:pk>/remove", passkeys.remove_webauthn, name="mfa_remove_webauthn"),
]
# A service that no option names has no addresses.
if settings.SOCIALACCOUNT_PROVIDERS:
    urlpatterns += [
        path("services", social.connections, name="socialaccount_connections"),
        path("services/sign-up", social.signup, name="socialaccount_signup"),
        path("services/cancelled", social.login_cancelled, name="socialaccount_login_cancelled"),
        path("services/error", social.login_error, name="socialaccount_login_error"),
        *(
            path("services/", include(services.begin_here(_addresses(name))))
            for name in settings.SOCIALACCOUNT_PROVIDERS
        ),
    ]
