"""A select of many options says the same as Django's own."""

from __future__ import annotations

import re

import pytest
from django import forms

from farebox.look.selects import LongSelect

CHOICES = [("", "none"), ("Asia/Shanghai", "Asia/Shanghai"), ('a"<b', "A & <B>"), ("7", "seven")]


def options(html):
    return re.findall(r'<option value="([^"]*)"( selected)?>([^<]*)</option>', html)


@pytest.mark.parametrize("value", [None, "", "Asia/Shanghai", 'a"<b', 7, "absent"])
def test_the_same_options_with_the_same_one_chosen(value):
    attrs = {"id": "id_zone", "required": True, "disabled": False}
    ours, theirs = (
        kind(choices=CHOICES, attrs={"class": "x"}).render("zone", value, attrs) for kind in (LongSelect, forms.Select)
    )
    assert options(ours) == options(theirs)
    assert len(options(ours)) == len(CHOICES)
    tags = [set(re.findall(r'[a-z]+(?:="[^"]*")?', html[7 : html.index(">")])) for html in (ours, theirs)]
    assert tags[0] == tags[1]
