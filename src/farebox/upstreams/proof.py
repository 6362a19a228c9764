"""What this room can prove about its own tables; `care` composes the proofs of all rooms."""

from __future__ import annotations

from farebox.catalog import usage
from farebox.kit import refusal, secrets
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.refusal import Refusal
from farebox.upstreams import board, channels
from farebox.upstreams.models import Channel, Offering


def prove(tx: Tx) -> list[Refusal]:  # noqa: ARG001 - the ORM reads in the caller's transaction
    """One sentence for each thing that is wrong with channels, quirks, sealed secrets and costs.

    Whether a secret can be opened needs the master key and is seen when the board is loaded (`Board.broken`).
    """
    found = [
        refusal.of("proof.channel", channel=row.name, why=why)
        for row in Channel.objects.select_related("upstream").order_by("name")
        for why in _faults_of(row)
    ]
    return found + [
        refusal.of("proof.offering", channel=each.channel.name, model=each.model, why=why)
        for each in Offering.objects.select_related("channel").order_by("channel__name", "model")
        for why in _faults_of_costs(each.costs)
    ]


def _faults_of(row: Channel) -> list[str | Refusal]:
    found: list[str | Refusal] = []
    try:
        board.spec(row, lambda _sealed, _id: "")
    except CommandError as fault:
        found.append(fault.reason)
    if row.secret:
        try:
            secrets.sealed_under(row.secret)
        except CommandError:
            found.append("its secret is not a sealed text.")
    if row.state not in channels.STATES:
        found.append(f"its state {row.state!r} does not exist.")
    if row.upstream.cancel_billing not in channels.CANCEL_BILLING:
        found.append(f"cancel_billing {row.upstream.cancel_billing!r} of its upstream does not exist.")
    if row.weight < 0 or row.tier < 0 or row.concurrency_max < 0:
        found.append("tier, weight or concurrent calls are negative.")
    return found


def _faults_of_costs(text: str) -> list[str | Refusal]:
    try:
        costs = board.read_costs(text)
    except CommandError as fault:
        return [fault.reason]
    found: list[str | Refusal] = [f"there is no usage class {name!r}." for name in costs if name not in usage.CLASSES]
    return found + [f"the cost of {name} is negative." for name, cost_micro in costs.items() if cost_micro < 0]
