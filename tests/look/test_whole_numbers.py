"""Whole numbers in forms of pages are digits, within bounds, in every form."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from django import forms

import farebox.console
import farebox.office
from farebox.look.whole import WholeField
from kit.rows import for_each


def kinds(kind):
    for each in kind.__subclasses__():
        yield each
        yield from kinds(each)


def test_every_form_bounds_its_numbers(shop):
    del shop
    for room in farebox.console, farebox.office:
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    found = [
        (form.__name__, name, field) for form in set(kinds(forms.Form)) if form.__module__.startswith("farebox.")
        for name, field in form.base_fields.items() if isinstance(field, forms.IntegerField)
    ]  # fmt: skip
    assert len(found) >= 9
    for form, name, field in found:
        assert type(field) is WholeField, (form, name)
        assert -(2**63) < field.min_value < field.max_value < 2**31, (form, name)


@for_each("given", ["0", "101", "١٢", "1e3", "1_0", "1.0", "1,0", "0x1", str(2**63), "1" + "0" * 400])
def test_what_is_no_number_or_out_of_bounds_is_refused(given):
    with pytest.raises(forms.ValidationError):
        WholeField(min_value=1, max_value=100).clean(given)


def test_a_number_is_read():
    assert WholeField(min_value=1, max_value=100).clean(" 12 ") == 12
    assert WholeField(min_value=1, max_value=100, required=False).clean("") is None
