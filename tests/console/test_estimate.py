"""The estimator: the very tokens and the very arithmetic of a charge, and nothing of a pasted text stays."""

from __future__ import annotations

from fractions import Fraction

import pytest

from kit.visitor import Page, Visitor

TEXT = "Farebox sells metered access.\n每一笔扣费都有收据。 " * 20
MARK = "zebra-quartz-4711"


@pytest.fixture(autouse=True)
def _public(option):
    option(public_price_list="usd")


def book():
    from farebox.console.prices import pricebook
    from farebox.kit import clock, db

    return {line.card.name: line for line in db.read(pricebook.read, clock.now_us()).lines}


def micro(text):
    value = Fraction(text.removeprefix("$").replace(",", "")) * 1_000_000
    assert value.denominator == 1
    return int(value)


def tokens_in(cell):
    return int(cell.removeprefix("≈").strip().replace(",", ""))


def agrees(page, *, output, calls, count):
    """Every row of the table is what `pricing` makes of it; the rows by model."""
    from farebox.catalog import pricing
    from farebox.catalog.usage import Usage

    rows, lines = page.rows(), book()
    assert set(rows) == set(lines)
    for name, (given, made, call, day, month) in rows.items():
        card = lines[name].card
        assert tokens_in(given) == count(card)
        assert int(made.replace(",", "")) == (output if card.output_tokens_max else 0)
        usage = Usage(input=tokens_in(given), output=int(made.replace(",", "")))
        amount_micro = pricing.charge(
            {key: quote.micro for key, quote in lines[name].quotes.items()}, usage
        ).amount_micro
        assert [micro(call), micro(day), micro(month)] == [
            amount_micro,
            amount_micro * calls,
            amount_micro * calls * 30,
        ]
    return rows


@pytest.mark.slow
def test_by_length(shop, visitor):
    page = visitor.page("/estimate?words=1500&characters=250&output=300&calls=7")
    assert page.status == 200
    rows = agrees(page, output=300, calls=7, count=lambda card: 2500)
    assert all(cells[0].startswith("≈") for cells in rows.values())
    [cheapest] = [row[0] for row in page.tables[0] if "cheapest" in row[0]]
    able = [name for name, line in book().items() if line.card.output_tokens_max]
    least = min(able, key=lambda name: micro(rows[name][2]))
    assert cheapest.split()[0] == least
    assert page.tables[0][1][0] == cheapest  # it stands first, and above the form
    assert f"per month with {least}" in page.text
    assert rows[least][4] in page.text


@pytest.mark.parametrize(("words", "characters", "tokens"), [(750, 0, 1000), (0, 500, 1000), (1, 0, 2), (3, 1, 6)])
def test_the_rule_of_thumb(shop, visitor, words, characters, tokens):
    page = visitor.page(f"/estimate?words={words}&characters={characters}")
    assert {tokens_in(cells[0]) for cells in page.rows().values()} == {tokens}


@pytest.mark.slow
def test_a_text_by_each_models_own_tokenizer(shop, visitor):
    from farebox.catalog import tokens

    shop.model("no-tokenizer", {"input": "1", "output": "2"})
    page = visitor.fill("/estimate", text=TEXT, words="", characters="", output="50", calls="2")
    assert page.status == 200

    def count(card):
        known = tokens.count_exact(card.tokenizer, [TEXT.replace("\n", "\r\n")]) or tokens.count_exact(
            card.tokenizer, [TEXT]
        )
        return known if known is not None else -(-20 * 4 * 4 // 3) + 20 * 10 * 2

    rows = agrees(page, output=50, calls=2, count=count)
    assert rows["no-tokenizer"][0].startswith("≈")
    assert not rows["gpt-4"][0].startswith("≈")
    assert rows["gpt-4"][0] != rows["gpt-4o-mini"][0]
    assert "每一笔扣费都有收据" in page.text  # it is still in its field


def test_nothing_of_a_text_stays(shop, visitor, capfd):
    page = visitor.fill("/estimate", text=MARK * 3, output="1", calls="1")
    assert page.status == 200
    assert MARK in page.text
    assert MARK not in str(page.headers)
    assert MARK not in visitor.page("/estimate").html
    said = capfd.readouterr()
    assert MARK not in said.out + said.err
    for file in shop.instance.data.rglob("*"):
        assert not file.is_file() or MARK.encode() not in file.read_bytes(), file


def test_a_form_without_a_text_becomes_an_address(shop, visitor):
    page = visitor.fill("/estimate", text="", words="10", characters="", output="20", calls="30")
    assert page.status == 302
    assert page.headers["location"] == "/estimate?words=10&characters=0&output=20&calls=30"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"text": "é" * 100_001}, "exceeds 200 KB"),
        ({"words": "-1"}, "greater than or equal to 0"),
        ({"words": "a lot"}, "whole number"),
        ({"words": "١٢"}, "whole number"),
        ({"words": "1_000"}, "whole number"),
        ({"words": "1.0"}, "whole number"),
        ({"words": "1e3"}, "whole number"),
        ({"words": "1" + "0" * 400}, "whole number"),
        ({"words": str(2**63)}, "less than or equal to"),
        ({"words": ["1", "2"]}, "The field words is given twice."),
        ({"words": "1", "calls": "0"}, "greater than or equal to 1"),
        ({"words": "1", "output": "99999999999"}, "less than or equal to"),
        ({"text": "nul\x00"}, "Invalid request"),
        ({}, "Paste a text, or enter"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_it_does_not_take(shop, visitor, form, why):
    page = visitor.fill("/estimate", **form)
    assert page.status == 400
    assert why in page.text
    assert page.tables == []


def test_just_200_kb(shop, visitor):
    assert visitor.fill("/estimate", text="é" * 100_000).status == 200


def test_models_that_cannot_do_it_stand_last(shop, visitor):
    page = visitor.page("/estimate?words=9000&output=5000")  # 12,000 tokens
    names = list(page.rows())
    unfit = [row[0] for row in page.tables[0][1:] if "Too long" in row[0] or "max output" in row[0]]
    # Another test of this module sells a model without a tokenizer.
    assert {cell.split()[0] for cell in unfit} - {"no-tokenizer"} == {
        "gpt-3.5-turbo-0125", "gpt-3.5-turbo-instruct", "gpt-4", "gpt-4-0125-preview", "gpt-4-1106-preview",
        "gpt-4-1106-vision-preview", "text-embedding-3-small",
    }  # fmt: skip
    assert {cell.split()[0] for cell in unfit} == set(names[-len(unfit) :])
    assert "Its max output is 4,096 tokens." in unfit[0]


def test_one_text_at_a_time(shop, visitor, monkeypatch):
    from farebox.console.prices import estimate

    monkeypatch.setattr(estimate, "_WAIT_S", 0.05)
    with estimate._counting:
        page = visitor.fill("/estimate", text="Hello")
    assert page.status == 503
    assert "Too many texts are being counted" in page.text
    assert visitor.fill("/estimate", text="Hello").status == 200


def test_a_form_of_another_site(shop, visitor):
    visitor.page("/estimate")
    assert visitor.request("POST", "/estimate", b"text=x").status == 403
    assert visitor.request("POST", "/estimate", b"text=x", **{"Sec-Fetch-Site": "cross-site"}).status == 403


def test_in_chinese(shop):
    page = Page(Visitor(shop, "zh").request("GET", "/estimate?words=0&characters=500&output=10&calls=1"))
    assert page.tables[0][0] == ["模型", "输入 token", "输出 token", "每次", "每天", "每月"]
    assert "最便宜" in page.tables[0][1][0]
    assert "不保存、不写入日志" in page.text
    refused = Visitor(shop).page("/zh/estimate?words=-1")
    assert refused.status == 400
    assert "最小为 0。" in refused.text
