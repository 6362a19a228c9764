"""The mail that a shop has sent, as files in its data folder."""

from __future__ import annotations

import email
import email.policy
import re
import time
from email.message import EmailMessage
from typing import Any


def mails(shop: Any, to: str) -> list[EmailMessage]:
    """All mails to an address so far, oldest first."""
    found = []
    for path in sorted((shop.options.data / "mail").glob("*.eml")):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        if message["To"].addresses[0].addr_spec == to:
            found.append(message)
    return found


def newest(shop: Any, to: str, *, after: int = 0) -> EmailMessage:
    """The newest mail to an address, once there are more than `after`."""
    for _ in range(500):
        if len(found := mails(shop, to)) > after:
            return found[-1]
        time.sleep(0.02)
    raise AssertionError(f"no mail to {to}")


def code(shop: Any, to: str, *, after: int = 0) -> str:
    """The code in it."""
    text = newest(shop, to, after=after).get_content()
    found = re.search(r"^    ([A-Z0-9]{4}-[A-Z0-9]{4})\r?$", text, re.MULTILINE)
    assert found, text
    return found[1]
