"""HTTP over raw sockets, for tests where the bytes matter.

A library would hide what these tests are about: where a request is cut, how a connection
ends, what follows what. Each answer is parsed strictly, so every test also checks the
framing, whatever it is about.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import NamedTuple, Self, TypeVar

Address = tuple[str, int] | str  # (host, port), or the path of a Unix socket
Headers = Mapping[str, str] | Iterable[tuple[str, str]]

EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"
DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"\d{4} \d\d:\d\d:\d\d GMT"
)
ESTABLISHED = b"01"

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], timeout: float = 15.0, what: str | Callable[[], str] = ""
) -> T:
    """Ask again and again until the condition is true; return what it returned.

    timeout: seconds, generous, for a loaded machine is slow but not wrong.
    what: what was waited for; a function is asked at the end, when it knows how far it came.
    """
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            said = what() if callable(what) else what
            raise AssertionError(f"not within {timeout} s: {said or condition}")
        time.sleep(0.005)


class Position(NamedTuple):
    """Where a subscriber stands, as the headers that say it."""

    last_modified: str
    etag: str

    @classmethod
    def at(cls, second: int, tag: int = 0) -> Position:
        """The position of a message id."""
        return cls(formatdate(second, usegmt=True), f'"{tag}"')

    @property
    def id(self) -> tuple[int, int]:
        """The message id (second, tag): ids compare as they were given out."""
        return int(parsedate_to_datetime(self.last_modified).timestamp()), int(self.etag.strip('"'))

    @property
    def text(self) -> str:
        """The id as SECOND:TAG."""
        return "{}:{}".format(*self.id)

    @property
    def headers(self) -> dict[str, str]:
        return {"If-Modified-Since": self.last_modified, "If-None-Match": self.etag}


class Response(NamedTuple):
    version: str
    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes
    raw: bytes  # as it came, head and framing included

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The value of a header that may come once at most."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {self.fields}"
        return values[0] if values else None

    def tokens(self, name: str) -> set[str]:
        """The members of a header that is a list, in lower case."""
        return {token.strip().lower() for value in self.all(name) for token in value.split(",")}

    @property
    def position(self) -> Position:
        last_modified, etag = self.header("Last-Modified"), self.header("Etag")
        assert last_modified is not None, f"no Last-Modified: {self.fields}"
        assert etag is not None, f"no Etag: {self.fields}"
        assert DATE.fullmatch(last_modified), last_modified
        return Position(last_modified, etag)

    @property
    def raw_without_date(self) -> bytes:
        return re.sub(rb"\r\nDate: [^\r]*", b"", self.raw, count=1, flags=re.IGNORECASE)


def request_bytes(
    method: str,
    target: str,
    headers: Headers = (),
    body: bytes | None = None,
    version: str = "HTTP/1.1",
    host: str | None = "relay.test",
) -> bytes:
    """A whole request. A body adds its Content-Length unless the headers say how it is framed."""
    items = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in items}
    if host is not None and "host" not in names:
        items.insert(0, ("Host", host))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        items.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in items)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunked(*chunks: bytes, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    """A body in chunks, the last one included."""
    parts = [b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks]
    return b"".join(parts) + b"0" + extension + b"\r\n" + trailer + b"\r\n"


class Connection:
    """One connection to the relay, with what is left of what was read from it."""

    def __init__(
        self,
        address: Address,
        timeout: float = 20.0,
        receive_buffer: int | None = None,
        source: str | None = None,
    ) -> None:
        self.address = address
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if not isinstance(address, str) and ":" in address[0]:
            family = socket.AF_INET6
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.buffer = b""
        try:
            self.socket.settimeout(timeout)
            if family != socket.AF_UNIX:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source is not None:
                self.socket.bind((source, 0))
            self.socket.connect(address)
        except BaseException:
            self.socket.close()
            raise

    # Sending

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_some(self, data: bytes) -> None:
        """Send as much as the other side still wants: it may answer and close on the way."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def send_request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes | None = None,
        version: str = "HTTP/1.1",
        host: str | None = "relay.test",
    ) -> None:
        self.send(request_bytes(method, target, headers, body, version, host))

    def send_in_pieces(self, data: bytes, *cuts: int) -> None:
        """Send with a pause at each cut, until the relay has read what came before it."""
        edges = [0, *cuts, len(data)]
        for start, end in zip(edges, edges[1:], strict=False):
            self.send(data[start:end])
            if end != len(data):
                self.wait_until_read()

    def wait_until_read(self) -> None:
        """Wait until the relay has taken all that was sent out of its socket."""

        def taken() -> bool:
            state = self._peer_state()
            return state is None or state[1] == 0

        wait_until(taken, what="the relay reads")

    def peer_is_open(self) -> bool:
        """Whether the relay's end of the connection is established, as the kernel sees it."""
        state = self._peer_state()
        return state is not None and state[0] == ESTABLISHED

    def _peer_state(self) -> tuple[bytes, int] | None:
        """The state of the relay's end and the bytes that it has not read; None if it is gone."""
        # /proc/net/tcp has a line for each end; on loopback ours and the relay's are both in it.
        assert not isinstance(self.address, str), "TCP only"
        ours, relays = (b"%04X" % a[1] for a in (self.socket.getsockname(), self.address))
        with open("/proc/net/tcp", "rb") as lines:
            found = re.search(rb":%b \w+:%b (\w\w) \w+:(\w+)" % (relays, ours), lines.read())
        return (found[1], int(found[2], 16)) if found else None

    # Reading

    def _more(self) -> bool:
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def _take(self, length: int) -> bytes:
        while len(self.buffer) < length:
            if not self._more():
                raise EOFError(f"closed with {len(self.buffer)} of {length} bytes")
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    def _take_to(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self._more():
                raise EOFError(f"closed before {mark!r}: {self.buffer[:200]!r}")
        return self._take(self.buffer.index(mark) + len(mark))

    def read_response(self, to: str = "GET") -> Response:
        """Read one answer, an interim one included. to: the method, for HEAD has no body."""
        head = self._take_to(b"\r\n\r\n")
        line, *rest = head.decode("latin-1")[:-4].split("\r\n")
        match = re.fullmatch(r"(HTTP/1\.[01]) (\d{3}) ([ -~]*)", line)
        assert match, f"bad status line {line!r}"
        version, status, reason = match[1], int(match[2]), match[3]
        fields = []
        for field in rest:
            found = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*", field)
            assert found, f"bad header {field!r}"
            fields.append((found[1], found[2]))
        response = Response(version, status, reason, fields, b"", head)
        coding, length = response.header("Transfer-Encoding"), response.header("Content-Length")
        assert coding is None or length is None, f"framed twice: {fields}"
        if status < 200 or status in (204, 304):
            # Nothing may follow these, and a length other than 0 makes some clients wait for it.
            assert coding is None, fields
            assert length is None or (status == 304 and length == "0"), fields
            return response
        if to == "HEAD":
            return response
        if coding is not None:
            assert coding == "chunked", coding
            body, raw = self._read_chunks()
        elif length is not None:
            assert length.isdigit(), length
            body = raw = self._take(int(length))
        else:
            assert "close" in response.tokens("Connection") or version == "HTTP/1.0", fields
            body = raw = self.read_to_end()
        return response._replace(body=body, raw=head + raw)

    def _read_chunks(self) -> tuple[bytes, bytes]:
        body, raw = b"", b""
        while True:
            line = self._take_to(b"\r\n")
            size = int(line, 16)
            data = self._take(size + 2)
            assert data.endswith(b"\r\n"), data[-10:]
            body, raw = body + data[:-2], raw + line + data
            if size == 0:
                return body, raw

    def read_final(self, to: str = "GET") -> Response:
        """Read the answer that is not interim."""
        while (response := self.read_response(to)).status < 200:
            pass
        return response

    def read_to_end(self) -> bytes:
        """Read until the relay's FIN. A reset is an error (ConnectionResetError)."""
        while self._more():
            pass
        rest, self.buffer = self.buffer, b""
        return rest

    def widen(self) -> None:
        """Give a connection that was made with a small receive buffer a large one."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)

    def assert_closed(self) -> None:
        """Check that the relay ends the connection, by a FIN, and sends nothing more."""
        assert self.read_to_end() == b""

    def has_answer(self, timeout: float = 0.0) -> bool:
        """Whether something (an end included) can be read, within timeout seconds."""
        # Not select(), which has no room for the descriptors of a test with thousands of them.
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(self.buffer) or bool(poll.poll(timeout * 1000))

    def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes | None = None,
        version: str = "HTTP/1.1",
        host: str | None = "relay.test",
    ) -> Response:
        self.send_request(method, target, headers, body, version, host)
        return self.read_final(method)

    # Ending

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Poll(Connection):
    """A subscriber: a connection whose one request has been sent and may be held."""

    def __init__(
        self,
        address: Address,
        target: str,
        position: Position | None = None,
        headers: Headers = (),
        version: str = "HTTP/1.1",
        receive_buffer: int | None = None,
    ) -> None:
        super().__init__(address, receive_buffer=receive_buffer)
        self.again(target, position, headers, version)

    def again(
        self,
        target: str,
        position: Position | None = None,
        headers: Headers = (),
        version: str = "HTTP/1.1",
    ) -> None:
        """Ask once more on the same connection, as a browser does after each answer."""
        items = list(headers.items() if isinstance(headers, Mapping) else headers)
        if position is not None:
            items += position.headers.items()
        self.send_request("GET", target, items, version=version)

    def response(self) -> Response:
        return self.read_final()
