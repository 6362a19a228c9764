"""Who answers for keys, tokens and recovery codes, and is told by mail what became of them."""

from __future__ import annotations

from farebox.accounts.keys import old_peppers
from farebox.accounts.models import Account, ApiKey, Person
from farebox.console import telling
from farebox.kit import outbox
from farebox.kit.db import Tx
from farebox.office import letters


def end(tx: Tx, newest: int, *, now_us: int, actor: str) -> dict[str, int]:
    """Switch off what needs a pepper before this one, and tell everybody concerned; how many of each."""
    ended = old_peppers.end(tx, newest, now_us=now_us, actor=actor)
    for key in ended.keys:
        if key.kind == "":
            for person in of(key):
                mail(tx, person, telling.unused(person.language, name=key.name, hint=key.hint))
    for token in ended.tokens:
        mail(tx, token.person, letters.token_unused(tx, token.person, token.name))
    for person in ended.people:
        mail(tx, person, telling.codes_gone(person.language))
    return {"keys": len(ended.keys), "tokens": len(ended.tokens), "recovery codes": len(ended.people)}


def of(key: ApiKey) -> list[Person]:
    """Who answers for a key: the owners of its account, and the member whose key it is."""
    places = key.account.member_set.filter(state="active", person__is_active=True).select_related("person")
    found = {place.person.id: place.person for place in places if place.role == "owner" or place.id == key.member_id}
    return list(found.values())


def of_account(account: Account) -> list[Person]:
    """The owners of an account who are not switched off."""
    places = account.member_set.filter(state="active", role="owner", person__is_active=True).select_related("person")
    return [place.person for place in places.order_by("id")]


def mail(tx: Tx, person: Person, words: tuple[str, str]) -> None:
    """Subject and text to one person."""
    outbox.mail(tx, to=person.email, subject=" ".join(words[0].split()), text=words[1])
