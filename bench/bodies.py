"""What hostile accounts send: the worst bodies of each kind, as large as passes the shop's first look, or larger.

The figures are those of `src/farebox/kit/outline.py`. Where one of them changes, the table of attacks.py shows 400s.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib

from wire import post

CHAT, TEXT, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
MIB = 1024 * 1024
SIGNS = 200_000
STRING_BYTES = 8 * MIB - 200
DEAR_STRING_BYTES = 4 * MIB - 200

# What prepare_and_serve.py sells beside the honest customer's model, each through an upstream that he does not use.
FAST, FAST_SHORT, ECHOES, NUMBERS = "fast", "fast-short", "echoes", "numbers"


def filled(one: bytes, size: int) -> bytes:
    return one * (size // len(one))


def said(content: bytes, model: str = FAST, more: bytes = b"") -> bytes:
    return b'{"model":"%s","messages":[{"role":"user","content":%s}]%s}' % (model.encode(), content, more)


def text(one: bytes, size: int, model: str = FAST) -> bytes:
    return said(b'"' + filled(one, size) + b'"', model)


def valued(value: bytes) -> bytes:
    return said(b'"Hi"', more=b',"foo":' + value)


def listed(one: bytes, count: int, end: bytes) -> bytes:
    return b"[" + one * count + end + b"]"


def picture(size: int) -> bytes:
    """A data URL of a PNG of one piece, 1,024 × 1,024 as its head says."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0)
    rest = b"IDAT" + bytes(size * 3 // 4)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (head, rest, b"IEND")
    )
    return b'"data:image/png;base64,' + base64.b64encode(png) + b'"'


def brackets(key: str) -> list[bytes]:
    return [post(CHAT, valued(filled(b"[", 30 * MIB)), key)]


def _echo(key: str, size: int) -> list[bytes]:
    head = b'{"model":"%s","echo":true,"stream":true,"max_tokens":1,"prompt":["' % ECHOES.encode()
    prompts = filled(b"lorem ipsum ", size), filled(b"aaaa", size)
    return [post(TEXT, head + b'","'.join(prompts) + b'"]}', key)]


def echo(key: str) -> list[bytes]:
    """Two prompts of 15 MB that shall come back."""
    return _echo(key, 15_000_000)


def echo_passing(key: str) -> list[bytes]:
    """The same, no larger than a text may be."""
    return _echo(key, STRING_BYTES)


def chat(key: str, model: str, content: str, **fields: object) -> list[bytes]:
    body = {"model": model, "messages": [{"role": "user", "content": content}], **fields}
    return [post(CHAT, json.dumps(body).encode(), key)]


def alternatives(key: str) -> list[bytes]:
    """An honest answer to it would be 91 MB."""
    asked = {"n": 8, "logprobs": True, "top_logprobs": 20, "max_tokens": 1500}
    return chat(key, ECHOES, "sandbox: full", **asked)


def largest(key: str) -> list[bytes]:
    """The largest of each kind that pass; `FAST_SHORT` has a context so small that texts are counted exactly."""
    schema = (
        b',"tools":[{"type":"function","function":{"name":"a","parameters":{"x":'
        + listed(b'{"a":{}},', SIGNS // 7 - 50, b"1")
        + b"}}}]"
    )
    numbers = b'{"model":"%s","input":' % NUMBERS.encode() + listed(b"[" + b"12345," * 600 + b"1],", 300, b"[1]") + b"}"
    image = b'[{"type":"image_url","image_url":{"url":' + picture(24 * MIB) + b"}}]"
    bodies = [
        text(b"a b c d ", STRING_BYTES),
        text("中文字".encode(), DEAR_STRING_BYTES),
        text(b"\\n", DEAR_STRING_BYTES),
        text(b"\\ud83d\\ude00", DEAR_STRING_BYTES),
        text(b"sixteen of these ", 400_000, FAST_SHORT),
        text(b"a b c d ", MIB - 200, FAST_SHORT),
        said(b'"x"', more=schema),
        said(image),
        valued(listed(b"{},", SIGNS // 3 - 20, b"1")),
        valued(listed(b"1e300,", 4990, b"1")),
        valued(b"{" + b",".join(b'"%d%s":1' % (n, b"k" * 70) for n in range(SIGNS // 2 - 20)) + b"}"),
    ]
    return [*(post(CHAT, body, key) for body in bodies), post(EMBED, numbers, key)]
