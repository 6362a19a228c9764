"""THE path of a call: authenticate, price, route, hold, send, meter, settle, answer.

Two writes, one way to end. Everything that it needs of the world comes through the ports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from farebox.accounts.keys import authenticate
from farebox.accounts.keys.caller import Caller
from farebox.kit.errors import FareboxError
from farebox.kit.failpoints import point
from farebox.ledger.holds import HoldEnded
from farebox.protocol.dialect import BadAnswer
from farebox.protocol.kind import Billing, Call, Kind, Writer
from farebox.upstreams import send
from farebox.upstreams.send import Along

from . import admission, concluding, settlement, stepped
from .concluding import conclude
from .heavy import HEAVY, LARGE_BYTES, SMALL_BYTES
from .hold import Cover
from .meter import CUT, Conclusion, Meter, Outcome
from .ports import ClientPort, Ports, UnderWay
from .rate_limits import Seat

CUT_REPORT_S = 1  # how long the report is waited for of an answer that we cut
FURTHER_TOKENS = 512  # of words, after their customer left: for a report of what was thought
REPORT_S = 2  # how long the report of a finished answer is waited for after its customer left


class Request(Protocol):
    """The customer's request, as far as the path reads it."""

    id: str
    authorization: str | None
    address: str
    caller: Caller | None  # known beforehand where we call ourselves
    channel: str  # the only channel to try, where we call ourselves
    complete: bool  # whether the whole body has come

    @property
    def once(self) -> str | None:
        """The header `Idempotency-Key`."""

    def admit(self, account: str) -> None:
        """Whose request this is."""

    async def exceeds(self, count_bytes: int) -> bool:
        """Whether the body is longer; waits until that is known."""

    async def body(self) -> bytes:
        """The whole body; TooLarge, RequestTimeout, Overloaded."""


@dataclass(slots=True)
class Delivery:
    """What `deliver` works with: the way to the upstream, what came, what is held, and what the customer gets.

    `body` is the whole answer, or the last bytes of a stream: what goes out after the settlement.
    """

    along: Along
    meter: Meter
    cover: Cover
    writer: Writer
    seat: Seat
    body: bytes = b""
    unread_s: float = 0.0  # how long the answer has waited for its customer to read


async def serve(ports: Ports, request: Request, client: ClientPort, kind: Kind) -> None:
    """Answer one call. Hold before it, settle after it, charge only what was delivered.

    Raises a FareboxError for whatever is refused before money is held; everything later is answered here.
    """
    shop = ports.shop
    caller, came_whole = await _caller(ports, request), request.complete
    request.admit(caller.account)
    # Before the body is read: who has no money must not fill our memory with it.
    if await request.exceeds(LARGE_BYTES):
        await admission.solvent(ports, caller)
    body = await request.body()
    shop.places.take(caller.account)
    try:
        await _served(ports, request, client, kind, caller if came_whole else None, body)
    finally:
        shop.places.give(caller.account)


async def _served(
    ports: Ports, request: Request, client: ClientPort, kind: Kind, known: Caller | None, body: bytes
) -> None:
    """The same, of a call that has its place. The key may have ended while the body came: then nobody is `known`."""
    shop = ports.shop
    caller = known or await _caller(ports, request)
    call = await HEAVY.read(caller.account, kind, body)
    # It may be many MiB, and the call lives for minutes: from here on what was read of it is enough.
    del body
    now_us = ports.clock.now_us()
    offer = admission.offer(shop, caller, call, kind, now_us)  # no price, no call
    route = admission.route(shop, call, offer, only=request.channel)
    need = await admission.size(call, offer, route, shop.options, whole=caller.account in shop.overdrawn)
    await admission.spell(call, offer, route)
    ask = admission.ask(call, route, request.id, now_us)
    start = admission.record(request.id, shop, caller, call, offer, now_us, once=request.once)
    # Refused requests cost nothing, so only a count bounds how many an account may make us check.
    shop.slips.check(caller.account, now_us)
    with admission.room(shop, caller, need), admission.seat(shop, caller, call, need, now_us) as seat:
        point("serve.before_hold")
        cover = await stepped.held(ports, start, need, call)
        point("serve.held")
        asked = admission.limited(ask, call, need, cover)
        delivery = Delivery(
            Along(
                ports.upstream, ports.clock, shop.health, route, asked, shop.limits,
                account=caller.account, forced=bool(request.channel),
                last_s=shop.options.call_s_max, on_late=client.cut,
                aside=partial(HEAVY.later, caller.account), ask_bytes=call.body_bytes,
            ),
            Meter(call, offer.card, cover.limit_tokens, need.input_tokens, cover.lowered or need.sized,
                  offer.rule_version),
            cover,
            kind.writer(call, ask.shown),
            seat,
        )  # fmt: skip
        under_way = UnderWay(delivery.along, client, caller)
        # Where a revoked key (R21) and the end of the process find this call. Only now: before the hold there is
        # nothing to end.
        shop.under_way[under_way] = None
        if shop.halted:  # the others have been stopped while this one's money was set aside
            under_way.halt()
        conclusion = await deliver(ports, call, delivery, kind, client)
        del shop.under_way[under_way]
        delivery.along.close()
        if conclusion.outcome is Outcome.REFUSED:
            shop.slips.note(caller.account, now_us)
        # The hold ends exactly once.
        error = await settlement.settle(ports, start, cover, delivery.along, delivery.meter, conclusion)
        settled_us = ports.clock.now_us()
        # What was estimated for the limit of tokens makes room for what was used.
        seat.used(conclusion.usage.total if conclusion.usage is not None else 0, settled_us)
        if error is None:
            shop.sampler.offer(ports.store, caller, delivery.meter, conclusion, settled_us)
    # The call has ended and is paid: whether its customer is still there changes nothing any more.
    client.on_left(None)
    if isinstance(error, settlement.Unsure) and call.stream:
        client.drop()  # an error would say that it is free; R25 looks after the others
    elif error is not None:
        await client.refuse(error)
    elif call.stream:
        await client.finish(delivery.body)  # the last bytes, after the commit
    else:
        await client.answer(200, delivery.body)
        # Marked within a second. A whole answer that is charged and not marked when its process dies is refunded
        # (R25).
        shop.delivered.append(start.id)
    point("serve.answered")


async def _caller(ports: Ports, request: Request) -> Caller:
    return request.caller or await authenticate.bearer(
        ports.shop.ring,
        ports.store,
        authorization=request.authorization,
        address=request.address,
        now_us=ports.clock.now_us(),
    )


async def deliver(ports: Ports, call: Call, delivery: Delivery, kind: Kind, client: ClientPort) -> Conclusion:
    """Carry the answer from the upstream to the customer.

    Never raises: every way a call can end is a Conclusion with its rule. A cancelled task ends its call as well.
    """
    along, meter = delivery.along, delivery.meter
    try:
        client.on_left(along.leave)
        headers = delivery.seat.headers(admission.headers(call, delivery.cover, along.route))
        client.begin(headers, stream=call.stream)
        try:
            with delivery.cover.ahead(along.reads):
                conclusion = await _carry(call, delivery, kind, client)
        except send.CustomerLeft:
            conclusion = await _left(ports, delivery)
        except send.KeyRevoked:
            conclusion = await concluding.revoked(meter, along)
        except send.LastedTooLong:
            conclusion = await _cut(delivery, client, Outcome.TOO_LONG)
        except send.UpstreamRefused as refused:
            conclusion = await concluding.refused(meter, along, refused.fault)
        except send.AttemptsFailed as failed:
            unread = delivery.unread_s > ports.shop.options.unread_s
            conclusion = await concluding.failed(meter, along, failed, unread=unread)
        await _write_last(call, delivery, kind, conclusion)
    except (send.Halted, asyncio.CancelledError):
        # Swallowed on purpose: a hold that nobody ends would stay until the lease is over. The settlement voids it
        # now.
        along.settle_attempt("unknown", "the service stopped")
        return Conclusion(Outcome.BROKEN, "R15", error="the service stops")
    except HoldEnded:  # we slept for too long; the settlement will find the same (R24)
        return Conclusion(Outcome.BROKEN, "R15", error="the hold has ended")
    except FareboxError as trouble:  # the store is away while the hold should grow
        return Conclusion(Outcome.BROKEN, "R15", error=trouble.message)
    except Exception as bug:
        return concluding.broken(bug)
    return conclusion


async def _write_last(call: Call, delivery: Delivery, kind: Kind, conclusion: Conclusion) -> None:
    """Write what goes out last, before the settlement: nothing may fail between that and the customer."""
    if call.stream:
        delivery.body = delivery.writer.last(conclusion.usage, conclusion.reported)
    elif delivery.body and conclusion.usage is not None and not kind.tells(conclusion.reported):
        work = partial(kind.counted, call, delivery.body, conclusion.usage, conclusion.reported)
        delivery.body = await _aside(call.account, delivery.body, work)


async def _aside(who: str, body: bytes, work: Callable[[], bytes]) -> bytes:
    """Work on an answer that is not streamed, in a thread where it is long."""
    if len(body) <= SMALL_BYTES:
        return work()
    written: bytes = await HEAVY.later(who, work)
    return written


async def _carry(call: Call, delivery: Delivery, kind: Kind, client: ClientPort) -> Conclusion:
    """Event for event: cover it, count it, deliver it."""
    along, meter, writer = delivery.along, delivery.meter, delivery.writer
    cover, watch, now = delivery.cover, meter.watch, asyncio.get_running_loop().time
    async for events in along:
        meter.accepted = True
        for number, event in enumerate(events):
            output_bytes = meter.output_bytes + event.output_bytes
            # Images and sound are no words: they are covered, but don't count against the limit.
            covered_bytes = output_bytes + meter.media_bytes + event.media_bytes
            too_much = output_bytes > watch.look_bytes and await meter.too_much(event, output_bytes)
            sure = covered_bytes + cover.beside_bytes <= cover.sure_bytes and not (cover.attentive or event.beside)
            if too_much or not (sure or await cover.covers(covered_bytes, meter, event)):
                # The events before this one are covered, and were counted.
                await client.send(writer.write(events[:number]))
                return await _cut(delivery, client, Outcome.OVER_LIMIT if too_much else Outcome.OUT_OF_MONEY)
            # Only after it is covered: the charge follows from what was read, and may not pass the hold.
            meter.read(event)
        if call.stream:
            point("serve.event")
            since = now()
            await client.send(writer.write(events))
            # An upstream that we read slowly may break off: whose doing that is depends on how long its customer kept
            # us (R14, R18).
            delivery.unread_s += now() - since
            continue
        if kind.billing is Billing.WHOLE and events[0].choices != call.choices:  # never in part (R27)
            raise along.rejected("The upstream answered with another number of results than was asked for.")
        event = events[0]
        try:
            delivery.body = await _aside(call.account, event.raw, partial(kind.answer, call, event, along.ask.shown))
        except BadAnswer as bad:
            raise along.rejected(bad.why) from None
    if along.halted and client.left:  # we have dropped him, and perhaps what he had not read
        raise send.Halted
    along.served()
    in_the_middle = client.left and call.stream and not along.terminal
    conclusion = await conclude(
        meter, Outcome.LEFT if in_the_middle else Outcome.SERVED, along.reads, terminal=along.terminal
    )
    if client.left:
        conclusion.flags.append("left")
    return conclusion


async def _cut(delivery: Delivery, client: ClientPort, outcome: Outcome) -> Conclusion:
    """Stop the answer here: the rest is not covered, took too long, or is far beyond the limit (R07)."""
    along, meter = delivery.along, delivery.meter
    if meter.version == 1:
        along.stop()
        along.settle_attempt("served", "stopped by us")
    open_choices = [index for index in meter.indexes if index not in meter.finishes]
    for index in open_choices:
        meter.finishes[index] = "length"
    # The customer sees why it ends: each choice that is still open gets a finish reason of its own.
    if open_choices:
        await client.send(delivery.writer.cut(open_choices))
    if meter.version > 1:  # its report says what was thought for it, and bounds our count
        await concluding.follow(along, meter, CUT_REPORT_S)
        along.stop()
        along.settle_attempt("served", "stopped by us")
    conclusion = await conclude(meter, outcome, along.reads, terminal=True)
    conclusion.flags.append(CUT[outcome])
    return conclusion


async def _left(ports: Ports, delivery: Delivery) -> Conclusion:
    """The customer left while we waited: cancel, or read on where the upstream bills the whole (R16 to R19)."""
    along, meter = delivery.along, delivery.meter
    meter.accepted = along.accepted
    finished = meter.call.stream and len(meter.finishes) >= meter.call.choices
    if meter.version > 1:
        return await _followed(ports, delivery, finished=finished)
    reads_on = along.accepted and along.bills_all and meter.call.stream and not finished
    if finished:  # programs that stop at the finish reason leave before the report has come
        await concluding.read_rest(along, meter, REPORT_S)
    if not reads_on:
        along.stop()
    conclusion = await conclude(meter, Outcome.LEFT, along.reads, terminal=along.terminal)
    if reads_on:
        prices = delivery.cover.need.offer.prices
        await concluding.read_on(along, meter, conclusion, prices, ports.shop.options.read_on_s)
        along.stop()
    along.settle_attempt("left", "the customer left")
    return conclusion


async def _followed(ports: Ports, delivery: Delivery, *, finished: bool) -> Conclusion:
    """The same by version 2: read on for the report where it says what was billed, or what was thought unseen."""
    along, meter = delivery.along, delivery.meter
    if finished:
        await concluding.read_rest(along, meter, REPORT_S)
    elif along.accepted and meter.call.stream and (along.bills_all or meter.card.hidden_output):
        most = None if along.bills_all else FURTHER_TOKENS
        await concluding.follow(along, meter, ports.shop.options.read_on_s, tokens_max=most)
    along.stop()
    along.settle_attempt("left", "the customer left")
    return await conclude(meter, Outcome.LEFT, along.reads, terminal=along.terminal)
