"""The seven prices that ship, to the micro-unit."""

from __future__ import annotations

import pytest

from farebox.catalog import official, price_lists, pricing, proof, suggestions
from farebox.catalog.usage import Usage
from farebox.kit import db, money

# model, context, charge in micro-USD of 1,000 input and 500 output tokens, of one and one, of 1,234,567 and 765,432
SEVEN = [
    ("gpt-3.5-turbo-0125", 16_385, 1_250, 2, 1_765_432),
    ("gpt-3.5-turbo-instruct", 4_096, 2_500, 4, 3_382_715),
    ("gpt-4", 8_192, 60_000, 90, 82_962_930),
    ("gpt-4-32k", 32_768, 120_000, 180, 165_925_860),
    ("gpt-4-0125-preview", 128_000, 25_000, 40, 35_308_630),
    ("gpt-4-1106-preview", 128_000, 25_000, 40, 35_308_630),
    ("gpt-4-1106-vision-preview", 128_000, 25_000, 40, 35_308_630),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "context", "usual", "least", "many"), SEVEN)
def test_each_of_the_seven_to_the_micro_unit(shop, model, context, usual, least, many):
    assert shop.seed()
    offer = shop.load().offer(model, "official-usd", shop.now_us)
    assert (offer.card.context_tokens, offer.currency, offer.version, offer.usd_rate) == (
        context,
        "USD",
        1,
        "1",
    )
    for used, amount_micro in (
        (Usage(input=1000, output=500), usual),
        (Usage(input=1, output=1), least),
        (Usage(input=1_234_567, output=765_432), many),
    ):
        charge = pricing.charge(offer.prices, used)
        assert (charge.amount_micro, charge.unpriced) == (amount_micro, ())


def test_the_receipt_of_gpt_4(shop):
    shop.seed()
    offer = shop.load().offer("gpt-4", "official-usd", shop.now_us)
    charge = pricing.charge(offer.prices, Usage(input=1000, output=500))
    assert money.exact(charge.amount_micro) == "0.060000"
    assert [(line.usage_class, line.units, pricing.fraction(line.numerator)) for line in charge.lines] == [
        ("input", 1000, "0.030000"),
        ("output", 500, "0.030000"),
    ]


def test_what_the_seven_can_do(shop):
    shop.seed()
    cards = {card.name: card for card in shop.load().models("official-usd", shop.now_us)}
    assert sorted(cards) == sorted(model for model, *_ in SEVEN)
    assert {name for name, card in cards.items() if card.kinds != {"chat"}} == {"gpt-3.5-turbo-instruct"}
    assert cards["gpt-3.5-turbo-instruct"].kinds == {"completions"}
    assert {name for name, card in cards.items() if "image" in card.modalities} == {"gpt-4-1106-vision-preview"}
    assert cards["gpt-4-1106-vision-preview"].image_formula == "openai_tile"
    assert {name: card.output_tokens_max for name, card in cards.items()} == {
        "gpt-3.5-turbo-0125": 4_096,
        "gpt-3.5-turbo-instruct": 4_096,
        "gpt-4": 8_192,
        "gpt-4-32k": 32_768,
        "gpt-4-0125-preview": 4_096,
        "gpt-4-1106-preview": 4_096,
        "gpt-4-1106-vision-preview": 4_096,
    }
    assert {card.tokenizer for card in cards.values()} == {"cl100k_base"}
    assert {(card.owned_by, card.hidden_output, card.classes) for card in cards.values()} == {
        ("openai", False, frozenset({"input", "output"}))
    }


def test_seeding_twice_is_once(shop):
    assert shop.seed()
    before = (shop.load(), shop.shelf_version())
    shop.now_us += 1
    assert not shop.seed()
    assert (shop.load(), shop.shelf_version()) == before


def test_seeding_leaves_an_operators_own_version_alone(shop):
    shop.seed()
    shop.publish("official-usd", {"gpt-4 input": "31"})
    assert not shop.seed()
    assert shop.load().offer("gpt-4", "official-usd", shop.now_us).prices == {
        "input": 31_000_000,
        "output": 60_000_000,
    }


def test_the_demo_models_are_no_part_of_the_official_list(shop):
    shop.seed()
    shop.create("demo", "USD")
    db.write(official.define, official.DEMO_MODELS, actor="ann", now_us=shop.now_us)
    rows = [line for model in official.DEMO_MODELS for line in model.rows()]
    db.write(price_lists.publish, "demo", rows, actor="ann", now_us=shop.now_us)
    stock = shop.load()
    assert stock.offer("gpt-4o-mini", "official-usd", shop.now_us) is None
    mini = stock.offer("gpt-4o-mini", "demo", shop.now_us)
    assert mini.prices == {"input": 150_000, "cached_read": 75_000, "output": 600_000}
    assert (mini.card.tokenizer, mini.card.image_formula) == ("o200k_base", "openai_tile_mini")
    assert (mini.card.context_tokens, mini.card.output_tokens_max) == (128_000, 16_384)
    embed = stock.offer("text-embedding-3-small", "demo", shop.now_us)
    assert (embed.prices, embed.card.kinds, embed.card.context_tokens) == (
        {"input": 20_000},
        {"embeddings"},
        8_191,
    )
    assert pricing.charge(embed.prices, Usage(input=1)).amount_micro == 1
    assert db.read(proof.prove) == []


@pytest.mark.slow
def test_the_catalogue_agrees_with_the_seven_and_nothing_is_fetched_or_changed(shop, monkeypatch):
    shop.seed()
    before = (shop.load(), shop.shelf_version())
    _no_network(monkeypatch)
    found = db.read(lambda tx: suggestions.suggest(tx, "official-usd", now_us=shop.now_us))
    assert [(line.model, line.usage_class) for line in found] == [
        (model, usage_class) for model in sorted(model for model, *_ in SEVEN) for usage_class in ("input", "output")
    ]
    assert {(line.change, line.note) for line in found} == {("same", "")}
    assert all(line.proposed_micro == line.current_micro for line in found)
    assert suggestions.rows(found) == []
    assert (shop.load(), shop.shelf_version()) == before


def test_a_proposal_is_a_diff_in_the_lists_own_currency(shop, monkeypatch):
    shop.seed()
    shop.create()
    shop.publish(from_usd_source="official-usd", rate="7.2", factor="0.5")
    shop.publish(prices={"gpt-4 input": "100", "gpt-4 output": "0"})
    shop.define("mystery-1", owned_by="nobody")
    shop.define("gpt-4o-mini", owned_by="openai", classes=["input", "cached_read", "images", "output"])
    _no_network(monkeypatch)
    found = {
        (line.model, line.usage_class): line[2:]
        for line in db.read(lambda tx: suggestions.suggest(tx, "cny", now_us=shop.now_us))
    }
    assert found["gpt-4", "input"] == (100_000_000, 108_000_000, "+8.00 %", "")
    assert found["gpt-4", "output"] == (0, 216_000_000, "was free", "")
    assert found["gpt-4-32k", "input"] == (216_000_000, 216_000_000, "same", "")
    assert found["mystery-1", "input"] == (None, None, "unknown", "not in the catalogue")
    assert found["gpt-4o-mini", "cached_read"] == (None, 270_000, "new", "")
    assert found["gpt-4o-mini", "images"] == (
        None,
        None,
        "unknown",
        "no price for this class in the catalogue",
    )


def test_changes_are_told_in_hundredths_of_a_percent():
    assert suggestions._change(3, 2) == "-33.33 %"
    assert suggestions._change(1, 30) == "+2,900.00 %"
    assert suggestions._change(0, 0) == "same"


def test_tiers_and_odd_prices_are_left_to_a_person():
    from decimal import Decimal
    from types import SimpleNamespace

    tiered = SimpleNamespace(
        input_mtok=SimpleNamespace(base=Decimal("1.25")),
        output_reasoning_mtok=None,
        output_mtok=Decimal("1e-7"),
    )
    assert suggestions._price(tiered, "input") == (
        1_250_000,
        "the vendor has tiers by length; this is the lowest",
    )
    assert suggestions._price(tiered, "output") == (
        None,
        "the catalogue says 1E-7, which is no price in whole micro-units",
    )
    tiered.output_mtok = Decimal(10)
    assert suggestions._price(tiered, "reasoning") == (10_000_000, "")


def _no_network(monkeypatch):
    import socket

    real = socket.socket.connect

    def connect(self, address):
        if isinstance(address, tuple) and address[0] not in {"127.0.0.1", "::1", "localhost"}:
            raise AssertionError(f"something tried to reach {address}")
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "create_connection", lambda *_a, **_k: pytest.fail("something opened a connection"))
