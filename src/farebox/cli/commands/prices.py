"""`farebox prices …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from farebox.care import ready
from farebox.cli import show, when
from farebox.kit import clock, money, places
from farebox.kit.errors import CommandError

from .base import Group, emit, read, write

prices = Group("prices", help="Price lists: dated versions, never changed once published.")
COMMANDS = (prices,)


@prices.command("show", example="farebox prices show official-usd")
@click.argument("price_list", required=False)
@click.option("--version", type=int, help="This version instead of the one in force.")
def show_(price_list: str | None, version: int | None) -> None:
    """All price lists, or the prices of PRICE_LIST that are in force."""
    ready.store()
    from farebox.catalog import price_lists, sheets

    if price_list is None:
        heads = read(price_lists.overview, now_us=clock.now_us())
        emit(heads, lambda: _overview(heads))
        return
    sheet = sheets.to_json(read(price_lists.show, price_list, version=version, now_us=clock.now_us()))
    emit(sheet, lambda: _sheet(sheet))


@prices.command("diff", example="farebox prices diff official-usd 1 2")
@click.argument("price_list")
@click.argument("before", type=int)
@click.argument("after", type=int)
def diff(price_list: str, before: int, after: int) -> None:
    """Show the prices that differ between the versions BEFORE and AFTER of PRICE_LIST."""
    ready.store()
    from farebox.catalog import price_lists

    changes = [change._asdict() for change in read(price_lists.diff, price_list, before, after, now_us=clock.now_us())]
    emit(
        changes,
        lambda: show.table(
            ("model", "class", f"v{before}>", f"v{after}>"),
            [
                (row["model"], row["usage_class"], _price(row["before_micro"]), _price(row["after_micro"]))
                for row in changes
            ],
            empty="These versions have the same prices.",
        ),
    )


@prices.command("create", example="farebox prices create campus-cny CNY --about 'What students pay'")
@click.argument("price_list")
@click.argument("currency")
@click.option("--about", default="", help="Purpose, shown to operators.")
def create(price_list: str, currency: str, about: str) -> None:
    """Create an empty PRICE_LIST in one CURRENCY. Nothing is sold by it until a version is published."""
    done = write("prices.create", price_list=price_list, currency=currency.upper(), about=about)
    emit(
        done,
        lambda: print(
            f"Price list {price_list} ({done['currency']}) created. Publish a version next."
            if done["changed"]
            else f"The price list {price_list} ({done['currency']}) existed already. Nothing was changed."
        ),
    )


@prices.command(
    "publish",
    example="farebox prices publish campus-cny --from official-usd --rate 7.25 --factor 1.10\n"
    "farebox prices publish campus-cny --set gpt-4 input 200.00 --at 2026-12-01 --note 'winter prices'",
)
@click.argument("price_list")
@click.option("--from", "source", default="", help="Take the prices of this USD list, times rate, times factor.")
@click.option("--rate", default="", help="Units of the list's currency for one USD, such as 7.25.")
@click.option("--factor", default="1", show_default=True, help="Markup or discount on the source: 1.10, 0.95.")
@click.option("--usd-rate", default="", help="USD rate for balance pages; by default the rate above.")
@click.option(
    "--set",
    "rows",
    nargs=3,
    multiple=True,
    metavar="MODEL CLASS PRICE",
    help="Price of 1M units of a usage class (input, cached_read, output…); may be given again.",
)
@click.option("--remove", multiple=True, metavar="MODEL", help="No longer sell this model; may be given again.")
@click.option("--at", help="When it comes into force: 2026-12-01, 30d. By default now.")
@click.option("--note", default="", help="Reason, in one line.")
def publish(
    price_list: str,
    source: str,
    rate: str,
    factor: str,
    usd_rate: str,
    rows: tuple[tuple[str, str, str], ...],
    remove: tuple[str, ...],
    at: str | None,
    note: str,
) -> None:
    """Publish the next version of PRICE_LIST. Prices that are not named do not change.

    Prices of 1,000,000 units, in the list's currency. Refused if a model could produce something that has no price.
    """
    done = write(
        "prices.publish",
        price_list=price_list,
        rows=[list(row) for row in rows],
        from_usd_source=source,
        rate=rate,
        factor=factor,
        usd_rate=usd_rate,
        remove=list(remove),
        valid_from_us=None if at is None else when.point(at, now_us=clock.now_us()),
        note=note,
    )
    emit(done, lambda: _published(done))


@prices.command("propose", example="farebox prices propose official-usd")
@click.argument("price_list")
@click.option("--all", "with_same", is_flag=True, help="Also prices that are the same.")
def propose(price_list: str, with_same: bool) -> None:
    """Compare the prices of PRICE_LIST with a public catalogue. Changes nothing; `publish --set` does."""
    ready.store()
    from farebox.catalog import suggestions

    found = [line._asdict() for line in read(suggestions.suggest, price_list, now_us=clock.now_us())]
    shown = [line for line in found if with_same or line["change"] != "same"]
    emit(
        shown,
        lambda: show.table(
            ("model", "class", "now>", "catalogue>", "change>", "note"),
            [
                (
                    row["model"],
                    row["usage_class"],
                    _price(row["current_micro"]),
                    _price(row["proposed_micro"]),
                    row["change"],
                    row["note"],
                )
                for row in shown
            ],
            empty=f"The catalogue has the same prices as {price_list}.",
        ),
    )


@prices.command("export", example="farebox prices export official-usd --format csv > prices.csv")
@click.argument("price_list")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option("--version", type=int, help="This version instead of the one in force.")
def export(price_list: str, form: str, version: int | None) -> None:
    """Print the prices of PRICE_LIST as CSV or JSON, in the form that `import` takes."""
    ready.store()
    from farebox.catalog import price_lists, sheets

    sheet = read(price_lists.show, price_list, version=version, now_us=clock.now_us())
    if form == "json":
        click.echo(json.dumps(sheets.to_json(sheet), ensure_ascii=False, indent=2))
    else:
        click.echo(sheets.to_csv(sheet), nl=False)


@prices.command("import", example="farebox prices import campus-cny prices.csv --note 'from the spreadsheet'")
@click.argument("price_list")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@click.option("--usd-rate", default="", help="USD rate in the list's currency.")
@click.option("--at", help="When it comes into force: 2026-12-01, 30d. By default now.")
@click.option("--note", default="", help="Reason, in one line.")
def import_(price_list: str, file: Any, usd_rate: str, at: str | None, note: str) -> None:
    """Publish the prices of FILE (CSV `model,usage_class,price`, or JSON; - is standard input) as the next version."""
    from farebox.catalog import sheets

    ready.store()
    text = file.read()
    if Path(file.name).suffix == ".json" or text.lstrip().startswith("{"):
        places.once(text, file.name)
        try:
            rows = sheets.from_json(json.loads(text))
        except ValueError as fault:
            raise CommandError(f"{file.name} is no JSON: {fault}.") from None
    else:
        rows = sheets.from_csv(text)
    done = write(
        "prices.publish",
        price_list=price_list,
        rows=[[row.model, row.usage_class, sheets.price_text(row.micro_per_million)] for row in rows],
        usd_rate=usd_rate,
        valid_from_us=None if at is None else when.point(at, now_us=clock.now_us()),
        note=note,
    )
    emit(done, lambda: _published(done))


def _overview(heads: list[dict[str, Any]]) -> None:
    show.table(
        ("price list", "currency", "in force", "since (UTC)", "versions>", "about"),
        [
            (
                head["price_list"],
                head["currency"],
                "built in" if not head["versions"] and head["price_list"] == "house" else _in_force(head),
                when.shown(
                    next(
                        (row["valid_from_us"] for row in head["versions"] if row["version"] == head["version"]),
                        None,
                    )
                ),
                len(head["versions"]),
                head["about"],
            )
            for head in heads
        ],
        empty="No price list yet. `farebox migrate` brings official-usd.",
    )


def _in_force(head: dict[str, Any]) -> str:
    return "none yet" if head["version"] is None else f"v{head['version']}"


def _sheet(sheet: dict[str, Any]) -> None:
    made = f", from {sheet['source']} x {sheet['rate']} x {sheet['factor']}" if sheet["source"] else ""
    print(
        f"{sheet['price_list']} v{sheet['version']}, in force from {when.shown(sheet['valid_from_us'])} UTC{made}; "
        f"prices of 1M units in {sheet['currency']}"
    )
    classes = sorted({name for row in sheet["prices"].values() for name in row}, key=_class_order)
    show.table(
        ("model", *(f"{name}>" for name in classes)),
        [(name, *(row.get(usage) for usage in classes)) for name, row in sheet["prices"].items()],
        empty="No price.",
    )


def _class_order(name: str) -> int:
    from farebox.catalog.usage import CLASSES

    return CLASSES.index(name)


def _published(done: dict[str, Any]) -> None:
    print(
        f"{done['price_list']} v{done['version']} is published: {len(done['prices'])} models, "
        f"in force from {when.shown(done['valid_from_us'])} UTC."
    )


def _price(micro: int | None) -> str:
    return "–" if micro is None else money.text(micro)
