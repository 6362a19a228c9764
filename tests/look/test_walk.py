"""Every page in Chromium, of visitors, customers and operators, in both languages, narrow and wide, light and dark.

No error in the console, nothing that the policy forbids, nothing loaded from elsewhere, no scrolling sideways, no serious
finding of axe-core, no English word on a Chinese page. Pages take turns between the languages, each in its sizes and
themes, and axe looks at every other; with WALK=all every page is walked in both, and axe looks at all, dark ones too.
"""

from __future__ import annotations

import os
import time
import tomllib
from pathlib import Path

import pytest

from kit import chromium, people
from look.walking import TEXTS, Walk, english

pytestmark = pytest.mark.slow

# Routes that are files, or answer programs.
FILES = {"prices.json", "prices.csv", "calls.json", "calls.csv", "settings.data", "playground.models",
         "office:audit_export"}  # fmt: skip
# What a page must be asked to show all that it can.
FILLED = {"office:audit_chain": "?check=1"}
MATRIX = tomllib.loads((Path(__file__).parents[1] / "matrix.toml").read_text("utf-8"))
COLOURS_AND_WORDS = [
    "color-contrast", "link-in-text-block", "html-lang-valid", "valid-lang", "document-title", "label", "button-name",
    "link-name", "input-button-name", "select-name", "image-alt", "svg-img-alt", "summary-name", "aria-dialog-name",
]  # fmt: skip
ALL = os.environ.get("WALK") == "all"
DARK_EVERY = 1 if ALL else 4
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Each page is loaded once in each language, in the first of its sizes, and turned to the second.
# Axe looks at all of the light page; of the dark one in Chinese at what colours and words change.
WALKS = {
    "en": [
        (1440, "light", WCAG),
        (360, "dark", None),
    ],
    "zh": [(360, "light", None if ALL else WCAG), (1440, "dark", COLOURS_AND_WORDS)],
}


@pytest.fixture(scope="module")
def browser(shop):
    """It has a loop in this thread, so all that needs the store happens before it."""
    shop.options.public_price_list = "usd"
    shop.walk = pages(shop)
    with chromium.launched() as running:
        yield running


def pages(shop):
    """(name, path, who) of every page, with something on it; who is A, O, X or U, and `cookies` has their sessions."""
    from django.urls import reverse

    from farebox.accounts.models import Account, ApiKey, Person

    owner, operator, auditor = people.customer(shop, "20"), people.operator(shop), people.operator(shop, "auditor")
    made = examples(shop, owner)
    found = []
    for name, said in MATRIX.items():
        row = said.get("GET", "").split()
        if not row or name in FILES or name.startswith("GET "):
            continue
        who = next((who for who, at in (("A", 0), ("O", 4), ("X", 7), ("U", 8)) if row[at].startswith("ok")), None)
        kinds = dict(part.split("=") for part in said.get("objects", "").split())
        if who is None or (kinds and not set(kinds.values()) <= set(made)) or name == "language":
            continue
        path = reverse(name, kwargs={at: made[kind] for at, kind in kinds.items()})
        found.append((name, path + FILLED.get(name, ""), who))
    # Names that customers give are no words of ours.
    Person.objects.update(name="王小明")
    Account.objects.filter(kind="customer").update(name="测试账户")
    ApiKey.objects.update(name="测试密钥")
    cookies = {"A": {}, "O": owner.cookies, "X": operator.cookies, "U": auditor.cookies}
    return found, cookies


def examples(shop, owner):
    """An object of each kind that has a page, by kind; long names, a call that failed, an open invitation."""
    from farebox.accounts import projects
    from farebox.accounts.models import Member, Project
    from farebox.accounts.team import invitations
    from farebox.upstreams.models import Channel

    stamp = {"now_us": time.time_ns() // 1000, "actor": "test"}
    account = owner.customer.account
    project = shop.write(projects.create, account=account, name="一个名字很长的项目，" * 6, **stamp)
    people.customer(shop, role="member", of=owner, project=project.id)
    code = []
    terms = invitations.InvitationTerms(project=project.id, with_key=True)
    guest = invitations.Guest("a.person.with.a.very.long.address@subdomain.of.a.long.example.com")
    shop.write(invitations.invite, account, [guest], terms, lambda *given: code.append(given[2]), **stamp)
    owner.customer.chat("gpt-4", "Hello")
    call = owner.customer.chat("gpt-4o-mini", "Hello")
    owner.customer.receipt(call)
    operator = people.person(shop, operator_role="finance")
    return {
        "model": "gpt-4o-mini", "project": project.id, "invitation_code": code[0], "call": call.call,
        "key": owner.customer.key_id, "statement": time.strftime("%Y-%m", time.gmtime()), "account": account,
        "member": Member.objects.exclude(id=owner.member).get(project=Project.objects.get(id=project.id)).id,
        "operator": operator.id, "channel": Channel.objects.get(name="sandbox").id, "list": "usd",
    }  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", WALKS)
def test_every_page(browser, shop, language):
    sizes = WALKS[language]
    walk = Walk(browser, shop, language, *sizes[0][:2], shop.walk[1])
    faults = []
    for number, (name, path, who) in enumerate(shop.walk[0]):
        if not ALL and number % 2 != list(WALKS).index(language):
            continue
        path = ("/zh" if language == "zh" else "") + path
        walk.as_one(*{"A": "", "U": "U"}.get(who, "OX"))
        walk.page.set_viewport_size({"width": sizes[0][0], "height": 900})
        looked = (
            sizes
            if number % DARK_EVERY == DARK_EVERY - 1
            else [(*each[:2], each[2] if each[1] == "light" else None) for each in sizes]
        )
        if not ALL and number // 2 % 2:
            looked = [(*each[:2], None) for each in looked]
        found = walk.look(path, looked)
        if language == "zh":
            found = [*found, *english(walk.page.evaluate(TEXTS), shop.options.shop_name)]
        faults += [f"{name} ({path}): {each}" for each in found]
    walk.context.close()
    assert not faults, "\n".join(["", *faults])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_page_that_is_not_there(browser, shop, language):
    walk = Walk(browser, shop, language, 360, "light")
    path = ("/zh" if language == "zh" else "") + "/nothing"
    found = [fault for fault in walk.look(path, WALKS[language]) if "404" not in fault]
    if language == "zh":
        found += english(walk.page.evaluate(TEXTS), shop.options.shop_name)
    walk.context.close()
    assert found == []


def test_theme_and_language_by_their_buttons(browser, shop):
    walk = Walk(browser, shop, "en", 1440, "light")
    page = walk.page
    page.goto(shop.url + "/prices?q=gpt")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Dark").click()
    page.wait_for_url(shop.url + "/prices?q=gpt")
    assert page.evaluate(background) != light
    page.get_by_role("link", name="简体中文").click()
    page.wait_for_url(shop.url + "/zh/prices?q=gpt")
    page.get_by_role("button", name="浅色").click()
    assert page.evaluate(background) == light
    page.get_by_role("link", name="English").click()
    page.wait_for_url(shop.url + "/prices?q=gpt")
    assert walk.faults == []
    walk.context.close()


def test_copy_buttons_copy(browser, shop):
    walk = Walk(browser, shop, "en", 1440, "light")
    walk.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = walk.page
    page.goto(shop.url + "/guide")
    button = page.get_by_role("button", name="Copy").first
    button.click()
    page.get_by_text("Copied").first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#base").inner_text().strip()
    assert walk.faults == []
    walk.context.close()


def test_pages_work_without_javascript(browser, shop):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 900})
    page = context.new_page()
    page.goto(shop.url + "/guide")
    assert page.get_by_role("button", name="Copy").count() == 0
    page.get_by_role("button", name="Dark").click()
    page.wait_for_url(shop.url + "/guide")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    context.close()


def test_by_keyboard_the_content_is_one_step_away(browser, shop):
    walk = Walk(browser, shop, "en", 1440, "light")
    page = walk.page
    page.goto(shop.url + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_url("**/#main")
    walk.context.close()
