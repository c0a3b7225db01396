"""Read streams: chunks as they come, and the events in them."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from .client import Connection, Headers, Response
from .daemon import SUB, Daemon, channel_path

EVENTS = {"Accept": "text/event-stream"}


class Event(NamedTuple):
    """What a client dispatches (WHATWG HTML, 9.2.6)."""

    id: str
    type: str
    data: str
    fields: dict[str, str]

    @property
    def position(self) -> tuple[int, int]:
        second, tag = self.id.split(":")
        return int(second), int(tag)


class Stream(Connection):
    """A subscriber whose response goes on."""

    head: Response

    def __init__(
        self,
        daemon: Daemon,
        channel: str | bytes,
        headers: Headers = (),
        prefix: str = SUB,
        query: str = "",
        version: str = "HTTP/1.1",
        receive_buffer: int | None = None,
    ) -> None:
        super().__init__(daemon.address, receive_buffer=receive_buffer)
        daemon.connections.append(self)
        self.send_request("GET", channel_path(prefix, channel) + query, headers, version=version)
        self.text = b""
        self.ended = False

    def read_head(self) -> Response:
        """Read status line and headers; what follows is read piece by piece."""
        raw = self._take_to(b"\r\n\r\n")
        line, *rest = raw.decode("latin-1")[:-4].split("\r\n")
        version, status, reason = line.split(" ", 2)
        fields = [(name, value.strip()) for name, value in (f.split(":", 1) for f in rest)]
        self.head = Response(version, int(status), reason, fields, b"", raw)
        return self.head

    def read_chunk(self) -> bytes:
        """One chunk; empty at the end of the response."""
        size = int(self._take_to(b"\r\n"), 16)
        data = self._take(size + 2)
        assert data.endswith(b"\r\n"), data[-20:]
        self.ended = size == 0
        self.text += data[:-2]
        return data[:-2]

    def read_until(self, mark: bytes) -> bytes:
        """Take what the body holds up to a mark."""
        while mark not in self.text:
            if not self.read_chunk():
                raise EOFError(f"ended before {mark!r}: {self.text[-300:]!r}")
        end = self.text.index(mark) + len(mark)
        taken, self.text = self.text[:end], self.text[end:]
        return taken

    def read_event(self) -> Event:
        """The next event of an event stream; comments and fields alone are passed over."""
        while True:
            fields: dict[str, str] = {}
            data: list[str] = []
            for line in self.read_until(b"\n\n").decode().split("\n")[:-2]:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "data":
                    data.append(value)
                elif name:
                    fields[name] = value
            if data:
                return Event(
                    fields.get("id", ""), fields.get("event", "message"), "\n".join(data), fields
                )

    def read_events(self, count: int) -> list[Event]:
        return [self.read_event() for _ in range(count)]

    def read_rest(self) -> bytes:
        """The body up to its last chunk."""
        with contextlib.suppress(EOFError):
            while self.read_chunk():
                pass
        assert self.ended, "the connection ended before the response did"
        return self.text


def events(
    daemon: Daemon,
    channel: str | bytes,
    headers: Headers = (),
    prefix: str = SUB,
    query: str = "",
) -> Stream:
    """An event stream whose head has come, so that it is held."""
    items = [*EVENTS.items(), *dict(headers).items()]
    stream = Stream(daemon, channel, items, prefix, query)
    head = stream.read_head()
    assert head.status == 200, head
    assert head.header("Content-Type") == "text/event-stream", head
    return stream
