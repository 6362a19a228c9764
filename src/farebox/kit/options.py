"""Every option once: name, type, default, sentence.

An option is read from the environment (`FAREBOX_<NAME>`) or, below that, from a TOML file (`farebox.toml` in the
working folder, or the file that `FAREBOX_CONFIG` names). Unknown names in either are errors.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import refusal
from .errors import CommandError

PREFIX = "FAREBOX_"
# What `make run` writes for client programs: names with our prefix that are no options.
NOT_OPTIONS = frozenset(
    {
        "FAREBOX_CONFIG",
        "FAREBOX_EMPTY_KEY",
        "FAREBOX_CHAT_MODEL",
        "FAREBOX_ECHO_MODEL",
        "FAREBOX_COMPLETION_MODEL",
        "FAREBOX_EMBED_MODEL",
        "FAREBOX_DEMO_OPENAI_KEY",
    }
)


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its type is that of its default; `low` and `high` bound a number."""

    name: str
    default: Any
    sentence: str
    low: int | None = None
    high: int | None = None


MIB = 1024 * 1024

OPTIONS: tuple[Option, ...] = (
    Option("data_dir", "var", "Data folder: the SQLite file, the key files and the admin socket."),
    Option("database", "", "Database address, `postgresql://…`; empty means the SQLite file in the data folder."),
    Option("host", "127.0.0.1", "Address that `farebox serve` listens on."),
    Option("port", 8080, "Port that `farebox serve` listens on; 0 picks a free one.", 0, 65535),
    Option("public_url", "", "Address under which customers reach this shop; empty means http://host:port."),
    Option(
        "security_contact",
        "",
        "Where to report a vulnerability, mailto: or https:, for security.txt; empty means the support contact.",
    ),
    Option("shop_name", "Farebox", "Name of this shop, as customers see it."),
    Option(
        "public_price_list",
        "",
        "Price list that visitors see if no shop setting names one; empty means the first one in force.",
    ),
    Option(
        "pepper_file",
        "",
        "File of the pepper that digests customers' keys; empty means keys/pepper in the data folder.",
    ),
    Option(
        "master_key_file",
        "",
        "File of the master key that encrypts secrets; empty means keys/master in the data folder.",
    ),
    Option(
        "ballast_mb",
        16,
        "MiB reserved on the data folder's disk, released when the disk is full.",
        1,
        4096,
    ),
    Option(
        "rss_max_mb",
        0,
        "MiB of memory above which a process takes no new calls; 0 means half of the machine's or container's.",
        0,
        16_777_216,
    ),
    Option(
        "clock_behind_h_max",
        24,
        "Hours that the machine's clock may be behind the newest time in the books; beyond that nothing starts.",
        1,
        10_000_000,
    ),
    # signing up and in, mail
    Option("mail_url", "", "Mail server, `smtp://name:password@host:587`; empty writes mail into the data folder."),
    Option("mail_from", "", "Sender of mail, such as `Shop <shop@example.org>`; empty means noreply@ the shop's host."),
    Option("sign_up", True, "Visitors may sign up; if false, only invited people can."),
    Option("sign_ups_per_h", 30, "Sign-ups per hour from one address, not counting invited people.", 1, 100_000),
    Option(
        "new_account_rpm",
        600,
        "Calls per minute of an account that a visitor opens by signing up; 0 means no limit.",
        0,
        1_000_000,
    ),
    Option(
        "new_account_tpm",
        5_000_000,
        "Tokens per minute of such an account; 0 means no limit.",
        0,
        2_000_000_000,
    ),
    Option("sign_up_captcha", False, "Browsers that sign up must solve a small puzzle first."),
    Option("advertise_markup", False, "Price pages also show by how much a price is above the vendor's own."),
    Option("nextchat_url", "https://app.nextchat.dev", "NextChat that the import link on the page of a new key opens."),
    Option("github_client_id", "", "Client ID of a GitHub OAuth app, for signing in with GitHub; empty is off."),
    Option("github_client_secret", "", "The secret of that app."),
    Option("oidc_issuer", "", "Address of an OpenID Connect issuer, for signing in with it; empty is off."),
    Option("oidc_name", "", "Display name of that issuer; empty means its host."),
    Option("oidc_client_id", "", "Client ID at that issuer."),
    Option("oidc_client_secret", "", "Client secret at that issuer."),
    Option("wechat_app_id", "", "App ID of a website app at WeChat's Open Platform, for signing in; empty is off."),
    Option("wechat_app_secret", "", "The secret of that app."),
    Option("single_person", True, "One person may move money without another's approval; each such entry records it."),
    Option("trusted_proxies", "", "Addresses or networks of trusted reverse proxies, separated by commas."),
    Option(
        "forwarded_header",
        "X-Forwarded-For",
        "Header field in which those proxies name their client: X-Forwarded-For, Forwarded or X-Real-IP.",
    ),
    Option("log_level", "info", "Lowest level of log lines that are written: debug, info, warning or error."),
    Option("body_bytes_max", 32 * MIB, "Largest JSON body of a request, in bytes.", 1024, 1024 * MIB),
    Option(
        "bodies_mb_max",
        0,
        "MiB of memory for all requests of one process together; more get 503. 0 means a quarter of rss_max_mb.",
        0,
        16_777_216,
    ),
    Option(
        "body_grace_s", 10, "Grace period in seconds before a request body must arrive at 1 KiB/s or faster.", 1, 600
    ),
    Option("head_s", 10, "Seconds in which the head of a request must arrive.", 1, 600),
    Option("idle_connection_s", 75, "Seconds that an idle client connection is kept open.", 1, 3600),
    Option("connections_max", 4000, "Maximum number of client connections of one process.", 1, 100_000),
    Option("calls_max", 1500, "Maximum number of concurrent calls in one process; more get 503.", 1, 100_000),
    Option("store_queue_max", 500, "Maximum number of writes that wait for the store; more get 503.", 1, 100_000),
    Option(
        "store_wait_ms", 1000, "Milliseconds that a new call may wait for the store before it gets 503.", 50, 60_000
    ),
    Option("group_max", 128, "Maximum number of writes that share one commit.", 1, 10_000),
    Option("connect_s", 10, "Seconds to connect to an upstream.", 1, 120),
    Option("first_byte_s", 300, "Seconds to wait for the first byte of an upstream's answer.", 1, 3600),
    Option("idle_s", 120, "Seconds that an upstream may be silent mid-stream.", 1, 3600),
    Option("call_s_max", 3600, "Maximum duration of one call in seconds; then it ends with `length`.", 1, 86_400),
    Option(
        "answer_bytes_max", 64 * MIB, "Largest answer of an upstream that is not streamed, in bytes.", 1024, 1024 * MIB
    ),
    Option(
        "event_bytes_max",
        8 * MIB,
        "Longest event of an upstream's stream, in bytes; a channel's quirk of that name overrides it.",
        1024,
        1024 * MIB,
    ),
    Option("slow_reader_s", 60, "Seconds after which a client that reads nothing is disconnected (R18).", 1, 600),
    Option(
        "read_on_s",
        10,
        "Seconds to continue reading after a client left a stream whose upstream bills the whole answer.",
        0,
        120,
    ),
    Option(
        "unread_s",
        10,
        "Total seconds that a client may keep a stream waiting before a break counts as the client's fault.",
        1,
        600,
    ),
    Option(
        "read_on_json_s",
        120,
        "Seconds to continue reading after a client left a call that is not streamed (R19).",
        0,
        600,
    ),
    Option("settle_wait_s", 5, "Seconds to wait for a settlement before the client gets an error.", 1, 60),
    Option("drain_s", 120, "Seconds that calls under way may continue after the order to stop.", 0, 3600),
    Option("keepalive_stream_s", 15, "Seconds of silence before the first empty line in a stream.", 1, 600),
    Option("keepalive_every_s", 10, "Seconds between further empty lines.", 1, 600),
    Option("keepalive_json_s", 25, "Seconds of silence before empty lines precede a JSON answer.", 1, 600),
    Option(
        "hold_output_tokens",
        1024,
        "Output tokens that a stream holds money for at first, and each further time.",
        16,
        1_000_000,
    ),
    Option(
        "hold_hidden_tokens",
        4096,
        "Minimum output tokens that a stream of a model with hidden output holds money for at first.",
        16,
        1_000_000,
    ),
    Option(
        "allowance_begin_usd_micro",
        100_000,
        "Micro-USD of delivered but unpaid output that an account may be forgiven from its start; 0 is nothing.",
        0,
        1_000_000_000,
    ),
    Option("allowance_growth_percent", 3, "Percent of each charge by which this allowance grows.", 0, 100),
    Option("allowance_most_usd_micro", 5_000_000, "Maximum of this allowance, in micro-USD.", 0, 1_000_000_000),
    Option("attempts_max", 4, "Maximum number of attempts of one call at upstreams.", 1, 16),
    Option("version_poll_ms", 500, "Milliseconds between checks for changed keys, prices and channels.", 50, 1000),
    Option("lease_beat_ms", 2000, "Milliseconds between heartbeats of a serving process.", 50, 60_000),
    Option(
        "lease_beats_missed",
        15,
        "Missed heartbeats, by an observer's own count, after which a process counts as dead.",
        2,
        1000,
    ),
    Option(
        "hold_grace_s",
        900,
        "Seconds after the end of a process's lease before its holds expire (not on SQLite).",
        0,
        86_400,
    ),
    Option("wrong_keys_per_min", 60, "Wrong keys per minute from one address before it gets 429 for them.", 1, 100_000),
    Option("doctor_daily", True, "Run `farebox doctor --freeze` once per day, and mail what is wrong."),
    Option("loop_watch", True, "Log anything that blocks all calls for more than 50 ms, with its place in the code."),
    Option("diagnostics_days", 90, "Days that timings and errors of attempts are kept.", 1, 3650),
)

BY_NAME = {option.name: option for option in OPTIONS}


class Options:
    """The values in force; attributes are the names of `OPTIONS`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        for option in OPTIONS:
            setattr(self, option.name, values.get(option.name, option.default))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no such option: {name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in BY_NAME:
            raise AttributeError(f"no such option: {name}")
        super().__setattr__(name, value)

    @property
    def data(self) -> Path:
        """The data folder."""
        return Path(self.data_dir)

    @property
    def origin(self) -> str:
        """The address under which customers reach this shop, without a last slash and without `/v1`."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104
        return str(self.public_url).rstrip("/") or f"http://{host}:{self.port}"

    @property
    def sqlite_file(self) -> Path:
        """The SQLite file, whether used or not."""
        return self.data / "farebox.db"

    @property
    def on_sqlite(self) -> bool:
        """Whether the store is the SQLite file."""
        return not self.database

    @property
    def pepper(self) -> Path:
        """The pepper's file."""
        return Path(self.pepper_file) if self.pepper_file else self.data / "keys" / "pepper"

    @property
    def master_key(self) -> Path:
        """The master key's file."""
        return Path(self.master_key_file) if self.master_key_file else self.data / "keys" / "master"

    @property
    def admin_socket(self) -> Path:
        """The admin socket of the serving process."""
        return self.data / "admin.sock"


def read(environ: Mapping[str, str] | None = None) -> Options:
    """The options from environment and file; CommandError for an unknown or impossible one."""
    env = os.environ if environ is None else environ
    values = dict(_from_file(env))
    for key, value in env.items():
        if not key.startswith(PREFIX) or key in NOT_OPTIONS:
            continue
        name = key[len(PREFIX) :].lower()
        if name not in BY_NAME:
            raise CommandError("option.unknown_variable", variable=key)
        values[name] = _from_text(BY_NAME[name], value)
    return Options(values)


def _from_file(env: Mapping[str, str]) -> dict[str, Any]:
    path = Path(env.get("FAREBOX_CONFIG", "farebox.toml"))
    if not path.is_file():
        if "FAREBOX_CONFIG" in env:
            raise CommandError("option.no_file", file=str(path))
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise CommandError("option.not_toml", file=str(path), why=str(fault)) from None
    for name, value in found.items():
        if name not in BY_NAME:
            raise CommandError("option.unknown", file=str(path), option=name)
        if type(value) is not type(BY_NAME[name].default):
            raise CommandError(
                "option.type",
                file=str(path),
                option=name,
                type=refusal.word("type", type(BY_NAME[name].default).__name__),
            )
        _bounds(BY_NAME[name], value)
    return found


def _from_text(option: Option, text: str) -> Any:
    if isinstance(option.default, bool):
        if text.lower() not in {"true", "false", "1", "0", "yes", "no"}:
            raise CommandError("option.not_bool", variable=f"{PREFIX}{option.name.upper()}")
        return text.lower() in {"true", "1", "yes"}
    if isinstance(option.default, int):
        try:
            value = int(text)
        except ValueError:
            raise CommandError("option.not_int", variable=f"{PREFIX}{option.name.upper()}") from None
        _bounds(option, value)
        return value
    return text


def _bounds(option: Option, value: Any) -> None:
    if option.low is not None and option.high is not None and not option.low <= value <= option.high:
        raise CommandError("option.range", option=option.name, low=option.low, high=option.high)


_current: Options | None = None


def current() -> Options:
    """The process's options, read at first use."""
    global _current  # noqa: PLW0603 - the process's environment is read once
    if _current is None:
        _current = read()
    return _current


def use(options: Options) -> None:
    """Put `options` in force for this process (tests and embedded servers)."""
    global _current  # noqa: PLW0603
    _current = options
