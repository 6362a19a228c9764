"""Tables of what is on sale and for how much."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Model(models.Model):
    """Something on sale. List fields hold JSON texts.

    `kinds`: endpoint kinds it answers (`chat`, `completions`, `embeddings`); `classes`: usage classes it can
    produce, each of which needs a price before the model can be published.
    """

    name = models.CharField(primary_key=True, max_length=128)
    owned_by = models.CharField(max_length=64, default="")
    kinds = models.TextField()
    modalities = models.TextField(default='["text"]')
    context_tokens = models.BigIntegerField()
    output_tokens_max = models.BigIntegerField()
    hidden_output = models.BooleanField(default=False)
    tokenizer = models.CharField(max_length=32, default="")
    image_formula = models.CharField(max_length=32, default="")
    input_overhead_tokens = models.IntegerField(default=0)
    classes = models.TextField()
    listed = models.BooleanField(default=True)
    unlisted_why = models.CharField(max_length=200, default="")
    created_s = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(context_tokens__gt=0, output_tokens_max__gte=0), name="catalog_model_sizes"
            )
        ]


class Sample(models.Model):
    """What a settled call tells of how a model's vendor counts (promises 4.2): counts alone, never text.

    Fields as `factors.Sample` explains them; the two vectors are JSON lists in the order of `factors.Vector`.
    """

    model = models.CharField(max_length=128)
    account = models.CharField(max_length=44)
    at_us = models.BigIntegerField()
    input_vector = models.CharField(max_length=120)
    output_vector = models.CharField(max_length=120)
    messages = models.IntegerField()
    images = models.IntegerField()
    reported_input = models.BigIntegerField()
    reported_output = models.BigIntegerField()
    hidden = models.BigIntegerField()
    input_bytes = models.BigIntegerField()
    output_bytes = models.BigIntegerField()
    bound = models.BigIntegerField()
    own_input = models.BigIntegerField(null=True)
    own_output = models.BigIntegerField(null=True)
    trusted = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["model", "account", "id"], name="catalog_sample_of")]


class ModelFactors(models.Model):
    """The factors of a model as JSON (`factors.Factors`), when they were fitted, and the newest sample in them."""

    model = models.CharField(primary_key=True, max_length=128)
    factors = models.TextField()
    fitted_us = models.BigIntegerField()
    newest = models.BigIntegerField()


class Alias(models.Model):
    """Another name for a model."""

    name = models.CharField(primary_key=True, max_length=128)
    model = models.ForeignKey(Model, on_delete=models.PROTECT)


class PriceList(models.Model):
    """A named price list in one currency; its versions hold the prices."""

    name = models.CharField(primary_key=True, max_length=64)
    currency = models.CharField(max_length=3)
    about = models.CharField(max_length=300, default="")


class PriceListVersion(models.Model):
    """A dated set of prices, immutable from its publication (I24).

    `source`, `rate`, `factor` say how it was made from USD prices (decimal texts) and are frozen here;
    `usd_rate` is what one USD is in the list's currency, for the balance pages that speak dollars.
    """

    id = models.CharField(primary_key=True, max_length=40)
    price_list = models.ForeignKey(PriceList, on_delete=models.PROTECT)
    n = models.IntegerField()
    valid_from_us = models.BigIntegerField()
    published_us = models.BigIntegerField()
    published_by = models.CharField(max_length=200, default="")
    source = models.CharField(max_length=120, default="")
    rate = models.CharField(max_length=32, default="1")
    factor = models.CharField(max_length=32, default="1")
    usd_rate = models.CharField(max_length=32, default="1")
    note = models.CharField(max_length=300, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["price_list", "n"], name="catalog_version_n")]


class Price(models.Model):
    """What 1,000,000 units of one usage class of one model cost, in micro-units of the list's currency."""

    id = models.CharField(primary_key=True, max_length=44)
    version = models.ForeignKey(PriceListVersion, on_delete=models.PROTECT)
    model = models.CharField(max_length=128)
    usage_class = models.CharField(max_length=24)
    micro_per_million = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "model", "usage_class"], name="catalog_price_once"),
            models.CheckConstraint(condition=Q(micro_per_million__gte=0), name="catalog_price_not_negative"),
        ]


class PriceDraft(models.Model):
    """A version that somebody proposes: what `lists.publish` would be given, as JSON, and who decided what.

    `base_n` is the newest version of the list when it was created, `source_n` the version in force of the USD list
    from which it takes prices: after another one of either it has to be created again.
    """

    id = models.CharField(primary_key=True, max_length=40)
    price_list = models.ForeignKey(PriceList, on_delete=models.PROTECT)
    base_n = models.IntegerField()
    source_n = models.IntegerField(null=True)
    plan = models.TextField()
    note = models.CharField(max_length=300, default="")
    state = models.CharField(max_length=10, default="open")
    requester = models.CharField(max_length=200)
    made_us = models.BigIntegerField()
    decider = models.CharField(max_length=200, default="")
    decided_us = models.BigIntegerField(null=True)
    single_person = models.BooleanField(default=False)
    version_n = models.IntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["open", "published", "dropped"]), name="catalog_price_draft_state"
            ),
            models.CheckConstraint(
                condition=~Q(state="published") | Q(single_person=True) | ~Q(decider=models.F("requester")),
                name="catalog_draft_two_people",
            ),
        ]
