"""Server-sent events of an upstream: bytes in, payloads out.

The format is that of the WHATWG HTML standard, section "Interpreting an event stream", with two differences: an event
without data does not count, and a last event that is not closed by an empty line counts if its payload is whole
(`SseReader.end`).
"""

from __future__ import annotations

from typing import Final

import msgspec

EVENT_BYTES_MAX: Final = 8_388_608
_BOM = b"\xef\xbb\xbf"
_DONE = b"[DONE]"
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


class StreamBroken(Exception):
    """The stream cannot be read on; `reason` is a short sentence fit for an attempt record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def is_stream(head: bytes) -> bool:
    """Whether the first bytes of a body are those of an event stream, whatever its content type says."""
    return head.removeprefix(_BOM).lstrip().startswith(_FIELDS)


class SseReader:
    """Reads one event stream, however it is cut into pieces; a line or event above `bytes_max` breaks it."""

    __slots__ = ("_after_cr", "_begun", "_bytes_max", "_data", "_data_bytes", "_line", "_line_bytes")

    def __init__(self, bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._begun = False  # past the place where a byte order mark may stand
        self._after_cr = False  # the last byte ended a line as CR; an LF now belongs to it
        self._line: list[bytes] = []  # pieces of the line that is not complete
        self._line_bytes = 0
        self._data: list[bytes] = []  # data lines of the event that is not complete
        self._data_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that `data` completes: their data lines, joined by LF.

        Raises StreamBroken for a line or an event above the limit.
        """
        if not self._begun:
            data = self._begin(data)
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in data:
            # Not joined until its line ends: a long line in small pieces costs no more than its length.
            self._grow(data)
            return []
        if self._line:
            self._line.append(data)
            data = b"".join(self._line)
            self._line.clear()
            self._line_bytes = 0
        payloads: list[bytes] = []
        if not self._data and data.startswith(b"data: "):
            payloads, data = self._whole_events(data)
        if data:
            self._read_lines(data, payloads)
        return payloads

    def end(self) -> list[bytes]:
        """The last event, if the stream ended without the empty line that closes it.

        The standard drops such an event; but many upstreams end so, and what it carries is often the usage.
        So it is kept if its payload is `[DONE]` or whole JSON, and dropped otherwise: then it was cut.
        """
        self._begun = True
        if self._line:
            line = b"".join(self._line)
            self._line.clear()
            self._line_bytes = 0
            self._read_line(line)
        payload = self._taken()
        return [payload] if payload and _is_whole(payload) else []

    def _taken(self) -> bytes:
        """The payload of the event that is complete now, empty where it has no data."""
        payload = b"\n".join(self._data)
        self._data.clear()
        self._data_bytes = 0
        return payload

    def _begin(self, data: bytes) -> bytes:
        data = b"".join((*self._line, data))
        self._line.clear()
        self._line_bytes = 0
        if len(data) < len(_BOM) and _BOM.startswith(data):
            if data:
                self._grow(data)
            return b""
        self._begun = True
        return data.removeprefix(_BOM)

    def _grow(self, piece: bytes) -> None:
        if piece:
            self._line.append(piece)
            self._line_bytes += len(piece)
            self._check_line(self._line_bytes)

    def _read_lines(self, data: bytes, payloads: list[bytes]) -> None:
        lines = data.split(b"\n")
        self._grow(lines.pop())
        for line in lines:
            if line:
                self._read_line(line)
            elif payload := self._taken():
                payloads.append(payload)

    def _read_line(self, line: bytes) -> None:
        """A line that is not empty: data counts; comments, `event`, `id`, `retry` and unknown fields not."""
        self._check_line(len(line))
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
        elif line == b"data":
            value = b""
        else:
            return
        self._data.append(value)
        self._data_bytes += len(value) + 1
        if self._data_bytes > self._bytes_max:
            raise StreamBroken(f"an event of the stream is longer than {self._bytes_max} bytes")

    def _whole_events(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The payloads at the head of `data`, and the rest, if all up to the last empty line is plain.

        Plain is the usual case: events of one `data: ` line each, nothing between. All else is left alone.
        """
        end = len(data) if data.endswith(b"\n\n") else data.rfind(b"\n\n") + 2
        if end < 8:
            return [], data
        payloads = data[6 : end - 2].split(b"\n\ndata: ")
        if data.count(b"\n", 0, end) != 2 * len(payloads) or b"" in payloads:
            return [], data
        if end > self._bytes_max:
            self._check_line(max(map(len, payloads)) + 6)
        return payloads, data[end:]

    def _check_line(self, length: int) -> None:
        if length > self._bytes_max:
            raise StreamBroken(f"a line of the stream is longer than {self._bytes_max} bytes")


class Named(bytes):
    """The payload of an event that may have a name: the last `event` line of it, empty for none."""

    name = b""


class NamedSseReader(SseReader):
    """The same for a dialect whose events have names: its payloads are `Named`."""

    __slots__ = ("_name",)

    def __init__(self, bytes_max: int = EVENT_BYTES_MAX) -> None:
        super().__init__(bytes_max)
        self._name = b""

    def _read_line(self, line: bytes) -> None:
        if line.startswith(b"event:"):
            self._check_line(len(line))
            self._name = line[6:].removeprefix(b" ")
        else:
            super()._read_line(line)

    def _whole_events(self, data: bytes) -> tuple[list[bytes], bytes]:
        return [], data

    def _taken(self) -> bytes:
        payload = Named(super()._taken())
        payload.name, self._name = self._name, b""  # also of an event without data, which is none
        return payload


def _is_whole(payload: bytes) -> bool:
    if payload.strip() == _DONE:
        return True
    try:
        msgspec.json.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True
