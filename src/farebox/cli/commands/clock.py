"""`farebox clock …`: whether the shop's time is sure, a person's word on it, and a mark that had run ahead."""

from __future__ import annotations

from typing import Any

import click

from farebox.care import ready
from farebox.cli import show, when

from .base import Group, emit, read, write


@click.pass_context
def _alone(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        context.invoke(show_)


clock = Group(
    "clock",
    callback=_alone,
    help="The shop's time: who says that it is right, and what to do if it is not. Without a subcommand it shows them.",
    invoke_without_command=True,
)
COMMANDS = (clock,)
_STATES = {
    "sure": "sure",
    "unproven": "nobody says so: what takes or deletes by time waits. Look at the clock, then `farebox clock confirm`",
    "ahead": "ahead of everybody: the shop takes no calls. Set the clock right, then `farebox clock reset`",
}


@clock.command("show", example="farebox clock show\nfarebox clock show --json")
def show_() -> None:
    """The machine's clock, the newest time in the books, and who else says what time it is."""
    from farebox.care import resetting

    ready.store()
    found = read(resetting.shown)
    emit(found, lambda: _show(found))


@clock.command("confirm", example="farebox clock confirm")
def confirm() -> None:
    """Confirm that the time is right, after a look at a watch: what waits for that continues."""
    done = write("clock.confirm")
    emit(done, lambda: print(f"Noted: it is {when.shown(done['at_us'])} UTC."))


@clock.command("reset", example="farebox clock reset --reason 'the clock ran 100 days ahead for a minute'")
@click.option("--reason", required=True, help="Reason, in one line; the audit trail keeps it.")
@click.option(
    "--trust-clock", is_flag=True, help="You have checked that this machine's clock is right, whatever others say."
)
def reset(reason: str, trust_clock: bool) -> None:
    """Put the newest time in the books back to this machine's clock, after that had run ahead.

    Stop every process first. Credit that expired in the jump is given back, each by a reversal; keys and caps that
    ended in it are listed. After an interruption run it again: it continues.
    """
    from farebox.care import resetting
    from farebox.kit import whoami

    ready.store()
    done = resetting.run(actor=whoami.actor(), reason=reason, trust_clock=trust_clock)
    emit(done, lambda: _show_reset(done))


def _show(found: dict[str, Any]) -> None:
    show.facts(
        [
            ("the time is", _STATES[found["state"]]),
            ("gap", _span(found["ahead_us"])),
            ("this machine's clock (UTC)", when.shown(found["machine_us"])),
            ("newest time in the books", when.shown(found["mark_us"]) if found["mark_us"] else "none yet"),
            ("last sure time", when.shown(found["sure_us"]) if found["sure_us"] else "none yet"),
            ("a reset has begun", "yes: run `farebox clock reset` again" if found["reset_begun"] else "no"),
        ]
    )
    print()
    show.table(
        ("who says", "what time (UTC)"),
        [(each["kind"], when.shown(each["at_us"])) for each in found["witnesses"]],
        empty="Nobody else says what time it is.",
    )


def _span(gap_us: int) -> str:
    """A gap as people say it."""
    from farebox.care.doctor.finding import span

    return span(gap_us // 1_000_000)


def _show_reset(done: dict[str, Any]) -> None:
    from farebox.kit import money

    now, before = when.shown(done["from_us"]), when.shown(done["until_us"])
    print(f"The newest time in the books is {now} UTC again; it was {before}.")
    print()
    show.table(
        ("credit given back", "account", "amount>"),
        [(each["lot"], each["account"], money.exact(each["amount_micro"])) for each in done["lots"]],
        empty="No credit had expired in the jump.",
    )
    for what, names in (
        ("keys that had ended in it and work again", [each["id"] for each in done["keys"]]),
        ("caps that had begun anew in it", done["caps"]),
        ("credit that ends in that time, and is open", [each["id"] for each in done["lots_open"]]),
    ):
        print(f"{what}: {', '.join(names) or 'none'}")
