"""The shop of every seed: filled once with the production functions, kept as a template, restored by a backup."""

from __future__ import annotations

import contextlib
import gc
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

from kit import minting

USD = 1_000_000
PLENTY = 10**12
DAY_US = 86_400_000_000
# Micro-units for 1,000,000 tokens: (input, output), for each model and each version that an operator may publish.
PRICES: dict[str, list[tuple[int, int]]] = {
    "plain": [(7_770_000, 31_100_000), (9_130_000, 40_000_000), (5_000_000, 20_000_001)],
    "thinker": [(11_000_000, 44_440_000), (11_000_000, 50_000_000), (3_000_000, 44_440_000)],
    "vector": [(1_300_000, 0), (1_700_000, 0), (900_000, 0)],
}
OUTPUT_MAX = {"plain": 300, "thinker": 160, "vector": 0}
MOST_OUTPUT = {"thinker": 160}  # of models that think unseen: more than this, whatever was asked for, is nobody's
CHANNELS = ("north", "south", "west")
BILLS_ALL = "west"


@dataclass
class Key:
    """A key as its owner knows it; `purses` are what caps it: key, project."""

    id: str
    text: str
    account: str
    project: str


@dataclass
class Town:
    """What the template holds."""

    keys: list[Key] = field(default_factory=list)
    granted: dict[str, int] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)  # accounts with money that nobody gave away
    site: str = ""
    peppers: dict[int, bytes] = field(default_factory=dict)
    master: dict[int, bytes] = field(default_factory=dict)
    raw: Any = None


_town: Town | None = None


@contextlib.contextmanager
def built() -> Iterator[Town]:
    """The town, with this process's connection on a store in memory; what was there before is put back."""
    import structlog
    from django.db import connection, connections
    from django.utils import asyncio as guard

    from farebox.gateway import stepped
    from farebox.kit import clock, ids, options

    from . import clocks

    before = options.current(), connection.settings_dict["NAME"], clock.time, clock.SYSTEM, ids.RANDOM
    logs = structlog.get_config()
    connection.close()
    handler: Any = connections
    locals_, handler._connections = handler._connections, SimpleNamespace(default=connections["default"])
    with tempfile.TemporaryDirectory(prefix="farebox-sim-") as folder:
        connection.settings_dict["NAME"] = ":memory:"
        options.use(options.read({"FAREBOX_DATA_DIR": folder, "FAREBOX_LOG_LEVEL": "error"}))
        clock.time = clocks.Wall()
        clock.SYSTEM = clock.SystemClock()
        ids.RANDOM = clocks.SimIds(Random(0))
        structlog.configure(processors=[_silent], wrapper_class=structlog.make_filtering_bound_logger(50))
        # One thread, and a transaction is one step of the loop: what Django guards against can't happen.
        running, guard.get_running_loop = guard.get_running_loop, _no_loop
        paces, (stepped.EACH_S, stepped.LOWER_AFTER_S) = (stepped.EACH_S, stepped.LOWER_AFTER_S), (1.0, 0.05)
        try:
            built = _build()
            _watch(connection.connection)
            gc.freeze()
            yield built
        finally:
            gc.unfreeze()
            guard.get_running_loop = running
            stepped.EACH_S, stepped.LOWER_AFTER_S = paces
            structlog.configure(**logs)
            connection.connection.close()
            connection.connection = None
            handler._connections = locals_
            options.use(before[0])
            connection.settings_dict["NAME"] = before[1]
            clock.time, clock.SYSTEM, ids.RANDOM = before[2:]


# Beside the store, in this process's own temporary tables: in which order calls ended, and allowances changed beside.
_WATCH = """
CREATE TEMP TABLE sim_booked (n INTEGER PRIMARY KEY, what TEXT, id TEXT);
CREATE TEMP TRIGGER sim_ended AFTER UPDATE OF state ON main.ledger_hold WHEN OLD.state = 'open' AND NEW.state <> 'open'
BEGIN INSERT INTO sim_booked (what, id) VALUES ('ended', NEW.id); END;
CREATE TEMP TRIGGER sim_entered AFTER INSERT ON main.ledger_entry
WHEN NEW.kind IN ('refund', 'call_refund', 'reversal', 'credit')
BEGIN INSERT INTO sim_booked (what, id) VALUES (NEW.kind, CASE NEW.kind WHEN 'credit' THEN NEW.account ELSE NEW.ref END); END;
CREATE TEMP TRIGGER sim_most AFTER UPDATE OF most_micro ON main.ledger_allowance
BEGIN INSERT INTO sim_booked (what, id) VALUES ('most', NEW.account || ' ' || COALESCE(NEW.most_micro, '')); END;
"""


def _watch(raw: Any) -> None:
    raw.executescript(_WATCH)


def _no_loop() -> Any:
    raise RuntimeError


def _silent(logger: Any, name: str, event: Any) -> Any:
    import structlog

    raise structlog.DropEvent


def _build() -> Town:
    global _town
    import pysqlite3.dbapi2 as sqlite
    from django.db import connection

    connection.ensure_connection()
    if _town is None:
        from django.core.management import call_command

        from farebox.kit import options, secrets

        call_command("migrate", verbosity=0)
        chosen = options.current()
        secrets.ensure(chosen)
        _town = Town(peppers=dict(secrets.peppers(chosen)), master=dict(secrets.master_keys(chosen)))
        _fill(_town)
        _town.raw = sqlite.connect(":memory:", check_same_thread=False)
        connection.connection.backup(_town.raw)
    return _town


def restore(town: Town) -> None:
    """Put the template into the store."""
    from django.db import connection

    if connection.in_atomic_block or connection.connection.in_transaction:
        raise AssertionError("a seed left its transaction open")
    town.raw.backup(connection.connection)
    connection.connection.execute("DELETE FROM sim_booked")
    connection.connection.commit()


def set_rules(from_s: float | None) -> None:
    """Let calls be of version 2 of the charging rules from this second of the seed on, or never."""
    from farebox.kit import db, settings

    from .clocks import BASE_US

    if from_s is None:
        db.write(settings.forget, settings.RULES_2_FROM)
    else:
        db.write(settings.keep, settings.RULES_2_FROM, BASE_US + int(from_s * 1e6) if from_s else 0)


def _fill(town: Town) -> None:
    from farebox.accounts import accounts, projects
    from farebox.accounts.caps import Caps
    from farebox.accounts.keys import key_format
    from farebox.catalog import definitions, price_lists
    from farebox.kit import clock, db, settings
    from farebox.upstreams import channels
    from farebox.upstreams.channel_terms import ChannelTerms

    now_us = clock.now_us()
    town.site = key_format.site_code(db.write(settings.ensure_installation))
    db.write(accounts.ensure_house, now_us=now_us)
    for name in PRICES:
        has_output = name != "vector"
        db.write(
            definitions.define_model, name=name, owned_by="sim", kinds=["chat"] if has_output else ["embeddings"],
            modalities=["text"], context_tokens=8_000, output_tokens_max=OUTPUT_MAX[name],
            hidden_output=name == "thinker", tokenizer="", image_formula="", input_overhead_tokens=0,
            classes=_classes(name), actor="sim", now_us=now_us,
        )  # fmt: skip
    db.write(price_lists.create_list, name="usd", currency="USD", about="", actor="sim")
    publish(0, now_us)
    for tier, name in enumerate(CHANNELS):
        db.write(
            channels.add_upstream, name=name, actor="sim", about="",
            cancel_billing="bills_all" if name == BILLS_ALL else "stops",
        )  # fmt: skip
        db.write(
            channels.add_channel,
            ChannelTerms(name=name, upstream=name, base_url=f"http://127.0.0.{tier + 2}/v1", local=True, tier=1 + tier // 2),
            secret="s", actor="sim", master=town.master,
        )  # fmt: skip
        for model in PRICES:
            db.write(channels.offer, channel=name, model=model, costs={"input": "0.1", "output": "0.2"}, actor="sim")

    def account(name: str, micro: int) -> Any:
        row, project = db.write(
            accounts.open_account, name=name, currency="USD", price_list="usd", now_us=now_us, actor="sim"
        )
        grant(row.id, micro, f"first {name}", now_us)
        town.granted[row.id] = micro
        return row, project

    def key(project: Any, name: str, **more: Any) -> None:
        row, text = db.write(minting.issue, project=project.id, name=name, now_us=now_us, actor="sim", **more)
        town.keys.append(Key(row.id, text, row.account_id, row.project_id))

    owner, rich = account("rich", 2 * USD)
    pay(owner.id, USD, now_us)
    town.granted[owner.id] += USD
    town.paid.add(owner.id)
    grant(owner.id, 5_000, "trial", now_us, expires_us=now_us + 30 * DAY_US)
    town.granted[owner.id] += 5_000
    key(rich, "a")
    _, poor = account("poor", 9_000)
    key(poor, "b")
    _, capped = account("capped", USD)
    db.write(projects.set_caps, capped.id, {"day": 16_000, "month": 24_000}, now_us=now_us, actor="sim")
    key(capped, "c", caps=Caps(day_micro=5_000, month_micro=6_000, ever_micro=7_000))
    key(capped, "d")
    for name in ("fourth", "fifth"):
        _, project = account(name, 5 * USD)
        key(project, name)


def _classes(model: str) -> list[str]:
    return {"plain": ["input", "output"], "thinker": ["input", "output", "reasoning"], "vector": ["input"]}[model]


def publish(version: int, now_us: int, tx: Any = None) -> None:
    """Publish version `version` of the prices, in `tx` or one of its own."""
    from farebox.catalog import price_lists
    from farebox.catalog.sheets import PriceRow
    from farebox.kit import db

    rows = []
    for model, versions in PRICES.items():
        given, made = versions[version % len(versions)]
        for usage_class in _classes(model):
            rows.append(PriceRow(model, usage_class, given if usage_class == "input" else made))
    if tx is None:
        db.write(price_lists.publish, "usd", rows, actor="sim", now_us=now_us)
    else:
        price_lists.publish(tx, "usd", rows, actor="sim", now_us=now_us)


def grant(account: str, micro: int, ref: str, now_us: int, expires_us: int | None = None) -> None:
    """Give money from the shop."""
    from farebox.kit import db
    from farebox.ledger import lots

    db.write(
        lots.grant, account=account, currency="USD", amount_micro=micro, ref=ref, expires_us=expires_us,
        now_us=now_us, note="sim", requester="sim", single_person=True,
    )  # fmt: skip


def pay(account: str, micro: int, now_us: int) -> None:
    """Money that nobody gave away: a correction in the customer's favour, which two people book."""
    from farebox.kit import db
    from farebox.ledger import adjustments

    row = db.write(
        adjustments.propose, account=account, currency="USD", kind="credit", amount_micro=micro, reason="sim", call="",
        day_max_micro=PLENTY, requester="one", actor="one", now_us=now_us,
    )  # fmt: skip
    db.write(
        adjustments.approve,
        row.id,
        approver="two",
        single_person=False,
        day_max_micro=PLENTY,
        actor="two",
        now_us=now_us,
    )
