"""The audit trail: its chain is whole, and holds the heads that were noted elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from farebox.kit import chain, clock

from .finding import Check, Finding, Look, ok, some, warning, wrong

_WORDS = {
    "changed": "seal {n} does not fit: event {event}, or the seal itself, was changed",
    "gone": "event {event} of seal {n} is missing",
    "gap": "seals from {n} are missing",
    "head": "the head noted at {n} is not in the chain: what came before it was changed, or its end was cut off",
}
_COMPARE = "Compare with an earlier backup: somebody wrote to the store past the program."


def chained(look: Look) -> Iterator[Finding]:
    """Every event is what it was when it was sealed (security 7)."""
    from farebox.kit.models import Epoch

    found = chain.verify(
        look.heads, now_us=clock.now_us(), tell=lambda n: look.tell(f"Looking at the audit trail: {n:,} events …")
    )
    bad = [_WORDS[one.kind].format(n=one.n, event=one.event) for one in found.troubles]
    if bad:
        yield wrong("audit trail", f"{found.many:,} wrong: {some(bad)}", _COMPARE)
    elif found.waiting and Epoch.objects.filter(ended_us=None).exists():
        seen = f"{found.waiting:,} events wait for their seal though a process serves"
        yield warning("audit trail", seen, "Look at the log of the server for schedule.failed: it should take seconds.")
    else:
        heads = ", with the heads that were noted" if look.heads else ""
        rest = f"; {found.waiting:,} more are sealed at the next start" if found.waiting else ""
        head = f"; head {found.head}" if found.head.n else ""
        yield ok("audit trail", f"{found.head.n:,} events, the chain is whole{heads}{rest}{head}")


CHECKS: tuple[tuple[str, Check], ...] = (("audit trail", chained),)
