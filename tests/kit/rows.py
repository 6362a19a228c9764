"""Rows of a table as one test, where a row costs less than a test of its own does."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def for_each(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Like `pytest.mark.parametrize`, with one set of fixtures for all rows; every row that fails is named."""
    wanted = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    table = list(rows)

    def wrap(test: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any, **fixtures: Any) -> None:
            failed = []
            for row in table:
                values = dict(zip(wanted, row if len(wanted) > 1 else (row,), strict=True))
                try:
                    test(*args, **fixtures, **values)
                except Exception as fault:
                    fault.add_note(f"in the row {str(values)[:300]}")
                    failed.append(fault)
            if len(failed) == 1:
                raise failed[0]
            if failed:
                raise ExceptionGroup(f"{len(failed)} of {len(table)} rows", failed)

        functools.update_wrapper(run, test)
        of = inspect.signature(test)
        run.__signature__ = of.replace(parameters=[of.parameters[name] for name in of.parameters if name not in wanted])
        return run

    return wrap
