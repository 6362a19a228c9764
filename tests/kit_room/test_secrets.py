"""Key files, digests, envelopes and the redaction of logs."""

from __future__ import annotations

import stat

import pytest

from farebox.kit import options, secrets
from farebox.kit.errors import CommandError
from kit.rows import for_each

PLACE = {"table": "upstreams_channel", "column": "secret", "row": "chn_1"}


@pytest.fixture
def opts(tmp_path):
    return options.Options({"data_dir": str(tmp_path / "var")})


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_key_files_are_made_once_and_for_the_owner_alone(opts):
    secrets.ensure(opts)
    before = (opts.pepper.read_bytes(), opts.master_key.read_bytes())
    assert (mode(opts.pepper), mode(opts.master_key), mode(opts.pepper.parent)) == (0o400, 0o400, 0o700)
    secrets.ensure(opts)
    assert (opts.pepper.read_bytes(), opts.master_key.read_bytes()) == before
    assert sorted(path.name for path in opts.pepper.parent.iterdir()) == ["master", "pepper"]
    assert before[0].decode().splitlines()[0] == "farebox pepper 1"
    assert list(secrets.peppers(opts)) == [1]
    assert len(secrets.peppers(opts)[1]) == 32
    assert secrets.peppers(opts)[1] != secrets.master_keys(opts)[1]


def test_absent_files_are_named_with_the_next_step(opts):
    for reading in (secrets.peppers, secrets.master_keys):
        with pytest.raises(CommandError, match="key_file.missing"):
            reading(opts)


def test_files_may_lie_elsewhere(tmp_path):
    opts = options.Options(
        {
            "data_dir": str(tmp_path),
            "pepper_file": str(tmp_path / "a/b/p"),
            "master_key_file": str(tmp_path / "m"),
        }
    )
    secrets.ensure(opts)
    assert (tmp_path / "a/b/p").is_file()
    assert mode(tmp_path / "a") == mode(tmp_path / "a/b") == 0o700
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "farebox pepper 1\n",
        "farebox master 1\n1 " + "0" * 64 + "\n",
        "farebox pepper 2\n1 " + "0" * 64 + "\n",
        "farebox pepper 1\n1 " + "0" * 63 + "\n",
        "farebox pepper 1\n2 " + "0" * 64 + "\n1 " + "1" * 64 + "\n",
        "farebox pepper 1\n1 " + "0" * 64 + "\nrest\n",
        "\xff\xfe",
    ],
)
def test_a_broken_file_is_refused_and_left_as_it_is(opts, text):
    secrets.ensure(opts)
    opts.pepper.unlink()
    opts.pepper.write_bytes(text.encode("latin-1"))
    with pytest.raises(CommandError, match="key_file.other_form"):
        secrets.ensure(opts)
    assert opts.pepper.read_bytes() == text.encode("latin-1")


def test_a_new_pepper_comes_last_and_the_old_one_stays(opts):
    secrets.ensure(opts)
    old = secrets.peppers(opts)
    assert secrets.add("pepper", opts) == secrets.add("pepper", opts) == 2  # one waits at a time
    now = secrets.peppers(opts)
    assert list(now) == [1, 2] and now[1] == old[1]
    assert secrets.newest(now) == (1, now[1])  # the new one verifies only
    assert secrets.activate("pepper", opts) == 2
    now = secrets.peppers(opts)
    assert secrets.newest(now) == (2, now[2])
    assert secrets.in_order(now) == [now[2], now[1]]
    assert secrets.drop_older("pepper", opts) == [1]
    assert dict(secrets.peppers(opts)) == {2: now[2]}
    assert mode(opts.pepper) == 0o400


def test_digests_have_labels_of_their_own():
    pepper = b"p" * 32
    key, code = secrets.digest_key(pepper, "abc"), secrets.digest_code(pepper, "abc", label="invite")
    assert len(key) == len(code) == 64
    assert (
        len(
            {
                key,
                code,
                secrets.digest_code(pepper, "abc", label="reset"),
                secrets.digest_key(b"q" * 32, "abc"),
            }
        )
        == 4
    )
    with pytest.raises(UnicodeEncodeError):
        secrets.digest_key(pepper, "ключ")


def test_a_sealed_text_comes_back_and_is_never_the_same_twice():
    master = {1: b"m" * 32}
    sealed = secrets.seal(master, "sk-üpstream", **PLACE)
    assert secrets.unseal(master, sealed, **PLACE) == "sk-üpstream"
    assert sealed != secrets.seal(master, "sk-üpstream", **PLACE)
    assert "stream" not in sealed
    assert secrets.unseal(master, secrets.seal(master, "", **PLACE), **PLACE) == ""


@pytest.mark.parametrize("field", ["table", "column", "row"])
def test_a_ciphertext_moved_elsewhere_fails(field):
    master = {1: b"m" * 32}
    sealed = secrets.seal(master, "secret", **PLACE)
    with pytest.raises(CommandError, match="secret.unreadable"):
        secrets.unseal(master, sealed, **PLACE | {field: "other"})


def test_fields_of_the_place_do_not_run_into_each_other():
    master = {1: b"m" * 32}
    sealed = secrets.seal(master, "secret", table="ab", column="c", row="d")
    with pytest.raises(CommandError):
        secrets.unseal(master, sealed, table="a", column="bc", row="d")


def test_any_changed_character_fails():
    master = {1: b"m" * 32}
    sealed = secrets.seal(master, "secret", **PLACE)
    for index, char in enumerate(sealed):
        changed = sealed[:index] + ("A" if char != "A" else "Q") + sealed[index + 1 :]
        with pytest.raises(CommandError):
            secrets.unseal(master, changed, **PLACE)


@pytest.mark.parametrize("text", ["", "plain text", "é", "A" * 20, "Ag" + "A" * 200])
def test_what_is_no_sealed_text_is_said_to_be_none(text):
    with pytest.raises(CommandError, match="secret.not_sealed"):
        secrets.unseal({1: b"m" * 32}, text, **PLACE)


def test_rewrap_moves_to_the_newest_master_key():
    old, new = {1: b"m" * 32}, {1: b"m" * 32, 2: b"n" * 32}
    sealed = secrets.seal(old, "secret", **PLACE)
    moved = secrets.rewrap(new, sealed, **PLACE)
    assert (secrets.sealed_under(sealed), secrets.sealed_under(moved)) == (1, 2)
    assert secrets.unseal(new, sealed, **PLACE) == "secret"
    assert secrets.unseal({2: new[2]}, moved, **PLACE) == "secret"
    assert secrets.rewrap(new, moved, **PLACE) == moved
    with pytest.raises(CommandError, match="secret.other_key"):
        secrets.unseal(old, moved, **PLACE)
    with pytest.raises(CommandError, match="secret.unreadable"):
        secrets.unseal({1: b"x" * 32}, sealed, **PLACE)


def test_derived_text_lasts_with_the_key_file_and_differs_by_label(opts):
    without = secrets.derived_text(opts, "django")
    assert without == secrets.derived_text(opts, "django")
    secrets.ensure(opts)
    kept = secrets.derived_text(opts, "django")
    assert kept != without
    assert kept == secrets.derived_text(options.Options({"data_dir": opts.data_dir}), "django")
    assert kept != secrets.derived_text(opts, "other")
    assert len(kept) == 64


@for_each(
    ("text", "secret", "kept"),
    [
        ("key sk-FBX1abcd" + "Z" * 40 + " used", "ZZZZ", "used"),
        ("sk-ant-api03-abcDEF_123-xyz", "abcDEF", ""),
        ("sk-proj-abcdefgh123456", "abcdefgh", ""),
        ("Authorization: Bearer abc.def-ghi==, next", "abc.def", "next"),
        ("{'authorization': 'bearer  tok123', 'x': 1}", "tok123", "'x': 1"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz", "Authorization"),
        ("Authorization: rawsecret tail", "rawsecret", "tail"),
        ('{"api_key":"zzz99","model":"gpt-4"}', "zzz99", '"model":"gpt-4"'),
        (r'{"event":"sent {\"api_key\": \"zzz99\"} now"}', "zzz99", r'\"} now"}'),
        (r'{"event":"got {\"authorization\": \"Bearer zzz99\"}"}', "zzz99", r'\"}"}'),
        (r'{"event":"Cookie: a=zzz99; b=2\nHost: x"}', "zzz99", r'\nHost: x"}'),
        (r'{"event":"{\"Cookie\": \"a=zzz99; b=2\"}"}', "zzz99", r'\"}"}'),
        ("x-api-key: foobar99", "foobar99", "x-api-key"),
        ("GET /v1?api_key=abc99&b=1", "abc99", "b=1"),
        ("GET /v1?key=abc99&b=1", "abc99", "b=1"),
        ("Cookie: __Host-s=abc99; other=def99\nHost: x", "abc99", "Host: x"),
        ("Cookie: __Host-s=abc99; other=def99\nHost: x", "def99", "Host: x"),
        ("set-cookie: s=abc99; Path=/", "abc99", "set-cookie"),
        ("postgresql://farebox:hunter2@db/farebox", "hunter2", "@db/farebox"),
        ("password=hunter2 host=db", "hunter2", "host=db"),
        ("Not Found: /join/Ab_c-99zzz", "Ab_c", "/join/"),
        ("Forbidden (CSRF token missing.): /zh/account/link/Ab_c-99zzz", "Ab_c", "/zh/account/link/"),
        ("<WSGIRequest: POST '/office/link/Ab_c-99zzz'> x", "Ab_c", "'> x"),
        ("GET /office/set-up?code=Ab_c-99zzz&x=1", "Ab_c", "&x=1"),
        ("GET /account/services/github/callback/?state=1&code=Ab_c-99zzz", "Ab_c", "state=1"),
        ("GET /account/sign-in?next=%2Fjoin%2FAb_c-99zzz&x=1", "Ab_c", "&x=1"),
        ("GET /office/sign-in?next=/office/set-up%3Fcode%3DAb_c-99zzz", "Ab_c", "next=/office/set-up"),
        ("next=%252Foffice%252Flink%252FAb_c-99zzz", "Ab_c", "next="),
        ("GET /join/A%62_c-99zzz?x=1", "_c-99zzz", "?x=1"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuvw", "1234567890", ""),
        ("gsk_abcdefghijklmnop1234", "abcdefgh", ""),
        ("hf_abcdefghijklmnop1234", "abcdefgh", ""),
        ("whsec_abcdefgh1234 sk_live_abcdefgh1234", "abcdefgh", ""),
        ("AKIAABCDEFGHIJKLMNOP", "ABCDEFGH", ""),
        ("ghp_abcdefghijklmnop1234", "abcdefgh", ""),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "c2lnbmF0dXJl", ""),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY----- after", "MIIabc", "after"),
        ("-----BEGIN PRIVATE KEY-----\nMIIabc cut off", "MIIabc", ""),
    ],
)
def test_logs_show_no_secret(text, secret, kept):
    shown = secrets.redact(text)
    assert secret not in shown
    assert kept in shown
    assert "[redacted]" in shown
    assert secrets.redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "call call_0abc settled 0.060000 USD",
        "task-force ask-me skating is fine",
        "GET /v1/models 200 12 ms",
        "gpt-4o-mini https://api.example.com/v1/chat?x=1",
        "output_tokens=1024 monkey=1",
        "the price list's code=R02 and /office/customers/acc_1 join a link",
    ],
)
def test_what_is_no_secret_stays(text):
    assert secrets.redact(text) == text
