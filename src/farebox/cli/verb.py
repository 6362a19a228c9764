"""A verb of the CLI that writes: one plain function, carried out here or by the serving process alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from farebox.kit.errors import CommandError


@dataclass(frozen=True, slots=True)
class Verb:
    """`run(tx, *, actor, **args)` in one transaction; arguments and result are JSON-able (dataclasses included)."""

    run: Callable[..., Any]

    def perform(self, args: Mapping[str, Any], *, actor: str) -> Any:
        """Run it in one transaction of this thread and commit; the result as plain JSON values.

        FareboxError if it was refused, also where a rule of the store itself refuses.
        """
        from farebox.kit import db, dbfaults

        parameters = inspect.signature(self.run).parameters
        open_ended = any(found.kind is found.VAR_KEYWORD for found in parameters.values())
        if not open_ended and (unknown := sorted(set(args) - set(parameters))):
            raise CommandError(
                f"The running server does not know the argument {unknown[0]}: it is of another version than this "
                "command. Restart it, then try again."
            )
        try:
            return msgspec.to_builtins(db.write(self.run, actor=actor, **args))
        except dbfaults.errors() as fault:
            if not dbfaults.broken_rule(fault):
                raise
            raise CommandError(f"The store refuses that: {str(fault).splitlines()[0]}.") from fault
