"""First page, guide, rules, terms and privacy: what they say is what the shop does."""

from __future__ import annotations

import ast
import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from farebox.catalog import pricing
from farebox.catalog import rules as charged_by
from farebox.console.keys import clients
from farebox.console.public import own_text
from farebox.console.rules import rules
from farebox.kit import money, options
from kit import people
from kit.visitor import Visitor, folded

KEY = "sk-FBX1" + "a" * 44


@pytest.fixture
def visitor(shop):
    return Visitor(shop)


@pytest.fixture
def cards(shop):
    from farebox.catalog import shelf
    from farebox.kit import clock

    return [
        card for card in shop.read(shelf.load, clock.now_us()).models("usd", clock.now_us()) if "chat" in card.kinds
    ]


@pytest.fixture
def settings(cards):
    found = clients.settings("https://shop.example", cards, key=KEY)
    return {block.id: block.text for client in found for block in client.blocks}


def text(answer):
    return unescape(folded(answer.body.decode()))


# announcements


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/status"])
def test_announcements_are_public(shop, visitor, path):
    from farebox.kit import announcements, clock

    now_us = clock.now_us()
    facts = {"from_us": now_us - 1_000_000, "until_us": None, "now_us": now_us, "actor": "test"}
    both = shop.write(announcements.add, en="We move <b>tonight</b>.", zh="今晚搬家。", level="warn", **facts)
    one = shop.write(announcements.add, en="Only English.", zh="", **facts)
    later = shop.write(announcements.add, en="Not yet.", zh="", **facts | {"from_us": now_us + 3_600_000_000})
    english, chinese = visitor.page(path), visitor.page("/zh" + path)
    assert "We move &lt;b&gt;tonight&lt;/b&gt;." in english.html
    assert '<div class="flash warn">' in english.html
    assert "今晚搬家。" not in english.text
    assert "今晚搬家。" in chinese.text
    assert "tonight" not in chinese.text
    assert '<span lang="en">Only English.</span>' in chinese.html
    assert "Only English." in english.text
    assert "Not yet." not in english.text
    for each in (both, one, later):
        shop.write(announcements.end, each["id"], actor="test")
    assert "Announcement" not in visitor.page(path).text


# first page


def test_the_example_receipt_is_arithmetic_of_the_shop(shop, visitor):
    page = text(visitor.get("/"))
    ticket = page[page.index('class="ticket') : page.index("</section>")]
    prices = {"input": money.parse("0.15"), "output": money.parse("0.60")}
    made = pricing.charge(prices, pricing.Usage(input=1200, output=350))
    assert "gpt-4o-mini" in ticket
    assert money.text(made.amount_micro, places_min=6) in ticket
    for line in made.lines:
        assert pricing.fraction(line.numerator) in ticket
    assert "Price list usd, version 1" in ticket


def test_prices_on_the_first_page_are_those_of_the_list(shop, visitor):
    page = text(visitor.get("/"))
    row = re.search(r"<tr[^>]*><th[^>]*>(?:<[^>]+>)*gpt-4<.*?</tr>", page)[0]
    assert re.findall(r'<td class="n[^"]*">([^<]*)</td>', row) == ["8,192", "$30.00", "$60.00"]


def test_without_a_public_list_no_price_is_shown(shop, visitor, monkeypatch):
    monkeypatch.setattr(shop.options, "public_price_list", "nowhere")
    page = text(visitor.get("/"))
    assert "No prices are published yet." in page
    assert "$30.00" not in page
    assert visitor.get("/guide").status == 200


def test_a_second_list_hides_no_prices(shop, visitor):
    from farebox.catalog import price_lists
    from farebox.catalog.models import PriceList

    shop.write(price_lists.create_list, name="friends", currency="USD", about="", actor="test")
    try:
        assert "$30.00" in text(visitor.get("/"))
    finally:
        PriceList.objects.filter(name="friends").delete()


def test_models_that_do_not_chat_are_shown_as_well(shop, visitor, monkeypatch):
    from farebox.catalog import price_lists, sheets
    from farebox.kit import clock

    shop.write(price_lists.create_list, name="vectors", currency="USD", about="", actor="test")
    rows = [sheets.row("text-embedding-3-small", "input", "0.02")]
    shop.write(price_lists.publish, "vectors", rows, actor="test", now_us=clock.now_us())
    shop.refresh()
    monkeypatch.setattr(shop.options, "public_price_list", "vectors")
    page = visitor.page("/")
    assert page.rows(1)["text-embedding-3-small"][-1] == "$0.02"
    assert "1 model" in page.text
    assert "No prices are published yet." not in page.text
    assert "text-embedding-3-small" not in visitor.page("/guide").text


def test_the_first_page_leads_to_a_key(shop, visitor, monkeypatch):
    def leads(who):
        page = text(who.get("/"))
        button = re.search(r'<a class="button primary" href="([^"]+)">([^<]+)</a>', page)
        return button[1], button[2], re.search(r'<h3><a href="([^"]+)">Get a key</a>', page)[1]

    assert leads(visitor) == ("/account/sign-up", "Sign up", "/account/sign-up")
    assert leads(people.customer(shop)) == ("/console/", "Go to the console", "/console/keys")
    monkeypatch.setattr(shop.options, "sign_up", False)
    assert leads(visitor) == ("/account/sign-in", "Sign in", "/account/sign-in")


def test_the_first_page_names_the_trial_credit(shop, visitor, monkeypatch):
    from farebox.kit import settings

    said = "New accounts get $1.50 of trial credit, once per e-mail address, valid for 14 days."
    assert "trial credit" not in visitor.page("/").text
    shop.write(settings.put_all, {"trial_micro": {"CNY": 9_000_000}, "trial_days": 14}, actor="test")
    try:
        assert "trial credit" not in visitor.page("/").text  # none for accounts in the currency of the shop
        shop.write(settings.put_all, {"trial_micro": {"USD": 1_500_000}}, actor="test")
        assert said in visitor.page("/").text
        assert "新账户赠送 $1.50 试用额度" in visitor.page("/zh/").text
        assert said not in people.customer(shop).page("/").text
        monkeypatch.setattr(shop.options, "sign_up", False)
        assert said not in visitor.page("/").text
    finally:
        shop.write(settings.put_all, {"trial_micro": {}, "trial_days": 30}, actor="test")


# guide


def test_the_guide_shows_the_settings_of_this_shop(shop, visitor, monkeypatch):
    monkeypatch.setattr(shop.options, "public_url", "https://shop.example/")
    page = text(visitor.get("/guide"))
    shown = dict(re.findall(r'<pre id="([^"]+)">(.*?)</pre>', page, re.DOTALL))
    assert shown["base"] == "https://shop.example/v1"
    assert shown["env-file"] == "OPENAI_BASE_URL=https://shop.example/v1\nOPENAI_API_KEY=sk-...\n"
    assert shown["nextchat-endpoint"] == "https://shop.example"
    assert "127.0.0.1" not in page


def test_gpt_academic_reads_its_lines(settings, cards):
    """As the program does: Python assignments, one whole address in place of the official one."""
    lines = {
        node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(settings["gpt-academic-config"]).body
    }
    official = "https://api.openai.com/v1/chat/completions"
    assert lines["API_KEY"] == KEY
    assert lines["API_URL_REDIRECT"] == {official: "https://shop.example/v1/chat/completions"}
    assert lines["LLM_MODEL"] in lines["AVAIL_LLM_MODELS"]
    for name in lines["AVAIL_LLM_MODELS"]:
        known = re.fullmatch(r"one-api-(.+)\(max_token=(\d+)\)", name)
        card = next(card for card in cards if card.name == (known[1] if known else name))
        assert not known or int(known[2]) == card.context_tokens


def test_nextchat_reads_its_import_link():
    link = clients.import_link("https://chat.example/", "https://shop.example", KEY)
    assert link.startswith("https://chat.example/#/?settings=")
    given = json.loads(unquote(urlsplit(link).fragment.partition("settings=")[2]))
    assert given == {"key": KEY, "url": "https://shop.example"}


def test_a_deployment_of_nextchat_reads_its_lines(settings, cards):
    lines = dict(line.split("=", 1) for line in settings["nextchat-deployment"].splitlines())
    assert lines["BASE_URL"] == "https://shop.example"
    assert lines["OPENAI_API_KEY"] == KEY
    assert lines["ENABLE_BALANCE_QUERY"] == "1"
    first, *models = lines["CUSTOM_MODELS"].split(",")
    assert first == "-all"
    assert models == [f"+{card.name}@OpenAI" for card in cards]


def test_code_for_python_is_python(settings):
    for name in ("python-code", "langchain-code"):
        ast.parse(settings[name])
        assert 'base_url="https://shop.example/v1"' in settings[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["python-code", "langchain-code"])
def test_code_for_python_runs(shop, cards, capsys, name):
    me = shop.account("1")
    first = [card for card in cards if card.name == "gpt-4o-mini"]
    found = clients.settings(shop.url, first, key=me.key)
    (code,) = (block.text for client in found for block in client.blocks if block.id == name)
    exec(compile(code, name, "exec"), {})
    assert "Hello!" in capsys.readouterr().out


def test_the_address_of_the_shop():
    def origin(**given):
        return options.Options(given).origin

    assert origin(public_url="https://a.example/") == "https://a.example"
    assert origin(host="0.0.0.0", port=81) == "http://127.0.0.1:81"
    assert origin(host="::", port=81) == "http://[::1]:81"
    assert origin(host="10.1.2.3") == "http://10.1.2.3:8080"


# rules


@pytest.mark.parametrize(("version", "file"), [(1, "rules.md"), (2, "rules-2.md")])
def test_every_rule_is_on_the_page_once(visitor, version, file):
    written = (Path(__file__).parents[2] / "docs" / file).read_text(encoding="utf-8")
    numbers = re.findall(r"^\| (R\d\d) \|", written, re.MULTILINE)
    assert sorted(rule.number for group in rules.GROUPS[version] for rule in group.rules) == numbers
    for path in (f"/rules?version={version}", f"/zh/rules?version={version}"):
        assert sorted(re.findall(r'id="(R\d\d)"', text(visitor.get(path)))) == numbers


@pytest.mark.parametrize("version", [1, 2])
def test_the_free_rules_are_those_by_which_calls_are_charged(version):
    (free,) = (group for group in rules.GROUPS[version] if str(group.title) == "Free")
    # R26 is free for the repeated call alone.
    assert {rule.number for rule in free.rules} == charged_by.of(version).free - {"R26"}


def test_which_version_applies_and_its_allowance_are_said(shop, visitor, monkeypatch):
    """Before a date is chosen, while it is coming, from it on, and in a shop that never had another."""
    from farebox.kit import clock, db, settings

    monkeypatch.setattr(shop.options, "allowance_growth_percent", 7)

    def begins(from_us):
        def write(tx):
            settings.keep(tx, settings.RULES_2_FROM, from_us)
            db.bump(tx, "settings")

        shop.write(write)
        return [visitor.page(f"/rules{asked}").text for asked in ("", "?version=1", "?version=2", "?version=9")]

    free = "Failed calls are free, within an allowance that normal use does not reach."
    plain, _one, two, nine = begins(clock.now_us() + 10**12)
    assert all("Version 1 applies to calls that start now" in page for page in (plain, nine))
    assert "apply from" in two and free in two and free not in plain
    plain, one, _two, _nine = begins(clock.now_us() - 10**12)
    assert "Version 2 applies to calls that start now" in plain and free in plain
    assert re.search(r"starts at \S*0\.10\b.*, grows by 7% of each charge .* capped at \S*5\.00\b", plain)
    assert "Version 1 applies to calls that started before" in one
    assert "within an allowance" in visitor.page("/terms").text and "within an allowance" in visitor.page("/").text
    _plain, one, _two, _nine = begins(0)
    assert "has never applied here" in one
    plain, _one, two, _nine = begins(None)
    assert "does not apply here yet" in two and free not in plain
    assert "免单额度" in visitor.page("/zh/rules?version=2").text


# terms and privacy


def test_privacy_says_how_long(shop, visitor, monkeypatch):
    monkeypatch.setattr(shop.options, "diagnostics_days", 14)
    assert "14 days" in text(visitor.get("/privacy"))
    assert "14 天" in text(visitor.get("/zh/privacy"))


def test_privacy_names_each_cookie_and_how_long_it_stays(shop):
    from farebox.accounts.sign_in import browsers, sessions

    me = people.customer(shop, password=people.PASSWORD)
    guest, given = Visitor(shop, "en"), set()
    for path, to, fields in (
        ("/account/sign-in", "/theme", {"theme": "dark"}),
        ("/account/sign-in", None, {"login": me.email, "password": people.PASSWORD}),
        ("/console/settings", "/console/settings/person", {"name": "Ada", "language": "en", "time_zone": "UTC"}),
    ):
        assert guest.fill(path, to, **fields).status == 302
        given |= set(guest.cookies)
    page = guest.page("/privacy")
    rows = {row[0]: row for row in page.tables[1][1:]}
    assert set(rows) == given
    limits = sessions.AREAS["console"]
    assert rows["__Host-s"][2] == f"Up to {limits.age_s // 86_400} days"
    assert rows["__Host-known"][2] == f"{browsers.KNOWN_AGE_S // 86_400} days"
    assert f"{limits.idle_s // 3600} hours of inactivity or {limits.age_s // 86_400} days" in page.text
    for stored in ("trial credit", "webhook", "sign-in service", "IP address"):
        assert stored in page.text


@pytest.mark.parametrize("page", ["terms", "privacy"])
def test_an_operators_own_text_stands_in_place_of_ours(shop, visitor, page):
    folder = shop.options.data / "texts"
    folder.mkdir(exist_ok=True)
    file = folder / f"{page}.zh.md"
    file.write_text("\ufeff# 本店条款\n\n第一条。\n第二条。\n\n- 甲\n- <b>乙</b>\n\n## 联系", encoding="utf-8")
    try:
        chinese, english = text(visitor.get(f"/zh/{page}")), visitor.get(f"/{page}").body.decode()
        assert "<h1>本店条款</h1>" in chinese
        assert '<article class="text" lang="zh-Hans"' in english
        assert "&lt;b&gt;乙&lt;/b&gt;" in english
        (folder / f"{page}.en.md").write_text("# Our own\n", encoding="utf-8")
        assert "<h1>Our own</h1>" in text(visitor.get(f"/{page}"))
        assert "本店条款" in text(visitor.get(f"/zh/{page}"))
    finally:
        for each in folder.iterdir():
            each.unlink()


def test_the_few_marks_of_an_own_text():
    made = own_text.parts("# A\nb\nc\n\n\n- d\n* e\n\n- f\r\n\r\n### g\n# not #h\n#i")
    assert made == (
        ("h1", ("A",)), ("p", ("b", "c")), ("ul", ("d", "e")), ("ul", ("f",)), ("h3", ("g",)), ("h1", ("not #h",)),
        ("p", ("#i",)),
    )  # fmt: skip
    assert own_text.parts("") == ()
