"""Every citation leads somewhere: of documents, their sections, ids and decisions; so does every link between documents.

docs/README.md, "How the code cites", has the forms. Sections are numbered in three documents alone; an id is a row of a
table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from kit.rows import for_each

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NUMBERED = ("promises", "clients", "security")
# Where the ids of each letter have their rows. Both versions of the charging rules have all of theirs.
HOMES = {"I": ("promises.md",), "F": ("promises.md",), "R": ("rules-2.md", "rules.md")} | dict.fromkeys(
    "JAMKHUC", ("clients.md",)
)
SUFFIXES = {".py", ".md", ".toml", ".html", ".css", ".js", ".mjs", ".sh", ".c", ".yaml", ".conf"}
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md")])

_NUMBER = r"\d+(?:\.\d+)?"
_ID = f"[{''.join(HOMES)}]\\d\\d"
_AND = r"(?:, | and | to |; )"
_SECTIONS = re.compile(rf"\b((?i:{'|'.join(NUMBERED)})) ({_NUMBER}(?:{_AND}(?:{_NUMBER}|{_ID}))*)")
_NAMED_IDS = re.compile(rf"\b({'|'.join(NUMBERED)}|rules|rules-2): ({_ID}(?:{_AND}{_ID})*)\b")
# A number after it makes it a path of an image, such as `M12 4`.
_IDS = re.compile(rf"(?<![\w./#-])({_ID})(?![\w-]| \d)")
_DECISIONS = re.compile(r"\bdecisions?[ /]0*(\d{1,4})\b")
_DOCUMENTS = re.compile(r"(?<![\w./*{$-])((?:[\w.-]+/)*[\w-]+\.md)\b(?:, \"([^\"\n]+)\")?")
_LINKS = re.compile(r"\]\(([^)\s]+)\)")
_BARE = re.compile(r"(?<=\w )(\(\d\.\d{1,2}\))")
_OWN_SECTIONS = re.compile(r"\((\d(?:\.\d+)?)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def sources() -> list[Path]:
    """Every file in which people write sentences, but for this one, which cites wrongly on purpose."""
    found = [path for room in ("src", "tests", "docs", "bench") for path in (ROOT / room).rglob("*")]
    found = [path for path in found if path.suffix in SUFFIXES and path != Path(__file__)]
    return sorted([*found, *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"])


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", _FENCE.sub("", text(path)), re.MULTILINE)


@cache
def sections(name: str) -> set[str]:
    """The numbers of a document's sections."""
    return set(re.findall(rf"^#+ ({_NUMBER}) ", text(DOCS / f"{name}.md"), re.MULTILINE))


@cache
def anchors(path: Path) -> set[str]:
    """What a link may name after `#`, as the host of the repository makes it of headings."""
    found: list[str] = []
    for heading in headings(path):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        before = found.count(anchor)
        found.append(f"{anchor}-{before}" if before else anchor)
    return set(found)


@cache
def rows() -> dict[str, Counter[str]]:
    """How many rows each id has in which documents."""
    found: dict[str, Counter[str]] = {}
    for path in DOCS.rglob("*.md"):
        for name in re.findall(r"^\| ([A-Z]\d\d) \|", text(path), re.MULTILINE):
            found.setdefault(name, Counter())[path.relative_to(DOCS).as_posix()] += 1
    return found


def decided() -> set[int]:
    return {int(path.name.partition("-")[0]) for path in (DOCS / "decisions").glob("[0-9]*.md")}


def wrong(path: Path, said: str) -> Iterator[str]:
    """What in these words, as they stand in that file, leads nowhere."""
    for cited in _SECTIONS.finditer(said):
        numbers = re.findall(rf"(?<![A-Z\d.])({_NUMBER})", cited[2])
        yield from (f"{cited[1]} {number}" for number in numbers if number not in sections(cited[1].lower()))
    for cited in _NAMED_IDS.finditer(said):
        ids = re.findall(_ID, cited[2])
        yield from (f"{cited[1]}: {name}" for name in ids if f"{cited[1]}.md" not in rows().get(name, ()))
    if path.suffix == ".py":
        yield from _BARE.findall(said)  # a section of which document?
    yield from (name for name in _IDS.findall(said) if name not in rows())
    yield from (f"decision {number}" for number in _DECISIONS.findall(said) if int(number) not in decided())
    for name, heading in _DOCUMENTS.findall(said):
        found = [place / name for place in (ROOT, path.parent, DOCS) if (place / name).is_file()]
        if not found:
            yield name
        elif heading and heading not in headings(found[0]):
            yield f'{name}, "{heading}"'


def broken(path: Path, said: str) -> Iterator[str]:
    """The links of a document to others, or to its own sections, that lead nowhere."""
    for target in _LINKS.findall(_FENCE.sub("", said)):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        to = (path.parent / name).resolve() if name else path
        if not to.exists() or (anchor and anchor not in anchors(to)):
            yield target
    if path.parent == DOCS and path.stem in NUMBERED:
        yield from (number for number in _OWN_SECTIONS.findall(said) if number not in sections(path.stem))


def test_every_citation_leads_somewhere():
    found = [f"{path.relative_to(ROOT)}: {what}" for path in sources() for what in wrong(path, text(path))]
    assert not found


def test_every_link_of_a_document_leads_somewhere():
    found = [f"{path.relative_to(ROOT)}: {what}" for path in PAGES for what in broken(path, text(path))]
    assert not found


def test_an_id_has_one_row_in_its_document():
    assert {name[0] for name in rows()} == set(HOMES)
    assert not [name for name, found in rows().items() if found != Counter(HOMES[name[0]])]


def test_invariants_rules_and_faults_are_all_there():
    wanted = {f"{letter}{n:02}" for letter, most in (("I", 34), ("R", 34), ("F", 43)) for n in range(1, most + 1)}
    assert {name for name in rows() if name[0] in "IRF"} == wanted


def test_sections_are_numbered_once():
    for name in NUMBERED:
        numbers = [heading.partition(" ")[0] for heading in headings(DOCS / f"{name}.md")[1:]]
        assert len(numbers) == len(set(numbers)) > 5
        assert set(numbers) == sections(name), name


def test_every_document_is_in_the_index():
    """Of documents that are one book, a folder with a README.md, the index names that, and that names them."""
    for index in DOCS.rglob("README.md"):
        if index.parent.name != "decisions":
            linked = {target.partition("#")[0] for target in _LINKS.findall(text(index))}
            books = {f"{path.parent.name}/README.md" for path in index.parent.glob("*/README.md")}
            assert {path.name for path in index.parent.glob("*.md")} | books <= linked | {"README.md"}, index


@for_each("said", [
    "# (promises 9.9)", "# Security 9: nothing", "(promises 1.5, 1.99)", "(promises 1.8, I99)", "promises 1 to 77", "(clients 8)", "(security 4 and 12)",
    "(promises: K05)", "(promises: I04, F44)", "(clients: I04)", "(rules: F01)", '"I35 an entry"', "R00", "R35", "as F44", "(K99)", "J01 to J99",
    "accounts (4.4).", "decision 999", "decisions/0999", "docs/money.md", "see money.md 4.3", "client-contract.md", '(docs/operate/options.md, "No such heading")', "../docs/none.md",
])  # fmt: skip
def test_a_wrong_citation_is_found(said):
    assert list(wrong(ROOT / "src" / "farebox" / "gateway" / "serve.py", said))


@for_each("said", [
    "(promises 1.9, 1.10; 4.3 from version 2 on)", "(promises 1.8 to 1.12)", "(promises 1.8, I04)", "(promises: I02, I24)", "(clients: U03, security 2)",
    "(rules: R26)", "decision 7", "docs/decisions/0030", 'tee "$out.md"', "# Security 2: nothing", "docs/rules-2.md", "rules.md", '(docs/operate/back-up.md, "Back up")', "M12 4L2 20h20z", "texts/terms.zh.md",
])  # fmt: skip
def test_a_right_one_is_not(said):
    assert not list(wrong(ROOT / "src" / "farebox" / "gateway" / "serve.py", said))


@for_each("target", ["none.md", "api.md#none", "#none", "decisions/0999-none.md", "../docs/api.md#the-receipt-1"])
def test_a_broken_link_is_found(target):
    page = DOCS / "promises.md"
    assert list(broken(page, f"see [this]({target})")) == [target]
    assert not list(broken(page, f"```\n[this]({target})\n```"))


def test_a_wrong_section_of_its_own_is_found():
    assert list(broken(DOCS / "promises.md", "in doubt (4.9), and (4.8)")) == ["4.9"]
