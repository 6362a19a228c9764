"""One window that notes everything it should not see, and the English words of a Chinese page."""

from __future__ import annotations

import re

from axe_playwright_python.base import AXE_SCRIPT

RUN_AXE = """(rules) => axe.run({resultTypes: ["violations"], runOnly: rules}).then((said) => said.violations
  .filter((found) => ["serious", "critical"].includes(found.impact)).map((found) => {
    const where = found.nodes.slice(0, 4).map((node) => `${node.target} (${node.any[0]?.message})`);
    return `axe ${found.id}: ${found.help} at ${where.join("; ")}`;
  }))"""
# What stands in Latin letters on a Chinese page: names and words of the trade.
LATIN = {
    "token", "base", "Base", "curl", "env", "embeddings", "stop", "logprobs", "Cookie", "Key", "Python", "Node", "one-api", "ms",
    "English", "Webhook", "https", "Ctrl", "mail",
    "usd", "openai",  # this shop's price list, and who made its models
}  # fmt: skip
TEXTS = """() => {
  const out = [];
  const names = "[translate=no], code, pre, kbd, samp, .mono, time, script, style, noscript, option[lang], "
    + "[lang]:not(html)";
  const texts = (root) => {
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode())
      if (!node.parentElement.closest(names)) out.push(node.textContent);
  };
  texts(document.body);
  for (const each of document.querySelectorAll("noscript"))  // text to this browser, marks to one without scripts
    texts(new DOMParser().parseFromString(each.textContent, "text/html").body);
  for (const name of ["title", "aria-label", "placeholder", "alt", "data-label", "data-copied"])
    for (const each of document.querySelectorAll(`[${name}]`))
      if (!each.closest("[translate=no]")) out.push(each.getAttribute(name));
  out.push(document.title);
  return out.map((text) => text.trim()).filter((text) => text);
}"""


def english(texts, shop_name):
    """Words that look like English on a Chinese page."""
    found = []
    for text in texts:
        for word in re.findall(r"[A-Za-z0-9_.:/\-=()]*[A-Za-z][A-Za-z0-9_.:/\-=()]*", text.replace(shop_name, "")):
            plain = word.strip(".:()/-")
            if re.fullmatch(r"[A-Z]?[a-z]+(?:[-/][a-z]+)*", plain) and len(plain) > 1 and plain not in LATIN:
                found.append(f"{plain} in {text[:60]!r}")
    return found


class Walk:
    """One window that notes everything it should not see."""

    def __init__(self, browser, shop, language, width, theme, cookies=None, scale=1):
        self.shop = shop
        self.faults = []
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, device_scale_factor=scale,
            locale="zh-CN" if language == "zh" else "en-US",
            reduced_motion="reduce",  # a colour on its way to another is no finding
        )  # fmt: skip
        self.context.set_default_timeout(90_000)  # a browser beside other work is slow, and that is no finding
        self._signed_in(cookies or {})
        self.page = self.context.new_page()
        self.page.on("console", lambda said: said.type in {"error", "warning"} and self.faults.append(said.text))
        self.page.on("pageerror", lambda fault: self.faults.append(str(fault)))
        self.page.on("request", self._request)
        self.page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.violatedDirective))"
        )

    def _signed_in(self, cookies):
        """The sessions of people, each in its own cookie; an auditor's is an operator's."""
        from farebox.look.sessions import COOKIES

        self.sessions = {
            who: [
                {"name": name, "value": value, "url": self.shop.url.replace("http:", "https:"), "secure": True}
                for name, value in cookies[who].items() if name in COOKIES.values()
            ]
            for who in cookies
        }  # fmt: skip

    def as_one(self, *names):
        """Go on as these, who have a session in different areas; as nobody where none is named, or known."""
        self.context.clear_cookies()
        for name in names:
            self.context.add_cookies(self.sessions.get(name, []))

    def keep(self, name):
        """What the browser has now is the session that this name goes on with."""
        self.sessions[name] = self.context.cookies()

    def _request(self, request):
        if not request.url.startswith((self.shop.url + "/", "data:")):
            self.faults.append(f"loads {request.url}")

    def look(self, path, sizes):
        """What is wrong with the page at this path in these sizes, themes, and what axe should look at there."""
        self.faults = []
        answer = self.page.goto(self.shop.url + path)
        if answer.status != 200:
            self.faults.append(f"status {answer.status}")
        for closed in self.page.query_selector_all("details:not([open]) > summary"):
            if closed.is_visible():
                closed.click()
        for width, theme, rules in sizes:
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(color_scheme=theme)
            self.page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
            wide, seen = self.page.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            if wide > seen:
                self.faults.append(f"scrolls sideways: {wide} > {seen}")
            if rules:
                self.page.evaluate(AXE_SCRIPT)
                self.faults += self.page.evaluate(RUN_AXE, rules)
        return self.faults
