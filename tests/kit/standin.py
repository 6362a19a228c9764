"""A stand-in for a vendor: cl100k_base counts what our own count, which knows o200k_base alone, has to find out."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from pathlib import Path
from random import Random

from farebox.catalog import counting, tokens
from farebox.catalog.factors import Sample

ROOT = Path(__file__).parents[2]
KINDS = ("english", "chinese", "code", "json", "base64", "digits")


@cache
def _whole(kind: str) -> str:
    if kind == "english":
        return "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))[:12])
    if kind == "chinese":
        found = sorted(ROOT.glob("src/farebox/*/locale/zh*/LC_MESSAGES/*.po"))
        return "\n".join(re.findall(r'^msgstr "([^"\\]{12,})"', "\n".join(map(Path.read_text, found)), re.MULTILINE))
    return "\n".join(path.read_text() for path in sorted((ROOT / "src/farebox/catalog").glob("*.py")))


def text(kind: str, rng: Random, chars: int) -> str:
    """So many characters of a kind, about."""
    if kind == "base64":
        return base64.b64encode(rng.randbytes(chars * 3 // 4)).decode()
    if kind == "digits":
        return "\n".join(
            f"{rng.randrange(10**6)},{rng.random():.4f},2026-{rng.randrange(1, 13):02}" for _ in range(chars // 21)
        )
    if kind == "json":
        rows = [{"id": rng.randrange(10**5), "name": text("english", rng, 20), "on": True} for _ in range(chars // 55)]
        return json.dumps(rows, ensure_ascii=False)
    whole = _whole(kind)
    start = rng.randrange(len(whole) - chars)
    return whole[start : start + chars]


def mixed(rng: Random, chars: int) -> str:
    """Text of one to three kinds."""
    kinds = rng.sample(KINDS, rng.choice((1, 1, 2, 3)))
    return "\n".join(text(kind, rng, chars // len(kinds)) for kind in kinds)


def vendor(given: str) -> int:
    """What the vendor counts."""
    found = tokens.count_exact("cl100k_base", [given])
    assert found is not None
    return found


def sample(account: str, asked: str, answer: str, *, messages: int = 1, **more) -> Sample:
    """A settled call of an account: the vendor adds 4 tokens for each message."""
    facts = {
        "messages": messages,
        "reported_input": vendor(asked) + 4 * messages,
        "reported_output": vendor(answer),
        "input_bytes": len(asked.encode()),
        "output_bytes": len(answer.encode()),
        "bound": len(asked.encode()) + 16 * messages + 64,
    }
    return Sample(account, counting.vector([asked]), counting.vector([answer]), **{**facts, **more})


def sampled(rng: Random, accounts: int, each: int, **more) -> list[Sample]:
    """What honest accounts leave in the sample."""
    return [
        sample(
            f"acct_{number}",
            mixed(rng, rng.randrange(200, 6000)),
            mixed(rng, rng.randrange(40, 6000)),
            messages=rng.randrange(1, 12),
            **more,
        )
        for number in range(accounts)
        for _ in range(each)
    ]
