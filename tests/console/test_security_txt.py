"""`/.well-known/security.txt` says where faults are reported, if the operator wants that, and never expires."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

pytestmark = pytest.mark.slow


def test_the_contact_of_the_option_or_the_shop_or_none(shop, visitor, option):
    from farebox.kit import settings

    path = "/.well-known/security.txt"
    assert visitor.get(path).status == 404
    shop.write(settings.put_all, {"support_contact": "help@example.org"}, actor="test")
    assert b"Contact: mailto:help@example.org\n" in visitor.get(path).body
    option(security_contact="https://example.org/report", public_url="https://shop.example.org")
    answer = visitor.get(path)
    assert answer.status == 200 and answer.headers["content-type"] == "text/plain; charset=utf-8"
    lines = dict(line.split(": ", 1) for line in answer.body.decode().splitlines())
    assert lines["Contact"] == "https://example.org/report"
    assert lines["Canonical"] == "https://shop.example.org/.well-known/security.txt"
    ahead = datetime.fromisoformat(lines["Expires"]) - datetime.now(UTC)
    assert timedelta(days=178) < ahead < timedelta(days=365)
    option(security_contact="javascript:alert(1)")
    assert visitor.get(path).status == 404
