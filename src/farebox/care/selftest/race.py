"""Fifty concurrent calls on the money for ten: never below zero, and exactly ten are served."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter

from . import inside, scratch
from .scratch import Scratch
from .tried import Tell, Tried

RACERS = 50
RACE_S = 30
_SAID = "sandbox: full\nrace"


def run(tell: Tell, shop: Scratch) -> Tried:
    """Let them race on a server of their own; what the customers saw must be what the books say."""
    tell(f"{RACERS} race for the money of {inside.RACE_CALLS} calls …")
    tried = Tried(f"{RACERS} at once on the money for {inside.RACE_CALLS} calls", times=RACERS)
    key = shop.keys["race"]
    serving = shop.serve()
    try:
        ends, lowest_micro = _race(serving.port, key)
        left = scratch.balance(serving.port, key)
    finally:
        code = serving.stop()
    tried.note = ", ".join(f"{count} {what}" for what, count in sorted(ends.items()))
    if ends != Counter({"served": inside.RACE_CALLS, "insufficient_quota": RACERS - inside.RACE_CALLS}):
        tried.failures.append(f"of {RACERS} calls on the money for {inside.RACE_CALLS}: {tried.note}")
    if lowest_micro < 0:
        tried.failures.append(f"the API showed a balance of {lowest_micro} micro-units on the way")
    if (left["balance_micro"], left["held_micro"]) != (0, 0):
        tried.failures.append(f"{left['balance_micro']} micro-units are left, {left['held_micro']} of them held")
    if code:
        tried.failures.append(f"the server ended with exit code {code}")
    facts = shop.inside("facts")
    tried.failures += facts["findings"]
    if len(facts["charges"]) != inside.RACE_CALLS:
        tried.failures.append(f"the books hold {len(facts['charges'])} charges, not {inside.RACE_CALLS}")
    return tried


def _race(port: int, key: str) -> tuple[Counter[str], int]:
    """How the calls ended, by word, and the lowest available balance that the API showed meanwhile."""
    ends: list[str] = []
    gate = threading.Barrier(RACERS + 1)
    racers = [threading.Thread(target=_run, args=(port, key, number, gate, ends)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    gate.wait(RACE_S)
    lowest_micro = 0
    while any(racer.is_alive() for racer in racers):
        lowest_micro = min(lowest_micro, int(scratch.balance(port, key)["available_micro"]))
        time.sleep(0.02)
    return Counter(ends), lowest_micro


def _run(port: int, key: str, number: int, gate: threading.Barrier, ends: list[str]) -> None:
    gate.wait(RACE_S)
    deadline_s = time.monotonic() + RACE_S
    end = "undecided"
    while time.monotonic() < deadline_s:
        try:
            status, _, whole, code = scratch.post(port, key, _SAID, stream=number % 2 == 0)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as fault:
            end = f"broken ({type(fault).__name__})"
            break
        if code == "rate_limit_exceeded":  # others hold the rest: whether it will do is known once they have ended
            time.sleep(0.05)
            continue
        end = ("served" if whole else "cut") if status == 200 else code
        break
    ends.append(end)
