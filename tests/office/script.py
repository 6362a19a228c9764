"""A program that talks to the management API with a token of a role."""

from __future__ import annotations

import contextlib
import http.client
import json

from kit import people
from kit.shop import Answer


class Script:
    """A program with a token of a role."""

    def __init__(self, shop, role, **facts):
        from farebox.accounts.sign_in import tokens
        from farebox.kit import clock

        self.shop = shop
        self.person = people.operator(shop, facts.pop("owner", role))
        given = {"person": self.person.person, "name": "test", "role": role, "days": 1, "now_us": clock.now_us()}
        self.row, self.token = shop.write(tokens.make, actor="test", **(given | facts))

    def ask(self, method, path, body=None, **headers):
        given = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        line = http.client.HTTPConnection("127.0.0.1", self.shop.server.port, timeout=60)
        with contextlib.closing(line):
            line.request(
                method,
                f"/office/api/{path}",
                body if body is None or isinstance(body, str) else json.dumps(body),
                given,
            )
            response = line.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body=None):
        return self.ask("POST", path, body)


def roles(scripts, may):
    """Each may do what stands beside the method and path, by letter; to the others it is not there."""
    for letter, script in scripts.items():
        for (method, path), letters in may.items():
            answer = script.ask(method, path, {"wrong": 1} if method == "POST" else None)
            if letter in letters:
                assert answer.status in {200, 422}, (letter, path, answer.body)
            else:
                assert answer.status == 404, (letter, path, answer.status)
