"""The release before version 2 of the charging rules: its tables, what it wrote into them, and its statements.

`RECORD` is a store that this release served over HTTP, row by row, with what it said of it afterwards; the times lie in
February 2026. The statements are the texts that its nodes send, for a node that goes on beside newer ones.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

RECORD = json.loads((Path(__file__).parents[1] / "care" / "release_before.json").read_text(encoding="utf-8"))
TABLES = [
    ("accounts", "0012_member_proved_from"),
    ("calls", "0007_own_days"),
    ("catalog", "0004_draft_source"),
    ("ledger", "0007_lot_resets"),
]


def store() -> None:
    """Make the store in force, a fresh one, the recorded store of the release before."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    from farebox.kit import db, settings
    from kit import shop

    shop.stock()
    db.write(settings.forget, settings.RULES_2_FROM)
    connection.close()
    MigrationExecutor(connection).migrate(TABLES)
    db.write(_fill)


def _fill(tx: Any) -> None:
    for table, rows in RECORD["rows"].items():
        for row in rows:
            insert(tx, table, row)


def insert(tx: Any, table: str, row: dict[str, Any]) -> None:
    """One row with the columns that this release knows; the instance may have its ledger accounts already."""
    names, places = ", ".join(f'"{name}"' for name in row), ", ".join(["%s"] * len(row))
    again = " ON CONFLICT DO NOTHING" if table == "ledger_ledgeraccount" else ""
    tx.execute(f"INSERT INTO {table} ({names}) VALUES ({places}){again}", tuple(row.values()))


def leave_journal(data: Path) -> None:
    """The settlement that waited on the disk of its node, in the journal under this data folder."""
    (data / "journal").mkdir(exist_ok=True)
    (data / "journal" / RECORD["journal"]["name"]).write_text(RECORD["journal"]["text"])


# What a node of that release sends for a call: its money and its record, held, settled, expired, given back.

TAKE = """
UPDATE ledger_ledgeraccount SET held_micro = held_micro + %s
WHERE id = %s AND NOT frozen AND (floor_micro IS NULL OR posted_micro - held_micro - %s >= floor_micro)
"""

OPEN_HOLD = """
INSERT INTO ledger_hold (id, account, purses, amount_micro, charge_micro, state, epoch, placed_us, ended_us)
SELECT %s, %s, %s, %s, NULL, 'open', %s, %s, NULL
WHERE NOT EXISTS (SELECT 1 FROM kit_epoch WHERE id = %s AND ended_us IS NOT NULL)
"""

OPEN_CALL = """
INSERT INTO calls_call
(id, account, project, key, member, endpoint, model, asked, stream, epoch, opened_us, ended_us, currency, hold_micro,
 limit_tokens, price_list, price_version, prices, rule_version, outcome, rule, status, charge_micro, usage,
 usage_source, finish_reason, flags, attempts, error, diagnostics)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, NULL, %s, %s, %s, %s, %s, %s, %s, 'open', '', NULL, NULL, '{}', '',
 '', '', 0, '', '')
"""

END_HOLD = """
UPDATE ledger_hold SET state = %s, charge_micro = %s, ended_us = %s WHERE id = %s AND state = 'open'
RETURNING amount_micro
"""

PAY = """
UPDATE ledger_ledgeraccount SET held_micro = held_micro - %s, posted_micro = posted_micro - %s
WHERE id = %s AND held_micro >= %s
"""

GIVE_BACK = """
UPDATE ledger_ledgeraccount SET held_micro = held_micro - %s WHERE id = %s AND held_micro >= %s
"""

END_CALL = """
UPDATE calls_call SET ended_us = %s, hold_micro = %s, outcome = %s, rule = %s, status = %s, charge_micro = %s,
 usage = %s, usage_source = %s, finish_reason = %s, flags = %s, attempts = %s, error = %s, diagnostics = %s,
 reported = %s
WHERE id = %s AND outcome = 'open'
"""

CLOSE_EXPIRED = """
UPDATE calls_call SET ended_us = %s, outcome = 'broken', rule = %s, charge_micro = 0, flags = 'expired',
 error = 'the serving process ended before this call did'
WHERE id = %s AND outcome = 'open'
"""

WRITE_ENTRY = """
INSERT INTO ledger_entry
(id, account, kind, ref, currency, at_us, note, requester, approver, single_person)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

WRITE_TWO_POSTINGS = """
INSERT INTO ledger_posting (id, entry_id, account, amount_micro) VALUES (%s, %s, %s, %s), (%s, %s, %s, %s)
"""

WRITE_ATTEMPT = """
INSERT INTO calls_attempt
(id, call_id, n, upstream, channel, model, outcome, status, error, charged, cost_micro, cost_currency, started_us,
 first_byte_us, ended_us)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

ADD_TO_DAY = """
INSERT INTO calls_daytotal
(id, day, own_day, account, project, key, model, channel, currency, cost_currency, calls, charge_micro, cost_micro,
 input_tokens, output_tokens)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET calls = calls_daytotal.calls + excluded.calls,
 charge_micro = calls_daytotal.charge_micro + excluded.charge_micro,
 cost_micro = calls_daytotal.cost_micro + excluded.cost_micro,
 input_tokens = calls_daytotal.input_tokens + excluded.input_tokens,
 output_tokens = calls_daytotal.output_tokens + excluded.output_tokens
"""

MARK_REFUNDED = "UPDATE calls_call SET flags = LTRIM(flags || ' refunded') WHERE id = %s"

POST = """
UPDATE ledger_ledgeraccount SET posted_micro = posted_micro + %s
WHERE id = %s AND currency = %s AND posted_micro BETWEEN %s AND %s
 AND (floor_micro IS NULL OR posted_micro - held_micro >= floor_micro - %s)
"""

PRICES = {"output": 1_000_000}  # a micro-USD a token


class Older:
    """A node of the release before that works on the store in force; its calls cost one micro-USD a token of output."""

    epoch = "ep_older"

    def __init__(self, account: str, project: str, key: str) -> None:
        self.account, self.project, self.key = account, project, key

    def hold(self, tx: Any, call: str, hold_micro: int, now_us: int) -> None:
        """Its first write: the money of a call is held, and the record opened."""
        me = self.account
        assert tx.execute(TAKE, (hold_micro, me, hold_micro)) == 1
        assert tx.execute(OPEN_HOLD, (call, me, me, hold_micro, self.epoch, now_us, self.epoch)) == 1
        facts = (call, me, self.project, self.key, None, "chat", "far", "far", True, self.epoch, now_us)
        prices = json.dumps(PRICES)
        assert tx.execute(OPEN_CALL, (*facts, "USD", hold_micro, None, "usd", 1, prices, 1)) == 1

    def settle(self, tx: Any, call: str, tokens: int, now_us: int) -> None:
        """Its second write: the hold is settled for so many tokens."""
        (held_micro,) = tx.one(END_HOLD, ("settled", tokens, now_us, call))
        assert tx.execute(PAY, (held_micro, tokens, self.account, held_micro)) == 1
        self._book(tx, call, "charge", -tokens, now_us)
        usage = json.dumps({"output": tokens})
        end = ("served", "R02", 200, tokens, usage, "reported", "stop", "", 1, "", "", None)
        assert tx.execute(END_CALL, (now_us, held_micro, *end, call)) == 1
        attempt = (f"{call}.1", call, 1, "lab", "lab", "far", "served", 200, "", True, 0, "USD")
        tx.execute(WRITE_ATTEMPT, (*attempt, now_us, now_us, now_us))
        self._count(tx, 1, tokens, now_us)

    def expire(self, tx: Any, call: str, now_us: int) -> None:
        """What a dead node held is given back."""
        (held_micro,) = tx.one(END_HOLD, ("expired", 0, now_us, call))
        assert tx.execute(GIVE_BACK, (held_micro, self.account, held_micro)) == 1
        assert tx.execute(CLOSE_EXPIRED, (now_us, "R15", call)) == 1

    def refund(self, tx: Any, call: str, charge_micro: int, now_us: int) -> None:
        """A charged answer that never left is refunded (R25)."""
        room = (-(2**62), 2**62)
        assert tx.execute(POST, (charge_micro, self.account, "USD", *room, charge_micro)) == 1
        self._book(tx, call, "refund", charge_micro, now_us)
        assert tx.execute(MARK_REFUNDED, (call,)) == 1
        self._count(tx, 0, -charge_micro, now_us)

    def _book(self, tx: Any, call: str, kind: str, amount_micro: int, now_us: int) -> None:
        entry = f"ent_{kind}{call[5:]}"[:40]
        tx.execute(WRITE_ENTRY, (entry, self.account, kind, call, "USD", now_us, "", "", None, False))
        lines = (
            f"{entry}.1",
            entry,
            self.account,
            amount_micro,
            f"{entry}.2",
            entry,
            "house:revenue:USD",
            -amount_micro,
        )
        tx.execute(WRITE_TWO_POSTINGS, lines)

    def _count(self, tx: Any, calls: int, charge_micro: int, now_us: int) -> None:
        day = time.strftime("%Y-%m-%d", time.gmtime(now_us / 1e6))
        key = (day, day, self.account, self.project, self.key, "far", "lab", "USD", "USD")
        tx.execute(ADD_TO_DAY, (f"{self.account}|{day}|older", *key, calls, charge_micro, 0, 0, 0))
