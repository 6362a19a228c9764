"""Mail and webhooks: whether any message was given up."""

from __future__ import annotations

from collections.abc import Iterator

from farebox.kit import db

from .finding import Check, Finding, Look, ok, warning

_NEXT_STEP = {
    "mail": "Look at mail_url and mail_from, and send what mattered again: what a mail said is gone.",
    "webhook": "Tell these customers: their addresses take nothing. The log has a line outbox.failed for each try.",
}


def given_up(look: Look) -> Iterator[Finding]:
    """No message of the last week was given up."""
    del look
    from farebox.kit import outbox

    dead = db.read(outbox.dead)
    for kind, step in _NEXT_STEP.items():
        faults = [fault for its, fault in dead if its == kind]
        if faults:
            yield warning("outbox", f"{len(faults):,} given up of kind {kind}, the last for: {faults[0]}", step)
    if not dead:
        yield ok("outbox", "no mail and no webhook of the last week was given up")


CHECKS: tuple[tuple[str, Check], ...] = (("outbox", given_up),)
