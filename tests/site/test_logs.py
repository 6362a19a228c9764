"""What the log of a serving process says of pages that fail: the page, and never the one-time code in its address."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from kit.serving import Serving
from kit.visitor import Visitor

CODE = "Q7_canary-of-a-link-code"
PATHS = (
    f"/join/{CODE}", f"/zh/join/{CODE}", f"/account/link/{CODE}", f"/office/link/{CODE}", f"/office/set-up?code={CODE}",
    f"/account/sign-in?next=/join/{CODE}", f"/office/sign-in?next=%2Foffice%2Fset-up%3Fcode%3D{CODE}",
)  # fmt: skip


@pytest.mark.slow
def test_codes_of_links_are_in_no_line(instance, capfd):
    from django.db import connection

    from farebox.care import setup

    setup.migrate()
    server = Serving({**instance.environ, "FAREBOX_PORT": "0", "FAREBOX_LOG_LEVEL": "debug"})
    try:
        visitor = Visitor(SimpleNamespace(server=server), "en")
        said = [visitor.get(path).status for path in PATHS]
        assert said[0] == 404
        # A form without its token, and one of another site.
        refused = [visitor.request("POST", path, b"x=1").status for path in PATHS]
        assert 403 in refused
        # And a store that breaks in the middle of the page.
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE accounts_invitation RENAME TO accounts_invitation_away")
        assert visitor.get(PATHS[0]).status >= 500
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE accounts_invitation_away RENAME TO accounts_invitation")
        connection.close()
    finally:
        server.stop()
    logged = capfd.readouterr().err
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    events = " ".join(line["event"] for line in lines)
    for page in ("/join/[redacted]", "/account/link/[redacted]", "/office/link/[redacted]"):
        assert page in events, logged
    assert any(line["level"] == "error" for line in lines), logged
    assert CODE not in logged
