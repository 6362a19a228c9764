"""The form of keys: ours, mistyped, another installation's, foreign."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.accounts.keys import key_format
from farebox.accounts.keys.key_format import KeyVerdict

SITE = key_format.site_code("0123456789abcdef")
OTHER = key_format.site_code("another installation")
# The forms that GPT Academic takes for keys of OpenAI (clients 1.1).
GPT_ACADEMIC = [
    r"sk-[a-zA-Z0-9_-]{48}$|sk-[a-zA-Z0-9_-]{92}$",
    r"sk-proj-[a-zA-Z0-9_-]{48}$",
    r"sess-[a-zA-Z0-9]{40}$",
]


def test_a_new_key_has_the_form_that_clients_take():
    for _ in range(200):
        key = key_format.mint(SITE)
        assert re.match(GPT_ACADEMIC[0], key)
        assert key.startswith("sk-FBX1" + SITE)
        assert len(key) == key_format.KEY_CHARS == 51
        assert key_format.check(key, SITE) is KeyVerdict.GOOD


def test_keys_differ():
    assert len({key_format.mint(SITE) for _ in range(1000)}) == 1000


def test_the_site_code_is_23_bits_of_sha256_in_four_digits():
    # SHA-256 of "abc" begins ba7816…: 0xba7816 >> 1 = 6110219 = 25·62³ + 39·62² + 33·62 + 57
    assert key_format.site_code("abc") == "PdXv"
    assert len(SITE) == 4
    assert SITE != OTHER


def test_the_checksum_is_crc32_in_base_62():
    # CRC32("123456789") = 0xCBF43926, the check value of the standard: 3421780262 = 3·62⁵ + 45·62⁴ + …
    assert key_format.checksum("123456789") == "3jZRME"
    assert key_format.checksum("") == "000000"


@pytest.mark.slow
@given(st.integers(0, 50), st.sampled_from(string.ascii_letters + string.digits + "-_ \x00"))
def test_any_single_wrong_character_is_noticed(index, char):
    key = key_format.mint(SITE)
    wrong = key[:index] + char + key[index + 1 :]
    if wrong != key:
        expected = KeyVerdict.FOREIGN if index < 7 else KeyVerdict.MISTYPED
        assert key_format.check(wrong, SITE) is expected


def test_cut_doubled_swapped_and_flipped_keys_are_mistyped():
    rng = random.Random(4711)
    for _ in range(500):
        key = key_format.mint(SITE)
        at = rng.randrange(8, 49)
        wrong = [key[:-1], key + key[-1], key[:at] + key[at] + key[at:], key[:at] + key[at + 1 :], key + "\n"]
        if key[at] != key[at + 1]:
            wrong.append(key[:at] + key[at + 1] + key[at] + key[at + 2 :])
        if key[at].swapcase() != key[at]:
            wrong.append(key[:at] + key[at].swapcase() + key[at + 1 :])
        assert {key_format.check(text, SITE) for text in wrong} == {KeyVerdict.MISTYPED}


def test_another_installations_key_is_told_from_a_mistyped_one():
    assert key_format.check(key_format.mint(OTHER), SITE) is KeyVerdict.OTHER_SITE


@pytest.mark.slow
@given(st.text())
def test_any_text_has_a_verdict(text):
    assert key_format.check(text, SITE) is not KeyVerdict.GOOD
    assert key_format.check("sk-FBX1" + text, SITE) is not KeyVerdict.GOOD


@pytest.mark.parametrize("text", ["", "sk-", "sk-" + "a" * 48, "sk-proj-" + "a" * 48, "fbx1"])
def test_other_forms_are_foreign(text):
    assert key_format.check(text, SITE) is KeyVerdict.FOREIGN


def test_minting_refuses_what_scanners_or_clients_would_misread(monkeypatch):
    assert not key_format.acceptable("sk-FBX1abcdT3BlbkFJ" + "a" * 30)
    assert not key_format.acceptable("sk-" + "0123456789abcdef" * 3)
    marked = "T3BlbkFJ" + "a" * 26
    drawn = iter(marked + "b" * 34)
    monkeypatch.setattr(key_format.secrets, "choice", lambda _: next(drawn))
    assert key_format.mint(SITE)[11:-6] == "b" * 34


def test_hint_and_mask_show_little():
    key = key_format.mint(SITE)
    assert key_format.hint(key) == f"sk-FBX1…{key[-4:]}"
    assert key_format.masked(key) == f"sk-FBX1****{key[-4:]}"
    assert key_format.hint("sk-" + "a" * 44 + "wxyz") == "sk-…wxyz"
    assert len(key_format.hint("a" * 512)) <= 24
    assert key_format.masked("sk-short") == "****"
    assert key_format.masked("sk-" + "\x00" * 60) == "****"
    assert key_format.masked("ключ" * 20) == "****"
