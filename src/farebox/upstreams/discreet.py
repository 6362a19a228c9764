"""An upstream's words as a customer may read them: what is wrong with the request, and not from whom we buy.

Taken out are the vendor's host and its name, links to such, the names of resellers, ids of our account and of the
vendor's requests, and the name under which the model is bought. Keys are gone before (`faults`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

from farebox.protocol.dialect import Fault

UPSTREAM: Final = "the upstream"
# Who hosts or resells models of others. A maker of models is no secret: customers ask for a model by its name.
_RESELLERS: Final = (
    r"azure(?:[ -]?open ?ai)?|microsoft|open ?router|together(?:[ .-]?ai|computer)|fireworks[ .-]?ai|deep ?infra"
    r"|silicon ?flow|novita(?:[ .-]?ai)?|groq|cerebras|sambanova|nebius|(?:amazon |aws )?bedrock"
    r"|amazon web services|aws|vertex[ -]?ai|google cloud|alibaba(?: ?cloud)?|aliyun|dash ?scope|bailian"
    r"|volc(?:ano)? ?engine|volces|byteplus|tencent ?cloud|qianfan|ppio|302\.ai|new[-_ ]?api|one[-_ ]?api|lite ?llm"
    r"|portkey|helicone|vllm|sglang"
)
_LINK: Final = re.compile(r"https?://([^\s/\"'<>)\]]+)[^\s\"'<>)\]]*", re.IGNORECASE)
_IDS: Final = re.compile(
    r"\s?[(\[]?\b(?:request|trace|req|log)[ _-]?id\b\s*[:=]?\s*[\w-]{6,}[)\]]?"
    r"|\b(?:org|proj|acct|ws|workspace|project)[-_](?=[\w-]*\d)[A-Za-z0-9_-]{6,}\b"
    r"|\baccount (?:id )?[:=]?\s?(?=[\w-]*\d)[\w-]{6,}|[\w.+-]+@[\w-]+\.[\w.-]*\w",
    re.IGNORECASE,
)
# Labels of a host name that name nobody.
_COMMON: Final = frozenset({"api", "www", "gateway", "chat", "model", "models", "openapi", "inference", "local"})
_NAME_CHARS_MIN: Final = 3  # a shorter name of a model is also a part of words
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def fault(found: Fault, *, host: str, mapped: str, asked: str) -> Fault:
    """`found` in the words for a customer who asked for the model `asked`, bought as `mapped` from `host`."""
    named = _named(host)
    message = _LINK.sub(lambda link: UPSTREAM if named.search(link[1]) else link[0], found.message)
    message = _IDS.sub("", message)
    # What the customer calls the model stands, even if a vendor's name is in it.
    if len(mapped) >= _NAME_CHARS_MIN and mapped != asked:
        message = asked.join(re.split(rf"(?<![\w-]){re.escape(mapped)}(?![\w-])", message))
    parts = [named.sub(UPSTREAM, part) for part in message.split(asked)] if asked else [named.sub(UPSTREAM, message)]
    code = found.code if found.code and _CODE.fullmatch(found.code) and not named.search(found.code) else None
    return msgspec.structs.replace(found, message=asked.join(parts).strip(), code=code)


@lru_cache(maxsize=256)
def _named(host: str) -> re.Pattern[str]:
    labels = [label for label in host.split(".")[:-1] if len(label) > len("com") and label not in _COMMON]
    names = [re.escape(host), *map(re.escape, labels)] if not _is_address(host) else []
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join([*names, _RESELLERS])})(?![A-Za-z0-9])", re.IGNORECASE)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit() or "." not in host
