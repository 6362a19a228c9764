"""Tokens by class: what counts as what, how long texts are counted, and what is done without a vocabulary."""

from __future__ import annotations

import base64
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.catalog import counting, tokens
from farebox.catalog.counting import Vector
from kit.rows import for_each

ENGLISH = "The balance never goes below zero, by construction. "
CHINESE = "余额永远不会低于零。每一笔费用都可以根据收据重新计算。"
RANDOM = base64.b64encode(Random(7).randbytes(300)).decode()
WORDS = ("latin", "cjk", "other", "digits", "base64")


@for_each(
    ("text", "most"),
    [
        (ENGLISH, "latin"),
        ("def charge(prices, usage):\n    return sum(prices[name] for name in usage)\n", "latin"),
        ("Où est la bibliothèque ? Überall, señor.", "latin"),
        ("src/farebox/catalog/migrations/versions/of/another-long-path/with_words", "latin"),
        ("-" * 200, "latin"),
        (CHINESE, "cjk"),
        ("料金は受領書から計算できます。", "cjk"),
        ("모든 요금은 영수증에서 다시 계산할 수 있습니다.", "cjk"),
        ("Баланс никогда не опускается ниже нуля", "other"),
        ("الرصيد لا ينخفض أبدا عن الصفر", "other"),
        ("123456789012345678901234567", "digits"),
        (RANDOM, "base64"),
        (Random(7).randbytes(60).hex(), "base64"),
    ],
)
def test_a_text_counts_as_what_it_is(text, most):
    found = counting.vector([text])
    assert found.total == pytest.approx(tokens.count_exact("o200k_base", [text]), abs=2)
    assert getattr(found, most) >= 0.8 * found.total, found


def test_characters_that_are_more_than_one_token_count_with_their_first_byte():
    rare = "龘麤齉靐"
    exact = tokens.count_exact("o200k_base", [rare])
    assert exact > len(rare)
    assert counting.vector([rare]) == Vector(cjk=exact)


def test_a_run_is_cut_out_of_the_text_around_it():
    found = counting.vector([f"{ENGLISH}\ndata: {RANDOM}\n{ENGLISH}"])
    assert found.base64 == counting.vector([RANDOM]).base64 > 150
    assert found.latin == pytest.approx(2 * counting.vector([ENGLISH]).latin, abs=5)


@given(st.lists(st.text(max_size=80), max_size=6))
@settings(max_examples=60)
def test_every_token_counts_once_whatever_the_text(texts):
    found = counting.vector(texts)
    assert min(found) >= 0
    assert found.total == tokens.count_exact("o200k_base", texts)
    assert found == counting.vector(texts[:1]).plus(counting.vector(texts[1:]))


@pytest.mark.slow
def test_a_long_text_is_counted_by_parts_of_all_of_it():
    half = ENGLISH * 40_000
    texts = [half, CHINESE * 30_000]
    assert tokens.too_long(texts)
    began = time.process_time()
    found = counting.vector(texts)
    assert time.process_time() - began < 5
    latin, cjk = counting.vector([ENGLISH * 1000]).latin * 40, counting.vector([CHINESE * 1000]).cjk * 30
    assert found.latin == pytest.approx(latin, rel=0.05)
    assert found.cjk == pytest.approx(cjk, rel=0.05)
    many = counting.vector(["a bc 12\n"] * 200_000)
    assert many.digits == pytest.approx(200_000, rel=0.05)


def test_no_more_is_counted_of_one_call_than_the_limit(monkeypatch):
    seen = []
    numbers = tokens.numbers
    monkeypatch.setattr(tokens, "numbers", lambda name, text: seen.append(text) or numbers(name, text))
    counting.vector(["x y" * 1_000_000, CHINESE * 20_000])
    assert 0.9 * tokens.TEXT_BYTES_MAX < sum(len(text.encode()) for text in seen) <= tokens.TEXT_BYTES_MAX


def test_what_the_tokenizer_chokes_on_is_guessed_by_class(monkeypatch):
    monkeypatch.setattr(tokens, "_loaded", {"o200k_base": tokens.TokenizerFault("gone")})
    for text, most in ((ENGLISH * 9, "latin"), (CHINESE * 9, "cjk"), ("1234 5678 " * 9, "digits"), (RANDOM, "base64")):
        guessed = counting.vector([text])
        monkeypatch.undo()
        exact = counting.vector([text])
        monkeypatch.setattr(tokens, "_loaded", {"o200k_base": tokens.TokenizerFault("gone")})
        assert getattr(guessed, most) == pytest.approx(getattr(exact, most), rel=0.5), (text, guessed, exact)


def test_half_a_character_and_a_lone_surrogate_are_counted():
    assert counting.vector(["a\ud800b"]).total >= 2
    assert counting.bytes_of(["a\ud800b", "é"]) == 5
    assert counting.vector([]) == Vector()
