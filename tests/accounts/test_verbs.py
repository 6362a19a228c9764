"""The verbs of accounts, projects, persons and keys on a real store."""

from __future__ import annotations

import asyncio
import json

import pytest

from farebox.accounts import accounts, projects, proof
from farebox.accounts.caps import Caps
from farebox.accounts.keys import authenticate, key_format, key_line, keys
from farebox.accounts.keys.authenticate import KeyRing
from farebox.accounts.models import Account, ApiKey, Member, Person, Project
from farebox.accounts.people import people
from farebox.catalog.models import Alias, Model, PriceList
from farebox.kit import db, options, secrets, settings
from farebox.kit.errors import BadKey, CommandError, NotAllowed
from farebox.kit.models import AuditEvent, Setting
from farebox.ledger import chart, journal
from farebox.ledger.models import LedgerAccount
from kit import minting
from kit.rows import for_each

pytestmark = pytest.mark.store

NOW = 1_795_500_000_000_000
BY = {"actor": "test", "now_us": NOW}


@pytest.fixture
def shop(instance):
    """An instance with two price lists, a model, and an account `Acme`."""

    def fill(tx):
        settings.ensure_installation(tx)
        PriceList.objects.create(name="standard", currency="USD")
        PriceList.objects.create(name="china", currency="CNY")
        Model.objects.create(name="gpt-4", kinds='["chat"]', context_tokens=8192, output_tokens_max=8192, classes="[]")
        Alias.objects.create(name="four", model_id="gpt-4")
        accounts.open_account(tx, name="Acme", currency="USD", price_list="standard", **BY)

    db.write(fill)
    return instance


def do(verb, *args, **more):
    return db.write(verb, *args, **more)


def refused(words, verb, *args, **more):
    before = db.read(db.versions)
    events = AuditEvent.objects.count()
    with pytest.raises(CommandError, match=words):
        db.write(verb, *args, **more)
    assert (db.read(db.versions), AuditEvent.objects.count()) == (before, events)


def keys_version():
    return db.read(db.versions).get("keys", 0)


def last_event():
    return AuditEvent.objects.order_by("-at_us", "-id").first()


def new_ring():
    site = key_format.site_code(db.read(settings.installation_id))
    return KeyRing(peppers=secrets.peppers(options.current()), site=site)


def ask(ring, key, *, address="127.0.0.1", now_us=NOW):
    async def main():
        store = db.Store()
        try:
            return await authenticate.bearer(ring, store, authorization=f"Bearer {key}", address=address, now_us=now_us)
        finally:
            await store.close()

    return asyncio.run(main())


def test_an_installation_is_made_once(instance):
    with pytest.raises(CommandError, match="store.not_set_up"):
        db.read(settings.installation_id)
    first = do(settings.ensure_installation)
    assert do(settings.ensure_installation) == first == db.read(settings.installation_id)
    assert len(first) == 32
    assert Setting.objects.filter(name="installation_id").count() == 1


def test_settings_are_values_with_a_trail(instance):
    assert db.read(settings.get, "limits", "none") == "none"
    assert do(settings.put, "limits", {"a": [1, None]}, actor="test") is None
    assert do(settings.put, "limits", 7, actor="test") == {"a": [1, None]}
    assert db.read(settings.get, "limits") == 7
    event = last_event()
    assert (event.verb, event.object, json.loads(event.before), json.loads(event.after)) == (
        "setting.put", "limits", {"a": [1, None]}, 7,
    )  # fmt: skip
    assert db.read(db.versions)["settings"] == 2


def test_an_account_comes_with_project_and_ledger_account(shop):
    account, project = do(
        accounts.open_account,
        name="Beta",
        currency="CNY",
        price_list="china",
        time_zone="Asia/Shanghai",
        **BY,
    )
    book = LedgerAccount.objects.get(id=account.id)
    assert (book.kind, book.currency, book.floor_micro, book.posted_micro) == ("customer", "CNY", 0, 0)
    assert Project.objects.get(id=project.id).account_id == account.id
    assert project.name == "default"
    assert json.loads(last_event().after)["time_zone"] == "Asia/Shanghai"
    assert db.read(proof.prove) == []


@for_each(
    ("changes", "words"),
    [
        ({"name": " "}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"currency": "usd"}, "currency"),
        ({"currency": "CNY"}, "account.price_list_currency"),
        ({"price_list": "none"}, "account.price_list price_list='none'"),
        ({"time_zone": "Mars/Base"}, "account.time_zone"),
        ({"time_zone": "../../etc/passwd"}, "account.time_zone"),
        ({"time_zone": ""}, "account.time_zone"),
    ],
)
def test_an_account_that_will_not_do_is_none(shop, changes, words):
    values = {"name": "Beta", "currency": "USD", "price_list": "standard"} | changes
    books = LedgerAccount.objects.count()
    refused(words, accounts.open_account, **values, **BY)
    assert (Account.objects.count(), LedgerAccount.objects.count()) == (1, books)


def test_an_account_is_found_by_id_or_by_a_name_of_its_own(shop):
    acme = accounts.find("Acme")
    assert accounts.find(acme.id).id == acme.id
    do(accounts.open_account, name="Acme", currency="USD", price_list="standard", **BY)
    for name, words in (("Acme", "account.ambiguous"), ("none", "account.unknown account='none'")):
        with pytest.raises(CommandError, match=words):
            accounts.find(name)


def test_freeze_and_bar_stop_calls_and_can_be_lifted(shop):
    _, text = do(minting.issue, project="Acme", name="app", **BY)
    ring = new_ring()
    assert ask(ring, text).account_name == "Acme"
    for stop, lift in ((accounts.freeze, accounts.unfreeze), (accounts.bar, accounts.unbar)):
        before = keys_version()
        do(stop, "Acme", actor="test")
        assert keys_version() == before + 1
        refused("account.state", stop, "Acme", actor="test")
        ring.forget_all()
        with pytest.raises(NotAllowed, match="account is not active"):
            ask(ring, text)
        do(lift, "Acme", actor="test")
        refused("account.state", lift, "Acme", actor="test")
        ring.forget_all()
        assert ask(ring, text).account_state == "active"


def test_an_account_with_money_is_closed_only_if_told(shop):
    acme = accounts.find("Acme")
    key, text = do(minting.issue, project="Acme", name="app", **BY)
    lines = [(acme.id, 5_000_000), (chart.own("grants", "USD"), -5_000_000)]
    do(
        journal.post, account=acme.id, kind="grant", ref="1", currency="USD", lines=lines, at_us=NOW,
        requester="test", single_person=True,
    )  # fmt: skip
    refused(r"account.money_left .*posted=Amount\(micro=5000000,", accounts.close, "Acme", **BY)
    closed = do(accounts.close, "Acme", leave_money=True, **BY)
    assert (closed.state, closed.closed_us) == ("closed", NOW)
    assert ApiKey.objects.get(id=key.id).state == "revoked"
    with pytest.raises(BadKey, match="API key has been deactivated"):
        ask(new_ring(), text)
    refused("account.state", accounts.close, "Acme", leave_money=True, **BY)
    refused("account.state", accounts.unfreeze, "Acme", actor="test")
    refused("project.archived", minting.issue, project="Acme", name="more", **BY)
    refused("account.closed", projects.create, account="Acme", name="more", **BY)


def test_price_list_and_name_change_with_the_keys_version(shop):
    do(lambda tx: PriceList.objects.create(name="cheap", currency="USD"))
    before = keys_version()
    do(accounts.set_price_list, "Acme", price_list="cheap", actor="test")
    do(accounts.rename, "Acme", name="Acme Ltd", actor="test")
    assert keys_version() == before + 2
    assert db.read(accounts.list_accounts)[0] | {"id": "", "created_us": 0} == {
        "id": "", "name": "Acme Ltd", "kind": "customer", "state": "active", "currency": "USD",
        "price_list": "cheap", "time_zone": "UTC", "trusted": False, "created_us": 0, "closed_us": None,
        "posted_micro": 0, "held_micro": 0,
    }  # fmt: skip
    refused("account.price_list_currency", accounts.set_price_list, "Acme Ltd", price_list="china", actor="test")


def test_the_house_has_an_account_without_floor_and_a_caller(shop):
    first = do(accounts.ensure_house, now_us=NOW)
    assert do(accounts.ensure_house, now_us=NOW + 1).created_us == first.created_us
    book = LedgerAccount.objects.get(id=first.id)
    assert (book.kind, book.floor_micro) == ("customer", None)
    caller = db.read(authenticate.house_caller)
    assert (caller.house, caller.price_list, caller.account, caller.key) == (
        True,
        "house",
        "acc_house",
        "key_house",
    )
    assert [purse.id for purse in caller.purses(NOW)] == ["acc_house"]
    assert db.read(proof.prove) == []
    for verb in (accounts.freeze, accounts.bar):
        refused("account.house", verb, "acc_house", actor="test")
    refused("account.house", accounts.close, "acc_house", **BY)
    refused("key.house", keys.revoke, "key_house", **BY)
    refused("key.house", key_line.rotate, "key_house", **BY)
    refused("key.of_house", minting.issue, project="acc_house", name="x", **BY)


def test_projects(shop):
    project = do(projects.create, account="Acme", name="web", now_us=NOW + 1, actor="test")
    assert projects.find("Acme/web").id == projects.find(project.id).id == project.id
    assert projects.find("Acme").name == "default"
    refused("project.exists", projects.create, account="Acme", name="web", **BY)
    refused("project.name", projects.create, account="Acme", name="a/b", **BY)
    refused("project.unknown", projects.set_caps, "Acme/none", {"day": 1}, **BY)
    do(projects.set_caps, "Acme/web", {"month": 7_000_000}, **BY)
    key, text = do(minting.issue, project="Acme/web", name="app", **BY)
    assert ask(new_ring(), text).caps == ((project.id, 7_000_000, "month"),)
    assert [row["name"] for row in db.read(projects.list_projects, account="Acme")] == ["default", "web"]
    before = keys_version()
    do(projects.archive, "Acme/web", **BY)
    assert keys_version() == before + 1
    assert ApiKey.objects.get(id=key.id).state == "revoked"
    refused(r"project.state .*state\.archived", projects.archive, "Acme/web", **BY)
    refused("project.archived", minting.issue, project="Acme/web", name="more", **BY)


def test_persons_have_one_address_and_a_strong_password(shop):
    person = do(
        people.create,
        email=" Ann@Example.COM ",
        name="Ann",
        password_hash=people.hashed("correct horse"),
        **BY,
    )
    stored = Person.objects.get(id=person.id)
    assert stored.email == "ann@example.com"
    assert stored.password.startswith("argon2$argon2id$")
    assert stored.check_password("correct horse")
    assert "argon2" not in last_event().after
    assert people.find("ANN@example.com").id == person.id
    refused("person.exists", people.create, email="ANN@EXAMPLE.com", **BY)
    for email in ("", "ann", "a@b@c", "a b@c.de", "@c.de", "a@" + "b" * 260):
        refused("person.email", people.create, email=email, **BY)
    without = do(people.create, email="bob@example.com", **BY)
    assert not Person.objects.get(id=without.id).has_usable_password()
    do(people.set_password, "bob@example.com", password_hash=people.hashed("battery staple"), actor="test")
    assert Person.objects.get(id=without.id).check_password("battery staple")


@pytest.mark.parametrize("password", ["short", "x" * 257, "password1", "Acme Shop"])
def test_weak_passwords_are_refused(password):
    with pytest.raises(CommandError):
        people.hashed(password, own_words=("acme shop",))


def test_members_and_operators_are_two_kinds_of_person(shop):
    for name in ("ann", "bob", "eve"):
        do(people.create, email=f"{name}@example.com", **BY)
    owner = do(people.add_member, account="Acme", person="ann@example.com", role="owner", **BY)
    refused("member.exists", people.add_member, account="Acme", person="ann@example.com", role="member", **BY)
    refused("member.admin_of", people.add_member, account="Acme", person="bob@example.com", role="admin", **BY)
    refused(
        r"member.role roles=\('owner'", people.add_member, account="Acme", person="bob@example.com", role="king", **BY
    )
    member = do(people.add_member, account="Acme", person="bob@example.com", role="member", **BY)
    refused("operator.is_member", people.set_operator_role, "bob@example.com", operator_role="admin", actor="t")
    refused(
        r"operator.role roles=\('support'", people.set_operator_role, "eve@example.com", operator_role="root", actor="t"
    )
    do(people.set_operator_role, "eve@example.com", operator_role="finance", actor="test")
    assert Person.objects.get(email="eve@example.com").operator_role == "finance"
    refused("member.is_operator", people.add_member, account="Acme", person="eve@example.com", role="member", **BY)
    do(people.set_caps, member.id, {"day": 3_000_000}, **BY)
    key, text = do(minting.issue, project="Acme", name="bob's", member=member.id, **BY)
    caller = ask(new_ring(), text)
    assert (caller.member, caller.caps) == (member.id, ((member.id, 3_000_000, "day"),))
    refused("member.last_owner", people.remove_member, owner.id, **BY)
    do(people.remove_member, member.id, **BY)
    assert ApiKey.objects.get(id=key.id).state == "revoked"
    refused("member.not_in_project", minting.issue, project="Acme", name="again", member=member.id, **BY)
    again = do(people.add_member, account="Acme", person="bob@example.com", role="owner", **BY)
    assert again.id == member.id
    do(people.remove_member, owner.id, **BY)
    assert {m.state for m in Member.objects.all()} == {"active", "removed"}
    assert len(db.read(people.list_members, account="Acme")) == 2
    assert db.read(proof.prove) == []


def test_a_member_of_one_project_stays_in_it(shop):
    do(people.create, email="ann@example.com", **BY)
    do(projects.create, account="Acme", name="web", **BY)
    do(accounts.open_account, name="Beta", currency="USD", price_list="standard", **BY)
    refused(
        "project.other_account",
        people.add_member,
        account="Beta",
        person="ann@example.com",
        role="admin",
        project="Acme/web",
        **BY,
    )
    admin = do(people.add_member, account="Acme", person="ann@example.com", role="admin", project="Acme/web", **BY)
    refused("member.not_in_project", minting.issue, project="Acme", name="x", member=admin.id, **BY)
    refused("member.not_in_project", minting.issue, project="Beta", name="x", member=admin.id, **BY)
    do(minting.issue, project="Acme/web", name="x", member=admin.id, **BY)


def test_a_key_is_shown_once_and_kept_as_a_digest(shop):
    before = keys_version()
    key, text = do(
        minting.issue, project="Acme", name="app", models=["gpt-4", "four"], addresses=["127.0.0.0/8"],
        expires_us=NOW + 1_000_000, caps=Caps(day_micro=2_000_000), **BY,
    )  # fmt: skip
    assert keys_version() == before + 1
    assert key_format.check(text, new_ring().site) is key_format.KeyVerdict.GOOD
    caller = ask(new_ring(), text)
    assert (caller.key, caller.key_name, caller.models) == (key.id, "app", {"gpt-4", "four"})
    assert caller.caps == ((key.id, 2_000_000, "day"),)
    stored = ApiKey.objects.values_list().get(id=key.id)
    trail = [(e.before, e.after, e.object) for e in AuditEvent.objects.all()]
    assert text not in repr(stored) + repr(trail)
    assert text[11:-6] not in repr(stored) + repr(trail)
    digest = ApiKey.objects.get(id=key.id).digest
    assert digest not in repr(trail)
    shown = db.read(keys.list_keys, account="Acme")
    assert shown[0]["hint"] == f"sk-FBX1…{text[-4:]}"
    assert digest not in repr(shown)
    with pytest.raises(BadKey, match="expired"):
        ask(new_ring(), text, now_us=NOW + 1_000_000)
    with pytest.raises(NotAllowed, match=r"192\.0\.2\.1"):
        ask(new_ring(), text, address="192.0.2.1")


@for_each(
    ("changes", "words"),
    [
        ({"name": ""}, "account.name"),
        ({"models": ["gpt-5"]}, "model.unknown model='gpt-5'"),
        ({"addresses": ["localhost"]}, "key.address"),
        ({"addresses": ["10.0.0.0/33"]}, "key.address"),
        ({"addresses": ["10.0.0.1"] * 101}, "key.too_many_addresses most=100"),
        ({"expires_us": NOW}, "key.expiry"),
        ({"caps": Caps(day_micro=1.5)}, "cap.amount"),
        ({"caps": Caps(ever_micro=-1)}, "cap.amount"),
        ({"project": "none"}, "account.unknown account='none'"),
        ({"member": "mem_none"}, "member.unknown"),
    ],
)
def test_a_key_that_will_not_do_is_none(shop, changes, words):
    refused(words, minting.issue, **{"project": "Acme", "name": "app", **changes}, **BY)
    assert ApiKey.objects.count() == 0


def test_revoke_rename_and_limits_reach_the_caller(shop):
    key, text = do(minting.issue, project="Acme", name="app", **BY)
    ring = new_ring()
    ask(ring, text)
    changes = (
        (keys.rename, {"name": "renamed", "actor": "test"}),
        (keys.set_limits, {"models": ["gpt-4"], "addresses": ["127.0.0.1"], **BY}),
        (keys.set_expiry, {"expires_us": NOW + 9_000_000, **BY}),
        (key_line.set_caps, {"caps_micro": {"ever": 1_000_000}, **BY}),
    )
    for verb, more in changes:
        before = keys_version()
        do(verb, key.id, **more)
        assert keys_version() == before + 1
    ring.forget_all()
    caller = ask(ring, text)
    assert (caller.key_name, caller.models, caller.expires_us) == ("renamed", {"gpt-4"}, NOW + 9_000_000)
    assert caller.caps == ((key.id, 1_000_000, "ever"),)
    assert [str(network) for network in caller.addresses] == ["127.0.0.1/32"]
    do(keys.set_limits, "renamed", models=[], **BY)
    assert json.loads(ApiKey.objects.get(id=key.id).addresses) == ["127.0.0.1"]
    do(keys.revoke, "renamed", **BY)
    ring.forget_all()
    with pytest.raises(BadKey, match="deactivated"):
        ask(ring, text)
    refused("key.revoked", keys.revoke, key.id, **BY)
    refused(r"key.state .*state\.revoked", keys.rename, key.id, name="x", actor="test")
    assert last_event().verb == "key.revoke"


def test_a_changed_cap_moves_the_floor_of_the_period(shop):
    key, _ = do(minting.issue, project="Acme", name="app", caps=Caps(day_micro=9), **BY)
    memo = f"cap:{key.id}:2026-11-24"
    do(lambda tx: journal.open_account(tx, id=memo, kind="memo", currency="USD", floor_micro=-9))
    do(key_line.set_caps, key.id, {"day": 5}, **BY)
    assert LedgerAccount.objects.get(id=memo).floor_micro == -5


def test_rotation_lets_the_old_key_expire(shop):
    old, old_text = do(minting.issue, project="Acme", name="app", models=["gpt-4"], caps=Caps(day_micro=5), **BY)
    new, new_text = do(key_line.rotate, old.id, grace_s=60, **BY)
    ring = new_ring()
    assert ask(ring, old_text, now_us=NOW + 59_999_999).key == old.id
    with pytest.raises(BadKey, match="expired"):
        ask(ring, old_text, now_us=NOW + 60_000_000)
    caller = ask(ring, new_text, now_us=NOW + 60_000_000)
    assert (caller.key, caller.key_name, caller.models, caller.expires_us) == (new.id, "app", {"gpt-4"}, None)
    assert caller.caps == ((old.id, 5, "day"),)
    refused("key.ambiguous", keys.revoke, "app", **BY)
    refused("key.grace", key_line.rotate, new.id, grace_s=91 * 86_400, **BY)
    refused("key.expired", key_line.rotate, old.id, actor="test", now_us=NOW + 60_000_000)


def test_keys_of_another_system_are_imported_and_kept_as_digests(shop):
    text = "sk-" + "M1grated" * 6
    ring = new_ring()
    with pytest.raises(BadKey, match="Incorrect API key provided"):
        ask(ring, text)
    key = do(minting.take_over, plaintext=text, project="Acme", name="old", **BY)
    assert key.hint == "sk-…ated"
    ring.forget_all()
    assert ask(ring, text).key == key.id
    refused("key.exists", minting.take_over, plaintext=text, project="Acme", name="twice", **BY)
    for bad, words in (
        ("short", "key.import_form least=20 most=512"),
        ("a b" * 10, "key.import_form least=20 most=512"),
        ("a," * 12, "key.import_form least=20 most=512"),
        ("é" * 30, "key.import_form least=20 most=512"),
    ):
        refused(words, minting.take_over, plaintext=bad, project="Acme", name="bad", **BY)
    refused("key.checksum", minting.take_over, plaintext="sk-FBX1" + "a" * 44, project="Acme", name="bad", **BY)
    assert text not in repr(list(AuditEvent.objects.values_list()))


def test_a_key_under_an_older_pepper_moves_to_the_new_one(shop):
    key, text = do(minting.issue, project="Acme", name="app", **BY)
    secrets.add("pepper", options.current())
    secrets.activate("pepper", options.current())
    ring = new_ring()
    assert ask(ring, text).key == key.id
    stored = ApiKey.objects.get(id=key.id)
    assert (stored.pepper_n, stored.digest) == (2, ring.digest(text))
    assert ask(new_ring(), text).key == key.id
    assert db.read(proof.prove, pepper_numbers=[1]) == [
        f"key {key.id} was digested with pepper 2, which the pepper file lacks"
    ]


def test_names_of_keys_are_never_shown_if_they_are_keys(shop):
    _, text = do(minting.issue, project="Acme", name="app", **BY)
    with pytest.raises(CommandError) as caught:
        keys.find(text)
    assert text[7:] not in caught.value.message


@pytest.mark.slow
def test_proof_finds_what_does_not_fit(shop):
    acme = accounts.find("Acme")
    beta, _ = do(accounts.open_account, name="Beta", currency="USD", price_list="standard", **BY)
    key, _ = do(minting.issue, project="Acme", name="app", **BY)
    assert db.read(proof.prove, pepper_numbers=[1]) == []
    breaks = [
        (LedgerAccount, acme.id, {"currency": "CNY"}, "its ledger account in CNY"),
        (LedgerAccount, acme.id, {"floor_micro": None}, "floor of another kind"),
        (LedgerAccount, acme.id, {"id": "acc_lost"}, "has no ledger account"),
        (Account, acme.id, {"price_list_id": "china"}, "price list in another currency"),
        (Account, acme.id, {"state": "closed"}, "lives on"),
        (ApiKey, key.id, {"digest": "abc"}, "64 hex"),
        (ApiKey, key.id, {"account_id": beta.id}, "two accounts"),
        (ApiKey, key.id, {"models": "{"}, "can't be read"),
        (ApiKey, key.id, {"addresses": '["x"]'}, "can't be read"),
        (ApiKey, key.id, {"state": "revoked"}, "does not fit its dates"),
        (ApiKey, key.id, {"cap_month_micro": -5}, "cap below 0"),
        (ApiKey, key.id, {"counts_as": "key_none"}, "not the first key of its line"),
    ]
    for model, pk, changes, words in breaks:
        before = model.objects.filter(pk=pk).values(*changes).get()
        do(lambda tx, m=model, p=pk, c=changes: m.objects.filter(pk=p).update(**c))
        findings = db.read(proof.prove, pepper_numbers=[1])
        assert any(words in finding for finding in findings), (words, findings)
        now = changes.get("id", pk)
        do(lambda tx, m=model, p=now, c=before: m.objects.filter(pk=p).update(**c))
        assert db.read(proof.prove, pepper_numbers=[1]) == []
