"""A customer's passkey in Chromium, by an authenticator of its own: made, asked for after the password, enough alone."""

from __future__ import annotations

import re

import pytest

from kit import chromium, people

pytestmark = pytest.mark.slow


@pytest.fixture
def window(shop, option):
    """A page of a browser with an authenticator; the store is not touched from this thread while it lives."""
    option(public_url=f"http://localhost:{shop.server.port}")  # a passkey belongs to a name, never to an address
    known = people.customer(shop, password=people.PASSWORD)
    with chromium.launched() as running:
        page, faults = chromium.with_authenticator(running)
        yield page, known.email, faults


def test_a_passkey(shop, window):
    page, email, faults = window
    here = f"http://localhost:{shop.server.port}/account"
    page.goto(f"{here}/sign-in")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password", exact=True).fill(people.PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(re.compile(r"/console/?$"))
    page.goto(f"{here}/factors/passkeys/new")
    page.get_by_label("Passwordless sign-in").check()
    page.get_by_role("button", name="Create passkey").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    page.goto(f"{here}/factors/passkeys")
    assert page.locator("tbody tr").count() == 1

    page.context.clear_cookies()
    page.goto(f"{here}/sign-in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(re.compile(r"/console/?$"))

    page.context.clear_cookies()
    page.goto(f"{here}/sign-in")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password", exact=True).fill(people.PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Use a passkey").click()  # the password alone is no longer enough
    page.wait_for_url(re.compile(r"/console/?$"))
    assert faults == []
