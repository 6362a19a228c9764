"""The sample of a model: what is kept of settled calls, and the factors that are learned from it (promises 4.2)."""

from __future__ import annotations

from typing import Final

import msgspec

from farebox.catalog.factors import Factors, Sample, Vector
from farebox.kit import db
from farebox.kit.db import Tx

from . import factors, sql

KEPT_PER_ACCOUNT: Final = 20
KEPT_OF_TRUSTED: Final = 50  # as many as bring factors in force alone
KEPT_PER_MODEL: Final = 500


def add(tx: Tx, model: str, sample: Sample, now_us: int) -> None:
    """Keep a sample; the account's oldest and the model's oldest beyond what is kept go."""
    counts = [getattr(sample, name) for name in sql.COUNTS_OF_SAMPLE]
    tx.execute(sql.ADD_SAMPLE, (model, now_us, _text(sample.input), _text(sample.output), *counts))
    most = KEPT_OF_TRUSTED if sample.trusted else KEPT_PER_ACCOUNT
    account = (model, sample.account)
    tx.execute(sql.FORGET_SAMPLES_OF_ACCOUNT, (*account, *account, most))
    tx.execute(sql.FORGET_SAMPLES_OF_MODEL, (model, model, KEPT_PER_MODEL))


def forget(tx: Tx, account: str) -> int:
    """Forget what an account has left in samples; how many there were."""
    from farebox.catalog import models as tables  # noqa: PLC0415 - the hot path needs no Django

    del tx  # the ORM writes in the same transaction
    return tables.Sample.objects.filter(account=account).delete()[0]


def due(tx: Tx) -> dict[str, int]:
    """Models with samples that their factors do not know yet, each with the number of its newest."""
    from django.db.models import Max  # noqa: PLC0415

    from farebox.catalog import models as tables  # noqa: PLC0415

    del tx  # the ORM reads in the same transaction
    known = dict(tables.ModelFactors.objects.values_list("model", "newest"))
    newest = dict(tables.Sample.objects.values_list("model").annotate(newest=Max("id")))
    return {model: number for model, number in sorted(newest.items()) if number > known.get(model, 0)}


def of(tx: Tx, model: str) -> list[Sample]:
    """The sample of a model, the oldest first."""
    from farebox.catalog import models as tables  # noqa: PLC0415 - the hot path needs no Django

    del tx  # the ORM reads in the same transaction
    rows = (
        tables.Sample.objects.filter(model=model)
        .order_by("id")
        .values("input_vector", "output_vector", *sql.COUNTS_OF_SAMPLE)
    )
    return [
        Sample(input=_vector(row.pop("input_vector")), output=_vector(row.pop("output_vector")), **row) for row in rows
    ]


def learn(tx: Tx, model: str, fitted: Factors, newest: int, now_us: int) -> bool:
    """Keep a model's factors as they were fitted up to the sample `newest`; whether they changed, on every node."""
    from farebox.catalog import models as tables  # noqa: PLC0415 - the hot path needs no Django

    text = factors.encode(fitted)
    before = tables.ModelFactors.objects.filter(model=model).values_list("factors", flat=True).first()
    facts = {"factors": text, "fitted_us": now_us, "newest": newest}
    tables.ModelFactors.objects.update_or_create(model=model, defaults=facts)
    if text == before:
        return False
    db.bump(tx, "shelf")
    return True


def fitted_us(tx: Tx) -> dict[str, int]:
    """When the factors of each model were fitted last; models without a sample have no place in it."""
    from farebox.catalog import models as tables  # noqa: PLC0415 - the hot path needs no Django

    del tx  # the ORM reads in the same transaction
    return dict(tables.ModelFactors.objects.values_list("model", "fitted_us"))


def _text(vector: Vector) -> str:
    return msgspec.json.encode(tuple(vector)).decode()


def _vector(text: str) -> Vector:
    return msgspec.json.decode(text, type=Vector)
