"""The fields of caps and limits, which the forms of keys, projects, members and invitations share."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from farebox.accounts.caps import Caps
from farebox.accounts.keys import pace, rates
from farebox.accounts.models import Member, Project
from farebox.kit import money
from farebox.look.whole import WholeField

PERIODS = {
    "month": gettext_lazy("per month"),
    "day": gettext_lazy("per day"),
    "ever": gettext_lazy("total"),
}
CAPS = {
    "day": gettext_lazy("Cap per day"),
    "month": gettext_lazy("Cap per month"),
    "ever": gettext_lazy("Total cap"),
}


class AmountField(forms.CharField):
    """An amount of money in micro-units; None where nothing is typed."""

    def __init__(self, **facts: Any) -> None:
        """A field that may stay empty."""
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(required=False, max_length=24, widget=widget, **facts)

    def clean(self, value: Any) -> Any:
        """Micro-units, or None."""
        text = str(super().clean(value)).strip()
        if not text:
            return None
        try:
            micro = money.parse(text)
        except money.MoneyError:
            raise forms.ValidationError(_("Enter an amount such as 12.50, or leave empty for no cap.")) from None
        if micro < 0:
            raise forms.ValidationError(_("Enter an amount such as 12.50, or leave empty for no cap."))
        return micro


class CapForm(forms.Form):
    """Up to three limits of spending that apply together; an empty amount lifts its limit."""

    cap_day = AmountField(label=CAPS["day"])
    cap_month = AmountField(label=CAPS["month"])
    cap_ever = AmountField(label=CAPS["ever"])

    def limits(self) -> Caps:
        """What the domain's verbs take."""
        given = self.cleaned_data
        return Caps(given["cap_day"], given["cap_month"], given["cap_ever"])


def cap_initial(caps: Caps) -> dict[str, str]:
    """Caps as the form shows them."""
    return {f"cap_{period}": money.text(cap_micro).replace(",", "") for period, cap_micro in caps}


class LimitsForm(CapForm):
    """Caps, and limits per minute and of concurrent calls; an empty field lifts its limit."""

    rpm = WholeField(label=gettext_lazy("Calls per minute"), required=False, min_value=1, max_value=pace.RPM_MAX)
    tpm = WholeField(label=gettext_lazy("Tokens per minute"), required=False, min_value=1, max_value=pace.TPM_MAX)
    concurrency = WholeField(
        label=gettext_lazy("Concurrent calls"), required=False, min_value=1, max_value=pace.CONCURRENCY_MAX
    )

    def paces(self) -> dict[str, int | None]:
        """The limits per minute and of concurrent calls, as the domain's verbs take them."""
        return {name: self.cleaned_data[name] for name in ("rpm", "tpm", "concurrency")}


def limits_initial(of: Member | Project) -> dict[str, Any]:
    """The limits of a project or a member as the form shows them."""
    return {**cap_initial(of.caps), **rates.shown(of)}
