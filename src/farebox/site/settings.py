"""Django settings, read from the options only."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from farebox.kit import options, secrets

_options = options.current()

# How long PostgreSQL may be silent before it counts as away; the address of the database can say otherwise.
_PATIENCE = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "application_name": "farebox",
    # A process that hangs in the middle of a transaction must not keep its locks: the others would wait with it.
    "options": "-c idle_in_transaction_session_timeout=10000",
}


def _database() -> dict[str, Any]:
    if _options.on_sqlite:
        return {
            "ENGINE": "farebox.kit.sqlite",
            "NAME": str(_options.sqlite_file),
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 10},
            "CONN_MAX_AGE": None,
        }
    parts = urlsplit(_options.database)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or "") or dict(parse_qsl(parts.query)).get("host", ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": _PATIENCE | {k: v for k, v in parse_qsl(parts.query) if k != "host"},
        "CONN_MAX_AGE": None,
    }


def _services() -> dict[str, Any]:
    """The services by which visitors may sign in: those that the options name."""
    chosen, found = _options, {}
    if chosen.github_client_id:
        app = {"name": "GitHub", "client_id": chosen.github_client_id, "secret": chosen.github_client_secret}
        found["github"] = {"APPS": [app], "SCOPE": ["user:email"]}
    if chosen.oidc_issuer:
        app = {
            # Another issuer is another key: a subject means nothing without its issuer.
            "provider_id": "oidc-" + hashlib.sha256(chosen.oidc_issuer.encode()).hexdigest()[:16],
            "name": chosen.oidc_name or urlsplit(chosen.oidc_issuer).hostname,
            "client_id": chosen.oidc_client_id,
            "secret": chosen.oidc_client_secret,
            "settings": {"server_url": chosen.oidc_issuer},
        }
        found["openid_connect"] = {"APPS": [app], "OAUTH_PKCE_ENABLED": True}
    if chosen.wechat_app_id:
        app = {"name": "WeChat", "client_id": chosen.wechat_app_id, "secret": chosen.wechat_app_secret}
        found["weixin"] = {"APPS": [app], "SCOPE": ["snsapi_login"]}
    return found


DATABASES = {"default": _database()}
SOCIALACCOUNT_PROVIDERS = _services()
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "farebox.kit",
    "farebox.ledger",
    "farebox.catalog",
    "farebox.accounts",
    "farebox.upstreams",
    "farebox.calls",
    "farebox.look",
    "farebox.console",
    "farebox.office",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    # allauth imports the parts of each at once, and a client of HTTP with them: an eighth of what a command takes.
    *(f"allauth.socialaccount.providers.{name}" for name in SOCIALACCOUNT_PROVIDERS),
]
MIDDLEWARE = [
    "csp.middleware.CSPMiddleware",
    "farebox.look.middleware.guard",
    "farebox.site.pages.addresses",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "farebox.look.sessions.sessions",
    "farebox.look.middleware.language",
    "farebox.look.trouble.trouble",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "farebox.look.plain.plain",
]
ROOT_URLCONF = "farebox.site.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
                "farebox.look.context.page",
                "farebox.console.context.person",
                "farebox.office.context.operator",
            ],
        },
    }
]
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
CSRF_FAILURE_VIEW = "farebox.look.views.forbidden"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SECURE = True
SESSION_COOKIE_SECURE = True  # the cookie of messages takes its flags from the session's
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
# Security 2: nothing from elsewhere, nothing inline.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
# Counters of attempts live in the store, so that two processes count together (decision 16). What still
# counts is never thrown away; what has ended is swept away by `attempts.sweep`.
CACHES = {"default": {"BACKEND": "farebox.kit.cache.SignedJson"}}
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "landing"
AUTH_USER_MODEL = "accounts.Person"
PASSWORD_HASHERS = ["farebox.accounts.sign_in.hashing.Argon2"]
EMAIL_BACKEND = "farebox.kit.mail.Backend"
# Signing up and in for customers (console/sign_in/door.py). Codes by mail, not links: a code works in one browser.
ACCOUNT_ADAPTER = "farebox.console.sign_in.door.Door"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_MAX_ATTEMPTS = 5
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_PASSWORD_RESET_BY_CODE_TIMEOUT = 15 * 60
ACCOUNT_LOGIN_ON_PASSWORD_RESET = False
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
# No mailed code: who has got at the mailbox or at an open browser alone must not pass for the person. Who has neither
# a password nor a second factor has nothing else (console/sign_in/again.py).
ACCOUNT_REAUTHENTICATION_METHODS = ("password", "mfa")
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": None,  # counted with growing waits (accounts/sign_in/attempts.py, accounts/sign_in/second.py)
    "signup": "60/m/ip",
    "confirm_email": None,  # both are counted by address and mailbox together (console/sign_in/mailing.py)
    "reset_password": None,
    "reset_password_from_key": "20/m/ip",
    "manage_email": "20/h/user",
    "change_password": "5/m/user",
    "reauthenticate": "10/m/user",
}
_FORMS = "farebox.console.sign_in.sign_forms."
ACCOUNT_FORMS = {
    "login": _FORMS + "SignIn",
    "signup": _FORMS + "SignUp",
    "reset_password": _FORMS + "ForgottenPassword",
    "reset_password_from_key": _FORMS + "NewPassword",
    "change_password": _FORMS + "ChangePassword",
    "set_password": _FORMS + "SetPassword",
    "add_email": _FORMS + "ChangeEmail",
    "confirm_email_verification_code": _FORMS + "MailCode",
    "confirm_password_reset_code": _FORMS + "ResetCode",
    "reauthenticate": _FORMS + "AgainPassword",
}
MFA_ADAPTER = "farebox.console.sign_in.door.Second"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_TOLERANCE = 1
MFA_FORMS = {
    "authenticate": _FORMS + "FactorCode",
    "reauthenticate": _FORMS + "AgainFactorCode",
    "activate_totp": _FORMS + "NewTotp",
    "add_webauthn": _FORMS + "NewPasskey",
    "authenticate_webauthn": _FORMS + "FactorPasskey",
    "reauthenticate_webauthn": _FORMS + "AgainPasskey",
    "login_webauthn": _FORMS + "SignInPasskey",
    "edit_webauthn": _FORMS + "NamePasskey",
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = True
# Signing in by another service (console/sign_in/services.py); a person is kept under issuer and subject.
SOCIALACCOUNT_ADAPTER = "farebox.console.sign_in.services.ServicesAdapter"
SOCIALACCOUNT_LOGIN_ON_GET = True  # a form that leads elsewhere is stopped by our own Content-Security-Policy
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_EMAIL_VERIFICATION = "mandatory"
SOCIALACCOUNT_EMAIL_REQUIRED = True
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_FORMS = {"signup": _FORMS + "ServiceSignUp"}
# Messages and forms are signed with it.
SECRET_KEY = secrets.derived_text(_options, "django")
SECRET_KEY_FALLBACKS = secrets.older_derived_texts(_options, "django")
# No link is made of the host that a client sends; it is compared with the origin of forms alone.
ALLOWED_HOSTS = ["*"]
LOGGING_CONFIG = None
