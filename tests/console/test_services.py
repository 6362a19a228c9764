"""Signing in by another service, with an issuer of our own: known by issuer and subject, never by address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from kit import post
from kit.people import PASSWORD
from kit.serving import Serving
from kit.visitor import Visitor

pytestmark = pytest.mark.slow


class Issuer(BaseHTTPRequestHandler):
    """An OpenID Connect issuer; `person` is who signs in there."""

    person: ClassVar[dict[str, Any]] = {}

    def _say(self, facts: dict[str, Any]) -> None:
        body = json.dumps(facts).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        here = f"http://127.0.0.1:{self.server.server_address[1]}"
        if self.path.startswith("/.well-known"):
            self._say(
                {
                    "issuer": here,
                    "authorization_endpoint": f"{here}/authorize",
                    "token_endpoint": f"{here}/token",
                    "userinfo_endpoint": f"{here}/userinfo",
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                }
            )
        else:
            self._say(type(self).person)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say({"access_token": "a", "token_type": "Bearer"})

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_shop(request: pytest.FixtureRequest, instance: Any, issuer: str) -> Iterator[Any]:
    """A shop in a process of its own, whose options name the issuer; a parameter is its limit of sign-ups."""
    from django.db import connection

    from farebox.care import setup
    from farebox.catalog import price_lists
    from farebox.kit import db, options

    setup.migrate()
    db.write(price_lists.create_list, "usd", "USD", actor="test")
    connection.close()
    environ = {
        "FAREBOX_DATA_DIR": str(instance.data), "FAREBOX_DATABASE": instance.database, "FAREBOX_PORT": "0",
        "FAREBOX_OIDC_ISSUER": issuer, "FAREBOX_OIDC_NAME": "School", "FAREBOX_OIDC_CLIENT_ID": "shop",
        "FAREBOX_OIDC_CLIENT_SECRET": "s", "FAREBOX_SIGN_UPS_PER_H": getattr(request, "param", "100"),
    }  # fmt: skip
    server = Serving(environ)
    yield SimpleNamespace(server=server, options=options.current())
    server.stop()


def sign_in(shop: Any, visitor: Visitor, **person: Any) -> Any:
    """Go to the issuer, sign in there as this person, and come back; what the shop says then."""
    Issuer.person = person
    page = visitor.page("/account/sign-in")
    assert "School" in page.text
    begin = page.html.split('href="/account/services/oidc/')[1].split('"')[0]
    away = visitor.get(f"/account/services/oidc/{begin}")
    assert away.status == 302
    asked = urlsplit(away.headers["location"])
    query = {name: values[0] for name, values in parse_qs(asked.query).items()}
    assert asked.path == "/authorize"
    assert query["code_challenge_method"] == "S256"
    back = urlsplit(query["redirect_uri"]).path
    del shop
    assert visitor.get(f"{back}?code=c&state=forged").status in {200, 401}
    return visitor.get(f"{back}?code=c&state={query['state']}")


def test_known_by_issuer_and_subject_never_by_address(open_shop):
    from allauth.account.models import EmailAddress
    from allauth.socialaccount.models import SocialAccount

    from farebox.accounts.models import Member, Person
    from farebox.accounts.people import people
    from farebox.kit import clock, db

    first = Visitor(open_shop)
    done = sign_in(open_shop, first, sub="s-1", email="ada@school.example", email_verified=True)
    assert (done.status, done.headers["location"]) == (302, "/account/confirm")
    assert not Member.objects.exists()
    code = post.code(open_shop, "ada@school.example")
    assert first.fill("/account/confirm", action="verify", code=code).headers["location"] == "/console/"
    assert first.get("/console/settings").status == 200
    person = Person.objects.get(email="ada@school.example")
    assert not person.has_usable_password()
    (kept,) = SocialAccount.objects.all()
    assert (kept.user_id, kept.uid, kept.provider[:5]) == (person.id, "s-1", "oidc-")

    # The same subject with another address is the same person.
    again = Visitor(open_shop)
    done = sign_in(open_shop, again, sub="s-1", email="other@school.example", email_verified=True)
    assert done.headers["location"] == "/console/"
    assert "ada@school.example" in again.page("/console/settings").text

    # Another subject with the address of somebody is nobody: that one is told by mail.
    made = db.write(
        people.create, email="bob@example.com", password_hash=people.hashed(PASSWORD), now_us=clock.now_us(), actor="t"
    )
    EmailAddress.objects.create(user=made, email=made.email, verified=True, primary=True)
    thief = Visitor(open_shop)
    done = sign_in(open_shop, thief, sub="s-2", email="bob@example.com", email_verified=True)
    assert done.headers["location"] == "/account/confirm"
    assert thief.get("/console/settings").status == 302
    assert "already has an account" in " ".join(post.newest(open_shop, "bob@example.com").get_content().split())
    assert SocialAccount.objects.count() == 1

    # Who has no address there gives one, and confirms it.
    quiet = Visitor(open_shop)
    done = sign_in(open_shop, quiet, sub="s-3")
    assert done.headers["location"] == "/account/services/sign-up"
    sent = quiet.fill("/account/services/sign-up", email="quiet@example.com")
    assert sent.headers["location"] == "/account/confirm"
    code = post.code(open_shop, "quiet@example.com")
    assert quiet.fill("/account/confirm", action="verify", code=code).headers["location"] == "/console/"
    page = quiet.page("/account/services")
    assert "connected" in page.text
    refused = quiet.fill("/account/services", account=str(SocialAccount.objects.get(uid="s-3").pk))
    assert "Set a password first" in refused.text


@pytest.mark.parametrize("open_shop", ["2"], indirect=True)
def test_signing_up_by_a_service_has_the_limit_of_the_form(open_shop):
    from farebox.accounts.models import Person

    first = Visitor(open_shop, "en")
    sign_in(open_shop, first, sub="s-1", email="ada@school.example")
    code = post.code(open_shop, "ada@school.example")
    assert first.fill("/account/confirm", action="verify", code=code).headers["location"] == "/console/"
    told = [{"sub": "s-2", "email": "ada@school.example"}, {"sub": "s-3", "email": "bob@school.example"}]
    known, refused = [sign_in(open_shop, Visitor(open_shop, "en"), **person) for person in told]
    assert (known.status, known.headers["location"]) == (302, "/account/confirm")
    assert (refused.status, refused.headers["location"]) == (302, "/account/sign-in")
    late = Visitor(open_shop, "en")
    page = late.follow(sign_in(open_shop, late, sub="s-3", email="bob@school.example"))
    assert "Too many sign-ups from your network" in page.text
    assert Person.objects.filter(operator_role="").count() == 1
    again = sign_in(open_shop, Visitor(open_shop, "en"), sub="s-1")  # who is known signs in as before
    assert again.headers["location"] == "/console/"


def test_another_site_begins_no_signing_in_and_connects_nothing(open_shop):
    visitor = Visitor(open_shop)
    begin = visitor.page("/account/sign-in").html.split('href="/account/services/oidc/')[1].split('"')[0]
    here = f"/account/services/oidc/{begin}"
    for site in ("cross-site", "same-site"):
        away = visitor.get(here, Sec_Fetch_Site=site)
        assert (away.status, away.headers["location"]) == (302, "/account/sign-in")
    for site in ("cross-site", "same-site", "none", ""):
        given = {"Sec_Fetch_Site": site} if site else {}
        away = visitor.get(f"{here}?process=connect", **given)
        assert (away.status, away.headers["location"]) == (302, "/account/sign-in")
    for site in ("same-origin", "none"):
        assert "/authorize" in visitor.get(here, Sec_Fetch_Site=site).headers["location"]
    assert "/authorize" in visitor.get(f"{here}?process=connect", Sec_Fetch_Site="same-origin").headers["location"]


def test_without_options_there_is_no_service(shop):
    visitor = Visitor(shop)
    assert "Or continue with" not in visitor.page("/account/sign-in").text
    for path in ("services", "services/sign-up", "services/github/login/", "services/oidc/x/login/"):
        assert visitor.get(f"/account/{path}").status == 404
