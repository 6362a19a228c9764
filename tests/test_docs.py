"""The docs say what is there: every option, code, endpoint, header, verb; the examples run."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from farebox.cli.main import farebox
from farebox.kit import errors, options
from kit import cli
from kit.rows import for_each
from kit.world import free_port

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("option", options.OPTIONS, ids=lambda option: option.name)
def test_every_option_has_its_paragraph_and_default(option):
    found = re.search(rf"^\*\*`{option.name}`\*\* \(([^)]+)\): (.+)", text("operate/options.md"), re.MULTILINE)
    assert found, f"docs/operate/options.md lacks a paragraph on {option.name}"
    said = found[1].strip("`").replace(",", "")
    default = option.default
    if default == "":
        assert said == "empty"
    elif isinstance(default, bool):
        assert said == str(default).lower()
    elif isinstance(default, int) and "MiB" in said:
        assert int(said.split()[0]) * options.MIB == default
    else:
        assert said == str(default)


def test_no_paragraph_on_an_option_that_is_gone():
    named = set(re.findall(r"^\*\*`([a-z_]+)`\*\*", text("operate/options.md"), re.MULTILINE))
    assert named == set(options.BY_NAME)


def codes() -> set[str]:
    """Every error code in the source: of the tree's classes, and those given where an error is raised."""
    found = {
        error.code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.FareboxError) and error.code
    }
    for path in (ROOT / "src" / "farebox").rglob("*.py"):
        if "sandbox" not in path.parts:
            found |= set(re.findall(r'\bcode="([a-z_]+)"', path.read_text(encoding="utf-8")))
    return found


def test_every_error_code_is_documented_and_no_other():
    page = text("api.md")
    rows = set(re.findall(r"^\| [0-9, ]+ \| `([a-z_]+)` \|", page, re.MULTILINE))
    assert rows == codes() - {"command_refused"}
    assert "`command_refused`" in page


def test_error_codes_have_their_status():
    rows = re.findall(r"^\| ([0-9]+)[0-9, ]* \| `([a-z_]+)` \|", text("api.md"), re.MULTILINE)
    by_code = {code: int(status) for status, code in rows}
    assert len(by_code) > 15
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.FareboxError) and error.code in by_code:
            assert by_code[error.code] == error.status, error.code


def test_every_endpoint_is_documented():
    from farebox.gateway.http.app import FREE
    from farebox.protocol.kinds import PATHS

    page = text("api.md")
    for path in PATHS:
        assert f"`POST /v1{path}`" in page, path
    for path in FREE:
        shown = path + "{id}" if path.endswith("/") else path
        assert f"`GET /v1{shown}`" in page or f"`GET {shown}`" in page, path


def test_every_header_of_ours_is_documented():
    page = text("api.md").lower()
    sources = [*(ROOT / "src" / "farebox" / "gateway").rglob("*.py"), ROOT / "src" / "farebox" / "kit" / "errors.py"]
    sent = {name for path in sources for name in re.findall(r"[\"'](x-[a-z-]+)[\":]", path.read_text(encoding="utf-8"))}
    assert {"x-request-id", "x-farebox-max-tokens", "x-ignored-parameters", "x-should-retry"} <= sent
    for name in sent - {"x-forwarded-for", "x-real-ip", "x-api-key", "x-goog-api-key"}:  # those are read
        assert f"`{name}`" in page, name


def test_every_flag_of_a_receipt_is_documented():
    section = text("api.md").partition("Flags:")[2].partition("## ")[0]
    told = set(re.findall(r"^\| `([a-z_]+)` \| [a-z]", section, re.MULTILINE))
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for room in ("gateway", "calls")
        for path in (ROOT / "src" / "farebox" / room).rglob("*.py")
    )
    ways = (
        r'flags\.append\("([a-z_]+)"', r'_flag\(flags, "([a-z_]+)"', r'flags=\["([a-z_]+)"\]', r'\[\*[a-z.]*flags, "([a-z_]+)"',
        r'Outcome\.[A-Z_]+: "([a-z_]+)",', r"flags = '([a-z_]+)'", r"flags \|\| ' ([a-z_]+)'",
        r'_flag\(flags, "[a-z_]+" if .+ else "([a-z_]+)"',
    )  # fmt: skip
    given = {name for way in ways for name in re.findall(way, source)}
    assert len(given) > 12
    assert given == told


def test_every_verb_that_the_docs_name_exists():
    lines = [
        line for page in PAGES for line in re.findall(r"farebox ((?:[a-z-]+ ?)+)", page.read_text(encoding="utf-8"))
    ]
    named = [line.split() for line in lines]
    for page in PAGES:
        for command in re.findall(r"`farebox ([a-z][a-z -]*)", page.read_text(encoding="utf-8")):
            words = command.split()
            found = farebox.commands.get(words[0])
            assert found is not None, f"{page.name}: farebox {command}"
            if isinstance(found, click.Group) and len(words) > 1:
                assert words[1] in found.commands, f"{page.name}: farebox {command}"
    assert ["migrate"] in named


def test_every_top_command_is_in_the_docs():
    together = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in farebox.commands:
        assert f"farebox {name}" in together, name


@for_each("version", ["rules.md", "rules-2.md"])
def test_every_charging_rule_is_published(version):
    page = text(version)
    for number in range(1, 35):
        assert page.count(f"| R{number:02d} |") == 1
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "src" / "farebox" / "gateway").rglob("*.py")
    )
    assert set(re.findall(r'"(R[0-9]{2})"', source)) <= set(re.findall(r"\| (R[0-9]{2}) \|", page))


def test_decisions_are_numbered_and_one_page():
    pages = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        body = page.read_text(encoding="utf-8")
        assert body.startswith(f"# {int(page.name[:4])}. ")
        assert len(body.splitlines()) <= 60
        for part in ("**Decided.**", "**Why.**", "**Costs.**"):
            assert part in body, page.name


def test_the_picture_of_the_house_is_current():
    drawn = runpy.run_path(str(DOCS / "house.py"))
    picture = text("house.svg")
    assert picture == drawn["drawn"](), "run `make docs`"
    assert "http" not in picture.replace('xmlns="http://www.w3.org/2000/svg"', "")
    rooms = {path.name for path in (ROOT / "src" / "farebox").iterdir() if (path / "__init__.py").is_file()}
    assert rooms == {room for floor in drawn["floors"]() for room in floor} == set(drawn["said"]())


def test_an_import_is_a_dot_in_its_row_and_column():
    page = runpy.run_path(str(DOCS / "house.py"))["picture"]([["roof"], ["cellar"]], {}, {"roof": {"cellar"}})
    bare = runpy.run_path(str(DOCS / "house.py"))["picture"]([["roof"], ["cellar"]], {}, {})
    assert (page.count("<circle"), bare.count("<circle")) == (1, 0)
    assert "Imports: roof: cellar." in page


def test_where_does_it_go_names_folders_that_are_there():
    """A room that is not built yet is none of `src/farebox/`."""
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where does it go?")[2]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*`[^|]+) \|$", table, re.MULTILINE)
    assert len(rows) == 10
    source = ROOT / "src" / "farebox"
    for change, places in rows:
        for place in re.findall(r"`([a-z_./]+)`", places):
            assert (source / place).exists() or not (source / place.partition("/")[0]).exists(), change


def test_files_that_documents_and_comments_name_exist():
    """By their path from the root, from `src/farebox`, `docs`, `tests` or `bench`, or from where they are named."""
    texts = [*PAGES, *(ROOT / "src").rglob("*.py"), ROOT / "pyproject.toml", ROOT / "Makefile"]
    named = {
        (path, name)
        for path in texts
        for name in re.findall(r"(?<![\w./-])[a-z_]+/[a-z_0-9/]+\.py\b", path.read_text(encoding="utf-8"))
    }
    places = (ROOT, ROOT / "src", ROOT / "src" / "farebox", DOCS, ROOT / "tests", ROOT / "bench")
    assert len(named) > 50
    gone = {
        (path, name) for path, name in named if not any((place / name).is_file() for place in (*places, path.parent))
    }
    assert {name for _, name in gone} == {"tiktoken_ext/openai_public.py"}, gone  # a file of another package


def test_make_targets_that_the_docs_name_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8"))}
    assert len(named) > 8
    assert named <= targets


def test_make_help_names_every_target():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "test-fast", "check", "fix", "lock", "audit", "sbom", "bench", "help"):
        assert f"make {target} " in shown


@pytest.mark.slow
def test_lock_files_are_checked(tmp_path):
    """The check passes as it is, and sees a missing hash, a host, and a pin that pyproject.toml does not want."""

    def check(folder: Path) -> subprocess.CompletedProcess[str]:
        script = [sys.executable, str(folder / "requirements" / "check.py")]
        return subprocess.run(script, capture_output=True, text=True, check=False)

    assert check(ROOT).returncode == 0, check(ROOT).stdout
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    base = tmp_path / "requirements" / "base.txt"
    locked = base.read_text()
    django = re.search(r"^django==[^ ]+", locked, re.MULTILINE)[0]
    base.write_text(
        "--index-url https://example.org/simple\n" + locked.replace(django, "django==4.2") + "\nleft-pad==1.0\n"
    )
    ran = check(tmp_path)
    assert ran.returncode == 1
    build = tmp_path / "requirements" / "build.in"
    build.write_text(build.read_text().replace("uv==", "uv>="))
    assert "of the build is not pinned" in check(tmp_path).stdout
    for sign in ("names a host", "pins django 4.2", "left-pad has no hash", "Run `make lock`."):
        assert sign in ran.stdout


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_start_md_sells_the_first_call(tmp_path):
    """Every `sh` block of docs/start.md, in one shell, in this order; only the ports differ."""
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text("start.md"), re.MULTILINE | re.DOTALL))
    for port in ("8080", "9000"):
        assert port in script
        script = script.replace(port, str(free_port()) if port == "9000" else "$FAREBOX_PORT")
    script = script.replace('"$PWD/.venv/bin:$PATH"', f'"{Path(sys.executable).parent}:$PATH"')
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "trap 'kill $(jobs -p)' EXIT\n" + script],
        cwd=tmp_path,
        env=cli.environment(FAREBOX_PORT=str(free_port()), FAREBOX_LOG_LEVEL="error"),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"model":"gpt-4"' in ran.stdout
    assert re.search(r"input +\d+ × +33\.00 = ", ran.stdout)
    assert re.search(r"output +\d+ × +72\.00 = ", ran.stdout)
    assert "retail-usd v1" in ran.stdout
    assert "is frozen" in ran.stdout
