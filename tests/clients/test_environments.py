"""The client environments themselves: locked, hashed, naming no host, and missing with a reason."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from clients import environments

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("name", [*environments.NAMES, "nodejs"])
def test_a_lock_file_is_hashed_and_names_no_host(name):
    text = (environments.HERE / "requirements" / f"{name}.txt").read_text()
    pins = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert len(pins) > (0 if name == "nodejs" else 10)
    assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)


def test_the_lock_file_of_node_is_hashed_and_names_no_host():
    text = (environments.HERE / "requirements" / "node" / "package-lock.json").read_text()
    packages = [one for name, one in json.loads(text)["packages"].items() if name]
    assert len(packages) == len(environments.NODE_NAMES)
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in packages)
    assert not re.search(r"https?://", text)


def test_a_registry_that_is_away_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "venvs")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(environments.NoEnvironment) as missing:
        environments.python("openai2")
    assert "could not be installed from tests/clients/requirements/openai2.txt" in str(missing.value)
    assert not (tmp_path / "venvs" / "openai2").exists()


@pytest.mark.night
def test_where_there_is_no_node_a_wheel_brings_it(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    program = environments.command("openai7")[0]
    assert program.is_relative_to(tmp_path)
    with environments.opened("openai7", tmp_path):
        pass
    assert (tmp_path / "node" / "node_modules").is_dir()


def test_a_built_environment_is_kept(monkeypatch):
    first = environments.python("openai2")
    monkeypatch.setattr(environments, "_build", lambda *_: pytest.fail("built again"))
    assert environments.python("openai2") == first
    assert first.is_file()
