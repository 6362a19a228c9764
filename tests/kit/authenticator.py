"""A passkey without a browser: makes and proves credentials as WebAuthn Level 3 says, and in whatever odd form is asked."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData


class Device:
    """One key on one device. `verifies` says whether it asks for a finger or a PIN."""

    def __init__(self, origin: str, *, verifies: bool = True) -> None:
        self.origin = origin
        self.verifies = verifies
        self.id = os.urandom(16)
        self.key = ec.generate_private_key(ec.SECP256R1())

    def make(self, options: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """The answer to an offer (`publicKey` of it); `changes` of the client's data."""
        public = ES256.from_cryptography_key(self.key.public_key())
        data = self._data(options["rp"]["id"], AttestedCredentialData.create(bytes(16), self.id, public))
        made = AttestationObject.create("none", data, {})
        client = self._client("webauthn.create", options, changes)
        said = {"clientDataJSON": websafe_encode(client), "attestationObject": websafe_encode(made)}
        return self._answer(said, {"credProps": {"rk": True}})

    def prove(self, options: dict[str, Any], person: str = "", **changes: Any) -> dict[str, Any]:
        """The answer to a question; with `person`, as a key that knows whose it is."""
        data, client = self._data(options["rpId"]), self._client("webauthn.get", options, changes)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        said = {
            "clientDataJSON": websafe_encode(client), "authenticatorData": websafe_encode(data),
            "signature": websafe_encode(signature),
        }  # fmt: skip
        if person:
            said["userHandle"] = websafe_encode(person.encode())
        return self._answer(said, {})

    def _data(self, host: str, made: bytes = b"") -> AuthenticatorData:
        flags = AuthenticatorData.FLAG
        said = flags.UP | (flags.UV if self.verifies else 0) | (flags.AT if made else 0)
        return AuthenticatorData.create(hashlib.sha256(host.encode()).digest(), flags(said), 0, made)

    def _client(self, kind: str, options: dict[str, Any], changes: dict[str, Any]) -> bytes:
        facts = {"type": kind, "challenge": options["challenge"], "origin": self.origin} | changes
        return bytes(CollectedClientData.create(**facts))

    def _answer(self, said: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
        name = websafe_encode(self.id)
        return {"type": "public-key", "id": name, "rawId": name, "response": said, "clientExtensionResults": outcome}


def text(answer: Any) -> str:
    return json.dumps(answer)
