"""Ready settings for the programs that people use: the guide shows them, and so does the stub of a new key.

They fit the models that can be called: no chat is shown where none of them answers one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import quote

from django.utils.translation import gettext as _

from farebox.catalog.pricing import ModelCard
from farebox.protocol import kinds

# What a page shows where there is no key to show.
SOME_KEY = "sk-..."
# What stands in a program for a model where there is none.
NO_MODEL = "MODEL"
_SNIPPETS = Path(__file__).with_name("snippets")
_OFFICIAL = "https://api.openai.com/v1/"
# OpenAI models that GPT Academic knows by their own name; any other is entered as `one-api-NAME(max_token=N)`.
_KNOWN_TO_ACADEMIC = frozenset(
    {
        *("gpt-3.5-turbo", "gpt-3.5-turbo-16k", "gpt-3.5-turbo-1106", "gpt-3.5-turbo-0125"),
        *("gpt-4", "gpt-4-32k", "gpt-4-1106-preview", "gpt-4-0125-preview", "gpt-4-turbo"),
        *("gpt-4o", "gpt-4o-mini"),
    }
)


@dataclass(frozen=True, slots=True)
class Block:
    """A text to copy, and what it is."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class ClientProgram:
    """A program or library: its name, where its settings go, the settings, and what is good to know."""

    id: str
    name: str
    about: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()


def settings(origin: str, models: Sequence[ModelCard], *, key: str = SOME_KEY) -> list[ClientProgram]:
    """The settings of every client for the shop at `origin`; `models` are those that can be called, best first."""
    base, shown = origin + "/v1", _shown(models)
    chats = [card for card in models if kinds.chats(card)]
    return [
        _python(base, key, shown),
        _node(base, key, shown),
        _langchain(base, key, shown),
        _curl(base, key, shown),
        _env(base, key),
        _nextchat(origin, key, chats),
        _academic(base, key, chats),
    ]


def import_link(nextchat: str, origin: str, key: str) -> str:
    """The link that opens NextChat at the address `nextchat` and sets key and endpoint there."""
    return f"{nextchat.rstrip('/')}/#/?settings={quote(json.dumps({'key': key, 'url': origin}), safe='')}"


def academic_name(card: ModelCard) -> str:
    """A model as GPT Academic wants it written."""
    if card.name in _KNOWN_TO_ACADEMIC:
        return card.name
    return f"one-api-{card.name}(max_token={card.context_tokens})"


def _shown(models: Sequence[ModelCard]) -> dict[str, str]:
    """The endpoint kinds that programs are shown for, each with the best model of it; who can chat needs no other text.

    Without any model it is a chat with NO_MODEL.
    """
    programs = {name: kind for name, kind in kinds.KINDS.items() if kind.program}
    first: dict[str, str] = {}
    for card in models:
        for name in card.kinds & programs.keys():
            first.setdefault(name, card.name)
    if any(programs[name].chats for name in first):
        programs = {name: kind for name, kind in programs.items() if kind.chats or not kind.writes}
    chat = next(name for name, kind in programs.items() if kind.chats)
    return {name: first[name] for name in programs if name in first} or {chat: NO_MODEL}


def _snippet(name: str, base: str, key: str, model: str) -> str:
    return Template((_SNIPPETS / f"{name}.txt").read_text(encoding="utf-8")).substitute(base=base, key=key, model=model)


def _programs(name: str, ending: str, base: str, key: str, shown: Mapping[str, str]) -> tuple[Block, ...]:
    """A program for each kind."""
    return tuple(
        Block(
            f"{name}-{'code' if kinds.KINDS[kind].chats else kind}",
            f"{kinds.KINDS[kind].program}{ending}",
            _snippet(f"{name}-{kind}", base, key, model),
        )
        for kind, model in shown.items()
    )


def _no_model(shown: Mapping[str, str]) -> tuple[str, ...]:
    if NO_MODEL not in shown.values():
        return ()
    return (_("No model is available yet. Replace MODEL with a model name once there is one."),)


def _chats_only() -> str:
    return _("This app only calls chat models, and none is available.")


def _python(base: str, key: str, shown: Mapping[str, str]) -> ClientProgram:
    return ClientProgram(
        "python",
        "OpenAI SDK · Python",
        _("Pass the base URL and the key to the client, or set them as environment variables and omit both."),
        (
            Block("python-install", _("Install"), "pip install openai"),
            *_programs("python", ".py", base, key, shown),
        ),
        _no_model(shown),
    )


def _node(base: str, key: str, shown: Mapping[str, str]) -> ClientProgram:
    return ClientProgram(
        "node",
        "OpenAI SDK · Node",
        _("Here the option is called baseURL."),
        (
            Block("node-install", _("Install"), "npm install openai"),
            *_programs("node", ".mjs", base, key, shown),
        ),
        _no_model(shown),
    )


def _langchain(base: str, key: str, shown: Mapping[str, str]) -> ClientProgram:
    of_chat = (
        (_("To get token counts when streaming, set stream_usage=True."),)
        if any(kinds.KINDS[kind].chats for kind in shown)
        else ()
    )
    return ClientProgram(
        "langchain",
        "LangChain",
        _("ChatOpenAI, OpenAIEmbeddings and OpenAI (text completion) all take the base URL and the key."),
        (
            Block("langchain-install", _("Install"), "pip install langchain-openai"),
            *_programs("langchain", ".py", base, key, shown),
        ),
        (
            _("If the environment variable OPENAI_API_BASE is set, LangChain prefers it to OPENAI_BASE_URL."),
            *of_chat,
            *_no_model(shown),
        ),
    )


def _curl(base: str, key: str, shown: Mapping[str, str]) -> ClientProgram:
    return ClientProgram(
        "curl",
        "curl",
        _("The quickest way to test a key."),
        (
            *(
                Block(f"curl-{kind}", _(kinds.KINDS[kind].example), _snippet(f"curl-{kind}", base, key, model))
                for kind, model in shown.items()
            ),
            Block(
                "curl-balance",
                _("The balance and the latest receipts"),
                f"""curl {base}/balance -H "Authorization: Bearer {key}"
curl {base}/calls -H "Authorization: Bearer {key}"
""",
            ),
        ),
        _no_model(shown),
    )


def _env(base: str, key: str) -> ClientProgram:
    return ClientProgram(
        "env",
        ".env",
        _("The OpenAI SDKs, and most apps built on them, read these two variables automatically."),
        (Block("env-file", ".env", f"OPENAI_BASE_URL={base}\nOPENAI_API_KEY={key}\n"),),
    )


def _nextchat(origin: str, key: str, models: Sequence[ModelCard]) -> ClientProgram:
    if not models:
        return ClientProgram("nextchat", "NextChat", _chats_only(), ())
    own = ",".join(["-all", *(f"+{card.name}@OpenAI" for card in models)])
    return ClientProgram(
        "nextchat",
        "NextChat",
        _("Open Settings, tick Custom Endpoint, and choose OpenAI. Enter the endpoint without /v1."),
        (
            Block("nextchat-endpoint", _("OpenAI Endpoint"), origin),
            Block("nextchat-key", _("OpenAI API Key"), key),
            Block("nextchat-models", _("Custom Models"), own),
            Block(
                "nextchat-deployment",
                _("Environment variables for self-hosting"),
                f"BASE_URL={origin}\nOPENAI_API_KEY={key}\nENABLE_BALANCE_QUERY=1\nCUSTOM_MODELS={own}\n",
            ),
        ),
        (
            _("NextChat does not load the model list: enter model names under Custom Models."),
            _("It makes a second, small call for the chat title. That call has its own receipt."),
            _("The balance under Settings is your balance here, in US dollars."),
        ),
    )


def _academic(base: str, key: str, models: Sequence[ModelCard]) -> ClientProgram:
    title = "GPT Academic · GPT 学术优化"
    if not models:
        return ClientProgram("gpt-academic", title, _chats_only(), ())
    names = [academic_name(card) for card in models]
    listed = "".join(f'    "{name}",\n' for name in names)
    return ClientProgram(
        "gpt-academic",
        title,
        _("Add these lines to config_private.py, next to config.py. GPT Academic needs the full URL."),
        (
            Block(
                "gpt-academic-config",
                "config_private.py",
                f"""API_KEY = "{key}"
API_URL_REDIRECT = {{"{_OFFICIAL}chat/completions": "{base}/chat/completions"}}
LLM_MODEL = "{names[0]}"
AVAIL_LLM_MODELS = [
{listed}]
""",
            ),
        ),
        (
            _("Write models that GPT Academic does not know as one-api-NAME(max_token=N); they arrive here as NAME."),
            _("It recognises the format of our keys: leave CUSTOM_API_KEY_PATTERN empty."),
        ),
    )
