"""Key files, digests of customers' secrets, encryption at rest, and what logs must not show (security 4).

Key files (`pepper`, `master`) are ASCII texts; the first line names kind and version of the format, each
further line holds a number and 32 random bytes in hex; the newest comes last, mints and seals, and the older
ones still verify. A newer one that is `waiting` verifies only, until every node has it (care/rotation.py):

    farebox pepper 1
    1 5f0c…(64 hex digits)
    2 a911… waiting

A sealed text is base64url without padding of
`version (1 byte, 1) ‖ master key number (4, big-endian) ‖ nonce (12) ‖ data key under master key (32 + 16)
‖ nonce (12) ‖ text under data key (n + 16)`, both AES-256-GCM. The data key is bound to table, column, row
and master key number, the text to table, column, row and version, so a ciphertext moved to another row can't
be read, and a new master key wraps the data key only. Fields of the bound data follow their length (2 bytes).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import refusal
from .errors import CommandError
from .options import Options

FORMAT = 1
KEY_BYTES = 32
_NONCE_BYTES = 12
_WRAPPED_BYTES = KEY_BYTES + 16
_HEAD_BYTES = 1 + 4 + _NONCE_BYTES + _WRAPPED_BYTES
_FILE_BYTES_MAX = 64 * 1024
_process_secret = secrets.token_bytes(KEY_BYTES)
KINDS: Final = ("pepper", "master")


class Keys(dict[int, bytes]):
    """The keys of a file by number; `mints` is the number of the one that mints and seals."""

    def __init__(self, keys: Mapping[int, bytes], *, mints: int) -> None:
        super().__init__(keys)
        self.mints = mints


def ensure(options: Options) -> None:
    """Make the key files that do not exist yet, mode 0400 in folders of mode 0700; leave others as they are.

    For `migrate`, `serve` and `demo` alone: a new pepper voids every key. Raises CommandError for a file that
    can't be written or read.
    """
    for kind, path in (("pepper", options.pepper), ("master", options.master_key)):
        if not path.exists():
            _create(path, _text(kind, Keys({1: secrets.token_bytes(KEY_BYTES)}, mints=1)))
        _load(kind, path)


def peppers(options: Options) -> Keys:
    """The peppers by number, newest last; CommandError with the next step where there is no such file."""
    return _load("pepper", options.pepper)


def master_keys(options: Options) -> Keys:
    """The master keys by number, newest last; CommandError with the next step where there is no such file."""
    return _load("master", options.master_key)


def load(kind: str, options: Options) -> Keys:
    """The keys of a kind, `pepper` or `master`."""
    return _load(kind, path_of(kind, options))


def path_of(kind: str, options: Options) -> Path:
    """The file of a kind."""
    return {"pepper": options.pepper, "master": options.master_key}[kind]


def add(kind: str, options: Options) -> int:
    """Append a new key that waits, and give its number; that of the one that waits already, if one does."""
    with _changing(kind, options) as keys:
        if max(keys) > keys.mints:
            return max(keys)
        keys[max(keys) + 1] = secrets.token_bytes(KEY_BYTES)
        return max(keys)


def activate(kind: str, options: Options) -> int:
    """Let the newest key mint and seal from now on, and give its number; the older ones go on verifying."""
    with _changing(kind, options) as keys:
        keys.mints = max(keys)
        return keys.mints


def drop_older(kind: str, options: Options) -> list[int]:
    """Take the keys before the one that mints out of the file permanently; their numbers."""
    with _changing(kind, options) as keys:
        gone = [n for n in keys if n < keys.mints]
        for n in gone:
            del keys[n]
        return gone


def digest_key(pepper: bytes, key: str) -> str:
    """64 hex digits of HMAC-SHA256 that stand for an API key; UnicodeEncodeError unless it is ASCII."""
    return hmac.digest(pepper, b"farebox api key\0" + key.encode("ascii"), "sha256").hex()


def digest_code(pepper: bytes, code: str, *, label: str) -> str:
    """64 hex digits of HMAC-SHA256 for a one-time code; `label` (such as `invite`) keeps kinds apart."""
    return hmac.digest(pepper, b"farebox code\0" + label.encode() + b"\0" + code.encode(), "sha256").hex()


def derived_text(options: Options, label: str) -> str:
    """64 hex digits derived from the newest master key for `label`; random per process without key file.

    Settings are imported before the first command has made the key files; nothing signed then needs to last.
    """
    base = _process_secret
    if options.master_key.is_file():
        base = newest(master_keys(options))[1]
    return _derived(base, label)


def _derived(base: bytes, label: str) -> str:
    return hmac.digest(base, b"farebox derived\0" + label.encode(), "sha256").hex()


def older_derived_texts(options: Options, label: str) -> list[str]:
    """What `derived_text` gave under the other keys of the file: what is signed by them is still good."""
    if not options.master_key.is_file():
        return []
    keys = master_keys(options)
    return [_derived(keys[n], label) for n in sorted(keys, reverse=True) if n != keys.mints]


def newest(keys: Mapping[int, bytes]) -> tuple[int, bytes]:
    """Number and bytes of the key that mints and seals."""
    n = keys.mints if isinstance(keys, Keys) else max(keys)
    return n, keys[n]


def in_order(keys: Mapping[int, bytes]) -> list[bytes]:
    """All keys, the one that mints first, then from the newest to the oldest."""
    first, _ = newest(keys)
    return [keys[n] for n in sorted(keys, key=lambda n: (n != first, -n))]


def seal(master: Mapping[int, bytes], plaintext: str, *, table: str, column: str, row: str) -> str:
    """`plaintext` encrypted for this one place under the newest of the master keys."""
    n, key = newest(master)
    data_key = secrets.token_bytes(KEY_BYTES)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    body = AESGCM(data_key).encrypt(nonce, plaintext.encode(), _bound(table, column, row, FORMAT))
    return _pack(_wrap(n, key, data_key, _bound(table, column, row, n)) + nonce + body)


def unseal(master: Mapping[int, bytes], sealed: str, *, table: str, column: str, row: str) -> str:
    """The text that `seal` took; CommandError if it was changed, moved, or its master key is missing."""
    raw, data_key = _open(master, sealed, table=table, column=column, row=row)
    nonce, body = raw[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES], raw[_HEAD_BYTES + _NONCE_BYTES :]
    try:
        return AESGCM(data_key).decrypt(nonce, body, _bound(table, column, row, FORMAT)).decode()
    except (InvalidTag, ValueError):
        raise _unreadable(table, column, row) from None


def rewrap(master: Mapping[int, bytes], sealed: str, *, table: str, column: str, row: str) -> str:
    """The same secret under the newest master key, never decrypted; unchanged if it already is."""
    raw, data_key = _open(master, sealed, table=table, column=column, row=row)
    n, key = newest(master)
    if sealed_under(sealed) == n:
        return sealed
    return _pack(_wrap(n, key, data_key, _bound(table, column, row, n)) + raw[_HEAD_BYTES:])


def sealed_under(sealed: str) -> int:
    """Number of the master key that a sealed text needs; CommandError if it is no sealed text."""
    return int.from_bytes(_unpack(sealed)[1:5], "big")


def _wrap(n: int, key: bytes, data_key: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return bytes([FORMAT]) + n.to_bytes(4, "big") + nonce + AESGCM(key).encrypt(nonce, data_key, bound)


def _open(master: Mapping[int, bytes], sealed: str, *, table: str, column: str, row: str) -> tuple[bytes, bytes]:
    raw = _unpack(sealed)
    n = int.from_bytes(raw[1:5], "big")
    if n not in master:
        raise CommandError("secret.other_key", table=table, column=column, row=row, key=str(n))
    nonce, wrapped = raw[5 : 5 + _NONCE_BYTES], raw[5 + _NONCE_BYTES : _HEAD_BYTES]
    try:
        return raw, AESGCM(master[n]).decrypt(nonce, wrapped, _bound(table, column, row, n))
    except InvalidTag:
        raise _unreadable(table, column, row) from None


def _bound(table: str, column: str, row: str, version: int) -> bytes:
    parts = [table.encode(), column.encode(), row.encode(), version.to_bytes(4, "big")]
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def _pack(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _unpack(sealed: str) -> bytes:
    try:
        raw = base64.b64decode(sealed.encode("ascii") + b"=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    if len(raw) < _HEAD_BYTES + _NONCE_BYTES + 16 or raw[0] != FORMAT:
        raise CommandError("secret.not_sealed")
    return raw


def _unreadable(table: str, column: str, row: str) -> CommandError:
    return CommandError("secret.unreadable", table=table, column=column, row=row)


def _text(kind: str, keys: Keys) -> str:
    lines = [f"{n} {keys[n].hex()}{' waiting' if n > keys.mints else ''}" for n in sorted(keys)]
    return "\n".join([f"farebox {kind} {FORMAT}", *lines]) + "\n"


def _load(kind: str, path: Path) -> Keys:
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise CommandError("key_file.missing", file=str(path), kind=refusal.word("key_file", kind)) from None
    except OSError as fault:
        raise CommandError(
            "key_file.unreadable", file=str(path), kind=refusal.word("key_file", kind), why=fault.strerror or ""
        ) from None
    keys = _parsed(kind, text)
    if keys is None:
        raise CommandError("key_file.other_form", file=str(path), kind=refusal.word("key_file", kind))
    return keys


def _parsed(kind: str, text: bytes) -> Keys | None:
    head, *lines = text.decode("latin-1").splitlines() or [""]
    if head != f"farebox {kind} {FORMAT}" or len(text) > _FILE_BYTES_MAX:
        return None
    keys: dict[int, bytes] = {}
    mints = 0
    for line in lines:
        found = re.fullmatch(r"([1-9][0-9]{0,8}) ([0-9a-f]{64})( waiting)?", line)
        if found is None or int(found[1]) <= max(keys, default=0):
            return None
        if not found[3]:
            if mints != max(keys, default=0):  # only the newest may wait
                return None
            mints = int(found[1])
        keys[int(found[1])] = bytes.fromhex(found[2])
    return Keys(keys, mints=mints) if mints else None


@contextlib.contextmanager
def _changing(kind: str, options: Options) -> Iterator[Keys]:
    """The keys of a file, written back if they were changed; two who change them come one after the other."""
    path = path_of(kind, options)
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as fault:
        raise CommandError(
            "key_file.unreadable", file=str(path), kind=refusal.word("key_file", kind), why=fault.strerror or ""
        ) from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = _load(kind, path)
        before = _text(kind, keys)
        yield keys
        if (after := _text(kind, keys)) != before:
            _written(path, after).replace(path)
            _sync_folder(path.parent)
    except OSError as fault:
        raise CommandError(
            "key_file.unwritable", file=str(path), kind=refusal.word("key_file", kind), why=fault.strerror or ""
        ) from None
    finally:
        os.close(folder)


def _create(path: Path, text: str) -> None:
    try:
        missing = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        temporary = _written(path, text)
        try:
            # A link, unlike a rename, never replaces the file that another process made meanwhile.
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)
        finally:
            temporary.unlink()
        _sync_folder(path.parent)
    except OSError as fault:
        raise CommandError("key_file.not_made", file=str(path), why=fault.strerror or "") from None


def _written(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# What a named group holds stays readable, the rest goes. Quotes may be escaped: logs are JSON in JSON.
_SECRETS = re.compile(
    r"""
      -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    | (?P<scheme>\b(?:Bearer|Basic)[ \t]++)(?!\[redacted)[^\s"',;}\]\\]+
    | (?P<cookie>\b(?:set-)?cookie\b(?:\\*["'])?\s*+[:=]\s*+(?:\\*["'])?+)
      (?!\[redacted)(?:[^\r\n"'\\]|\\(?!["'nr\\]))+
    | (?P<field>\b(?:(?:proxy-)?authorization|(?:x-)?api-?key|x-goog-api-key|api_key|access_token
        |refresh_token|client_secret|password|passwd)\b(?:\\*["'])?\s*+[:=]\s*+(?:\\*["'])?+)
      (?!(?:Bearer|Basic)\b|\[redacted)(?:[^\s"'&,}\]\\]|\\(?!["'nrt\\]))+
    | (?P<query>[?&](?:key|token|sig|signature)=)(?!\[redacted)[^\s&"'\#]+
    | (?P<way>(?:/|%(?:25)*2f)(?:join|link)(?:/|%(?:25)*2f)|(?:[?&]|%(?:25)*(?:3f|26))code(?:=|%(?:25)*3d))
      (?!\[redacted)(?:[^\s/?&"'\\\#%]|%(?!(?:25)*(?:2[2367f]|3f)))+
    | (?P<login>\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{0,256}:)(?!\[redacted)[^\s/@]{1,1024}(?=@)
    | \b(?:sk-[A-Za-z0-9_-]{6,} | sess-[A-Za-z0-9_-]{16,} | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{8,}
        | whsec_[A-Za-z0-9+/=]{8,} | AIza[A-Za-z0-9_-]{30,} | gsk_[A-Za-z0-9]{16,} | xai-[A-Za-z0-9]{16,}
        | hf_[A-Za-z0-9]{16,} | r8_[A-Za-z0-9]{16,} | pplx-[A-Za-z0-9]{16,} | nvapi-[A-Za-z0-9_-]{16,}
        | fw_[A-Za-z0-9]{16,} | gh[pousr]_[A-Za-z0-9]{16,} | glpat-[A-Za-z0-9_-]{16,}
        | xox[abprs]-[A-Za-z0-9-]{10,} | (?:AKIA|ASIA)[A-Z0-9]{16}
        | eyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

# One of these is in every text that the pattern finds; looking for them first makes most lines cheap (2 µs).
_SIGNS = (
    *("-----begin", "bearer", "basic", "authorization", "cookie", "api-key", "apikey", "api_key", "passw"),
    *("access_token", "refresh_token", "client_secret", "key=", "token=", "sig=", "signature=", "://"),
    *("sk-", "sess-", "sk_", "rk_", "pk_", "whsec_", "aiza", "gsk_", "xai-", "hf_", "r8_", "pplx-", "nvapi-"),
    *("join/", "link/", "join%", "link%", "code=", "code%"),
    *("fw_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-", "xox", "akia", "asia", "eyj"),
)


def redact(text: str) -> str:
    """`text` with everything that looks like a secret replaced by `[redacted]`, for logs (I28).

    Covers our own keys, `sk-…` of any vendor, Bearer and Basic credentials, cookies, key headers and parameters,
    passwords in addresses, one-time links, private keys, and the well-known forms of cloud and payment keys.
    """
    lower = text.lower()
    for sign in _SIGNS:
        if sign in lower:
            return _SECRETS.sub(_masked, text)
    return text


def _masked(found: re.Match[str]) -> str:
    kept = found[found.lastgroup] if found.lastgroup else ""
    return f"{kept}[redacted]"
