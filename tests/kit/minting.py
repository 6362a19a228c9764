"""Keys of tests, their terms given as plain arguments."""

from __future__ import annotations

from typing import Any


def issue(
    tx: Any, *, project: str, member: str | None = None, session: str = "", counts_as: str = "", now_us: int, actor: str,
    **terms: Any,
) -> Any:  # fmt: skip
    """A new key and its text, as `keys.issue` makes it."""
    from farebox.accounts.keys import keys
    from farebox.accounts.keys.key_terms import KeyTerms

    return keys.issue(
        tx, KeyTerms(**terms), project=project, member=member, session=session, counts_as=counts_as, now_us=now_us,
        actor=actor,
    )  # fmt: skip


def take_over(
    tx: Any, *, plaintext: str, project: str, member: str | None = None, now_us: int, actor: str, **terms: Any
) -> Any:
    """A key that another system made, as `keys.import_key` takes it over."""
    from farebox.accounts.keys import keys
    from farebox.accounts.keys.key_terms import KeyTerms

    return keys.import_key(
        tx, KeyTerms(**terms), plaintext=plaintext, project=project, member=member, now_us=now_us, actor=actor
    )
