"""The mail that a shop has sent, as files in its data folder."""

from __future__ import annotations

import email
import email.policy
import functools
import re
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any


@functools.lru_cache(maxsize=2048)
def _read(path: Path, _written_ns: int) -> tuple[str, EmailMessage]:
    """Whom a mail went to, and the mail: to read one takes longer than to send it."""
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message["To"].addresses[0].addr_spec, message


def mails(shop: Any, to: str) -> list[EmailMessage]:
    """All mails to an address so far, oldest first."""
    read = (_read(path, path.stat().st_mtime_ns) for path in sorted((shop.options.data / "mail").glob("*.eml")))
    return [message for whom, message in read if whom == to]


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
