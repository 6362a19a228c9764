"""Carries out steps of client programs, one JSON line in and one out, so that an SDK is loaded once and not per step.

In:  {"step": "module.function", "environ": {...}, "given": {...}}
Out: {"shown": what the function returned} or {"raised": facts of the exception, "seen": what came before it}
"""

import asyncio
import importlib
import inspect
import json
import os
import sys
import time
import traceback

import seen


def facts(fault):
    """What a program that catches this exception can see of it."""
    body = getattr(fault, "body", None)
    return {
        "class": type(fault).__name__,
        "classes": [kind.__name__ for kind in type(fault).__mro__],
        "words": str(fault),
        "message": getattr(fault, "message", None),
        "status": getattr(fault, "status_code", None),
        "code": getattr(fault, "code", None),
        "type": getattr(fault, "type", None),
        "param": getattr(fault, "param", None),
        "request_id": getattr(fault, "request_id", None),
        "body": body if isinstance(body, (dict, str)) else None,
        "trace": "".join(traceback.format_exception(fault)),
    }


LOOP = asyncio.new_event_loop()  # one for all steps: LangChain keeps its connections from one to the next


def carry_out(order):
    os.environ.update(order["environ"])
    module, _, name = order["step"].partition(".")
    step = getattr(importlib.import_module(module), name)
    seen.clear()
    began = time.monotonic()
    try:
        shown = step(**order["given"])
        if inspect.iscoroutine(shown):
            shown = LOOP.run_until_complete(shown)
        answer = {"shown": shown}
    except Exception as fault:
        answer = {"raised": {**facts(fault), "seconds": time.monotonic() - began, "seen": list(seen.PIECES)}}
    return json.dumps(answer)


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a client prints is no answer of ours
    for line in sys.stdin:
        out.write(carry_out(json.loads(line)) + "\n")
        out.flush()


main()
