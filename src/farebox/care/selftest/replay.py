"""Replays recorded vendor streams through the production reader, meter and pricing, however they are cut.

The recordings are in `recordings/`: `cases.toml` says of each what it must come to. Streams named after a vendor are
shaped after its documentation; those of llama.cpp were recorded from its own server.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from farebox.catalog import pricing
from farebox.catalog.pricing import ModelCard
from farebox.catalog.usage import Usage
from farebox.gateway import concluding
from farebox.gateway.concluding import conclude
from farebox.gateway.meter import Conclusion, Meter, Outcome
from farebox.kit import clock
from farebox.kit.fetch import Exchange, Outgoing, Response, Target
from farebox.protocol import quirks
from farebox.protocol.dialect import Ask
from farebox.protocol.kind import Call
from farebox.protocol.kinds import KINDS
from farebox.upstreams import send
from farebox.upstreams.board import Candidate
from farebox.upstreams.health import Health
from farebox.upstreams.send import Along, UpstreamLimits
from farebox.upstreams.spec import ChannelSpec

from .tried import Tell, Tried

RECORDINGS = Path(__file__).with_name("recordings")
# Micro-units for 1,000,000 tokens; each class has another price, so that no two can be mixed up unseen.
PRICES = {
    "input": 2_000_000,
    "cached_read": 500_000,
    "cache_write": 2_500_000,
    "output": 8_000_000,
    "reasoning": 8_000_000,
}
# Streams up to here are cut at every byte, longer ones at so many places.
EVERY_BYTE_MAX = 1_600
PLACES = 320
_LIMIT_TOKENS = 512
_INPUT_BOUND = 4_096
_CARD = ModelCard(
    "selftest", "farebox", frozenset(KINDS), frozenset({"text"}), 8_192, 2_048,
    hidden_output=False, tokenizer="cl100k_base", image_formula="", input_overhead_tokens=0, classes=frozenset(PRICES),
    created_s=0,
)  # fmt: skip
_TARGET, _PREFIX = Target.parse("https://upstream.example/v1")
_CHANNEL = ChannelSpec(
    "ch_selftest", "selftest", "selftest", "openai", _TARGET, _PREFIX, b"", quirks.parsed("{}"), 1, 1, 0, "stops", "USD"
)
_LIMITS = UpstreamLimits(
    connect_s=1, first_byte_s=1, idle_s=1, answer_bytes_max=1 << 20, read_on_json_s=0, event_bytes_max=1 << 20
)


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a recording must come to; `text` holds the visible text of each choice, in the order of their numbers."""

    file: str
    about: str
    kind: str = "chat"
    stream: bool = True
    n: int = 1
    rule: str
    outcome: str = "SERVED"
    source: str = "reported"
    finish: str = "stop"
    usage: dict[str, int] = {}
    charge_micro: int
    text: list[str]


class Came(msgspec.Struct, frozen=True):
    """What a recording came to."""

    rule: str
    outcome: str
    source: str
    finish: str
    usage: dict[str, int]
    charge_micro: int
    text: list[str]


def cases(folder: Path = RECORDINGS) -> list[Case]:
    """All cases of a folder of recordings."""
    found = tomllib.loads((folder / "cases.toml").read_text(encoding="utf-8"))
    return [msgspec.convert(case, Case) for case in found["case"]]


def run(tell: Tell, folder: Path = RECORDINGS) -> Tried:
    """Replay every recording whole and cut in two at its places, and byte by byte; `times` counts the replays."""
    listed = cases(folder)
    vendors = sorted({case.file.partition("-")[0] for case in listed} - {"wire"})
    tried = Tried("vendors' streams through metering and pricing", note=f"{len(listed)} recordings")
    with asyncio.Runner() as runner:
        for number, case in enumerate(listed, 1):
            tell(f"Replaying {number} of {len(listed)}: {case.about} …")
            replayed, failure = runner.run(_all_cuts(case, (folder / case.file).read_bytes()))
            tried.times += replayed
            if failure:
                tried.failures.append(f"{case.file} ({case.about}): {failure}")
    tried.note += f" of {', '.join(vendors)}"
    return tried


async def _all_cuts(case: Case, data: bytes) -> tuple[int, str]:
    """(replays, what differs from the expectation), one after the other until something does."""
    replayed = 0
    for pieces in _cuts(data, stream=case.stream):
        replayed += 1
        came = await play(case, pieces)
        if difference := _difference(case, came):
            cut = "" if len(pieces) == 1 else f"cut into {len(pieces)} at byte {len(pieces[0])}: "
            return replayed, cut + difference
    return replayed, ""


def _cuts(data: bytes, *, stream: bool) -> Iterator[Sequence[bytes]]:
    yield [data]
    if not stream:
        return
    step = 1 if len(data) <= EVERY_BYTE_MAX else max(1, len(data) // PLACES)
    for at in range(1, len(data), step):
        yield [data[:at], data[at:]]
    yield [data[at : at + 1] for at in range(len(data))]


def _difference(case: Case, came: Came) -> str:
    for name in Came.__struct_fields__:
        due, found = getattr(case, name), getattr(came, name)
        if due != found:
            return f"{name} should be {due!r} and is {found!r}"
    return ""


async def play(case: Case, pieces: Iterable[bytes]) -> Came:
    """One replay: the bytes come in these pieces, and are read, metered and priced as those of a real upstream are."""
    meter = Meter(_call(case), _CARD, _LIMIT_TOKENS, _INPUT_BOUND)
    played = _Played(pieces, "text/event-stream" if case.stream else "application/json")
    ask = Ask(kind=case.kind, stream=case.stream, params={}, choices=case.n)
    along = Along(played, clock.SYSTEM, Health(), (Candidate(_CHANNEL, "selftest", {}),), ask, _LIMITS)
    try:
        conclusion = await _read(along, meter)
    finally:
        along.close()
    usage = conclusion.usage or Usage()
    return Came(
        rule=conclusion.rule,
        outcome=conclusion.outcome.name,
        source=conclusion.source,
        finish=meter.finish_reason,
        usage=dict(usage.items()),
        charge_micro=pricing.charge(PRICES, usage).amount_micro,
        text=["".join(meter.texts[index]) for index in sorted(meter.texts)],
    )


async def _read(along: Along, meter: Meter) -> Conclusion:
    try:
        async for events in along:
            meter.accepted = True
            for event in events:
                meter.read(event)
        along.served()
        return await conclude(meter, Outcome.SERVED, along.reads, terminal=along.terminal)
    except send.UpstreamRefused as refused:
        return await concluding.refused(meter, along, refused.fault)
    except send.AttemptsFailed as failed:
        return await concluding.failed(meter, along, failed)


def _call(case: Case) -> Call:
    text = "Say something short."
    return Call(
        kind=case.kind, model="selftest", stream=case.stream, params={}, include_usage=True, outputs=case.n,
        choices=case.n, text_bytes=len(text), texts=[text], messages=int(KINDS[case.kind].framed),
        has_output=KINDS[case.kind].writes,
    )  # fmt: skip


class _Played:
    """An upstream that answers with a recording, and the exchange of it."""

    sent = True

    def __init__(self, pieces: Iterable[bytes], content_type: str) -> None:
        self._pieces = iter(pieces)
        self._head = Response(200, {"content-type": content_type})

    def start(self, outgoing: Outgoing) -> Exchange:
        """The answer to whatever is asked."""
        del outgoing
        return cast("Exchange", self)

    async def response(self) -> Response:
        """The head."""
        return self._head

    async def read(self) -> bytes:
        """The next piece; empty at the end."""
        return next(self._pieces, b"")

    def interrupt(self, *_: Any) -> None:
        """Nobody waits for a recording."""

    abort = release = resume_after_interrupt = interrupt
