"""Every part of the pages in all its states, side by side: for who builds pages and for who looks at them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from farebox.kit import clock
from farebox.look import charts, qr
from farebox.look.templatetags.look import money
from farebox.office.principal import Operator, operator

_DAY_US = 86_400_000_000


class SampleForm(forms.Form):
    """A field of each kind."""

    empty = forms.CharField(
        label=gettext_lazy("An empty field"), required=False, help_text=gettext_lazy("A hint below.")
    )
    wrong = forms.CharField(label=gettext_lazy("An invalid field"), max_length=4)
    choice = forms.ChoiceField(label=gettext_lazy("A choice"), choices=[("1", "1"), ("2", "2")], required=False)
    yes = forms.BooleanField(label=gettext_lazy("A checkbox"), required=False)
    text = forms.CharField(label=gettext_lazy("A long text"), widget=forms.Textarea, required=False)


@require_http_methods(["GET", "HEAD"])
@operator()
def page(request: HttpRequest, me: Operator) -> HttpResponse:
    """All parts."""
    del me
    now_us = clock.now_us()
    labels = [f"11-{day:02}" for day in range(1, 15)]
    eight = [
        charts.Series(f"model-{number}", [(number * place * 7919) % 5_000_000 for place in range(1, 15)])
        for number in range(1, 9)
    ]
    here: dict[str, Any] = {
        "form": SampleForm({"wrong": "12345", "choice": "2", "yes": "on"}),
        "times": [now_us, now_us - 300_000_000, now_us - 7_200_000_000, now_us - 3 * _DAY_US, now_us - 40 * _DAY_US],
        "amounts": [12_340_000, 1234, 1_234_567_890_000, -500_000, 0, None],
        "names": ["gpt-4o-mini", "多语言模型名称" * 9, "x" * 64, "نموذج لغوي"],
        "one": charts.bars(
            _("One series, %(currency)s") % {"currency": "USD"}, labels, eight[:1], lambda micro: money(micro, "USD")
        ),
        "many": charts.bars(
            _("Eight series, six and the rest, %(currency)s") % {"currency": "CNY"},
            labels,
            charts.few(eight, _("others")),
            lambda micro: money(micro, "CNY"),
        ),
        "code": qr.svg("https://example.org/pay", _("A QR code")),
    }
    return render(request, "office/parts.html", here)
