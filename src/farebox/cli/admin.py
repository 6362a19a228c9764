"""The admin socket: write verbs of the CLI, carried out by the serving process (promises 1.7).

A Unix socket of mode 0600 in the data folder. Each line is a JSON object `{"verb": …, "args": {…}, "actor": …}`,
answered by one line `{"ok": result}` or `{"error": {"message", "code", "status"}}`, in order. The actor that is
recorded is the user whom the kernel names for the other end of the socket; the one in the line counts only where the
kernel names none.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import pwd
import socket
import stat
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from farebox.care import ready
from farebox.kit import options, whoami
from farebox.kit.errors import CommandError, FareboxError, InternalError
from farebox.kit.lock import FolderLock
from farebox.kit.threads import Threads
from farebox.look import refusals

from .verb import Verb

log = structlog.get_logger(__name__)

LINE_BYTES_MAX = 16 * 1024 * 1024
CONNECT_S = 2
ANSWER_S = 600
LOCK_S = 10
_ADDRESS_BYTES_MAX = 100
_STOP_S = 2
Registry = Mapping[str, Verb | Callable[..., Awaitable[Any]]]


class Admin:
    """The socket while it listens; end it with `await stop()`."""

    def __init__(self, path: Path, registry: Registry) -> None:
        self._path = path
        self._registry = registry
        self._worker = Threads(1, name="admin")
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self._own: tuple[int, int, int] | None = None

    async def listen(self) -> None:
        """Take the place of a socket that a dead process left, and listen; CommandError where somebody listens."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise CommandError(f"{self._path} is not a socket. Move it away, then start again.")
            if _answers(self._path):
                raise CommandError(
                    f"Another Farebox server listens on {self._path}. Stop it first, or give this one a data folder of "
                    "its own (data_dir), with the same key files."
                )
            self._path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with _address(self._path) as address:
                listener.bind(address)
        finally:
            os.umask(before)
        self._own = _inode(self._path)
        self._server = await asyncio.start_unix_server(self._talk, sock=listener, limit=LINE_BYTES_MAX)

    async def stop(self) -> None:
        """Stop listening, let the verb under way finish, remove the socket; twice is once."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        last = asyncio.get_running_loop().run_in_executor(self._worker, int)  # after the verb under way
        await asyncio.wait([last], timeout=_STOP_S)
        self._worker.shutdown(wait=False, cancel_futures=True)
        for talk in list(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        if self._own is not None and _inode(self._path) == self._own:  # another's socket may lie there by now
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._talks.add(task)
            task.add_done_callback(self._talks.discard)
        actor = _peer(writer.get_extra_info("socket"))
        with contextlib.suppress(ConnectionError, ValueError, asyncio.CancelledError):  # ValueError: too long a line
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line, actor)) + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes, actor: str | None) -> dict[str, Any]:
        name = ""
        try:
            asked = msgspec.json.decode(line)
            name, args, said = (
                str(asked["verb"]),
                dict(asked.get("args") or {}),
                str(asked.get("actor") or "cli:unknown"),
            )
            return {"ok": await self._perform(name, args, actor=actor or said)}
        except FareboxError as refusal:
            said = refusals.of(refusal, "cli")
            return {"error": {"message": said, "code": refusal.code, "status": refusal.status}}
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as fault:
            if name:
                return self._broken(name, fault)
            return {
                "error": {
                    "message": "That line is not a verb that the admin socket takes.",
                    "code": None,
                    "status": 400,
                }
            }
        except Exception as fault:
            return self._broken(name, fault)

    async def _perform(self, name: str, args: dict[str, Any], *, actor: str) -> Any:
        verb = self._registry.get(name)
        if verb is None:
            raise CommandError(
                f"The running server does not know {name}: it is of another version than this command. Restart it, "
                "then try again."
            )
        if inspect.iscoroutinefunction(verb):
            return msgspec.to_builtins(await verb(actor=actor, **args))
        if not isinstance(verb, Verb):
            raise TypeError(f"{name} is neither a Verb nor a coroutine function")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, lambda: _in_thread(verb, args, actor))

    def _broken(self, name: str, fault: BaseException) -> dict[str, Any]:
        log.error("admin.broken", verb=name, exc_info=fault)
        bug = InternalError(
            f"The server met a mistake of its own in {name}; its log says more ({type(fault).__name__})."
        )
        return {"error": {"message": bug.message, "code": bug.code, "status": bug.status}}


async def start(path: Path, registry: Registry) -> Admin:
    """Listen on `path` for the verbs of `registry`; a coroutine function runs in this loop as `fn(actor=, **args)`.

    The caller holds the folder's lock. CommandError if something else than a socket is there.
    """
    admin = Admin(path, registry)
    await admin.listen()
    return admin


def carry_out(name: str, args: Mapping[str, Any]) -> Any:
    """Carry out a write verb: by the serving process of this data folder if one answers, else here.

    On SQLite the folder's lock is held meanwhile, so that no server starts. FareboxError as the verb raises it.
    """
    chosen = options.current()
    lock = FolderLock(chosen.data)
    deadline_s = time.monotonic() + LOCK_S
    while True:
        answered, result = ask_server(chosen.admin_socket, name, args)
        if answered:
            return result
        ready.store()
        if not chosen.on_sqlite:
            return _here(name, args)
        if lock.try_take():
            break
        if time.monotonic() > deadline_s:
            lock.take()  # says who has it
            break
        time.sleep(0.1)  # a server that starts holds the lock and will answer soon
    with lock:
        return _here(name, args)


def ask_server(path: Path, name: str, args: Mapping[str, Any]) -> tuple[bool, Any]:
    """(True, result) if a server answers on the socket, (False, None) if none does; CommandError as it refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(CONNECT_S)
        try:
            with _address(path) as address:
                line.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return False, None
        except OSError as fault:
            raise CommandError(
                f"The admin socket {path} can't be used: {fault.strerror}. Run this as the user who runs the server."
            ) from None
        line.settimeout(ANSWER_S)
        try:
            line.sendall(msgspec.json.encode({"verb": name, "args": args, "actor": whoami.actor()}) + b"\n")
            answer = line.makefile("rb").readline()
        except OSError:
            answer = b""
    if not answer:
        raise CommandError("The server ended before it answered. Look whether the change was made, then try again.")
    found = msgspec.json.decode(answer)
    if "error" in found:
        error = found["error"]
        raise CommandError(error["message"], code=error["code"], status=error["status"])
    return True, found["ok"]


def _answers(path: Path) -> bool:
    """Whether a process listens on this socket; one that is too busy to take a connection does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(CONNECT_S)
        try:
            with _address(path) as address:
                line.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True


def _inode(path: Path) -> tuple[int, int, int] | None:
    """Which file is at `path`; the time beside it, for the kernel gives a number again once it is free."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _here(name: str, args: Mapping[str, Any]) -> Any:
    from .verbs import VERBS

    return VERBS[name].perform(args, actor=whoami.actor())


def _in_thread(verb: Verb, args: Mapping[str, Any], who: str) -> Any:
    from django.db import connection

    try:
        return verb.perform(args, actor=who)
    finally:
        connection.close()


def _peer(line: socket.socket | None) -> str | None:
    """The user at the other end, where the kernel says so."""
    if line is None or not hasattr(socket, "SO_PEERCRED"):
        return None
    _pid, uid, _gid = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        return f"cli:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"cli:uid {uid}"


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """An address of `path` that fits: the kernel takes no more than 108 bytes."""
    if len(os.fsencode(path)) <= _ADDRESS_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
