"""Operators choose what a channel speaks, once there is a choice."""

from __future__ import annotations

import pytest

import blocks
from farebox.kit.errors import CommandError
from farebox.protocol import dialects


def choices():
    from farebox.office.pages.upstream_forms import NewChannelForm

    field = NewChannelForm().fields.get("dialect")
    return None if field is None else list(field.choices)


def test_the_office_asks_where_there_are_two_dialects():
    assert choices() is None
    with blocks.registered():
        assert choices() == [("openai", "OpenAI"), ("blocks", "Blocks")]
    assert choices() is None


def test_an_unknown_dialect_is_refused_with_the_known_ones():
    with pytest.raises(CommandError, match="openai"):
        dialects.of("klingon")
