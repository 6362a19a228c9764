"""Fill a SQLite store with millions of calls that prove, and measure the pages that read them.

    .venv/bin/python bench/ten_million.py fill FOLDER [CALLS]     # 10,000,000 by default; 20 GB, minutes
    .venv/bin/python bench/ten_million.py measure FOLDER          # home, log, receipt, usage, statement, export
    .venv/bin/python bench/ten_million.py cold FOLDER             # the same, nothing of the store in memory at first
    .venv/bin/python bench/ten_million.py prove FOLDER            # `farebox prove` over it

One account has 70 % of the calls (60 keys in 6 projects, 8 models, 2 channels), 30 small ones share the rest; they are
spread over the last 365 days. Rows are what the product's own verbs write, told to the database in bulk and in order.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

DAY_US = 86_400_000_000
DAYS = 365
BATCH = 50_000
MODELS = [f"bench-{number}" for number in range(8)]
PRICES = {"input": 150_000, "cached_read": 75_000, "output": 600_000}
GRANT_MICRO = 10**13
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
THREE = [a + b + c for a in ALPHABET for b in ALPHABET for c in ALPHABET]
TABLES = {
    "calls_call": "id account project key member endpoint model asked stream epoch opened_us ended_us delivered_us "
    "currency hold_micro limit_tokens price_list price_version prices rule_version outcome rule status charge_micro "
    "usage usage_source finish_reason flags attempts error diagnostics",
    "calls_attempt": "id call_id n upstream channel model outcome status error charged cost_micro cost_currency "
    "started_us first_byte_us ended_us",
    "ledger_hold": "id account purses amount_micro charge_micro state epoch placed_us ended_us",
    "ledger_entry": "id account kind ref currency at_us note requester approver single_person",
    "ledger_posting": "id entry_id account amount_micro",
    "calls_daytotal": "id day account project key model channel currency cost_currency calls charge_micro cost_micro "
    "input_tokens output_tokens",
}


def use(folder: Path) -> None:
    """Point the product at the store in `folder`."""
    for name in [name for name in os.environ if name.startswith("FAREBOX_")]:
        del os.environ[name]
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "farebox.site.settings",
        "FAREBOX_DATA_DIR": str(folder),
        "FAREBOX_LOG_LEVEL": "error",
        "FAREBOX_PORT": "0",
    }
    from farebox.kit import options, secrets

    secrets.ensure(options.current())
    import django

    django.setup()


def buyers(start_us: int) -> list[tuple[str, str, str]]:
    """(account, project, key) of every key: the large account's 60 first, then one each of 30 small ones."""
    from farebox.accounts import accounts, projects
    from farebox.accounts.keys import keys
    from farebox.accounts.keys.key_terms import KeyTerms
    from farebox.accounts.models import Account
    from farebox.accounts.people import people
    from farebox.catalog import price_lists
    from farebox.kit import db, settings
    from farebox.ledger import lots

    who: dict[str, Any] = {"now_us": start_us, "actor": "bench"}
    out = []

    def fill(tx: Any) -> None:
        settings.ensure_installation(tx)
        price_lists.create_list(tx, name="bench", currency="USD", about="", actor="bench")
        accounts.ensure_house(tx, now_us=start_us)
        for number in range(31):
            account, project = accounts.open_account(
                tx, name=f"Bench {number}", currency="USD", price_list="bench", **who
            )
            lots.grant(
                tx, account=account.id, currency="USD", amount_micro=GRANT_MICRO, ref="bench", expires_us=None,
                now_us=start_us, note="", requester="bench", single_person=True,
            )  # fmt: skip
            spread = [project.id]
            if number == 0:
                spread += [projects.create(tx, account=account.id, name=f"Project {n}", **who).id for n in range(5)]
                person = people.create(tx, email="owner@example.com", name="Owner", password_hash=None, **who)
                people.add_member(tx, account=account.id, person=person.id, role="owner", project=None, **who)
            for n in range(60 if number == 0 else 1):
                place = spread[n % len(spread)]
                row, _ = keys.issue(tx, KeyTerms(name=f"key {n}"), project=place, **who)
                out.append((account.id, place, row.id))
        Account.objects.update(created_us=start_us)

    db.write(fill)
    return out


def fill(folder: Path, calls: int) -> None:
    """Make the store."""
    use(folder)
    from django.core.management import call_command
    from django.db import connection

    from farebox.kit import clock

    call_command("migrate", verbosity=0)
    end_us = clock.now_us() - 60_000_000
    start_us = end_us - DAYS * DAY_US
    who = buyers(start_us)
    connection.close()
    import pysqlite3

    base = pysqlite3.connect(str(folder / "farebox.db"), isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1500000", "locking_mode=EXCLUSIVE"):
        base.execute(f"PRAGMA {pragma}")
    write(base, calls, start_us, (end_us - start_us) // calls, who)
    base.close()
    again = pysqlite3.connect(str(folder / "farebox.db"))
    again.execute("PRAGMA journal_mode=WAL")
    again.close()
    print(f"{(folder / 'farebox.db').stat().st_size / 2**30:.1f} GiB", flush=True)


def write(base: Any, calls: int, start_us: int, gap_us: int, who: list[tuple[str, str, str]]) -> None:
    """All rows, a batch a transaction, each table in the order of its keys."""
    sql = {
        table: f"INSERT INTO {table} ({names.replace(' ', ', ')}) VALUES ({', '.join('?' * len(names.split()))})"
        for table, names in TABLES.items()
    }
    kinds = usages()
    spent: dict[str, int] = {}
    days: dict[tuple[str, ...], list[int]] = {}
    began = time.monotonic()
    for first in range(0, calls, BATCH):
        rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
        for number in range(first, min(first + BATCH, calls)):
            one(rows, number, start_us + number * gap_us, who, kinds, spent, days)
        base.execute("BEGIN")
        for table, listed in rows.items():
            base.executemany(sql[table], listed)
        base.execute("COMMIT")
        done = min(first + BATCH, calls)
        if done % (BATCH * 10) == 0 or done == calls:
            print(f"{done:,} calls, {time.monotonic() - began:.0f} s", flush=True)
    base.execute("BEGIN")
    base.executemany(sql["calls_daytotal"], [("|".join(key[:6]), *place(key), *sums) for key, sums in days.items()])
    for account, micro in spent.items():
        base.execute("UPDATE ledger_ledgeraccount SET posted_micro = posted_micro - ? WHERE id = ?", (micro, account))
    base.execute("COMMIT")


def place(key: tuple[str, ...]) -> tuple[str, ...]:
    account, day, project, api_key, model, channel, cost_currency = key
    return day, account, project, api_key, model, channel, "USD", cost_currency


def usages() -> list[tuple[str, int, int, int]]:
    """Some usages: JSON, charge, tokens in and out."""
    from farebox.catalog import pricing
    from farebox.catalog import usage as measured

    out = []
    for number in range(97):
        used = {"input": 40 + number * 37, "output": 5 + number * 11}
        if number % 3 == 0:
            used["cached_read"] = number * 8 + 1
        charge = pricing.charge(PRICES, measured.of(used)).amount_micro
        inputs = used["input"] + used.get("cached_read", 0)
        out.append((json.dumps(used, separators=(",", ":")), charge, inputs, used["output"]))
    return out


def ident(at_us: int, number: int) -> str:
    """The part of an id behind its kind: time, then figures that no two calls share."""
    rest, low = divmod(at_us, 238_328)
    high, middle = divmod(rest, 238_328)
    return f"{THREE[high]}{THREE[middle]}{THREE[low]}{number:016d}"


def one(
    rows: dict[str, list[tuple[Any, ...]]], number: int, at_us: int, who: Any, kinds: Any, spent: Any, days: Any
) -> None:
    """The rows of one call: served and charged, or, one in 25, failed at its upstream and free."""
    account, project, key = who[number % 60 if number % 10 < 7 else 60 + number % 30]
    usage, charge, inputs, outputs = kinds[number % 97]
    model, channel = MODELS[number % 8], f"channel-{number % 2}"
    call = "call_" + ident(at_us, number)
    ended_us = at_us + 1_500_000
    served = number % 25 != 13
    if not served:
        usage, charge, inputs, outputs = "{}", 0, 0, 0
    rows["calls_call"].append(
        (call, account, project, key, None, "chat", model, model, 0, "ep_bench", at_us, ended_us, ended_us, "USD",
         charge + 900, None, "bench", 1, PRICES_TEXT, 1, "served" if served else "failed", "R02" if served else "R13",
         200 if served else 502, charge, usage, "reported" if served else "", "stop" if served else "", "", 1, "", "")
    )  # fmt: skip
    rows["calls_attempt"].append(
        (call + ".1", call, 1, "bench", channel, model, "served" if served else "failed", 200 if served else 500, "",
         served, charge // 2, "USD", at_us + 1000, at_us + 400_000, ended_us)
    )  # fmt: skip
    rows["ledger_hold"].append(
        (call, account, account, charge + 900, charge, "settled" if charge else "voided", "ep_bench", at_us, ended_us)
    )
    if charge:
        entry = "ent_" + ident(ended_us, number)
        rows["ledger_entry"].append((entry, account, "charge", call, "USD", ended_us, "", "", None, 0))
        rows["ledger_posting"].append((entry + ".1", entry, account, -charge))
        rows["ledger_posting"].append((entry + ".2", entry, "house:revenue:USD", charge))
        spent[account] = spent.get(account, 0) + charge
    sums = days.setdefault((account, day_of(at_us), project, key, model, channel, "USD"), [0, 0, 0, 0, 0])
    for index, value in enumerate((1, charge, charge // 2, inputs, outputs)):
        sums[index] += value


PRICES_TEXT = json.dumps(PRICES, separators=(",", ":"))
_days: dict[int, str] = {}


def day_of(at_us: int) -> str:
    number = at_us // DAY_US
    if number not in _days:
        _days[number] = time.strftime("%Y-%m-%d", time.gmtime(number * 86_400))
    return _days[number]


def cold(folder: Path) -> None:
    """Measure after the system has forgotten what it had read of the store."""
    for file in folder.glob("farebox.db*"):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    measure(folder)


def measure(folder: Path) -> None:
    """Serve the store in this process and read its pages as the large account's owner: cold first, then the median."""
    use(folder)
    from django.core.management import call_command

    from farebox.accounts.models import ApiKey, Member, Person
    from farebox.accounts.people import people
    from farebox.accounts.sign_in import sessions
    from farebox.calls.models import Call
    from farebox.kit import clock, db, options, process_limits
    from farebox.site.serve import Server

    call_command("migrate", verbosity=0)
    person = Person.objects.get(email="owner@example.com")
    operator = Person.objects.filter(operator_role="admin").first() or db.write(
        people.create, email="operator@example.com", name="Operator", password_hash=None, operator_role="admin",
        now_us=clock.now_us(), actor="bench",
    )  # fmt: skip
    proofs = [{"method": method, "at": time.time()} for method in ("password", "mfa")]
    cookie = f"__Host-s={sessions.sign_in(person, area='console', methods=proofs[:1])}"
    cookie += f"; __Host-o={sessions.sign_in(operator, area='office', methods=proofs)}"
    account = Member.objects.get(person=person).account_id
    key = ApiKey.objects.filter(account=account).first()
    assert key is not None
    call = Call.objects.filter(account=account).order_by("-id").values_list("id", flat=True)[500]
    middle = time.strftime("%Y-%m", time.gmtime(time.time() - 150 * 86_400))
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def begin() -> Any:
        server = Server(options.current())
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(60)

    def get(path: str) -> tuple[int, int]:
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=900)
        line.request("GET", path, headers={"Cookie": cookie, "Accept": "text/html"})
        answer = line.getresponse()
        size = 0
        while piece := answer.read(1 << 16):
            size += len(piece)
        line.close()
        return answer.status, size

    pages = {
        "home": "/console/",
        "log, first page": "/console/calls",
        "log, a page in the middle": f"/console/calls?until={middle}-15",
        "log, one key": f"/console/calls?key={key.id}",
        "log, failed ones": "/console/calls?outcome=failed",
        "log, nothing fits": "/console/calls?model=nothing",
        "receipt": f"/console/calls/{call}",
        "usage, 30 days": "/console/usage",
        "usage, 90 days by key": "/console/usage?span=30d&by=key",
        "usage, 48 hours": "/console/usage?span=48h",
        "statements": "/console/statements",
        "statement of a month": f"/console/statements/{middle}",
        "key": f"/console/keys/{key.id}",
        "keys": "/console/keys",
        "team": "/console/team",
        "status": "/status",
        "office: home": "/office/",
        "office: home, 30 days": "/office/?span=30",
        "office: customers": "/office/customers",
        "office: customer": f"/office/customers/{account}",
        "office: his calls": f"/office/customers/{account}/calls",
    }
    for name, path in pages.items():
        times = []
        for _ in range(5):
            began = time.perf_counter()
            status, _size = get(path)
            times.append((time.perf_counter() - began) * 1000)
            assert status == 200, (path, status)
        print(f"{name:28} first {times[0]:7.0f} ms   median {sorted(times)[2]:7.0f} ms", flush=True)
    rss, most, done = process_limits.rss_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.05):
            most = max(most, process_limits.rss_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for suffix in ("csv", "json"):
        began = time.perf_counter()
        status, size = get(f"/console/calls.{suffix}?from={middle}-01&until={middle}-28")
        seconds = time.perf_counter() - began
        print(f"export {suffix} {status} {size / 1e6:.0f} MB in {seconds:.0f} s, memory before {rss / 2**20:.0f} MiB, "
              f"most since {most / 2**20:.0f} MiB", flush=True)  # fmt: skip
    done.set()
    watcher.join()
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)


def prove(folder: Path) -> None:
    """What `farebox prove` finds."""
    use(folder)
    from farebox.care import proof

    found = {name: findings for name, findings in proof.prove().findings.items() if findings}
    print(found or "It proves.")


if __name__ == "__main__":
    verb, where = sys.argv[1], Path(sys.argv[2])
    if verb == "fill":
        fill(where, int(sys.argv[3]) if len(sys.argv) > 3 else 10_000_000)
    else:
        {"measure": measure, "cold": cold, "prove": prove}[verb](where)
