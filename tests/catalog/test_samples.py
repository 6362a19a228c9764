"""The sample in the store: what is kept, what is fitted and when, and how the shelf comes to know (promises 4.2)."""

from __future__ import annotations

import pytest

from farebox.catalog import factor_fitting, factors, models, samples
from farebox.catalog.factors import Sample, Vector
from farebox.kit import db

pytestmark = pytest.mark.store


def one(account: str = "acc_a", **facts) -> Sample:
    known = {"reported_input": 100, "reported_output": 120, "input_bytes": 400, "output_bytes": 400, "messages": 1}
    return Sample(account, Vector(100, 1, 2, 3, 4), Vector(110), **{**known, **facts})


def add(many: int, model: str = "m", **facts) -> None:
    def work(tx):
        for number in range(many):
            samples.add(tx, model, one(**facts), number)

    db.write(work)


def fit(model: str = "m") -> bool:
    newest = db.read(samples.due)[model]
    return db.write(samples.learn, model, factor_fitting.fit(db.read(samples.of, model)), newest, 77)


def test_the_newest_are_kept(instance):
    add(1, own_output=7)
    assert db.read(samples.of, "m") == [one(own_output=7)]
    add(25, hidden=1)
    add(25, "other")
    assert db.read(samples.of, "m") == [one(hidden=1)] * samples.KEPT_PER_ACCOUNT
    add(60, account="acc_trusted", trusted=True)
    assert len(db.read(samples.of, "m")) == 20 + samples.KEPT_OF_TRUSTED
    for number in range(25):
        add(20, account=f"acc_{number}")
    found = db.read(samples.of, "m")
    assert len(found) == samples.KEPT_PER_MODEL
    assert {each.account for each in found} == {f"acc_{number}" for number in range(25)}
    assert len(db.read(samples.of, "other")) == 20
    assert db.write(samples.forget, "acc_3") == 20
    assert "acc_3" not in {each.account for each in db.read(samples.of, "m")}


def test_factors_are_fitted_from_new_samples_and_come_to_the_shelf(shop):
    shop.define("m")
    assert db.read(samples.due) == {}
    for account in ("acc_a", "acc_b", "acc_c"):
        add(20, account=account)
    before = shop.shelf_version()
    assert fit()
    assert shop.shelf_version() == before + 1
    card = shop.load().cards["m"]
    assert card.factors.in_force
    assert card.factors.output.tokens(Vector(110)) == pytest.approx(120, abs=1)
    assert db.read(samples.fitted_us) == {"m": 77}
    assert db.read(samples.due) == {}
    # What is known of a model is defined again without a word about its factors.
    shop.define("m")
    assert shop.shelf_version() == before + 1
    add(1, account="acc_a")
    assert not fit()  # the same again: no node loads anew
    assert shop.shelf_version() == before + 1
    assert shop.load().cards["m"].factors == card.factors


def test_what_another_release_wrote_does_not_take_a_model_off_the_shelf(shop):
    shop.define("m")
    models.ModelFactors.objects.create(model="m", factors='{"input": 7}', fitted_us=1, newest=1)
    assert shop.load().cards["m"].factors == factors.DEFAULT
