"""The kinds of calls that a model can be sold for: their names, which price lists, keys and receipts keep for ever.

What each of them is, `protocol/kinds` says; a test holds the two together.
"""

from __future__ import annotations

from typing import Final

NAMES: Final = ("chat", "completions", "embeddings", "moderations")
