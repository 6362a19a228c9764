"""Refusals: each id that the rooms below the fronts raise has its sentence, in every language and for every front."""

from __future__ import annotations

import ast
import functools
import re
import string
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from farebox.kit.errors import CommandError
from farebox.kit.refusal import ID, Amount, Refusal, of, word
from farebox.look import refusals
from kit import people
from kit.rows import for_each

ROOT = Path(refusals.__file__).parents[1]
BELOW = ("kit", "catalog", "ledger", "protocol", "upstreams", "accounts", "calls", "payments", "gateway", "site")
RAISED = frozenset({"CommandError", "MoneyError", "AddressRefused"})
# Where a refusal is put together from what its caller gives; the others take `refusal.of`.
MAKERS = {"kit/errors.py", "kit/refusal.py", "kit/money.py", "kit/fetch/errors.py"}
OF_THE_ANSWER = frozenset({"param", "code", "status", "reason"})  # arguments that are no fields
CJK = "\u3400-\u9fff"
COMMAND = re.compile(r"`farebox\b|\bfarebox [a-z]+ [a-z]")
A_PAGE = re.compile(r"\b[Pp]age\b|页")


class Site(NamedTuple):
    """A place in the code that refuses: what its first argument is, and the names of the fields that it gives."""

    where: str
    given: ast.expr
    fields: frozenset[str]


@functools.cache
def sites() -> list[Site]:
    found = []
    for path in (path for room in BELOW for path in sorted((ROOT / room).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and called(node.func):
                fields = frozenset(str(each.arg) for each in node.keywords) - OF_THE_ANSWER
                found.append(Site(f"{path.relative_to(ROOT)}:{node.lineno}", node.args[0], fields))
    return found


def called(func: ast.expr) -> bool:
    if isinstance(func, ast.Attribute):
        return func.attr in RAISED or (
            func.attr == "of" and isinstance(func.value, ast.Name) and func.value.id == "refusal"
        )
    return isinstance(func, ast.Name) and func.id in RAISED


def idents(given: ast.expr) -> list[str]:
    """The ids that a first argument can be; none where it is a refusal that was made elsewhere."""
    if isinstance(given, ast.Constant):
        return [str(given.value)]
    if isinstance(given, ast.IfExp):
        return idents(given.body) + idents(given.orelse)
    passed_on = isinstance(given, ast.Attribute) and given.attr in {"refusal", "reason"}
    made = isinstance(given, ast.Call) and isinstance(given.func, ast.Attribute) and given.func.attr == "damaged"
    assert passed_on or made, f"an id that can't be read from the code: {ast.unparse(given)}"
    return []


@functools.cache
def raised() -> dict[str, list[Site]]:
    found: dict[str, list[Site]] = {}
    for site in sites():
        for ident in idents(site.given):
            found.setdefault(ident, []).append(site)
    return found


@functools.cache
def words() -> set[str]:
    tables = tomllib.loads((refusals.FOLDER / "words.toml").read_text(encoding="utf-8"))
    return {f"{kind}.{name}" for kind, names in tables.items() for name in names}


@functools.cache
def entries() -> dict[str, dict[str, Any]]:
    return {ident: entry for ident, entry in refusals.sentences().items() if ident not in words()}


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def steps(entry: dict[str, Any]) -> list[str]:
    return [text for front in refusals.FRONTS for text in texts(entry.get(front, ""))]


def texts(step: Any) -> list[str]:
    return [*step.values()] if isinstance(step, dict) else [step] if step else []


def test_no_room_below_the_fronts_raises_a_sentence():
    """And none names a command or a page, for what it gives is an id and values."""
    wrong = [(site.where, ident) for site in sites() for ident in idents(site.given) if not ID.fullmatch(ident)]
    assert wrong == []
    assert len(sites()) > 300


def test_refusals_are_made_where_their_ids_can_be_read():
    made = {
        str(path.relative_to(ROOT))
        for room in BELOW
        for path in (ROOT / room).rglob("*.py")
        if "kit/" in str(path) or "kit.refusal import" in path.read_text(encoding="utf-8")
        if re.search(r"\bRefusal\(", path.read_text(encoding="utf-8"))
    }
    assert made == MAKERS


def test_every_id_has_a_sentence_and_no_sentence_is_left_over():
    assert sorted(set(raised()) - set(entries())) == []
    assert sorted(set(entries()) - set(raised())) == []


def test_no_id_has_two_sentences():
    found = [
        f"{thing}.{what}"
        for path in refusals.FOLDER.glob("*.toml")
        for thing, table in tomllib.loads(path.read_text(encoding="utf-8")).items()
        for what in table
    ]
    assert sorted(found) == sorted(set(found))


def test_every_sentence_has_exactly_the_fields_that_are_given():
    for ident, found in raised().items():
        entry = entries()[ident]
        for site in found:
            assert places(entry["en"]) == site.fields, (site.where, ident)
            assert places(entry.get("zh", entry["en"])) == site.fields, (site.where, ident)
            assert all(places(step) <= site.fields for step in steps(entry)), (site.where, ident)


def test_a_sentence_is_there_for_whoever_can_read_it():
    """What pages show has its Chinese; what is `only` for the terminal has none."""
    for ident, entry in entries().items():
        assert set(entry) <= {"only", "en", "zh", *refusals.FRONTS}, ident
        assert entry.get("only", "cli") == "cli", ident
        assert ("zh" in entry) != ("only" in entry), ident
        assert all(isinstance(entry.get(front, ""), str) for front in refusals.ENGLISH_ONLY), ident
        assert all(set(entry[front]) == {"en", "zh"} for front in ("console", "office") if front in entry), ident


def test_what_to_do_next_is_of_the_front_that_says_it():
    """The sentence itself names no command; the terminal and the API name no page, and pages no command."""
    for ident, entry in entries().items():
        pages = [*texts(entry.get("console", "")), *texts(entry.get("office", ""))]
        for text in [entry["en"], entry.get("zh", ""), entry.get("api", ""), *pages]:
            assert not COMMAND.search(text), ident
        assert not A_PAGE.search(entry.get("cli", "") + entry.get("api", "")), ident


def test_chinese_is_set_as_chinese_is():
    for entry in refusals.sentences().values():
        for text in (entry.get("zh", ""), *(entry[front]["zh"] for front in ("console", "office") if front in entry)):
            assert not re.search(rf"[{CJK}][A-Za-z0-9]|[A-Za-z0-9][{CJK}]|[{CJK}][,;:!?]", text), text


def test_every_kind_of_word_is_known_in_both_languages():
    kinds = set()
    for path in (path for room in BELOW for path in sorted((ROOT / room).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if isinstance(node, ast.Call) and (name == "word" or getattr(node.func, "id", "") == "word"):
                kinds |= {each.value for each in node.args[:1] if isinstance(each, ast.Constant)}
    assert kinds == {ident.partition(".")[0] for ident in words()}
    assert all({"en", "zh"} == set(refusals.sentences()[ident]) for ident in words())


def test_each_state_that_a_refusal_names_has_a_word_and_no_other():
    """The states of the tables whose rows are named; a proposal that nobody decided `lapsed`, which no row says."""
    from farebox.care import ready

    ready.django()
    from farebox.accounts.models import Account, ApiKey, Project
    from farebox.catalog.models import PriceDraft
    from farebox.kit.models import Proposal
    from farebox.ledger.models import Adjustment

    bound = [states_of(model) for model in (Account, PriceDraft, Proposal, Adjustment)]
    written = [states_written(model) for model in (ApiKey, Project)]
    assert all(len(states) > 1 for states in bound + written)
    named = {ident.partition(".")[2] for ident in words() if ident.startswith("state.")}
    assert named == {"lapsed"}.union(*bound, *written)


def states_of(model: Any) -> set[str]:
    """What the table's own constraint lets a row's state be."""
    parts = [part for each in model._meta.constraints if hasattr(each, "condition") for part in each.condition.children]
    return {state for part in parts if isinstance(part, tuple) and part[0] == "state__in" for state in part[1]}


def states_written(model: Any) -> set[str]:
    """What a row's state is at first, and what the verbs of its room make of it, where the table has no constraint."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "accounts").rglob("*.py")))
    moved = re.findall(rf'{model.__name__}\.objects\.[^\n]*\.update\(state="(\w+)"', source)
    return {model._meta.get_field("state").default, *moved}


def test_an_id_or_a_word_that_is_not_known_is_said_as_it_is():
    assert refusals.said(of("nothing.such", a="b"), "office", "zh-hans") == "nothing.such a='b'"
    moved = of("project.state", project="p", state=word("state", "sold"))
    assert str(moved) == "project.state project='p' state=(state.sold)"


@for_each(
    ("refusal", "front", "language", "says"),
    [
        (of("model.unknown", model="m"), "cli", "en", "There is no model 'm'. `farebox model list` shows all models."),
        (of("model.unknown", model="m"), "office", "en", "There is no model 'm'. The Models page lists them."),
        (of("model.unknown", model="m"), "office", "zh-hans", "没有模型“m”。“模型”页列出了全部模型。"),
        (of("model.unknown", model="m"), "api", "zh-hans", "There is no model 'm'. GET /office/api/models lists them."),
        (of("setting.text", setting="shop_about", chars_max=2000), "office", "zh-hans", "shop_about 最多 2,000 个字符。"),
        (
            of("channel.base_url", why=of("address.scheme")), "office", "zh-hans",
            "不能使用这个 Base URL。URL 必须以 https:// 开头。",
        ),
        (of("price_list.built_in", price_list="a\x07\n"), "office", "zh-hans", "价目表 a\\x07\\n 是内置的。请换一个名称。"),
        (of("draft.decided", state=word("state", "dropped")), "office", "zh-hans", "这份草稿的状态已是“已放弃”。"),
        (of("draft.decided", state=word("state", "dropped")), "cli", "en", "This draft is already discarded."),
        (of("announcement.level", levels=("info", "bad")), "office", "zh-hans", "级别只能是：info、bad。"),
        (
            of("ledger_account.bounds", ledger_account="a", most=Amount(1_500_000)), "cli", "en",
            "The ledger account a would exceed 1.50.",
        ),
        (
            of("refund.too_much", charged=Amount(60_000, "USD"), refunded=Amount(0, "USD")), "office", "zh-hans",
            "退款金额过高：这次调用扣费 $0.06，其中 $0.00 已退还或已申请退还。",
        ),
    ],
)  # fmt: skip
def test_a_front_says_it_in_its_words_and_language(refusal, front, language, says):
    assert refusals.said(refusal, front, language) == says


def test_fields_of_every_kind_are_said_in_every_sentence():
    """Nothing that stands in a sentence breaks it, whatever front and language ask for it."""
    for ident, entry in entries().items():
        values = {name: f"x{n}y" for n, name in enumerate(sorted(places(entry["en"])))}
        for front in refusals.FRONTS:
            for language in ("en", "zh-hans"):
                shown = refusals.said(Refusal(ident, values), front, language)
                assert shown and all(value in shown for value in values.values()), shown


def test_a_sentence_of_a_front_stays_as_it_is():
    assert refusals.of(CommandError("Give a date such as 2026-12-01."), "cli") == "Give a date such as 2026-12-01."
    known = CommandError("model.unknown", model="m", status=404)
    assert (known.status, known.is_("model.unknown"), known.is_("key.unknown")) == (404, True, False)
    assert str(known) == "model.unknown model='m'"


def test_the_terminal_says_it_without_django():
    code = "import sys, farebox.look.refusals as r; r.sentences(); sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_pages_of_customers_speak_their_language(shop):
    owner = people.customer(shop)
    path = f"/zh/console/keys/{owner.customer.key_id}"
    assert owner.fill(path, f"{path}/revoke").status == 302
    page = owner.follow(owner.send(f"{path}/revoke", {}))
    assert f"密钥 {owner.customer.key_id} 已吊销。" in page.text
    english = owner.follow(owner.send(f"{path.removeprefix('/zh')}/revoke", {}))
    assert f"The key {owner.customer.key_id} is already revoked." in english.text


@pytest.mark.slow
def test_pages_of_operators_speak_their_language(shop):
    admin, account = people.operator(shop), shop.account("5").account
    new = {"name": "Q", "currency": "CNY", "price_list": "no-such-list"}
    assert (
        "没有价目表“no-such-list”。“价目表”页列出了全部价目表。" in admin.fill("/zh/office/customers/new", **new).text
    )
    assert "The Price lists page lists them." in admin.fill("/office/customers/new", **new).text
    here = f"/zh/office/customers/{account}"
    assert "名称为 1 到 100 个可显示字符。" in admin.follow(admin.fill(here, f"{here}/rename", name="\x07")).text


def test_outcomes_have_the_same_names_on_both_sides():
    from farebox.console.usage import call_words
    from farebox.office.pages import words as office

    assert set(office.OUTCOMES) == set(call_words.OUTCOMES)


def test_commands_that_sentences_name_exist():
    import click

    from farebox.cli.main import farebox

    for ident, entry in refusals.sentences().items():
        for text in [*texts(entry.get("cli", "")), *(str(entry.get(name, "")) for name in ("en", "zh"))]:
            for words_ in re.findall(r"`farebox ([a-z-]+(?: [a-z-]+)?)", text):
                found: click.Command = farebox
                for each in words_.split():
                    if not isinstance(found, click.Group):
                        break
                    assert each in found.commands, (ident, text)
                    found = found.commands[each]
