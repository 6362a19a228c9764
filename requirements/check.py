# ruff: noqa: INP001, T201 - a script that prints what is wrong
"""Check what can be checked of the lock files without a network: complete, hashed, of one mind, naming no host.

Exit 1 with one line for each thing that is wrong; `make lock` makes them anew.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ \\;]+)")


def pins(path: Path, wrong: list[str]) -> dict[str, str]:
    """Name and version of each pin of a lock file."""
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", path.read_text(encoding="utf-8")):
        head = _PIN.match(block)
        if head is None:
            continue
        found[canonicalize_name(head[1])] = head[2]
        if "--hash=sha256:" not in block:
            wrong.append(f"{path.name}: {head[1]} has no hash")
    if re.search(r"https?://|--(extra-)?index-url|--find-links", path.read_text(encoding="utf-8")):
        wrong.append(f"{path.name} names a host or an index")
    return found


def missing(name: str, wanted: list[str], locked: dict[str, str], wrong: list[str]) -> None:
    """Report each requirement of `wanted` that the lock lacks or pins to a version that does not fit."""
    for text in wanted:
        need = Requirement(text)
        have = locked.get(canonicalize_name(need.name))
        if have is None:
            wrong.append(f"{name} lacks {need.name}")
        elif not need.specifier.contains(have, prereleases=True):
            wrong.append(f"{name} pins {need.name} {have}, pyproject.toml wants {need.specifier}")


def main() -> int:
    """Look at every lock file."""
    wrong: list[str] = []
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    base = project["project"]["dependencies"]
    demo = base + project["project"]["optional-dependencies"]["demo"]
    dev = demo + project["dependency-groups"]["dev"]
    weights = (HERE / "weights.in").read_text(encoding="utf-8").split()
    build = [line for line in (HERE / "build.in").read_text(encoding="utf-8").splitlines() if line]
    build += project["build-system"]["requires"]
    audit = (HERE / "audit.in").read_text(encoding="utf-8").split()
    wants = {"base": base, "demo": demo, "dev": dev, "weights": weights, "build": build, "audit": audit}
    locks = {name: pins(HERE / f"{name}.txt", wrong) for name in wants}
    wrong += [f"{need} of the build is not pinned" for need in build if "==" not in need]
    for name, wanted in wants.items():
        missing(f"{name}.txt", wanted, locks[name], wrong)
    for small in ("base", "demo"):
        for package, version in locks[small].items():
            if locks["dev"].get(package) != version:
                wrong.append(f"{small}.txt pins {package} {version}, dev.txt {locks['dev'].get(package)}")
    for line in wrong:
        print(line)
    if wrong:
        print("Run `make lock`.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
