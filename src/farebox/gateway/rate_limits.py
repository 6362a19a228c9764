"""Limits per minute and of concurrent calls, in the memory of this node: all scopes of a call pass, or none counts it.

A window is exact: of any 60 seconds none has more calls than the limit says. Tokens count as reserved while a call runs
and as used for a minute after it has ended. A limit that changes holds for the next call, whatever went before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from farebox.accounts.keys.pace import Pace
from farebox.kit.errors import RateLimited

MINUTE_US = 60_000_000
BYTES_PER_TOKEN = 3  # between English (4) and Chinese (2 to 3); the real usage corrects it
_SECOND_US = 1_000_000


@dataclass(slots=True)
class Window:
    """What one key, member, project or account does: calls under way, begun and ended within the last minute."""

    running: int = 0
    begun_us: deque[int] = field(default_factory=deque)
    reserved_tokens: int = 0
    used: deque[tuple[int, int]] = field(default_factory=deque)  # (when the call ended, tokens)
    used_tokens: int = 0

    def trim(self, now_us: int) -> None:
        """Forget what is a minute old."""
        while self.begun_us and self.begun_us[0] <= now_us - MINUTE_US:
            self.begun_us.popleft()
        while self.used and self.used[0][0] <= now_us - MINUTE_US:
            self.used_tokens -= self.used.popleft()[1]

    def idle(self, now_us: int) -> bool:
        """Whether nothing is left to remember."""
        self.trim(now_us)
        return not (self.running or self.begun_us or self.used)

    def wait_for_call_us(self, rpm: int, now_us: int) -> int:
        """How long until one call more may begin; 0 is now."""
        if len(self.begun_us) < rpm:
            return 0
        return self.begun_us[len(self.begun_us) - rpm] + MINUTE_US - now_us

    def wait_for_tokens_us(self, tpm: int, tokens: int, now_us: int) -> int:
        """How long until so many tokens fit, as far as that is known: calls under way may end later. 0 is now."""
        over = self.reserved_tokens + self.used_tokens + tokens - tpm
        if over <= 0:
            return 0
        wait_us = _SECOND_US
        for ended_us, gone in self.used:
            wait_us = max(wait_us, ended_us + MINUTE_US - now_us)
            over -= gone
            if over <= 0:
                break
        return wait_us


class Seat:
    """One call's place in its scopes, left at the end of the `with`, however that comes."""

    __slots__ = ("_admitted_us", "_held", "_used")

    def __init__(self, held: Sequence[tuple[Window, Pace, int]], admitted_us: int) -> None:
        self._held = held
        self._admitted_us = admitted_us
        self._used: tuple[int, int] | None = None

    def used(self, tokens: int, now_us: int) -> None:
        """What the call really used: it counts for a minute from `now_us` on, in place of what was reserved."""
        if self._held:
            self._used = (now_us, tokens)

    def headers(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """`headers`, and with them what is left of the tightest limits."""
        if self._held:
            headers += _headers([(pace, scope) for scope, pace, _ in self._held], self._admitted_us)
        return headers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        for scope, _, tokens in self._held:
            scope.running -= 1
            scope.reserved_tokens -= tokens
            if self._used is not None and self._used[1]:
                scope.used.append(self._used)
                scope.used_tokens += self._used[1]


_FREE = Seat((), 0)


class Rates:
    """What the limited scopes of this node are doing."""

    __slots__ = ("_scopes", "_sweep_us")

    def __init__(self) -> None:
        self._scopes: dict[str, Window] = {}
        self._sweep_us = 0

    def __len__(self) -> int:
        return len(self._scopes)

    def admit(self, paces: Sequence[Pace], input_tokens: int, output_tokens: int, now_us: int) -> Seat:
        """A seat for a call that may use so many tokens; RateLimited, and nothing is counted, where a limit forbids it.

        Of the output no more is reserved than fits beside the input: a small limit must not forbid every call.
        """
        if not paces:
            return _FREE
        if now_us >= self._sweep_us:
            self._sweep(now_us)
        held = []
        for pace in paces:
            scope = self._scopes.get(pace.scope)
            if scope is None:
                scope = self._scopes[pace.scope] = Window()
            scope.trim(now_us)
            tokens = input_tokens + output_tokens
            if pace.tpm is not None:
                tokens = max(input_tokens, min(tokens, pace.tpm))
            held.append((scope, pace, tokens))
        for scope, pace, tokens in held:
            _check(scope, pace, tokens, held, now_us)
        for scope, _, tokens in held:
            scope.running += 1
            scope.begun_us.append(now_us)
            scope.reserved_tokens += tokens
        return Seat(held, now_us)

    def _sweep(self, now_us: int) -> None:
        """Forget who was idle for a minute, once a minute."""
        self._sweep_us = now_us + MINUTE_US
        for name in [name for name, scope in self._scopes.items() if scope.idle(now_us)]:
            del self._scopes[name]


def tokens(*, text_bytes: int, input_tokens: int, bound_tokens: int) -> int:
    """The input tokens to reserve: token arrays as they are, texts by their bytes, and what the bound has beside."""
    if input_tokens:
        return input_tokens + text_bytes // BYTES_PER_TOKEN
    return max(0, bound_tokens - text_bytes) + text_bytes // BYTES_PER_TOKEN


def _check(scope: Window, pace: Pace, tokens: int, held: Sequence[tuple[Window, Pace, int]], now_us: int) -> None:
    whose = f"{pace.kind} `{pace.said or pace.scope}`"
    limits = [(each, of) for of, each, _ in held]
    if pace.concurrency is not None and scope.running >= pace.concurrency:
        raise RateLimited(
            f"Rate limit reached for calls at once of {whose}: Limit {pace.concurrency}, Used {scope.running}, "
            "Requested 1. Please try again when one has ended.",
            more=_headers(limits, now_us),
        )
    if pace.rpm is not None:
        wait_us = scope.wait_for_call_us(pace.rpm, now_us)
        if wait_us > 0:
            raise RateLimited(
                f"Rate limit reached for requests per min (RPM) of {whose}: Limit {pace.rpm}, Used "
                f"{len(scope.begun_us)}, Requested 1. Please try again in {_span(wait_us)}.",
                retry_after_s=_whole_s(wait_us),
                more=_headers(limits, now_us),
            )
    if pace.tpm is not None:
        if tokens > pace.tpm:
            raise RateLimited(
                f"Request too large for tokens per min (TPM) of {whose}: Limit {pace.tpm}, Requested {tokens}. "
                "The input must be reduced in order to run, or the limit raised.",
                retry_after_s=None,
                more=_headers(limits, now_us),
            )
        wait_us = scope.wait_for_tokens_us(pace.tpm, tokens, now_us)
        if wait_us > 0:
            raise RateLimited(
                f"Rate limit reached for tokens per min (TPM) of {whose}: Limit {pace.tpm}, Used "
                f"{scope.used_tokens + scope.reserved_tokens}, Requested {tokens}. Please try again in "
                f"{_span(wait_us)}.",
                retry_after_s=_whole_s(wait_us),
                more=_headers(limits, now_us),
            )


def _headers(limits: Sequence[tuple[Pace, Window]], now_us: int) -> list[tuple[str, str]]:
    """What is left of the tightest limit of calls and of tokens, and when it is whole again."""
    out = []
    calls = [(max(0, pace.rpm - len(of.begun_us)), pace.rpm, of) for pace, of in limits if pace.rpm is not None]
    if calls:
        left, limit, of = min(calls, key=lambda each: each[0])
        last_us = of.begun_us[-1] if of.begun_us else now_us - MINUTE_US
        out += _header("requests", limit, left, last_us + MINUTE_US - now_us)
    texts = [
        (max(0, pace.tpm - of.used_tokens - of.reserved_tokens), pace.tpm, of)
        for pace, of in limits
        if pace.tpm is not None
    ]
    if texts:
        left, limit, of = min(texts, key=lambda each: each[0])
        whole_us = MINUTE_US if of.reserved_tokens else of.used[-1][0] + MINUTE_US - now_us if of.used else 0
        out += _header("tokens", limit, left, whole_us)
    return out


def _header(what: str, limit: int, left: int, whole_us: int) -> list[tuple[str, str]]:
    return [
        (f"x-ratelimit-limit-{what}", str(limit)),
        (f"x-ratelimit-remaining-{what}", str(left)),
        (f"x-ratelimit-reset-{what}", _span(whole_us)),
    ]


def _span(us: int) -> str:
    """A time as OpenAI writes it: `250ms`, `20s`, `1m0s`."""
    if us < _SECOND_US:
        return f"{max(0, -(-us // 1000))}ms"
    minutes, seconds = divmod(_whole_s(us), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _whole_s(us: int) -> int:
    return max(1, -(-us // _SECOND_US))
