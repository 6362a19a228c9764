"""What the self-test's own processes do with the scratch store: make it, fill it, read it, copy facts out of it.

`python -m farebox.care.selftest.inside fill URL`, `… facts`; each prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from farebox.care import proof, ready, setup
from farebox.kit import options
from farebox.kit.errors import CommandError, FareboxError
from farebox.look import refusals

if TYPE_CHECKING:
    from farebox.kit.db import Tx

ACTOR = "selftest"
MODEL = "selftest"
LIST = "selftest-usd"
LIMIT_TOKENS = 16
# A USD for 1,000,000 tokens of output, nothing for input: a call that uses its limit up costs what it holds.
CALL_MICRO = LIMIT_TOKENS
RACE_CALLS = 10
RICH_MICRO = 1_000_000_000


def fill(sandbox: str) -> dict[str, Any]:
    """Make an empty store, and put into it: one model, its price, the sandbox at `sandbox`, two accounts with keys.

    CommandError for a database that holds tables already: it may be somebody's shop.
    """
    ready.django()
    from django.db import connection

    tables = [] if options.current().on_sqlite else connection.introspection.table_names()
    if tables:
        raise CommandError(
            f"The database holds {len(tables)} tables already. The self-test needs an empty one, which is thrown away."
        )
    setup.migrate()
    from farebox.kit import db

    return db.write(_fill, sandbox)


def facts() -> dict[str, Any]:
    """What the books say: charged calls, open holds, balances, the proof's findings."""
    ready.store()
    from farebox.calls.models import Call
    from farebox.ledger.models import Entry, Hold, LedgerAccount

    proved = proof.prove()
    return {
        "charged": sorted(Call.objects.filter(charge_micro__gt=0).values_list("id", flat=True)),
        "calls": Call.objects.count(),
        "cut": Call.objects.filter(outcome="broken").count(),
        "refunded": Entry.objects.filter(kind="refund").count(),
        "charges": list(Entry.objects.filter(kind="charge").order_by("ref").values_list("ref", flat=True)),
        "open": Hold.objects.filter(state="open").count(),
        "lowest_micro": min(
            LedgerAccount.objects.filter(kind="customer", floor_micro=0).values_list("posted_micro", flat=True)
        ),
        "findings": [finding for found in proved.findings.values() for finding in found],
        "trial_balance_micro": proved.trial_balance,
    }


def _fill(tx: Tx, sandbox: str) -> dict[str, Any]:
    from farebox.catalog import definitions, price_lists, sheets
    from farebox.kit import clock, secrets
    from farebox.protocol.kinds import KINDS
    from farebox.upstreams import channels
    from farebox.upstreams.channel_terms import ChannelTerms

    now_us = clock.now_us()
    definitions.define_model(
        tx,
        MODEL,
        kinds=[name for name, kind in KINDS.items() if kind.writes],
        classes=("input", "output"),
        context_tokens=8_192,
        output_tokens_max=2_048,
        owned_by="farebox",
        actor=ACTOR,
        now_us=now_us,
    )
    price_lists.create_list(tx, LIST, "USD", actor=ACTOR)
    rows = [sheets.row(MODEL, "input", "0"), sheets.row(MODEL, "output", "1.00")]
    price_lists.publish(tx, LIST, rows, note="self-test", actor=ACTOR, now_us=now_us)
    channels.add_upstream(tx, name="sandbox", cancel_billing="stops", actor=ACTOR)
    channels.add_channel(
        tx,
        ChannelTerms(name="sandbox", upstream="sandbox", base_url=sandbox, local=True),
        secret="",
        master=secrets.master_keys(options.current()),
        actor=ACTOR,
    )
    channels.offer(tx, channel="sandbox", model=MODEL, actor=ACTOR)
    return {
        "race": _customer(tx, "Race", RACE_CALLS * CALL_MICRO, now_us),
        "load": _customer(tx, "Load", RICH_MICRO, now_us),
    }


def _customer(tx: Tx, name: str, amount_micro: int, now_us: int) -> dict[str, str]:
    from farebox.accounts import accounts
    from farebox.accounts.keys import keys
    from farebox.accounts.keys.key_terms import KeyTerms
    from farebox.ledger import lots

    account, project = accounts.open_account(tx, name=name, currency="USD", price_list=LIST, now_us=now_us, actor=ACTOR)
    lots.grant(
        tx,
        account=account.id,
        currency="USD",
        amount_micro=amount_micro,
        ref=ACTOR,
        expires_us=None,
        now_us=now_us,
        note="self-test",
        requester=ACTOR,
        single_person=True,
    )
    return {
        "account": account.id,
        "key": keys.issue(tx, KeyTerms(name=name), project=project.id, now_us=now_us, actor=ACTOR)[1],
    }


def main(words: Sequence[str]) -> int:
    """Do what the first word says, print the result as JSON; 1 with a sentence on standard error where it can't."""
    try:
        result = fill(words[1]) if words[0] == "fill" else facts()
    except FareboxError as refusal:
        print(refusals.of(refusal, "cli"), file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
