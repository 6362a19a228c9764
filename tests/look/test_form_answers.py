"""Every page that answers a form, in Chromium: its status, nothing that the console complains of, no
scrolling sideways, no English word on a Chinese page.

With PICTURES=docs/screens in the environment it leaves a picture of each there, as tests/look/screens.py does of pages.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit import chromium
from look import answers
from look.walking import TEXTS, Walk, english

pytestmark = pytest.mark.slow

LOOKS = {"zh": ("/zh", 360, "dark")}
if os.environ.get("PICTURES"):  # what can go wrong on these pages alone shows in Chinese, and both take minutes
    LOOKS["en"] = ("", 1440, "light")
FILL = """([to, fields]) => {
  const forms = [...document.querySelectorAll("main form[method=post]")];
  const form = to ? forms.find((each) => (each.getAttribute("action") || "").endsWith(to))
    : forms.find((each) => each.querySelector("input:not([type=hidden]), select, textarea")) || forms[0];
  if (!form) return `no form ${to} at ${location.pathname}`;
  for (const [name, value] of Object.entries(fields)) {
    if (name === "__action") { form.setAttribute("action", value); continue; }
    const inputs = [...form.querySelectorAll(`[name="${name}"]`)];
    for (const each of inputs.filter((each) => ["checkbox", "radio"].includes(each.type)))
      each.checked = each.value === value || (each.type === "checkbox" && value === "on");
    const input = inputs.find((each) => !["checkbox", "radio", "submit"].includes(each.type) && each.tagName !== "BUTTON");
    if (input && (input.tagName !== "SELECT" || [...input.options].some((each) => each.value === value)))
      input.value = value;
    else if (!inputs.some((each) => ["checkbox", "radio"].includes(each.type)) && !input) {
      const hidden = document.createElement("input");
      Object.assign(hidden, {type: "hidden", name, value});
      form.append(hidden);
    }
  }
  HTMLFormElement.prototype.submit.call(form);
  return "";
}"""


@pytest.fixture(scope="module")
def browser(shop):
    """It has a loop in this thread, so all that needs the store happens before it."""
    shop.options.public_price_list = "usd"
    shop.options.sign_up = True
    shop.options.single_person = True
    shop.worlds = {language: answers.prepared(shop) for language in LOOKS}
    with chromium.launched() as running:
        yield running


def take(walk, step, prefix):
    """Do the step; what is wrong with where it ends."""
    page = walk.page
    walk.as_one(step.who)
    page.goto(walk.shop.url + prefix + step.page)
    if step.fields is None:
        walk.keep(step.who)
        return []
    fields = step.fields(page.content()) if callable(step.fields) else step.fields
    statuses = []
    heard = lambda answer: answer.request.is_navigation_request() and statuses.append(answer.status)  # noqa: E731
    page.on("response", heard)
    with page.expect_navigation(timeout=30_000):
        if missing := page.evaluate(FILL, [step.to, dict(fields)]):
            page.goto("about:blank")
    page.remove_listener("response", heard)
    if step.who != "A":  # nobody is nobody again
        walk.keep(step.who)
    if missing:
        return [missing]
    # Of forms that are refused, some answer 400 and some show themselves again.
    wanted = {step.status, 400} if step.name.endswith("refused") else {step.status}
    return [] if set(statuses[-1:]) <= wanted else [f"status {statuses}, at {page.url}"]


def picture(page, folder, name, width):
    """As screens.py takes them."""
    page.set_viewport_size({"width": width, "height": 800})
    high = page.evaluate("document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": min(high, 1400)}
    page.screenshot(path=Path(folder) / f"{name}.{width}.jpg", type="jpeg", quality=55, clip=clip, full_page=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", LOOKS)
def test_every_answer(browser, shop, language):
    prefix, width, theme = LOOKS[language]
    world, folder = shop.worlds[language], os.environ.get("PICTURES")
    walk = Walk(browser, shop, language, width, theme, world.cookies, scale=0.5 if width > 400 else 1)
    faults = []
    for step in answers.steps(world):
        walk.faults = []
        found = take(walk, step, prefix)
        if not step.name:
            continue
        found += [fault for fault in walk.faults if "the server responded with a status of" not in fault]
        for other in (1440 + 360 - width, width):
            walk.page.set_viewport_size({"width": other, "height": 900})
            wide, seen = walk.page.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            found += [f"scrolls sideways: {wide} > {seen}"] if wide > seen else []
        if language == "zh":
            found += english(walk.page.evaluate(TEXTS), shop.options.shop_name)
        if folder:
            picture(walk.page, folder, f"answer-{step.name}", width)
        faults += [f"{step.name}: {each}" for each in found]
    walk.context.close()
    assert not faults, "\n".join(["", *faults])
