"""A TCP proxy that misbehaves when it is told to: it stands on one link, and a test sets its fault.

Faults that count bytes count those of the answer, from the moment that the fault was set, on each connection.
With a certificate it takes TLS from whoever connects, and talks plainly to what is behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

FAULTS = {
    "latency": "each piece comes later",
    "rate": "a few bytes at a time",
    "cut": "after some bytes of the answer both sides are closed",
    "reset": "after some bytes of the answer both sides are reset",
    "refuse": "connections are lost and refused",
    "half-open": "connections are lost, new ones are taken and nothing follows",
    "blackhole": "after some bytes of the answer nothing is passed on any more, and nothing closed",
    "split": "each byte by itself",
    "no-close": "after some bytes of the answer the connection ends without TLS's own end",
}
_LATENCY_S = 0.03
_RATE_BYTES = 512
_RATE_S = 0.01
_COUNTING = {"cut", "reset", "blackhole", "no-close"}


class _Ended(Exception):
    """The fault ends this connection."""


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, near: Any, far: Any) -> None:
        self.proxy = proxy
        self.writers = (near, far)
        self.left_bytes = proxy.after_bytes

    def close(self, *, hard: bool = False) -> None:
        """Close both sides; `hard` with a reset."""
        for writer in self.writers:
            transport = writer.transport
            raw = transport.get_extra_info("socket")
            if hard and raw is not None:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()  # under TLS this is an end without its own

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        while data := await reader.read(65_536):
            await self._pass(data, writer, back=back)
        if not isinstance(writer.transport.get_extra_info("ssl_object"), ssl.SSLObject):
            writer.write_eof()
        else:
            writer.close()

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, *, back: bool) -> None:
        fault = self.proxy.fault
        if fault in _COUNTING:
            await self._count(fault, data, writer, back=back)
        elif fault == "latency":
            await asyncio.sleep(_LATENCY_S)
            writer.write(data)
        elif fault in {"rate", "split"}:
            size = 1 if fault == "split" else _RATE_BYTES
            for at in range(0, len(data), size):
                writer.write(data[at : at + size])
                await writer.drain()
                await asyncio.sleep(0 if fault == "split" else _RATE_S)
        else:
            writer.write(data)
        await writer.drain()

    async def _count(self, fault: str, data: bytes, writer: asyncio.StreamWriter, *, back: bool) -> None:
        if fault == "blackhole" and not self.left_bytes:
            await self.proxy.lifted.wait()
            raise _Ended
        if not back:
            writer.write(data)
            return
        writer.write(data[: self.left_bytes])
        self.left_bytes -= min(self.left_bytes, len(data))
        if self.left_bytes:
            return
        await writer.drain()
        await asyncio.sleep(0.02)  # what was passed on shall be read before a reset takes it away
        if fault == "blackhole":
            self.proxy.reached.set()
            await self.proxy.lifted.wait()
        raise _Ended


class Proxy:
    """A proxy in front of `port` on 127.0.0.1; `self.port` is its own. To be used within one event loop."""

    def __init__(self, port: int, *, certificate: Path | None = None, listen: int = 0) -> None:
        self.behind = port
        self.port = listen
        self.fault = ""
        self.after_bytes = 0
        self.lifted = asyncio.Event()
        self.reached = asyncio.Event()
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def set(self, fault: str, after_bytes: int = 0) -> None:
        """Misbehave from now on, on the connections that there are as well."""
        assert fault in FAULTS
        self.lifted.clear()
        self.reached.clear()
        self.fault, self.after_bytes = fault, after_bytes
        for line in list(self._lines):
            line.left_bytes = after_bytes
            if fault in {"refuse", "half-open"}:
                line.close(hard=True)
        if fault == "refuse":
            await self._shut()

    async def clear(self) -> None:
        """Behave again. Connections that hang are lost."""
        fault, self.fault = self.fault, ""
        self.lifted.set()
        if fault == "refuse":
            await self.start()

    async def stop(self) -> None:
        self.lifted.set()
        await self._shut()
        await asyncio.sleep(0.05)  # what was taken a moment ago becomes a task, to be ended with the others
        for line in list(self._lines):
            line.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # what was aborted is closed by the loop, which may end with us

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        line = None
        try:
            if self.fault == "half-open":
                await self.lifted.wait()
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.behind)
            line = _Line(self, writer, far_writer)
            self._lines.add(line)
            async with asyncio.TaskGroup() as group:
                group.create_task(line.pump(reader, far_writer, back=False))
                group.create_task(line.pump(far_reader, writer, back=True))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            if line is not None:
                line.close(hard=self.fault == "reset")
        finally:
            self._tasks.discard(task)
            if line is not None:
                self._lines.discard(line)
                line.close()
            writer.transport.abort()


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1, signed by itself, in one file."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "proxy.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path
