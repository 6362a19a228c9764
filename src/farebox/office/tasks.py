"""What waits for an operator: things that are broken, things that are missing, decisions of a second person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from farebox.accounts import forgiving, timekeeping
from farebox.accounts.models import ApiKey
from farebox.accounts.sign_in import operators
from farebox.calls import margins, watch
from farebox.catalog import drafts, official, overview, public_list, shelf
from farebox.catalog.shelf import Shelf
from farebox.kit import db, options, outbox, proposals, secrets, settings, timing
from farebox.kit.db import Tx
from farebox.kit.errors import CommandError
from farebox.ledger import adjustments
from farebox.ledger.standing import Standing
from farebox.look import marks
from farebox.upstreams import channels, survey

from . import ports

NAMES_SHOWN = 3
HOLD_OLD_US = 3_600_000_000
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do: `state` is `bad`, `warn` or `todo`; where to do it."""

    state: str
    text: str
    url: str


def listed(now_us: int, stock: Shelf, standing: Standing) -> list[Task]:
    """Everything that waits, the worst first."""
    rows = db.read(channels.listed)
    found = [
        *_channels(rows, now_us),
        *_doctor(),
        *_clock(),
        *_outbox(),
        *_goods(stock, rows, now_us),
        *_calls(now_us),
        *_allowances(stock, now_us),
        *_public(stock, now_us),
        *_holds(standing, now_us),
        *_decisions(now_us),
        *_people(now_us),
    ]
    return sorted(found, key=lambda task: ("bad", "warn", "todo").index(task.state))


def _channels(rows: list[dict[str, Any]], now_us: int) -> Iterator[Task]:
    url = reverse("office:upstreams")
    active = {row["name"] for row in rows if row["state"] == "active"}
    if not rows:
        yield Task(
            "todo", _("Connect an upstream: no calls can be answered without one."), reverse("office:channel_new")
        )
    elif not active:
        yield Task("bad", _("No channel is active, so no calls can be answered."), url)
    try:
        master: Mapping[int, bytes] = secrets.master_keys(options.current())
    except CommandError:
        master = {}
    if shut := [name for name in db.read(survey.unreadable, master) if name in active]:
        yield Task(
            "bad",
            _("The secrets of these channels can't be decrypted. Enter them again: %(names)s.") % _some(shut),
            url,
        )
    resting = [
        row["name"]
        for row in rows
        if row["name"] in active and ports.health().get(row["id"], {}).get("state", "closed") != "closed"
    ]
    if resting:
        yield Task("warn", _("These channels are tripped after repeated failures: %(names)s.") % _some(resting), url)
    failing = sorted(set(db.read(margins.failing, active, since_us=now_us - _DAY_US)) - set(resting))
    if failing:
        yield Task("warn", _("All recent calls on these channels failed: %(names)s.") % _some(failing), url)


def _goods(stock: Shelf, rows: list[dict[str, Any]], now_us: int) -> Iterator[Task]:
    lists = [name for name in stock.versions if name != official.OFFICIAL and stock.version(name, now_us)]
    if not lists:
        yield Task("todo", _("Publish a price list: nothing is on sale without one."), reverse("office:price_lists"))
    sold = {card.name for name in lists for card in stock.models(name, now_us)}
    offered = {model["model"] for row in rows if row["state"] == "active" for model in row["models"]}
    if lists and (unpriced := sorted((stock.listed & offered) - sold)):
        text = _("These models have a channel but no price: %(names)s.") % _some(unpriced)
        yield Task("warn", text, reverse("office:models"))
    if off := db.read(overview.unpriced):
        text = _("A call used a usage class without a price, so these models went off sale: %(names)s.") % _some(off)
        yield Task("bad", text, reverse("office:models"))
    if wrong := sorted(name for name, card in stock.cards.items() if card.factors.off):
        text = _(
            "The tokenizer of these models deviates by more than 10 %% from upstream reports: %(names)s. "
            "Choose another or none; factors are used meanwhile."
        )
        yield Task("warn", text % _some(wrong), _model(wrong[0]))
    if rows and (lonely := sorted(sold - offered)):
        text = _("These models are on sale, but no active channel serves them: %(names)s.") % _some(lonely)
        yield Task("warn", text, reverse("office:upstreams"))


def _calls(now_us: int) -> Iterator[Task]:
    """What the newest calls tell (R06, F24, promises 3.1)."""
    seen = db.read(lambda tx: watch.look(tx, since_us=now_us - _DAY_US))
    if seen.disputed:
        text = _(
            "Upstreams reported implausible usage, so we counted it ourselves: %(names)s. The receipts show "
            "the reports; the channel quirks cached_in_prompt and hidden_thinking say how to read them."
        )
        yield Task("warn", text % _some(list(seen.disputed)), reverse("office:models"))
    if seen.substituted:
        text = _("Upstreams answered with a different model than requested: %(names)s.")
        yield Task("warn", text % _some(list(seen.substituted)), reverse("office:models"))
    if seen.unknown:
        text = _("Upstreams reported unknown counters, which were not charged: %(names)s. The receipts show them.")
        yield Task("warn", text % _some(list(seen.unknown)), reverse("office:models"))
    for key, account in seen.free:
        text = _("More than a fifth of the last %(n)d calls with the key %(key)s were free.")
        url = reverse("office:customer_calls", args=[account])
        yield Task("warn", text % {"n": watch.FREE_OF, "key": _key(key)}, url)


def _model(name: str) -> str:
    return reverse("office:model", args=[name])


def _allowances(stock: Shelf, now_us: int) -> Iterator[Task]:
    """Accounts that were forgiven all that they may be; their page has the calls, by key and member."""
    for account, left_micro, _most in db.read(forgiving.low, stock, now_us):
        if left_micro <= 0:
            text = _("The allowance of %(account)s is used up. Check its calls by key and member.")
            yield Task(
                "warn", text % {"account": account.name}, reverse("office:customer", args=[account.id]) + "#allowance"
            )


def _key(key: str) -> str:
    row = ApiKey.objects.filter(id=key).values_list("name", flat=True).first()
    return row or key


def _doctor() -> Iterator[Task]:
    """What the doctor found wrong when it looked last."""
    if wrong := db.read(lambda tx: settings.get(tx, settings.DOCTOR, {})).get("wrong"):
        text = _("The daily check found problems: %(names)s. Run `farebox doctor` for details.")
        yield Task("bad", text % _some([row["check"] for row in wrong]), reverse("office:home"))


def _outbox() -> Iterator[Task]:
    """Mail and webhooks of the last week that were given up."""
    if many := len(db.read(outbox.dead)):
        text = ngettext(
            "%(n)d e-mail or webhook could not be delivered. Run `farebox doctor` for the reason.",
            "%(n)d e-mails or webhooks could not be delivered. Run `farebox doctor` for the reason.",
            many,
        )
        yield Task("warn", text % {"n": many}, reverse("office:home"))


def _public(stock: Shelf, now_us: int) -> Iterator[Task]:
    """What is amiss with the public price list, once anything is on sale."""
    chosen, shown, many = db.read(_shown)
    url = reverse("office:settings")
    if not any(stock.version(name, now_us) for name in stock.versions if name != official.OFFICIAL):
        return
    if shown is None:
        text = _("Visitors see no prices: the public price list %(name)s is unknown.") % {"name": chosen}
        yield Task("warn", text, url)
    elif stock.version(shown, now_us) is None:
        text = _("Visitors see no prices: the public price list %(name)s has no version in force.") % {"name": shown}
        yield Task("warn", text, reverse("office:price_list", args=[shown]))
    elif not chosen and many > 1:
        text = _("There are several price lists, and visitors see %(name)s. Choose the public one.") % {"name": shown}
        yield Task("todo", text, url)


def _shown(tx: Tx) -> tuple[str, str | None, int]:
    """What was chosen for visitors, what they see, and how many lists there are to choose from."""
    return public_list.chosen(tx), public_list.name(tx), len(public_list.own(tx))


def _holds(standing: Standing, now_us: int) -> Iterator[Task]:
    if standing.oldest_us is not None and standing.oldest_us < now_us - HOLD_OLD_US:
        text = _("A hold has been open for more than an hour. See `farebox prove` and the log.")
        yield Task("warn", text, reverse("office:customers"))


def _decisions(now_us: int) -> Iterator[Task]:
    if many := len(db.read(adjustments.listed, state="proposed", now_us=now_us)):
        text = ngettext(
            "%(n)d adjustment is waiting for approval.", "%(n)d adjustments are waiting for approval.", many
        )
        yield Task("todo", text % {"n": many}, reverse("office:money"))
    if many := len(db.read(proposals.listed, state="proposed", now_us=now_us)):
        text = ngettext("%(n)d proposal is pending approval.", "%(n)d proposals are pending approval.", many)
        yield Task("todo", text % {"n": many}, reverse("office:proposals"))
    if many := len(db.read(drafts.of_list)):
        text = ngettext("%(n)d price draft is waiting.", "%(n)d price drafts are waiting.", many)
        yield Task("todo", text % {"n": many}, reverse("office:price_lists"))


def _clock() -> Iterator[Task]:
    """A time that is not sure (promises 4.7)."""
    state = db.read(timekeeping.verdict).state
    if state == timing.AHEAD:
        text = _("The shop's clock is ahead of all time sources, so no calls are accepted.")
        yield Task("bad", text, reverse("office:clock"))
    elif state == timing.UNPROVEN:
        text = _("Only the shop's own clock tells the time. Confirm it: expiry of credit is waiting.")
        yield Task("warn", text, reverse("office:clock"))


def _people(now_us: int) -> Iterator[Task]:
    url = reverse("office:operators")
    if many := len(db.read(operators.waiting, now_us=now_us)):
        text = ngettext(
            "%(n)d operator change is waiting for a second administrator.",
            "%(n)d operator changes are waiting for a second administrator.",
            many,
        )
        yield Task("todo", text % {"n": many}, url)
    admins = [row for row in db.read(operators.listed) if row["operator_role"] == "admin" and row["is_active"]]
    if len(admins) < 2:
        if options.current().single_person:
            yield Task("todo", _("Add a second administrator, so that one can restore the other's access."), url)
        else:
            yield Task("bad", _("Changes need two administrators, but there is only one."), url)


def _some(names: list[str]) -> dict[str, str]:
    more = len(names) - NAMES_SHOWN
    shown = marks.listed(names[:NAMES_SHOWN])
    return {"names": shown if more <= 0 else _("%(names)s and %(n)s more") % {"names": shown, "n": more}}


def stock(now_us: int) -> Shelf:
    """What is on sale now."""
    return db.read(shelf.load, now_us)
