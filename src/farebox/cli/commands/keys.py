"""`farebox key …`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from farebox.care import ready
from farebox.cli import cap_words, show, when
from farebox.kit import clock

from .base import Group, emit, read, secret, secret_options, write

key = Group("key", help="API keys: secrets that call the API.")
COMMANDS = (key,)
KINDS = click.Choice(["key", "project", "member", "account"])


def _with_terms(command: Callable[..., None]) -> Callable[..., None]:
    """The options for what a new key may do, which its command gets as one argument `asked`."""

    @functools.wraps(command)
    def wrapped(*, expires: str | None, caps: tuple[str, ...], **given: Any) -> None:
        terms = {name: given.pop(name) for name in _TERMS}
        end = when.end(expires, now_us=clock.now_us())
        if "expires_us" in end:
            terms["expires_us"] = end.pop("expires_us")
        command(asked={"terms": terms, "caps_micro": cap_words.read(caps), **end}, **given)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


_OPTIONS = (
    click.option("--name", default="key", show_default=True, help="Its display name."),
    click.option("--model", "models", multiple=True, help="Only this model; may be given again. By default all."),
    click.option(
        "--address", "addresses", multiple=True, help="Only from this address or network; may be given again."
    ),
    click.option("--expires", help="End of the key: 30d, 2026-12-31T18:00 (UTC), or its last day, 2026-12-31."),
    click.option("--cap", "caps", multiple=True, help=cap_words.HELP),
    click.option("--rpm", type=int, help="Calls per minute."),
    click.option("--tpm", type=int, help="Text tokens per minute."),
    click.option("--concurrency", type=int, help="Concurrent calls."),
    click.option("--note", default="", help="A note about the key, for people."),
)
_TERMS = ("name", "models", "addresses", "rpm", "tpm", "concurrency", "note")


@key.command("create", example="farebox key create 'Ada Lovelace' --name laptop --cap 2.00/day --cap 20/month")
@click.argument("project")
@_with_terms
@click.option("--member", help="The member whose key it is.")
def create(project: str, member: str | None, asked: dict[str, Any]) -> None:
    """Create a key of PROJECT (id, account/project, or an account for its default project).

    The key is shown once, now: only its digest is kept.
    """
    done = write("key.create", project=project, member=member, **asked)
    emit(done, lambda: _stub(done))


@key.command("import", example="farebox key import 'Ada Lovelace' --name old-shop --secret-file old-key.txt")
@click.argument("project")
@_with_terms
@click.option("--member", help="The member whose key it is.")
@secret_options
def import_(
    project: str, member: str | None, secret_file: str | None, secret_env: str | None, asked: dict[str, Any]
) -> None:
    """Import a key of another system, so that its holder need not change anything."""
    plaintext = secret(secret_file, secret_env, "the key to take over")
    done = write("key.import", plaintext=plaintext, project=project, member=member, **asked)
    emit(done, lambda: print(f"Key {done['id']} ({done['hint']}) works here now."))


@key.command("list", example="farebox key list --account 'Ada Lovelace'")
@click.option("--account", help="Of this account.")
@click.option("--project", help="Of this project.")
def list_(account: str | None, project: str | None) -> None:
    """Keys, revoked ones included; never their text."""
    ready.store()
    from farebox.accounts.keys import keys

    rows = read(keys.list_keys, account=account, project=project)
    emit(
        rows,
        lambda: show.table(
            ("key", "account", "name", "hint", "state", "models", "expires (UTC)", "caps"),
            [
                (
                    row["id"],
                    row["account"],
                    row["name"],
                    row["hint"],
                    row["state"],
                    ", ".join(row["models"]) or "all",
                    when.shown(row["expires_us"]),
                    cap_words.shown(row["caps_micro"]),
                )
                for row in rows
            ],
            empty="No key yet. Make one with `farebox key create`.",
        ),
    )


@key.command("show", example="farebox key show laptop")
@click.argument("key")
def show_(key: str) -> None:
    """One KEY by its id or name: its limits, never its text."""
    ready.store()
    from farebox.accounts.keys import keys

    found = read(lambda _tx: keys.view(keys.find(key)))
    emit(
        found,
        lambda: show.facts(
            [
                *(
                    (name, found[name])
                    for name in ("id", "name", "note", "hint", "state", "account", "project", "member")
                ),
                ("models", ", ".join(found["models"]) or "all"),
                ("addresses", ", ".join(found["addresses"]) or "all"),
                ("caps", cap_words.shown(found["caps_micro"])),
                ("counted as", found["counts_as"]),
                ("limits", _rates(found)),
                ("made (UTC)", when.shown(found["created_us"])),
                ("expires (UTC)", when.shown(found["expires_us"])),
                ("revoked (UTC)", when.shown(found["revoked_us"])),
            ]
        ),
    )


@key.command("revoke", example="farebox key revoke laptop")
@click.argument("key")
def revoke(key: str) -> None:
    """Revoke KEY permanently: new calls are refused within a second."""
    done = write("key.revoke", key=key)
    emit(done, lambda: print(f"Key {done['id']} ({done['hint']}) is revoked."))


@key.command("rotate", example="farebox key rotate laptop --grace 24h")
@click.argument("key")
@click.option("--grace", default="24h", show_default=True, help="How long the old key keeps working.")
def rotate(key: str, grace: str) -> None:
    """Create a new key with the settings of KEY; the old one keeps working for a while. The new one is shown once.

    Caps and limits count both keys together.
    """
    done = write("key.rotate", key=key, grace_s=when.span(grace))
    emit(done, lambda: _stub(done))


@key.command("cap", example="farebox key cap laptop 2.00/day 20/month")
@click.argument("key")
@click.argument("caps", nargs=-1, required=True)
def cap(key: str, caps: tuple[str, ...]) -> None:
    """Limit what the calls of KEY may cost: CAPS such as 5.00/day, 50/month, 200/ever; others do not change.

    `none/day` removes that cap, `none` all of them. A key that is being rotated has its caps together with its
    successor.
    """
    done = write("key.cap", key=key, caps_micro=cap_words.read(caps))
    emit(done, lambda: print(f"Key {done['id']}: cap {cap_words.shown(done['caps_micro'])}."))


@key.command("limit", example="farebox key limit laptop --model gpt-4 --any-address")
@click.argument("key")
@click.option("--model", "models", multiple=True, help="Only this model; may be given again.")
@click.option("--any-model", is_flag=True, help="All models again.")
@click.option("--address", "addresses", multiple=True, help="Only from this address or network; may be given again.")
@click.option("--any-address", is_flag=True, help="From everywhere again.")
def limit(key: str, models: tuple[str, ...], any_model: bool, addresses: tuple[str, ...], any_address: bool) -> None:
    """Which models KEY may call, and from where."""
    if not (models or any_model or addresses or any_address):
        raise click.UsageError("Say what to limit: --model, --any-model, --address or --any-address.")
    done = write(
        "key.limits",
        key=key,
        models=list(models) if models or any_model else None,
        addresses=list(addresses) if addresses or any_address else None,
    )
    where = f"from {', '.join(done['addresses']) or 'everywhere'}"
    emit(done, lambda: print(f"Key {done['id']}: {', '.join(done['models']) or 'all models'}, {where}."))


@key.command("expire", example="farebox key expire laptop 2026-12-31")
@click.argument("key")
@click.argument("at")
def expire(key: str, at: str) -> None:
    """End KEY at a time AT: 30d, 2026-12-31T18:00 (UTC), `never`, or after its last day, 2026-12-31.

    A last day is included, in the account's time zone.
    """
    done = write("key.expire", key=key, **when.end(None if at == "never" else at, now_us=clock.now_us()))
    end = "never" if done["expires_us"] is None else f"at {when.shown(done['expires_us'])} UTC"
    emit(done, lambda: print(f"Key {done['id']} ends {end}."))


@key.command("rates", example="farebox key rates laptop --rpm 60 --tpm 100000 --concurrency none")
@click.argument("name")
@click.option("--of", "kind", type=KINDS, default="key", show_default=True, help="What NAME is.")
@click.option("--rpm", help="Calls per minute, or `none`.")
@click.option("--tpm", help="Text tokens per minute, or `none`.")
@click.option("--concurrency", help="Concurrent calls, or `none`.")
def set_rates(name: str, kind: str, rpm: str | None, tpm: str | None, concurrency: str | None) -> None:
    """Set the rate limits of NAME: a key, project, member or account. Limits that are left out do not change."""
    given = {"rpm": rpm, "tpm": tpm, "concurrency": concurrency}
    limits = {limit: _limit(text) for limit, text in given.items() if text is not None}
    if not limits:
        raise click.UsageError("Say what to limit: --rpm, --tpm or --concurrency.")
    done = write("key.rates", kind=kind, name=name, limits=limits)
    emit(done, lambda: print(f"{kind.capitalize()} {done['id']}: {_rates(done)}."))


def _limit(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise click.UsageError(f"{text[:32]!r} is not a limit: give a whole number, or `none`.")
    return int(text)


def _rates(found: dict[str, Any]) -> str:
    words = (("rpm", "calls a minute"), ("tpm", "tokens a minute"), ("concurrency", "calls at one time"))
    said = [f"{found[name]:,} {what}" for name, what in words if found[name] is not None]
    return ", ".join(said) or "none"


def _stub(done: dict[str, Any]) -> None:
    """The ticket stub of a new key, with what to set where."""
    from farebox.kit import options

    chosen = options.current()
    base = chosen.public_url.rstrip("/") or f"http://{chosen.host}:{chosen.port}"
    edge = "- " * (show.TICKET_CHARS // 2)
    print(edge.rstrip())
    print(f"KEY {done['name']} ({done['id']}), shown this once:")
    print()
    print(f"  OPENAI_API_KEY={done['plaintext']}")
    print(f"  OPENAI_BASE_URL={base}/v1")
    print()
    print("Only its digest is kept. If it is lost, `farebox key rotate` makes another.")
    print(edge.rstrip())
