"""The playground: a key of an hour that dies with its session, the models of the account, a chat with its exact cost."""

from __future__ import annotations

import json
import re
import time
from html import unescape

import pytest
from django.urls import reverse

from farebox.accounts.caps import Caps
from kit import chromium
from kit.people import customer
from kit.shop import Customer
from kit.talk import PROMPTLY_S, wait_for
from kit.visitor import Visitor

MODEL = "gpt-4o-mini"
KEY, MODELS = "/console/playground/key", "/console/playground/models"


@pytest.fixture
def owner(shop):
    return customer(shop, "1")


def mint(person, **fields):
    """Ask for a key as the page does; who calls with it."""
    answer = person.send(KEY, fields)
    assert answer.status == 200, answer.body
    assert answer.headers["cache-control"] == "no-store"
    return Customer(person.shop, person.customer.account, answer.json["id"], answer.json["key"])


def row(key_id):
    from farebox.accounts.models import ApiKey

    return ApiKey.objects.get(id=key_id)


@pytest.mark.slow
@pytest.mark.store
def test_a_key_of_an_hour_of_this_member(shop, owner):
    from farebox.accounts.sign_in import sessions
    from farebox.look.sessions import COOKIES

    me = mint(owner)
    key = row(me.key_id)
    assert (key.kind, key.name, key.member_id) == ("playground", "Playground", owner.member)
    assert 3590 < key.expires_us / 1e6 - time.time() <= 3600
    assert key.session == sessions.digest(owner.cookies[COOKIES["console"]])
    answer = me.chat(MODEL, stream=True)
    assert answer.status == 200
    assert me.receipt(answer)["charge_micro"] > 0
    assert owner.get(f"/console/keys/{me.key_id}").status == 404  # it is nobody's to change
    assert me.key_id not in owner.page("/console/keys?ended=1").html


def test_it_needs_no_step_up(shop, owner):
    from farebox.accounts.models import Person
    from farebox.accounts.sign_in import sessions
    from farebox.look.sessions import COOKIES

    who = Person.objects.get(id=owner.person)
    old = [{"method": "password", "at": time.time() - 4000}]
    owner.cookies[COOKIES["console"]] = sessions.sign_in(who, area="console", methods=old)
    assert mint(owner).chat(MODEL).status == 200


@pytest.mark.slow
@pytest.mark.store
@pytest.mark.parametrize("how", ["signed out", "ended", "others ended"])
def test_it_ends_with_its_session(shop, owner, how):
    from farebox.accounts.sign_in import sessions
    from farebox.kit.models import AuditEvent
    from farebox.look.sessions import COOKIES

    me = mint(owner)
    assert me.chat(MODEL).status == 200
    cookie = owner.cookies[COOKIES["console"]]
    if how == "signed out":
        assert owner.send(reverse("account_logout"), {}).status == 302
        assert COOKIES["console"] not in owner.cookies
    elif how == "ended":
        assert shop.write(sessions.end, owner.person, session=sessions.digest(cookie), actor="test")
    else:
        assert shop.write(sessions.end_others, owner.person, keep="another", actor="test") == 1
    begun = time.monotonic()
    wait_for(lambda: me.chat(MODEL).status == 401)
    assert time.monotonic() - begun < PROMPTLY_S
    assert row(me.key_id).state == "revoked"
    assert AuditEvent.objects.filter(object=me.key_id, verb="key.revoke").count() == 1
    assert owner.customer.chat(MODEL).status == 200  # other keys live on


def test_only_the_sessions_own_keys_end(shop, owner):
    from farebox.accounts.models import Person
    from kit.people import signed_in

    other = signed_in(shop, Person.objects.get(id=owner.person), "console", "password")
    other.customer, other.member = owner.customer, owner.member
    one, two = mint(owner), mint(other)
    owner.send(reverse("account_logout"), {})
    wait_for(lambda: one.chat(MODEL).status == 401)
    assert two.chat(MODEL).status == 200


def test_a_session_has_one(owner):
    made = [mint(owner) for _ in range(3)]
    assert [row(each.key_id).state for each in made] == ["revoked", "revoked", "active"]


def spent_today(key):
    from farebox.accounts import cap_use
    from farebox.kit import clock

    uses = cap_use.of(None, key, time_zone=key.account.time_zone, now_us=clock.now_us())
    return [(use.period, use.cap_micro, use.used_micro) for use in uses]


@pytest.mark.slow
@pytest.mark.store
def test_no_number_of_keys_spends_more_than_a_dollar_a_day(shop):
    """The attack: a session older than its proof mints keys without end. What each spends is counted together."""
    from farebox.accounts.models import Person
    from kit.people import signed_in

    owner = customer(shop, "20")
    other = signed_in(shop, Person.objects.get(id=owner.person), "console", "password")
    other.customer, other.member = owner.customer, owner.member
    charged = 0
    for who in (owner, other, owner, other):
        me = mint(who)
        answer = me.chat("gpt-4", "Hello", max_tokens=4000)
        charged += me.receipt(answer)["charge_micro"]
        key = row(me.key_id)
        assert spent_today(key) == [("day", 1_000_000, charged)]
    assert charged > 0
    me = mint(owner, cap=f"0.{charged + 1:06d}")  # of this day one micro-unit is left, whoever made which key
    refused = me.chat("gpt-4", "Hello " * 50)
    assert (refused.status, refused.json["error"]["code"]) == (429, "insufficient_quota")
    assert shop.findings() == []


def test_a_dollar_in_the_currency_of_the_account(shop, owner, publish):
    from farebox.accounts.keys import playground
    from farebox.accounts.models import Account
    from farebox.kit import clock

    publish("yuan", {"gpt-4": {"input": "1", "output": "2"}}, usd_rate="7.25")
    account = Account.objects.get(id=owner.customer.account)
    account.price_list_id = "yuan"
    assert playground.day_micro(account, now_us=clock.now_us()) == 7_250_000


def test_a_cap_of_its_own(owner):
    assert row(mint(owner, cap="12.50").key_id).caps == Caps(day_micro=1_000_000)
    me = mint(owner, cap="0.000001")
    key = row(me.key_id)
    assert key.caps == Caps(day_micro=1)
    answer = me.chat("gpt-4", "Hello " * 50)
    assert (answer.status, answer.json["error"]["code"]) == (429, "insufficient_quota")


@pytest.mark.parametrize("cap", ["x", "-1", "0.0000001"])
def test_a_cap_that_is_none(owner, cap):
    answer = owner.send(KEY, {"cap": cap})
    assert answer.status == 400
    assert "12.50" in answer.json["error"]


def test_who_may_ask(shop, owner):
    visitor = Visitor(shop)
    for path in ("/console/playground", MODELS):
        answer = visitor.get(path)
        assert (answer.status, answer.headers["location"].split("?")[0]) == (302, reverse("account_login"))
    assert visitor.send(KEY, {}).status == 302
    assert owner.get(KEY).status == 405
    assert owner.send(KEY, {"csrfmiddlewaretoken": "x" * 32}).status == 403
    assert owner.send(KEY, {}, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    member = customer(shop, of=owner, role="member")
    me = mint(member)
    assert row(me.key_id).member_id == member.member
    assert me.chat(MODEL).status == 200


def test_an_account_without_a_project_in_use_is_told_so(shop, owner):
    from farebox.accounts import projects
    from farebox.kit import clock

    project = row(owner.customer.key_id).project_id
    shop.write(projects.archive, project, now_us=clock.now_us(), actor="test")
    answer = owner.send(KEY, {})
    assert answer.status == 409
    assert "no active project" in answer.json["error"]
    page = owner.page("/console/keys/new")
    assert "There is no active project" in page.text


def test_the_models_and_prices_are_those_of_the_account(shop, owner, publish):
    from farebox.accounts import accounts

    listed = owner.get(MODELS).json
    by_name = {each["name"]: each for each in listed["models"]}
    assert listed["currency"] == "USD"
    assert by_name["gpt-4"]["prices"] == {"input": 30_000_000, "output": 60_000_000}
    assert by_name["gpt-4-1106-vision-preview"]["image"]
    assert not by_name["gpt-4"]["image"]
    assert "gpt-3.5-turbo-instruct" not in by_name  # no chat
    publish("special", {"gpt-4": {"input": "1", "output": "2"}}, currency="USD")
    shop.write(accounts.set_price_list, owner.customer.account, price_list="special", actor="test")
    own = owner.get(MODELS).json["models"]
    assert [(each["name"], each["prices"]) for each in own] == [("gpt-4", {"input": 1_000_000, "output": 2_000_000})]


def test_the_page_can_count_images(owner):
    from farebox.catalog.images import FORMULAS

    by_name = {each["name"]: each for each in owner.get(MODELS).json["models"]}
    tile = FORMULAS["openai_tile"]
    assert by_name["gpt-4-1106-vision-preview"]["image_tokens"] == {"base": tile.base, "tile": tile.tile}
    assert by_name["gpt-4"]["image_tokens"] is None


def test_refusals_have_words_in_the_language_of_the_page(shop, owner):
    poor = mint(owner, cap="0.000001")
    refused = [poor.chat("gpt-4", "Hello " * 50), poor.chat("absent")]
    codes = [answer.json["error"]["code"] for answer in refused]
    assert codes == ["insufficient_quota", "model_not_found"]
    said = {}
    for path in ("/console/playground", "/zh/console/playground"):
        found = re.search(r'data-refusals="([^"]*)"', owner.page(path).html)
        said[path] = json.loads(unescape(found[1]))
    english, chinese = said.values()
    assert set(codes) <= set(english) == set(chinese)
    assert "Add credit, or raise the cap." in english["insufficient_quota"]
    assert "余额或限额" in chinese["insufficient_quota"]
    assert all(re.search(r"[\u4e00-\u9fff]", each) for each in chinese.values())
    assert 'data-refused="调用被拒绝：' in owner.page("/zh/console/playground").html


def test_without_javascript_a_sentence_says_so(owner):
    page = owner.page("/console/playground")
    assert re.search(r"<noscript>.*requires JavaScript.*</noscript>", page.html, re.DOTALL)
    assert 'id="playground" hidden' in page.html


# in a browser


def charge_of(shop, call):
    """Micro-units that the store says; asked in the shop's own loop, for the browser has one in this thread."""

    def read(tx):
        return tx.one("SELECT charge_micro FROM calls_call WHERE id = %s", (call,))[0]

    return shop.loop.run(shop.server.ports.store.read(read))


@pytest.fixture(scope="module")
def walker(shop):
    """A signed-in customer and a browser; the store is used before it, for it has a loop in this thread."""
    person = customer(shop, "5")
    with chromium.launched() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        address = shop.url.replace("http:", "https:")
        context.add_cookies(
            [{"name": name, "value": value, "url": address, "secure": True} for name, value in person.cookies.items()]
        )
        page = context.new_page()
        faults: list[str] = []
        page.on("console", lambda said: said.type in {"error", "warning"} and faults.append(said.text))
        yield person, page
        assert faults == []


@pytest.mark.slow
def test_a_chat_shows_what_its_receipt_says(shop, walker):
    person, page = walker
    page.goto(shop.url + "/console/playground")
    page.wait_for_selector("#pg-model option >> nth=1", state="attached")
    page.select_option("#pg-model", "gpt-4")
    page.fill("#pg-system", "Be brief.")
    page.fill("#pg-limit", "50")
    page.fill("#pg-text", 'Hello "there" it\'s me\nand a line')
    code = page.text_content("#pg-python")
    compile(code, "code", "exec")
    assert "max_tokens=50" in code
    page.press("#pg-text", "Enter")
    page.wait_for_selector(".cost a")
    said = page.inner_text(".turn.assistant .said")
    assert "it's me" in said
    path = page.get_attribute(".cost a", "href")
    call = path.rsplit("/", 1)[1]
    page.fill("#pg-text", "And again")
    page.click("#pg-send")
    page.wait_for_selector(".cost a >> nth=1")
    sums = [int(each.get_attribute("data-charge-micro")) for each in page.query_selector_all(".cost")]
    assert page.inner_text("#pg-sum").startswith("$0.")
    last = shop.sandbox.requests[-1].body
    assert [each["role"] for each in last["messages"]] == ["system", "user", "assistant", "user"]
    assert last["max_tokens"] == 50
    assert person.get(path).status == 200  # the receipt's own page
    assert sums == [
        charge_of(shop, call),
        charge_of(shop, page.get_attribute(".cost a >> nth=1", "href").rsplit("/")[-1]),
    ]


@pytest.mark.slow
def test_stopping_an_answer_ends_the_call(shop, walker):
    _, page = walker
    page.goto(shop.url + "/console/playground")
    page.wait_for_selector("#pg-model option >> nth=1", state="attached")
    page.select_option("#pg-model", "gpt-4")
    page.fill("#pg-text", "sandbox: tokens=2000+pace=20")
    page.click("#pg-send")
    page.wait_for_selector(".turn.assistant .said:not(:empty)")
    live = page.inner_text(".cost")
    assert live.startswith("about $0.0")
    page.click("#pg-stop")
    page.wait_for_selector(".cost a")
    assert "stopped" in page.inner_text(".cost")
    assert int(page.get_attribute(".cost", "data-charge-micro")) > 0


@pytest.mark.slow
def test_an_image_goes_along_and_a_model_that_reads_none_says_so(shop, walker):
    _, page = walker
    pixel = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf50"
        "0f000301010018dd8db00000000049454e44ae426082"
    )
    page.goto(shop.url + "/console/playground")
    page.wait_for_selector("#pg-model option >> nth=1", state="attached")
    page.select_option("#pg-model", "gpt-4")
    page.set_input_files("#pg-image", {"name": "a.png", "mimeType": "image/png", "buffer": pixel})
    page.wait_for_selector("#pg-log .flash")
    assert "does not support images" in page.inner_text("#pg-log .flash")
    page.select_option("#pg-model", "gpt-4-1106-vision-preview")
    page.fill("#pg-text", "What is this?")
    assert "data:image/png;base64," in page.inner_text("#pg-curl")
    page.click("#pg-send")
    page.wait_for_selector(".cost a")
    content = shop.sandbox.requests[-1].body["messages"][-1]["content"]
    assert content[1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


@pytest.mark.slow
def test_the_button_that_tests_a_new_key(shop, walker):
    _, page = walker
    page.goto(shop.url + "/console/keys/new")
    page.fill("#id_name", "from the browser")
    page.click("main form .primary")
    page.select_option("#try-model", "gpt-4")
    page.click("#try-go")
    page.wait_for_selector("#try-said .figure")
    assert re.fullmatch(r"Charge \$0\.\d+ · Receipt", page.inner_text("#try-said .figure"))
    assert "/console/calls/call_" in page.get_attribute("#try-said a", "href")
