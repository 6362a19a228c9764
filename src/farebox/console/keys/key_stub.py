"""The ticket stub of a key that was made just now: what to set where, and what the key can be tested with."""

from __future__ import annotations

from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from farebox.accounts.models import ApiKey
from farebox.catalog.pricing import ModelCard
from farebox.console.prices import pricebook
from farebox.kit import clock, db, options
from farebox.look import kept
from farebox.protocol import kinds

from . import api_refusals, clients


def keep(request: HttpRequest, key: ApiKey, text: str) -> None:
    """Keep the text of a key for the pages that show it."""
    kept.put(request, f"key {key.id}", text)


def lead(request: HttpRequest, key: ApiKey, text: str) -> HttpResponseRedirect:
    """To the stub of this key."""
    keep(request, key, text)
    return HttpResponseRedirect(reverse("key.made", args=[key.id]))


def text(request: HttpRequest, key: ApiKey) -> str:
    """The text of a key that this person made within ten minutes and has not closed, or an empty one."""
    return kept.get(request, f"key {key.id}") or ""


def forget(request: HttpRequest, key: ApiKey) -> None:
    """The text was copied, or its time is over."""
    kept.drop(request, f"key {key.id}")


def facts(key: ApiKey, text: str) -> dict[str, Any]:
    """What the page of a new key shows of it; `text` is the key in full, and is shown here alone."""
    origin, cards = options.current().origin, _callable(key)
    nextchat = options.current().nextchat_url
    return {
        "text": text,
        "base_url": origin + "/v1",
        "clients": clients.settings(origin, cards, key=text),
        "import_link": clients.import_link(nextchat, origin, text),
        "nextchat": nextchat,
        "models": [card.name for card in cards if kinds.chats(card)],
        "sells": bool(cards),
        "refusals": msgspec.json.encode(api_refusals.said(_("This key no longer works. Create a new one."))).decode(),
        "currency": key.account.currency,
    }


def _callable(key: ApiKey) -> list[ModelCard]:
    """The models that this key can call now, at the prices of its account; the newest first."""
    allowed = set(msgspec.json.decode(key.models))
    sold = db.read(pricebook.sold_by, key.account.price_list_id, clock.now_us())
    cards = [card for card, _prices in sold if not allowed or card.name in allowed]
    return sorted(cards, key=lambda card: (-card.created_s, card.name))
