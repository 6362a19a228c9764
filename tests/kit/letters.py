"""Mail that a shop without a mail server has written into its data folder."""

from __future__ import annotations

import email
import email.policy
import re
import time
from email.message import EmailMessage
from typing import Any


def letters(shop: Any, to: str, *, n: int = 1) -> list[EmailMessage]:
    """The mails to this address, oldest first, once there are `n` of them."""
    folder = shop.options.data / "mail"
    found: list[EmailMessage] = []
    for _ in range(400):
        found = [mail for mail in map(_read, sorted(folder.glob("*.eml"))) if mail["To"] == to]
        if len(found) >= n:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{len(found)} of {n} mails to {to} in {folder}")


def count(shop: Any) -> int:
    """How many mails there are."""
    return len(list((shop.options.data / "mail").glob("*.eml")))


def text(mail: EmailMessage) -> str:
    """What it says."""
    return str(mail.get_content())


def link(mail: EmailMessage, part: str) -> str:
    """The path of the first link of a mail that has `part` in it."""
    found = re.search(r"https?://[^/\s]+(\S*" + re.escape(part) + r"\S*)", text(mail))
    assert found, text(mail)
    return found[1]


def _read(path: Any) -> EmailMessage:
    return email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
