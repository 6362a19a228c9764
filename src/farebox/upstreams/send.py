"""Attempts along the route until the first output, then the answer as it comes.

An upstream that fails before it has put out anything is followed by the next candidate (R22); once output has come
there is no second try. A request that may have been accepted and whose status never came is not sent again, since
the upstream may bill both (promises: F11); silence is the exception (F16).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

from farebox.kit import fetch
from farebox.kit.clock import Clock
from farebox.kit.fetch import Exchange, Outgoing
from farebox.protocol import dialects
from farebox.protocol.dialect import Ask, BadAnswer, BadUsage, Dialect, Event, Fault, Reading, StreamReading
from farebox.protocol.stream import NamedSseReader, SseReader, StreamBroken, is_stream

from .board import Candidate
from .health import Health, Slot

T = TypeVar("T")

_ERROR_BYTES_MAX = 65_536
_HELD_BYTES_MAX = 1_048_576  # of events that came before any output
_EVENT_BYTES = 256  # what an event takes beside its payload
_BLANK = b" \t\r\n\xef\xbb\xbf"


_LARGE_BYTES = 256 * 1024  # of a request or an answer: it is put together, or read, where it holds nobody up
_TOO_LARGE = Fault("down", "The upstream's answer is too large.", 502, own=True)


class UpstreamPort(Protocol):
    """What carries requests out; the simulator brings its own."""

    def start(self, outgoing: Outgoing) -> Exchange:
        """Send a request at once; its exchange."""


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """Limits of one call at its upstreams: seconds, bytes of an answer that is not streamed, and of one event."""

    connect_s: float
    first_byte_s: float
    idle_s: float
    answer_bytes_max: int
    read_on_json_s: float
    event_bytes_max: int


@dataclass(slots=True)
class Attempt:
    """One try on a channel. `outcome`: served, failed, refused, left or unknown (sent, and no status came)."""

    candidate: Candidate
    started_us: int
    outcome: str = "failed"
    status: int | None = None
    error: str = ""
    first_byte_us: int | None = None
    ended_us: int = 0


class CustomerLeft(Exception):
    """The customer has left, and the wait for the upstream ended for it."""


class KeyRevoked(Exception):
    """The key has ended, and the call with it."""


class Halted(Exception):
    """The process stops, and the call with it."""


class LastedTooLong(Exception):
    """The call has lasted as long as one may, and output has come."""


class AttemptsFailed(Exception):
    """No answer: every attempt failed, or the one that had put out something broke off (`after_output`)."""

    def __init__(self, fault: Fault, *, after_output: bool) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.after_output = after_output


class UpstreamRefused(Exception):
    """The upstream refuses the request as such, by its form, its length or its content."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class _Next(Exception):
    def __init__(self, fault: Fault, *, again: bool = True) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.again = again


@dataclass(slots=True, eq=False)
class Along:
    """One call's way to its upstreams; iterate over it for the events of its answer, in the batches they came in.

    `account` is whose call it is. `forced` is the shop's own: it takes the channels of the route whatever their
    health, and what it finds is what they are. The whole ends after `last_s` seconds, whatever the
    upstream sends meanwhile; `on_late` is called then. `close` it when the call has ended, in every case.
    `ask_bytes` is about how long the request is; `aside` does work on long ones where it holds up nobody else.
    Raises CustomerLeft, KeyRevoked, Halted, LastedTooLong, AttemptsFailed, UpstreamRefused.
    """

    upstream: UpstreamPort
    clock: Clock
    health: Health
    route: Sequence[Candidate]
    ask: Ask
    limits: UpstreamLimits
    account: str = ""
    forced: bool = False
    last_s: float | None = None
    on_late: Callable[[], None] | None = None
    ask_bytes: int = 0
    aside: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None
    attempts: list[Attempt] = field(default_factory=list)
    accepted: bool = False  # a 2xx has come from the attempt under way
    output: bool = False
    done: bool = False
    left: bool = False
    revoked: bool = False
    halted: bool = False
    overdue: bool = False
    terminal: bool = False  # [DONE] or a finish reason has come
    _exchange: Exchange | None = None
    _source: SseReader | None = None
    _reading: StreamReading | None = None
    _ahead: bytes = b""  # read of the body to see what it is
    _media_bytes: int = 0
    _dialect: Dialect | None = None
    _waiting_on: bool = False
    _timer: asyncio.TimerHandle | None = None
    _deadline: asyncio.TimerHandle | None = None
    _slot: Slot | None = None
    _fault: Fault | None = None  # what came behind the last events

    @property
    def dialect(self) -> Dialect | None:
        """The dialect of the attempt under way, None before the first."""
        return self._dialect

    def reads(self, reported: Any) -> Reading:
        """What a usage reported by the attempt under way means, by its channel's quirks; BadUsage."""
        if self._dialect is None:
            raise BadUsage("Nothing was sent.")
        return self._dialect.usage(reported, self.attempts[-1].candidate.channel.quirks)

    @property
    def bills_all(self) -> bool:
        """Whether the upstream of the attempt under way bills the whole answer of a cancelled call."""
        return bool(self.attempts) and self.attempts[-1].candidate.channel.cancel_billing == "bills_all"

    @property
    def at_fault(self) -> bool:
        """Whether the channel of the attempt under way fails others after output too, or its own probe."""
        if not self.attempts:
            return False
        channel = self.attempts[-1].candidate.channel
        return self.health.at_fault(channel.id, self.account, self.clock.now_us())

    def leave(self) -> None:
        """The customer has left: whatever is waited for ends with Left."""
        self.left = True
        if self._exchange is not None:
            self._exchange.interrupt()

    def revoke(self) -> None:
        """The key has ended: whatever is waited for ends with Revoked."""
        self.revoked = True
        if self._exchange is not None:
            self._exchange.interrupt()

    def halt(self) -> None:
        """The process stops: whatever is waited for ends with Halted."""
        self.halted = True
        if self._exchange is not None:
            self._exchange.interrupt()

    def _too_long(self) -> None:
        """The call has lasted long enough: whatever is waited for ends."""
        self.overdue = True
        if self._exchange is not None:
            self._exchange.interrupt()
        if self.on_late is not None:
            self.on_late()

    def read_on(self, seconds: float) -> None:
        """Continue reading a stream after Left, for `seconds` at most."""
        if self._exchange is not None:
            self._wait_on(self._exchange, seconds)

    def stop(self) -> None:
        """Cancel the attempt under way: the upstream must stop its work."""
        if self._exchange is not None:
            self._exchange.abort()
        self.done = True

    def close(self) -> None:
        """Give the connection back, or close it, which cancels what is not complete; twice is once."""
        if self.attempts and not self.attempts[-1].ended_us:
            self.attempts[-1].ended_us = self.clock.now_us()
        for timer in (self._timer, self._deadline):
            if timer is not None:
                timer.cancel()
        self._timer = self._deadline = None
        if self._exchange is not None:
            self._exchange.release()
            self._exchange = None
        self._give()

    def served(self) -> None:
        """The attempt under way has answered well; its channel is in order."""
        self.settle_attempt("served")
        if self._slot is not None:
            self.health.succeeded(self._slot, self.clock.now_us())

    def rejected(self, why: str) -> AttemptsFailed:
        """The whole answer that came is not what was asked for: the attempt failed."""
        fault = Fault("down", why, 502, own=True)
        self._failed(fault)
        return AttemptsFailed(fault, after_output=False)

    def settle_attempt(self, outcome: str, error: str = "") -> None:
        """Note how the attempt under way ended, if there is one that has not."""
        if self.attempts and not self.attempts[-1].ended_us:
            attempt = self.attempts[-1]
            attempt.outcome = outcome
            attempt.error = error
            attempt.ended_us = self.clock.now_us()

    def __aiter__(self) -> Along:
        return self

    async def __anext__(self) -> list[Event]:
        if self.done:
            raise StopAsyncIteration
        if self._exchange is None:
            return await self._begin()
        try:
            events = await self._events()
        except _Next as failed:
            self._failed(failed.fault)
            if self._slot is not None:
                self.health.broke(self._slot, self.clock.now_us())
            self.stop()
            raise AttemptsFailed(failed.fault, after_output=True) from None
        if not events:
            raise StopAsyncIteration
        return events

    async def _begin(self) -> list[Event]:
        fault = Fault("down", "No channel can take this call now.", 503)
        if self.last_s is not None and self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(self.last_s, self._too_long)
        for candidate in self.route:
            if self.left or self.halted or self.revoked:
                raise self._away()
            self._slot = self.health.take(
                candidate.channel, self.clock.now_us(),
                account=self.account, model=candidate.upstream_model, forced=self.forced,
            )  # fmt: skip
            if self._slot is None:
                fault = Fault("busy", "The upstream has no capacity now.", 503, retry_after_s=1)
                continue
            try:
                return await self._try(candidate)
            except _Next as failed:
                fault = failed.fault
                self._failed(fault)
                self._drop()
                self.accepted = False
                if self.overdue or not failed.again:
                    break
        raise AttemptsFailed(fault, after_output=False)

    async def _try(self, candidate: Candidate) -> list[Event]:
        channel = candidate.channel
        dialect = self._dialect = dialects.DIALECTS[channel.dialect]
        encoded = await self._aside(self.ask_bytes, lambda: dialect.encode(self.ask, channel, candidate.upstream_model))
        limits = self.limits
        attempt = Attempt(candidate, self.clock.now_us())
        self.attempts.append(attempt)
        self.accepted = self.output = self.terminal = self.done = False
        self._fault = None
        exchange = self._exchange = self.upstream.start(
            Outgoing(
                channel.target,
                b"POST",
                encoded.path,
                encoded.headers,
                encoded.body,
                limits.connect_s,
                limits.first_byte_s,
                limits.idle_s,
            )
        )
        if self.left or self.halted or self.revoked or self.overdue:
            exchange.interrupt()
        try:
            response = await self._patient(exchange, exchange.response)
        except fetch.FirstByteTimeout as silence:
            attempt.outcome = "unknown"
            raise _Next(Fault("timeout", silence.reason, 504)) from None
        except fetch.BrokenResponse as broken:
            attempt.outcome = "unknown"
            raise _Next(Fault("down", broken.reason, 502), again=False) from None
        except fetch.FetchError as failure:
            raise _Next(Fault("down", failure.reason, 502)) from None
        except _Next:
            attempt.outcome = "unknown" if exchange.sent else "failed"
            raise
        attempt.status = response.status
        attempt.first_byte_us = self.clock.now_us()
        if response.status != 200:
            await self._refusal(exchange, dialect, response)
        self.accepted = True
        if self.ask.stream:
            bytes_max = channel.quirks.event_bytes_max or limits.event_bytes_max
            self._source = NamedSseReader(bytes_max) if dialect.named else SseReader(bytes_max)
            self._reading = dialect.reader(self.ask)
            self._media_bytes = 0
            if await self._is_whole(exchange, response):
                return await self._whole_instead(exchange, dialect)
            return await self._first_events()
        return [await self._whole(exchange, dialect)]

    async def _refusal(self, exchange: Exchange, dialect: Dialect, response: fetch.Response) -> None:
        body = b""
        try:
            while len(body) < _ERROR_BYTES_MAX and (piece := await self._patient(exchange, exchange.read)):
                body += piece
        except fetch.FetchError:
            pass  # the status says enough
        fault = dialect.error(response.status, response.headers, body)
        if fault.kind in {"request", "context", "policy"}:
            raise self._refused(fault)
        raise _Next(fault)

    async def _is_whole(self, exchange: Exchange, response: fetch.Response) -> bool:
        """Whether a whole answer comes where a stream was asked for: the first bytes tell, then the content type."""
        self._ahead = b""
        while not self._ahead.strip(_BLANK) and (piece := await self._piece(exchange)):
            self._ahead = (self._ahead + piece).lstrip(_BLANK) or self._ahead[:3]
        if is_stream(self._ahead):
            return False
        return self._ahead[:1] in (b"{", b"[") or "json" in response.headers.get("content-type", "")

    async def _piece(self, exchange: Exchange) -> bytes:
        """The next piece of the body, empty at its end."""
        try:
            return await self._patient(exchange, exchange.read)
        except fetch.IdleTimeout as silence:
            raise _Next(Fault("timeout", silence.reason, 504)) from None
        except fetch.FetchError as failure:
            raise _Next(Fault("down", failure.reason, 502)) from None

    async def _body(self, exchange: Exchange) -> list[bytes]:
        """The pieces of the whole body, with what was read of it before."""
        pieces = [self._ahead]
        self._ahead = b""
        size = len(pieces[0])
        while piece := await self._piece(exchange):
            size += len(piece)
            if size > self.limits.answer_bytes_max:
                raise _Next(_TOO_LARGE)
            pieces.append(piece)
        return pieces

    async def _whole(self, exchange: Exchange, dialect: Dialect) -> Event:
        """An answer that is not streamed."""
        body = await self._body(exchange)
        try:
            event = await self._aside(sum(map(len, body)), lambda: dialect.answer(b"".join(body), self.ask))
        except BadAnswer as bad:
            raise _Next(Fault("down", bad.why, 502, own=bad.own)) from None
        self._check(event)
        self.terminal = event.done
        self.done = True
        self.output = bool(event.pieces) or event.visible
        return event

    async def _whole_instead(self, exchange: Exchange, dialect: Dialect) -> list[Event]:
        """The events of a whole answer that came where a stream was asked for; or it is an error object."""
        body = await self._body(exchange)
        size_bytes = sum(map(len, body))
        try:
            payloads = await self._aside(size_bytes, lambda: dialect.chunks(b"".join(body), self.ask))
        except BadAnswer as bad:
            raise _Next(Fault("down", bad.why, 502, own=bad.own)) from None
        events = await self._aside(size_bytes, lambda: self._read(payloads))
        if self._fault is not None:
            raise self._verdict(self._fault)
        self.done = self.terminal = True
        return [*events, *self._closing()]

    async def _first_events(self) -> list[Event]:
        """Events up to the first output: until then nothing is delivered, and another upstream may be tried."""
        held: list[Event] = []
        held_bytes = 0
        while True:
            events = await self._events()
            held += events
            held_bytes += sum(len(event.raw) + _EVENT_BYTES for event in events)
            if self.output or self.done:
                if not self.output and not self.terminal:
                    raise _Next(Fault("down", "The stream ended before any output.", 502))
                return held
            if held_bytes > _HELD_BYTES_MAX:
                raise _Next(Fault("down", "The stream brought too much before any output.", 502, own=True))

    async def _events(self) -> list[Event]:
        """The next events; at the clean end of the body `done` is set, and the list may be empty."""
        exchange, reader = self._exchange, self._source
        assert exchange is not None and reader is not None  # noqa: PT018, S101
        while True:
            if self._fault is not None:
                raise self._verdict(self._fault)
            try:
                data = self._ahead or await exchange.read()
                self._ahead = b""
                payloads = reader.feed(data) if data else reader.end()
            except fetch.Interrupted:
                raise self._away() from None
            except fetch.IdleTimeout as silence:
                raise _Next(Fault("timeout", silence.reason, 504)) from None
            except fetch.FetchError as failure:
                raise _Next(Fault("down", failure.reason, 502)) from None
            except StreamBroken as bad:
                raise _Next(Fault("down", bad.reason, 502, own=True)) from None
            if max(map(len, payloads), default=0) <= _LARGE_BYTES:
                events = self._read(payloads)
            else:
                events = await self._aside(_LARGE_BYTES + 1, partial(self._read, payloads))
            if not data and self._fault is None:
                self.done = True
            if self.done:
                events += self._closing()
            if events or self.done:
                return events

    def _read(self, payloads: Sequence[bytes]) -> list[Event]:
        """The events of these payloads up to the end mark, or up to a fault, which is raised by the next look.

        So what came before a fault is delivered, however the network cut it into pieces.
        """
        reading = self._reading
        assert reading is not None  # noqa: S101
        events: list[Event] = []
        try:
            for event in _events_of(reading, payloads):
                if event.error is not None:
                    self._fault = event.error
                    break
                if event.done:
                    self.done = self.terminal = True
                    break
                if event.media_bytes:
                    self._media_bytes += event.media_bytes
                    if self._media_bytes > self.limits.answer_bytes_max:
                        self._fault = _TOO_LARGE
                        break
                if event.pieces or event.visible:
                    self.output = True
                if event.finishes:
                    self.terminal = True
                events.append(event)
        except BadAnswer as bad:
            self._fault = Fault("down", bad.why, 502, own=bad.own or reading.begun)
        return events

    def _closing(self) -> list[Event]:
        """What the stream lacks at its clean end; where it has said nothing, it has failed."""
        if self._reading is None or not (self.output or self.terminal):
            return []
        return self._reading.close()

    def _check(self, event: Event) -> None:
        if event.error is not None:
            raise self._verdict(event.error)

    def _verdict(self, fault: Fault) -> UpstreamRefused | _Next:
        if fault.kind in {"request", "context", "policy"}:
            return self._refused(fault)
        return _Next(fault)

    def _refused(self, fault: Fault) -> UpstreamRefused:
        self.settle_attempt("refused", f"{fault.kind}: {fault.message}")
        if self._slot is not None:
            self.health.answered(self._slot, self.clock.now_us())
        return UpstreamRefused(fault)

    async def _patient(self, exchange: Exchange, wait: Callable[[], Awaitable[T]]) -> T:
        """Wait; where the customer leaves a call that is not streamed, wait on for a while (R19)."""
        while True:
            try:
                return await wait()
            except fetch.Interrupted:
                ends = self.halted or self.revoked or self.overdue or self._waiting_on
                if ends or self.ask.stream or not exchange.sent:
                    raise self._away() from None
                self._wait_on(exchange, self.limits.read_on_json_s)

    def _away(self) -> Exception:
        """Why the wait was interrupted."""
        if self.halted:
            return Halted()
        if self.revoked:
            return KeyRevoked()
        if self.left:
            return CustomerLeft()
        if self.output:
            return LastedTooLong()
        return _Next(Fault("timeout", "The call has lasted as long as one may.", 504), again=False)

    def _wait_on(self, exchange: Exchange, seconds: float) -> None:
        self._waiting_on = True
        exchange.resume_after_interrupt()
        self._timer = asyncio.get_running_loop().call_later(seconds, exchange.interrupt)

    def _failed(self, fault: Fault) -> None:
        attempt = self.attempts[-1]
        if attempt.outcome != "unknown":
            attempt.outcome = "failed"
        attempt.error = f"{fault.kind}: {fault.message}"
        attempt.ended_us = self.clock.now_us()
        if self._slot is not None:
            self.health.failed(self._slot, fault, attempt.ended_us)

    async def _aside(self, size_bytes: int, work: Callable[[], T]) -> T:
        """Do what takes long with so many bytes elsewhere, if there is such a place."""
        if size_bytes <= _LARGE_BYTES or self.aside is None:
            return work()
        done: T = await self.aside(work)
        return done

    def _drop(self) -> None:
        if self._exchange is not None:
            self._exchange.abort()
            self._exchange = None
        self._give()

    def _give(self) -> None:
        if self._slot is not None:
            self.health.give(self._slot)
            self._slot = None


def _events_of(reading: StreamReading, payloads: Sequence[bytes]) -> Iterator[Event]:
    """The events of payloads, read one at a time: what stands behind the end of a stream is not read."""
    found: Iterator[Any] = map(reading.event, payloads)
    return chain.from_iterable(found) if reading.several else found
