"""Forms of keys: what a key may do, how long the old one lives on, who may call the playground's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec
from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from farebox.accounts import days
from farebox.accounts.keys.key_terms import NOTE_CHARS_MAX, KeyTerms, check_addresses
from farebox.accounts.models import ApiKey
from farebox.console import refusals
from farebox.console.limit_forms import AmountField, LimitsForm, cap_initial
from farebox.kit import clock
from farebox.kit.errors import CommandError

GRACES = {
    "86400": gettext_lazy("one day"),
    "3600": gettext_lazy("one hour"),
    "604800": gettext_lazy("seven days"),
    "0": gettext_lazy("immediately"),
}
_DAY_FORMAT = "%Y-%m-%d"


class KeyForm(LimitsForm):
    """A key's name, models, caps, limits, addresses and last day; all but the name may stay empty."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=100, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    note = forms.CharField(label=gettext_lazy("Note"), required=False, max_length=NOTE_CHARS_MAX)
    project = forms.ChoiceField(label=gettext_lazy("Project"), widget=forms.Select(attrs={"translate": "no"}))
    models = forms.MultipleChoiceField(
        label=gettext_lazy("Models"), required=False, widget=forms.CheckboxSelectMultiple
    )
    day = forms.DateField(
        label=gettext_lazy("Last valid day"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format=_DAY_FORMAT),
    )
    addresses = forms.CharField(
        label=gettext_lazy("IP addresses"),
        required=False,
        max_length=5000,
        help_text=gettext_lazy("One per line, such as 203.0.113.7 or 10.0.0.0/8. Leave empty to allow all."),
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off"}),
    )

    def __init__(
        self,
        *args: Any,
        models: Sequence[str],
        zone: str,
        projects: Sequence[tuple[str, str]] = (),
        **kwargs: Any,
    ) -> None:
        """`models` may be ticked, `projects` (id, name) chosen; without projects the key has its own already."""
        super().__init__(*args, **kwargs)
        self.zone = zone
        self.fields["models"].choices = [(name, name) for name in models]  # type: ignore[attr-defined]
        if projects:
            self.fields["project"].choices = list(projects)  # type: ignore[attr-defined]
        else:
            del self.fields["project"]

    @property
    def boxes(self) -> list[tuple[str, bool]]:
        """The models, and whether each is ticked: Django's own widget takes a template a box."""
        ticked = {str(name) for name in self["models"].value() or ()}
        return [(name, name in ticked) for name, _label in self.fields["models"].choices]  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        """A name that can be printed."""
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError(_("A name can't contain control characters."))
        return name

    def clean_addresses(self) -> list[str]:
        """Addresses and networks, one a line."""
        lines = [line.strip() for line in self.cleaned_data["addresses"].replace(",", "\n").splitlines()]
        found = [line for line in lines if line]
        try:
            check_addresses(found)
        except CommandError as fault:
            raise forms.ValidationError(refusals.said(fault)) from None
        return found

    def clean_day(self) -> int | None:
        """The end of that day in the account's time zone, in microseconds; a day that stays as it was may be over."""
        day: date | None = self.cleaned_data["day"]
        if day is None:
            return None
        if day == self.initial.get("day"):
            ends: int = self.initial["expires_us"]
            return ends
        try:
            ends_us = days.end_us(day, self.zone)
        except OverflowError:
            raise forms.ValidationError(_("Choose today or a later day.")) from None
        if ends_us <= clock.now_us():
            raise forms.ValidationError(_("Choose today or a later day."))
        return ends_us

    @property
    def wanted(self) -> KeyTerms:
        """What the domain takes."""
        given = self.cleaned_data
        return KeyTerms(
            name=given["name"],
            note=given["note"],
            models=given["models"],
            addresses=given["addresses"],
            expires_us=given["day"],
            **self.paces(),
            caps=self.limits(),
        )


def initial(key: ApiKey, zone: str) -> dict[str, Any]:
    """What the form of this key shows at first."""
    out: dict[str, Any] = {
        "name": key.name,
        "note": key.note,
        "models": msgspec.json.decode(key.models),
        **cap_initial(key.caps),
        "rpm": key.rpm,
        "tpm": key.tpm,
        "concurrency": key.concurrency,
        "addresses": "\n".join(msgspec.json.decode(key.addresses)),
    }
    if key.expires_us is not None:
        out |= {"day": days.last(key.expires_us, zone), "expires_us": key.expires_us}
    return out


class Rotate(forms.Form):
    """How long the old key continues."""

    grace = forms.ChoiceField(label=gettext_lazy("The old key stays valid for"), choices=list(GRACES.items()))


class Mint(forms.Form):
    """What the playground may spend a day, where that is less than it may anyway."""

    cap = AmountField(label=gettext_lazy("Cap"))
