"""What is on sale: models with a price and somebody who answers them, and channels that are alive."""

from __future__ import annotations

import socket
import ssl
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

from farebox.kit import clock, db
from farebox.kit.errors import CommandError
from farebox.kit.fetch import Target
from farebox.look import refusals

from .finding import Check, Finding, Look, ok, some, warning, wrong

LAST_ATTEMPTS = 10
ATTEMPTS_MIN = 3
PROBE_S = 3
_DAY_US = 86_400_000_000
_ROWS_MAX = 20_000
_FAILED = frozenset({"failed", "unknown"})


def models(look: Look) -> Iterator[Finding]:
    """Every listed model has a price for all that it produces, and a channel that takes calls."""
    del look
    from farebox.catalog import shelf
    from farebox.upstreams.models import Offering

    now_us = clock.now_us()
    stock = db.read(shelf.load, now_us)
    sold = {card.name for name in stock.versions for card in stock.models(name, now_us)}
    in_part = sorted(
        f"{model} on {name} without {some(sorted(stock.cards[model].classes - prices.keys()))}"
        for name in stock.versions
        if (version := stock.version(name, now_us)) is not None
        for model, prices in version.prices.items()
        if model in stock.listed and stock.cards[model].classes - prices.keys()
    )
    unpriced = sorted(stock.listed - sold - {entry.partition(" ")[0] for entry in in_part})
    if in_part:
        todo = "Publish the missing price (0 is one): farebox prices publish LIST --set MODEL CLASS PRICE."
        yield wrong("prices", some(in_part), todo)
    elif unpriced:
        todo = "Publish a price, or take them off the shelf: farebox model unlist MODEL."
        yield warning("prices", f"on the shelf without any price: {some(unpriced)}", todo)
    else:
        yield ok("prices", f"{len(sold)} models on sale, each with all its prices")
    offered = set(Offering.objects.filter(channel__state="active").values_list("model", flat=True))
    if lonely := sorted(sold - offered):
        todo = "Offer them on a channel: farebox channel offer CHANNEL MODEL."
        yield warning("models", f"no active channel answers {some(lonely)}", todo)
    else:
        yield ok("models", f"each of {len(sold)} on sale has a channel")


def attempts(look: Look) -> Iterator[Finding]:
    """Active channels whose last attempts of a day all failed."""
    del look
    from farebox.calls.models import Attempt
    from farebox.upstreams.models import Channel

    active = set(Channel.objects.filter(state="active").values_list("name", flat=True))
    since_us = time.time_ns() // 1000 - _DAY_US
    last: dict[str, list[str]] = defaultdict(list)
    rows = Attempt.objects.order_by("-id").values_list("channel", "outcome", "started_us")[:_ROWS_MAX]
    for channel, outcome, started_us in rows.iterator():
        if started_us < since_us:
            break
        if len(last[channel]) < LAST_ATTEMPTS:
            last[channel].append(outcome)
    dead = sorted(
        f"{name} (the last {len(ends)})"
        for name, ends in last.items()
        if name in active and len(ends) >= ATTEMPTS_MIN and _FAILED.issuperset(ends)
    )
    if dead:
        yield warning("dead channels", f"all failed: {some(dead)}", "Try one: farebox channel test CHANNEL MODEL.")
    elif not active:
        yield warning("dead channels", "no channel is active", "Nothing can be sold: farebox channel add.")
    else:
        yield ok("dead channels", f"none of {len(active)} active ones by the attempts of a day")


def reachable(look: Look) -> Iterator[Finding]:
    """Each active channel's address takes a connection, with TLS where it should; nothing is sent."""
    from farebox.upstreams import board
    from farebox.upstreams.models import Channel

    if not look.probe:
        return
    rows = list(Channel.objects.filter(state="active").order_by("name"))
    failed = []
    for row in rows:
        look.tell(f"Connecting to {row.name} …")
        try:
            _connect(board.address(row.base_url, local=row.local)[0])
        except CommandError as refusal:
            failed.append(f"{row.name}: {refusals.of(refusal, 'cli')}")
        except (OSError, ValueError) as fault:
            failed.append(f"{row.name}: {str(fault)[:80] or type(fault).__name__}")
    if failed:
        yield warning("reachable", some(failed), "Look at the network, the name and the certificate of the address.")
    else:
        yield ok("reachable", f"{len(rows)} channels take a connection")


def rules(look: Look) -> Iterator[Finding]:
    """Whether version 2 of the charging rules is in force, or from when."""
    del look
    from farebox.kit import settings

    from_us, now_us = db.read(settings.get, settings.RULES_2_FROM), clock.now_us()
    if from_us is None:
        seen = "version 1; the date of version 2 is not set, and answers can be had for less than their price"
        todo = "Choose a date at least 7 days from now: office, Settings, or farebox setting set rules_2_from 10d."
        yield warning("charging rules", seen, todo)
    elif from_us > now_us:
        yield ok("charging rules", f"version 1; version 2 from {_at(from_us)} UTC")
    else:
        yield ok("charging rules", "version 2")


def _connect(target: Target) -> None:
    with socket.create_connection((target.host, target.port), timeout=PROBE_S) as line:
        if target.scheme == "https":
            with ssl.create_default_context().wrap_socket(line, server_hostname=target.host):
                pass


CHECKS: tuple[tuple[str, Check], ...] = (
    ("prices", models),
    ("charging rules", rules),
    ("dead channels", attempts),
    ("reachable", reachable),
)


def _at(time_us: int) -> str:
    return f"{datetime.fromtimestamp(time_us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"
