"""Pepper and master key change while everything runs, go on after a kill, and leave nothing behind (security 4)."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from farebox.kit import db, options, secrets, settings
from kit import cli, people
from kit.visitor import Visitor

pytestmark = [pytest.mark.store, pytest.mark.slow]
DAY_US = 86_400_000_000


@pytest.fixture(autouse=True)
def _signing():
    """What one rotation signs with is no other test's business."""
    from django.conf import settings as django

    before = django.SECRET_KEY, django.SECRET_KEY_FALLBACKS
    yield
    django.SECRET_KEY, django.SECRET_KEY_FALLBACKS = before


def filled(many: int = 3) -> dict[str, str]:
    """Something sealed in every place: a channel, a webhook, a seed, a message; what each says."""
    from allauth.mfa.models import Authenticator

    from farebox.accounts.models import Account, Notice, Person
    from farebox.accounts.sign_in import sealed_factors
    from farebox.kit import outbox

    master = secrets.master_keys(options.current())
    cli.ok("upstream", "add", "lab", "--cancel-billing", "stops")
    cli.ok("channel", "add", "lab-1", "lab", "http://127.0.0.1:9/v1", "--local", "--secret-file", "-", stdin="sk-lab")
    cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")
    for n in range(many):
        who = cli.ok("person", "create", f"ada{n}@example.org")["id"]
        person = Person.objects.get(id=who)
        Authenticator.objects.create(
            user=person, type="totp", data={"secret": sealed_factors.seal(f"SEED{n}", person=who)}
        )
        hook = secrets.seal(master, f"whsec{n}", table="accounts_notice", column="webhook_secret", row=f"ntc_{n}")
        Notice.objects.create(
            id=f"ntc_{n}", person=person, account=Account.objects.get(name="Ada"), webhook_secret=hook
        )
    db.write(outbox.mail, to="ada@example.org", subject="hello", text="a letter")
    return opened(many)


def opened(many: int = 3) -> dict[str, str]:
    """What every sealed place says now."""
    from allauth.mfa.models import Authenticator

    from farebox.accounts.models import Notice
    from farebox.accounts.sign_in import sealed_factors
    from farebox.kit.models import Outbox
    from farebox.upstreams.models import Channel

    master = secrets.master_keys(options.current())
    found = {}
    for row in Notice.objects.all():
        found[row.id] = secrets.unseal(
            master, row.webhook_secret, table="accounts_notice", column="webhook_secret", row=row.id
        )
    for row in Authenticator.objects.filter(type="totp"):
        found[row.user_id] = sealed_factors.unseal(row.data["secret"], person=row.user_id)
    for row in Channel.objects.exclude(secret=""):
        found[row.name] = secrets.unseal(master, row.secret, table="upstreams_channel", column="secret", row=row.id)
    for row in Outbox.objects.exclude(payload=""):
        found["letter"] = secrets.unseal(master, row.payload, table="kit_outbox", column="payload", row=row.id)
    assert len(found) == 2 * many + 2
    return found


def verdict(check: str) -> str:
    ran = cli.run("doctor", "--json")
    return next(row["verdict"] for row in ran.json["checks"] if row["check"] == check)


def test_a_new_master_key_moves_everything_and_the_old_one_is_gone(instance, tmp_path):
    cli.ok("migrate")
    before = filled()
    assert cli.ok("keys", "show")["master"] | {"since_us": None} == {
        "mints": 1, "older": [], "waiting": [], "since_us": None, "behind": [], "holding": [], "left": {},
    }  # fmt: skip
    done = cli.ok("keys", "rotate-master")
    assert (done["n"], done["new"], done["dropped"], done["lost"]) == (2, True, [1], 0)
    assert done["moved"] == len(before)
    assert list(secrets.master_keys(options.current())) == [2]
    assert (instance.data / "keys" / "master").stat().st_mode & 0o777 == 0o400
    assert opened() == before
    assert verdict("rotation") == "ok" and verdict("sealed secrets") == "ok"
    assert verdict("copy of the keys") == "warning"
    assert cli.ok("keys", "rewrap")["moved"] == 0
    trail = db.read(lambda tx: tx.all("SELECT verb FROM kit_auditevent WHERE object = 'master' ORDER BY id"))
    assert [verb for (verb,) in trail] == ["keys.add", "keys.activate", "keys.drop"]
    shown = cli.run("keys", "rotate-master")
    assert "Master key 3 is in use" in shown.out and "Master key 2 is destroyed" in shown.out
    assert "webhooks' secrets: " in shown.err


def test_killed_in_the_middle_it_goes_on(instance, monkeypatch):
    from farebox.kit import rewrapping

    cli.ok("migrate")
    monkeypatch.setattr(rewrapping, "AT_ONCE", 2)
    before = filled(5)
    # Each step is killed after its work: what it did stands, what comes next does not.
    for verb, place in (("keys.begin", ""), ("keys.activate", ""), ("keys.rewrap", "webhooks' secrets")):
        from farebox.cli.verbs import VERBS

        args = {"place": place, "after": None} if place else {"kind": "master"}
        VERBS[verb].perform(args, actor="test")
        assert opened(5) == before, verb
        assert verdict("rotation") == "warning", verb
    assert "still needed by" in cli_drop()
    master = secrets.master_keys(options.current())
    assert list(master) == [1, 2] and master.mints == 2

    with subprocess.Popen(
        [cli.PROGRAM, "keys", "rotate-master"], env=cli.environment(**instance.environ), stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL,
    ) as child:  # fmt: skip
        assert child.stderr is not None and child.stderr.readline()  # a batch is done
        child.send_signal(signal.SIGKILL)
    assert opened(5) == before
    done = cli.ok("keys", "rotate-master")
    assert done["n"] == 2 or done["new"]  # the killed one may have come to its end
    assert opened(5) == before
    assert len(secrets.master_keys(options.current())) == 1
    assert verdict("rotation") == "ok"


def cli_drop() -> str:
    from farebox.cli.verbs import VERBS
    from farebox.kit.errors import CommandError

    with pytest.raises(CommandError) as refused:
        VERBS["keys.drop"].perform({"kind": "master"}, actor="test")
    return refused.value.message


def test_old_peppers_verify_move_on_use_and_go_after_90_days(instance, monkeypatch):
    from farebox.accounts import trial
    from farebox.accounts.models import ApiKey, Trial
    from farebox.kit import clock
    from farebox.kit.models import Outbox

    cli.ok("migrate")
    cli.ok("account", "open", "Ada", "--currency", "USD", "--price-list", "official-usd")
    who = cli.ok("person", "create", "ada@example.org")["id"]
    member = cli.ok("member", "add", "Ada", who, "owner")
    for name in ("used", "unused"):
        cli.ok("key", "create", "Ada", "--name", name)
    assert db.read(settings.get, settings.KEY_MARKS)
    first = secrets.peppers(options.current())
    mailbox = secrets.digest_code(first[1], trial.mailbox("ada@example.org"), label="trial")
    Trial.objects.create(id=mailbox, account_id=member["account"], network="n", granted_us=1)

    done = cli.ok("keys", "rotate-pepper")
    assert (done["n"], done["new"], done["moved"]) == (2, True, 1)
    assert cli.ok("keys", "rotate-pepper")["new"] is False  # run again, it only goes on
    both = secrets.peppers(options.current())
    assert Trial.objects.get().id == secrets.digest_code(both[2], "ada@example.org", label="trial")
    assert cli.ok("keys", "show")["pepper"]["left"]["keys"] == 2
    assert ApiKey.objects.get(name="used").pepper_n == 1
    fresh = cli.ok("key", "create", "Ada", "--name", "fresh")
    assert ApiKey.objects.get(id=fresh["id"]).pepper_n == 2
    assert "90 days" in cli.refused("keys", "drop-pepper")
    assert verdict("rotation") == "ok"

    ApiKey.objects.filter(name="used").update(pepper_n=2)  # as its use does (tests/accounts/test_authenticate.py)
    later = clock.now_us() + 91 * DAY_US
    monkeypatch.setattr(clock, "now_us", lambda: later)
    monkeypatch.setattr(time, "time_ns", lambda: later * 1000)
    assert verdict("rotation") == "warning"
    before = Outbox.objects.count()
    done = cli.ok("keys", "drop-pepper")
    assert done["dropped"] == [1] and done["ended"]["keys"] == 1
    assert list(secrets.peppers(options.current())) == [2]
    assert set(ApiKey.objects.filter(state="active", kind="").exclude(id="key_house").values_list("name", flat=True)) == {
        "used", "fresh",
    }  # fmt: skip
    assert verdict("keys") == "ok"
    assert Outbox.objects.count() == before + 1  # its owner is told
    assert cli.ok("keys", "drop-pepper")["dropped"] == []
    assert cli.ok("account", "list")


def test_a_node_that_lacks_the_new_key_holds_it_back(instance):
    from farebox.kit import clock, keyfiles
    from farebox.kit.models import Epoch

    cli.ok("migrate")
    now_us = clock.now_us()
    Epoch.objects.create(id="ep_far", node="far", started_us=now_us, seen_us=now_us, keys="")
    keyfiles.serving = True  # on SQLite nobody else can be there
    from farebox.cli.commands import rotation

    before, rotation.TRIES_S = rotation.TRIES_S, 0
    try:
        said = cli.refused("keys", "rotate-master")
        assert "far lacks key 2" in said and str(options.current().master_key) in said
        assert secrets.master_keys(options.current()).mints == 1
        assert verdict("rotation") == "warning"
        have = keyfiles.said(secrets.peppers(options.current()), secrets.master_keys(options.current()))
        Epoch.objects.update(keys=have, seen_us=clock.now_us())
        rotation.SETTLE_S, settle = 0, rotation.SETTLE_S
        assert "far does not work with key 2 yet" in cli.run("keys", "rotate-master").err
        rotation.SETTLE_S = settle
        assert list(secrets.master_keys(options.current())) == [1, 2]  # nothing is destroyed
    finally:
        keyfiles.serving, rotation.TRIES_S = False, before


def test_while_a_server_runs(shop):
    """Calls with an old key go on, persons stay signed in, and nothing needs a restart."""
    customer = people.customer(shop)
    model = shop.model("m-rotated", {"input": "1", "output": "1"})
    worker = people.operator(shop)
    stranger = Visitor(shop, "en")
    stranger.get("/account/sign-in")

    def call():
        return customer.customer.chat(model).status

    assert call() == 200
    assert "Pepper 2 is in use" in cli.run("keys", "rotate-pepper").out  # the server's log may stand beside it
    assert "Master key 1 is destroyed" in cli.run("keys", "rotate-master").out
    from farebox.accounts.models import ApiKey

    deadline = time.monotonic() + 10
    while list(shop.server._key_files.master) != [2] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert call() == 200
    assert ApiKey.objects.get(id=customer.customer.key_id).pepper_n == 2
    assert customer.get("/console/keys").status == 200
    assert worker.get("/office/").status == 200
    assert shop.server.node is not None and not shop.server.ports.shop.board.current.broken
