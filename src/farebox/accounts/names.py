"""Ids that are the same in every shop."""

from __future__ import annotations

from typing import Final

HOUSE_ACCOUNT: Final = "acc_house"
HOUSE_KEY: Final = "key_house"
