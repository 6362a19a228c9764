"""`farebox selftest`: all parts pass here, each fails when what it expects is broken, the real store is not touched."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from farebox.care import pgtools
from farebox.care.selftest import inside, kills, parts, race, replay, restored
from farebox.care.selftest.tried import Tried
from farebox.kit.errors import CommandError
from kit import backups, cli

FEW = ("openai-chat.sse", "llamacpp-chat-no-usage.sse", "openai-embeddings.json")
CLEAN = {
    "findings": [], "open": 0, "lowest_micro": 0, "cut": 3, "calls": 9, "refunded": 0, "charged": ["a", "b"],
    "charges": ["a", "b"],
}  # fmt: skip


def quiet(_sentence: str) -> None:
    """Nobody listens."""


def recordings(folder: Path, *names: str) -> Path:
    """A folder with some of the recordings, to be changed."""
    folder.mkdir()
    for name in names:
        shutil.copy(replay.RECORDINGS / name, folder)
    listed = (replay.RECORDINGS / "cases.toml").read_text().split("[[case]]")[1:]
    chosen = ["[[case]]" + part for part in listed if any(f'"{name}"' in part for name in names)]
    (folder / "cases.toml").write_text("".join(chosen) or "case = []\n")
    return folder


@pytest.fixture
def few(tmp_path):
    return recordings(tmp_path / "few", *FEW)


@pytest.fixture
def none(tmp_path):
    return recordings(tmp_path / "none")


def said(tried: Tried) -> str:
    return " | ".join(tried.failures)


# the recordings


@pytest.mark.slow
def test_every_recording_comes_to_what_it_must(capsys):
    tried = replay.run(quiet)
    assert tried.failures == []
    assert tried.times > 10_000
    listed = replay.cases()
    files = {path.name for path in replay.RECORDINGS.iterdir()} - {"cases.toml"}
    assert files == {case.file for case in listed}
    assert {case.rule for case in listed} >= {"R02", "R03", "R04", "R07", "R08", "R14", "R27"}
    for vendor in ("openai", "azure", "deepseek", "openrouter", "vllm", "groq", "mistral", "zhipu", "moonshot",
                   "siliconflow", "llamacpp"):  # fmt: skip
        assert vendor in tried.note
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("charge_micro = 60", "charge_micro = 61", "charge_micro should be 61 and is 60"),
        ("output = 4", "output = 5", "usage should be"),
        ('rule = "R27"', 'rule = "R02"', "rule should be 'R02' and is 'R27'"),
        ('text = ["Two moons."]', 'text = ["Two moon."]', "text should be"),
        ('source = "counted"', 'source = "reported"', "source should be 'reported' and is 'counted'"),
    ],
)
def test_a_broken_expectation_fails(few, before, after, why):
    """One of many that hold (`test_every_recording_comes_to_what_it_must`)."""
    path = few / "cases.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    (failure,) = replay.run(quiet, few).failures
    assert why in failure


def test_a_reader_that_depends_on_the_cut_is_found(few, monkeypatch):
    from farebox.protocol.stream import SseReader

    whole = SseReader.feed
    # Forgets what came before, wherever a piece does not begin with a field: right for whole streams only.
    monkeypatch.setattr(SseReader, "feed", lambda self, data: whole(self, data) if data[:5] == b"data:" else [])
    assert any("cut into 2 at byte" in failure for failure in replay.run(quiet, few).failures)


@pytest.mark.night
@pytest.mark.slow
def test_a_stream_that_is_billed_by_the_first_report_is_found(tmp_path, monkeypatch):
    from farebox.gateway.meter import Meter

    def first(self: Any, event: Any) -> None:
        if event.usage is not None and not self.reports:
            self.reports.append(event.usage)
            self.reported += 1

    growing = ("vllm-continuous.sse", "siliconflow-cumulative.sse")
    folder = recordings(tmp_path / "growing", *growing, "openai-chat.sse")
    monkeypatch.setattr(Meter, "report", first)
    failures = replay.run(quiet, folder).failures
    assert sorted(failure.partition(" ")[0] for failure in failures) == sorted(growing)


# the whole


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_all_of_it_passes_and_leaves_the_real_store_alone(ready_instance, few, empty_database, monkeypatch):
    all_of_it(ready_instance, few, empty_database, monkeypatch)


@pytest.mark.night
@pytest.mark.slow
@pytest.mark.store
@pytest.mark.timeout(240)
def test_all_of_it_passes_on_an_empty_database(ready_instance, few, empty_database, monkeypatch):
    all_of_it(ready_instance, few, empty_database, monkeypatch)


def all_of_it(ready_instance, few, empty_database, monkeypatch):
    monkeypatch.setattr(kills, "KILLS", 2)
    if empty_database:
        backups.tools_on_path(monkeypatch)
    before = {path.name: path.read_bytes() for path in ready_instance.data.glob("farebox.db*")}
    ran = cli.run("selftest", "--json", "--recordings", str(few), "--database", empty_database)
    assert ran.code == 0, ran.out
    assert ran.json["passed"] is True
    found = {part["what"]: part for part in ran.json["parts"]}
    assert len(found) == 5
    assert found["50 at once on the money for 10 calls"]["note"] == "40 insufficient_quota, 10 served"
    (killed,) = [part for what, part in found.items() if what.startswith("kill -9")]
    assert killed["times"] == 2
    (restore,) = [part for what, part in found.items() if what.startswith("backup")]
    assert "facts the same" in restore["note"]
    assert {path.name: path.read_bytes() for path in ready_instance.data.glob("farebox.db*")} == before
    assert cli.ok("prove")["postings"] == 0
    if empty_database:  # it is not empty any more, and the self-test takes nobody's shop for its own
        monkeypatch.setattr(parts, "_ON_A_SHOP", ())
        again = cli.run("selftest", "--json", "--recordings", str(few), "--database", empty_database)
        assert again.code == 1
        assert "needs an empty one" in again.json["parts"][1]["failures"][0]


@pytest.mark.slow
def test_the_command_says_what_failed(few, monkeypatch):
    monkeypatch.setattr(parts, "_ON_A_SHOP", ())
    path = few / "cases.toml"
    path.write_text(path.read_text().replace("charge_micro = 60", "charge_micro = 61"))
    ran = cli.run("selftest", "--recordings", str(few))
    assert ran.code == 1
    assert "1 of 2 parts failed" in ran.out
    assert "openai-chat.sse" in ran.out
    assert "charge_micro should be 61 and is 60" in ran.out
    assert ran.err.splitlines()[0].startswith("Replaying 1 of 3")
    assert "Making the scratch store" in ran.err


@pytest.mark.night
@pytest.mark.slow
def test_a_race_that_ends_otherwise_fails(none, monkeypatch):
    """The scratch shop is filled for ten calls by a process of its own; this one expects nine."""
    monkeypatch.setattr(inside, "RACE_CALLS", 9)
    monkeypatch.setattr(parts, "_ON_A_SHOP", (race.run,))
    raced = parts.run(quiet, recordings=none)[-1]
    assert raced.verdict == "failed"
    assert "of 50 calls on the money for 9: 40 insufficient_quota, 10 served" in said(raced)
    assert "the books hold 10 charges, not 9" in said(raced)


@pytest.mark.night
@pytest.mark.slow
def test_a_part_that_breaks_has_failed(none, monkeypatch):
    def broken(_tell: Any, shop: Any) -> Tried:
        shop.environment["FAREBOX_DRAIN_S"] = "never"
        shop.serve()
        raise AssertionError("unreachable")

    def refused(_tell: Any, shop: Any) -> Tried:
        (shop.folder / "shop.backup").touch()
        return restored.run(quiet, shop)

    monkeypatch.setattr(parts, "_ON_A_SHOP", (refused, broken))
    _, made, second, first = parts.run(quiet, recordings=none)
    assert made.failures == []
    assert "exists already" in said(second)
    assert "did not start" in said(first)


class Stub:
    """A scratch shop whose every command is refused, but for the making of a key."""

    keys = {"load": "sk-nobody"}

    def __init__(self, folder: Path, database: str, sentence: str, code: str = "command_refused") -> None:
        self.folder = self.data = folder
        self.environment = {"FAREBOX_DATABASE": database}
        self.sentence, self.code = sentence, code

    def serve(self) -> Any:
        return SimpleNamespace(port=0, stop=lambda: 0)

    def farebox(self, *words: str) -> subprocess.CompletedProcess[str]:
        if "--make-key" in words:
            return subprocess.CompletedProcess(words, 0, "{}", "")
        return subprocess.CompletedProcess(
            words, 1, "", json.dumps({"error": {"message": self.sentence, "code": self.code}})
        )


@pytest.mark.slow
def test_a_machine_without_pg_dump_is_told_so(tmp_path):
    with pytest.raises(pgtools.NoProgram):
        pgtools.find("pg_dump", tmp_path / "none")
    lacks = "There is none on PATH."
    tried = restored.run(quiet, Stub(tmp_path, "postgresql://db/x", lacks, pgtools.NoProgram.code))
    assert (tried.verdict, tried.note) == ("not tried", lacks)
    with pytest.raises(CommandError):
        restored.run(quiet, Stub(tmp_path, "postgresql://db/x", "pg_dump: the disk is full."))


# what customers saw against the books


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"open": 2}, "2 holds are still open"),
        ({"charges": ["a", "a", "b"]}, "1 calls were charged twice, such as a"),
        ({"charged": ["b"]}, "1 calls came to their end and were not charged, such as a"),
        ({"lowest_micro": -5}, "down to -5 micro-units"),
        ({"cut": 0}, "no kill hit a call"),
        ({"findings": ["I01 entry x does not add up"]}, "I01"),
    ],
)
def test_books_that_differ_from_what_customers_saw(change, why):
    saw = [("a", True), ("b", True), ("c", False)]
    sound, other = Tried("kills"), Tried("kills")
    kills._compare(sound, CLEAN, saw)
    assert sound.failures == []
    kills._compare(other, CLEAN | change, saw)
    assert why in said(other)
    assert len(other.failures) == 1


def test_kills_without_an_answer_prove_nothing():
    tried = Tried("kills")
    kills._compare(tried, CLEAN, [])
    assert "nothing was tried" in said(tried)
