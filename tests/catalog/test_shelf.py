"""The shelf: who gets which price now, and what is not on sale."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from farebox.catalog import definitions, models, pricing, shelf
from farebox.catalog.usage import CLASSES, Usage
from farebox.kit import db
from farebox.kit.errors import CommandError
from kit.rows import for_each

pytestmark = pytest.mark.store


@pytest.fixture
def stocked(shop):
    shop.define("m", owned_by="us", tokenizer="cl100k_base", input_overhead_tokens=64, created_s=7)
    shop.define("n")
    db.write(definitions.alias, "short", "m", actor="ann")
    shop.create()
    shop.publish(prices={"m input": "1", "m output": "2"}, usd_rate="7.2")
    return shop


def test_an_offer_has_all_that_a_call_needs(stocked):
    offer = stocked.load().offer("short", "cny", stocked.now_us)
    assert offer == pricing.Offer(
        card=pricing.ModelCard(
            name="m", owned_by="us", kinds=frozenset({"chat"}), modalities=frozenset({"text"}), context_tokens=4096,
            output_tokens_max=1024, hidden_output=False, tokenizer="cl100k_base", image_formula="",
            input_overhead_tokens=64, classes=frozenset({"input", "output"}), created_s=7,
        ),
        asked="short", price_list="cny", version=1, currency="CNY",
        prices={"input": 1_000_000, "output": 2_000_000}, usd_rate="7.2", rule_version=1,
    )  # fmt: skip


def test_what_is_not_on_sale_has_no_offer(stocked):
    stock = stocked.load()
    assert stock.offer("n", "cny", stocked.now_us) is None  # no price
    assert stock.offer("x", "cny", stocked.now_us) is None  # no model
    assert stock.offer("m", "usd", stocked.now_us) is None  # no list
    assert [card.name for card in stock.models("cny", stocked.now_us)] == ["m"]
    assert [(name, card.name) for name, card in stock.names("cny", stocked.now_us)] == [
        ("m", "m"),
        ("short", "m"),
    ]
    assert stock.models("usd", stocked.now_us) == ()


def test_an_unlisted_model_is_off_the_shelf_until_it_is_listed_again(stocked):
    assert db.write(shelf.unlist, "m", "usage in a class without a price: reasoning", "gateway")
    assert not db.write(shelf.unlist, "m", "again", "gateway")
    assert models.Model.objects.get(name="m").unlisted_why == "usage in a class without a price: reasoning"
    stock = stocked.load()
    assert stock.offer("short", "cny", stocked.now_us) is None
    assert stock.models("cny", stocked.now_us) == ()
    assert stock.names("cny", stocked.now_us) == ()
    stocked.define("m", output_tokens_max=99)
    assert stocked.load().offer("m", "cny", stocked.now_us) is None  # defining anew does not list it
    assert db.write(definitions.relist, "m", actor="ann")
    assert not db.write(definitions.relist, "m", actor="ann")
    assert stocked.load().offer("short", "cny", stocked.now_us).card.output_tokens_max == 99
    for verb in (lambda tx: shelf.unlist(tx, "x", "", "ann"), lambda tx: definitions.relist(tx, "x", actor="ann")):
        with pytest.raises(CommandError, match="model.unknown model='x'"):
            db.write(verb)


def test_the_house_list_sells_everything_for_nothing(stocked):
    db.write(shelf.unlist, "m", "being repaired", "ann")
    stock = stocked.load()
    offer = stock.offer("short", "house", stocked.now_us, currency="CNY")
    assert (offer.card.name, offer.price_list, offer.version, offer.currency) == ("m", "house", 0, "CNY")
    everything = Usage(**dict.fromkeys(CLASSES, 10**6))
    assert pricing.charge(offer.prices, everything)[::2] == (0, ())
    assert pricing.ceiling(offer.prices, input_tokens=10**6, output_tokens=10**6) == 0
    assert [card.name for card in stock.models("house", stocked.now_us)] == ["m", "n"]
    assert stock.offer("x", "house", stocked.now_us) is None


def test_a_model_that_can_produce_more_than_is_priced_is_not_sold(stocked):
    """Past the guards, by hand: no price, no call."""
    models.Model.objects.filter(name="m").update(classes='["input", "output", "reasoning"]')
    stock = stocked.load()
    assert stock.offer("m", "cny", stocked.now_us) is None
    assert stock.models("cny", stocked.now_us) == ()


def test_a_class_is_priced_before_a_model_may_produce_it(stocked):
    with pytest.raises(
        CommandError, match="model.unpriced price_list='cny' version=1 model='m' usage_class='reasoning'"
    ):
        stocked.define("m", classes=["input", "output", "reasoning"], hidden_output=True)
    stocked.publish(prices={"m reasoning": "2"})
    stocked.define("m", classes=["input", "output", "reasoning"], hidden_output=True)
    assert stocked.load().offer("m", "cny", stocked.now_us).card.hidden_output


def test_defining_the_same_again_changes_nothing(stocked):
    before = stocked.shelf_version()
    stocked.define("n")
    assert stocked.shelf_version() == before
    db.write(definitions.alias, "short", "m", actor="ann")
    assert stocked.shelf_version() == before
    stocked.define("n", context_tokens=5000)
    assert stocked.shelf_version() == before + 1
    assert stocked.load().card("n").context_tokens == 5000


@for_each(
    ("facts", "words"),
    [
        ({"name": "a b"}, "model.name"),
        ({"name": "short"}, "model.is_alias"),
        ({"kinds": []}, r"model.set_none .*fact\.endpoint_kind"),
        ({"kinds": ["chats"]}, r"model.set_unknown .*fact\.endpoint_kind.*'chats'"),
        ({"classes": ["input", "points"]}, r"model.set_unknown .*fact\.usage_class.*'points'"),
        ({"modalities": ["smell"]}, r"model.set_unknown .*fact\.modality.*'smell'"),
        ({"context_tokens": 0}, "model.tokens"),
        ({"context_tokens": 2**40}, "model.tokens"),
        ({"output_tokens_max": -1}, "model.tokens"),
        ({"tokenizer": "gpt2"}, "model.tokenizer .*'gpt2'"),
        ({"image_formula": "square"}, "model.image_formula .*'square'"),
        ({"modalities": ["text", "image"]}, "model.no_image_formula"),
        ({"hidden_output": True}, "model.no_reasoning"),
    ],
)
def test_a_fact_that_is_wrong_is_refused(stocked, facts, words):
    with pytest.raises(CommandError, match=words):
        stocked.define(**{"name": "new", **facts})
    assert not models.Model.objects.filter(name="new").exists()


def test_aliases_move_but_never_hide_a_model(stocked):
    db.write(definitions.alias, "short", "n", actor="ann")
    assert stocked.load().card("short").name == "n"
    for name, model, words in (
        ("m", "n", "alias.is_model"),
        ("y", "x", "alias.no_model alias='y' model='x'"),
        ("a b", "m", "model.name"),
    ):
        with pytest.raises(CommandError, match=words):
            db.write(definitions.alias, name, model, actor="ann")
    assert db.write(definitions.unalias, "short", actor="ann") == {"alias": "short", "model": "n"}
    with pytest.raises(CommandError, match="alias.unknown"):
        db.write(definitions.unalias, "short", actor="ann")
    assert stocked.load().card("short") is None


def test_a_shelf_cannot_be_changed_only_swapped(stocked):
    stock = stocked.load()
    with pytest.raises(dataclasses.FrozenInstanceError):
        stock.listed = frozenset()
    with pytest.raises(TypeError):
        stock.cards["z"] = stock.cards["m"]
    with pytest.raises(TypeError):
        stock.versions["cny"][0].prices["z"] = {}
    keeper = shelf.ShelfKeeper()
    assert keeper.current.offer("m", "cny", stocked.now_us) is None
    keeper.swap(stock)
    assert keeper.current is stock


def test_it_is_loaded_in_one_view_of_the_store(stocked):
    with db.reading() as tx:
        assert shelf.load(tx, stocked.now_us) == stocked.load()


@pytest.mark.slow
@pytest.mark.parametrize("module", ["usage", "pricing", "tokens", "images", "sheets"])
def test_the_hot_path_needs_no_configured_django(module):
    code = f"import sys, farebox.catalog.{module}; sys.exit('farebox.catalog.models' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "/usr/bin:/bin"})


@pytest.mark.slow
@pytest.mark.parametrize("module", ["usage", "pricing"])
def test_usage_and_pricing_never_import_django(module):
    code = f"import sys, farebox.catalog.{module}; sys.exit('django' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "/usr/bin:/bin"})
