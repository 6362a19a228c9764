"""A catalogue to buy from."""

from __future__ import annotations

import pytest

NOW_US = 1_800_000_000_000_000


class Shop:
    """Shorthand for the verbs, each in a transaction of its own, at a time that the test sets."""

    def __init__(self) -> None:
        # Named on the command line, this file is read before Django is set up.
        from farebox.catalog import definitions, official, price_lists, sheets, shelf
        from farebox.kit import db

        self.goods, self.lists, self.official = definitions, price_lists, official
        self.sheets, self.shelf, self.db = sheets, shelf, db
        self.now_us = NOW_US

    def seed(self) -> bool:
        return self.db.write(self.official.seed_official, actor="ann", now_us=self.now_us)

    def define(self, name="m", **facts):
        known = {
            "kinds": ["chat"],
            "classes": ["input", "output"],
            "context_tokens": 4096,
            "output_tokens_max": 1024,
        }
        return self.db.write(self.goods.define_model, name, actor="ann", now_us=self.now_us, **{**known, **facts})

    def create(self, name="cny", currency="CNY"):
        return self.db.write(self.lists.create_list, name, currency, actor="ann")

    def publish(self, price_list="cny", prices=None, **more):
        rows = [self.sheets.row(*key.rsplit(" ", 1), price) for key, price in (prices or {}).items()]
        return self.db.write(self.lists.publish, price_list, rows, actor="ann", now_us=self.now_us, **more)

    def show(self, price_list="cny", version=None):
        return self.db.read(lambda tx: self.lists.show(tx, price_list, version=version, now_us=self.now_us))

    def load(self):
        return self.db.read(self.shelf.load, self.now_us)

    def shelf_version(self) -> int:
        return self.db.read(self.db.versions).get("shelf", 0)


@pytest.fixture
def shop(instance) -> Shop:
    return Shop()
