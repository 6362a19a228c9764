"""A name is no password, whatever stands around it; a sentence with a name in it is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.accounts.people.own_words import is_own
from kit.rows import for_each

WORDS = ("Corner Shop", "Ada Lovelace", "ada.lovelace@engine.example")
letters = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=12)
around = st.text(alphabet="0123456789!?.-_ ", max_size=6)


@for_each(
    "password",
    [
        "ada.lovelace@engine.example", "ADA.LOVELACE", "adalovelace", "lovelace1815", "Lovelace!!", "2026-Corner-Shop",
        "cornershop123", "LovelaceAda", "ada lovelace", "engine.example", "_engine_1_",
    ],
)  # fmt: skip
def test_names_are_refused(password):
    assert is_own(password, WORDS)


@pytest.mark.parametrize(
    "password", ["lovelace and a shop", "adaadaada", "corner-lovelace", "12345678", "........", "the engine of Ada", ""]
)
def test_what_is_more_than_a_name_is_not(password):
    assert not is_own(password, WORDS)


def test_no_words_and_short_words():
    assert not is_own("a-2026-a", ("", "A B"))
    assert is_own("a b", ("A B",))


@pytest.mark.slow
@given(letters, letters, around, around)
def test_figures_and_signs_make_no_difference(first, last, before, after):
    assert is_own(f"{before}{first}{after}", (f"{first} {last}",))
    assert is_own(f"{before}{last.upper()}{after}", (f"{first}@{last}.example",))


@given(letters, letters)
def test_other_letters_make_one(name, more):
    assert is_own(name + more, (name,)) == (name + more == name)
