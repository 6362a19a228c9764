"""The form of our API keys (security 3): what is ours, what is mistyped, what is another installation's.

`sk-` + tag of product and format version (4) + site code (4) + random (34) + CRC32 (6), all of `[A-Za-z0-9]`: 48
after `sk-`, which is the form that GPT Academic's pattern takes (clients 1.1). The site code is the first 23 bits of
the SHA-256 of the installation id in base 62; the checksum is the CRC32 of all characters before it in base 62
(0-9A-Za-z, left-padded with 0), as in GitHub's keys. It does not authenticate: anybody can compute it. It saves
look-ups, and tells "mistyped" from "unknown".
"""

from __future__ import annotations

import enum
import hashlib
import re
import secrets
import zlib

from farebox.kit import ids

TAG = "FBX1"
PREFIX = "sk-" + TAG
RANDOM_CHARS = 34
KEY_CHARS = 51
KEY_BYTES_MAX = 4096
# OpenAI's marker: a scanner that finds it sends the key to OpenAI.
_OPENAI_MARKER = "T3BlbkFJ"
_FORM = re.compile(r"sk-[A-Za-z0-9]{48}")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_SHOWN_WHOLE_MIN = 24


class KeyVerdict(enum.Enum):
    """What the form of a key says about it."""

    GOOD = "made by this installation; whether it exists only the store knows"
    MISTYPED = "our tag, but length or checksum do not fit"
    OTHER_SITE = "made by another installation of this product"
    FOREIGN = "not our form: it may be a key that was imported"


def site_code(installation_id: str) -> str:
    """The four digits of this installation in its keys."""
    first = int.from_bytes(hashlib.sha256(installation_id.encode()).digest()[:3], "big") >> 1
    return ids.base62(first, 4)


def checksum(head: str) -> str:
    """Six base-62 digits of the CRC32 of ASCII text; UnicodeEncodeError for other text."""
    return ids.base62(zlib.crc32(head.encode("ascii")), 6)


def mint(site: str) -> str:
    """A new key of the installation with site code `site`: 202 random bits, never OpenAI's marker."""
    while True:
        rand = "".join(secrets.choice(ids.ALPHABET) for _ in range(RANDOM_CHARS))
        head = PREFIX + site + rand
        key = head + checksum(head)
        if acceptable(key):
            return key


def acceptable(key: str) -> bool:
    """Whether no scanner or client takes the key for somebody else's: no OpenAI marker, not all hex."""
    return _OPENAI_MARKER not in key and not _HEX.fullmatch(key[3:])


def check(key: str, site: str) -> KeyVerdict:
    """What the form of `key` says, without any look-up; any text is allowed."""
    if not key.startswith(PREFIX):
        return KeyVerdict.FOREIGN
    if not _FORM.fullmatch(key) or checksum(key[:-6]) != key[-6:]:
        return KeyVerdict.MISTYPED
    return KeyVerdict.GOOD if key[len(PREFIX) : len(PREFIX) + 4] == site else KeyVerdict.OTHER_SITE


def hint(key: str) -> str:
    """What may be shown of a key for ever: `sk-FBX1…` and its last four characters, less of a foreign one."""
    start = PREFIX if key.startswith(PREFIX) else key[:3] if key.startswith("sk-") else ""
    return f"{start}…{key[-4:]}"


def masked(key: str) -> str:
    """What an error may echo of a key that was sent: at most the first seven and the last four characters."""
    if len(key) < _SHOWN_WHOLE_MIN or not (key.isascii() and key.isprintable()):
        return "****"
    return f"{key[:7]}****{key[-4:]}"
