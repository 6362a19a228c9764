"""The management API over the shop itself: announcements, settings, and who works here."""

from __future__ import annotations

import pytest

from kit import people
from kit.visitor import Visitor
from office.script import roles

pytestmark = pytest.mark.slow


def test_announcements(shop, admin):
    made = admin.post("announcements", {"en": "Maintenance by script", "zh": "脚本维护", "level": "warn"})
    assert (made.status, made.json["level"], made.json["until_us"]) == (200, "warn", None)
    assert "Maintenance by script" in Visitor(shop).page("/status").text
    assert made.json in admin.get("announcements").json["data"]
    assert admin.post("announcements", {}).status == 400
    assert admin.post("announcements", {"en": "a", "until_us": 1}).status == 400
    assert admin.post("announcements", {"en": "a", "level": "loud"}).status == 422
    assert admin.post(f"announcements/{made.json['id']}/end").json == made.json
    assert admin.post(f"announcements/{made.json['id']}/end").status == 404
    assert "Maintenance by script" not in Visitor(shop).page("/status").text


def test_settings(shop, admin):
    """A script proposes them all: words take a person with a fresh proof, money another administrator."""
    before = admin.get("settings").json
    assert before["trial_days"] == 30
    made = admin.post("settings", {"shop_name": "Lantern 灯"})
    assert (made.status, made.json["kind"], made.json["two_people"]) == (202, "settings", False)
    assert made.json["requester"] == f"operator:{admin.person.person}"
    assert admin.get("settings").json == before
    path = f"/office/proposals/{made.json['id']}"
    assert "in force" in admin.person.follow(admin.person.fill(path, f"{path}/approve")).text
    assert admin.get("settings").json == before | {"shop_name": "Lantern 灯"}
    assert "Lantern 灯" in Visitor(shop).page("/prices").text
    assert admin.post("settings", {"shop_name": "Lantern 灯"}).json == admin.get("settings").json
    for wrong, status in (
        ({"trial_days": 0}, 422),
        ({"no_such_setting": 1}, 422),
        ({"price_warn_factor": "0.5"}, 400),
        ({"signup_price_list": "none"}, 400),
        ({"signup_price_list": "usd", "signup_currency": "CNY"}, 400),
        ({"public_price_list": "none"}, 400),
        ({"public_price_list": "usd", "signup_currency": "CNY"}, 400),
        ({"trial_micro": {"USD": 10**12}}, 400),
        ({"trial_days": 8, "shop_name": "\u200b"}, 400),
    ):
        assert admin.post("settings", wrong).status == status, wrong
    from farebox.kit import settings

    shop.write(settings.put_all, {"shop_name": ""}, actor="test")


def test_every_setting_is_read_and_proposed(admin):
    from farebox.kit.settings import BY_NAME
    from farebox.office.api import shapes_shop as shapes

    assert set(shapes.Settings.model_fields) == set(BY_NAME) == set(shapes.SettingsIn.model_fields)
    money = {name for name, known in BY_NAME.items() if known.kind in {"amount", "amounts"}}
    assert all(BY_NAME[name].money for name in money)


def test_who_works_here(shop, admin):
    from farebox.accounts.sign_in import operators
    from farebox.kit import clock

    facts = {"kind": "role", "email": "new@example.com", "role": "finance", "why": "grows", "alone": False}
    shop.write(operators.propose, **facts, send=print, now_us=clock.now_us(), actor="operator:test")
    shown = admin.get("operators")
    mine = next(each for each in shown.json["data"] if each["id"] == admin.person.person)
    assert (mine["operator_role"], mine["email"]) == ("admin", admin.person.email)
    assert [(each["email"], each["role_after"]) for each in shown.json["waiting"]] == [("new@example.com", "finance")]
    assert shown.json["single_person"] is True
    assert set(mine) == {
        "id", "email", "name", "operator_role", "is_active", "factors", "has_password", "created_us", "seen_us",
    }  # fmt: skip
    customer = people.customer(shop, "1")
    assert customer.email.encode() not in admin.get("operators").body


def test_roles(scripts):
    """What a role may not do is not there."""
    may = {
        ("GET", "announcements"): "SFXU", ("POST", "announcements"): "X", ("POST", "announcements/none/end"): "",
        ("GET", "settings"): "SFXU", ("POST", "settings"): "FX", ("GET", "operators"): "XU",
    }  # fmt: skip
    roles(scripts, may)
    assert scripts["X"].post("operators", {}).status == 405
