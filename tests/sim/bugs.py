"""Planted bugs: production functions and statements replaced by wrong ones, to see that the simulator is not blind.

Production code has no hooks for them. Each is a patch by name; `planted(name)` puts it in force and takes it out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from farebox.calls import delivery, once
from farebox.calls import log as records
from farebox.calls import sql as call_sql
from farebox.catalog import factor_fitting
from farebox.catalog.usage import Usage
from farebox.gateway import (
    concluding,
    hold,
    journal,
    judging,
    meter,
    rules_2,
    second_write,
    serve,
    settlement,
    stepped,
)
from farebox.gateway.meter import Conclusion, Outcome
from farebox.kit import clock, epochs, timing
from farebox.kit import sql as kit_sql
from farebox.ledger import allowance, booking, holds
from farebox.ledger import journal as entries
from farebox.ledger import sql as ledger_sql
from farebox.site import node, prober
from farebox.upstreams import breaker, health, send

Put = Callable[[Any, str, Any], None]
BUGS: dict[str, tuple[str, Callable[[Put], None]]] = {}
# What shows in seeds of one family: looked for there, by what must be said of it.
FAMILY = {"lowered-below-what-was-delivered": ("long thoughts", "was lowered to")}


def bug(sentence: str) -> Callable[[Callable[[Put], None]], Callable[[Put], None]]:
    """Enter a bug under the name of its function, with `-` for `_`."""

    def entered(patch: Callable[[Put], None]) -> Callable[[Put], None]:
        BUGS[patch.__name__.replace("_", "-")] = (sentence, patch)
        return patch

    return entered


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """One bug is in force."""
    undone: list[tuple[Any, str, Any]] = []

    def put(owner: Any, attribute: str, wrong: Any) -> None:
        undone.append((owner, attribute, getattr(owner, attribute)))
        setattr(owner, attribute, wrong)

    BUGS[name][1](put)
    try:
        yield
    finally:
        for owner, attribute, right in reversed(undone):
            setattr(owner, attribute, right)


# placing


@bug("the money is looked at first and taken in another transaction, without a condition")
def check_then_act_hold(put: Put) -> None:
    right = hold.place

    async def place(ports: Any, opened: Any, need: Any) -> int:
        await ports.store.read(holds.balance, opened.account)
        return await right(ports, opened, need)

    put(hold, "place", place)
    put(ledger_sql, "TAKE", "UPDATE ledger_ledgeraccount SET held_micro = held_micro + %s WHERE id = %s AND %s >= 0")


@bug("a process whose epoch was ended goes on holding money")
def hold_of_an_ended_epoch(put: Put) -> None:
    put(ledger_sql, "OPEN_HOLD", ledger_sql.OPEN_HOLD.replace("AND ended_us IS NOT NULL", "AND ended_us < 0"))


@bug("after a commit of unknown outcome the hold is placed again")
def hold_placed_twice(put: Put) -> None:
    right = holds.place

    def place(tx: Any, **facts: Any) -> int:
        again, tx.again = tx.again, False
        try:
            return right(tx, **facts)
        finally:
            tx.again = again

    put(holds, "place", place)


@bug("a hold that grows takes the money and does not note it")
def extension_not_recorded(put: Put) -> None:
    put(
        ledger_sql,
        "GROW_HOLD",
        "UPDATE ledger_hold SET amount_micro = amount_micro + 0 * %s WHERE id = %s AND state = 'open'",
    )


@bug("an idempotency key is ignored")
def idempotency_key_ignored(put: Put) -> None:
    put(once, "check", lambda tx, *, key, call, now_us: call)


@bug("an idempotency key is free while its call runs")
def key_freed_while_running(put: Put) -> None:
    right = once._is_free
    put(once, "_is_free", lambda tx, call: once._is_open(tx, call) or right(tx, call))


@bug("a hold is lowered without a look at what was delivered")
def lowered_below_what_was_delivered(put: Put) -> None:
    right = stepped.Stepped._lower

    async def lower(self: Any) -> None:
        self.hidden_tokens, self._now_bytes = 0, -2 * self.need.step_tokens
        await right(self)

    put(stepped.Stepped, "_lower", lower)


# settling


@bug("a hold that has ended can be settled")
def unguarded_settle(put: Put) -> None:
    put(ledger_sql, "END_HOLD", ledger_sql.END_HOLD.replace("AND state = 'open'", ""))
    right = holds.settle

    def settle(tx: Any, *, hold: str, charge_micro: int, **facts: Any) -> Any:
        tx.execute("UPDATE ledger_hold SET state = 'open', charge_micro = NULL, ended_us = NULL WHERE id = %s", (hold,))
        return right(tx, hold=hold, charge_micro=charge_micro, **facts)

    put(holds, "settle", settle)


@bug("a charge has one posting")
def one_legged_entry(put: Put) -> None:
    put(
        ledger_sql,
        "WRITE_TWO_POSTINGS",
        "INSERT INTO ledger_posting (id, entry_id, account, amount_micro) SELECT %s, %s, %s, %s WHERE %s || %s || %s <> %s",
    )


@bug("jobs that take money by time run on a leaping clock")
def jobs_on_a_leaping_clock(put: Put) -> None:
    put(timing.Keeper, "sure", lambda keeper, now_us: True)


@bug("usage that is reported more than once is summed")
def usage_summed(put: Put) -> None:
    right = meter.believed

    def believed(of: Any, reads: Any) -> Any:
        found = right(of, reads)
        if found.usage is None:
            return found
        times = len(of.reports)
        return found._replace(usage=Usage(**{name: units * times for name, units in found.usage.items()}))

    put(meter, "believed", believed)
    judges = judging.judge

    def judge(of: Any, reads: Any) -> Any:
        found, times = judges(of, reads), len(of.reports)
        if not found.both:
            return found
        sides = ({name: units * times for name, units in side.items()} for side in (found.input, found.output))
        given, came = (Usage(**side) for side in sides)
        return found._replace(input=given, output=came)

    put(judging, "judge", judge)
    put(rules_2, "judge", judge)


@bug("the prompt of a failed call is billed")
def failed_prompt_billed(put: Put) -> None:
    async def failed(meter: Any, along: Any, failure: Any, *, unread: bool = False) -> Conclusion:
        rule = "R11" if failure.after_output else "R17"
        return Conclusion(Outcome.FAILED, rule, usage=Usage(input=9), source="counted", fault=failure.fault)

    put(concluding, "failed", failed)


@bug("a call that broke off after output is charged for it")
def charge_after_a_break(put: Put) -> None:
    right = concluding.failed

    async def failed(meter: Any, along: Any, failure: Any, *, unread: bool = False) -> Conclusion:
        end = await right(meter, along, failure, unread=unread)
        if failure.after_output:
            end.rule, end.usage, end.source, end.outcome = "R11", Usage(input=9, output=9), "counted", Outcome.SERVED
        return end

    put(concluding, "failed", failed)


@bug("a failed call's hold is forgotten")
def leak_on_error(put: Put) -> None:
    right = settlement.settle

    async def settle(ports: Any, opened: Any, cover: Any, along: Any, of: Any, end: Any) -> Any:
        if end.outcome is Outcome.FAILED:
            return settlement._error(opened, end)
        return await right(ports, opened, cover, along, of, end)

    put(settlement, "settle", settle)


@bug("a settlement that is repeated charges again")
def double_settle_on_repeat(put: Put) -> None:
    right = holds._ended

    def ended(tx: Any, hold: str, found: Any) -> Any:
        done = right(tx, hold, found)
        if done.repeated and done.charge_micro:
            account = str(found[3]).split()[0]
            entries.write_charge(
                tx, account=account, ref=f"{hold}.again", currency="USD", amount_micro=done.charge_micro, at_us=1
            )
            tx.execute(ledger_sql.PAY, (0, done.charge_micro, account, 0))
        return done

    put(holds, "_ended", ended)


@bug("a repeat of a settlement takes its own earlier one for somebody else's")
def settled_without_again(put: Put) -> None:
    right = settlement._write

    async def write(ports: Any, *facts: Any) -> int:
        store = ports.store

        class Forgets:
            alone = store.alone

            async def write(self, *args: Any, again: bool = False, **more: Any) -> Any:
                return await store.write(*args, **more)

        class Other:
            clock, shop, journal = ports.clock, ports.shop, ports.journal

        other: Any = Other()
        other.store = Forgets()
        return await right(other, *facts)

    put(settlement, "_write", write)


@bug("a charge above the hold is booked without stretching the hold")
def settle_above_the_hold(put: Put) -> None:
    put(holds, "_stretch", lambda tx, hold, purses, currency, missing_micro: 0)


@bug("a cap is not given back what the call held")
def cap_not_given_back(put: Put) -> None:
    right = holds.settle

    def settle(tx: Any, *, purses: Any, **facts: Any) -> Any:
        return right(tx, purses=[purse for purse in purses if purse.cap_micro is None], **facts)

    put(holds, "settle", settle)


@bug("a cap does not count what the call cost")
def cap_not_charged(put: Put) -> None:
    put(
        ledger_sql,
        "PAY",
        "UPDATE ledger_ledgeraccount SET held_micro = held_micro - %s, posted_micro = posted_micro -"
        " CASE WHEN kind = 'memo' THEN 0 ELSE %s END WHERE id = %s AND held_micro >= %s",
    )


@bug("the price of the end is charged, not that of the hold")
def price_of_the_end(put: Put) -> None:
    right = settlement._call_end

    async def call_end(ports: Any, opened: Any, cover: Any, *rest: Any) -> Any:
        now = ports.shop.shelf.current.offer(opened.model, opened.price_list, ports.clock.now_us())
        if now is not None:
            cover.need.offer = now
        return await right(ports, opened, cover, *rest)

    put(settlement, "_call_end", call_end)


# the last byte


@bug("the last byte goes out before the settlement")
def last_byte_before_settle(put: Put) -> None:
    right = settlement.settle

    async def settle(*facts: Any) -> Any:
        import asyncio

        asyncio.get_running_loop().create_task(right(*facts))
        return settlement._error(facts[1], facts[5])

    put(settlement, "settle", settle)


@bug("the journal is not synced before the last byte")
def journal_not_synced(put: Put) -> None:
    async def keep(self: Any, opened: Any, ended: Any, unlisted: str) -> None:
        import asyncio

        entry = journal.WaitingSettlement(opened, ended, unlisted)
        self.waiting.append(entry)
        asyncio.get_running_loop().create_task(self._log.append([journal._encoder.encode(entry)]))

    put(journal.Journal, "keep", keep)


@bug("an answer is marked as delivered with its settlement")
def mark_before_the_body(put: Put) -> None:
    right = second_write.end_call

    def end_call(tx: Any, opened: Any, ended: Any, *more: Any) -> Any:
        receipt = right(tx, opened, ended, *more)
        delivery.mark(tx, [opened.id], now_us=ended.ended_us)
        return receipt

    put(second_write, "end_call", end_call)
    put(settlement, "end_call", end_call)


@bug("after output another upstream is tried")
def retry_after_output(put: Put) -> None:
    right = send.Along.__anext__

    async def following(self: Any) -> Any:
        try:
            return await right(self)
        except send.AttemptsFailed as failed:
            if not failed.after_output or len(self.route) < 2:
                raise
            self.route = self.route[1:]
            self._drop()
            self.done = self.accepted = False
            return await self._begin()

    put(send.Along, "__anext__", following)


@bug("a revoked key does not cut its calls")
def revoked_key_not_cut(put: Put) -> None:
    async def cut(self: Any) -> None:
        """Look away."""

    put(node.Node, "_cut_revoked", cut)


# what the dead left


@bug("nobody ends the holds of the dead")
def no_sweeper(put: Put) -> None:
    async def expire(self: Any, epoch: str) -> None:
        """Look away."""

    put(node.Node, "_expire", expire)


@bug("the holds of the dead are charged in full")
def sweeper_charges_the_hold(put: Put) -> None:
    def expire(tx: Any, *, epoch: str, now_us: int, at_most: int = 500) -> list[str]:
        expired = []
        for name, joined, amount_micro in tx.all(ledger_sql.OPEN_HOLDS_OF_EPOCH, (epoch, at_most)):
            purses = [holds.Purse(each, None if each.startswith("acc") else 0) for each in str(joined).split()]
            holds.settle(tx, hold=name, purses=purses, currency="USD", charge_micro=amount_micro, now_us=now_us)
            expired.append(str(name))
        return expired

    put(holds, "expire", expire)
    put(
        call_sql,
        "CLOSE_EXPIRED",
        "UPDATE calls_call SET ended_us = %s, outcome = 'left', rule = 'R18', charge_micro = hold_micro,"
        " flags = 'expired' WHERE id <> %s AND id = %s AND outcome = 'open'",
    )


@bug("expiry does not look whether the node lives")
def expire_ignores_living_lease(put: Put) -> None:
    put(epochs, "ended_us", lambda tx, epoch: 0)


@bug("holds expire without grace")
def expire_without_grace(put: Put) -> None:
    right = epochs.ended_us

    def ended_us(tx: Any, epoch: str) -> int | None:
        return None if right(tx, epoch) is None else 0

    put(epochs, "ended_us", ended_us)


@bug("a clock ends a lease, not missed heartbeats")
def clock_ends_a_lease(put: Put) -> None:
    def tick(self: Any, tx: Any, *, own: str, now_us: int) -> Any:
        ended = []
        for epoch, beats, seen_us in tx.all("SELECT id, beats, seen_us FROM kit_epoch WHERE ended_us IS NULL"):
            if epoch != own and now_us - seen_us > 8_000_000:
                tx.execute(kit_sql.END_EPOCH, (now_us, "late", epoch, beats))
                ended.append(epoch)
        return ended, {}

    put(epochs.Observer, "tick", tick)


@bug("the dead are expired before their journal is replayed")
def expire_before_replay(put: Put) -> None:
    right = node.Node.begin

    async def begin(self: Any) -> None:
        inherited, self._journal.waiting = self._journal.waiting, type(self._journal.waiting)()
        await right(self)
        self._journal.waiting = inherited

    put(node.Node, "begin", begin)


@bug("the journal is replayed as if nothing of it had been written before")
def replayed_without_again(put: Put) -> None:
    right = journal.Journal._settle

    async def settle(self: Any, store: Any, entry: Any) -> Any:
        class Forgets:
            async def write(self, *args: Any, again: bool = False, **more: Any) -> Any:
                return await store.write(*args, **more)

        return await right(self, Forgets(), entry)

    put(journal.Journal, "_settle", settle)


@bug("nothing is given back for answers that never left")
def no_refund(put: Put) -> None:
    async def refund(self: Any, epoch: str, from_us: int) -> None:
        """Look away."""

    put(node.Node, "_refund", refund)


@bug("a refund is given as often as it is asked for")
def refund_twice(put: Put) -> None:
    put(call_sql, "UNDELIVERED", call_sql.UNDELIVERED.replace("AND flags NOT LIKE '%%refunded'", ""))
    put(ledger_sql, "FIND_ENTRY", ledger_sql.FIND_ENTRY.replace("ref = %s", "ref = %s AND kind <> 'refund'"))
    right = entries.post
    given: list[int] = [0]

    def post(tx: Any, *, kind: str, ref: str, **facts: Any) -> str:
        given[0] += 1
        return right(tx, kind=kind, ref=f"{ref}.{given[0]}" if kind == "refund" else ref, **facts)

    put(entries, "post", post)


@bug("people may give back more than a call was charged")
def refund_by_hand_unchecked(put: Put) -> None:
    put(booking, "check_refund", lambda *facts, **more: None)


@bug("what people gave back of a call is given back once more by a restart")
def refund_after_a_hand(put: Put) -> None:
    right = holds.refund

    def refund(tx: Any, **facts: Any) -> int:
        looked_at, entries.given_by_hand_micro = entries.given_by_hand_micro, lambda tx, account, call: 0
        try:
            return right(tx, **facts)
        finally:
            entries.given_by_hand_micro = looked_at

    put(holds, "refund", refund)


@bug("streams whose text was delivered are given back too")
def refund_of_a_stream(put: Put) -> None:
    put(call_sql, "UNDELIVERED", call_sql.UNDELIVERED.replace("NOT stream", "1 = 1"))


@bug("a call that failed while the store was away is forgotten")
def not_voided_later(put: Put) -> None:
    put(settlement, "void_later", lambda *facts: None)
    put(hold, "void_later", lambda *facts: None)


@bug("a call that left before anything was accepted pays its prompt")
def early_leaver_billed(put: Put) -> None:
    right = meter.conclude

    async def conclude(of: Any, outcome: Any, dialect: Any, *, terminal: bool) -> Conclusion:
        end = await right(of, outcome, dialect, terminal=terminal)
        if end.rule == "R16":
            return Conclusion(outcome, "R17", Usage(input=9), "counted")
        return end

    put(meter, "conclude", conclude)
    put(serve, "conclude", conclude)
    put(concluding, "conclude", conclude)


# what is forgiven (promises 4.5)


def _unguarded(put: Put) -> None:
    """The row of an allowance is moved whatever it has become since it was read."""
    guard = "AND drawn_micro = %s AND grown_micro = %s AND charged_micro = %s"
    put(ledger_sql, "MOVE_ALLOWANCE", ledger_sql.MOVE_ALLOWANCE.replace(guard, "AND %s + %s + %s >= 0"))


@bug("what breaks off is forgiven, and nothing is drawn for it")
def forgiven_and_not_drawn(put: Put) -> None:
    right = rules_2.broke

    async def broke(*facts: Any, draws: bool) -> Conclusion:
        return await right(*facts, draws=False)

    put(rules_2, "broke", broke)


@bug("what an account may be forgiven is read when its call begins, before its lock")
def allowance_read_before_the_lock(put: Put) -> None:
    known: dict[str, Any] = {}
    opens, forgives = records.open_call, records._forgive

    def open_call(tx: Any, call: Any, *facts: Any) -> int:
        if call.allowance is not None:
            known[call.id] = allowance.at_settlement(tx, call.account, call.currency, call.allowance)
        return opens(tx, call, *facts)

    def forgive(tx: Any, call: Any, ended: Any) -> Any:
        right = allowance.at_settlement
        allowance.at_settlement = lambda *facts: known.get(call.id) or right(*facts)
        try:
            return forgives(tx, call, ended)
        finally:
            allowance.at_settlement = right

    put(records, "open_call", open_call)
    put(records, "_forgive", forgive)
    _unguarded(put)


@bug("two members of a commit group both see what an account had before the first of them")
def allowance_read_once_a_group(put: Put) -> None:
    right, group = allowance.at_settlement, dict[str, Any]()
    last: list[Any] = [None]

    def read(tx: Any, account: str, *facts: Any) -> Any:
        if tx is not last[0]:
            last[0] = tx
            group.clear()
        if group.get(account) is None:
            group[account] = right(tx, account, *facts)
        return group[account]

    put(allowance, "at_settlement", read)
    _unguarded(put)


@bug("the factors of own counts are learned from calls, whoever made them")
def factors_of_one_account(put: Put) -> None:
    right = factor_fitting.fit

    def fit(samples: Any) -> Any:
        return right([each._replace(account=f"{each.account}.{number}") for number, each in enumerate(samples)])

    put(factor_fitting, "fit", fit)


@bug("an allowance grows with money that was given")
def growth_of_granted_money(put: Put) -> None:
    put(ledger_sql, "READ_ALLOWANCE_AND_PAID", ledger_sql.READ_ALLOWANCE_AND_PAID.replace("EXISTS", "TRUE OR EXISTS"))


@bug("a charge that is given back leaves what was drawn for it")
def draw_kept_by_a_refund(put: Put) -> None:
    put(allowance, "give_back", lambda tx, hold: 0)


@bug("what is above the hold is forgiven, and nothing is drawn for it")
def short_not_drawn(put: Put) -> None:
    right = allowance.book

    def book(*facts: Any, short_micro: int, **more: Any) -> int:
        return right(*facts, short_micro=0, **more)

    put(allowance, "book", book)


# blame


@bug("failures are counted, whoever has them")
def failures_without_accounts(put: Put) -> None:
    put(breaker.Breaker, "_sure", lambda self, now_us: True)


@bug("the probe of a half-open breaker is the next customer's call")
def probe_by_a_customer(put: Put) -> None:
    right = health.Health.take

    def due(self: Any, channel: Any, now_us: int) -> bool:
        return self.state(channel.id, now_us) == "half_open" and not self._of(channel.id).probing

    def take(self: Any, channel: Any, now_us: int, *, forced: bool = False, **facts: Any) -> Any:
        return right(self, channel, now_us, forced=forced or due(self, channel, now_us), **facts)

    def usable(self: Any, channel: Any) -> bool:
        return not self._of(channel.id).opened or due(self, channel, clock.SYSTEM.now_us())

    async def probe(self: Any) -> None:
        """Leave it to the customers."""

    put(health.Health, "take", take)
    put(health.Health, "usable", usable)
    put(prober.Prober, "probe", probe)


@bug("a customer's refusal closes a channel by itself")
def refusal_unconfirmed(put: Put) -> None:
    def refused(self: Any, account: str, model: str, why: str) -> None:
        self._open(clock.SYSTEM.now_us(), breaker.OPEN_OURS_US)

    put(breaker.Breaker, "refused", refused)


@bug("a probe follows the other without a pause")
def probes_without_a_pause(put: Put) -> None:
    put(breaker, "PROBE_EVERY_US", 0)
