"""The two journeys that a shop lives on, in Chromium: from the first page to a receipt, and from set-up to a margin."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from allauth.mfa.totp.internal import auth as totp

from kit import chromium, letters
from kit import shop as shops

pytestmark = pytest.mark.slow
PASSWORD = "a sentence that nobody else has typed 4711"


class Steps:
    """Prints how long each step took."""

    def __init__(self, capsys):
        self.capsys = capsys
        self.taken = {}
        self.since = time.monotonic()

    def done(self, what):
        now = time.monotonic()
        self.taken[what] = now - self.since
        with self.capsys.disabled():
            print(f"\n  {self.taken[what]:5.2f} s  {what}", end="")
        self.since = time.monotonic()


@pytest.fixture
def page(shop):
    with chromium.launched() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        made = context.new_page()
        made.set_default_timeout(15_000)
        made.faults = []
        made.on("pageerror", lambda fault: made.faults.append(str(fault)))
        made.on("console", lambda said: said.type == "error" and made.faults.append(said.text))
        yield made
        context.close()
        assert made.faults == []


@pytest.fixture
def shop(instance, request):
    """A shop of its own for each journey, prepared before the browser's loop runs in this thread."""
    from farebox.kit import settings

    with shops.opened(instance, public_price_list="usd", single_person=True) as running:
        running.write(settings.put_all, {"trial_micro": {"USD": 1_000_000}, "signup_price_list": "usd"}, actor="test")
        request.node.prepared = _prepared(running)
        yield running
        assert running.findings() == []


def _prepared(running):
    """What the operator's journey begins with: a code of the console, a customer without a model to call."""
    from farebox.accounts.sign_in import setup
    from farebox.kit import clock

    code = running.write(setup.first_code, now_us=clock.now_us(), actor="test")
    return code, running.account("5")


def test_from_the_first_page_to_a_receipt(shop, page, capsys):
    steps, email = Steps(capsys), "ada@example.com"
    page.goto(shop.url + "/")
    page.get_by_role("link", name="Sign up").first.click()
    page.get_by_role("heading", name="Sign up").wait_for()
    steps.done("landing")
    page.locator("input[name=email]").fill(email)
    page.locator("input[name=password1]").fill(PASSWORD)
    page.locator("main button.primary").click()
    page.get_by_role("heading", name="Confirm your e-mail address").wait_for()
    steps.done("sign up")
    code = _code(letters.text(letters.letters(shop, email)[-1]))
    steps.done("mail (not counted)")
    page.locator("input[name=code]").fill(code)
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url("**/console/**")
    assert "$1.00" in page.locator("header .chip").inner_text()
    steps.done("confirm, trial credit")
    page.goto(shop.url + "/console/keys/new")
    page.locator("input[name=name]").fill("my first key")
    page.get_by_role("button", name="Create key").click()
    page.locator("#key-text").wait_for()
    key = page.locator("#key-text").inner_text().strip()
    assert re.fullmatch(r"sk-[A-Za-z0-9]{48}", key)
    steps.done("key")
    page.locator("summary", has_text="curl").click()
    page.locator("[data-copy=curl-chat]").click()
    page.locator("[data-copy=curl-chat]", has_text="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert key in copied and shop.url + "/v1/chat/completions" in copied
    steps.done("copy settings")
    page.locator("#try-go").click()
    link = page.locator("#try-said a")
    link.wait_for()
    steps.done("first call")
    link.click()
    page.wait_for_url("**/console/calls/call_*")
    assert page.locator(".ticket .total").count() == 1
    assert "R02" in page.locator("main").inner_text()
    steps.done("receipt")
    assert sum(taken for what, taken in steps.taken.items() if "mail" not in what) < 20


def test_from_set_up_to_a_margin(shop, page, capsys, request):
    steps, (code, customer) = Steps(capsys), request.node.prepared
    page.goto(f"{shop.url}/office/set-up?code={code}")
    for name, value in (("email", "olive@example.com"), ("name", "Olive"), ("password", PASSWORD), ("again", PASSWORD)):
        page.locator(f"input[name={name}]").fill(value)
    page.locator("main button.primary").click()
    seed = page.locator(".seed").inner_text()
    steps.done("set-up code, password")
    page.locator("input[name=code]").fill(_figures(seed))
    page.get_by_role("button", name="Add authenticator").click()
    page.get_by_role("heading", name="Recovery codes").wait_for()
    page.goto(shop.url + "/office/")
    steps.done("second factor")
    page.goto(shop.url + "/office/upstreams/new?vendor=other")
    fields = {"upstream": "newvendor", "name": "newvendor", "base_url": shop.sandbox.base_url, "secret": "up-secret-1"}
    for name, value in fields.items():
        page.locator(f"[name={name}]").fill(value)
    page.locator("[name=local]").check()
    page.locator("[name=models]").fill("gpt-4o-mini")
    page.locator("[name=official_costs]").check()
    page.get_by_role("button", name="Connect upstream").click()
    page.wait_for_url(re.compile("/office/upstreams/(?!new)"))
    assert "up-secret-1" not in page.content()
    page.get_by_role("button", name="Enable channel").click()
    page.get_by_role("button", name="Pause channel").wait_for()
    steps.done("connect the sandbox as an upstream")
    page.goto(shop.url + "/office/price-lists/usd/change")
    page.locator("[name=rows]").fill("gpt-4o-mini input 7.00\ngpt-4o-mini output 9.00")
    page.locator("[name=note]").fill("opening prices")
    page.get_by_role("button", name="Review changes").click()
    page.get_by_role("button", name="Publish prices").click()
    page.wait_for_url("**/office/price-lists/**")
    steps.done("publish prices")
    _elsewhere(lambda: _only(shop, "newvendor"))
    receipt = _elsewhere(lambda: customer.receipt(customer.chat("gpt-4o-mini", "Hello")))
    assert receipt["prices"]["input"] in {7_000_000, "7.00", "7.000000"} or "7" in str(receipt["prices"])
    steps.done("first customer's call")
    page.goto(shop.url + "/office/")
    row = page.locator("tr", has_text="newvendor").first
    row.wait_for()
    assert re.search(r"\t0\.\d{5}[1-9]\t", row.inner_text())  # what was spent there, to the millionth
    steps.done("margin")


def _code(text):
    found = re.search(r"^\s*([A-Z0-9-]{6,12})\s*$", text, re.MULTILINE)
    assert found, text
    return found[1]


def _figures(seed):
    """What an authenticator shows for this seed now."""
    secret = "".join(seed.split())
    at = int(time.time()) // 30
    return totp.format_hotp_value(totp.hotp_value(secret, at))


def _only(shop, name):
    """Let only the channel of this name answer."""
    from farebox.upstreams import channels
    from farebox.upstreams.models import Channel

    for row in Channel.objects.exclude(name=name):
        shop.write(channels.set_state, channel=row.name, state="disabled", why="test", actor="test")
    shop.refresh()


def _elsewhere(fn):
    """In a thread that has no loop: the browser has one here, and the store wants none."""
    from django.db import connection

    def run():
        try:
            return fn()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(60)
