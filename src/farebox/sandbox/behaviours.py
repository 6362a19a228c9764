"""Every way the sandbox can misbehave, and how a request asks for it.

A list of behaviours is `name` or `name=value`, joined with `+`. It may be in three places, and a later place wins
over an earlier one: the request header `x-sandbox: slow=2+no-usage`; the model name after its first `+`, as in
`gpt-4+cut=5`; and the first line of the last user message (or of the prompt, or of the input of an embedding), as in
`sandbox: cut=5`. The last one reaches the sandbox through a gateway that passes messages untouched. An unknown name,
or a value that does not fit, is answered with a 400 that says so.

An event is one `data:` line of a stream. Where an answer is not streamed, `cut`, `reset` and `stall` count
bytes of its body instead, and the faults of one event (`garbage` to `policy-event`) replace the whole body.
A number of events beyond the end of the answer does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

BEHAVIOURS: Final[dict[str, str]] = {
    "slow": "slow=S: waits S seconds before the status.",
    "silent": "silent: never answers; no status is sent.",
    "refuse": "refuse: closes the connection on the request without a byte.",
    "stall": "stall=N: after N events no more bytes, and the connection stays open.",
    "cut": "cut=N: closes the connection after N events, without the end of the body.",
    "reset": "reset=N: resets the connection (RST) after N events.",
    "pace": "pace=MS: waits MS milliseconds between events.",
    "split": "split=N: sends the body in pieces of N bytes; in a stream each is an HTTP chunk.",
    "status": "status=CODE: answers with this HTTP status and an error in OpenAI's form.",
    "retry-after": "retry-after=S: adds the header Retry-After to an error.",
    "quota": "quota: the error is a 429 insufficient_quota.",
    "context": "context: the error is a 400 context_length_exceeded in OpenAI's words.",
    "fail-first": "fail-first=N: the first N requests for this model and these behaviours fail with 500.",
    "redirect": "redirect: 307 to another path.",
    "html": "html: 200 with a page of HTML.",
    "empty-body": "empty-body: 200 without a body.",
    "error-200": "error-200: 200 with an error object as JSON.",
    "error-event": "error-event=N: after N events an error event of the server, then the end of the body.",
    "policy-event": "policy-event=N: after N events an error event naming the content policy, then the end.",
    "garbage": "garbage=N: after N events one of invalid JSON; the stream continues.",
    "bad-utf8": "bad-utf8=N: after N events one with invalid UTF-8; the stream continues.",
    "huge-line": "huge-line=N: after N events one of more than 10 MiB; the stream continues.",
    "deep": "deep=N: after N events one nested 10,000 deep; the stream continues.",
    "nan": "nan=N: after N events one with NaN in it; the stream continues.",
    "empty-choices": "empty-choices=N: after N events one with an empty list of choices; the stream continues.",
    "noterminal": "noterminal: a clean end of the body without finish_reason and [DONE].",
    "nodone": "nodone: no [DONE].",
    "no-usage": "no-usage: never reports usage.",
    "usage-null": "usage-null: usage is null wherever it would be, in every event too.",
    "usage-zero": "usage-zero: reports zero tokens.",
    "usage-twice": "usage-twice: two usage events, the first smaller, the last right.",
    "usage-cumulative": "usage-cumulative: usage in every event, growing.",
    "usage-early": "usage-early: only the input in the first event, and no usage afterwards.",
    "usage-late": "usage-late: the usage event comes after [DONE].",
    "usage-openai": "usage-openai: as OpenAI itself, usage is null in all events but the last (where asked).",
    "usage-negative": "usage-negative: reports negative output.",
    "usage-float": "usage-float: reports fractions of tokens.",
    "usage-string": "usage-string: reports numbers as strings.",
    "usage-huge": "usage-huge: reports 2**63 tokens of output.",
    "usage-mismatch": "usage-mismatch: total_tokens is not the sum.",
    "usage": "usage=I,O: reports exactly I tokens of input and O of output.",
    "cached": "cached=N: prompt_tokens_details.cached_tokens is N.",
    "reasoning": "reasoning=N: N hidden tokens of reasoning come first, as output and against the limit.",
    "reasoning-text": "reasoning-text: shows the reasoning as reasoning_content (8 tokens by default).",
    "only-reasoning": "only-reasoning: the reasoning uses the limit up (16 tokens without one); no text.",
    "tokens": "tokens=N: exactly N tokens of text, unless the limit cuts them.",
    "bytes": "bytes=N: exactly N bytes of text, unless the limit cuts them.",
    "full": "full: as many tokens as the limit allows (16 without one).",
    "over": "over=N: ignores the limit and sends N tokens more than it (than 16 without one).",
    "empty": "empty: no text, finish_reason stop, no tokens of output.",
    "refusal": "refusal: refuses in message.refusal.",
    "content-filter": "content-filter: finish_reason content_filter.",
    "gzip": "gzip: compresses the body though nobody asked.",
    "crlf": "crlf: lines of a stream end in CR LF.",
    "nospace": "nospace: no space after `data:`.",
    "comments": "comments: `: ping` comments and `event:` lines between events.",
    "bom": "bom: a byte order mark before the first byte of the body.",
    "big-model": "big-model: the field model holds the path of a file of weights, as with llama.cpp.",
    "substitute": "substitute=NAME: the answer names another model.",
    "no-role": "no-role: no event with the role; no role in the message.",
    "no-created": "no-created: answers have no id and no created.",
    "gaps": "gaps: the index of choices begins at 1 and leaves gaps.",
    "chars": "chars: one event a character instead of one a token.",
}

# Values left out: `cut` alone is `cut=1`. None means that the number must be given.
_NUMBERS: Final[dict[str, str | None]] = {
    "slow": "1", "stall": "1", "cut": "1", "reset": "1", "pace": None, "split": "1", "status": None,
    "retry-after": "1", "fail-first": "1", "error-event": "1", "policy-event": "1", "garbage": "1",
    "bad-utf8": "1", "huge-line": "1", "deep": "1", "nan": "1", "empty-choices": "0", "cached": None,
    "reasoning": "8", "tokens": None, "bytes": None, "over": "100",
}  # fmt: skip
_FRACTIONS: Final = frozenset({"slow", "pace", "retry-after"})
_NUMBER_MAX: Final = 100_000_000


class UnknownBehaviour(ValueError):
    """A request asked for a behaviour that does not exist, or gave it a value that does not fit."""


class Behaviours(dict[str, str]):
    """The behaviours of one request, by name; the value is the text after `=`, empty where there is none."""

    def number(self, name: str) -> int | None:
        """The whole number given for `name`, or None where the behaviour was not asked for."""
        value = self.get(name)
        return None if value is None else int(value)

    def seconds(self, name: str, *, scale: float = 1.0) -> float:
        """The time given for `name`, times `scale`; 0 where the behaviour was not asked for."""
        value = self.get(name)
        return 0.0 if value is None else float(value) * scale

    def pair(self) -> tuple[int, int] | None:
        """The (input, output) of `usage=I,O`, or None."""
        value = self.get("usage")
        if value is None:
            return None
        given_input, _, given_output = value.partition(",")
        return int(given_input), int(given_output)

    def spelled(self) -> str:
        """The behaviours in one spelling, whatever order they were given in."""
        return "+".join(f"{name}={value}" if value else name for name, value in sorted(self.items()))


def parse(listed: str) -> Behaviours:
    """Read `name=value+name`. Raises UnknownBehaviour."""
    found = Behaviours()
    for part in listed.split("+"):
        name, has_value, value = part.strip().partition("=")
        if not name and not has_value:
            continue
        found[name] = _checked(name, value.strip(), given=bool(has_value))
    return found


def asked(*, header: str, model: str, text: str) -> Behaviours:
    """Read the behaviours of a request from its three places. Raises UnknownBehaviour."""
    found = Behaviours()
    if header:
        found.update(parse(header))
    if "+" in model:
        found.update(parse(model.partition("+")[2]))
    control, _rest = divided(text)
    if control:
        found.update(parse(control))
    return found


def divided(text: str) -> tuple[str, str]:
    """Divide a text into its behaviours (first line `sandbox: …`, else empty) and what is left to echo."""
    if not text.startswith("sandbox:"):
        return "", text
    first, _, rest = text.partition("\n")
    return first[len("sandbox:") :].strip(), rest


def of_event(behaviours: Mapping[str, str], names: Iterable[str]) -> dict[int, list[str]]:
    """The faults among `names` by the number of events after which they happen."""
    by_event: dict[int, list[str]] = {}
    for name in names:
        if name in behaviours:
            by_event.setdefault(int(behaviours[name]), []).append(name)
    return by_event


def _checked(name: str, value: str, *, given: bool) -> str:
    if name not in BEHAVIOURS:
        raise UnknownBehaviour(f"The sandbox knows no behaviour '{name}'. It knows: {', '.join(BEHAVIOURS)}.")
    wrong = UnknownBehaviour(f"The behaviour '{name}' does not take '{value}'. {BEHAVIOURS[name]}")
    if name == "usage":
        if not all(_fits(part, whole=True) for part in value.split(",")) or value.count(",") != 1:
            raise wrong
        return value
    if name in _NUMBERS:
        default = _NUMBERS[name]
        number = value if given or default is None else default
        if not _fits(number, whole=name not in _FRACTIONS):
            raise wrong
        if name == "status" and not 200 <= int(number) <= 599:
            raise wrong
        return "1" if name == "split" and int(number) == 0 else number
    if bool(value) != (name == "substitute") or (given and not value):
        raise wrong
    return value


def _fits(value: str, *, whole: bool) -> bool:
    digits: Any = value if whole else value.replace(".", "", 1)
    return digits.isascii() and digits.isdigit() and float(value) <= _NUMBER_MAX
