"""Prepare a store for the benchmark and serve it: one rich account, gpt-4o-mini through the mock, billing on.

From serve.sh: BENCH_STORE (a fresh folder), BENCH_KEY, BENCH_MODEL, PORT, UP_PORT. From attacks.py besides: BENCH_HOSTILE,
accounts to open as JSON (name -> USD), whose keys are written to the file BENCH_HOSTILE_KEYS, and BENCH_FAST_PORT and
BENCH_ECHOES_PORT, upstreams of models that only they call. BENCH_LOG_LEVEL and BENCH_RSS_MAX_MB are options of the product.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

WHO = "bench"


def main() -> None:
    bench = {name: os.environ[name] for name in ("BENCH_STORE", "BENCH_KEY", "BENCH_MODEL", "PORT", "UP_PORT")}
    for name in [name for name in os.environ if name.startswith("FAREBOX_")]:
        del os.environ[name]
    os.environ |= {
        "FAREBOX_DATA_DIR": bench["BENCH_STORE"],
        "FAREBOX_PORT": bench["PORT"],
        "FAREBOX_LOG_LEVEL": os.environ.get("BENCH_LOG_LEVEL", "error"),
        "FAREBOX_DRAIN_S": "1",
    }
    if os.environ.get("BENCH_RSS_MAX_MB"):
        os.environ["FAREBOX_RSS_MAX_MB"] = os.environ["BENCH_RSS_MAX_MB"]
    if os.environ.get("DSN"):
        os.environ["FAREBOX_DATABASE"] = os.environ["DSN"]

    if sys.argv[1:] == ["prepare"]:
        prepare(bench)
        return
    # As an operator does: one process migrates and fills, another one serves.
    subprocess.run([sys.executable, __file__, "prepare"], check=True)
    from farebox.care import ready
    from farebox.kit import options

    ready.logs()
    ready.store()
    from farebox.site import serve

    serve.run(options.current())


def prepare(bench: dict[str, str]) -> None:
    """Migrate the store and fill it."""
    from farebox.care import ready, setup

    setup.migrate()
    ready.store()
    from farebox.kit import db

    db.write(fill, key=bench["BENCH_KEY"], model=bench["BENCH_MODEL"], upstream=bench["UP_PORT"])
    if os.environ.get("BENCH_HOSTILE"):
        made = db.write(fill_hostile, accounts=json.loads(os.environ["BENCH_HOSTILE"]))
        with open(os.environ["BENCH_HOSTILE_KEYS"], "w") as file:
            json.dump(made, file)


def fill(tx, *, key: str, model: str, upstream: str) -> None:
    """An account with a million dollars, a price list, a channel to the mock."""
    from farebox.accounts.keys import keys
    from farebox.accounts.keys.key_terms import KeyTerms
    from farebox.catalog import official, price_lists
    from farebox.kit import clock

    price_lists.create_list(tx, "bench", "USD", actor=WHO)
    sell(tx, [facts for facts in official.DEMO_MODELS if facts.name == model], channel="mock", port=upstream)
    keys.import_key(
        tx, KeyTerms(name="bench"), project=open_account(tx, "Bench", 10**6), plaintext=key, now_us=clock.now_us(),
        actor=WHO,
    )  # fmt: skip


def fill_hostile(tx, *, accounts: dict[str, int]) -> dict[str, str]:
    """Accounts with so many dollars, by name, and what they call beside the benchmark's model; their keys."""
    from farebox.accounts.keys import keys
    from farebox.accounts.keys.key_terms import KeyTerms
    from farebox.catalog import official
    from farebox.kit import clock

    mini, numbers = official.DEMO_MODELS
    # Large enough for what is sent; but one has its own context, for which texts are counted exactly.
    fast = mini._replace(name="fast", context_tokens=10**7)
    sell(tx, [fast, mini._replace(name="fast-short")], channel="fast", port=os.environ["BENCH_FAST_PORT"])
    echoes = fast._replace(name="echoes", kinds=("chat", "completions"), modalities=("text",), image_formula="")
    sell(tx, [echoes, numbers._replace(name="numbers")], channel="echoes", port=os.environ["BENCH_ECHOES_PORT"])
    made = {}
    for name, usd in accounts.items():
        place = open_account(tx, name, usd)
        row = keys.issue(tx, KeyTerms(name=name), project=place, now_us=clock.now_us(), actor=WHO)
        made[name] = row[1]
    return made


def sell(tx, models, *, channel: str, port: str) -> None:
    """Sell models through a channel of their own, to an upstream on this port."""
    from farebox.catalog import official, price_lists
    from farebox.kit import clock, options, secrets
    from farebox.upstreams import channels
    from farebox.upstreams.channel_terms import ChannelTerms

    now_us = clock.now_us()
    official.define(tx, models, actor=WHO, now_us=now_us)
    price_lists.publish(tx, "bench", [row for facts in models for row in facts.rows()], actor=WHO, now_us=now_us)
    channels.add_upstream(tx, name=channel, actor=WHO)
    channels.add_channel(
        tx, ChannelTerms(name=channel, upstream=channel, base_url=f"http://127.0.0.1:{port}/v1", local=True),
        secret="unused", actor=WHO, master=secrets.master_keys(options.current()),
    )  # fmt: skip
    for facts in models:
        costs = {name: price for name, price in facts.prices.items() if name in {"input", "output"}}
        channels.offer(tx, channel=channel, model=facts.name, upstream_model=facts.name, costs=costs, actor=WHO)


def open_account(tx, name: str, usd: int) -> str:
    """An account with so much money; its project."""
    from farebox.accounts import accounts
    from farebox.kit import clock
    from farebox.ledger import lots

    now_us = clock.now_us()
    account, project = accounts.open_account(
        tx, name=name, currency="USD", price_list="bench", now_us=now_us, actor=WHO
    )
    if usd:
        lots.grant(
            tx, account=account.id, currency="USD", amount_micro=usd * 10**6, ref=f"bench {name}", expires_us=None,
            now_us=now_us, note="benchmark", requester=WHO, single_person=True,
        )  # fmt: skip
    return project.id


if __name__ == "__main__":
    main()
