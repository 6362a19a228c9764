"""The bodies that cost a reader most, as large as bodies may be, and as large as passes the first look (I34)."""

from __future__ import annotations

from collections.abc import Callable

from farebox.kit import outline

CHAT, TEXT, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
MIB = 1024 * 1024
WHOLE = 31 * MIB


def said(content: bytes) -> bytes:
    return b'{"model":"gpt-4","messages":[{"role":"user","content":' + content + b"}]}"


def valued(value: bytes) -> bytes:
    return b'{"model":"gpt-4","messages":[{"role":"user","content":"Hi"}],"foo":' + value + b"}"


def filled(one: bytes, size: int = WHOLE) -> bytes:
    return one * (size // len(one))


def listed(one: bytes, count: int, end: bytes = b"1") -> bytes:
    return b"[" + one * count + end + b"]"


SIGNS = outline.SIGNS_MAX
# The worst of each kind, as large as bodies may be, and as large as passes the first look: (path, body, statuses).
WORST: dict[str, tuple[str, Callable[[], bytes], set[int]]] = {
    "text": (CHAT, lambda: said(b'"' + filled(b"a b c d ") + b'"'), {400}),
    "text that passes": (CHAT, lambda: said(b'"' + filled(b"a b c d ", outline.STRING_BYTES_MAX - 9) + b'"'), {200}),
    "chinese": (CHAT, lambda: said(b'"' + filled("中文字".encode()) + b'"'), {400}),
    "chinese that passes": (CHAT, lambda: said(b'"' + filled("中文字".encode(), outline.DEAR_STRING_BYTES_MAX - 99) + b'"'), {200}),
    "one emoji in much": (CHAT, lambda: said(b'"' + filled(b"abcdefgh", 4 * MIB - 99) + "😀".encode() + b'"'), {200}),
    "brackets": (CHAT, lambda: valued(filled(b"[")), {400}),
    "pairs of brackets": (CHAT, lambda: valued(listed(b"[],", SIGNS // 3 - 20)), {200}),
    "deep": (CHAT, lambda: valued(listed(b"[" * 60 + b"]" * 60 + b",", SIGNS // 121 - 1)), {200}),
    "objects": (CHAT, lambda: valued(listed(b"{},", SIGNS // 3 - 20)), {200}),
    "messages": (CHAT, lambda: b'{"model":"gpt-4","messages":[' + filled(b'{"role":"user","content":"x"},') + b"1]}", {400}),
    "parts": (CHAT, lambda: said(listed(b'{"type":"text","text":"a","u":1},', SIGNS // 8 - 20, b'{"type":"text","text":"a"}')), {200}),
    "tools": (CHAT, lambda: b'{"model":"gpt-4","messages":[{"role":"user","content":"x"}],"tools":' + listed(filled(b'{"type":"function"},', MIB), 30) + b"}", {400}),
    "schema": (CHAT, lambda: b'{"model":"gpt-4","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"a","parameters":{"x":' + listed(b'{"a":{}},', SIGNS // 7 - 50) + b"}}}]}", {200}),
    "keys": (CHAT, lambda: valued(b"{" + b",".join(b'"%d%s":1' % (n, b"k" * 70) for n in range(SIGNS // 2 - 20)) + b"}"), {200}),
    "keys that come twice": (CHAT, lambda: valued(b"{" + b",".join(b'"%d":1' % (n % 90_000) for n in range(SIGNS // 2 - 20)) + b"}"), {400}),
    "one long key": (CHAT, lambda: b'{"' + filled(b"k") + b'":1,' + said(b'"a"')[1:], {400}),
    "numbers": (CHAT, lambda: valued(listed(b"1e300,", 5 * MIB)), {400}),
    "slow numbers that pass": (CHAT, lambda: valued(listed(b"1e300,", outline.FRACTIONS_MAX - 9)), {200}),
    "digits": (CHAT, lambda: valued(filled(b"1")), {400}),
    "escapes": (CHAT, lambda: said(b'"' + filled(b"\\n") + b'"'), {400}),
    "escapes that pass": (CHAT, lambda: said(b'"' + filled(b"\\n", outline.DEAR_STRING_BYTES_MAX - 99) + b'"'), {200}),
    "surrogates": (CHAT, lambda: said(b'"' + filled(b"\\ud83d\\ude00") + b'"'), {400}),
    "surrogates that pass": (CHAT, lambda: said(b'"' + filled(b"\\ud83d\\ude00", outline.DEAR_STRING_BYTES_MAX - 99) + b'"'), {200}),
    "a bad escape at the end": (CHAT, lambda: said(b'"' + filled(b"\\n", 4 * MIB - 99) + b'\\x"'), {400}),
    "colons": (CHAT, lambda: said(b'"' + filled(b":", 8 * MIB - 99) + b'"'), {200}),
    "escaped colons": (CHAT, lambda: said(b'"' + filled(b"\\u003a", 4 * MIB - 99) + b'"'), {200}),
    "quotes": (CHAT, lambda: valued(filled(b'"')), {400}),
    "spaces": (CHAT, lambda: valued(filled(b" ")), {400}),
    "a wrong role": (CHAT, lambda: said(b'"a"').replace(b'"user"', b'"' + filled("\u0378".encode(), 4 * MIB - 99) + b'"'), {400}),
    "a price of its own": (CHAT, lambda: said(b'"a"')[:-1] + b',"store":"' + filled(b"a ", 8 * MIB - 99) + b'"}', {400}),
    "an image": (CHAT, lambda: said(b'[{"type":"image_url","image_url":{"url":"data:image/png;base64,' + filled(b"iVBORw0K") + b'"}}]'), {400}),
    "an image without end": (CHAT, lambda: said(b'[{"type":"image_url","image_url":{"url":"data:image/' + filled(b"a") + b'"}}]'), {400}),
    "no UTF-8": (CHAT, lambda: said(b'"' + filled("中".encode(), 4 * MIB - 99) + b'\xff"'), {400}),
    "prompts that come back": (TEXT, lambda: b'{"model":"gpt-4","echo":true,"stream":true,"max_tokens":1,"prompt":["' + filled(b"lorem ipsum ", 8 * MIB - 99) + b'","' + filled(b"aaaa", 8 * MIB - 99) + b'"]}', {200}),
    "token arrays": (EMBED, lambda: b'{"model":"text-embedding-3-small","input":' + listed(b"12345,", 5 * MIB) + b"}", {400}),
    "token arrays that pass": (EMBED, lambda: b'{"model":"text-embedding-3-small","input":' + listed(b"[" + b"12345," * 600 + b"1],", 300, b"[1]") + b"}", {200}),
    "many inputs": (EMBED, lambda: b'{"model":"text-embedding-3-small","input":' + listed(b'"a",', SIGNS - 20, b'"a"') + b"}", {400}),
}  # fmt: skip

SMALLER = 2 * MIB - 200  # the management API takes no larger ones
# Values for a body of the management API: the worst that are refused, and the worst that pass the first look.
VALUES: dict[str, Callable[[], bytes]] = {
    "brackets": lambda: filled(b"[", SMALLER),
    "pairs of brackets": lambda: listed(b"[],", SIGNS // 3 - 20),
    "deep": lambda: listed(b"[" * 58 + b"]" * 58 + b",", SIGNS // 117 - 9),
    "objects": lambda: listed(b"{},", SIGNS // 3 - 20),
    "keys": lambda: b"{" + b",".join(b'"%d%s":1' % (n, b"k" * 12) for n in range(SIGNS // 2 - 9_000)) + b"}",
    "keys that come twice": lambda: b"{" + b",".join(b'"%d":1' % (n % 80_000) for n in range(90_000)) + b"}",
    "numbers": lambda: listed(b"1e300,", SMALLER // 6 - 9),
    "slow numbers that pass": lambda: listed(b"1e300,", outline.FRACTIONS_MAX - 9),
    "digits": lambda: filled(b"1", SMALLER),
    "escapes": lambda: b'"' + filled(b"\\n", SMALLER) + b'"',
    "surrogates": lambda: b'"' + filled(b"\\ud83d\\ude00", SMALLER) + b'"',
    "escaped colons": lambda: b'"' + filled(b"\\u003a", SMALLER) + b'"',
    "chinese": lambda: b'"' + filled("中文字".encode(), SMALLER) + b'"',
    "quotes": lambda: filled(b'"', SMALLER),
}
