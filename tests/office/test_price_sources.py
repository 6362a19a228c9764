"""A draft made from prices in USD holds for the version that it was drawn up from, and for no other."""

from __future__ import annotations

import itertools
import time

import pytest

from kit import people
from kit.overlap import overlapped

pytestmark = pytest.mark.slow
_names = itertools.count(1)
CHANGED = "have changed. Discard the draft and create a new one"


@pytest.fixture
def admin(shop):
    return people.operator(shop, "admin")


@pytest.fixture
def lists(shop):
    """The names of a list in dollars that sells gpt-4, and of an empty one in yuan."""
    from farebox.catalog import price_lists

    n = next(_names)
    dollars, yuan = f"dollars{n}", f"yuan{n}"
    shop.write(price_lists.create_list, dollars, "USD", actor="test")
    shop.write(price_lists.create_list, yuan, "CNY", actor="test")
    publish(shop, dollars, "30", "60")
    return dollars, yuan


def now_us():
    return time.time_ns() // 1000


def rows_of(given, made):
    from farebox.catalog import sheets

    return [sheets.row("gpt-4", "input", given), sheets.row("gpt-4", "output", made)]


def publish(shop, name, given, made, **facts):
    from farebox.catalog import price_lists

    shop.write(price_lists.publish, name, rows_of(given, made), actor="test", now_us=now_us(), **facts)


def draw_up(who, source, name, **fields):
    fields = {"from_usd_source": source, "rate": "7", "factor": "1.1"} | fields
    answer = who.fill(f"/office/price-lists/{name}/change", **fields)
    assert answer.status == 302, answer.text[:600]
    return answer.headers["location"]


def test_the_page_names_the_version_and_publishes_it(shop, admin, lists):
    source, name = lists
    draft = draw_up(admin, source, name)
    page = admin.page(draft)
    assert f"{source} v1" in page.text
    assert "× 7 × 1.1" in page.text
    assert "must be created again" in page.text
    assert ["gpt-4", "Input", "–", "¥231.00", "new"] in page.tables[1]
    said = admin.follow(admin.fill(draft, f"{draft}/publish"))
    assert "Version published" in said.text
    assert said.rows()["gpt-4"] == ["¥231.00", "¥462.00"]


def test_a_source_that_changed_is_refused_and_shown_before(shop, admin, lists):
    source, name = lists
    draft = draw_up(admin, source, name)
    publish(shop, source, "45", "90")
    page = admin.page(draft)
    assert CHANGED in page.text
    assert "Publish prices" not in page.text
    assert "¥346.50" not in page.text
    assert CHANGED in admin.follow(admin.fill(draft, f"{draft}/publish")).text
    assert "This list has no prices yet" in admin.page(f"/office/price-lists/{name}").text
    assert "Draft discarded" in admin.follow(admin.fill(draft, f"{draft}/drop")).text
    anew = draw_up(admin, source, name)
    said = admin.follow(admin.fill(anew, f"{anew}/publish"))
    assert said.rows()["gpt-4"][0] == "¥346.50"


def test_it_is_said_in_chinese(shop, lists):
    source, name = lists
    admin = people.operator(shop, "admin", language="zh-hans")
    draft = draw_up(admin, source, name)
    assert "以这一版本为准" in admin.page(draft).text
    publish(shop, source, "45", "90")
    assert "美元价格已变动" in admin.page(draft).text


def test_a_version_of_the_source_that_is_still_to_come_changes_nothing_yet(shop, admin, lists):
    source, name = lists
    publish(shop, source, "45", "90", valid_from_us=now_us() + 10**13)
    draft = draw_up(admin, source, name)
    publish(shop, source, "50", "100", valid_from_us=now_us() + 10**13)
    assert "Version published" in admin.follow(admin.fill(draft, f"{draft}/publish")).text
    assert f"{source} v1" in admin.page(f"/office/price-lists/{name}").text


def test_a_draft_of_before_knows_no_version(shop, admin, lists):
    from farebox.catalog.models import PriceDraft

    source, name = lists
    draft = draw_up(admin, source, name)
    PriceDraft.objects.filter(id=draft.rpartition("/")[2]).update(source_n=None)
    page = admin.page(draft)
    assert page.status == 200
    assert CHANGED in page.text


def test_a_draft_of_prices_by_hand_has_no_source(shop, admin, lists):
    source, name = lists
    draft = draw_up(admin, "", name, rate="", factor="1", rows="gpt-4 input 200\ngpt-4 output 400", usd_rate="7")
    publish(shop, source, "45", "90")
    assert "create a new one" not in admin.page(draft).text
    assert "Version published" in admin.follow(admin.fill(draft, f"{draft}/publish")).text


def decide(tx, draft):
    from farebox.catalog import drafts

    facts = {"actor": "two", "decider": "two", "single_person": False, "now_us": now_us()}
    return drafts.publish(tx, draft.rpartition("/")[2], **facts)[1]


def test_the_source_changes_while_the_draft_is_published(shop, admin, lists):
    from farebox.catalog import price_lists
    from farebox.kit.errors import CommandError

    source, name = lists
    draft = draw_up(admin, source, name)
    said = overlapped(
        lambda tx: price_lists.publish(tx, source, rows_of("45", "90"), actor="test", now_us=now_us()),
        lambda tx: decide(tx, draft),
    )
    assert isinstance(said[1], CommandError), said
    assert said[1].is_("draft.source_changed")


def test_a_refused_draft_is_still_open_for_the_rest_of_its_group(shop, admin, lists):
    """A refused member of a commit group is not rolled back: it must not have written."""
    from farebox.catalog.models import PriceDraft
    from farebox.kit import db
    from farebox.kit.errors import CommandError

    source, name = lists
    draft = draw_up(admin, source, name)
    publish(shop, source, "45", "90")

    def group(tx):
        with pytest.raises(CommandError, match="draft.source_changed"):
            decide(tx, draft)

    db.write(group)
    assert PriceDraft.objects.get(id=draft.rpartition("/")[2]).state == "open"


def test_the_version_that_it_follows_begins_before_it_is_published(shop, admin, lists):
    """What a draft does not name comes from the version in force: once that is another, other prices were shown."""
    from farebox.catalog.models import PriceDraft, PriceListVersion

    name = lists[0]
    publish(shop, name, "45", "90")
    draft = draw_up(admin, "", name, rate="", rows="gpt-4 output 70")
    assert "Publish prices" in admin.page(draft).text
    before_us = PriceListVersion.objects.get(price_list=name, n=2).valid_from_us - 1
    PriceDraft.objects.filter(price_list=name).update(made_us=before_us)  # as if version 2 had been to come then
    page = admin.page(draft)
    assert "Another version of the price list took effect" in page.text
    assert "Publish prices" not in page.text
    assert "took effect after" in admin.follow(admin.fill(draft, f"{draft}/publish")).text
    assert PriceListVersion.objects.filter(price_list=name).count() == 2


def test_another_rate_for_dollars_is_shown(shop, admin, lists):
    name = lists[1]
    draft = draw_up(admin, "", name, rate="", rows="gpt-4 input 200\ngpt-4 output 400", usd_rate="7")
    assert "USD rate 7 CNY" in admin.page(draft).text
    admin.follow(admin.fill(draft, f"{draft}/publish"))
    draft = draw_up(admin, "", name, rate="", rows="gpt-4 input 210")
    assert "USD rate" not in admin.page(draft).text
    draft = draw_up(admin, "", name, rate="", rows="", usd_rate="7.5")
    assert "USD rate 7 → 7.5 CNY" in admin.page(draft).text
