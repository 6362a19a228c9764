"""Whoever can write one row of the store is no nearer to running code, and what he wrote is not believed."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import pytest

from kit import people
from kit.people import PASSWORD, customer, person
from kit.visitor import Visitor

pytestmark = [pytest.mark.store, pytest.mark.slow]


class Bomb:
    """What unpickles to a file on the disk."""

    def __init__(self, at: Path) -> None:
        self.at = at

    def __reduce__(self):
        return exec, (f"import pathlib; pathlib.Path({str(self.at)!r}).touch()",)


@pytest.fixture
def bomb(tmp_path):
    """A pickled row as Django's own cache would keep it, and where it would leave its mark."""
    mark = tmp_path / "mark"
    text = base64.b64encode(pickle.dumps(Bomb(mark))).decode("latin1")
    pickle.loads(base64.b64decode(text))
    assert mark.exists()  # it would run
    mark.unlink()
    return text, mark


def walk(shop, known, exporter, worker):
    """The flows that read the cache: what they answered, by flow."""
    stranger = Visitor(shop, "en")
    return {
        "sign in": stranger.fill("/account/sign-in", login=known.email, password="wrong password").status,
        "forgotten": stranger.fill("/account/password/forgotten", email=known.email).status,
        "sign up": stranger.fill("/account/sign-up", email="new@example.com", password1=PASSWORD).status,
        "office": stranger.fill("/office/sign-in", email=worker.email, password="wrong password").status,
        "export": exporter.get("/console/calls.csv").status,
    }


def test_a_planted_row_of_the_cache_runs_nothing_and_counts_as_none(shop, bomb):
    from django.core.cache import cache

    from farebox.kit.models import Cache

    text, mark = bomb
    cache.clear()
    known, worker = customer(shop, password=PASSWORD), person(shop, operator_role="support", password=PASSWORD)
    first = walk(shop, known, known, worker)
    assert set(first.values()) <= {200, 302}
    names = list(Cache.objects.values_list("cache_key", flat=True))
    assert {name.split(":")[2] for name in names} >= {"attempts", "export", "allauth"}
    signed = Cache.objects.filter(cache_key__contains="export:").values_list("value", flat=True)[0]

    for planted in (
        text,
        "[1,2]",
        signed,
        '"y"',
        "",
    ):  # the pickle, plain JSON, a right row under another name, rubbish
        Cache.objects.exclude(value=signed).update(value=planted)
        if planted != signed:
            Cache.objects.filter(cache_key__contains="export:").update(value=planted)
        assert walk(shop, known, known, worker) == first, planted[:20]
        assert not mark.exists()
    rows = list(Cache.objects.values_list("value", flat=True))
    assert text not in rows  # counted anew


def test_tries_are_counted_on_and_only_json_is_kept(shop):
    from django.core.cache import cache

    cache.clear()
    known = customer(shop, password=PASSWORD)
    stranger = Visitor(shop, "en")
    for _ in range(5):
        stranger.fill("/account/sign-in", login=known.email, password="wrong password")
    assert "Too many failed attempts" in stranger.fill("/account/sign-in", login=known.email, password=PASSWORD).text
    assert cache.add("used", "y", timeout=150) and not cache.add("used", "y", timeout=150)
    cache.set("pair", (1, 2), timeout=60)
    assert cache.get("pair") == [1, 2] and cache.get("none", 7) == 7
    with pytest.raises(TypeError):
        cache.set("thing", object())


def test_a_planted_session_is_nobodys(shop, bomb):
    from farebox.accounts.models import Session

    text, mark = bomb
    known, worker = customer(shop), people.operator(shop)
    for planted in (text, f"{text}:1tabcd:{'a' * 43}", '{"_auth_user_id":"per_1"}'):
        Session.objects.update(data=planted)
        assert known.get("/console/keys").status == 302
        assert worker.get("/office/").status == 302
    assert not mark.exists()
