"""The forms of the settings page."""

from __future__ import annotations

from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from farebox.accounts.accounts import NAME_CHARS_MAX
from farebox.accounts.people import notices
from farebox.kit import money
from farebox.look.selects import LongSelect
from farebox.look.whole import WholeField

LANGUAGES = (("", _("Browser default")), ("en", "English"), ("zh-hans", "简体中文"))


class Myself(forms.Form):
    """Name, language, time zone."""

    name = forms.CharField(label=pgettext_lazy("person", "Name"), max_length=NAME_CHARS_MAX, required=False)
    language = forms.ChoiceField(label=_("Language"), choices=LANGUAGES, required=False)
    time_zone = forms.ChoiceField(label=_("Time zone"), widget=LongSelect)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.fields["time_zone"].choices = _zones()  # type: ignore[attr-defined]


@cache
def _zones() -> list[tuple[str, str]]:
    """All time zones with a place in their name; looked up once, for they are files."""
    return [(zone, zone) for zone in sorted(available_timezones()) if "/" in zone or zone == "UTC"]


class Notices(forms.Form):
    """When to be told, and how."""

    low = forms.CharField(label=_("Balance below"), max_length=20, required=False)
    low_days = WholeField(
        label=_("Days of balance left below"), min_value=1, max_value=notices.LOW_DAYS_MAX, required=False
    )
    expiry = forms.BooleanField(label=_("Credit expires within a week"), required=False)
    prices = forms.BooleanField(label=_("Prices change"), required=False)
    keys = forms.BooleanField(label=_("A key is created, changed or revoked"), required=False)
    by_mail = forms.BooleanField(label=_("By e-mail"), required=False)
    webhook_url = forms.CharField(
        label=_("Webhook URL"),
        max_length=notices.URL_CHARS_MAX,
        required=False,
        help_text=_("https:// only. We sign each message with a secret that is shown once."),
    )

    def __init__(self, *args: Any, owner: bool, **kwargs: Any) -> None:
        """What is left on the account is an owner's alone to ask for."""
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.fields["low"].widget.attrs["inputmode"] = "decimal"
        if not owner:
            del self.fields["low"], self.fields["low_days"], self.fields["expiry"]

    def clean_low(self) -> int | None:
        """The amount in micro-units, or None."""
        given = self.cleaned_data["low"].strip()
        if not given:
            return None
        try:
            amount_micro = money.parse(given)
        except money.MoneyError:
            amount_micro = 0
        if amount_micro <= 0:
            raise forms.ValidationError(_("An amount such as 12.34."))
        return amount_micro

    def wishes(self) -> notices.Wishes:
        """What was asked for."""
        given = self.cleaned_data
        return notices.Wishes(
            given.get("low"),
            given.get("low_days"),
            given["prices"],
            given["keys"],
            given["by_mail"],
            given["webhook_url"].strip(),
            given.get("expiry", False),
        )


class Closing(forms.Form):
    """The account's name, typed by hand."""

    name = forms.CharField(label=_("Enter the account name to confirm"), max_length=NAME_CHARS_MAX)

    def __init__(self, *args: Any, wanted: str, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self._wanted = wanted
        self.fields["name"].widget.attrs["autocomplete"] = "off"

    def clean_name(self) -> str:
        """The name, if it is the account's."""
        given: str = self.cleaned_data["name"]
        if given.strip() != self._wanted.strip():
            raise forms.ValidationError(_("The account name does not match."))
        return given
