"""One file an endpoint; the registry lists them by path below /v1."""

from __future__ import annotations

from farebox.protocol.kind import Endpoint

from . import chat, completions, embeddings

ENDPOINTS: dict[str, Endpoint] = {
    "/chat/completions": chat.Chat(),
    "/completions": completions.Completions(),
    "/embeddings": embeddings.Embeddings(),
}
