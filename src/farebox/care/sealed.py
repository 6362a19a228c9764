r"""The file of a backup: one manifest and one payload, in parts that tell whether they are whole.

The form, version 1. Numbers are big-endian.

    `farebox backup 1\n`          17 bytes
    n                            4 bytes, the length of the head
    head                         n bytes of JSON: cipher, key, salt, chunk_bytes, plain_bytes
    SHA-256 of all before it     32 bytes: the digest of the head
    chunks                       each chunk_bytes of text (the last one: what is left) and 16 bytes of tag

The joined text, plain_bytes long, is `m (4 bytes) ‖ manifest (m bytes of JSON) ‖ payload`. The manifest says how many
bytes the payload has and their SHA-256. Chunk i has the nonce `i (11 bytes) ‖ 1 if it is the last, else 0 (1 byte)`.

* cipher `aes-256-gcm`: AES-256-GCM under HKDF-SHA256 of the key (salt of the head, info `farebox backup 1`), bound to
  the digest of the head. `key` in the head names the key: it is not the key and does not lead to it.
* cipher `none`: the text is readable; the tag is the first 16 bytes of SHA-256 of `digest of the head ‖ nonce ‖ text`.
  It finds accidents, not somebody who changes the file on purpose.

So a cut, a flipped bit, a chunk that is missing, moved or from another file, and a wrong key are all found.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from farebox.kit.errors import CommandError

FORM = 1
MAGIC = b"farebox backup 1\n"
CHUNK_BYTES = 1024 * 1024
CHUNK_BYTES_MAX = 16 * CHUNK_BYTES
TAG_BYTES = 16
KEY_BYTES = 32
OPEN, SEALED = "none", "aes-256-gcm"
_HEAD_BYTES_MAX = 4096
_ANY_FORM = b"farebox backup "
_KEY_LINE = b"farebox backup-key 1 "

Tell = Callable[[int, int], None]


def silent(_done: int, _all: int) -> None:
    """Hear of progress and say nothing."""


def make_key(path: Path) -> str:
    """Make a key file, mode 0400, that must not exist yet; the name of the key. CommandError if it can't be made."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(handle, "wb") as file:
            file.write(_KEY_LINE + key.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise CommandError(f"{path} exists already. A new key there would void the backups of the old one.") from None
    except OSError as fault:
        raise CommandError(f"The key file {path} can't be made: {fault.strerror}.") from None
    return key_name(key)


def read_key(path: Path) -> bytes:
    """The 32 bytes of a key file: bare, or as `make_key` writes them. CommandError where others may read the file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            raw = file.read(256)
    except OSError as fault:
        raise CommandError(f"The key file {path} can't be read: {fault.strerror}.") from None
    if mode & 0o077:
        raise CommandError(f"The key file {path} is open to others on this machine (mode {mode:04o}): chmod 400 {path}")
    if len(raw) == KEY_BYTES:
        return raw
    with contextlib.suppress(ValueError, UnicodeDecodeError):
        if (
            raw.startswith(_KEY_LINE)
            and len(found := bytes.fromhex(raw[len(_KEY_LINE) :].decode("ascii"))) == KEY_BYTES
        ):
            return found
    raise CommandError(f"{path} is not a key of backups: 32 random bytes, or what `farebox backup --make-key` made.")


def key_name(key: bytes) -> str:
    """16 hex digits that name a key without giving it away."""
    return hmac.digest(key, b"farebox backup key name\0", "sha256").hex()[:16]


def write(file: BinaryIO, *, manifest: dict[str, Any], payload: Path, key: bytes | None, tell: Tell = silent) -> None:
    """Write a backup to `file`; with a `key`, encrypted. `tell(done, all)` hears of bytes."""
    with payload.open("rb") as source:
        size, digest = os.fstat(source.fileno()).st_size, hashlib.file_digest(source, "sha256").hexdigest()
        said = json.dumps(manifest | {"payload_bytes": size, "payload_sha256": digest}, ensure_ascii=False).encode()
        first = len(said).to_bytes(4, "big") + said
        if len(first) > CHUNK_BYTES:
            raise ValueError("the manifest does not fit into a chunk")
        total = len(first) + size
        salt = secrets.token_bytes(32)
        head = json.dumps(
            {
                "cipher": OPEN if key is None else SEALED,
                "key": "" if key is None else key_name(key),
                "salt": salt.hex(),
                "chunk_bytes": CHUNK_BYTES,
                "plain_bytes": total,
            }
        ).encode()
        start = MAGIC + len(head).to_bytes(4, "big") + head
        bound = hashlib.sha256(start).digest()
        chunks = _Chunks(bound, key, salt)
        file.write(start + bound)
        source.seek(0)
        text = first + source.read(CHUNK_BYTES - len(first))
        n = done = 0
        while text:
            done += len(text)
            file.write(chunks.seal(text, n, last=done == total))
            tell(done, total)
            n, text = n + 1, source.read(CHUNK_BYTES)
    if done != total:
        raise CommandError(f"The copy {payload} changed while it was written into the backup. Try again.")


class Backup:
    """A backup that is open for reading; `manifest` is what it says of its payload. Made by `opened`."""

    def __init__(self, path: Path, file: BinaryIO, key: bytes | None) -> None:
        self._path, self._file = path, file
        head, bound = self._head()
        self.sealed = head["cipher"] == SEALED
        self._refuse_key(head, key)
        self._all, self._chunk_bytes = head["plain_bytes"], head["chunk_bytes"]
        self._many = -(-self._all // self._chunk_bytes)
        self._size(file.tell() + self._all + self._many * TAG_BYTES)
        self._chunks = _Chunks(bound, key, bytes.fromhex(head["salt"]))
        self._texts = self._read()
        first = next(self._texts)
        end = 4 + int.from_bytes(first[:4], "big")
        self.manifest: dict[str, Any] = json.loads(first[4:end])
        self._rest = first[end:]

    def unpack(self, target: BinaryIO, tell: Tell = silent) -> None:
        """Write the payload to `target`, once; CommandError where the file is not as it was written."""
        found, done = hashlib.sha256(self._rest), target.write(self._rest)
        for text in self._texts:
            found.update(text)
            done += target.write(text)
            tell(done, self.manifest["payload_bytes"])
        if (done, found.hexdigest()) != (self.manifest["payload_bytes"], self.manifest["payload_sha256"]):
            raise CommandError(f"{self._path} was changed: its payload is not what its manifest says.")

    def _head(self) -> tuple[dict[str, Any], bytes]:
        magic = self._file.read(len(MAGIC))
        if magic != MAGIC:
            if magic and (MAGIC.startswith(magic)):
                raise CommandError(f"{self._path} is cut short: it ends within its head.")
            if magic.startswith(_ANY_FORM) and magic[len(_ANY_FORM) :].split(b"\n")[0].isdigit():
                raise CommandError(f"{self._path} is of another form than {FORM}, which this program reads.")
            raise CommandError(f"{self._path} is not a backup of Farebox.")
        length = self._file.read(4)
        size = int.from_bytes(length, "big")
        if len(length) == 4 and size > _HEAD_BYTES_MAX:
            raise CommandError(f"{self._path} was changed: its head is not what was written.")
        head, bound = self._file.read(size), self._file.read(32)
        if len(bound) < 32:
            raise CommandError(f"{self._path} is cut short: it ends within its head.")
        if hashlib.sha256(magic + length + head).digest() != bound:
            raise CommandError(f"{self._path} was changed: its head is not what was written.")
        found: dict[str, Any] = json.loads(head)
        if found["cipher"] not in {OPEN, SEALED} or not 0 < found["chunk_bytes"] <= CHUNK_BYTES_MAX:
            raise CommandError(f"{self._path} is sealed in a way that this program does not know.")
        return found, bound

    def _refuse_key(self, head: dict[str, Any], key: bytes | None) -> None:
        if self.sealed and key is None:
            raise CommandError(f"{self._path} is encrypted with the key {head['key']}. Give it with --key-file FILE.")
        if key is not None and not self.sealed:
            raise CommandError(f"{self._path} is not encrypted, so no key proves it. Leave --key-file away.")
        if key is not None and head["key"] != key_name(key):
            raise CommandError(
                f"{self._path} is encrypted with the key {head['key']}, and --key-file holds {key_name(key)}."
            )

    def _size(self, due: int) -> None:
        have = os.fstat(self._file.fileno()).st_size
        if have < due:
            raise CommandError(f"{self._path} is cut short: it has {have:,} of {due:,} bytes.")
        if have > due:
            raise CommandError(f"{self._path} was changed: it has {have - due:,} bytes too many.")

    def _read(self) -> Iterator[bytes]:
        for n in range(self._many):
            text = self._chunks.open(self._file.read(self._chunk_bytes + TAG_BYTES), n, last=n == self._many - 1)
            if text is None:
                raise CommandError(
                    f"{self._path} was changed: its part {n + 1:,} of {self._many:,} is not what was written."
                )
            yield text


@contextlib.contextmanager
def opened(path: Path, key: bytes | None) -> Iterator[Backup]:
    """The backup at `path`. CommandError, one sentence each: no backup, another form, cut, changed, wrong key."""
    try:
        file = path.open("rb")
    except OSError as fault:
        raise CommandError(f"{path} can't be read: {fault.strerror}.") from None
    with file:
        yield Backup(path, file, key)


class _Chunks:
    """Chunks of one file, sealed and opened."""

    def __init__(self, bound: bytes, key: bytes | None, salt: bytes) -> None:
        self._bound = bound
        self._cipher = None
        if key is not None:
            derived = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=salt, info=MAGIC.rstrip())
            self._cipher = AESGCM(derived.derive(key))

    def seal(self, text: bytes, n: int, *, last: bool) -> bytes:
        """The text of chunk `n` with its tag, encrypted where there is a key."""
        nonce = _nonce(n, last=last)
        if self._cipher is None:
            return text + self._tag(text, nonce)
        return self._cipher.encrypt(nonce, text, self._bound)

    def open(self, chunk: bytes, n: int, *, last: bool) -> bytes | None:
        """The text of chunk `n`; None where it is not what was sealed there."""
        nonce = _nonce(n, last=last)
        if self._cipher is None:
            text = chunk[:-TAG_BYTES]
            return text if hmac.compare_digest(self._tag(text, nonce), chunk[-TAG_BYTES:]) else None
        try:
            return self._cipher.decrypt(nonce, chunk, self._bound)
        except InvalidTag:
            return None

    def _tag(self, text: bytes, nonce: bytes) -> bytes:
        return hashlib.sha256(self._bound + nonce + text).digest()[:TAG_BYTES]


def _nonce(n: int, *, last: bool) -> bytes:
    return n.to_bytes(11, "big") + bytes([last])
