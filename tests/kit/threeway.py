"""Three journals of the same calls compared: the ledger, what the upstream sent, what the client saw.

`Comparison.look` reads what has come since it last looked, and says what does not fit; it is asked in a quiet moment,
when no call is under way. Prices are those of `world.PRICES`, computed here by themselves.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kit.recording import FIRST

MODEL = "kill-model"
# Micro-units for 1,000,000 units; fractions of a micro-unit occur, so that rounding is seen.
PRICE_MICRO = {"input": 1_250_000, "output": 3_700_000}
STATUSES = {0, 200, 409, 500, 502, 503, 504}  # never 401, 403, 429: nothing here is the customer's doing
_FIELDS = (
    "id", "limit_tokens", "outcome", "rule", "status", "charge_micro", "usage", "usage_source", "flags", "stream",
    "epoch", "delivered_us", "ended_us", "hold_micro",
)  # fmt: skip
_COMPLETED = {"R02", "R03", "R07", "R11", "R22", "R23"}


def price_micro(usage: dict[str, int]) -> int:
    """The charge of so many units, rounded up once."""
    return -(-sum(count * PRICE_MICRO[name] for name, count in usage.items()) // 1_000_000)


class _Tail:
    """The lines that a journal has got since the last look; a line that is still being written waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def lines(self) -> list[Any]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


class Comparison:
    """What the three have said so far."""

    def __init__(self, client: Path, upstream: Path) -> None:
        self.away: list[tuple[float, float]] = []  # when the store was away, seconds since 1970
        self._client = _Tail(client)
        self._upstream = _Tail(upstream)
        self._begun: dict[int, dict[str, Any]] = {}
        self._seen: dict[int, dict[str, Any]] = {}
        self._made: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._rows: dict[int, dict[str, Any]] = {}
        self._keys: dict[str, list[int]] = defaultdict(list)
        self._last = ""
        self._kinds: dict[int, set[str]] = defaultdict(set)
        self._done: set[int] = set()  # compared, and nothing can change them any more

    def read(self) -> None:
        """Read on in all three."""
        for line in self._client.lines():
            if line.get("begin"):
                self._begun[line["n"]] = line
                if line["key"]:
                    self._keys[line["key"]].append(line["n"])
            else:
                self._seen[line["n"]] = line
        for record in self._upstream.lines():
            if not record["body"]:
                continue  # the request was cut off before it was whole: nothing was answered
            number = int(record["body"]["messages"][0]["content"].split("\n")[1].split()[0])
            self._made[number].append(record)
        self._read_rows()

    def _read_rows(self) -> None:
        from farebox.calls.models import Call

        fresh = Call.objects.filter(model=MODEL, id__gt=self._last).order_by("id").values(*_FIELDS)
        stale = [row["id"] for number, row in self._rows.items() if number not in self._done]
        for row in [*Call.objects.filter(id__in=stale).values(*_FIELDS), *fresh]:
            row["usage"] = json.loads(row["usage"])
            number = row["limit_tokens"] - FIRST
            assert self._rows.get(number, row)["id"] == row["id"], f"request {number} has two calls"
            self._rows[number] = row
            self._last = max(self._last, row["id"])

    def look(self) -> list[str]:
        """What does not fit, one sentence each. What fits and can't change is not looked at again."""
        from farebox.kit.models import Epoch

        self.read()
        alive = set(Epoch.objects.filter(ended_us=None).values_list("id", flat=True))
        unsettled = set(Epoch.objects.filter(cleared_us=None).values_list("id", flat=True))
        findings: list[str] = []
        for number in sorted(self._begun.keys() - self._done):
            self._kinds[number].clear()
            found = list(self._fits(number, alive))
            findings += [f"call {number}: {each}; {self._facts(number)}" for each in found]
            row = self._rows.get(number)
            if not found and (row is None or not _may_be_refunded(row, unsettled)):
                self._done.add(number)
        unknown = self._rows.keys() - self._begun.keys()
        findings += [f"the ledger has a call {number} that no client made" for number in unknown]
        for key, numbers in self._keys.items():
            findings += self._once(key, numbers)
        return findings

    def _facts(self, number: int) -> str:
        made = [{k: v for k, v in record.items() if k not in {"headers", "body"}} for record in self._made[number]]
        return (
            f"ledger {self._rows.get(number)}; upstream {made}; client {self._begun[number]} {self._seen.get(number)}"
        )

    def _fits(self, number: int, alive: set[str]) -> Iterable[str]:
        """What does not fit of one call."""
        seen, row, made = self._seen.get(number), self._rows.get(number), self._made[number]
        if seen is None:
            yield "the client has not said how it ended"
            return
        if seen["status"] not in STATUSES:
            yield f"the client got a {seen['status']} {seen['code']}"
        if row is None:
            if seen["end"]:
                yield "the client saw the end of a call that the books do not know (I14)"
            if made:
                yield "a request went upstream without a hold (I12)"
            self._kinds[number].add("refused" if seen["status"] else "never arrived")
            return
        if row["outcome"] == "open":
            yield "it is still open"
            return
        if seen["call"] and seen["call"] != row["id"] and seen["status"] == 200:
            yield "the client was told another call id"
        yield from self._charged(row, made)
        yield from self._agreed(seen, row, made, alive)

    def _charged(self, row: dict[str, Any], made: list[dict[str, Any]]) -> Iterable[str]:
        """Every charge has one attempt that produced it, and is its price."""
        if len(made) > 1:
            yield "more than one request went upstream"
        if not row["charge_micro"]:
            return
        if len(made) != 1 or made[0]["status"] != 200:
            yield "a charge without an answer of the upstream"
            return
        if row["charge_micro"] != min(price_micro(row["usage"]), row["hold_micro"]):
            yield f"the charge is not the price of the usage, {price_micro(row['usage'])}"
        most = _usage(made[0])
        if row["usage_source"] != "counted" and any(row["usage"].get(name, 0) > most[name] for name in most):
            yield "more is charged than the upstream made"

    def _agreed(
        self, seen: dict[str, Any], row: dict[str, Any], made: list[dict[str, Any]], alive: set[str]
    ) -> Iterable[str]:
        """The charge fits what the client saw."""
        flags = row["flags"].split()
        charged = row["charge_micro"] if "refunded" not in flags else 0
        whole = bool(made) and row["rule"] in _COMPLETED and row["charge_micro"] == self._due(row, made)
        if seen["end"]:
            yield from self._agreed_end(seen, row, whole, alive)
        elif seen["left"]:
            self._kinds[seen["n"]].add("left")
        elif seen["status"] >= 400 or seen["error"]:
            self._kinds[seen["n"]].add(f"failed {seen['code']}")
            if charged:
                yield "a failed call was charged (I13)"
        elif row["stream"]:
            self._kinds[seen["n"]].add("stream cut, charged" if charged else "stream cut, free")
            if charged and not whole:
                yield "a stream that was cut was charged for a part"
        else:
            self._kinds[seen["n"]].add("answer lost, refunded" if "refunded" in flags else "answer lost, free")
            if charged:
                yield "an answer that never came was charged"

    def _agreed_end(self, seen: dict[str, Any], row: dict[str, Any], whole: bool, alive: set[str]) -> Iterable[str]:
        if not row["charge_micro"] and self._lost_with_store(seen):
            self._kinds[seen["n"]].add("end seen, journal too late")
            return
        if not whole:
            yield "the client saw the end, and the charge is not the price of what the upstream made (I14)"
        if "refunded" in row["flags"].split():
            self._kinds[seen["n"]].add("end seen, refunded in doubt")
            if row["stream"] or _known_delivered(row):
                yield "what was delivered was refunded"
            return
        self._kinds[seen["n"]].add("end seen, stream" if row["stream"] else "end seen, whole")
        if "journalled" in row["flags"].split():
            self._kinds[seen["n"]].add("end seen, journalled")
        if not row["stream"] and row["delivered_us"] is None and row["epoch"] in alive:
            yield "it was delivered and is not marked"

    def _due(self, row: dict[str, Any], made: list[dict[str, Any]]) -> int:
        """What a completed call costs: the price of what the upstream says, or of our count where it says nothing."""
        told = row["usage"] if row["usage_source"] == "counted" else _usage(made[0])
        return min(price_micro(told), row["hold_micro"])

    def _lost_with_store(self, seen: dict[str, Any]) -> bool:
        """Whether the end was seen while the store was away: its journal may have come too late (R24)."""
        return any(begin <= seen["at"] <= end for begin, end in self.away)

    def _once(self, key: str, numbers: list[int]) -> Iterable[str]:
        """One Idempotency-Key is one charge, and a 409 names a call of it (R26)."""
        rows = [self._rows[number] for number in numbers if number in self._rows]
        charged = [row for row in rows if row["charge_micro"] and "refunded" not in row["flags"].split()]
        if len(charged) > 1:
            yield f"the key {key} was charged {len(charged)} times: {[row['id'] for row in charged]}"
        names = {row["id"] for row in rows}
        for number in numbers:
            seen = self._seen.get(number, {})
            if seen.get("code") == "idempotency_conflict":
                self._kinds[number].add("same key again")
                if seen["named"] not in names:
                    yield f"the key {key} was refused for {seen['named']}, which is none of {sorted(names)}"

    @property
    def counts(self) -> Counter[str]:
        """How often each kind of ending was met."""
        return Counter(kind for kinds in self._kinds.values() for kind in kinds)

    @property
    def charged_micro(self) -> int:
        """What all calls together were charged, less what was given back."""
        return sum(row["charge_micro"] or 0 for row in self._rows.values() if "refunded" not in row["flags"].split())

    @property
    def calls(self) -> int:
        return len(self._begun)


def _may_be_refunded(row: dict[str, Any], unsettled: set[str]) -> bool:
    """Whether the death of its process can still change the charge (R25): until somebody has looked after it."""
    return bool(row["charge_micro"]) and not row["stream"] and not row["delivered_us"] and row["epoch"] in unsettled


def _known_delivered(row: dict[str, Any]) -> bool:
    """Whether the books knew that it was delivered when they gave it back; a node that was paused may mark later."""
    from farebox.kit.models import Epoch

    return row["delivered_us"] is not None and Epoch.objects.get(id=row["epoch"]).ended_why != "its heartbeat stopped"


def _usage(record: dict[str, Any]) -> dict[str, int]:
    told = record["usage"] or {"prompt_tokens": 0, "completion_tokens": 0}
    return {"input": told["prompt_tokens"], "output": told["completion_tokens"]}
