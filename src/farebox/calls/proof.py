"""Proof that the record agrees with the books: charge = receipt, failed calls are free, day totals add up."""

from __future__ import annotations

from typing import Any

from farebox.catalog import pricing
from farebox.kit.db import Tx

from . import log, sql

_PAGE = 5000


def prove(tx: Tx) -> list[str]:
    """Findings of I07, I09, I11, I13 and the day totals, one sentence each."""
    findings = [f"I07 call {call} and its hold disagree" for (call,) in tx.all(sql.CHARGED_OTHERWISE)]
    for hold, charge_micro in tx.all(sql.HOLDS_WITHOUT_CALL):
        charged = f" and was charged {charge_micro}" if charge_micro else ""
        findings.append(f"I07 hold {hold} belongs to no call{charged}")
    findings += [f"I13 call {call} failed and was charged" for (call,) in tx.all(sql.FAILED_BUT_CHARGED)]
    findings += [f"I11 attempt {name} belongs to no call" for (name,) in tx.all(sql.ORPHAN_ATTEMPTS)]
    for account, totals, charged in tx.all(sql.DAYS_OFF):
        findings.append(f"day totals of {account} say {totals}, its calls {charged}")
    after = ""
    while rows := tx.all(sql.RECEIPTS, (after, _PAGE)):
        after = str(rows[-1][0])
        for row in rows:
            found = log.as_dict(row)
            findings += _receipt(found)
    findings += [f"I33 call {call} and what it drew disagree" for (call,) in tx.all(sql.DRAWN_OTHERWISE)]
    return findings


def _receipt(found: dict[str, Any]) -> list[str]:
    due = pricing.due(log.facts(found))
    findings = []
    if found["charge_micro"] != due.charge_micro:
        findings.append(
            f"I09 call {found['id']} was charged {found['charge_micro']}, its receipt recomputes to {due.charge_micro}"
        )
    if found["value_micro"] is not None:
        was = (found["value_micro"], found["forgiven_micro"])
        if was != due[1:]:
            findings.append(
                f"I09 call {found['id']} says worth and forgiven {was}, its receipt recomputes to {due[1:]}"
            )
        if not 0 <= (found["drawn_micro"] or 0) <= due.forgiven_micro:
            findings.append(f"I33 call {found['id']} drew {found['drawn_micro']} of {due.forgiven_micro} forgiven")
    return findings
