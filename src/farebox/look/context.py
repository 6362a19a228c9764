"""What every template knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest
from django.utils.translation import get_language

from farebox.kit import db, options, settings
from farebox.kit.errors import StoreUnavailable

from .middleware import CHINESE, ENGLISH, PREFIX, THEME_COOKIE, THEMES
from .sessions import area_of


def page(request: HttpRequest) -> dict[str, Any]:
    """Shop, language and its other, theme, the id of the request."""
    chinese = get_language() == CHINESE
    path = _address(request)
    theme = request.COOKIES.get(THEME_COOKIE, "")
    shop = _shop()
    return {
        "shop_name": shop.get("shop_name") or options.current().shop_name,
        "support_contact": shop.get("support_contact", ""),
        "lang": "zh-Hans" if chinese else "en",
        "prefix": PREFIX if request.META.get("SCRIPT_NAME") == PREFIX else "",
        "other_language": "en" if chinese else "zh-Hans",
        "other_language_name": "English" if chinese else "简体中文",
        "other_language_url": f"/language/{ENGLISH if chinese else CHINESE}?next={quote(path)}",
        "here_url": path if request.path_info == request.path else PREFIX + path,
        "area": area_of(request),
        "theme": theme if theme in THEMES else "",
        "request_id": request.META.get("farebox.request", ""),
    }


def _address(request: HttpRequest) -> str:
    """Where this page is read: the answer to a form whose address takes forms only belongs to the page of the form."""
    if request.method != "POST":
        return request.get_full_path_info()
    return str(getattr(request, "page_of_form", "")).removeprefix(PREFIX) or request.get_full_path_info()


def _shop() -> Mapping[str, Any]:
    """The shop's settings; none while the store is away, so that its page of errors can be drawn."""
    try:
        return db.read(settings.values)
    except StoreUnavailable:
        return {}
