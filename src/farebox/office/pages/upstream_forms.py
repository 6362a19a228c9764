"""Forms of upstreams and channels: connecting, changing, offering a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from farebox.kit import money
from farebox.look.whole import WholeField
from farebox.protocol.dialects import DIALECTS
from farebox.protocol.presets import PRESETS
from farebox.upstreams.channels import CANCEL_BILLING

COSTS = {  # of every usage class: saving replaces all costs, so one without a field would be lost
    "input": gettext_lazy("Cost of input"),
    "cached_read": gettext_lazy("Cost of cached input"),
    "output": gettext_lazy("Cost of output"),
    "cache_write": gettext_lazy("Cost of cache writes"),
    "reasoning": gettext_lazy("Cost of reasoning"),
    "input_audio": gettext_lazy("Cost of audio input"),
    "output_audio": gettext_lazy("Cost of audio output"),
    "images": gettext_lazy("Cost of images"),
}
SELDOM = ("cache_write", "reasoning", "input_audio", "output_audio", "images")
MODELS_MAX = 200
_CANCEL = {
    "stops": gettext_lazy("only what it generated before the cancellation"),
    "bills_all": gettext_lazy("the whole answer"),
    "unknown": gettext_lazy("unknown"),
}
_MONO = {"spellcheck": "false", "autocapitalize": "none", "autocomplete": "off"}


def _whole(label: Any, help_text: Any = "") -> WholeField:
    return WholeField(label=label, help_text=help_text, min_value=0, max_value=1_000_000)


class Secretive(forms.Form):
    """A form with an upstream's key, which is never written into a page: a form that failed continues with `kept`.

    The page then says so, and sends `secret_kept`; without it an empty field is an empty field.
    """

    secret_kept = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, kept: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept = kept

    def clean(self) -> dict[str, Any]:
        """The key that was typed now, or before."""
        found = super().clean() or {}
        if found.get("secret_kept") and not found.get("secret") and "secret" not in self.errors:
            found["secret"] = self._kept
            if not self._kept:
                self.add_error("secret", _("Enter the key again: it was kept for only ten minutes."))
        return found

    def secret_typed(self) -> str:
        """The key that the next try continues with; the page of this form says so from now on."""
        typed = str(self.cleaned_data.get("secret") or "") if self.is_bound else ""
        if typed:
            self.data = {**self.data.dict(), "secret_kept": "on"}  # type: ignore[attr-defined]  # a QueryDict
            self["secret"].help_text = _("The key you entered is kept for ten minutes. Leave empty to use it.")
        return typed


class NewChannelForm(Secretive):
    """A new channel, and its upstream where that is new too."""

    upstream = forms.CharField(
        label=gettext_lazy("Upstream"),
        max_length=64,
        help_text=gettext_lazy("The vendor you pay. An existing upstream gets another channel."),
    )
    name = forms.CharField(
        label=gettext_lazy("Channel name"),
        max_length=64,
        help_text=gettext_lazy("One channel is one key at one address, such as openai-2."),
    )
    base_url = forms.CharField(
        label=gettext_lazy("Base URL"),
        max_length=300,
        widget=forms.TextInput(attrs={**_MONO, "inputmode": "url"}),
        help_text=gettext_lazy("Including /v1, if the upstream uses it."),
    )
    secret = forms.CharField(
        label=gettext_lazy("Upstream key"),
        max_length=4000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "Stored encrypted and never shown again. Optional only for servers on your own network."
        ),
    )
    local = forms.BooleanField(
        label=gettext_lazy("On my own network"),
        required=False,
        help_text=gettext_lazy("Allows http and private addresses. Recorded in the audit trail."),
    )
    dialect = forms.ChoiceField(
        label=gettext_lazy("Protocol"),
        required=False,
        choices=lambda: [(name, dialect.title) for name, dialect in DIALECTS.items()],
    )
    models = forms.CharField(
        label=gettext_lazy("Models"),
        max_length=20_000,
        required=False,
        widget=forms.Textarea(attrs={**_MONO, "rows": 5}),
        help_text=gettext_lazy("One per line. If the upstream uses another name: gpt-4o-mini = upstream name."),
    )
    official_costs = forms.BooleanField(label=gettext_lazy("Use official USD prices as costs"), required=False)
    currency = forms.CharField(label=gettext_lazy("Billing currency"), min_length=3, max_length=3)
    cancel_billing = forms.ChoiceField(
        label=gettext_lazy("When a stream is cancelled, it bills"),
        choices=[(key, _CANCEL[key]) for key in CANCEL_BILLING],
    )
    tier = _whole(gettext_lazy("Tier"), gettext_lazy("Lower tiers are tried first."))
    weight = _whole(gettext_lazy("Weight"), gettext_lazy("Share of calls within a tier."))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if len(DIALECTS) == 1:  # nothing to choose
            del self.fields["dialect"]

    def clean(self) -> dict[str, Any]:
        """Only a server of one's own may have no key, so that none is forgotten."""
        found = super().clean()
        if not (found.get("secret") or found.get("local") or "secret" in self.errors):
            self.add_error("secret", _("Enter the key of the upstream."))
        return found

    def clean_models(self) -> str:
        """Lines that can be read, and not too many."""
        text = str(self.cleaned_data["models"])
        found = list(models_of(text))
        if len(found) > MODELS_MAX:
            raise forms.ValidationError(_("At most %(n)d models at a time.") % {"n": MODELS_MAX})
        if any(not model or not there or len(model) > 128 or len(there) > 200 for model, there in found):
            raise forms.ValidationError(_("Enter a model, or model = upstream name, on each line."))
        repeated = [model for model, times in Counter(model for model, _there in found).items() if times > 1]
        if repeated:
            raise forms.ValidationError(_("%(model)s is listed more than once.") % {"model": repeated[0]})
        return text

    def clean_currency(self) -> str:
        """A currency's code."""
        return _currency(str(self.cleaned_data["currency"]))


class Edit(Secretive):
    """Address, key and order of a channel."""

    base_url = NewChannelForm.base_fields["base_url"]
    local = NewChannelForm.base_fields["local"]
    secret = forms.CharField(
        label=gettext_lazy("New upstream key"),
        max_length=4000,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Leave empty to keep the key."),
    )
    tier = _whole(gettext_lazy("Tier"), gettext_lazy("Lower tiers are tried first."))
    weight = _whole(gettext_lazy("Weight"), gettext_lazy("Share of calls within a tier."))
    concurrency_max = _whole(gettext_lazy("Concurrent calls"), gettext_lazy("0 means no limit."))
    preset = forms.ChoiceField(
        label=gettext_lazy("API of"),
        required=False,
        widget=forms.Select(attrs={"translate": "no"}),
        choices=[("", gettext_lazy("Leave unchanged")), *((name, each.title) for name, each in PRESETS.items())],
        help_text=gettext_lazy("Replaces this channel's differences from the OpenAI API with the vendor's preset."),
    )


class OfferForm(forms.Form):
    """A model on a channel; `known` are the models that it may name."""

    model = forms.ChoiceField(label=gettext_lazy("Model"))
    upstream_model = forms.CharField(
        label=gettext_lazy("Name at the upstream"),
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs=_MONO),
        help_text=gettext_lazy("Leave empty for the same name."),
    )

    def __init__(self, *args: Any, known: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        now = self.initial.get("model", "")
        names = [now] if now else list(known)
        self.fields["model"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]
        for name, label in COSTS.items():
            self.fields[name] = forms.CharField(
                label=label,
                max_length=24,
                required=False,
                widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
                help_text=_("Per 1,000,000 images.") if name == "images" else _("Per 1,000,000 tokens."),
            )

    def clean(self) -> dict[str, Any]:
        """Costs are amounts."""
        found = super().clean() or {}
        for name in COSTS:
            try:
                if found.get(name) and money.parse(found[name]) < 0:
                    self.add_error(name, _("Enter an amount such as 2.50."))
            except money.MoneyError:
                self.add_error(name, _("Enter an amount such as 2.50."))
        return found

    def often(self) -> list[forms.BoundField]:
        """Model, name there, and the costs that most models have."""
        return [field for field in self if field.name not in SELDOM]

    def seldom(self) -> list[forms.BoundField]:
        """The costs that few models have."""
        return [self[name] for name in SELDOM]

    def seldom_open(self) -> bool:
        """Whether one of these is filled in, or wrong."""
        return any(field.value() or field.errors for field in self.seldom())


def costs_of(given: dict[str, Any]) -> dict[str, str]:
    """The costs that were filled in."""
    return {name: given[name] for name in COSTS if given.get(name)}


def models_of(text: str) -> Iterator[tuple[str, str]]:
    """(model, its name at the upstream) of each line that is not empty."""
    for line in text.splitlines():
        if line.strip():
            model, sign, there = (part.strip() for part in line.partition("="))
            yield model, there if sign else model


def _currency(code: str) -> str:
    try:
        return money.check_currency(code.upper())
    except money.MoneyError:
        raise forms.ValidationError(_("Enter a code such as USD or CNY.")) from None
