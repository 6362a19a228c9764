"""Prepare a store for the benchmark and serve it: one rich account, gpt-4o-mini through the mock, billing on.

From serve.sh: BENCH_STORE (a fresh folder), BENCH_KEY, BENCH_MODEL, PORT, UP_PORT.
"""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> None:
    bench = {name: os.environ[name] for name in ("BENCH_STORE", "BENCH_KEY", "BENCH_MODEL", "PORT", "UP_PORT")}
    for name in [name for name in os.environ if name.startswith("FAREBOX_")]:
        del os.environ[name]
    os.environ |= {
        "FAREBOX_DATA_DIR": bench["BENCH_STORE"],
        "FAREBOX_PORT": bench["PORT"],
        "FAREBOX_LOG_LEVEL": "error",
        "FAREBOX_DRAIN_S": "1",
    }
    if os.environ.get("DSN"):
        os.environ["FAREBOX_DATABASE"] = os.environ["DSN"]

    if sys.argv[1:] == ["prepare"]:
        prepare(bench)
        return
    # As an operator does: one process migrates and fills, another one serves.
    subprocess.run([sys.executable, __file__, "prepare"], check=True)
    from farebox.kit import options
    from farebox.ops import ready

    ready.logs()
    ready.store()
    from farebox.site import serve

    serve.run(options.current())


def prepare(bench: dict[str, str]) -> None:
    """Migrate the store and fill it."""
    from farebox.ops import ready, setup

    setup.migrate()
    ready.store()
    from farebox.kit import db

    db.write(fill, key=bench["BENCH_KEY"], model=bench["BENCH_MODEL"], upstream=bench["UP_PORT"])


def fill(tx, *, key: str, model: str, upstream: str) -> None:
    """An account with a million dollars, a price list, a channel to the mock."""
    from farebox.accounts import accounts, keys
    from farebox.catalog import lists, official
    from farebox.kit import clock, options, secrets
    from farebox.ledger import lots
    from farebox.upstreams import channels

    now_us = clock.now_us()
    who = "bench"
    sold = [facts for facts in official.DEMO_MODELS if facts.name == model]
    official.define(tx, sold, actor=who, now_us=now_us)
    lists.create_list(tx, "bench", "USD", actor=who)
    lists.publish(tx, "bench", [row for facts in sold for row in facts.rows()], actor=who, now_us=now_us)
    account, project = accounts.open_account(
        tx, name="Bench", currency="USD", price_list="bench", now_us=now_us, actor=who
    )
    lots.grant(
        tx, account=account.id, currency="USD", amount_micro=10**12, ref="bench", expires_us=None, now_us=now_us,
        note="benchmark", requester=who, single_person=True,
    )  # fmt: skip
    keys.import_key(
        tx, project=project.id, name="bench", plaintext=key, models=(), addresses=(), expires_us=None,
        member=None, now_us=now_us, actor=who,
    )  # fmt: skip
    channels.add_upstream(tx, name="mock", actor=who)
    channels.add_channel(
        tx, name="mock", upstream="mock", base_url=f"http://127.0.0.1:{upstream}/v1", local=True, secret="unused",
        actor=who, master=secrets.master_keys(options.current()),
    )  # fmt: skip
    channels.offer(
        tx, channel="mock", model=model, upstream_model=model, costs={"input": "0.15", "output": "0.60"}, actor=who
    )


if __name__ == "__main__":
    main()
