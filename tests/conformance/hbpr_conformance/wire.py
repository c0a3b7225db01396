"""HTTP by raw sockets, against servers that may hang, reset or answer nonsense.

Everything here ends: each operation is bounded by the deadline of the check it works for, and
what is read is bounded too. Whatever a server does wrong is a Failure with what was expected
and what was got, never another exception.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import NamedTuple, Self
from urllib.parse import urlsplit

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

MOST_BYTES = 8 << 20  # of one answer; more is no answer to anything that is asked here
IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"\d{4} \d\d:\d\d:\d\d GMT"
)


class Failure(Exception):
    """A clause that does not hold."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


class Deadline:
    """The end of a check's time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        return max(0.0, self.end - time.monotonic())


def brief(data: bytes | str, length: int = 60) -> str:
    """Bytes for a line of output."""
    text = repr(data[:length]).removeprefix("b")
    return text + (f"… ({len(data)} bytes)" if len(data) > length else "")


class Position(NamedTuple):
    """Where a subscriber stands, as the server said it."""

    last_modified: str
    etag: str

    @property
    def headers(self) -> dict[str, str]:
        return {"If-Modified-Since": self.last_modified, "If-None-Match": self.etag}

    @property
    def second(self) -> int:
        return int(parsedate_to_datetime(self.last_modified).timestamp())

    @property
    def tag(self) -> str:
        """The tag without what HTTP puts around it."""
        return self.etag.removeprefix("W/").strip('"')

    @property
    def text(self) -> str:
        return f"{self.second}:{self.tag}"

    @property
    def order(self) -> tuple[int, int]:
        """For comparing: ids compare as they were given out."""
        if not self.tag.isdigit():
            raise Failure("an Etag that is a number", self.etag)
        return self.second, int(self.tag)


class Response(NamedTuple):
    status: int
    reason: str
    version: str
    fields: list[tuple[str, str]]
    body: bytes
    raw: bytes  # as it came, head and framing included

    def __str__(self) -> str:
        return f"{self.status} {self.reason}".rstrip()

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The value of a header that may come once at most."""
        values = self.all(name)
        if len(values) > 1:
            raise Failure(f"{name} once at most", f"{len(values)} of them")
        return values[0] if values else None

    def tokens(self, name: str) -> set[str]:
        """The members of a header that is a list, in lower case."""
        found = {token.strip().lower() for value in self.all(name) for token in value.split(",")}
        return found - {""}

    @property
    def position(self) -> Position:
        last_modified, etag = self.header("Last-Modified"), self.header("Etag")
        if last_modified is None or etag is None:
            missing = "Last-Modified" if last_modified is None else "Etag"
            raise Failure("Last-Modified and Etag", f"{self} without {missing}")
        if not IMF_FIXDATE.fullmatch(last_modified):
            raise Failure("a Last-Modified as RFC 9110 has dates", brief(last_modified))
        return Position(last_modified, etag)

    @property
    def raw_without_date(self) -> bytes:
        return re.sub(rb"\r\nDate:[^\r]*", b"", self.raw, count=1, flags=re.IGNORECASE)


class Location:
    """A URL with a place for the channel id."""

    def __init__(self, url: str) -> None:
        """url: http://HOST[:PORT]/PATH, with {id} for the id or else with the id behind it.

        Raises ValueError for anything else.
        """
        if "{id}" not in url:
            url += "{id}"
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.fragment:
            raise ValueError(f"not an http:// URL: {url}")
        self.url = url
        self.address = (parts.hostname, parts.port or 80)
        self.host = parts.netloc.rpartition("@")[2]
        self.template = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def target(self, channel: str, query: str = "") -> str:
        """The request target. channel: as it stands in a URL, that is, percent-encoded."""
        target = self.template.replace("{id}", channel)
        if query:
            target += ("&" if "?" in target else "?") + query
        return target


def request_bytes(
    method: str,
    target: str,
    host: str | None,
    headers: Headers = (),
    body: bytes | None = None,
    version: str = "HTTP/1.1",
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
    """One connection, with what is left of what was read from it."""

    def __init__(self, address: tuple[str, int], deadline: Deadline) -> None:
        self.deadline = deadline
        self.asked = "a request"  # the last request, for what is said of it
        self.buffer = b""
        self.ended: str | None = None  # how, when it has
        self.refused: str | None = None  # how, when something could not be sent
        try:
            self.socket = socket.create_connection(address, max(0.001, deadline.left()))
        except OSError as error:
            raise Failure("a connection", _said(error)) from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # Sending

    def send(self, data: bytes) -> None:
        """Send as much as the server wants: it may answer and close on the way."""
        self.socket.settimeout(max(0.001, self.deadline.left()))
        try:
            self.socket.sendall(data)
        except OSError as error:
            self.refused = _said(error)

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection by RST."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.socket.close()

    # Reading

    def readable(self, seconds: float = 0.0) -> bool:
        """Whether something, an end included, can be read within so many seconds."""
        if self.buffer or self.ended is not None:
            return True
        seconds = min(seconds, self.deadline.left())
        return bool(select.select([self.socket], [], [], seconds)[0])

    def read_some(self, seconds: float) -> bool:
        """Read what comes within so many seconds, the end included; False if nothing does."""
        if self.ended is not None:
            return False
        seconds = min(seconds, self.deadline.left())
        if not select.select([self.socket], [], [], seconds)[0]:
            return False
        self._more()
        return True

    def _more(self) -> bool:
        """Read what there is, waiting for it; False when the connection has ended."""
        if self.ended is not None:
            return False
        self.socket.settimeout(max(0.001, self.deadline.left()))
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            raise Failure(
                f"an answer to {self.asked}",
                f"nothing more within {self.deadline.seconds:g} s"
                + (f" after {brief(self.buffer)}" if self.buffer else ""),
            ) from None
        except OSError as error:
            self.ended = _said(error)
            return False
        if not data:
            self.ended = "closed"
            return False
        self.buffer += data
        if len(self.buffer) > MOST_BYTES:
            raise Failure(f"an answer to {self.asked}", f"more than {MOST_BYTES} bytes")
        return True

    def _missing(self) -> Failure:
        behind = f" behind {brief(self.buffer)}" if self.buffer else ""
        return Failure(f"an answer to {self.asked}", f"the connection {self.ended}{behind}")

    def _take(self, length: int) -> bytes:
        if length > MOST_BYTES:
            raise Failure(f"an answer to {self.asked}", f"a length of {length}")
        while len(self.buffer) < length:
            if not self._more():
                raise self._missing()
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    def _take_to(self, mark: bytes) -> bytes:
        start = 0
        while (found := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark))
            if start > 1 << 18:
                raise Failure(f"an HTTP answer to {self.asked}", f"endless {brief(self.buffer)}")
            if not self._more():
                raise self._missing()
        return self._take(found + len(mark))

    def read_head(self) -> Response:
        """Read the head of an answer, an interim one included, and leave its body."""
        head = self._take_to(b"\r\n\r\n")
        line, *rest = head.decode("latin-1")[:-4].split("\r\n")
        match = re.fullmatch(r"(HTTP/1\.[01]) (\d{3})(?: ([^\r\n\0]*))?", line)
        if not match:
            raise Failure(f"an HTTP answer to {self.asked}", brief(line))
        fields = []
        for field in rest:
            found = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*", field)
            if not found:
                raise Failure(f"headers in the answer to {self.asked}", brief(field))
            fields.append((found[1], found[2]))
        return Response(int(match[2]), match[3] or "", match[1], fields, b"", head)

    def read_response(self, to: str = "GET") -> Response:
        """Read one answer, an interim one included. to: the method, for HEAD has no body."""
        response = self.read_head()
        return response if to == "HEAD" else self.read_body(response)

    def read_body(self, response: Response) -> Response:
        """Read the body of an answer whose head has been read."""
        if response.status < 200 or response.status in (204, 304):
            return response
        coding, length = response.header("Transfer-Encoding"), response.header("Content-Length")
        if coding is not None and length is not None:
            raise Failure("one framing of an answer", "Transfer-Encoding and Content-Length")
        if coding is not None:
            if coding.lower() != "chunked":
                raise Failure("an answer's coding to be chunked", brief(coding))
            body, raw = self._read_chunks()
        elif length is not None:
            if not re.fullmatch(r"\d{1,15}", length):
                raise Failure("a Content-Length", brief(length))
            body = raw = self._take(int(length))
        else:
            body = raw = self.read_to_end()
        return response._replace(body=body, raw=response.raw + raw)

    def _read_chunks(self) -> tuple[bytes, bytes]:
        body, raw = b"", b""
        while True:
            line = self._take_to(b"\r\n")
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}[ \t]*(;[^\r\n]*)?\r\n", line):
                raise Failure("a chunk's size", brief(line))
            size = int(line.split(b";")[0], 16)
            data = self._take(size + 2)
            if not data.endswith(b"\r\n"):
                raise Failure("a chunk to end with CRLF", brief(data[-10:]))
            body, raw = body + data[:-2], raw + line + data
            if size == 0:
                return body, raw

    def read_final(self, to: str = "GET") -> Response:
        """Read the answer that is not interim. A switch of protocols is none."""
        while (response := self.read_response(to)).status < 200 and response.status != 101:
            pass
        return response

    def read_to_end(self) -> bytes:
        """Read all that comes until the end, whether that is FIN or RST."""
        while self._more():
            pass
        rest, self.buffer = self.buffer, b""
        return rest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _said(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return {
        "ConnectionResetError": "reset",
        "ConnectionRefusedError": "refused",
        "BrokenPipeError": "closed",
    }.get(type(error).__name__, str(error))


def imf_fixdate(second: int) -> str:
    return formatdate(second, usegmt=True)
