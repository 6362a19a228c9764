"""From a validated request to an open hold: the steps before money is set aside. A refusal here costs nothing (R01)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Final

import msgspec

from farebox.accounts import allowed
from farebox.accounts.keys.caller import Caller
from farebox.calls import once as once_keys
from farebox.calls.log import CallStart
from farebox.catalog import rules, tokens
from farebox.catalog.pricing import Offer
from farebox.kit import errors
from farebox.kit.options import Options
from farebox.kit.process_limits import MIB
from farebox.ledger import holds
from farebox.ledger.allowance import AllowanceTerms
from farebox.protocol import kinds
from farebox.protocol.dialect import Ask, Shown
from farebox.protocol.kind import Call, Kind
from farebox.protocol.quirks import INSIDE, Quirks
from farebox.upstreams import plan
from farebox.upstreams.board import Candidate

from . import purse, rate_limits
from .heavy import HEAVY
from .hold import Cover
from .ports import Ports, Shop
from .purse import Need
from .rate_limits import Seat

ONCE_CHARS_MAX = 255
# What calls that may have no larger answer hold in memory is bounded by their places.
LARGE_ANSWER_BYTES: Final = 8 * MIB
_NO_ROOM: Final = nullcontext()


async def solvent(ports: Ports, caller: Caller) -> None:
    """Refuse a large body of one who has no money, before it has come: it would only fill the memory."""
    if caller.house:
        return
    posted_micro, *_ = await ports.store.read(holds.balance, caller.account)
    if posted_micro <= 0:  # money that is held comes back: placing the hold says so
        raise errors.InsufficientFunds("A request of this size needs money on the account before it is read.")


def offer(shop: Shop, caller: Caller, call: Call, kind: Kind, now_us: int) -> Offer:
    """The model with its prices for this caller; NoSuchModel, also for one that the key may not use."""
    found = shop.shelf.current.offer(call.model, caller.price_list, now_us, currency=caller.currency)
    if found is None or kind.name not in found.card.kinds:
        if found is not None and caller.may_use(found.card.name):
            raise errors.NotFound(
                f"The model `{call.model[:64]}` does not exist for this endpoint. It is sold for: "
                f"{', '.join(sorted(found.card.kinds))}.",
                param="model",
                code="model_not_found",
            )
        raise errors.NoSuchModel(call.model)
    if not (caller.may_use(found.card.name) or caller.may_use(call.model)):
        raise errors.NoSuchModel(call.model)
    if found.currency != caller.currency:
        raise errors.InternalError("The price list of this account is in another currency. Please tell the operator.")
    kind.fit(call, found.card)
    return found


def route(shop: Shop, call: Call, found: Offer, *, only: str) -> Sequence[Candidate]:
    """The candidates in the order to try; `only` names the one channel of the shop's own call, whatever its health."""
    current = shop.board.current
    if only:
        return [candidate for candidate in current.candidates(found.card.name) if candidate.channel.name == only]
    route = plan.route(
        current,
        found.card.name,
        call.kind,
        shop.health,
        shop.rng,
        account=call.account,
        attempts_max=shop.options.attempts_max,
    )
    if call.private and route:
        route = tuple(candidate for candidate in route if candidate.channel.target.local)
        if not route:
            raise errors.BadRequest(
                f"Invalid image in '{call.private}': its address is not a public one.", param=call.private
            )
    return route


def passed_bytes(call: Call, route: Sequence[Candidate]) -> int:
    """The bytes of unknown parameters that the pass list of a channel of the route lets through, at most."""
    if not call.extra:
        return 0
    sizes = {name: len(name) + len(value) for name, value in call.extra.items()}
    return max(
        (sum(sizes.get(name, 0) for name in set(candidate.channel.quirks.pass_)) for candidate in route), default=0
    )


async def size(call: Call, found: Offer, route: Sequence[Candidate], options: Options, *, whole: bool = False) -> Need:
    """What the call needs at most; counts its input exactly only where the context could be too small for it.

    With `whole` all that it may cost is held at once: where the account's allowance is below 0 (promises 4.4).
    """
    card = found.card
    passed = passed_bytes(call, route)
    input_bound = purse.bound(call, card, passed, rule_version=found.rule_version)
    exact: int | None = None
    tight = call.text_bytes + call.input_tokens + 16 * call.messages > card.context_tokens - card.output_tokens_max
    if tight and call.has_output and call.prompts == 1:
        if tokens.heavy(call.count_bytes, card.tokenizer):
            exact = await HEAVY.count(call.account, lambda: purse.count_input(call, card), lambda: None)
        else:
            exact = purse.count_input(call, card)
    if not call.has_output and call.input_tokens > card.context_tokens * call.prompts:
        raise errors.ContextTooLong(
            f"context_length_exceeded: This model's maximum context length is {card.context_tokens} tokens. However, "
            f"your input has {call.input_tokens} tokens. Please reduce the length of the messages.",
            param="input",
        )
    return purse.need(
        call, found, input_bound, exact, options.hold_output_tokens, hidden_tokens=options.hold_hidden_tokens,
        answer_bytes_max=options.answer_bytes_max, passed_bytes=passed, whole=whole,
    )  # fmt: skip


async def spell(call: Call, found: Offer, route: Sequence[Candidate]) -> None:
    """Make texts of token arrays where a channel of the route takes none; BadRequest for numbers of unknown tokens."""
    if call.token_arrays is None or all(candidate.channel.quirks.token_arrays for candidate in route):
        return
    try:
        if tokens.heavy(call.input_tokens, found.card.tokenizer):
            await HEAVY.run(call.account, _spell, call, found.card.tokenizer)
        else:
            _spell(call, found.card.tokenizer)
    except ValueError as fault:
        raise errors.BadRequest(f"Invalid value for '{call.text_name}': {fault}.", param=call.text_name) from None


def _spell(call: Call, tokenizer: str) -> None:
    call.texts = [tokens.decode(tokenizer, row) for row in call.token_arrays or ()]
    call.params[call.text_name] = call.texts
    call.input_tokens = 0
    call.shorten()


def ask(call: Call, route: Sequence[Candidate], call_id: str, now_us: int) -> Ask:
    """The call as a dialect encodes it and shows its answer; 503 where no channel can take it now."""
    if not route:
        raise errors.UpstreamFailed(
            f"No channel can take a call of the model `{call.model[:64]}` right now. Please try again later.",
            status=503,
            retry_after_s=5,
        )
    return Ask(
        kind=call.kind,
        stream=call.stream,
        params=call.params,
        want_usage=call.include_usage,
        extra=call.extra,
        limit_name=call.limit_name,
        beyond=call.beyond,
        given_messages=call.given_messages,
        choices=call.choices,
        shown=Shown(kinds.KINDS[call.kind].id_prefix + call_id[5:], now_us // 1_000_000, call.model),
    )


def limited(asked: Ask, call: Call, need: Need, cover: Cover) -> Ask:
    """The limit to send: only one that the customer asked for, or that the money lowered (promises 1.10)."""
    if call.has_output and (need.asked or need.sized or cover.lowered or call.default_limit_tokens is not None):
        asked.limit_tokens = cover.limit_tokens
    return asked


def room(shop: Shop, caller: Caller, need: Need) -> AbstractContextManager[None]:
    """Room for an answer that may be large; Overloaded or RateLimited. Nothing is kept of others."""
    if need.answer_bytes <= LARGE_ANSWER_BYTES:
        return _NO_ROOM
    return shop.answers.keep(caller.account, need.answer_bytes)


def seat(shop: Shop, caller: Caller, call: Call, need: Need, now_us: int) -> Seat:
    """The call's place within the limits a minute and at once; RateLimited. Without limits it costs nothing."""
    if not caller.paces:
        return shop.rates.admit((), 0, 0, now_us)
    reserved = rate_limits.tokens(
        text_bytes=call.text_bytes, input_tokens=call.input_tokens, bound_tokens=need.input_tokens
    )
    output_tokens = min(need.whole_tokens, shop.options.hold_output_tokens * need.outputs)
    return shop.rates.admit(caller.paces, reserved, output_tokens, now_us)


def headers(call: Call, cover: Cover, route: Sequence[Candidate]) -> list[tuple[str, str]]:
    """Headers of the answer that say what was done to the request."""
    out = []
    need = cover.need
    shortened = need.sized or (call.limit_tokens is not None and need.limit_tokens < call.limit_tokens)
    if call.has_output and (cover.lowered or shortened):
        out.append(("x-farebox-max-tokens", str(cover.limit_tokens)))
    quirks = route[0].channel.quirks
    if (call.extra or call.beyond or quirks.drop) and (ignored := _ignored(call, quirks)):
        out.append(("x-ignored-parameters", _header_text(ignored)))
    return out


def _ignored(call: Call, quirks: Quirks) -> list[str]:
    """The parameters, and as messages.NAME the fields of messages, that are not sent on."""
    passed = {*quirks.pass_, *(name.removeprefix(INSIDE) for name in quirks.pass_ if name.startswith(INSIDE))}
    here = [name for name in call.extra if name not in passed] + [name for name in quirks.drop if name in call.params]
    return sorted(here) + sorted(INSIDE + name for name in call.beyond - passed)


def record(
    call_id: str, shop: Shop, caller: Caller, call: Call, found: Offer, now_us: int, *, once: str | None
) -> CallStart:
    """What the record of the call holds from its beginning; BadRequest for an idempotency key that is not one."""
    return CallStart(
        id=call_id,
        account=caller.account,
        project=caller.project,
        key=caller.key,
        member=caller.member,
        endpoint=call.kind,
        model=found.card.name,
        asked=call.model[:128],
        stream=call.stream,
        epoch=shop.epoch,
        currency=found.currency,
        limit_tokens=call.limit_tokens if call.limit_tokens is None else min(call.limit_tokens, 2**62),
        price_list=found.price_list,
        price_version=found.version,
        prices=_prices(tuple(sorted(found.prices.items()))),
        rule_version=found.rule_version,
        opened_us=now_us,
        purses=caller.purses(now_us),
        once=_once(caller.project, once) if once is not None else "",
        own_day=caller.day(now_us),
        allowance=_terms(shop.options, caller, found),
    )


def _terms(options: Options, caller: Caller, found: Offer) -> AllowanceTerms | None:
    """The terms of the account's allowance; None where what is forgiven draws on none (promises 4.4)."""
    if caller.house or caller.trusted or not rules.VERSIONS[found.rule_version].forgives:
        return None
    return allowed.at_rate(options, found.usd_rate)


def _once(project: str, text: str) -> str:
    if not text or len(text) > ONCE_CHARS_MAX or not (text.isascii() and text.isprintable()):
        raise errors.BadRequest(
            f"The Idempotency-Key must be 1 to {ONCE_CHARS_MAX} printable ASCII characters, such as a UUID."
        )
    return once_keys.ident(project, text)


@lru_cache(maxsize=4096)
def _prices(items: tuple[tuple[str, int], ...]) -> str:
    return msgspec.json.encode(dict(items)).decode()


def _header_text(names: Sequence[str]) -> str:
    shown = [name.encode("ascii", "replace").decode()[:64] for name in names[:32]]
    return ", ".join(
        "".join(sign if sign.isprintable() and sign not in ",\r\n" else "?" for sign in name) for name in shown
    )
