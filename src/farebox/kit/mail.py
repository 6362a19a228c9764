"""Mail: by SMTP where `mail_url` says so, else one .eml file each in the data folder, to be read by a person."""

from __future__ import annotations

import os
import smtplib
import ssl
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr, formatdate, parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.mail.backends.base import BaseEmailBackend

from . import db, outbox
from .errors import CommandError
from .options import Options

PATIENCE_S = 20
_PORTS = {"smtp": 587, "smtps": 465}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class MailRefused(CommandError):
    """The mail server will never take this one: no such address, for instance."""


class Backend(BaseEmailBackend):
    """Django's door to the outbox: what is sent inside a transaction leaves with its commit."""

    def send_messages(self, email_messages: Any) -> int:
        """Put each into the outbox, once per address; how many messages."""
        for message in email_messages:
            for to in message.recipients():
                facts = {"to": to, "subject": str(message.subject), "text": str(message.body)}
                db.write_or_join(outbox.mail, **facts)
        return len(email_messages)


def compose(options: Options, payload: Mapping[str, Any], *, ident: str) -> EmailMessage:
    """The mail itself; headers are encoded by the library, which refuses line breaks in them."""
    name, address = parseaddr(sender(options))
    made = EmailMessage(policy=SMTP)
    made["From"] = Address(display_name=name, addr_spec=address)
    made["To"] = Address(addr_spec=payload["to"])
    made["Subject"] = payload["subject"]
    made["Date"] = formatdate()
    made["Message-ID"] = f"<{ident}@{address.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(payload["text"])
    return made


def sender(options: Options) -> str:
    """Who sends: `mail_from`, or the shop at its own host."""
    if options.mail_from:
        return str(options.mail_from)
    host = urlsplit(options.origin).hostname or "localhost"
    return formataddr((options.shop_name, f"noreply@{'localhost' if host in _LOOPBACK else host}"))


def send(options: Options, payload: Mapping[str, Any], *, ident: str) -> None:
    """Send one mail, or write its file; Refused where it will never do, OSError or SMTPException to try again."""
    try:
        mail = compose(options, payload, ident=ident)
    except (ValueError, IndexError) as fault:
        raise MailRefused(f"This can be no mail: {fault}.") from None
    if not options.mail_url:
        write(options.data / "mail", mail, ident=ident)
        return
    try:
        _by_smtp(options.mail_url, mail)
    except smtplib.SMTPRecipientsRefused as fault:
        code, text = next(iter(fault.recipients.values()))
        if code >= 500:
            raise MailRefused(f"The mail server refused the address: {code} {text!r}.") from None
        raise


def write(folder: Path, mail: EmailMessage, *, ident: str) -> Path:
    """One file, whole or not at all, for its owner alone; the same mail twice is the same file."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path, fresh = folder / f"{ident}.eml", folder / f".{ident}.new"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(mail.as_bytes())
    fresh.replace(path)
    return path


def _by_smtp(url: str, mail: EmailMessage) -> None:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    if parts.scheme not in _PORTS or not host:
        raise CommandError("mail.url")
    safely = ssl.create_default_context()
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, port, timeout=PATIENCE_S, context=safely)
    else:
        server = smtplib.SMTP(host, port, timeout=PATIENCE_S)
    with server:
        server.ehlo()
        if parts.scheme == "smtp" and (host not in _LOOPBACK or server.has_extn("starttls")):
            server.starttls(context=safely)  # a server elsewhere that can't gets no mail: it holds codes
            server.ehlo()
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(mail)
