"""`farebox upstream …` and `farebox channel …`."""

from __future__ import annotations

import asyncio
import importlib
import json
from typing import Any

import click

from farebox.care import ready
from farebox.cli import show
from farebox.kit import options, places
from farebox.kit.errors import CommandError

from .base import Group, emit, read, secret, secret_options, write

upstream = Group("upstream", help="Vendors we buy from.")
channel = Group("channel", help="Credentialed ways to reach an upstream.")
COMMANDS = (upstream, channel)
BILLING = click.Choice(["stops", "bills_all", "unknown"])
# The roof puts this in place by name, as Django does with its settings: nothing here imports upwards.
PROBE = "farebox.site.trial"


@upstream.command("add", example="farebox upstream add openai --cancel-billing stops --cost-currency USD")
@click.argument("name")
@click.option("--about", default="", help="Description for operators.")
@click.option(
    "--cancel-billing",
    type=BILLING,
    default="unknown",
    show_default=True,
    help="What it bills of a call that we cancel.",
)
@click.option("--cost-currency", default="USD", show_default=True, help="Currency of its bills.")
def add(name: str, about: str, cancel_billing: str, cost_currency: str) -> None:
    """Add a vendor NAME that we buy from. Next: `farebox channel add`."""
    done = write(
        "upstream.add",
        name=name,
        about=about,
        cancel_billing=cancel_billing,
        cost_currency=cost_currency.upper(),
    )
    emit(done, lambda: print(f"Upstream {name} is there. Next: farebox channel add <name> {name} <base URL>"))


@upstream.command("change", example="farebox upstream change openai --cancel-billing bills_all")
@click.argument("name")
@click.option("--about", help="Description for operators.")
@click.option("--cancel-billing", type=BILLING, help="What it bills of a call that we cancel.")
def change(name: str, about: str | None, cancel_billing: str | None) -> None:
    """Change an upstream NAME."""
    done = write("upstream.change", name=name, about=about, cancel_billing=cancel_billing)
    emit(
        done,
        lambda: print(f"Upstream {name}: cancel billing {done['cancel_billing']}, {done['about'] or 'no text'}."),
    )


@upstream.command("list", example="farebox upstream list")
def list_upstreams() -> None:
    """List all upstreams, the currency of their bills, and what they bill of a call that we cancel."""
    ready.store()
    from farebox.upstreams import channels

    rows = read(channels.upstreams)
    emit(
        rows,
        lambda: show.table(
            ("upstream", "cancel billing", "costs in", "about"),
            [(row["name"], row["cancel_billing"], row["cost_currency"], row["about"]) for row in rows],
            empty="No upstream yet. Add one with `farebox upstream add`.",
        ),
    )


@channel.command("presets", example="farebox channel presets")
def list_presets() -> None:
    """List the vendors whose quirks are known: `channel add --preset NAME` begins with them."""
    from farebox.protocol.presets import PRESETS

    rows = [{"preset": name, **preset._asdict()} for name, preset in PRESETS.items()]
    emit(
        rows,
        lambda: show.table(
            ("preset", "vendor", "base URL", "quirks"),
            [(row["preset"], row["title"], row["base_url"], json.dumps(row["quirks"])) for row in rows],
            empty="",
        ),
    )


@channel.command(
    "add",
    example="farebox channel add openai-1 openai https://api.openai.com/v1 --preset openai --secret-file key.txt\n"
    "farebox channel add lab sandbox http://127.0.0.1:9000/v1 --local",
)
@click.argument("name")
@click.argument("upstream")
@click.argument("base_url")
@secret_options
@click.option("--local", is_flag=True, help="It is in the local network: allow http and private addresses.")
@click.option("--tier", type=int, default=1, show_default=True, help="Lower tiers are tried first.")
@click.option("--weight", type=int, default=1, show_default=True, help="Share of the calls inside its tier.")
@click.option(
    "--calls-at-once", type=int, default=0, show_default=True, help="Maximum concurrent calls; 0 means no limit."
)
@click.option(
    "--quirk",
    "quirks",
    multiple=True,
    metavar="NAME=JSON",
    help="A quirk, as in `channel quirks`; may be given again.",
)
@click.option("--preset", default="", metavar="NAME", help="The vendor whose quirks it starts with: `channel presets`.")
@click.option("--dialect", default="openai", show_default=True, metavar="NAME", help="What the upstream speaks.")
def add_channel(
    name: str,
    upstream: str,
    base_url: str,
    secret_file: str | None,
    secret_env: str | None,
    local: bool,
    tier: int,
    weight: int,
    calls_at_once: int,
    quirks: tuple[str, ...],
    preset: str,
    dialect: str,
) -> None:
    """Add a channel NAME to UPSTREAM at BASE_URL, with its own secret. Next: `farebox channel offer`."""
    given = _preset(preset, _quirks(quirks))
    needs_none = local or bool(given.get("no_auth"))
    asked = secret_file is not None or secret_env is not None or not needs_none
    done = write(
        "channel.add",
        terms={
            "name": name,
            "upstream": upstream,
            "base_url": base_url,
            "dialect": dialect,
            "local": local,
            "tier": tier,
            "weight": weight,
            "concurrency_max": calls_at_once,
            "quirks": given,
        },
        secret=secret(secret_file, secret_env, "the upstream's key") if asked else "",
    )
    emit(
        done,
        lambda: print(f"Channel {name} ({done['id']}) is there. Next: farebox channel offer {name} <model>"),
    )


@channel.command("list", example="farebox channel list")
def list_channels() -> None:
    """All channels with the models that they answer; never their secrets."""
    ready.store()
    from farebox.upstreams import channels

    rows = read(channels.listed)
    emit(
        rows,
        lambda: show.table(
            ("channel", "upstream", "base URL", "state", "tier>", "weight>", "secret", "models"),
            [
                (
                    row["name"],
                    row["upstream"],
                    row["base_url"],
                    row["state"] if not row["state_why"] else f"{row['state']}: {row['state_why']}",
                    row["tier"],
                    row["weight"],
                    row["secret"],
                    ", ".join(_model(found) for found in row["models"]),
                )
                for row in rows
            ],
            empty="No channel yet. Add one with `farebox channel add`.",
        ),
    )


@channel.command("offer", example="farebox channel offer openai-1 gpt-4 --cost input=27.00 --cost output=54.00")
@click.argument("channel")
@click.argument("model")
@click.option("--as", "upstream_model", default="", help="The model's name there; by default the same.")
@click.option("--cost", "costs", multiple=True, metavar="CLASS=COST", help="What 1M units cost us; may be given again.")
def offer(channel: str, model: str, upstream_model: str, costs: tuple[str, ...]) -> None:
    """Say that CHANNEL answers MODEL, and what that costs us."""
    priced = dict(_pair(text, "a cost such as input=2.50") for text in costs)
    done = write("channel.offer", channel=channel, model=model, upstream_model=upstream_model, costs=priced or None)
    emit(done, lambda: print(f"{channel} answers {_model(done)}."))


@channel.command("withdraw", example="farebox channel withdraw openai-1 gpt-4")
@click.argument("channel")
@click.argument("model")
def withdraw(channel: str, model: str) -> None:
    """Say that CHANNEL no longer answers MODEL."""
    done = write("channel.withdraw", channel=channel, model=model)
    emit(done, lambda: print(f"{channel} no longer answers {model}."))


@channel.command("secret", example="farebox channel secret openai-1 --secret-env NEW_OPENAI_KEY")
@click.argument("channel")
@secret_options
def set_secret(channel: str, secret_file: str | None, secret_env: str | None) -> None:
    """Replace the secret of CHANNEL. It is encrypted and never shown again."""
    done = write("channel.secret", channel=channel, secret=secret(secret_file, secret_env, "the upstream's key"))
    emit(done, lambda: print(f"{channel} has a new secret."))


@channel.command("address", example="farebox channel address lab http://127.0.0.1:9001/v1 --local")
@click.argument("channel")
@click.argument("base_url")
@click.option("--local", is_flag=True, help="It is in the local network.")
def set_address(channel: str, base_url: str, local: bool) -> None:
    """Point CHANNEL to another BASE_URL."""
    done = write("channel.address", channel=channel, base_url=base_url, local=local)
    emit(done, lambda: print(f"{channel} now goes to {done['base_url']}."))


@channel.command(
    "quirks",
    example="farebox channel quirks azure-1 auth_header=api-key auth_scheme= query=api-version=2024-10-21",
)
@click.argument("channel")
@click.argument("quirks", nargs=-1)
@click.option("--preset", default="", metavar="NAME", help="The vendor whose quirks it has: `channel presets`.")
def set_quirks(channel: str, quirks: tuple[str, ...], preset: str) -> None:
    """How CHANNEL differs from OpenAI's own API: NAME=VALUE each, replacing all it had; `none` removes all.

    A value is JSON (true, ["seed"], {"a": "b"}) or else a text. Without QUIRKS this lists the names.
    """
    if not quirks and not preset:
        from farebox.protocol.quirks import QUIRKS

        emit(QUIRKS, lambda: show.facts(QUIRKS.items()))
        return
    given = _preset(preset, {} if quirks == ("none",) else _quirks(quirks))
    done = write("channel.quirks", channel=channel, quirks=given)
    emit(done, lambda: print(f"{channel}: quirks {json.dumps(done['quirks'], ensure_ascii=False)}."))


@channel.command("order", example="farebox channel order openai-2 --tier 2 --weight 10")
@click.argument("channel")
@click.option("--tier", type=int, help="Lower tiers are tried first.")
@click.option("--weight", type=int, help="Share of the calls inside its tier.")
@click.option("--calls-at-once", type=int, help="Maximum concurrent calls; 0 means no limit.")
def set_order(channel: str, tier: int | None, weight: int | None, calls_at_once: int | None) -> None:
    """When CHANNEL is tried."""
    done = write("channel.order", channel=channel, tier=tier, weight=weight, concurrency_max=calls_at_once)
    emit(done, lambda: print(f"{channel}: tier {done['tier']}, weight {done['weight']}."))


@channel.command("state", example="farebox channel state openai-1 disabled --why 'billing dispute'")
@click.argument("channel")
@click.argument("state", type=click.Choice(["active", "disabled"]))
@click.option("--why", default="", help="Reason, shown to operators.")
def set_state(channel: str, state: str, why: str) -> None:
    """Let CHANNEL take calls, or not. Calls under way continue."""
    done = write("channel.state", channel=channel, state=state, why=why)
    emit(done, lambda: print(f"{channel} is {done['state']}."))


@channel.command("test", example="farebox channel test openai-1 gpt-4")
@click.argument("channel")
@click.argument("model")
def test(channel: str, model: str) -> None:
    """Make a real call of MODEL through CHANNEL, on the shop's own account; exit 1 if it fails."""
    from farebox.cli import admin

    answered, found = admin.ask_server(
        options.current().admin_socket, "channel.test", {"channel": channel, "model": model}
    )
    if not answered:
        ready.store()
        found = asyncio.run(importlib.import_module(PROBE).test_channel(channel, model))
    emit(found, lambda: _tested(found))
    if not found["ok"]:
        raise CommandError(f"{channel} did not answer {model}: {found['error'] or 'no answer'}")


def _tested(found: dict[str, Any]) -> None:
    show.facts(
        [
            ("call", found["call"]),
            ("worked", found["ok"]),
            ("usage", ", ".join(f"{name} {units:,}" for name, units in found["usage"].items())),
            *((f"attempt {row['n']}", _attempt(row)) for row in found["attempts"]),
            ("answer", found["answer"][:300]),
        ]
    )


def _attempt(row: dict[str, Any]) -> str:
    ms = (row["ended_us"] - row["started_us"]) // 1000
    return f"{row['outcome']}, status {row['status'] or 'none'}, {ms:,} ms" + (
        f": {row['error']}" if row["error"] else ""
    )


def _quirks(texts: tuple[str, ...]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for text in texts:
        name, value = _pair(text, "a quirk such as stream_options=false")
        if name in given:
            raise CommandError(f"The quirk {name} is given twice.")
        places.once(value, name)
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given


def _preset(name: str, given: dict[str, Any]) -> dict[str, Any]:
    from farebox.protocol import presets

    return presets.quirks(name, given)


def _pair(text: str, what: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise click.UsageError(f"{text!r} is not {what}.")
    return name.strip(), value.strip()


def _model(found: dict[str, Any]) -> str:
    there = found["upstream_model"]
    return str(found["model"] if found["model"] == there else f"{found['model']} (there {there})")
