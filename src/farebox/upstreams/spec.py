"""A channel as a call sees it."""

from __future__ import annotations

from dataclasses import dataclass

from farebox.kit.fetch import Target
from farebox.protocol import dialects
from farebox.protocol.quirks import Quirks


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel as a call sees it.

    `path_prefix` is the path of the base URL without a last slash; `auth_headers` are whole header lines with
    the unsealed secret and the extra headers, so this object must never be logged: its repr leaves them out.
    """

    id: str
    name: str
    upstream: str
    dialect: str
    target: Target
    path_prefix: bytes
    auth_headers: bytes
    quirks: Quirks
    tier: int
    weight: int
    concurrency_max: int
    cancel_billing: str
    cost_currency: str

    def __repr__(self) -> str:
        return f"ChannelSpec(id={self.id!r}, name={self.name!r}, upstream={self.upstream!r})"

    def path(self, kind: str) -> str:
        """The path of a kind of call, which may hold {model}; empty where the channel does not answer it."""
        found = self.quirks.paths.get(kind)
        return dialects.DIALECTS[self.dialect].path(kind) if found is None else found
