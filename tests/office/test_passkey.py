"""A passkey in Chromium, by an authenticator of its own: enrolled, proved at the door and once more inside."""

from __future__ import annotations

import pytest

from kit import chromium, people
from office import totp

pytestmark = pytest.mark.slow


@pytest.fixture
def window(shop, option):
    """A page of a browser with an authenticator; the store is not touched from this thread while it lives."""
    option(public_url=f"http://localhost:{shop.server.port}")  # a passkey belongs to a name, never to an address
    person = people.person(shop, operator_role="admin", password=people.PASSWORD)
    with chromium.launched() as running:
        page, faults = chromium.with_authenticator(running)
        yield page, person.email, faults


def begin(page, shop, email):
    page.goto(f"http://localhost:{shop.server.port}/office/sign-in")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(people.PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_a_passkey(shop, window):
    page, email, faults = window
    begin(page, shop, email)
    page.get_by_role("heading", name="Add a second factor").wait_for()
    page.get_by_label("Name of the passkey").fill("The test's own")
    page.get_by_role("button", name="Create passkey").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    page.get_by_role("button", name="I've saved them").click()
    page.get_by_role("heading", name="Dashboard").wait_for()
    page.get_by_role("button", name="Sign out").click()
    begin(page, shop, email)
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_role("heading", name="Dashboard").wait_for()
    page.goto(f"http://localhost:{shop.server.port}/office/step-up?next=/office/profile")
    page.get_by_role("button", name="Use a passkey").click()
    page.get_by_role("heading", name="Your profile").wait_for()
    assert page.get_by_text("The test's own").count() == 1
    assert faults == []


def test_an_authenticator_of_the_phone(shop, window):
    page, email, faults = window
    begin(page, shop, email)
    page.get_by_role("textbox", name="Code").fill(totp.code(page.locator(".seed").inner_text().replace(" ", "")))
    page.get_by_role("button", name="Add authenticator").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    assert page.locator("#codes").inner_text().count("-") == 30
    assert len(page.locator("#codes").inner_text().splitlines()) == 10
    assert faults == []
