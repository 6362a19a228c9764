"""Keys in the console: whose they are, what the stub says, and that what is set there is in force."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.urls import reverse

from farebox.accounts.caps import Caps
from kit import minting, people
from kit.people import customer, signed_in
from kit.shop import Customer
from kit.talk import PROMPTLY_S, wait_for
from kit.visitor import Visitor

pytestmark = pytest.mark.slow

MODEL = "gpt-4o-mini"


@pytest.fixture
def owner(shop):
    return customer(shop, "1")


def row(key_id):
    from farebox.accounts.models import ApiKey

    return ApiKey.objects.get(id=key_id)


def project_of(person):
    return row(person.customer.key_id).project_id


def issue(shop, project, member=None, **facts):
    from farebox.kit import clock

    given = {"name": "k", **facts}
    made, text = shop.write(minting.issue, project=project, member=member, now_us=clock.now_us(), actor="test", **given)
    return Customer(shop, made.account_id, made.id, text)


def new_project(shop, account, name):
    from farebox.accounts import projects
    from farebox.kit import clock

    return shop.write(projects.create, account=account, name=name, now_us=clock.now_us(), actor="test").id


def make(person, **fields):
    """Fill in the form of a new key; the page that answers."""
    return person.through("/console/keys/new", **{"name": "laptop", "project": project_of(person), **fields})


def pre(page, name):
    """The text of a copy field."""
    return unescape(re.search(rf'<pre id="{name}">(.*?)</pre>', page.html, re.DOTALL)[1])


def made(shop, page):
    """Who calls with the key on the stub."""
    assert page.status == 200, page.text[:2000]
    key = re.search(r'/console/keys/(key_[0-9A-Za-z]+)"', page.html)[1]
    return Customer(shop, row(key).account_id, key, pre(page, "key-text"))


# whose


def test_who_is_not_signed_in_is_sent_to_the_door(shop, owner):
    key, visitor = owner.customer.key_id, Visitor(shop)
    for path in ("/console/keys", "/console/keys/new", f"/console/keys/{key}"):
        answer = visitor.get(path)
        assert answer.status == 302
        assert answer.headers["location"].startswith(reverse("account_login"))
    for verb in ("change", "rotate", "revoke"):
        answer = visitor.send(f"/console/keys/{key}/{verb}", {"name": "x", "grace": "0"})
        assert (answer.status, answer.headers["location"].split("?")[0]) == (302, reverse("account_login"))
    assert row(key).state == "active"


def test_everybody_sees_what_is_his(shop, owner):
    other = new_project(shop, owner.customer.account, "other")
    admin = customer(shop, of=owner, role="admin")
    member = customer(shop, of=owner, role="member")
    keys = {
        "own": issue(shop, project_of(owner), member.member, name="of the member").key_id,
        "project": issue(shop, project_of(owner), name="of the project").key_id,
        "other": issue(shop, other, name="of another project").key_id,
        "foreign": customer(shop, "0").customer.key_id,
        "absent": "key_0000000000000000000000000",
    }
    sees = {owner: {"own", "project", "other"}, admin: {"own", "project"}, member: {"own"}}
    for person, mine in sees.items():
        listed = person.get("/console/keys?ended=1").body.decode()
        for name, key in keys.items():
            assert (key in listed) == (name in mine), (person.email, name)
            assert person.get(f"/console/keys/{key}").status == (200 if name in mine else 404)
            if name not in mine:
                for verb in ("change", "rotate", "revoke"):
                    assert person.send(f"/console/keys/{key}/{verb}", {"grace": "0", "name": "x"}).status == 404
    assert {row(key).state for name, key in keys.items() if name != "absent"} == {"active"}
    assert {row(key).replaced_by for name, key in keys.items() if name != "absent"} == {""}


def test_a_key_goes_where_its_maker_has_a_place(shop, owner):
    other = new_project(shop, owner.customer.account, "other")
    member = customer(shop, of=owner, role="member")
    page = member.through("/console/keys/new", name="mine", project=other)
    assert page.status == 400
    assert "other" not in re.findall(r"<option[^>]*>([^<]+)", page.html)
    mine = made(shop, member.through("/console/keys/new", name="mine", project=project_of(owner)))
    assert row(mine.key_id).member_id == member.member
    his = made(shop, owner.through("/console/keys/new", name="his", project=other))
    assert (row(his.key_id).project_id, row(his.key_id).member_id) == (other, owner.member)
    foreign = customer(shop, "0")
    assert owner.through("/console/keys/new", name="x", project=project_of(foreign)).status == 400


def test_an_operator_is_no_customer(shop, owner):
    from farebox.look.sessions import COOKIES

    office = people.operator(shop)
    office.cookies[COOKIES["console"]] = office.cookies[COOKIES["office"]]  # a session of another area is none
    assert office.get(f"/console/keys/{owner.customer.key_id}").status == 302


def test_state_changes_come_by_post_with_their_token(owner):
    key = owner.customer.key_id
    for verb in ("change", "rotate", "revoke"):
        answer = owner.get(f"/console/keys/{key}/{verb}")
        assert (answer.status, answer.headers["location"]) == (302, f"/console/keys/{key}")
        assert owner.get(f"/console/keys/key_0000000000000000000000000/{verb}").status == 404
        answer = owner.send(f"/console/keys/{key}/{verb}", {"csrfmiddlewaretoken": "x" * 32})
        assert answer.status == 403
    assert row(key).state == "active"


def test_a_new_key_asks_for_a_proof_that_is_older_than_five_minutes(shop):
    from farebox.accounts.models import Person
    from farebox.accounts.sign_in import sessions
    from farebox.look.sessions import COOKIES

    person = customer(shop, "1", password=people.PASSWORD)
    long_ago = [{"method": "password", "at": time.time() - 400}]
    who = Person.objects.get(id=person.person)
    person.cookies[COOKIES["console"]] = sessions.sign_in(who, area="console", methods=long_ago)
    asked = person.get("/console/keys/new")
    assert asked.status == 302
    door = urlsplit(asked.headers["location"])
    assert door.path == reverse("account_reauthenticate")
    assert parse_qs(door.query)["next"] == ["/console/keys/new"]
    key = person.customer.key_id
    again = person.send(f"/console/keys/{key}/rotate", {"grace": "0"})
    assert again.headers["location"].startswith(door.path)
    assert row(key).replaced_by == ""
    assert person.get(f"/console/keys/{key}").status == 200  # to look asks for nothing
    back = person.fill(f"{door.path}?{door.query}", password=people.PASSWORD)
    assert (back.status, back.headers["location"]) == (302, "/console/keys/new")
    assert person.get("/console/keys/new").status == 200


# what is made


def test_everything_of_the_form_is_in_the_key(shop, owner):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    page = make(
        owner, name="Server №1", models=[MODEL, "gpt-4"], cap_day="2.50", cap_month="20", cap_ever="90", day=tomorrow.isoformat(),
        rpm="10", tpm="5000", concurrency="2", addresses="127.0.0.1\n10.0.0.0/8, 2001:db8::/32",
    )  # fmt: skip
    me = made(shop, page)
    key = row(me.key_id)
    ends = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=UTC) + timedelta(days=1)
    assert (key.name, json.loads(key.models), key.caps) == (
        "Server №1", ["gpt-4", MODEL], Caps(2_500_000, 20_000_000, 90_000_000),
    )  # fmt: skip
    assert (key.rpm, key.tpm, key.concurrency) == (10, 5000, 2)
    assert key.expires_us == int(ends.timestamp()) * 1_000_000
    assert json.loads(key.addresses) == ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]
    answer = me.chat(MODEL)
    assert (answer.status, answer.headers["x-ratelimit-limit-requests"]) == (200, "10")
    assert me.chat("gpt-3.5-turbo-0125").status == 404


def test_the_text_is_shown_once_and_kept_nowhere(shop, owner):
    from farebox.accounts.models import ApiKey
    from farebox.kit.models import AuditEvent

    page = make(owner)
    me = made(shop, page)
    assert page.headers["cache-control"] == "no-store"
    assert me.key.startswith("sk-")
    assert me.key not in owner.page(f"/console/keys/{me.key_id}").html
    assert me.key not in owner.page("/console/keys").html
    kept = [*ApiKey.objects.values_list(), *AuditEvent.objects.values_list()]
    assert not any(me.key in str(value) for values in kept for value in values)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "a\x07b"}, "A name can't contain control characters."),
        ({"project": "prj_nowhere"}, "Select a valid choice."),
        ({"models": ["gpt-99"]}, "Select a valid choice."),
        ({"cap_day": "1,2,x"}, "Enter an amount such as 12.50"),
        ({"cap_month": "-1"}, "Enter an amount such as 12.50"),
        ({"cap_ever": "0.0000001"}, "Enter an amount such as 12.50"),
        ({"day": "2020-01-01"}, "Choose today or a later day."),
        ({"day": "9999-12-31"}, "Choose today or a later day."),
        ({"day": "soon"}, "Enter a valid date."),
        ({"rpm": "0"}, "greater than or equal to 1"),
        ({"tpm": "many"}, "Enter a whole number."),
        ({"concurrency": "10001"}, "less than or equal to 10000"),
        ({"addresses": "example.com"}, "is not an IP address such as 203.0.113.7"),
        (
            {"addresses": "\n".join(f"10.0.0.{n}" for n in range(101))},
            "A key can have at most 100 addresses or networks.",
        ),
    ],
)
def test_what_can_not_be_read_is_said_beside_its_field(owner, fields, says):
    from farebox.accounts.models import ApiKey

    before = ApiKey.objects.count()
    page = make(owner, **fields)
    assert page.status == 400
    assert says in page.text
    assert ApiKey.objects.count() == before


# the settings, read as the programs read them


def test_nextchat_reads_the_import_link(shop, owner):
    """`#/?settings={json}`: NextChat's router splits the hash, URLSearchParams decodes, JSON.parse reads."""
    page = make(owner, models=[MODEL, "gpt-4"])
    me = made(shop, page)
    link = pre(page, "nextchat-link")
    assert unescape(re.search(r'id="nextchat-import" href="([^"]+)"', page.html)[1]) == link
    found = urlsplit(link)
    assert (found.scheme, found.netloc, found.query) == ("https", "app.nextchat.dev", "")
    route, _, query = found.fragment.partition("?")
    assert route == "/"
    given = json.loads(parse_qs(query, strict_parsing=True)["settings"][0])
    assert set(given) == {"key", "url"}
    assert given["key"] == me.key
    assert not given["url"].endswith(("/", "/v1"))
    assert urlsplit(f"{given['url']}/v1/chat/completions").netloc == urlsplit(pre(page, "key-base")).netloc


def test_nextchat_reads_the_environment_of_a_deployment(shop, owner):
    page = make(owner, models=[MODEL, "gpt-4"])
    me = made(shop, page)
    lines = dict(line.split("=", 1) for line in pre(page, "nextchat-deployment").strip().splitlines())
    assert set(lines) == {"BASE_URL", "OPENAI_API_KEY", "ENABLE_BALANCE_QUERY", "CUSTOM_MODELS"}
    assert (lines["OPENAI_API_KEY"], lines["ENABLE_BALANCE_QUERY"]) == (me.key, "1")
    models = {"gpt-5": True}  # what NextChat knows by itself
    for each in lines["CUSTOM_MODELS"].split(","):  # as its collectModelTable does
        available, name = not each.startswith("-"), each.lstrip("+-").split("=")[0]
        if name == "all":
            models = dict.fromkeys(models, available)
        else:
            model, _, provider = name.rpartition("@")
            assert provider == "OpenAI"
            models[model] = available
    assert {name for name, available in models.items() if available} == {MODEL, "gpt-4"}


def test_gpt_academic_reads_its_config(shop, owner):
    """config_private.py is Python; the key must have the form that is_openai_api_key knows."""
    shop.model("ours-32k", {"input": "1", "output": "2"})
    page = make(owner, models=[MODEL, "ours-32k"])
    me = made(shop, page)
    config: dict[str, object] = {}
    exec(pre(page, "gpt-academic-config"), config)
    assert config["API_KEY"] == me.key
    assert re.fullmatch(r"sk-[a-zA-Z0-9_-]{48}|sk-[a-zA-Z0-9_-]{92}", config["API_KEY"])
    redirect = config["API_URL_REDIRECT"]["https://api.openai.com/v1/chat/completions"]
    assert redirect == pre(page, "key-base") + "/chat/completions"
    assert config["LLM_MODEL"] in config["AVAIL_LLM_MODELS"]
    sent = set()
    for name in config["AVAIL_LLM_MODELS"]:
        if name.startswith("one-api-"):
            limit = re.search(r"\(max_token=(\d+)\)", name)
            assert int(limit[1]) == 32_768
            name = name.removeprefix("one-api-").replace(limit[0], "")
        sent.add(name)
    assert sent == {MODEL, "ours-32k"}
    assert {me.chat(name).status for name in sent} == {200}


def test_the_environment_file_and_the_code_carry_key_and_address(shop, owner):
    page = make(owner)
    me = made(shop, page)
    lines = dict(line.split("=", 1) for line in pre(page, "env-file").strip().splitlines())
    assert lines == {"OPENAI_BASE_URL": pre(page, "key-base"), "OPENAI_API_KEY": me.key}
    for name in ("python-code", "langchain-code"):
        compile(pre(page, name), name, "exec")
        assert me.key in pre(page, name)
    for name in ("node-code", "curl-chat"):
        assert me.key in pre(page, name)


PROGRAMS = ("python", "langchain", "node", "curl")


@pytest.mark.parametrize(
    ("model", "kind"), [("text-embedding-3-small", "embeddings"), ("gpt-3.5-turbo-instruct", "completions")]
)
def test_settings_fit_a_key_that_can_not_chat(shop, owner, capsys, model, kind):
    page = make(owner, models=[model])
    me = made(shop, page)
    here = f"{shop.url}/v1"
    for name in PROGRAMS:
        code = pre(page, f"{name}-{kind}")
        assert model in code and me.key in code
        assert f'<pre id="{name}-code"' not in page.html and f'<pre id="{name}-chat"' not in page.html
        if name in {"python", "langchain"}:
            exec(compile(code.replace(pre(page, "key-base"), here), name, "exec"), {})
            assert capsys.readouterr().out.strip()
    words = shlex.split(pre(page, f"curl-{kind}").replace(pre(page, "key-base"), here).replace("\\\n", " "))
    answer = json.loads(subprocess.run([*words, "-s"], check=True, capture_output=True, timeout=20).stdout)
    assert (answer["model"], bool(answer.get("data") or answer.get("choices"))) == (model, True)
    assert "gpt-4o-mini" not in page.html
    assert "nextchat-models" not in page.html and "nextchat-import" not in page.html
    assert "gpt-academic-config" not in page.html
    assert page.text.count("This app only calls chat models, and none is available.") == 2
    assert "The test needs a chat model" in page.text
    assert 'id="try-go"' not in page.html and "key_made.js" not in page.html


def test_who_can_chat_is_shown_chats_and_embeddings(shop, owner):
    page = make(owner, models=[MODEL, "text-embedding-3-small", "gpt-3.5-turbo-instruct"])
    assert MODEL in pre(page, "python-code") and "text-embedding-3-small" in pre(page, "python-embeddings")
    assert "python-completions" not in page.html
    assert re.findall(r"<option[^>]*>([^<]+)", page.html) == [MODEL]
    assert "instruct" not in pre(page, "nextchat-models") + pre(page, "gpt-academic-config")


def test_no_model_is_made_up_where_none_is_on_sale(shop, owner):
    gone = shop.model("gone-today", {"input": "1", "output": "2"})
    old = made(shop, make(owner, models=[gone]))

    from farebox.catalog import shelf

    shop.write(shelf.unlist, gone, why="test", actor="test")
    shop.refresh()
    page = owner.through(f"/console/keys/{old.key_id}", f"/console/keys/{old.key_id}/rotate", grace="3600")
    assert 'model="MODEL"' in pre(page, "python-code")
    assert "No model is available yet." in page.text
    assert "so it can't be tested." in page.text
    assert "gpt-" not in page.html.replace("gpt-academic", "")
    assert pre(page, "env-file")


# one key


def test_the_page_of_a_key_adds_up_to_its_receipts(shop, owner):
    from farebox.look.templatetags.look import exact, money

    me = owner.customer
    charges = [me.receipt(me.chat("gpt-4", "Hello there " * n))["charge_micro"] for n in (1, 20, 50)]
    other = issue(shop, project_of(owner))
    other.receipt(other.chat("gpt-4"))
    total = money(sum(charges), "USD")
    page = owner.page(f"/console/keys/{me.key_id}")
    assert page.rows()[datetime.now(UTC).strftime("%Y-%m-%d")][-1] == total
    assert page.text.count(total) >= 3  # today, this month, the table
    listed = next(each for each in owner.page("/console/keys").tables[0] if each[0].startswith("test "))
    assert listed[3:5] == [exact(sum(charges)), exact(sum(charges))]
    assert listed[5] == "just now"


def test_a_change_is_in_force(shop, owner):
    me = owner.customer
    page = owner.fill(
        f"/console/keys/{me.key_id}", f"/console/keys/{me.key_id}/change",
        name="renamed", models=["gpt-4"], cap_ever="0.75", rpm="7", tpm="", concurrency="", addresses="",
    )  # fmt: skip
    assert (page.status, page.headers["location"]) == (302, f"/console/keys/{me.key_id}")
    key = row(me.key_id)
    assert (key.name, json.loads(key.models), key.caps, key.rpm) == (
        "renamed", ["gpt-4"], Caps(ever_micro=750_000), 7,
    )  # fmt: skip
    wait_for(lambda: me.chat(MODEL).status == 404, 1)
    assert me.chat("gpt-4").headers["x-ratelimit-limit-requests"] == "7"
    shown = owner.page(f"/console/keys/{me.key_id}")
    assert "$0.75 total" in shown.text
    wrong = owner.fill(f"/console/keys/{me.key_id}", f"/console/keys/{me.key_id}/change", name="", rpm="-3")
    assert wrong.status == 400
    assert "greater than or equal to 1" in wrong.text
    assert row(me.key_id).rpm == 7


def test_a_change_writes_only_what_differs(shop, owner):
    from farebox.kit.models import AuditEvent

    key = made(
        shop, make(owner, day=(datetime.now(UTC) + timedelta(days=3)).date().isoformat(), cap_month="1", rpm="5")
    )
    before, stays = AuditEvent.objects.count(), row(key.key_id).expires_us
    path = f"/console/keys/{key.key_id}"
    day = re.search(r'name="day" value="([^"]+)"', owner.page(path).html)[1]
    given = {"name": "laptop", "cap_month": "1", "rpm": "5", "day": day}
    assert owner.fill(path, f"{path}/change", **given).status == 302
    assert (AuditEvent.objects.count(), row(key.key_id).expires_us) == (before, stays)
    assert owner.fill(path, f"{path}/change", **given | {"rpm": "6"}).status == 302
    assert AuditEvent.objects.order_by("-id").first().verb == "key.set_rates"
    assert AuditEvent.objects.count() == before + 1


def test_rotation_with_and_without_grace(shop, owner):
    old = made(shop, make(owner, rpm="50", cap_month="3", models=[MODEL]))
    path = f"/console/keys/{old.key_id}"
    page = owner.through(path, f"{path}/rotate", grace="3600")
    new = made(shop, page)
    assert "The old key works until" in page.text
    assert {old.chat(MODEL).status, new.chat(MODEL).status} == {200}
    before, after = row(old.key_id), row(new.key_id)
    assert before.replaced_by == after.id
    assert 3500 < before.expires_us / 1e6 - time.time() < 3601
    assert (after.rpm, after.caps, after.models, after.member_id) == (50, before.caps, before.models, owner.member)
    shown = owner.page(path)
    used = [
        re.search(r"\$3\.00 per month · (\$0\.\d+) used", owner.page(f"/console/keys/{each.key_id}").text)[1]
        for each in (old, new)
    ]
    assert used[0] == used[1] != "$0.00"  # counted together
    assert "apply to this key together with those it was rotated with" in shown.text
    assert "This key is being replaced" in shown.text
    assert f"/console/keys/{new.key_id}" in shown.html
    assert f"{path}/rotate" not in shown.html
    again = owner.send(f"{path}/rotate", {"grace": "3600"})
    assert (again.status, again.headers["location"]) == (302, path)
    assert "was already rotated" in owner.follow(again).text
    at_once = made(shop, owner.through(f"/console/keys/{new.key_id}", f"/console/keys/{new.key_id}/rotate", grace="0"))
    wait_for(lambda: new.chat(MODEL).status == 401)
    assert at_once.chat(MODEL).status == 200
    assert owner.send(f"/console/keys/{at_once.key_id}/rotate", {"grace": "99"}).status == 400


def test_revoking_is_within_a_second_and_for_good(shop, owner):
    me = owner.customer
    path = f"/console/keys/{me.key_id}"
    assert me.chat(MODEL).status == 200
    page = owner.fill(path, f"{path}/revoke")
    begun = time.monotonic()
    wait_for(lambda: me.chat(MODEL).status == 401)
    assert time.monotonic() - begun < PROMPTLY_S
    assert "revoked." in owner.follow(page).text
    shown = owner.page(path)
    assert f"{path}/change" not in shown.html
    assert "is already revoked" in owner.follow(owner.send(f"{path}/revoke", {})).text
    refused = owner.send(f"{path}/change", {"name": "again"})
    assert refused.status == 400
    assert row(me.key_id).name == "test"
    assert path not in owner.page("/console/keys").html
    assert path in owner.page("/console/keys?ended=1").html


def test_the_list_is_searched_and_has_pages(shop, owner, monkeypatch):
    from farebox.console.keys import keys

    monkeypatch.setattr(keys, "PAGE", 3)
    names = [f"class {n}" for n in range(5)]
    made_keys = [issue(shop, project_of(owner), name=name) for name in names]
    first = owner.page("/console/keys")
    assert [cell.rsplit(" ", 1)[0] for cell in first.column(0)] == ["class 4", "class 3", "class 2"]
    older = re.search(r'href="(\?before=[^"]+)"', first.html)[1]
    second = owner.page("/console/keys" + unescape(older))
    assert [cell.rsplit(" ", 1)[0] for cell in second.column(0)] == ["class 1", "class 0", "test"]
    assert not re.search(r'href="\?before=', second.html)
    assert len(owner.page("/console/keys?q=class+3").tables[0]) == 2
    last = row(made_keys[0].key_id).hint[-4:]
    assert f"/console/keys/{made_keys[0].key_id}" in owner.page(f"/console/keys?q={last}").html
    assert "No keys match your search." in owner.page("/console/keys?q=nothing-like-it").text


def test_names_are_text_and_nothing_else(shop, owner):
    evil = '"><script>alert(1)</script>'
    key = made(shop, make(owner, name=evil))
    for path in ("/console/keys", f"/console/keys/{key.key_id}", f"/console/keys?q={evil[:6]}"):
        assert "<script>alert" not in owner.page(path).html


def test_who_has_no_key_is_told_what_to_do(shop):
    owner = customer(shop, "1")
    member = customer(shop, of=owner, role="member")
    page = member.page("/console/keys")
    assert "No keys yet." in page.text
    assert "/console/keys/new" in page.html


def test_in_chinese(shop):
    person = customer(shop, "1", language="zh-CN")
    assert "新建密钥" in person.page("/console/keys").text
    form = person.page("/zh/console/keys/new").text
    assert re.search("密钥的限额（USD）.*每天.*每月.*累计上限.*留空则不限。", form)
    page = person.through("/zh/console/keys/new", name="课堂", project=project_of(person), cap_day="1", cap_ever="9")
    assert "显示 10 分钟" in page.text
    made_key = re.search(r"sk-[A-Za-z0-9]{48}", page.html)[0]
    assert Customer(shop, person.customer.account, "", made_key).chat(MODEL).status == 200
    from farebox.accounts.models import ApiKey

    shown = person.page(f"/zh/console/keys/{ApiKey.objects.get(name='课堂', account=person.customer.account).id}").text
    assert re.search(r"1\.00 每天 · 已用 .*9\.00 累计上限 · 已用 ", shown), shown
    paths = re.findall(r'href="(/(?!language)[^"?]*console/[^"]*)"', page.html)
    assert paths
    assert all(path.startswith(("/zh/", "/static/")) for path in paths)


def test_the_stub_of_a_key_can_be_read_again_and_makes_no_second_key(shop):
    from farebox.accounts.models import ApiKey

    person = customer(shop, "1")
    answer = person.fill("/console/keys/new", name="laptop", project=project_of(person))
    assert answer.status == 302
    here = answer.headers["location"]
    first = pre(person.page(here), "key-text")
    page = person.page("/zh" + here)
    assert "余额或限额不足" in unescape(page.html)  # what the test of the key says of a refusal
    assert pre(page, "key-text") == first and "你的新密钥" in page.text
    assert person.send("/theme", {"theme": "dark", "next": here}).headers["location"] == here
    assert pre(person.page(here), "key-text") == first
    assert f'name="next" value="/zh{here}"' in page.html and f"next={here}" in page.html
    assert ApiKey.objects.filter(account=person.customer.account, name="laptop").count() == 1
    # In the store it is sealed, and another person of the account is not shown it.
    from farebox.accounts.models import Person
    from farebox.accounts.sign_in.sessions import SessionStore

    stored = SessionStore(person.cookies["__Host-s"]).load()
    assert "kept" in stored and first not in str(stored)
    other = customer(shop, of=person)
    assert other.get(here).headers["location"] == here.removesuffix("/made")
    elsewhere = signed_in(shop, Person.objects.get(id=person.person), "console", "password")
    assert elsewhere.get(here).headers["location"] == here.removesuffix("/made")
    # Put away, it is gone.
    assert person.fill(here).headers["location"] == here.removesuffix("/made")
    assert person.get(here).status == 302


def test_the_stub_of_a_rotated_key_can_be_read_again(shop):
    person = customer(shop, "1")
    old = person.customer.key_id
    answer = person.fill(f"/console/keys/{old}", f"/console/keys/{old}/rotate", grace="3600")
    here = answer.headers["location"]
    assert pre(person.page(here), "key-text") == pre(person.page("/zh" + here), "key-text")
    assert "The old key works until" in person.page(here).text


def test_a_member_with_two_places_signs_in_once(shop, owner):
    """The admin of one project who is a member of another sees his project and his own keys elsewhere."""
    from farebox.accounts.models import Person
    from farebox.accounts.people import people as persons
    from farebox.kit import clock

    other = new_project(shop, owner.customer.account, "second")
    admin = customer(shop, of=owner, role="admin")
    place = shop.write(
        persons.add_member, account=owner.customer.account, person=admin.person, role="member", project=other,
        now_us=clock.now_us(), actor="test",
    )  # fmt: skip
    his, not_his = issue(shop, other, place.id), issue(shop, other, name="x")
    again = signed_in(shop, Person.objects.get(id=admin.person), "console", "password")
    assert again.get(f"/console/keys/{his.key_id}").status == 200
    assert again.get(f"/console/keys/{not_his.key_id}").status == 404
    assert again.get(f"/console/keys/{owner.customer.key_id}").status == 200


# a note


def test_a_note_goes_with_its_key(shop, owner):
    from farebox.accounts.models import ApiKey

    key = made(shop, make(owner, name="lent", note="for the reading group")).key_id
    here = f"/console/keys/{key}"
    assert row(key).note == "for the reading group"
    assert 'value="for the reading group"' in owner.page(here).html
    owner.fill(here, f"{here}/change", name="lent", note="lent to Bo")
    assert row(key).note == "lent to Bo"
    told = owner.page("/console/changes").text
    assert "lent to Bo" in told and "{" not in told
    owner.fill(here, f"{here}/rotate", grace="3600")
    assert [each.note for each in ApiKey.objects.filter(name="lent")] == ["lent to Bo"] * 2
    assert owner.fill(here, f"{here}/change", name="lent", note="x" * 201).status == 400


def test_a_note_by_command_is_shown_by_the_management_api(shop):
    from farebox.cli.verbs import VERBS
    from farebox.kit.errors import CommandError
    from farebox.office.api.shapes_people import KeyOut

    def create(note):
        facts = {"project": shop.account("1").account, "terms": {"name": "batch", "note": note}}
        return VERBS["key.create"].perform(facts, actor="test")

    assert KeyOut.model_validate(create("nightly job")).note == "nightly job"
    with pytest.raises(CommandError, match="key.note"):
        create("x" * 201)
