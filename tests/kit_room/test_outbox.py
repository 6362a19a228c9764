"""The outbox: with the commit or not at all, one taker at a time, again until it is out, nothing readable left behind."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import hmac
import json
import smtplib
from typing import Any, Self

import pytest

from farebox.kit import clock, mail, options, outbox, webhook
from farebox.kit.errors import CommandError
from farebox.kit.fetch import AddressRefused
from kit.rows import for_each


@pytest.fixture
def db(instance: Any) -> Any:
    from farebox.care import setup
    from farebox.kit import db

    setup.migrate()
    return db


def row(name: str) -> Any:
    from farebox.kit.models import Outbox

    return Outbox.objects.get(id=name)


@pytest.mark.slow
@pytest.mark.store
def test_with_the_commit_or_not_at_all(db):
    from farebox.kit.models import Outbox

    def refused(tx: Any) -> None:
        outbox.mail(tx, to="a@example.com", subject="x", text="y")
        raise CommandError("no")

    with pytest.raises(CommandError):
        db.write(refused)
    assert not Outbox.objects.exists()
    name = db.write(outbox.mail, to="a@example.com", subject="x", text="the code")
    assert "code" not in row(name).payload
    assert "a@example.com" not in row(name).payload


@pytest.mark.slow
@pytest.mark.store
def test_one_takes_it_and_its_lease_ends(db):
    name = db.write(outbox.mail, to="a@example.com", subject="x", text="y")
    now_us = clock.now_us()
    assert db.read(outbox.due, now_us) == [name]
    taken = db.write(outbox.take, name, now_us)
    assert (taken.payload["to"], taken.tries) == ("a@example.com", 1)
    assert db.write(outbox.take, name, now_us) is None
    assert db.read(outbox.due, now_us) == []
    later_us = now_us + outbox.LEASE_US
    assert db.write(outbox.take, name, later_us).tries == 2
    db.write(outbox.sent, name)
    assert (row(name).state, row(name).payload) == ("sent", "")
    assert db.write(outbox.take, name, later_us + outbox.LEASE_US) is None
    assert db.write(outbox.take, "out_absent", later_us) is None


@pytest.mark.slow
@pytest.mark.store
def test_what_fails_comes_again_later_and_later_and_dies_at_last(db):
    name = db.write(outbox.mail, to="a@example.com", subject="x", text="y")
    now_us, waits = clock.now_us(), []
    for tries in range(1, outbox.TRIES + 1):
        taken = db.write(outbox.take, name, now_us)
        assert taken.tries == tries
        db.write(outbox.failed, taken, fault="password=hunter2 refused", now_us=now_us)
        waits.append(row(name).due_us - now_us)
        now_us = row(name).due_us
    assert waits[:-1] == sorted(waits[:-1])
    assert waits[0] == 30_000_000
    assert max(waits[:-1]) <= 6 * 3_600_000_000
    assert (row(name).state, row(name).payload) == ("dead", "")
    assert "hunter2" not in row(name).fault


@pytest.mark.slow
@pytest.mark.store
def test_what_can_never_leave_is_not_tried_again(db):
    name = db.write(outbox.webhook, url="https://127.0.0.1/", secret="s", event="x", data={})
    taken = db.write(outbox.take, name, clock.now_us())
    db.write(outbox.failed, taken, fault="address", for_good=True, now_us=clock.now_us())
    assert row(name).state == "dead"


@pytest.mark.slow
@pytest.mark.store
def test_a_payload_that_was_moved_to_another_row_is_dead(db):
    from farebox.kit.models import Outbox

    one = db.write(outbox.mail, to="a@example.com", subject="x", text="y")
    two = db.write(outbox.mail, to="b@example.com", subject="x", text="y")
    Outbox.objects.filter(id=two).update(payload=row(one).payload)
    assert db.write(outbox.take, two, clock.now_us()) is None
    assert row(two).state == "dead"
    assert db.write(outbox.take, one, clock.now_us()).payload["to"] == "a@example.com"


@pytest.mark.slow
@pytest.mark.store
def test_what_left_is_forgotten_after_a_week_and_what_waits_is_not(db):
    from farebox.kit.models import Outbox

    gone = db.write(outbox.mail, to="a@example.com", subject="x", text="y")
    kept = db.write(outbox.mail, to="b@example.com", subject="x", text="y")
    db.write(outbox.sent, gone)
    assert db.write(outbox.forget, now_us=clock.now_us()) == 0
    assert db.write(outbox.forget, now_us=clock.now_us() + 2 * outbox.KEEP_US) == 1
    assert [each.id for each in Outbox.objects.all()] == [kept]


@pytest.mark.slow
@pytest.mark.parametrize("bad", [{"to": "a@example.com\nBcc: b@example.com"}, {"subject": "x\r\nBcc: b@example.com"}])
def test_headers_can_not_be_broken_out_of(db, bad):
    facts = {"to": "a@example.com", "subject": "x", "text": "y"} | bad
    with pytest.raises(CommandError):
        db.write(outbox.mail, **facts)
    with pytest.raises(mail.MailRefused):
        mail.send(options.current(), facts, ident="out_x")


def test_mail_becomes_one_file_of_its_owner(instance):
    chosen = options.current()
    facts = {"to": "li@example.com", "subject": "验证码 1234", "text": "您好。\n" + "长" * 300}
    for _ in range(2):
        mail.send(chosen, facts, ident="out_one")
    (path,) = (chosen.data / "mail").glob("*")
    assert path.name == "out_one.eml"
    assert path.stat().st_mode & 0o777 == 0o600
    read = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert (read["Subject"], read["To"], read["Auto-Submitted"]) == (facts["subject"], facts["to"], "auto-generated")
    assert read["From"] == "Farebox <noreply@localhost>"
    assert read["Message-ID"] == "<out_one@localhost>"
    assert read.get_content().replace("\r", "").rstrip("\n") == facts["text"]


class Server:
    """An SMTP server that says what it was told, and heard."""

    heard: list[tuple[str, Any]]

    def __init__(self, extensions: tuple[str, ...] = ("starttls",), refuse: int = 0) -> None:
        self.heard, self._extensions, self._refuse = [], extensions, refuse

    def __call__(self, host: str, port: int, **facts: Any) -> Server:
        self.heard.append(("connect", (host, port, "context" in facts, facts["timeout"])))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.heard.append(("quit", ()))

    def ehlo(self) -> None:
        self.heard.append(("ehlo", ()))

    def has_extn(self, name: str) -> bool:
        return name in self._extensions

    def starttls(self, *, context: Any) -> None:
        if "starttls" not in self._extensions:
            raise smtplib.SMTPNotSupportedError("no STARTTLS")
        assert context.check_hostname
        self.heard.append(("starttls", ()))

    def login(self, name: str, password: str) -> None:
        self.heard.append(("login", (name, password)))

    def send_message(self, message: Any) -> None:
        if self._refuse:
            raise smtplib.SMTPRecipientsRefused({message["To"]: (self._refuse, b"no")})
        self.heard.append(("send", message["To"]))


@pytest.mark.parametrize(
    ("url", "connects", "begins_tls"),
    [
        ("smtp://me:p%40ss@mail.example", ("mail.example", 587, False, mail.PATIENCE_S), True),
        ("smtp://me:p%40ss@mail.example:25", ("mail.example", 25, False, mail.PATIENCE_S), True),
        ("smtps://me:p%40ss@mail.example", ("mail.example", 465, True, mail.PATIENCE_S), False),
    ],
)
def test_mail_by_smtp_is_encrypted_before_the_password(instance, monkeypatch, url, connects, begins_tls):
    server = Server()
    monkeypatch.setattr(smtplib, "SMTP", server)
    monkeypatch.setattr(smtplib, "SMTP_SSL", server)
    monkeypatch.setattr(options.current(), "mail_url", url, raising=False)
    mail.send(options.current(), {"to": "a@example.com", "subject": "x", "text": "y"}, ident="out_x")
    said = [name for name, _ in server.heard]
    assert server.heard[0][1] == connects
    assert ("login", ("me", "p@ss")) in server.heard
    assert ("starttls" in said) == begins_tls
    if begins_tls:
        assert said.index("starttls") < said.index("login") < said.index("send")
    options.current().mail_url = ""


def test_a_server_elsewhere_without_tls_gets_no_mail(instance, monkeypatch):
    monkeypatch.setattr(smtplib, "SMTP", Server(extensions=()))
    chosen = options.current()
    facts = {"to": "a@example.com", "subject": "x", "text": "y"}
    try:
        chosen.mail_url = "smtp://mail.example"
        with pytest.raises(smtplib.SMTPException):
            mail.send(chosen, facts, ident="out_x")
        chosen.mail_url = "smtp://127.0.0.1:1025"
        mail.send(chosen, facts, ident="out_x")
        for wrong in ("mail.example", "http://mail.example", "smtp://"):
            chosen.mail_url = wrong
            with pytest.raises(CommandError, match="mail.url"):
                mail.send(chosen, facts, ident="out_x")
    finally:
        chosen.mail_url = ""


@pytest.mark.parametrize(("code", "error"), [(550, mail.MailRefused), (450, smtplib.SMTPRecipientsRefused)])
def test_an_address_that_is_refused_for_good_is_not_tried_again(instance, monkeypatch, code, error):
    monkeypatch.setattr(smtplib, "SMTP", Server(refuse=code))
    chosen = options.current()
    chosen.mail_url = "smtp://mail.example"
    try:
        with pytest.raises(error):
            mail.send(chosen, {"to": "a@example.com", "subject": "x", "text": "y"}, ident="out_x")
    finally:
        chosen.mail_url = ""


@for_each(
    "url",
    [
        "http://example.com/hook", "https://me:pw@example.com/hook", "https://example.com:8443/hook",
        "ftp://example.com/", "https:///x", "nonsense", "https://127.0.0.1/hook", "https://169.254.169.254/latest",
        "https://10.1.2.3/", "https://[::ffff:10.0.0.1]/", "https://2130706433/", "https://localhost/",
    ],
)  # fmt: skip
def test_webhooks_go_to_public_https_addresses_alone(url):
    with pytest.raises(AddressRefused):
        webhook.check(url)
    assert webhook.check("https://example.com/hook?a=1") == "https://example.com/hook?a=1"


class FakeFetch:
    """Takes what would be sent, and answers."""

    def __init__(self, status: int) -> None:
        self.status, self.sent, self.released = status, [], 0

    def start(self, outgoing: Any) -> FakeFetch:
        self.sent.append(outgoing)
        return self

    async def response(self) -> FakeFetch:
        return self

    async def read_all(self, _most: int) -> bytes:
        raise AssertionError("a body that drips would keep all others waiting")

    read = read_all

    def release(self) -> None:
        self.released += 1


@pytest.mark.parametrize(("status", "taken"), [(200, True), (204, True), (302, False), (500, False)])
def test_a_webhook_is_signed_and_only_2xx_counts(status, taken):
    fetch: Any = FakeFetch(status)
    payload = {"url": "https://example.com/hook?a=1", "secret": "whsec_x", "event": "balance.low", "data": {"n": 1}}
    sending = webhook.post(fetch, payload, ident="out_1", at_s=1_800_000_000)
    if taken:
        asyncio.run(sending)
    else:
        with pytest.raises(webhook.NotTaken):
            asyncio.run(sending)
    (sent,) = fetch.sent
    assert (sent.method, sent.path, sent.target.host, sent.target.local) == (
        b"POST",
        b"/hook?a=1",
        "example.com",
        False,
    )
    assert json.loads(sent.body) == {"id": "out_1", "event": "balance.low", "at": 1_800_000_000, "data": {"n": 1}}
    wanted = hmac.new(b"whsec_x", b"1800000000." + sent.body, hashlib.sha256).hexdigest()
    assert f"Farebox-Signature: t=1800000000,v1={wanted}\r\n".encode() in sent.headers
    assert b"Farebox-Message: out_1\r\n" in sent.headers
    assert fetch.released == 1


@pytest.mark.store
def test_the_post_brings_what_is_due_and_keeps_what_fails(db, monkeypatch):
    from farebox.jobs import schedule
    from farebox.kit.db import Store

    good = db.write(outbox.mail, to="a@example.com", subject="x", text="y")
    bad = db.write(outbox.mail, to="b@example.com", subject="x", text="y")
    inside = db.write(outbox.webhook, url="https://127.0.0.1/", secret="s", event="x", data={})
    real = mail.send

    def send(chosen: Any, payload: Any, *, ident: str) -> None:
        if payload["to"] == "b@example.com":
            raise ConnectionRefusedError("nobody there")
        real(chosen, payload, ident=ident)

    monkeypatch.setattr(mail, "send", send)

    async def run() -> None:
        store = Store()
        try:
            await schedule.send_outbox(schedule.Context(store=store))
            await schedule.send_outbox(schedule.Context(store=store))
        finally:
            await store.close()

    asyncio.run(run())
    assert (row(good).state, row(bad).state, row(inside).state) == ("sent", "waiting", "dead")
    assert (row(bad).tries, row(bad).fault) == (1, "nobody there")
    assert [path.stem for path in (options.current().data / "mail").glob("*.eml")] == [good]
