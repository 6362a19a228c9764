"""What Django calls its cache: counters of attempts and used codes, kept in the store as signed JSON.

Django's own keeps pickles there, so that whoever can write one row of it runs code as the server. A row is
`HMAC-SHA256 (64 hex digits) ‖ JSON`, signed under the settings' secret together with its name: what others wrote,
moved here from another row, or an earlier version left, is as if it were not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import connection
from django.utils.crypto import constant_time_compare, salted_hmac

from . import sql
from .models import Cache

_SIGN_CHARS: Final = 64
_FOR_EVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
_ABSENT: Final = object()


class SignedJson(BaseCache):
    """The cache of Django in `kit_cache`; takes JSON values alone (tuples come back as lists), else TypeError."""

    def __init__(self, _location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        """What is kept under this name; `default` where nothing of ours is."""
        return self.get_many([key], version).get(key, default)

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        """What is kept under these names, without those under which nothing of ours is."""
        names = {self.make_and_validate_key(key, version=version): key for key in keys}
        rows = Cache.objects.filter(cache_key__in=names, expires__gt=_now()).values_list("cache_key", "value")
        found = {names[name]: _read(name, text) for name, text in rows}
        return {key: value for key, value in found.items() if value is not _ABSENT}

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Keep it for `timeout` seconds, instead of what is there."""
        name = self.make_and_validate_key(key, version=version)
        _write(sql.CACHE_SET, name, _written(name, value), self._end(timeout))

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Keep it if nothing is there, whoever wrote that; whether it was kept. Of many at once one is."""
        name = self.make_and_validate_key(key, version=version)
        now = connection.ops.adapt_datetimefield_value(_now())
        return _write(sql.CACHE_ADD, name, _written(name, value), self._end(timeout), now)

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Another end; whether there is something."""
        name = self.make_and_validate_key(key, version=version)
        return Cache.objects.filter(cache_key=name, expires__gt=_now()).update(expires=self._moment(timeout)) == 1

    def delete(self, key: str, version: int | None = None) -> bool:
        """Forget it; whether there was something."""
        return Cache.objects.filter(cache_key=self.make_and_validate_key(key, version=version)).delete()[0] == 1

    def clear(self) -> None:
        """Forget everything."""
        Cache.objects.all().delete()

    def _moment(self, timeout: Any) -> datetime:
        end_s = self.get_backend_timeout(timeout)
        return _FOR_EVER if end_s is None else datetime.fromtimestamp(int(end_s), UTC)

    def _end(self, timeout: Any) -> Any:
        return connection.ops.adapt_datetimefield_value(self._moment(timeout))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _write(statement: str, *values: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return bool(cursor.rowcount == 1)


def _written(name: str, value: Any) -> str:
    text = json.dumps(value, allow_nan=False)
    return _sign(name, text, settings.SECRET_KEY) + text


def _read(name: str, kept: str) -> Any:
    sign, text = kept[:_SIGN_CHARS], kept[_SIGN_CHARS:]
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        if constant_time_compare(sign, _sign(name, text, secret)):
            return msgspec.json.decode(text)
    return _ABSENT


def _sign(name: str, text: str, secret: str | bytes) -> str:
    return salted_hmac("farebox.cache", f"{len(name)}:{name}{text}", secret=secret, algorithm="sha256").hexdigest()
