"""What the rooms below refuse: every sentence has its Chinese, and a page says it with the values it was raised with."""

from __future__ import annotations

import re

import pytest
from django.utils import translation

import people
from farebox.kit.errors import CommandError
from farebox.look import refusals, words
from rows import for_each

pytestmark = pytest.mark.slow

PLACE = re.compile(r"\{\d+\}")
CJK = "\u3400-\u9fff"
LOCAL = "A channel on your own network must be marked local."
SHELL = re.compile(r"`farebox [a-z]")
# Said to who runs the server as well: nothing on a page would do it.
ON_THE_SERVER = re.compile(r"farebox migrate|farebox operator reset")


def said(message: str, language: str) -> str:
    with translation.override(language):
        return refusals.said(CommandError(message))


def test_every_sentence_can_be_read_from_the_code():
    """A sentence that is put together elsewhere could have no Chinese: raise it as one text."""
    assert [where for room in words.BELOW for text, where in words.refusals(room).items() if not text] == []


def test_what_is_only_for_a_shell_is_there():
    assert [name for name in words.OF_THE_SHELL if not (words.HOUSE / name).is_file()] == []


@pytest.mark.parametrize("room", words.BELOW)
def test_every_sentence_has_its_chinese_and_no_chinese_is_left_over(room):
    chinese = {word.text for word in words.entries(words.catalogue(room, "refusals"))}
    assert chinese == set(words.refusals(room))


@pytest.mark.parametrize(("room", "kind", "locale"), [each for each in words.kept() if each[1] == "refusals"])
def test_catalogues(room, kind, locale):
    catalog = words.catalogue(room, kind, locale)
    assert [message.id for message in catalog if message.id and message.fuzzy] == []
    assert words.target(room, kind, locale).read_bytes() == words.compiled(room, kind, locale), "run `make`"
    raised = words.refusals(room)
    for word, (text, *_) in words.entries(catalog).items():
        assert word.text in raised
        assert sorted(PLACE.findall(text)) == sorted(PLACE.findall(word.text)), word.text
        if locale == words.LOCALE:
            assert not re.search(rf"[{CJK}][A-Za-z0-9{{]|[A-Za-z0-9}}][{CJK}]|[{CJK}][,;:!?]", text), text


def test_a_page_says_each_in_its_language():
    texts = sorted({text for room in words.BELOW for text in words.refusals(room)})
    values = [f"x{n}y" for n in range(1, 9)]
    raised = [(text, PLACE.sub(lambda _place, of=iter(values): next(of), text)) for text in texts]
    with translation.override("zh-hans"):
        chinese = {message: refusals.said(CommandError(message)) for _text, message in raised}
    with translation.override("en"):
        english = {message: refusals.said(CommandError(message)) for _text, message in raised}
    for text, message in raised:
        if re.search(r"[a-z]", PLACE.sub("", text)):
            assert re.search(f"[{CJK}]", chinese[message]), chinese[message]
            assert all(value in chinese[message] for value in re.findall(r"x\dy", message)), chinese[message]
        for shown in (chinese[message], english[message]):
            assert not SHELL.search(shown) or ON_THE_SERVER.search(shown), f"{shown} - a page has no shell"


@for_each(
    ("raised", "chinese"),
    [
        ("Key key_1 is revoked and stays as it is.", "密钥 key_1 是“已吊销”状态，不能改动。"),
        ("There is no model 'gpt-9'. `farebox prices show` lists them.", "没有模型“gpt-9”。“价格”页列出了全部模型。"),
        ("the amount is out of bounds.", "金额超出范围。"),
        ("'1.2.3' is not an amount such as 12.34.", "“1.2.3”不是金额，例如 12.34。"),
        ("shop_name: a text of at most 80 characters in one line.", "shop_name：最多 80 个字符。只能写一行。"),
        ("shop_about: a text of at most 2,000 characters.", "shop_about：最多 2,000 个字符。"),
        (
            f"The base URL can't be used: the URL must begin with https://. {LOCAL}",
            "不能使用这个 Base URL：URL 必须以 https:// 开头。自己网络里的渠道要标为本地。",
        ),
        ("10.0.0.0.0 does not appear to be an IPv4 or IPv6 network.", "“10.0.0.0.0”不是 IPv4 或 IPv6 的地址或网段。"),
        ("Nobody has ever raised this.", "Nobody has ever raised this."),
    ],
)
def test_values_that_are_words_are_said_too(raised, chinese):
    assert said(raised, "zh-hans") == chinese


def test_english_pages_name_places_instead_of_commands():
    assert said("There is no model 'm'. `farebox model list` shows them.", "en") == (
        "There is no model m. The page Models lists them."
    )
    assert said("This key is here already.", "en") == "This key is here already."


def test_pages_of_customers_speak_their_language(shop):
    owner = people.customer(shop)
    path = f"/zh/console/keys/{owner.customer.key_id}"
    assert owner.fill(path, f"{path}/revoke").status == 302
    page = owner.follow(owner.send(f"{path}/revoke", {}))
    assert f"密钥 {owner.customer.key_id} 已经吊销。" in page.text
    english = owner.follow(owner.send(f"{path.removeprefix('/zh')}/revoke", {}))
    assert f"Key {owner.customer.key_id} was revoked before." in english.text


def test_pages_of_operators_speak_their_language(shop):
    admin, account = people.operator(shop), shop.account("5").account
    new = {"name": "Q", "currency": "CNY", "price_list": "no-such-list"}
    assert (
        "没有价目表“no-such-list”。“价目表”页列出了全部价目表。" in admin.fill("/zh/office/customers/new", **new).text
    )
    assert "The page Price lists names them." in admin.fill("/office/customers/new", **new).text
    here = f"/zh/office/customers/{account}"
    assert "名称为 1 到 100 个可显示的字符。" in admin.follow(admin.fill(here, f"{here}/rename", name="\x07")).text


def test_outcomes_have_the_same_names_on_both_sides():
    from farebox.console import call_words
    from farebox.office.pages import words as office

    assert set(office.OUTCOMES) == set(call_words.OUTCOMES)
