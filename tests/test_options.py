"""Options: environment over file over default, bounds, unknown ones refused, and `farebox options`."""

from __future__ import annotations

import pytest

from farebox.kit import options
from farebox.kit.errors import CommandError
from kit import cli


def read(**environ: str) -> options.Options:
    return options.read(environ)


def test_defaults():
    found = read()
    assert (found.host, found.port, found.single_person) == ("127.0.0.1", 8080, True)
    assert found.on_sqlite
    assert str(found.sqlite_file) == "var/farebox.db"
    assert str(found.admin_socket) == "var/admin.sock"


def test_each_option_has_a_sentence_and_a_sensible_default():
    names = [option.name for option in options.OPTIONS]
    assert len(set(names)) == len(names)
    for option in options.OPTIONS:
        assert option.sentence.endswith("."), option.name
        assert option.sentence[0].isupper()
        if type(option.default) is int:
            assert option.low is not None
            assert option.high is not None
            assert option.low <= option.default <= option.high


def test_the_environment_wins_over_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "farebox.toml").write_text('port = 9000\nshop_name = "Corner"\nsingle_person = false\n')
    found = read(FAREBOX_PORT="9100")
    assert (found.port, found.shop_name, found.single_person) == (9100, "Corner", False)


def test_a_named_file_is_read_and_must_exist(tmp_path):
    (tmp_path / "shop.toml").write_text("port = 9000")
    assert read(FAREBOX_CONFIG=str(tmp_path / "shop.toml")).port == 9000
    with pytest.raises(CommandError, match="option.no_file"):
        read(FAREBOX_CONFIG=str(tmp_path / "other.toml"))


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"FAREBOX_COLOUR": "red"}, "option.unknown_variable"),
        ({"FAREBOX_PORT": "many"}, "option.not_int"),
        ({"FAREBOX_PORT": "70000"}, "option.range option='port' low=0 high=65535"),
        ({"FAREBOX_PORT": "-1"}, "option.range"),
        ({"FAREBOX_SINGLE_PERSON": "maybe"}, "option.not_bool variable='FAREBOX_SINGLE_PERSON'"),
        ({"FAREBOX_CALLS_MAX": "0"}, "option.range option='calls_max'"),
    ],
)
def test_what_can_not_be_is_refused(environ, says):
    with pytest.raises(CommandError, match=says):
        options.read(environ)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour = 1", "option.unknown .*'colour'"),
        ("port = '80'", "option.type"),
        ("port = true", "option.type"),
        ("single_person = 1", r"option.type .*'single_person' type=\(type.bool\)"),
        ("port = 99999", "option.range"),
        ("port =", "option.not_toml"),
    ],
)
def test_what_can_not_be_in_a_file_is_refused(tmp_path, text, says):
    (tmp_path / "farebox.toml").write_text(text)
    with pytest.raises(CommandError, match=says):
        options.read({"FAREBOX_CONFIG": str(tmp_path / "farebox.toml")})


def test_what_demo_env_exports_is_no_option():
    assert read(FAREBOX_CHAT_MODEL="x", FAREBOX_EMPTY_KEY="y", FAREBOX_DEMO_OPENAI_KEY="z").port == 8080


@pytest.mark.slow
def test_farebox_options_says_where_a_value_comes_from(tmp_path):
    (tmp_path / "farebox.toml").write_text('shop_name = "Corner"\n')
    ran = cli.program(
        "options",
        "--json",
        cwd=tmp_path,
        env={
            "FAREBOX_PORT": "9000",
            "FAREBOX_DATABASE": "postgresql://shop:hunter22@db/shop",
            "FAREBOX_GITHUB_CLIENT_SECRET": "hunter33",
            "FAREBOX_MAIL_URL": "smtp://me:hunter44@mail.example",
        },
    )
    rows = {row["name"]: row for row in ran.json}
    assert set(rows) == {option.name for option in options.OPTIONS}
    assert (rows["port"]["value"], rows["port"]["source"]) == (9000, "environment")
    assert (rows["shop_name"]["value"], rows["shop_name"]["source"]) == ("Corner", "farebox.toml")
    assert rows["host"]["source"] == "default"
    assert not any(secret in ran.out for secret in ("hunter22", "hunter33", "hunter44"))
    shown = cli.program("options", cwd=tmp_path, env={}).out
    for option in options.OPTIONS:
        assert option.name in shown


@pytest.mark.slow
def test_an_unknown_option_stops_every_command(tmp_path):
    for args in (("options",), ("account", "list"), ("serve",), ("migrate",)):
        ran = cli.program(*args, cwd=tmp_path, env={"FAREBOX_COLOUR": "red"})
        assert ran.code == 1
        assert ran.err.startswith("farebox: FAREBOX_COLOUR is not an option of Farebox. `farebox options` lists them.")
    assert not (tmp_path / "var").exists()
