"""`farebox model …`."""

from __future__ import annotations

import json
from typing import Any

import click

from farebox.care import ready
from farebox.catalog.kinds import NAMES
from farebox.cli import show

from .base import Group, emit, read, write

model = Group("model", help="What is on sale.")
COMMANDS = (model,)


@model.command("list", example="farebox model list")
def list_models() -> None:
    """List every model: what it answers, its limits, and whether it is on sale."""
    ready.store()
    rows = read(_models)
    emit(
        rows,
        lambda: show.table(
            ("model", "by", "kinds", "context>", "output>", "classes", "aliases", "listed"),
            [
                (
                    row["name"],
                    row["owned_by"],
                    ", ".join(row["kinds"]),
                    row["context_tokens"],
                    row["output_tokens_max"],
                    ", ".join(row["classes"]),
                    ", ".join(row["aliases"]),
                    "yes" if row["listed"] else f"no: {row['unlisted_why'] or 'no reason given'}",
                )
                for row in rows
            ],
            empty="No model yet. `farebox migrate` brings seven; `farebox model define` makes others.",
        ),
    )


@model.command("show", example="farebox model show gpt-4o-mini")
@click.argument("model")
def show_model(model: str) -> None:
    """One model: what it can do, and how its vendor counts, by its reports. JSON has factors in millionths."""
    ready.store()
    row = read(_model, model)
    factors = row["factors"]
    emit(row, lambda: show.facts([*_facts(row), *_counts(factors)]))


@model.command(
    "define",
    example="farebox model define SmolLM2-135M --kind chat --context 4096 --output-max 4096 \\\n"
    "    --class input --class output --overhead 64",
)
@click.argument("model")
@click.option("--kind", "kinds", multiple=True, required=True, help=f"{', '.join(NAMES)}; may be given again.")
@click.option(
    "--class",
    "classes",
    multiple=True,
    required=True,
    help="Usage class that it can produce; again for more.",
)
@click.option("--context", type=int, required=True, help="Longest input and output together, in tokens.")
@click.option("--output-max", type=int, required=True, help="Longest output, in tokens; 0 for embeddings.")
@click.option("--owned-by", default="", help="Who made it, as `GET /v1/models` says it.")
@click.option("--modality", "modalities", multiple=True, default=("text",), show_default=True, help="text, image.")
@click.option("--hidden-output", is_flag=True, help="It produces output that the customer does not see (reasoning).")
@click.option("--tokenizer", default="", help="cl100k_base or o200k_base; by default a low estimate.")
@click.option("--image-formula", default="", help="How images count as tokens; needed with modality image.")
@click.option("--overhead", type=int, default=0, show_default=True, help="Tokens that its chat template adds.")
def define(
    model: str,
    kinds: tuple[str, ...],
    classes: tuple[str, ...],
    context: int,
    output_max: int,
    owned_by: str,
    modalities: tuple[str, ...],
    hidden_output: bool,
    tokenizer: str,
    image_formula: str,
    overhead: int,
) -> None:
    """Define MODEL, or change its facts. It is sold by every price list that has prices for it.

    An upstream answers it once `farebox channel offer` says so.
    """
    done = write(
        "model.define",
        model=model,
        kinds=list(kinds),
        classes=list(classes),
        context_tokens=context,
        output_tokens_max=output_max,
        owned_by=owned_by,
        modalities=list(modalities),
        hidden_output=hidden_output,
        tokenizer=tokenizer,
        image_formula=image_formula,
        input_overhead_tokens=overhead,
    )
    emit(done, lambda: print(f"Model {model} is defined; it needs a price for {', '.join(done['classes'])}."))


@model.command("alias", example="farebox model alias gpt-3.5-turbo gpt-3.5-turbo-0125")
@click.argument("name")
@click.argument("model")
def alias(name: str, model: str) -> None:
    """Make NAME another name of MODEL; customers can use either."""
    done = write("model.alias", name=name, model=model)
    before = done["before"]
    no_longer = f", no longer for {before}" if before not in {"", model} else ""
    emit(done, lambda: print(f"{name} stands for {model}{no_longer}."))


@model.command("unalias", example="farebox model unalias gpt-3.5-turbo")
@click.argument("name")
def unalias(name: str) -> None:
    """Remove the alias NAME."""
    done = write("model.unalias", name=name)
    emit(done, lambda: print(f"{name} no longer stands for {done['model']}."))


@model.command("unlist", example="farebox model unlist gpt-4-32k --why 'the vendor has retired it'")
@click.argument("model")
@click.option("--why", default="", help="Reason, shown to operators.")
def unlist(model: str, why: str) -> None:
    """Unlist MODEL everywhere; new calls get model_not_found."""
    done = write("model.unlist", model=model, why=why)
    emit(
        done,
        lambda: print(f"{model} is off the shelf." if done["changed"] else f"{model} was off the shelf before."),
    )


@model.command("list-again", example="farebox model list-again gpt-4-32k")
@click.argument("model")
def list_again(model: str) -> None:
    """Put an unlisted MODEL back on sale."""
    done = write("model.list-again", model=model)
    emit(
        done,
        lambda: print(f"{model} is on the shelf." if done["changed"] else f"{model} was on the shelf before."),
    )


def _facts(row: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        ("model", row["name"]),
        ("by", row["owned_by"]),
        ("kinds", ", ".join(row["kinds"])),
        ("context", row["context_tokens"]),
        ("output", row["output_tokens_max"]),
        ("classes", ", ".join(row["classes"])),
        ("aliases", ", ".join(row["aliases"])),
        ("listed", "yes" if row["listed"] else f"no: {row['unlisted_why'] or 'no reason given'}"),
        ("tokenizer", row["tokenizer"]),
    ]


def _counts(factors: dict[str, Any]) -> list[tuple[str, object]]:
    """How the vendor counts, a factor with six digits after the point."""

    def decimal(millionths: int | None) -> str:
        return "not known" if millionths is None else f"{millionths // 10**6}.{millionths % 10**6:06}"

    agreement = "off" if factors["off"] else "confirmed" if factors["confirmed"] else "not confirmed"
    return [
        ("factors", "in force" if factors["in_force"] else "not in force yet"),
        ("learned from", f"{factors['samples']} calls of {factors['accounts']} accounts"),
        *((f"{side} {name}", decimal(value)) for side in ("input", "output") for name, value in factors[side].items()),
        ("input tokens a byte", decimal(factors["input_per_byte_upper"])),
        ("output tokens a byte", decimal(factors["output_per_byte_upper"])),
        ("input believed up to", f"{decimal(factors['bound_slack'])} times what the request can contain"),
        ("hidden output", "not known" if factors["hidden_p99"] is None else factors["hidden_p99"]),
        ("tokens of an image", "not known" if factors["image_tokens"] is None else factors["image_tokens"]),
        ("tokenizer off by", f"{decimal(factors['tokenizer_p95'])}, {agreement}"),
    ]


def _model(tx: Any, name: str) -> dict[str, Any]:
    from farebox.catalog import factors, overview
    from farebox.kit import clock
    from farebox.kit.errors import CommandError

    found = overview.model(tx, name, now_us=clock.now_us())
    row = next((each for each in _models(tx) if each["name"] == name), None)
    if found is None or row is None:
        raise CommandError("model.unknown", model=name[:128])
    learned = {**factors.shown(found.card.factors), "fitted_us": found.fitted_us}
    return {**row, "tokenizer": found.card.tokenizer, "factors": learned}


def _models(_tx: Any) -> list[dict[str, Any]]:
    from farebox.catalog.models import Alias, Model

    aliases: dict[str, list[str]] = {}
    for name, target in Alias.objects.order_by("name").values_list("name", "model_id"):
        aliases.setdefault(target, []).append(name)
    return [
        {
            "name": row.name,
            "owned_by": row.owned_by,
            "kinds": json.loads(row.kinds),
            "modalities": json.loads(row.modalities),
            "classes": json.loads(row.classes),
            "context_tokens": row.context_tokens,
            "output_tokens_max": row.output_tokens_max,
            "hidden_output": row.hidden_output,
            "aliases": aliases.get(row.name, []),
            "listed": row.listed,
            "unlisted_why": row.unlisted_why,
        }
        for row in Model.objects.order_by("name")
    ]
