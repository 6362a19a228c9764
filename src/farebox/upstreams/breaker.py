"""One channel's breaker: what the calls of customers raise against it, and what the shop's own call finds.

Customers' calls say that something is wrong; only the shop's own call, the probe, says what is wrong with the channel,
since a request can be made so that an upstream fails at it or refuses it (promises 4.6). Pure: times come from the
caller, nothing is sent from here.
"""

from __future__ import annotations

from typing import Any, Final, Literal

FAILURES_MAX: Final = 5
ACCOUNTS_MIN: Final = 3
CALLED_US: Final = 600_000_000  # who called longer ago than this is not there
PROBE_EVERY_US: Final = 10_000_000
OPEN_FIRST_US: Final = 10_000_000
OPEN_MAX_US: Final = 300_000_000
OPEN_OURS_US: Final = 60_000_000
_KEPT_MAX: Final = 20  # accounts behind one trouble, each with its count
_DOUBTED_MAX: Final = 200

State = Literal["closed", "open", "half_open"]


class Breaker:
    """`closed` (calls pass), `open` (none do) or `half_open` (the probe alone does).

    Five failures in a row of three accounts open it; where fewer called in ten minutes, where the failures are of
    fewer, or where a probe has just contradicted such failures, a failed probe must confirm. So must one that is
    refused, wherever a customer's call was.
    """

    __slots__ = (
        "_contradicted_us", "_doubted", "_failed", "_lately", "_question", "_refused", "_wait_us", "alerted",
        "asked_us", "calls", "confirmed", "failing", "failures", "good", "held", "open_us", "opened", "probing",
        "since_us", "turn", "until_us", "why",
    )  # fmt: skip

    def __init__(self) -> None:
        self.calls = 0
        self.held: dict[str, int] = {}  # of them, how many each account's
        self.failures = 0  # in a row
        self._failed: dict[str, int] = {}  # whose calls these were, and how many
        self._refused: dict[str, int] = {}  # whose calls ended as if we were refused
        self.why = ""
        self.good = ""  # the model there that was answered last
        self.failing = ""  # the model there of the last failure
        self.opened = False
        self.confirmed = False  # a probe has failed since it was thought well of
        self.since_us = self.until_us = 0
        self.open_us = OPEN_FIRST_US
        self.probing = 0
        self.asked_us: int | None = None
        self.turn = 0
        self.alerted: set[str] = set()
        self._question = ""  # the model there of a refused call, until a probe has asked for it
        self._lately: dict[str, int] = {}  # the last accounts that called, and when
        self._doubted: dict[str, int] = {}  # accounts whose troubles a probe did not find, and when
        self._contradicted_us: int | None = None
        self._wait_us = PROBE_EVERY_US

    def state(self, now_us: int) -> State:
        """Whether calls pass."""
        if not self.opened:
            return "closed"
        return "open" if now_us < self.until_us else "half_open"

    @property
    def suspected(self) -> bool:
        """Whether the shop's own call must look what is wrong."""
        return not self.opened and (self.failures >= FAILURES_MAX or bool(self._question))

    @property
    def behind(self) -> dict[str, int]:
        """The accounts whose calls failed or were refused, and how many of each."""
        return self._failed | {name: n + self._failed.get(name, 0) for name, n in self._refused.items()}

    # what customers' calls say

    def called(self, account: str, now_us: int) -> None:
        """A call of this account is being tried."""
        self._lately.pop(account, None)
        self._lately[account] = now_us
        if len(self._lately) > ACCOUNTS_MIN:
            del self._lately[next(iter(self._lately))]

    @property
    def shared(self) -> bool:
        """Whether more than one account has called."""
        return len(self._lately) > 1

    def worked(self, model: str) -> None:
        """A call was answered: what failed in a row before is forgotten."""
        if self.opened:
            return  # begun before it opened: no news of how the upstream is now
        self.good = model
        self.failures = 0
        self._failed = {}
        if self._question in {"", model}:
            self._forget()

    def failed(self, account: str, model: str, why: str, now_us: int) -> bool:
        """A call failed as a channel fails; whether that opened it."""
        if self.opened:
            return False
        self.failures += 1
        self.failing = model
        self._blame(self._failed, account, why)
        sure = self.failures >= FAILURES_MAX and self._sure(now_us)
        if sure:
            self._open(now_us, self.open_us)
        return sure

    def refused(self, account: str, model: str, why: str) -> None:
        """A call ended as if the upstream refused our key, our money or our name for the model: to be looked at."""
        if not self.opened:
            self._question = model
            self._blame(self._refused, account, why)

    # what the probe says

    def asks(self, now_us: int) -> tuple[str, ...] | None:
        """The models there that a probe should ask for, the best first, empty for any; None where none is due."""
        if self.probing or not (self.suspected or self.state(now_us) == "half_open"):
            return None
        known = set(self.behind) <= self._doubted_now(now_us) if self.suspected else False
        gap_us = self._wait_us if known else PROBE_EVERY_US
        if self.asked_us is not None and now_us < self.asked_us + gap_us:
            return None
        names = [self.good, self.failing]
        if self._question and not self.opened:
            names = [self._question]
        elif self.opened and self.turn % 2:  # where all else works, one model that fails must not keep it shut
            names.reverse()
        return tuple(name for name in names if name)

    def ask(self, now_us: int) -> None:
        """A probe begins."""
        self.asked_us = now_us

    def found_well(self, model: str, now_us: int) -> bool:
        """The probe was answered: it closes, and troubles that it did not find count for less; whether it was open."""
        was_open = self.opened
        if (was_open or self.suspected) and not self.confirmed:
            self._contradict(now_us)
        elif was_open:
            self._doubted.clear()
            self._contradicted_us, self._wait_us = None, PROBE_EVERY_US
        self.opened = self.confirmed = False
        self.good = model
        self.open_us = OPEN_FIRST_US
        self._forget()
        return was_open

    def found_down(self, model: str, why: str, now_us: int) -> bool:
        """The probe failed: it opens if calls had failed in a row, and rests twice as long if it was open.

        Whether it opened. Where it was asked whether we are refused, or by an operator's test, it proves nothing.
        """
        if not self.opened and self.failures < FAILURES_MAX:
            return False
        if self.opened:
            self.open_us = min(2 * self.open_us, OPEN_MAX_US)
        return self._confirm(model, why, now_us, self.open_us)

    def found_refusing(self, model: str, why: str, now_us: int) -> bool:
        """The probe was refused as we are: it opens for a minute; whether it was closed."""
        return self._confirm(model, why, now_us, OPEN_OURS_US)

    # inside

    def _blame(self, accounts: dict[str, int], account: str, why: str) -> None:
        self.why = why[:200]
        if account in accounts or len(accounts) < _KEPT_MAX:
            accounts[account] = accounts.get(account, 0) + 1

    def _sure(self, now_us: int) -> bool:
        """Whether customers' failures alone are enough."""
        many = len(self._lately) == ACCOUNTS_MIN and min(self._lately.values()) >= now_us - CALLED_US
        lately = self._contradicted_us is not None and now_us < self._contradicted_us + CALLED_US
        return many and len(self._failed) >= ACCOUNTS_MIN and not lately

    def _doubted_now(self, now_us: int) -> set[str]:
        return {account for account, at_us in self._doubted.items() if now_us < at_us + CALLED_US}

    def _contradict(self, now_us: int) -> None:
        lately = self._contradicted_us is not None and now_us < self._contradicted_us + CALLED_US
        self._wait_us = min(2 * (self._wait_us if lately else PROBE_EVERY_US), OPEN_MAX_US)
        self._contradicted_us = now_us
        for account in self.behind:
            self._doubted.pop(account, None)
            self._doubted[account] = now_us
        while len(self._doubted) > _DOUBTED_MAX:
            del self._doubted[next(iter(self._doubted))]

    def _confirm(self, model: str, why: str, now_us: int, rest_us: int) -> bool:
        self.why = why[:200]
        if not self.opened and self.good not in {"", model}:
            self._question = self.good  # it may be this model alone: the one that was answered last is asked next
            return False
        self.confirmed = True
        opens = not self.opened
        self._open(now_us, rest_us)
        return opens

    def _open(self, now_us: int, rest_us: int) -> None:
        if not self.opened:
            self.since_us = now_us
        self.opened = True
        self._question = ""
        self.until_us = max(self.until_us, now_us + rest_us)

    def _forget(self) -> None:
        self.failures = 0
        self._failed, self._refused = {}, {}
        self._question = self.why = ""

    def fresh(self) -> Breaker:
        """A breaker that knows nothing but the calls under way and when the last probe began."""
        found = Breaker()
        found.calls, found.held, found.probing, found.asked_us = self.calls, self.held, self.probing, self.asked_us
        return found

    def report(self, now_us: int) -> dict[str, Any]:
        """How it is, for metrics and pages.

        `calls` are under way, `failures` in a row, `accounts` those behind it with their counts; `since_us` and
        `until_us` are a rest's; `asked_us` is when the last probe began.
        """
        return {
            "state": self.state(now_us),
            "calls": self.calls,
            "failures": self.failures,
            "why": self.why,
            "accounts": self.behind,
            "suspected": self.suspected,
            "since_us": self.since_us if self.opened else None,
            "until_us": self.until_us if self.opened else None,
            "asked_us": self.asked_us,
        }
