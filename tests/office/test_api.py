"""The management API: tokens with roles, what each may do, and errors as JSON."""

from __future__ import annotations

import contextlib
import http.client
import re

import pytest

from farebox.accounts.caps import Caps
from kit import people
from kit.rows import for_each
from kit.shop import Answer
from office.script import Script


@pytest.fixture(scope="module")
def admin(shop):
    return Script(shop, "admin")


@pytest.fixture
def two_people(shop):
    before = shop.options.single_person
    shop.options.single_person = False
    yield
    shop.options.single_person = before


@pytest.mark.slow
def test_who_asks(shop, admin):
    found = admin.get("me")
    assert (found.status, found.json["role"], found.json["email"]) == (200, "admin", admin.person.email)
    assert found.headers["cache-control"] == "no-store"
    assert "set-cookie" not in found.headers


def test_only_a_token_opens_it(shop, admin):
    wrong = admin.ask("GET", "me", Authorization="Bearer fbo-" + "x" * 43)
    assert (wrong.status, wrong.json["error"]["code"]) == (401, "unauthorized")
    assert wrong.headers["www-authenticate"].startswith("Bearer")
    customer = people.customer(shop, "1")
    assert admin.ask("GET", "me", Authorization=f"Bearer {customer.customer.key}").status == 401
    # An operator's session is none of its credentials, and a token opens no page and no call.
    assert admin.person.get("/office/api/me").status == 401
    assert admin.ask("GET", "openapi.json", Authorization="").status == 401
    page = Answer(*_plain(shop, "/office/customers", admin.token))
    assert page.status == 302
    assert Answer(*_plain(shop, "/v1/models", admin.token)).status == 401


def _plain(shop, path, token):
    line = http.client.HTTPConnection("127.0.0.1", shop.server.port, timeout=60)
    with contextlib.closing(line):
        line.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept": "text/html"})
        response = line.getresponse()
        return response.status, dict(response.getheaders()), response.read()


def test_tokens_that_have_ended(shop):
    from farebox.accounts.models import OfficeToken
    from farebox.accounts.people import people as persons
    from farebox.accounts.sign_in import tokens
    from farebox.kit import clock

    for make in (
        lambda made: shop.write(tokens.revoke, made.row.id, person=None, now_us=clock.now_us(), actor="test"),
        lambda made: OfficeToken.objects.filter(id=made.row.id).update(expires_us=1),
        lambda made: shop.write(persons.set_operator_role, made.person.person, operator_role="auditor", actor="test"),
        lambda made: OfficeToken.objects.filter(id=made.row.id).update(addresses='["203.0.113.7"]'),
    ):
        made = Script(shop, "support")
        assert made.get("me").status == 200
        make(made)
        assert made.get("me").status == 401


def test_too_many_wrong_tokens(shop, admin, monkeypatch):
    from farebox.office.api import roles

    monkeypatch.setattr(shop.options, "wrong_keys_per_min", 2)
    roles._throttle.cache_clear()
    try:
        said = [admin.ask("GET", "me", Authorization="Bearer fbo-" + "y" * 43).status for _ in range(4)]
        assert said == [401, 401, 429, 429]
        assert admin.get("me").status == 200
    finally:
        roles._throttle.cache_clear()


@pytest.mark.slow
def test_errors_are_json(admin):
    for method, path, body, status in (
        ("GET", "nothing", None, 404),
        ("GET", "customers/acc_none", None, 404),
        ("PUT", "me", {}, 405),
        ("POST", "customers", {"name": "x"}, 422),
        ("POST", "customers", {"name": "x", "currency": "USD", "price_list": "usd", "more": 1}, 422),
        ("POST", "customers", {"name": "x", "currency": "EUR", "price_list": "usd"}, 400),
        ("GET", "customers?before=a%00b", None, 422),
        ("GET", "usage?from_day=2026-01-01&until_day=2026-12-31", None, 400),
        ("GET", "usage?from_day=2026-13-01&until_day=2026-13-01", None, 400),
    ):
        answer = admin.ask(method, path, body)
        assert answer.status == status, (path, answer.body)
        assert set(answer.json["error"]) >= {"code", "message"}
    good = '"name": "Twice Ltd", "currency": "USD", "price_list": "usd"'
    for twice, name in (('"name": "x"', "name"), ('"n\\u0061me": "x"', "name"), ('"currency": "CNY"', "currency")):
        for text in (f"{{{twice}, {good}}}", f"{{{good}, {twice}}}"):
            answer = admin.ask("POST", "customers", text)
            assert answer.status == 400 and f"twice in the JSON body (in {name})" in answer.json["error"]["message"]
    assert b"Twice Ltd" not in admin.get("customers").body
    broken = admin.ask("POST", "customers", None)
    assert broken.status in {400, 422}


@for_each(
    "query",
    [*(f"from_us={given}" for given in ("-1", "9" * 19, "1" + "0" * 400, "%D9%A1%D9%A2", "1e3", "1_0", "1.0", "%201%20", "")),
     "from_us=1&until_us=2%20"],
)  # fmt: skip
def test_numbers_in_queries_are_digits_within_bounds(admin, query):
    answer = admin.get(f"audit?{query}")
    assert answer.status == 422 and answer.json["error"]["message"].split(":")[0].endswith("_us"), answer.body


def test_a_parameter_that_comes_twice_is_refused(admin):
    assert admin.get("audit?from_us=1&until_us=2").status == 200
    for query in ("from_us=1&from_us=1", "from_us=1&until_us=9&%66rom_us=2", "from_us=1&from_us="):
        answer = admin.get(f"audit?{query}")
        assert answer.status == 400 and "'from_us' is repeated" in answer.json["error"]["message"]
    many = admin.get("audit?" + "&".join("a" * 1500))
    assert many.status == 400 and "too many" in many.json["error"]["message"]


@pytest.mark.slow
def test_every_number_that_is_sent_has_bounds():
    from farebox.office.api.app import described

    found = described()

    def numbers(part, place):
        if isinstance(part, list):
            for each in part:
                yield from numbers(each, place)
        elif isinstance(part, dict):
            if part.get("type") in {"integer", "number"}:
                yield place, part
            if "$ref" in part:
                name = part["$ref"].rpartition("/")[2]
                yield from numbers(found["components"]["schemas"][name], f"{place} {name}")
            for name, value in part.items():
                yield from numbers(value, f"{place}/{name}")

    sent = [
        each for path, verbs in found["paths"].items() for verb, what in verbs.items()
        for part in ("parameters", "requestBody") for each in numbers(what.get(part, {}), f"{verb} {path}")
    ]  # fmt: skip
    assert len(sent) > 20
    assert [place for place, part in sent if not ("minimum" in part and part.get("maximum", 2**63) < 2**63)] == []


@pytest.mark.slow
def test_roles(shop):
    """What a role may not do is not there."""
    account = shop.account("1")
    here = f"customers/{account.account}"
    may = {
        ("GET", "customers"): "SFXU", ("GET", here): "SFXU", ("GET", f"{here}/calls"): "SFXU",
        ("GET", f"{here}/keys"): "SXU", ("POST", f"{here}/unfreeze"): "X", ("POST", "models"): "X",
        ("GET", "usage?from_day=2026-01-01&until_day=2026-01-02"): "FXU", ("GET", "audit"): "SFXU",
        ("GET", "audit/head"): "FXU",
        ("POST", "money"): "SFX", ("POST", "channels"): "X", ("POST", "price-lists"): "X",
        ("POST", "money/adj_none/decline"): "SFX", ("GET", "channels"): "SFXU",
    }  # fmt: skip
    for letter, role in {"S": "support", "F": "finance", "X": "admin", "U": "auditor"}.items():
        script = Script(shop, role)
        for (method, path), letters in may.items():
            answer = script.ask(method, path, {"wrong": 1} if method == "POST" else None)
            if letter in letters:
                assert answer.status in {200, 400, 422}, (role, path, answer.status)
            else:
                assert answer.status == 404, (role, path, answer.status)


def test_an_auditor_token_of_an_administrator_reads_only(shop):
    script = Script(shop, "auditor", owner="admin")
    assert script.get("customers").status == 200
    assert script.post("price-lists", {"name": "a", "currency": "USD"}).status == 404


def test_customers_and_keys(shop, admin):
    made = admin.post("customers", {"name": "By script", "currency": "USD", "price_list": "usd"}).json
    here = f"customers/{made['id']}"
    assert admin.get(here).json == made
    assert made["id"] in [each["id"] for each in admin.get("customers?q=By%20script").json["data"]]
    assert admin.post(f"{here}/freeze").json["state"] == "frozen"
    assert admin.post(f"{here}/freeze").status == 400
    assert admin.post(f"{here}/unfreeze").status == 400  # a person does, in the office
    buyer, other = shop.account("0", caps=Caps(day_micro=5, ever_micro=70)), shop.account("0")
    here = f"customers/{buyer.account}"
    shown = admin.get(f"{here}/keys")
    assert [each["id"] for each in shown.json["data"]] == [buyer.key_id]
    assert shown.json["data"][0]["caps_micro"] == {"day": 5, "month": None, "ever": 70}
    assert buyer.key.encode() not in shown.body
    assert admin.post(f"customers/{other.account}/keys/{buyer.key_id}/revoke").status == 404
    assert admin.post(f"{here}/keys/{buyer.key_id}/revoke").json["state"] == "revoked"


def test_nobody_makes_a_key_for_a_customer(shop, admin):
    """Its text would be the operator's then (security 1)."""
    from farebox.accounts.models import ApiKey

    buyer = shop.account("0")
    answer = admin.ask("POST", f"customers/{buyer.account}/keys", {"name": "k"})
    assert (answer.status, b"sk-" in answer.body) == (405, False)
    assert ApiKey.objects.filter(account=buyer.account).count() == 1
    operations = [each for path in admin.get("openapi.json").json["paths"].values() for each in path.values()]
    assert operations
    assert not [each for each in operations if "plaintext" in repr(each) or "issue" in each["operationId"]]


@pytest.mark.slow
def test_a_token_proposes_and_declines_money_but_approves_none(shop, two_people):
    account = shop.account("5")
    support, finance, other = Script(shop, "support"), Script(shop, "finance"), Script(shop, "finance")
    body = {"account": account.account, "kind": "credit", "amount": "1.25", "reason": "by script"}
    assert support.post("money", body | {"account": "acc_none"}).status == 400
    made = finance.post("money", body).json
    assert (made["state"], made["amount_micro"]) == ("proposed", 1_250_000)
    # Approving takes a fresh proof of a person, which a token can't give: there is no such operation, for any role.
    for script in (support, finance, other, Script(shop, "admin")):
        assert script.post(f"money/{made['id']}/approve").status == 404
    assert account.balance == (5_000_000, 0)
    # Who proposed by script is no second person in the office.
    page = f"/office/money/{made['id']}"
    assert "Another person must approve it" in finance.person.follow(finance.person.fill(page, f"{page}/approve")).text
    other.person.fill(page, f"{page}/approve")
    assert support.get(f"money/{made['id']}").json["state"] == "booked"
    assert account.balance == (6_250_000, 0)
    second, third = support.post("money", body).json, support.post("money", body).json
    assert other.post(f"money/{second['id']}/decline", {"note": "no"}).json["state"] == "declined"
    assert support.post(f"money/{third['id']}/decline", {"note": ""}).json["state"] == "withdrawn"
    listed = support.get(f"money?account={account.account}").json["data"]
    assert [each["state"] for each in listed] == ["withdrawn", "declined", "booked"]


@pytest.mark.parametrize("alone", [False, True])
def test_what_a_person_must_prove_himself_for_is_no_operation(shop, admin, alone, monkeypatch):
    monkeypatch.setattr(shop.options, "single_person", alone)
    paths = admin.get("openapi.json").json["paths"]
    assert not [path for path in paths if path.rpartition("/")[2] in {"approve", "publish"}]
    assert [(path, list(paths[path])) for path in paths if "operator" in path] == [("/office/api/operators", ["get"])]
    assert "/office/api/money/{adjustment}/decline" in paths


@pytest.mark.slow
def test_prices(shop, admin):
    assert admin.post("price-lists", {"name": "script", "currency": "CNY"}).json["version"] is None
    prices = {"gpt-4": {"input": "200", "output": "400"}}
    draft = admin.post("price-lists/script/drafts", {"prices": prices, "usd_rate": "7.25", "note": "first"}).json
    assert draft["examples"] == [{"model": "gpt-4", "before_micro": None, "after_micro": 400_000}]
    assert admin.get("price-drafts").json["data"][0]["id"] == draft["id"]
    assert admin.post(f"price-drafts/{draft['id']}/publish").status == 404  # a person does, in the office
    page = f"/office/price-lists/drafts/{draft['id']}"
    assert admin.person.fill(page, f"{page}/publish").status == 302
    assert admin.get("price-lists/script").json["prices"]["gpt-4"] == {"input": "200.00", "output": "400.00"}
    second = admin.post("price-lists/script/drafts", {"prices": {"gpt-4": {"input": "210"}}, "usd_rate": "7.25"}).json
    assert admin.post(f"price-drafts/{second['id']}/drop").json["state"] == "dropped"
    assert admin.get("price-lists/script").json["version"] == 1
    assert admin.get("price-lists/script?version=9").status == 404
    assert admin.get("price-lists/house").status == 404
    assert admin.post("price-lists/script/drafts", {"prices": {"gpt-4": {"input": 1}}}).status == 422


@pytest.mark.slow
def test_models_and_channels(shop, admin):
    body = {"name": "script/one", "kinds": ["chat"], "classes": ["input", "output"], "context_tokens": 1000,
            "output_tokens_max": 100}  # fmt: skip
    assert admin.post("models", body).json["sold"] == []
    assert admin.get("models/script/one").json["context_tokens"] == 1000
    assert admin.post("model-listings/script/one", {"listed": False, "why": "test"}).json["listed"] is False
    assert admin.post("model-listings/none", {"listed": True}).status == 404
    assert admin.post("upstreams", {"name": "vendor"}).json["cost_currency"] == "USD"
    channel = {"name": "line", "upstream": "vendor", "base_url": "https://api.vendor.example/v1", "secret": "hush-hush"}
    made = admin.post("channels", channel)
    assert made.json["secret"] == "set"
    assert b"hush-hush" not in made.body + admin.get("channels").body
    assert made.json["state"] == "disabled"
    assert admin.post("channels/line/secret", {"secret": "other-hush"}).status == 400
    offered = admin.post("channels/line/offers", {"model": "gpt-4", "costs": {"input": "1.5"}}).json
    assert offered == {"model": "gpt-4", "upstream_model": "gpt-4", "costs": {"input": "1.500000"}}
    assert admin.post("channels/line/state", {"state": "disabled", "why": "test"}).json["state"] == "disabled"
    assert admin.post("channels/none/state", {"state": "active"}).status == 404
    costs = [each["models"] for each in Script(shop, "support").get("channels").json["data"]]
    assert all(offer["costs"] == {} for offers in costs for offer in offers)
    assert b"hush" not in Script(shop, "auditor").get("audit?verb=channel.").body


def test_usage_and_audit(shop, admin):
    from datetime import UTC, datetime

    customer = shop.account("1")
    charge = customer.receipt(customer.chat("gpt-4o-mini", "Hello"))["charge_micro"]
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    found = admin.get(f"usage?from_day={day}&until_day={day}&by=account").json["data"]
    mine = [each for each in found if each["name"] == customer.account]
    assert [(each["calls"], each["charge_micro"]) for each in mine] == [(1, charge)]
    calls = admin.get(f"customers/{customer.account}/calls").json["data"]
    assert [each["charge_micro"] for each in calls] == [charge]
    events = admin.get(f"audit?verb=calls.read&object={customer.account}").json["data"]
    assert events[0]["actor"] == f"operator:{admin.person.person} token:{admin.row.id}"


def test_the_page_of_the_api(shop, admin):
    page = admin.person.page("/office/api/")
    assert page.status == 200
    assert "/office/api/customers/{account}/freeze" in page.text
    found = admin.get("openapi.json").json
    assert found["openapi"].startswith("3.")
    assert found["components"]["securitySchemes"]


def test_the_page_says_every_operation_in_chinese(shop):
    from farebox.office.api import app, words

    does = {each["description"] for operations in app.described()["paths"].values() for each in operations.values()}
    assert does == words.DOES
    page = people.operator(shop).page("/zh/office/api/")
    assert "发起请求的 API 令牌。" in page.text
    assert [each for each in does if f">{each}<" in page.html] == []


def test_programs_read_english_whatever_language_they_ask_for(admin):
    answer = admin.ask(
        "POST", "customers/acc_none/price-list", {"price_list": "none"}, **{"Accept-Language": "zh-CN,zh"}
    )
    assert answer.status >= 400
    assert re.search("[\u4e00-\u9fff]", answer.body.decode()) is None
