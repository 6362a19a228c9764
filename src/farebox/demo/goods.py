"""What the demo shop holds: models, a price list, upstreams, two customers. Filled twice is filled once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from farebox.kit import options

from . import history, people, smallmodel

if TYPE_CHECKING:
    from farebox.catalog.sheets import PriceRow
    from farebox.kit.db import Tx

ACTOR = "demo"
LIST = "demo-usd"
CUSTOMER = "Demo customer"
EMPTY = "Empty customer"
GRANT = "5.00"
STARTER = "60.00"
# Whose price has changed in the past month, and whose will.
CHANGED, CHEAPER_DAYS = "gpt-4o-mini", 12
ANNOUNCED, ANNOUNCED_DAYS = "gpt-4", 8
_DAY_US = 86_400_000_000
OPENAI = "https://api.openai.com/v1"
SMALL_PRICES = {"input": "0.05", "cached_read": "0.01", "output": "0.10"}
# llama.cpp puts tokens of its chat template before the messages; SmolLM2's are fewer than this.
SMALL_OVERHEAD_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the demo buys: base URLs, None where there is none; the key of the real OpenAI."""

    sandbox: str | None
    small: str | None
    openai_key: str | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """The two keys of the demo, and what the customer with money has left, in micro-USD.

    `links` are codes of one-time sign-in links: the owner's for the console, the administrator's for the office.
    """

    key: str
    empty_key: str
    available_micro: int
    links: tuple[str, str] = field(default=("", ""), compare=False, repr=False)


def fill(tx: Tx, sources: Sources, known: Mapping[str, str]) -> Filled:
    """Bring the store to what the demo needs; `known` are the keys that an earlier run wrote down.

    A store without customers gets a month behind it: prices that changed, a team, and its calls.
    """
    from farebox.accounts import accounts
    from farebox.accounts.models import Account
    from farebox.kit import clock
    from farebox.ledger import holds

    now_us = clock.now_us()
    fresh = not Account.objects.filter(kind="customer").exists()
    if fresh:
        _past(tx, sources, now_us)
    _goods(tx, small=sources.small is not None, now_us=now_us)
    _upstreams(tx, sources)
    customer = _account(tx, CUSTOMER, now_us)
    empty = _account(tx, EMPTY, now_us)
    _grant(tx, customer, GRANT, ref="demo", note="money to try the demo with", now_us=now_us)
    key = _key(tx, customer, known.get("OPENAI_API_KEY", ""), now_us)
    empty_key = _key(tx, empty, known.get("FAREBOX_EMPTY_KEY", ""), now_us)
    links = people.doors(tx, customer, empty, now_us, fresh=fresh)
    return Filled(key, empty_key, holds.balance(tx, accounts.find(customer).id)[2], links)


def _past(tx: Tx, sources: Sources, now_us: int) -> None:
    """The month before: prices, customers, a team, its calls, an announced change, credit that has expired."""
    from farebox.catalog import price_lists
    from farebox.ledger import lots

    begin_us = now_us - (history.DAYS + 1) * _DAY_US
    with history.at(begin_us) as move:
        _dearer(tx, begin_us)
        _goods(tx, small=sources.small is not None, now_us=begin_us)
        _upstreams(tx, sources)
        customer = _account(tx, CUSTOMER, begin_us)
        note, ends_us = "starter credit of the demo, for a month", now_us - 60_000_000
        _grant(tx, customer, STARTER, ref="demo-month", note=note, now_us=begin_us, expires_us=ends_us)
        move(begin_us + 3_600_000_000)
        demo_key = _own_key(tx, customer, begin_us)
        team = people.team(tx, customer, begin_us)
        move(now_us - CHEAPER_DAYS * _DAY_US)
        rows = [row for row in _sold() if row.model == CHANGED]
        cheaper_us = now_us - CHEAPER_DAYS * _DAY_US
        price_lists.publish(tx, LIST, rows, note="cheaper from today", actor=ACTOR, now_us=cheaper_us)
        history.write(tx, team, demo_key, until_us=now_us, move=move)
        move(now_us)
        lots.expire(tx, account=customer, currency="USD", now_us=now_us)
        later = _times(ANNOUNCED, 9, 10)
        begins_us = (now_us // _DAY_US + ANNOUNCED_DAYS) * _DAY_US
        price_lists.publish(
            tx, LIST, later, valid_from_us=begins_us, note="announced a week ahead", actor=ACTOR, now_us=now_us
        )


def _grant(
    tx: Tx, account: str, amount: str, *, ref: str, note: str, now_us: int, expires_us: int | None = None
) -> None:
    from farebox.kit import money
    from farebox.ledger import lots

    lots.grant(
        tx, account=account, currency="USD", amount_micro=money.parse(amount), ref=ref, expires_us=expires_us,
        now_us=now_us, note=note, requester=ACTOR, single_person=True,
    )  # fmt: skip


def _sold() -> list[PriceRow]:
    from farebox.catalog import official

    return [row for model in (*official.OFFICIAL_MODELS, *official.DEMO_MODELS) for row in model.rows()]


def _times(model: str, up: int, down: int) -> list[PriceRow]:
    """The prices of a model times a fraction."""
    return [row._replace(micro_per_million=row.micro_per_million * up // down) for row in _sold() if row.model == model]


def _dearer(tx: Tx, now_us: int) -> None:
    """The list as it began: one model cost more then."""
    from farebox.catalog import official, price_lists

    official.define(tx, official.DEMO_MODELS, actor=ACTOR, now_us=now_us)
    price_lists.create_list(tx, LIST, "USD", about="What the demo's customers pay", actor=ACTOR)
    rows = [row for row in _sold() if row.model != CHANGED]
    price_lists.publish(
        tx, LIST, [*rows, *_times(CHANGED, 6, 5)], note="first prices of the demo", actor=ACTOR, now_us=now_us
    )


def _own_key(tx: Tx, account: str, now_us: int) -> str:
    """A key of the account's own default project, beside the one that is printed."""
    from farebox.accounts.keys import keys
    from farebox.accounts.keys.key_terms import KeyTerms

    return keys.issue(tx, KeyTerms(name="search index"), project=account, now_us=now_us, actor=ACTOR)[0].id


def _goods(tx: Tx, *, small: bool, now_us: int) -> None:
    """The models, and the demo's price list with a price for each; prices that somebody changed since stay."""
    from farebox.catalog import definitions, official, price_lists, sheets, shelf
    from farebox.catalog.models import PriceListVersion

    official.define(tx, official.DEMO_MODELS, actor=ACTOR, now_us=now_us)
    rows = _sold()
    if small:
        definitions.define_model(
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
        definitions.relist(tx, smallmodel.NAME, actor=ACTOR)
        rows += [sheets.row(smallmodel.NAME, usage_class, price) for usage_class, price in SMALL_PRICES.items()]
    elif smallmodel.NAME in shelf.load(tx, now_us).cards:
        shelf.unlist(tx, smallmodel.NAME, "it does not run on this machine now", ACTOR)
    price_lists.create_list(tx, LIST, "USD", about="What the demo's customers pay", actor=ACTOR)
    priced: set[tuple[str, str]] = set()
    if PriceListVersion.objects.filter(price_list=LIST).exists():
        sheet = price_lists.show(tx, LIST, now_us=now_us)
        priced = {(row.model, row.usage_class) for row in sheet.rows}
    missing = [row for row in rows if (row.model, row.usage_class) not in priced]
    if missing:
        price_lists.publish(tx, LIST, missing, note="prices of the demo", actor=ACTOR, now_us=now_us)


def _upstreams(tx: Tx, sources: Sources) -> None:
    from farebox.catalog import official

    sold = (*official.OFFICIAL_MODELS, *official.DEMO_MODELS)
    _channel(
        tx,
        "sandbox",
        sources.sandbox,
        models={model.name: _costs(model.prices) for model in sold},
        about="Our own upstream to try things with; it echoes",
    )
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


def _costs(prices: Mapping[str, str]) -> dict[str, str]:
    """What the sandbox would cost if it were a vendor: six tenths of the price, so that there is a margin to see."""
    from farebox.kit import money

    return {name: money.exact(money.parse(price) * 6 // 10) for name, price in prices.items()}


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
    from farebox.upstreams.channel_terms import ChannelTerms
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
            ChannelTerms(name=name, upstream=name, base_url=address, local=local, quirks=quirks or {}),
            secret=secret,
            master=master,
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
    from farebox.accounts.keys import keys
    from farebox.accounts.keys.key_terms import KeyTerms
    from farebox.accounts.models import ApiKey
    from farebox.kit import secrets

    if known.isascii() and known:
        digests = [secrets.digest_key(pepper, known) for pepper in secrets.peppers(options.current()).values()]
        if ApiKey.objects.filter(digest__in=digests, account=account, state="active", expires_us=None).exists():
            return known
    return keys.issue(tx, KeyTerms(name="demo"), project=account, now_us=now_us, actor=ACTOR)[1]
