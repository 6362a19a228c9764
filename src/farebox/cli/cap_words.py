"""Caps as people type them on a command line, `5.00/day`, and as they read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from farebox.kit import money

from . import when

PERIODS = ("day", "month", "ever")
HELP = "What calls may cost, such as 5.00/day, 50/month or 200/ever; may be given again."
_WORDS = {"day": "a day", "month": "a month", "ever": "in all"}


def read(texts: Sequence[str]) -> dict[str, int | None]:
    """Micro-units by period: of `5.00/day`, of `none/day`, which lifts that limit, or of `none`, which lifts all.

    Raises a usage error for anything else.
    """
    if list(texts) == ["none"]:
        return dict.fromkeys(PERIODS)
    caps_micro: dict[str, int | None] = {}
    for text in texts:
        amount, _, period = text.partition("/")
        if period not in PERIODS:
            raise click.UsageError(f"{text[:40]!r} is not a cap. Write 5.00/day, 50/month or 200/ever, or none/day.")
        if period in caps_micro:
            raise click.UsageError(f"There are two caps for {period!r}. Give one.")
        caps_micro[period] = None if amount == "none" else when.amount(amount)
    return caps_micro


def shown(caps_micro: Mapping[str, int | None]) -> str:
    """Caps in words: `5.00 a day, 50.00 a month`; `–` for none."""
    said = [
        f"{money.text(amount_micro)} {_WORDS[period]}"
        for period, amount_micro in caps_micro.items()
        if amount_micro is not None
    ]
    return ", ".join(said) or "–"
