"""Management API: models, price lists, upstreams and channels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import Http404
from ninja import Path, Router

from farebox.accounts import adjusting
from farebox.catalog import definitions, drafts, factors, overview, price_lists, sheets, shelf, suggestions
from farebox.catalog.models import PriceDraft
from farebox.catalog.usage import CLASSES
from farebox.kit import clock, db, options, secrets, settings
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.look import refusals
from farebox.office import kinds, letters
from farebox.protocol import presets
from farebox.upstreams import channels
from farebox.upstreams.channel_terms import ChannelTerms

from . import shapes, types
from .proposals import propose as propose_change
from .roles import ALL, answers, for_roles
from .shapes_proposals import Proposal

router = Router()
ADMIN = ("admin",)


@router.get("/models", response=answers(shapes.Models), tags=["models"], **for_roles(*ALL))
def list_models(request: Any) -> Any:
    """All models, with their abilities, the price lists that sell them, and missing prices."""
    del request
    return {"data": [_model(each) for each in db.read(overview.models, now_us=clock.now_us())]}


@router.post("/models", response=answers(shapes.ModelOut, proposed=Proposal), tags=["models"], **for_roles(*ADMIN))
def define_model(request: Any, body: shapes.ModelIn) -> Any:
    """Define a new model; changes to an existing one need a person's approval."""
    before = db.read(overview.model, body.name, now_us=clock.now_us())
    if before is not None:
        facts = {name: sorted(value) if isinstance(value, list) else value for name, value in body.dict().items()}
        del facts["name"]
        now = kinds.KINDS["model.define"].read
        if db.read(lambda tx: now(tx, body.name, facts)) == facts:
            return _model(before)
        return propose_change(request, "model.define", body.name, facts)

    def write(tx: Tx) -> overview.ModelOverview | None:
        now_us = clock.now_us()
        definitions.define_model(
            tx, **body.dict(), created_s=now_us // 1_000_000, actor=request.auth.actor, now_us=now_us
        )
        return overview.model(tx, body.name, now_us=now_us)

    return _model(db.write(write))


@router.get("/models/{path:name}", response=answers(shapes.ModelOut), tags=["models"], **for_roles(*ALL))
def read_model(request: Any, name: Path[types.Name]) -> Any:
    """One model."""
    del request
    return _model(db.read(overview.model, name, now_us=clock.now_us()))


@router.post("/model-listings/{path:name}", response=answers(shapes.ModelOut), tags=["models"], **for_roles(*ADMIN))
def list_model(request: Any, name: Path[types.Name], body: shapes.Listing) -> Any:
    """Take a model off sale; only a person can put it back, in the office, after verifying their identity again."""
    found = _model(db.read(overview.model, name, now_us=clock.now_us()))
    if body.listed and not found["listed"]:
        raise CommandError("A script puts no model back on sale. A person does, in the office.")

    def write(tx: Tx) -> overview.ModelOverview | None:
        if not body.listed:
            shelf.unlist(tx, name, body.why, request.auth.actor)
        return overview.model(tx, name, now_us=clock.now_us())

    return _model(db.write(write))


@router.post(
    "/model-aliases/{path:name}",
    response=answers(shapes.ModelOut, proposed=Proposal),
    tags=["models"],
    **for_roles(*ADMIN),
)
def alias_model(request: Any, name: Path[types.Name], body: shapes.AliasIn) -> Any:
    """Propose an alias of a model, for a person to approve, or remove one."""
    found = _model(db.read(overview.model, name, now_us=clock.now_us()))
    if body.remove and body.alias not in found["aliases"]:
        raise Http404
    if not body.remove:
        return found if body.alias in found["aliases"] else propose_change(request, "model.alias", body.alias, name)

    def write(tx: Tx) -> overview.ModelOverview | None:
        definitions.unalias(tx, body.alias, actor=request.auth.actor)
        return overview.model(tx, name, now_us=clock.now_us())

    return _model(db.write(write))


@router.get("/price-lists", response=answers(shapes.PriceLists), tags=["prices"], **for_roles(*ALL))
def list_price_lists(request: Any) -> Any:
    """Every price list with its versions."""
    del request
    found = db.read(price_lists.overview, now_us=clock.now_us())
    return {"data": [each for each in found if each["price_list"] != shelf.HOUSE_LIST]}


@router.post("/price-lists", response=answers(shapes.PriceListOut), tags=["prices"], **for_roles(*ADMIN))
def create_price_list(request: Any, body: shapes.PriceListIn) -> Any:
    """An empty price list in one currency; a draft gives it its first version."""
    db.write(price_lists.create_list, body.name, body.currency, about=body.about, actor=request.auth.actor)
    return _head(body.name)


@router.get("/price-lists/{name}", response=answers(shapes.Sheet), tags=["prices"], **for_roles(*ALL))
def read_price_list(request: Any, name: Path[types.Ident], version: types.Count | None = None) -> Any:
    """The prices of a version, of the one in force if none is named."""
    del request
    _head(name)
    try:
        return sheets.to_json(db.read(price_lists.show, name, version=version, now_us=clock.now_us()))
    except CommandError:
        raise Http404 from None


@router.get("/price-lists/{name}/catalogue", response=answers(shapes.Suggestions), tags=["prices"], **for_roles(*ADMIN))
def read_proposal(request: Any, name: Path[types.Ident]) -> Any:
    """The catalogue's list prices beside those in force, in the list's currency."""
    del request
    if _head(name)["version"] is None:
        raise Http404
    return {"data": [line._asdict() for line in db.read(suggestions.suggest, name, now_us=clock.now_us())]}


@router.post("/price-lists/{name}/drafts", response=answers(shapes.Draft), tags=["prices"], **for_roles(*ADMIN))
def draw_up(request: Any, name: Path[types.Ident], body: shapes.DraftIn) -> Any:
    """Draft a version; a person publishes it in the office after verifying their identity again."""
    _head(name)
    priced = [
        sheets.row(model, usage_class, price)
        for model, prices in body.prices.items()
        for usage_class, price in prices.items()
    ]
    rows = [(row.model, row.usage_class, row.micro_per_million) for row in priced]
    facts = body.dict(exclude={"prices", "note"})
    row = db.write(
        drafts.draw_up,
        name,
        drafts.DraftContent(rows=rows, **facts),
        note=body.note,
        actor=request.auth.actor,
        requester=adjusting.person_of(request.auth.actor),
        now_us=clock.now_us(),
    )
    return db.read(_draft, row)


@router.get("/price-drafts", response=answers(shapes.Drafts), tags=["prices"], **for_roles(*ALL))
def list_drafts(request: Any) -> Any:
    """Drafts waiting to be published, without their lines."""
    del request
    return {"data": [_draft_head(row) for row in db.read(drafts.of_list, limit=200)]}


@router.get("/price-drafts/{draft}", response=answers(shapes.Draft), tags=["prices"], **for_roles(*ALL))
def read_draft(request: Any, draft: Path[types.Ident]) -> Any:
    """A draft with every change and what an example call costs before and after."""
    del request
    return db.read(_draft, _find_draft(draft))


@router.post("/price-drafts/{draft}/drop", response=answers(shapes.Draft), tags=["prices"], **for_roles(*ADMIN))
def drop(request: Any, draft: Path[types.Ident]) -> Any:
    """Discard a draft."""
    _find_draft(draft)
    actor = request.auth.actor
    return _draft_head(
        db.write(drafts.drop, draft, actor=actor, decider=adjusting.person_of(actor), now_us=clock.now_us())
    )


@router.get("/upstreams", response=answers(shapes.Upstreams), tags=["upstreams"], **for_roles(*ALL))
def list_upstreams(request: Any) -> Any:
    """The vendors we buy from."""
    del request
    return {"data": db.read(channels.upstreams)}


@router.post("/upstreams", response=answers(shapes.UpstreamOut), tags=["upstreams"], **for_roles(*ADMIN))
def add_upstream(request: Any, body: shapes.UpstreamIn) -> Any:
    """Add a vendor."""
    return db.write(channels.add_upstream, **body.dict(), actor=request.auth.actor)


@router.get("/channels", response=answers(shapes.Channels), tags=["upstreams"], **for_roles(*ALL))
def list_channels(request: Any) -> Any:
    """Every channel with what it answers; never a secret. What it costs us is not for support."""
    found = db.read(channels.listed)
    if request.auth.role == "support":
        found = [row | {"models": [each | {"costs": {}} for each in row["models"]]} for row in found]
    return {"data": found}


@router.post("/channels", response=answers(shapes.ChannelOut), tags=["upstreams"], **for_roles(*ADMIN))
def add_channel(request: Any, body: shapes.ChannelIn) -> Any:
    """Add a channel, paused until a person enables it; its secret is encrypted and never shown."""
    master = secrets.master_keys(options.current())

    def write(tx: Tx) -> dict[str, Any]:
        facts = body.dict(exclude={"secret", "preset"})
        terms = ChannelTerms.given(facts | {"quirks": presets.quirks(body.preset, {})})
        row = channels.add_channel(
            tx, terms, secret=body.secret, master=master, state="disabled", actor=request.auth.actor
        )
        letters.channel(tx, "channel.add", row["id"], actor=request.auth.actor)
        return row

    return db.write(write)


@router.post("/channels/{name}/secret", response=answers(shapes.ChannelOut), tags=["upstreams"], **for_roles(*ADMIN))
def set_secret(request: Any, name: Path[types.Name], body: shapes.Secret) -> Any:
    """Refused: only a person can replace a channel's key, in the office, after verifying their identity again."""
    del request, body
    _channel(name)
    raise CommandError("A script gives no channel another key or address. A person does, in the office.")


@router.post(
    "/channels/{name}/offers",
    response=answers(shapes.Offered, proposed=Proposal),
    tags=["upstreams"],
    **for_roles(*ADMIN),
)
def offer(request: Any, name: Path[types.Name], body: shapes.OfferIn) -> Any:
    """Set what a model costs on a channel; adding a model to an active channel needs a person's approval."""

    def write(tx: Tx) -> tuple[dict[str, Any] | None, str]:
        channels.hold(tx, name)  # a person who switches it on has seen what it answers by then
        found = _channel(name, tx)
        known = next((each for each in found["models"] if each["model"] == body.model), None)
        there = body.upstream_model or (known["upstream_model"] if known else body.model)
        if found["state"] == "active" and (known is None or known["upstream_model"] != there):
            return None, there
        return channels.offer(tx, channel=name, **body.dict(), actor=request.auth.actor), there

    made, there = db.write(write)
    if made is not None:
        return made
    facts = {"model": body.model, "upstream_model": there, "costs": body.costs or {}}
    return propose_change(request, "channel.offer", name, facts)


@router.post("/channels/{name}/state", response=answers(shapes.ChannelOut), tags=["upstreams"], **for_roles(*ADMIN))
def set_state(request: Any, name: Path[types.Name], body: shapes.ChannelState) -> Any:
    """Pause a channel; only a person can enable it, in the office, after verifying their identity again."""
    found = _channel(name)
    if body.state == "active" and found["state"] != "active":
        raise CommandError("A script lets no channel take calls. A person does, in the office.")
    if body.state == found["state"]:
        return found
    return db.write(channels.set_state, channel=name, state=body.state, why=body.why, actor=request.auth.actor)


def _model(found: overview.ModelOverview | None) -> dict[str, Any]:
    if found is None:
        raise Http404
    card = found.card

    def ordered(names: Iterable[str]) -> list[str]:
        return sorted(names)

    return {
        "name": card.name,
        "owned_by": card.owned_by,
        "kinds": ordered(card.kinds),
        "modalities": ordered(card.modalities),
        "classes": [each for each in CLASSES if each in card.classes],
        "context_tokens": card.context_tokens,
        "output_tokens_max": card.output_tokens_max,
        "hidden_output": card.hidden_output,
        "tokenizer": card.tokenizer,
        "image_formula": card.image_formula,
        "input_overhead_tokens": card.input_overhead_tokens,
        "listed": found.listed,
        "aliases": list(found.aliases),
        "sold": list(found.sold),
        "missing": found.missing,
        "factors": {**factors.shown(card.factors), "fitted_us": found.fitted_us},
    }


def _head(name: str) -> dict[str, Any]:
    for each in db.read(price_lists.overview, now_us=clock.now_us()):
        if each["price_list"] == name and name != shelf.HOUSE_LIST:
            return each
    raise Http404


def _channel(name: str, tx: Tx | None = None) -> dict[str, Any]:
    rows = db.read(channels.listed) if tx is None else channels.listed(tx)
    found = next((row for row in rows if row["name"] == name), None)
    if found is None:
        raise Http404
    return found


def _find_draft(draft: str) -> PriceDraft:
    try:
        return drafts.find(draft)
    except CommandError:
        raise Http404 from None


def _draft_head(row: PriceDraft) -> dict[str, Any]:
    return {
        "id": row.id,
        "price_list": row.price_list_id,
        "state": row.state,
        "note": row.note,
        "requester": row.requester,
        "made_us": row.made_us,
        "decider": row.decider,
        "decided_us": row.decided_us,
        "single_person": row.single_person,
        "version": row.version_n,
    }


def _draft(tx: Tx, row: PriceDraft) -> dict[str, Any]:
    found = _draft_head(row)
    if row.state != "open":
        return found
    factor = settings.values(tx)["price_warn_factor"]
    try:
        difference = drafts.difference(tx, row, warn_factor=factor, now_us=clock.now_us())
    except CommandError as refusal:
        return found | {"problem": refusals.of(refusal, "api")}
    return found | {
        "lines": [line._asdict() for line in difference.lines],
        "examples": [each._asdict() for each in difference.examples],
    }
