"""A pasted list of people, as mail programs and spreadsheets write them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from farebox.accounts.people import people
from farebox.accounts.team.invitations import Guest

_NAMED = re.compile(r"\s*(?P<name>[^<>]*?)\s*<\s*(?P<email>[^<>\s]+)\s*>\s*\Z")
_QUOTED = re.compile(r'"[^"]*"')  # "Lee, Ann" <ann@example.org>
_NAME_CHARS_MAX = 100


@dataclass(frozen=True, slots=True)
class PastedFault:
    """What can't be read: the number of the line, from 1, and the part of it."""

    line: int
    part: str


def read(text: str) -> tuple[list[Guest], list[PastedFault]]:
    """The people of a list, one a line or parted by commas, semicolons or tabs, with or without names; and its faults.

    `a@b.c`, `Name <a@b.c>`, `Name, a@b.c` and `a@b.c Name` all do. Who stands there twice counts once.
    """
    found: dict[str, Guest] = {}
    faults: list[PastedFault] = []
    for number, line in enumerate(text.splitlines(), start=1):
        guests, wrong = _line(line)
        faults += [PastedFault(number, part) for part in wrong]
        for guest in guests:
            found.setdefault(guest.email, guest)
    return list(found.values()), faults


def _line(line: str) -> tuple[list[Guest], list[str]]:
    line = _QUOTED.sub(lambda found: found[0].replace(",", " ").replace(";", " "), line)
    parts = [part for part in (part.strip(" \"'") for part in re.split(r"[,;\t，；、]", line)) if part]
    with_address = [part for part in parts if "@" in part]
    names = [part for part in parts if "@" not in part]
    if len(with_address) == 1 and names:  # a row of a spreadsheet
        guest = _part(with_address[0])
        if guest is None:
            return [], with_address
        return [Guest(guest.email, guest.name or _name(" ".join(names)))], []
    guests, wrong = [], list(names)
    for part in with_address:
        guest = _part(part)
        if guest is None:
            wrong.append(part)
        else:
            guests.append(guest)
    return guests, wrong


def _part(part: str) -> Guest | None:
    named = _NAMED.match(part)
    if named:
        name, email = named["name"].strip(" \"'"), named["email"]
    else:
        words = part.split()
        addresses = [word for word in words if "@" in word]
        if len(addresses) != 1:
            return None
        email = addresses[0]
        name = " ".join(word for word in words if word != email)
    email = email.strip(".<>()").lower()
    return Guest(email, _name(name)) if people.is_email(email) and "." in email.rpartition("@")[2] else None


def _name(text: str) -> str:
    return " ".join("".join(sign for sign in text if sign.isprintable()).split())[:_NAME_CHARS_MAX]
