"""What is on sale: define a model, give it another name, put it back on the shelf."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from farebox.catalog import kinds as kinds_
from farebox.catalog import shelf
from farebox.catalog.images import FORMULAS
from farebox.catalog.models import Alias, Model
from farebox.catalog.pricing import ModelCard
from farebox.catalog.tokens import TOKENIZERS
from farebox.catalog.usage import CLASSES
from farebox.kit import audit, db
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.kit.refusal import word

MODALITIES = ("text", "image", "audio")
TOKENS_MAX = 2**31
OVERHEAD_TOKENS_MAX = 100_000
# Names arrive in JSON and in paths (`/v1/models/{id}`), also with a vendor's slash.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}\Z")


def define_model(
    tx: Tx,
    name: str,
    *,
    kinds: Iterable[str],
    classes: Iterable[str],
    context_tokens: int,
    output_tokens_max: int,
    owned_by: str = "",
    modalities: Iterable[str] = ("text",),
    hidden_output: bool = False,
    tokenizer: str = "",
    image_formula: str = "",
    input_overhead_tokens: int = 0,
    created_s: int = 0,
    actor: str,
    now_us: int,
) -> ModelCard:
    """Define a model, or change what is known about it; a new one is listed, and sold where it has prices.

    CommandError if a fact is wrong, or if it could now produce a usage class for which a price list that
    sells it has no price: publish that price first.
    """
    card = ModelCard(
        name=name,
        owned_by=owned_by[:64],
        kinds=frozenset(kinds),
        modalities=frozenset(modalities),
        context_tokens=context_tokens,
        output_tokens_max=output_tokens_max,
        hidden_output=hidden_output,
        tokenizer=tokenizer,
        image_formula=image_formula,
        input_overhead_tokens=input_overhead_tokens,
        classes=frozenset(classes),
        created_s=created_s,
    )
    _check(card)
    found = Model.objects.filter(name=name).first()
    before = None if found is None else shelf.card_of(found)
    if before == card:
        return card
    if before is not None:
        _still_priced(tx, card, now_us)
    facts = {
        "owned_by": card.owned_by,
        "kinds": _json(card.kinds),
        "modalities": _json(card.modalities),
        "context_tokens": context_tokens,
        "output_tokens_max": output_tokens_max,
        "hidden_output": hidden_output,
        "tokenizer": tokenizer,
        "image_formula": image_formula,
        "input_overhead_tokens": input_overhead_tokens,
        "classes": _json(card.classes),
        "created_s": created_s,
    }
    Model.objects.update_or_create(name=name, defaults=facts)
    db.bump(tx, "shelf")
    audit.record(tx, actor=actor, verb="model.define", object=name, before=_facts(found), after=facts)
    return card


def alias(tx: Tx, name: str, model: str, *, actor: str) -> dict[str, str]:
    """Let `name` stand for `model`, instead of what it stood for (`before`); CommandError if it is itself a model."""
    if not _NAME.match(name):
        raise CommandError("model.name", name=name[:80])
    if Model.objects.filter(name=name).exists():
        raise CommandError("alias.is_model", alias=name)
    if not Model.objects.filter(name=model).exists():
        raise CommandError("alias.no_model", alias=name, model=model[:80])
    before = Alias.objects.filter(name=name).values_list("model_id", flat=True).first()
    if before != model:
        Alias.objects.update_or_create(name=name, defaults={"model_id": model})
        db.bump(tx, "shelf")
        audit.record(tx, actor=actor, verb="model.alias", object=name, before=before, after=model)
    return {"alias": name, "model": model, "before": before or ""}


def unalias(tx: Tx, name: str, *, actor: str) -> dict[str, str]:
    """Take an alias away; CommandError if there is none."""
    found = Alias.objects.filter(name=name).first()
    if found is None:
        raise CommandError("alias.unknown", alias=name[:80])
    facts = {"alias": name, "model": found.model_id}
    found.delete()
    db.bump(tx, "shelf")
    audit.record(tx, actor=actor, verb="model.unalias", object=name, before=facts["model"])
    return facts


def relist(tx: Tx, model: str, *, actor: str) -> bool:
    """Put an unlisted model back on the shelf; whether it was off. CommandError if unknown."""
    found = Model.objects.filter(name=model).first()
    if found is None:
        raise CommandError("model.unknown", model=model[:80])
    if found.listed:
        return False
    Model.objects.filter(name=model).update(listed=True, unlisted_why="")
    db.bump(tx, "shelf")
    audit.record(
        tx,
        actor=actor,
        verb="model.list",
        object=model,
        before={"why": found.unlisted_why},
        after={"listed": True},
    )
    return True


def _check(card: ModelCard) -> None:
    if not _NAME.match(card.name):
        raise CommandError("model.name", name=card.name[:80])
    if Alias.objects.filter(name=card.name).exists():
        raise CommandError("model.is_alias", model=card.name)
    for what, given, possible in (
        ("endpoint_kind", card.kinds, kinds_.NAMES),
        ("modality", card.modalities, MODALITIES),
        ("usage_class", card.classes, CLASSES),
    ):
        fact = word("fact", what)
        if not given:
            raise CommandError("model.set_none", model=card.name, what=fact, known=tuple(possible))
        if wrong := sorted(given - set(possible)):
            known = tuple(possible)
            raise CommandError("model.set_unknown", model=card.name, what=fact, given=wrong[0][:40], known=known)
    counts = (card.output_tokens_max, card.input_overhead_tokens, card.context_tokens - 1, card.created_s)
    if any(type(count) is not int or count < 0 for count in counts) or (
        max(card.context_tokens, card.output_tokens_max) > TOKENS_MAX
        or card.input_overhead_tokens > OVERHEAD_TOKENS_MAX
    ):
        raise CommandError("model.tokens", model=card.name)
    if card.tokenizer and card.tokenizer not in TOKENIZERS:
        raise CommandError("model.tokenizer", model=card.name, tokenizer=card.tokenizer[:40], known=tuple(TOKENIZERS))
    if card.image_formula and card.image_formula not in FORMULAS:
        raise CommandError(
            "model.image_formula", model=card.name, formula=card.image_formula[:40], known=tuple(FORMULAS)
        )
    if "image" in card.modalities and not card.image_formula:
        raise CommandError("model.no_image_formula", model=card.name, known=tuple(FORMULAS))
    if card.hidden_output and "reasoning" not in card.classes:
        raise CommandError("model.no_reasoning", model=card.name)


def _still_priced(tx: Tx, card: ModelCard, now_us: int) -> None:
    for versions in shelf.load(tx, now_us).versions.values():
        for version in versions:
            prices = version.prices.get(card.name)
            missing = sorted(card.classes - prices.keys()) if prices is not None else []
            if missing:
                raise CommandError(
                    "model.unpriced",
                    price_list=version.price_list,
                    version=version.n,
                    model=card.name,
                    usage_class=missing[0],
                )


def _json(words: frozenset[str]) -> str:
    return json.dumps(sorted(words))


def _facts(row: Model | None) -> dict[str, object] | None:
    if row is None:
        return None
    return {name: value for name, value in vars(row).items() if not name.startswith("_")}
