"""The words of the pages: every string has its Chinese, both say the same things, and none is left in a template."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from farebox.look import words

TEMPLATES = sorted(
    path
    for room in words.ROOMS
    for path in (words.ROOT / room / "templates").rglob("*")
    if path.suffix in {".html", ".txt"}
)
PLACE = re.compile(r"%\(\w+\)[sd]|%%|</?[a-z]+")
CJK = "\u3400-\u9fff"
# Text that a template shows as it stands: code, names, and what is marked as not to be translated.
AS_IT_STANDS = {"code", "pre", "kbd", "script", "style", "title"}


@pytest.mark.slow
def test_every_string_has_its_chinese():
    assert words.missing() == {}


@pytest.mark.slow
def test_no_chinese_is_left_over():
    used = {word for room in words.ROOMS for word in words.used(room)}
    for room in words.ROOMS:
        assert [word.text for word in words.entries(words.catalogue(room)) if word not in used] == []


def test_a_string_has_one_chinese():
    """Catalogues of rooms are one at run time: a second entry would win or lose by chance."""
    seen: dict[words.Word, str] = {}
    for room in words.ROOMS:
        for word in words.entries(words.catalogue(room)):
            assert word not in seen, f"{word.text!r} is in {seen[word]} and in {room}"
            seen[word] = room


@pytest.mark.parametrize("room", words.ROOMS)
def test_catalogues(room):
    catalog = words.catalogue(room)
    assert [message.id for message in catalog if message.id and message.fuzzy] == []
    assert list(catalog.obsolete) == []
    for word, said in words.entries(catalog).items():
        for chinese in said:
            meant = set(PLACE.findall(word.plural or word.text))
            assert set(PLACE.findall(chinese)) == meant, word.text


@pytest.mark.parametrize("room", words.ROOMS)
def test_chinese_is_set_as_chinese(room):
    """Full-width punctuation, a space between Chinese and Latin."""
    for said in words.entries(words.catalogue(room)).values():
        for chinese in said:
            text = re.sub(r"<[^>]+>|%\(\w+\)[sd]", "", chinese)
            assert not re.search(rf"[{CJK}][A-Za-z0-9]|[A-Za-z0-9][{CJK}]", text), chinese
            assert not re.search(rf"[{CJK}][,;:!?]", text), chinese


@pytest.mark.parametrize("room", words.ROOMS)
def test_what_is_compiled_is_of_today(room):
    if words.entries(words.catalogue(room)):
        assert words.target(room).is_file(), "run `make`: it compiles the words"
        assert words.target(room).read_bytes() == words.compiled(room), "run `make`: the words have changed"


class Bare(HTMLParser):
    """Text that stands in a template outside of every tag for words."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []
        self._kept: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag in {"meta", "link", "input", "br", "hr", "img", "rect", "path", "circle", "line"}:
            return
        if self._kept or tag in AS_IT_STANDS or dict(attrs).get("translate") == "no":
            self._kept.append(tag)

    def handle_endtag(self, tag):
        if self._kept and self._kept[-1] == tag:
            self._kept.pop()

    def handle_data(self, data):
        if not self._kept:
            self.found += re.findall(r"[A-Za-z]*[a-z]{2,}", data)


def bare(path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    for tag in ("blocktranslate", "comment"):
        text = re.sub(rf"{{%\s*{tag}.*?{{%\s*end{tag}\s*%}}", "", text, flags=re.DOTALL)
    reader = Bare()
    reader.feed(re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "", text, flags=re.DOTALL))
    return reader.found


@pytest.mark.slow
def test_no_words_stand_in_a_template_as_they_are():
    assert {path.name: found for path in TEMPLATES if (found := bare(path))} == {}


def test_a_catalogue_that_is_not_compiled_is_no_fault(monkeypatch):
    """Its room speaks English then."""
    from django.utils import translation
    from django.utils.translation import trans_real

    monkeypatch.setattr(trans_real, "_translations", {})
    monkeypatch.setattr(trans_real, "all_locale_paths", list)
    monkeypatch.setattr(trans_real.DjangoTranslation, "_add_installed_apps_translations", lambda _self: None)
    with translation.override("zh-hans"):
        assert translation.gettext("Skip to the content") == "Skip to the content"
