"""THE path of a call: authenticate, price, route, hold, send, meter, settle, answer.

Two writes, one way to end. Everything that it needs of the world comes through the ports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from farebox.accounts import authenticate
from farebox.accounts.caller import Caller
from farebox.calls import log
from farebox.kit.errors import FareboxError
from farebox.upstreams import send
from farebox.upstreams.send import Along

from . import ending, opening, writing
from .endpoint import Call, Endpoint
from .hold import Cover
from .meter import Ending, Meter, Outcome, conclude
from .ports import ClientPort, Ports
from .writing import StreamWriter


class Request(Protocol):
    """The customer's request, as far as the path reads it."""

    id: str
    authorization: str | None
    address: str
    account: str  # set by `serve` once it is known
    caller: Caller | None  # known beforehand where we call ourselves
    channel: str  # the only channel to try, for channel tests

    async def body(self) -> bytes:
        """The whole body; TooLarge, RequestTimeout."""


@dataclass(slots=True)
class Delivery:
    """What `deliver` works with: the way to the upstream, what came, what is held, and what the customer gets."""

    along: Along
    meter: Meter
    cover: Cover
    writer: StreamWriter
    deadline_us: int
    body: bytes = b""


async def serve(ports: Ports, request: Request, client: ClientPort, endpoint: Endpoint) -> None:
    """Answer one call. Hold before it, settle after it, charge only what was delivered.

    Raises a FareboxError for whatever is refused before money is held; everything later is answered here.
    """
    shop = ports.shop
    caller = request.caller or await authenticate.bearer(
        shop.ring,
        ports.store,
        authorization=request.authorization,
        address=request.address,
        now_us=ports.clock.now_us(),
    )
    request.account = caller.account
    call = endpoint.read(await request.body(), shop.options)
    now_us = ports.clock.now_us()
    offer = opening.offer(shop, caller, call, endpoint, now_us)  # no price, no call
    need = await opening.size(call, offer, shop.options)
    route = opening.route(shop, call, offer, now_us, only=request.channel)
    ask = opening.ask(call, offer, route)
    opened = opening.record(request.id, shop, caller, call, offer, now_us)
    locks = [purse.id for purse in opened.purses]
    held_micro = await ports.store.write(log.open_call, opened, need.first_micro, need.fit, locks=locks)
    cover = Cover(ports.store, opened, need, held_micro, call.echoed_bytes)
    delivery = Delivery(
        Along(ports.upstream, ports.clock, shop.health, route, opening.limited(ask, call, need, cover), shop.limits),
        Meter(call, offer.card, cover.limit_tokens, need.input_tokens),
        cover,
        StreamWriter(call.kind, call.model, f"chatcmpl-{request.id[5:]}", now_us // 1_000_000),
        deadline_us=now_us + shop.options.call_s_max * 1_000_000,
    )
    shop.under_way.add(delivery.along)
    client.on_left(delivery.along.leave)
    client.begin(opening.headers(call, cover, route), stream=call.stream)
    end = await deliver(ports, call, delivery, endpoint, client)
    error = await ending.settle(ports, opened, offer, delivery.along, delivery.meter, end)  # the hold ends exactly once
    delivery.along.close()
    shop.under_way.discard(delivery.along)
    client.on_left(None)
    if error is not None:
        await client.refuse(error)
    elif call.stream:
        usage = writing.shown_usage(end.usage, end.reported) if call.include_usage else None
        await client.finish(delivery.writer.last(usage))  # the last bytes, after the commit
    else:
        await client.answer(200, delivery.body)


async def deliver(ports: Ports, call: Call, delivery: Delivery, endpoint: Endpoint, client: ClientPort) -> Ending:
    """Carry the answer from the upstream to the customer.

    Never raises: every way a call can end is an Ending with its rule.
    """
    along, meter = delivery.along, delivery.meter
    try:
        async for events in along:
            for number, event in enumerate(events):
                if not await delivery.cover.covers(meter.output_bytes + event.output_bytes):
                    await client.send(delivery.writer.write(events[:number]))
                    return await _cut(delivery, client, Outcome.OUT_OF_MONEY)
                meter.accepted = True
                meter.read(event)
            if call.stream:
                await client.send(delivery.writer.write(events))
            else:
                delivery.body = writing.whole(
                    events[0], kind=call.kind, model=call.model, id=delivery.writer.id,
                    created=delivery.writer.created, body=endpoint.answer(call, events[0]),
                )  # fmt: skip
            if ports.clock.now_us() > delivery.deadline_us:
                return await _cut(delivery, client, Outcome.TOO_LONG)
        along.served()
        outcome = Outcome.LEFT if client.left and call.stream and not along.terminal else Outcome.SERVED
        return await conclude(meter, outcome, along.dialect, terminal=along.terminal)
    except send.Left:
        return await _left(ports, delivery)
    except send.UpstreamRefused as refused:
        return await ending.refused(meter, along, refused.fault)
    except send.UpstreamFailed as failed:
        rule = "R14" if failed.after_output else "R13"
        return Ending(Outcome.FAILED, rule, fault=failed.fault, flags=["after_output"] if failed.after_output else [])
    except send.Halted:
        along.stop()
        return Ending(Outcome.BROKEN, "R15", error="the service stops")
    except FareboxError as trouble:  # the store is away while the hold should grow
        along.stop()
        return Ending(Outcome.BROKEN, "R15", error=trouble.message)
    except Exception as bug:  # ours: free for the customer, loud for us
        along.stop()
        return ending.broken(bug)


async def _cut(delivery: Delivery, client: ClientPort, outcome: Outcome) -> Ending:
    """Stop the answer here: the rest is not covered, or took too long (R07)."""
    along, meter = delivery.along, delivery.meter
    along.stop()
    along.settle_attempt("served", "stopped by us")
    open_choices = [index for index in range(meter.call.choices) if index not in meter.finishes]
    for index in open_choices:
        meter.finishes[index] = "length"
    await client.send(delivery.writer.cut(open_choices))
    end = await conclude(meter, outcome, along.dialect, terminal=True)
    end.flags.append("hold_used_up" if outcome is Outcome.OUT_OF_MONEY else "longest_duration")
    return end


async def _left(ports: Ports, delivery: Delivery) -> Ending:
    """The customer left while we waited: cancel, or read on where the upstream bills the whole (R16 to R19)."""
    along, meter = delivery.along, delivery.meter
    meter.accepted = along.accepted
    end = await conclude(meter, Outcome.LEFT, along.dialect, terminal=along.terminal)
    if along.accepted and meter.call.stream and along.bills_all:
        await ending.read_on(along, meter, end, ports.shop.options.read_on_s)
    along.stop()
    along.settle_attempt("left", "the customer left")
    return end
