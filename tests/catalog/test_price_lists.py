"""Price lists: what is published is complete, exact, dated and never changed."""

from __future__ import annotations

import json
import threading

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from farebox.catalog import definitions, models, next_version, price_lists, proof, sheets, shelf
from farebox.catalog.sheets import PriceRow
from farebox.kit import db, dbfaults, refusal
from farebox.kit.errors import CommandError
from farebox.kit.models import AuditEvent
from farebox.kit.refusal import Refusal
from kit.rows import for_each

DAY_US = 86_400_000_000


def prices(sheet) -> dict[str, int]:
    return {f"{row.model} {row.usage_class}": row.micro_per_million for row in sheet.rows}


def audit() -> list[tuple[str, str]]:
    return list(AuditEvent.objects.order_by("id").values_list("verb", "object"))


@pytest.mark.store
def test_a_list_made_from_usd_times_rate_times_factor_frozen_in_the_version(shop):
    shop.seed()
    shop.create()
    sheet = shop.publish(from_usd_source="official-usd", rate="7.25", factor="0.9", note="opening")
    assert (sheet.version, sheet.currency, sheet.source, sheet.rate, sheet.factor, sheet.usd_rate, sheet.note) == (
        1, "CNY", "official-usd v1", "7.25", "0.9", "7.25", "opening",
    )  # fmt: skip
    assert prices(sheet)["gpt-4 input"] == 195_750_000
    assert prices(sheet)["gpt-3.5-turbo-0125 input"] == 3_262_500
    assert len(sheet.rows) == 14
    shop.publish("official-usd", {"gpt-4 input": "1"})
    assert shop.show() == sheet


def test_fractions_of_a_micro_unit_are_dropped_when_prices_are_made():
    assert next_version.convert(500_000, rate="7.1234567", factor="1") == 3_561_728
    assert (
        next_version.convert(10**16, rate="123456789012.123456789012", factor="0.000000000001") == 1_234_567_890_121_234
    )
    assert next_version.convert(1, rate="0.999999999999", factor="1") == 0


@pytest.mark.store
def test_a_new_version_holds_all_prices_of_its_list(shop):
    shop.seed()
    shop.create()
    first = shop.publish(from_usd_source="official-usd", rate="7", factor="1")
    second = shop.publish(prices={"gpt-4 input": "200"}, remove=["gpt-4-32k"])
    assert (second.version, second.source, second.rate, second.usd_rate) == (2, "official-usd v1", "7", "7")
    changes = sheets.diff(first, second)
    assert changes == [
        ("gpt-4", "input", 210_000_000, 200_000_000),
        ("gpt-4-32k", "input", 420_000_000, None),
        ("gpt-4-32k", "output", 840_000_000, None),
    ]
    assert db.read(lambda tx: price_lists.diff(tx, "cny", 1, 2, now_us=shop.now_us)) == changes
    assert shop.show(version=1) == first
    stock = shop.load()
    assert stock.offer("gpt-4-32k", "cny", shop.now_us) is None
    assert stock.offer("gpt-4", "cny", shop.now_us).prices == {"input": 200_000_000, "output": 420_000_000}


@pytest.mark.store
def test_a_class_without_a_price_cannot_be_published(shop):
    shop.define("m", classes=["input", "cached_read", "output"])
    shop.create()
    with pytest.raises(CommandError) as caught:
        shop.publish(prices={"m input": "1", "m output": "2"}, usd_rate="7")
    gap = {"model": "m", "usage_class": "cached_read", "price_list": "cny", "missing": ("cached_read",)}
    assert caught.value.refusal == Refusal("version.incomplete", gap)
    assert models.PriceListVersion.objects.count() == 0
    shop.publish(prices={"m input": "1", "m output": "2", "m cached_read": "0"}, usd_rate="7")
    assert shop.load().offer("m", "cny", shop.now_us).prices["cached_read"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prices", "more", "words"),
    [
        ({}, {}, "version.empty"),
        ({"other input": "1"}, {}, "version.no_model model='other'"),
        ({"short input": "1"}, {}, "version.alias model='short' target='m'"),
        ({}, {"remove": ["other"]}, "version.nothing_to_remove"),
        ({"m input": "1", "m output": "1"}, {"usd_rate": ""}, "version.no_usd_rate currency='CNY'"),
        ({"m input": "1", "m output": "1"}, {"usd_rate": "0"}, "version.not_positive name='usd_rate'"),
        ({"m input": "1", "m output": "1"}, {"usd_rate": "7,2"}, "version.not_positive name='usd_rate'"),
        ({}, {"from_usd_source": "usd"}, "version.no_rate"),
        ({}, {"from_usd_source": "usd", "rate": "7", "factor": "-1"}, "version.not_positive name='factor'"),
        ({}, {"from_usd_source": "cny", "rate": "7"}, "version.source_currency"),
        (
            {},
            {"from_usd_source": "nowhere", "rate": "7"},
            "price_list.unknown price_list='nowhere' known=('cny', 'empty', 'usd')",
        ),
        ({}, {"from_usd_source": "empty", "rate": "7"}, "price_list.not_in_force"),
        ({"m input": "1", "m output": "1"}, {"valid_from_us": 5}, "version.past"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(shop, prices, more, words):
    shop.define("m")
    db.write(definitions.alias, "short", "m", actor="ann")
    shop.create()
    shop.create("usd", "USD")
    shop.create("empty", "USD")
    shop.publish("usd", {"m input": "1", "m output": "2"})
    before = (shop.load(), shop.shelf_version(), audit())
    with pytest.raises(CommandError) as caught:
        shop.publish("cny", prices, **{"usd_rate": "7", **more})
    assert words in caught.value.message
    assert (shop.load(), shop.shelf_version(), audit()) == before


def test_a_usd_list_has_the_rate_one(shop):
    shop.define("m")
    shop.create("usd", "USD")
    with pytest.raises(CommandError, match="version.usd_has_no_rate"):
        shop.publish("usd", {"m input": "1", "m output": "1"}, rate="2")
    assert shop.publish("usd", {"m input": "1", "m output": "1"}, rate="1").usd_rate == "1"


@for_each("bad", ["-1", "1e-7", "0.0000001", "abc", "", "NaN", "Infinity", "10000000001"])
def test_a_price_that_is_none_is_refused(bad):
    with pytest.raises(CommandError, match=r"^price\.(unreadable|range) model='m' usage_class='input'"):
        sheets.row("m", "input", bad)


def test_a_price_must_be_exact_and_of_a_class_that_exists(shop):
    with pytest.raises(CommandError, match="price.usage_class"):
        sheets.row("m", "points", "1")
    shop.define("m")
    shop.create("usd", "USD")
    for bad in (1.5, True, -1, 10**17):
        with pytest.raises(CommandError, match="price.range"):
            db.write(price_lists.publish, "usd", [PriceRow("m", "input", bad)], actor="ann", now_us=shop.now_us)


@pytest.mark.store
def test_a_version_that_is_to_come_takes_over_by_time_without_loading_anew(shop):
    shop.define("m")
    shop.create()
    shop.publish(prices={"m input": "1", "m output": "1"}, usd_rate="7")
    begins_us = shop.now_us + DAY_US
    shop.publish(prices={"m input": "2"}, valid_from_us=begins_us)
    shop.publish(prices={"m input": "3"}, usd_rate="7.5", valid_from_us=begins_us + DAY_US)
    stock = shop.load()

    def at(now_us):
        offer = stock.offer("m", "cny", now_us)
        return offer.version, offer.prices["input"], offer.usd_rate

    assert at(shop.now_us) == (1, 1_000_000, "7")
    assert at(begins_us - 1) == (1, 1_000_000, "7")
    assert at(begins_us) == (2, 2_000_000, "7")
    assert at(begins_us + DAY_US) == (3, 3_000_000, "7.5")
    assert shop.show().version == 1
    shop.now_us = begins_us
    assert shop.show().version == 2
    assert [version.n for version in shop.load().versions["cny"]] == [2, 3]
    assert db.read(lambda tx: price_lists.overview(tx, now_us=shop.now_us))[0]["version"] == 2


@pytest.mark.store
def test_before_a_list_begins_it_sells_nothing(shop):
    shop.define("m")
    shop.create()
    begins_us = shop.now_us + DAY_US
    shop.publish(prices={"m input": "1", "m output": "1"}, usd_rate="7", valid_from_us=begins_us)
    stock = shop.load()
    assert stock.offer("m", "cny", shop.now_us) is None
    assert stock.models("cny", shop.now_us) == ()
    assert stock.offer("m", "cny", begins_us).version == 1
    with pytest.raises(CommandError, match="price_list.not_in_force"):
        shop.show()


@pytest.mark.store
def test_a_version_to_come_is_withdrawn_by_another_for_its_time_and_follows_what_it_follows(shop):
    shop.define("m")
    shop.create()
    shop.publish(prices={"m input": "1", "m output": "1"}, usd_rate="7")
    begins_us = shop.now_us + DAY_US
    shop.publish(prices={"m input": "9", "m output": "9"}, valid_from_us=begins_us)
    urgent = shop.publish(prices={"m output": "5"})
    assert prices(urgent) == {"m input": 1_000_000, "m output": 5_000_000}
    shop.publish(prices={"m input": "4", "m output": "4"}, valid_from_us=begins_us)
    stock = shop.load()
    assert [stock.offer("m", "cny", at).version for at in (shop.now_us, begins_us - 1, begins_us)] == [
        3,
        3,
        4,
    ]


@pytest.mark.store
def test_operators_who_publish_at_once_get_versions_one_after_the_other(shop):
    shop.define("m")
    shop.create()
    shop.publish(prices={"m input": "1", "m output": "1"}, usd_rate="7")
    start, done = threading.Barrier(4), []

    def publish(price: int) -> None:
        try:
            start.wait(timeout=10)
            done.append((shop.publish(prices={"m input": str(price)}).version, price * 1_000_000))
        finally:
            connection.close()

    threads = [threading.Thread(target=publish, args=(price,)) for price in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(version for version, _ in done) == [2, 3, 4, 5]
    for version, micro in done:
        assert prices(shop.show(version=version))["m input"] == micro
    assert shop.load().offer("m", "cny", shop.now_us).version == 5


@pytest.mark.store
@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE catalog_price SET micro_per_million = 1",
        "UPDATE catalog_price SET model = 'x'",
        "DELETE FROM catalog_price",
        "UPDATE catalog_pricelistversion SET valid_from_us = 1",
        "UPDATE catalog_pricelistversion SET note = 'x'",
        "UPDATE catalog_pricelistversion SET usd_rate = '2'",
        "DELETE FROM catalog_pricelistversion",
    ],
)
def test_the_database_itself_keeps_what_was_published(shop, sql):
    shop.seed()
    before = shop.show("official-usd")
    with pytest.raises((DatabaseError, *dbfaults.errors()), match="append-only"):
        db.write(lambda tx: tx.execute(sql))
    assert shop.show("official-usd") == before


@pytest.mark.store
@pytest.mark.slow
def test_the_triggers_can_be_taken_back_and_put_on_again(shop):
    shop.seed()
    MigrationExecutor(connection).migrate([("catalog", "0001_initial")])
    assert db.write(lambda tx: tx.execute("UPDATE catalog_price SET micro_per_million = 0")) == 14
    MigrationExecutor(connection).migrate([("catalog", "0002_prices_immutable")])
    with pytest.raises((DatabaseError, *dbfaults.errors()), match="append-only"):
        db.write(lambda tx: tx.execute("UPDATE catalog_price SET micro_per_million = 1"))


@pytest.mark.store
def test_lists_are_created_once(shop):
    facts = {"price_list": "cny", "currency": "CNY", "about": ""}
    assert shop.create("cny", "CNY") == facts | {"changed": True}
    assert shop.create("cny", "CNY") == facts | {"changed": False}
    for name, currency, words in (
        ("cny", "USD", "price_list.other_currency"),
        ("house", "USD", "price_list.built_in"),
        ("Großes", "USD", "price_list.name"),
        ("", "USD", "price_list.name"),
        ("x", "usd", "amount.currency"),
        ("x", "US", "amount.currency"),
    ):
        with pytest.raises(CommandError, match=words):
            shop.create(name, currency)


@pytest.mark.store
def test_every_verb_is_recorded_and_makes_every_node_load_anew(shop):
    seen = [shop.shelf_version()]

    def grew() -> bool:
        seen.append(shop.shelf_version())
        return seen[-1] > seen[-2]

    shop.define("m")
    assert grew()
    shop.create()
    shop.publish(prices={"m input": "1", "m output": "1"}, usd_rate="7")
    assert grew()
    db.write(definitions.alias, "short", "m", actor="ann")
    assert grew()
    db.write(shelf.unlist, "m", "no price for reasoning", "gateway")
    assert grew()
    db.write(definitions.relist, "m", actor="ann")
    assert grew()
    db.write(definitions.unalias, "short", actor="ann")
    assert grew()
    assert audit() == [
        ("model.define", "m"),
        ("prices.create", "cny"),
        ("prices.publish", "cny v1"),
        ("model.alias", "short"),
        ("model.unlist", "m"),
        ("model.list", "m"),
        ("model.unalias", "short"),
    ]
    event = AuditEvent.objects.get(verb="prices.publish")
    assert event.actor == "ann"
    assert json.loads(event.after)["changes"][0] == {
        "model": "m", "usage_class": "input", "before_micro": None, "after_micro": 1_000_000,
    }  # fmt: skip


@pytest.mark.store
def test_csv_and_json_carry_every_price(shop):
    shop.seed()
    sheet = shop.show("official-usd")
    assert tuple(sheets.ordered(sheets.from_csv(sheets.to_csv(sheet)))) == sheet.rows
    assert tuple(sheets.ordered(sheets.from_json(json.loads(json.dumps(sheets.to_json(sheet)))))) == sheet.rows
    assert sheets.to_csv(sheet).splitlines()[:3] == [
        "model,usage_class,price",
        "gpt-3.5-turbo-0125,input,0.50",
        "gpt-3.5-turbo-0125,output,1.50",
    ]
    assert sheets.to_json(sheet)["prices"]["gpt-4"] == {"input": "30.00", "output": "60.00"}
    assert sheets.price_text(1_234_567_890_123) == "1234567.890123"


@for_each(
    ("text", "words"),
    [
        ("", "price.csv_head"),
        ("model,price\nm,1\n", "price.csv_head"),
        ("model,usage_class,price\nm,input\n", "price.csv_fields line=2 many=3"),
        ("model,usage_class,price\nm,input,1,2\n", "price.csv_fields line=2 many=3"),
        ("model,usage_class,price\nm,points,1\n", "price.usage_class"),
        ("model,usage_class,price\nm,input,one\n", "price.unreadable .*amount.unreadable"),
        ("model,usage_class,price\nm,input,1\nm,input,2\n", "price.twice"),
        ('model,usage_class,price\n"m,input,1\n', "price.csv"),
    ],
)
def test_a_csv_that_is_wrong_says_where(text, words):
    with pytest.raises(CommandError, match=words):
        sheets.from_csv(text)


def test_a_csv_of_a_spreadsheet_is_read():
    text = '\ufeffmodel,usage_class,price\r\n"m", input ,"1,234.5"\r\n'
    assert sheets.from_csv(text) == [("m", "input", 1_234_500_000)]


@pytest.mark.parametrize("found", [[], "x", {"prices": 1}, {"m": "1"}, {"m": {"input": 1.5}}, {"m": {"input": 2}}])
def test_a_json_that_is_wrong_is_refused(found):
    with pytest.raises(CommandError):
        sheets.from_json(found)


def test_two_currencies_are_not_compared(shop):
    shop.seed()
    shop.create()
    made = shop.publish(from_usd_source="official-usd", rate="7")
    with pytest.raises(CommandError, match="price.currencies"):
        sheets.diff(shop.show("official-usd"), made)
    assert len(sheets.diff(None, made)) == 14


@pytest.mark.store
def test_a_sound_catalogue_has_no_findings(shop):
    shop.seed()
    shop.create()
    shop.publish(from_usd_source="official-usd", rate="7")
    assert db.read(proof.prove) == []


@pytest.mark.store
def test_the_proof_finds_what_is_wrong(shop):
    shop.seed()
    shop.create()
    head = models.PriceList.objects.get(name="cny")
    facts = {"price_list": head, "published_us": 2, "usd_rate": "7"}
    models.PriceListVersion.objects.create(id="v1", n=1, valid_from_us=2, **facts)
    models.PriceListVersion.objects.create(id="v3", n=3, valid_from_us=1, **{**facts, "usd_rate": "x"})
    one = models.PriceListVersion.objects.get(id="v1")
    models.Price.objects.create(id="p1", version=one, model="gpt-4", usage_class="input", micro_per_million=1)
    models.Price.objects.create(id="p2", version=one, model="ghost", usage_class="points", micro_per_million=1)
    models.PriceList.objects.create(name="house", currency="usd")
    built_in = models.PriceList.objects.get(name="house")
    models.PriceListVersion.objects.create(
        id="h1", n=1, price_list=built_in, valid_from_us=shop.now_us, published_us=shop.now_us, usd_rate="1"
    )
    usd = models.PriceList.objects.get(name="official-usd")
    models.PriceListVersion.objects.create(
        id="u2", n=2, price_list=usd, valid_from_us=shop.now_us, published_us=shop.now_us, usd_rate="2"
    )
    two = models.PriceListVersion.objects.get(id="u2")
    models.Price.objects.create(id="u2p", version=two, model="gpt-4", usage_class="input", micro_per_million=1)
    models.Price.objects.create(id="u2q", version=two, model="gpt-4", usage_class="output", micro_per_million=1)
    models.Alias.objects.create(name="gpt-4-32k", model_id="gpt-4")
    assert db.read(proof.prove) == [
        "gpt-4-32k is both an alias and a model",
        "I24 price list cny: versions are missing between 1 and 3",
        refusal.of("proof.price_list", price_list="house", why=refusal.of("amount.currency", currency="usd")),
        "the built-in price list house has versions in the tables",
        "price list cny v3 has no prices",
        "price list cny v3 began before it was published",
        refusal.of(
            "proof.version",
            version="price list cny v3",
            why=refusal.of("version.not_positive", name="usd_rate", text="x"),
        ),
        "price list house v1 has no prices",
        "price list official-usd v2 is in USD and says that a USD is 2",
        "I23 the price p2 of ghost for points is impossible: 1",
        "the price p2 is for ghost, which is no model",
        "R05 cny v1 has no price for output, which gpt-4 produces",
    ]
    models.Model.objects.filter(name="gpt-4").update(classes="[broken")
    assert "model gpt-4: classes is no JSON list of words" in db.read(proof.prove)
    models.Model.objects.filter(name="gpt-4").update(classes='["points"]')
    assert "model gpt-4 produces a usage class that does not exist" in db.read(proof.prove)
