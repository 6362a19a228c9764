"""Models and price lists in the office: a draft, its differences, its publication by another person."""

from __future__ import annotations

import itertools
import re

import pytest

from kit import people
from office.script import Script

pytestmark = pytest.mark.slow
_names = itertools.count(1)


@pytest.fixture
def admin(shop):
    return people.operator(shop, "admin")


@pytest.fixture
def retail(shop):
    """A list in yuan with two prices; its name."""
    from farebox.catalog import price_lists, sheets
    from farebox.kit import clock

    name = f"retail{next(_names)}"
    shop.write(price_lists.create_list, name, "CNY", actor="test")
    rows = [sheets.row("gpt-4", "input", "200"), sheets.row("gpt-4", "output", "400")]
    shop.write(price_lists.publish, name, rows, usd_rate="7.25", actor="test", now_us=clock.now_us())
    return name


def draw_up(who, name, **fields):
    """The address of a draft that this makes."""
    answer = who.fill(f"/office/price-lists/{name}/change", **fields)
    assert answer.status == 302, answer.text[:600]
    return answer.headers["location"]


def test_a_draft_shows_each_change_and_an_example(shop, admin, retail):
    page = admin.page(draw_up(admin, retail, rows="gpt-4 input 100\r\ngpt-4 output 410", note="half"))
    assert page.status == 200
    # 1,000 of input and 500 of output: 0.2 + 0.2 before, 0.1 + 0.205 after.
    assert ["gpt-4", "0.400000", "0.305000"] in page.tables[0]
    assert ["gpt-4", "Input", "¥200.00", "¥100.00", "−50% large"] in page.tables[1]
    assert ["gpt-4", "Output", "¥400.00", "¥410.00", "+2.5%"] in page.tables[1]
    assert "1 price changes by a lot" in page.text


def test_publishing_and_history(shop, admin, retail):
    draft = draw_up(admin, retail, rows="gpt-4 input 210", note="dearer")
    page = admin.follow(admin.fill(draft, f"{draft}/publish"))
    assert "Version published" in page.text
    assert page.rows()["gpt-4"] == ["¥210.00", "¥400.00"]
    listed = admin.page(f"/office/price-lists/{retail}")
    assert [row[0] for row in listed.tables[1][1:]] == ["v2", "v1"]
    assert "in force" in listed.tables[1][1][4]
    assert admin.page(f"/office/price-lists/{retail}?version=1").rows()["gpt-4"][0] == "¥200.00"
    again = admin.follow(admin.fill(f"/office/price-lists/{retail}", f"{draft}/publish"))
    assert "already published" in again.text


def test_another_person_publishes(shop, admin, retail, two_people):
    draft = draw_up(admin, retail, rows="gpt-4 input 220")
    own = admin.page(draft)
    assert "Another administrator must publish it" in own.text
    assert "Publish prices" not in own.text
    refused = admin.follow(admin.fill(draft, f"{draft}/publish"))
    assert "Another person must publish it" in refused.text
    for role in ("support", "finance", "auditor"):
        other = people.operator(shop, role)
        assert other.page(draft).status == 200
        assert other.send(f"{draft}/publish", {}).status == 404
        assert other.send(f"{draft}/drop", {}).status == 404
    done = people.operator(shop, "admin")
    assert "Version published" in done.follow(done.fill(draft, f"{draft}/publish")).text


def test_a_draft_lapses_after_72_hours(shop, admin, retail):
    from farebox.catalog.models import PriceDraft

    draft = draw_up(admin, retail, rows="gpt-4 input 0")
    row = PriceDraft.objects.get(id=draft.rpartition("/")[2])
    PriceDraft.objects.filter(id=row.id).update(made_us=row.made_us - 72 * 3600 * 1_000_000)
    assert "expired after 72 hours" in admin.follow(admin.send(f"{draft}/publish", {})).text


def test_a_draft_that_is_out_of_date(shop, admin, retail):
    first = draw_up(admin, retail, rows="gpt-4 input 230")
    second = draw_up(admin, retail, rows="gpt-4 input 240")
    admin.fill(first, f"{first}/publish")
    answer = admin.follow(admin.fill(second, f"{second}/publish"))
    assert "newer version than this draft is based on" in answer.text
    assert "Draft discarded" in admin.follow(admin.fill(second, f"{second}/drop")).text


def test_a_day_to_come(shop, admin, retail):
    draft = draw_up(admin, retail, rows="gpt-4 input 250", begins="2099-01-01T00:00")
    admin.fill(draft, f"{draft}/publish")
    page = admin.page(f"/office/price-lists/{retail}")
    assert page.rows()["gpt-4"][0] == "¥200.00"
    assert page.tables[1][1][4] == "scheduled"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "Enter the prices"),
        ({"rows": "gpt-4 input"}, "Line 1"),
        ({"rows": "gpt-4 input minus"}, "not an amount"),
        ({"rows": "gpt-4 nothing 1"}, "not a usage class"),
        ({"rows": "no-such-model input 1"}, "Define it first"),
        ({"rows": "gpt-4 input 200"}, "Nothing would change"),
        ({"rows": "gpt-4 input 1", "begins": "2001-01-01T00:00"}, "in the past"),
        ({"rows": "gpt-4 input 1", "begins": "soon"}, "Enter a date"),
        ({"from_usd_source": "official-usd"}, "how many CNY"),
        ({"from_usd_source": "nowhere", "rate": "7"}, "no price list"),
        ({"remove": "gpt-4o"}, "no price to remove"),
    ],
)
def test_bad_input_is_said_and_kept(shop, admin, retail, fields, why):
    page = admin.fill(f"/office/price-lists/{retail}/change", **fields)
    assert page.status == 400
    assert why in page.text
    assert fields.get("rows", "") in page.html


def test_what_the_catalogue_proposes_begins_on_a_day(shop, admin, retail):
    here = f"/office/price-lists/{retail}/catalogue"
    page = admin.page(here)
    keys = re.findall(r'name="take" value="(gpt-4 \w+)"', page.html)
    assert keys
    for begins, why in (("soon", "Enter a date"), ("2001-01-01T00:00", "in the past")):
        page = admin.fill(here, take=keys[0], begins=begins)
        assert page.status == 400
        assert why in page.text
        assert f'value="{begins}"' in page.html
        assert re.search(rf'value="{keys[0]}" id="t\d+" checked', page.html)
    answer = admin.fill(here, take=keys[0], begins="2099-01-01T00:00")
    assert answer.status == 302, answer.text[:600]
    draft = answer.headers["location"]
    assert "2099" in admin.page(draft).text
    admin.fill(draft, f"{draft}/publish")
    page = admin.page(f"/office/price-lists/{retail}")
    assert page.rows()["gpt-4"][0] == "¥200.00"
    assert page.tables[1][1][4] == "scheduled"


def test_from_a_list_in_dollars(shop, admin, retail):
    page = admin.page(draw_up(admin, retail, from_usd_source="official-usd", rate="7.25", factor="0.9"))
    assert ["gpt-4", "Input", "¥200.00", "¥195.75", "−2.1%"] in page.tables[1]
    assert "new" in " ".join(row[4] for row in page.tables[1])


def test_the_catalogue(shop, admin, retail):
    page = admin.page(f"/office/price-lists/{retail}/catalogue")
    assert page.status == 200
    takes = re.findall(r'name="take" value="([^"]+)"', page.html)
    assert "gpt-4 input" in takes
    none = admin.fill(f"/office/price-lists/{retail}/catalogue")
    assert none.status == 400
    chosen = admin.fill(f"/office/price-lists/{retail}/catalogue", take=["gpt-4 input", "made-up input"])
    draft = admin.page(chosen.headers["location"])
    assert [row[0] for row in draft.tables[1][1:]] == ["gpt-4"]


def test_a_new_list_and_who_buys_by_it(shop, admin):
    name = f"made{next(_names)}"
    assert admin.fill("/office/price-lists/new", name="Bad Name", currency="USD").status == 400
    made = admin.fill("/office/price-lists/new", name=name, currency="usd", about="For a test")
    again = admin.follow(admin.fill("/office/price-lists/new", name=name, currency="usd", about="For another"))
    assert "This price list existed already. Nothing was changed." in again.text
    assert made.headers["location"] == f"/office/price-lists/{name}"
    assert "This list has no prices yet" in admin.page(f"/office/price-lists/{name}").text
    customer = shop.account("1")
    here = f"/office/price-lists/{name}"
    page = admin.follow(admin.fill(here, f"{here}/assign", account=customer.account))
    assert "Price list changed" in page.text
    assert customer.account in page.html
    assert "No account has this ID" in admin.follow(admin.fill(here, f"{here}/assign", account="acc_nobody")).text


def test_models(shop, admin):
    page = admin.page("/office/models")
    assert "gpt-4" in page.rows()
    name = f"vendor/new-{next(_names)}"
    fields = {"name": name, "kinds": ["chat"], "modalities": ["text"], "classes": ["input", "output"],
              "context_tokens": "32,768", "output_tokens_max": "4096"}  # fmt: skip
    made = admin.fill("/office/models/new", **fields)
    assert made.status == 302, made.text[:500]
    shown = admin.page(f"/office/models/show/{name}")
    assert "no price yet" in shown.text
    assert "32,768" in shown.text
    assert admin.fill("/office/models/new", **fields).status == 400  # there is one already
    assert admin.fill("/office/models/new", **(fields | {"name": "x y"})).status == 400
    assert admin.fill("/office/models/new", **(fields | {"name": "other", "context_tokens": "many"})).status == 400
    edit = f"/office/models/edit/{name}"
    assert admin.fill(edit, **(fields | {"context_tokens": "65536"})).status == 302
    assert "65,536" in admin.page(f"/office/models/show/{name}").text
    here = f"/office/models/show/{name}"
    other = f"also-{next(_names)}"
    assert other in admin.follow(admin.fill(here, f"/office/models/alias/{name}", do="add", alias=other)).text
    moved = admin.follow(admin.fill("/office/models/show/gpt-4", "/office/models/alias/gpt-4", do="add", alias=other))
    assert f"{other} is now an alias of gpt-4, no longer of {name}." in moved.text
    admin.fill(here, f"/office/models/alias/{name}", do="add", alias=other)
    gone = admin.fill(here, f"/office/models/alias/{name}", do="remove", alias=other)
    assert f">{other}<" not in admin.follow(gone).html
    assert admin.fill(here, f"/office/models/alias/{name}", do="remove", alias="gpt-4").status == 404
    off = admin.fill(here, f"/office/models/shelve/{name}", listed="no", why="a test")
    assert "not on sale a test" in admin.follow(off).text
    assert (
        "Model taken off sale."
        not in admin.follow(admin.fill(here, f"/office/models/shelve/{name}", listed="yes")).text
    )


def test_how_a_vendor_counts_is_shown_and_a_tokenizer_that_is_off_is_a_task(shop, admin):
    from farebox.catalog import factor_fitting, samples
    from farebox.catalog.factors import Sample, Vector

    name = shop.model(f"counted-{next(_names)}", {"input": "1", "output": "1"}, tokenizer="cl100k_base")
    page = admin.page(f"/office/models/show/{name}").text
    assert "Not in force yet: 0 of 50 sampled calls, from 0 of 3 accounts." in page
    assert "not compared yet" in page
    assert name not in admin.page("/office/").text
    row = Sample("", Vector(1000), Vector(1000), 1, 0, 1103, 1250, 0, 4000, 4000, 5000, 1103, 1500)
    for account in ("acc_1", "acc_2", "acc_3"):
        for number in range(20):
            shop.write(samples.add, name, row._replace(account=account, hidden=number), 1)
    fitted = factor_fitting.fit(shop.read(samples.of, name))
    shop.write(samples.learn, name, fitted, shop.read(samples.due)[name], 1_800_000_000_000_000)
    page = admin.page(f"/office/models/show/{name}").text
    assert "In force, from 60 calls of 3 accounts." in page
    assert "Latin letters and code 1.10 1.25" in page
    assert "deviates within 20.00 % of the report (p95)" in page
    assert "Hidden output (p99) at most 19 tokens" in page
    assert f"more than 10 % from upstream reports: {name}." in admin.page("/office/").text
    known = Script(shop, "auditor").get(f"models/{name}").json["factors"]
    assert (known["in_force"], known["samples"], known["off"], known["hidden_p99"]) == (True, 60, True, 19)
    assert known["output"]["latin"] == pytest.approx(1_250_000, abs=2000)
    assert known["fitted_us"] == 1_800_000_000_000_000


def test_a_missing_price_is_marked(shop, admin):
    """A class that came to a model after the publication: no price, no sale, and the office says so."""
    from farebox.catalog.models import Model

    name = shop.model(f"half-{next(_names)}", {"input": "1", "output": "2"})
    Model.objects.filter(name=name).update(classes='["cached_read", "input", "output"]')
    from farebox.kit import db

    shop.write(lambda tx: db.bump(tx, "shelf"))
    assert "price missing" in " ".join(admin.page("/office/models").rows()[name])
    assert "has no price for: Cached input" in admin.page(f"/office/models/show/{name}").text
    Model.objects.filter(name=name).update(classes='["input", "output"]')
    shop.write(lambda tx: db.bump(tx, "shelf"))


def test_roles_and_absent_things(shop, retail):
    admin, auditor = people.operator(shop, "admin"), people.operator(shop, "auditor")
    for path in ("/office/models/new", "/office/models/edit/gpt-4", "/office/price-lists/new",
                 f"/office/price-lists/{retail}/change", f"/office/price-lists/{retail}/catalogue"):  # fmt: skip
        assert auditor.page(path).status == 404
        assert auditor.send(path, {}).status == 404
    for path in ("/office/models", "/office/models/show/gpt-4", "/office/price-lists", f"/office/price-lists/{retail}"):
        assert auditor.page(path).status == 200
    for path in ("/office/models/show/none", "/office/models/edit/none", "/office/price-lists/none",
                 "/office/price-lists/house", f"/office/price-lists/{retail}?version=99",
                 f"/office/price-lists/{retail}?version=x", "/office/price-lists/drafts/pld_none"):  # fmt: skip
        assert admin.page(path).status == 404, path
    customer = people.customer(shop, "0")
    assert customer.page("/office/models").status == 302


def test_in_chinese(shop, retail):
    page = people.operator(shop, "admin", language="zh-CN").page(f"/zh/office/price-lists/{retail}")
    assert "价目表" in page.text
    assert 'href="/zh/office/price-lists"' in page.html
