"""What a customer is told beside the answer's own text, and what of that counts as output in version 2 of the rules.

Version 1 counts none of it. In version 2 all text that is delivered counts (promises 4.2):

- reasoning in a second field, where it does not repeat the first; other texts in the lists of its details;
- the tokens that `logprobs` lists where the choice says nothing with them (`likely.unsaid`);
- sources: annotations, citations, search results, each once, for some vendors repeat all in each event;
- base64 that was written into a text sign by sign, which only a real image would not have been;
- any text in a place where none belongs: an id of a tool call, a signature, what surrounds an image.

Not counted is what nobody can read: signatures, encrypted thoughts, sound and images, padding; and short names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from farebox.protocol.openai_form import fields
from farebox.protocol.openai_form.tidy import OpenChoice

THOUGHT: Final = ("text", "summary", "thinking")  # the fields in which details of reasoning have it
# A name, an id or a kind; or base64 of any length: signatures and what is encrypted.
is_opaque: Final = re.compile(r"[A-Za-z0-9_.:/+=-]{0,128}|[A-Za-z0-9+/_-]*={0,2}").fullmatch
_IMAGE: Final = re.compile(r"data:[\w.+-]{0,32}/[\w.+-]{0,32};base64,[A-Za-z0-9+/_-]*={0,2}").fullmatch
_SPACES: Final = re.compile(r"\s+")


def of_choice(said: Mapping[str, Any], lane: OpenChoice, thought: str) -> Iterator[str]:
    """What a tidied delta, message or text says beside what `counted` counts of it, `thought` among that."""
    if thought:
        yield from _thoughts(said, thought)
    for name in ("reasoning_details", "thinking_blocks"):
        for entry in said.get(name, ()):
            yield from words(
                {key: each for key, each in entry.items() if key not in THOUGHT or not isinstance(each, str)}
            )
    for call in said.get("tool_calls", ()):
        yield from words([call.get("id"), call.get("extra_content")])
    for name in ("extra_content", "images"):
        if name in said:
            yield from words(said[name])
    if audio := said.get("audio"):
        yield from words([audio.get("id"), audio.get("data")])
    if "annotations" in said:
        yield from sources(said["annotations"], lane)


def _thoughts(said: Mapping[str, Any], thought: str) -> Iterator[str]:
    entries = [*said.get("reasoning_details", ()), *said.get("thinking_blocks", ())]
    for other in (said.get("reasoning_content"), said.get("reasoning"), detailed(entries)):
        if other and not _repeats(other, thought):
            yield other


def _repeats(other: str, thought: str) -> bool:
    """Whether `other` says nothing that `thought` does not: some part paragraphs in the one and not in the other."""
    return other in thought or _SPACES.sub("", other) in _SPACES.sub("", thought)


def detailed(entries: Iterable[Mapping[str, Any]]) -> str:
    """Reasoning that is shown in no other field than the lists of its details."""
    found = [entry.get(name) for entry in entries for name in THOUGHT]
    return "".join(text for text in found if isinstance(text, str))


def words(value: Any) -> Iterator[str]:
    """The texts in a JSON value that are neither short names nor what nobody can read."""
    return (text for text in _strings(value) if not is_opaque(text) and not _IMAGE(text))


def sources(value: Any, lane: OpenChoice) -> Iterator[str]:
    """The texts of a JSON value that were not in the sources of this choice before."""
    for text in _strings(value):
        if text and text not in lane.sources:
            lane.sources.add(text)
            yield text


def around(found: Mapping[str, Any], lane: OpenChoice) -> tuple[dict[str, Any], list[str]]:
    """What is shown of the fields beside the choices, and the texts in it; they count for the choice of `lane`."""
    more = {name: found[name] for name in sorted(fields.TOP) if found.get(name)}
    padding = more.get("obfuscation", "")
    if not isinstance(padding, str) or not fields.is_padding(padding):
        del more["obfuscation"]
    if more == lane.around:
        return more, []
    lane.around = more
    return more, [text for name in ("citations", "search_results") for text in sources(more.get(name), lane)]


def _strings(value: Any) -> Iterator[str]:
    """All strings of a JSON value; of the names of its fields those that are no plain names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if not is_opaque(name):
                yield name
            yield from _strings(each)
