"""The HTTP side of the faulty server: reading requests strictly, and ending connections well.

Strict but for one clause, the one that is broken; see faulty.py.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

MAX_TARGET, MAX_HEADER, MAX_BODY, MAX_UNASKED = 8192, 16384, 1 << 20, 1 << 20
HEADER_TIMEOUT = BODY_TIMEOUT = 1.0
IDLE_TIMEOUT = 2.5
ENDLESS = 1 << 16

REASONS = {
    **{100: "Continue", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content"},
    **{304: "Not Modified", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"},
    **{426: "Upgrade Required"},
    **{405: "Method Not Allowed", 406: "Not Acceptable", 408: "Request Timeout"},
    **{409: "Conflict", 410: "Gone", 413: "Content Too Large", 414: "URI Too Long"},
    **{431: "Request Header Fields Too Large", 500: "Internal Server Error"},
    **{501: "Not Implemented", 505: "HTTP Version Not Supported", 507: "Insufficient Storage"},
}

Broken = Callable[..., bool]


@dataclass
class Request:
    method: str
    target: str
    version: str
    fields: list[tuple[str, str]]
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]

    def header(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    @property
    def chunked(self) -> bool:
        return bool(self.all("transfer-encoding"))

    @property
    def closes(self) -> bool:
        tokens = {t.strip().lower() for value in self.all("connection") for t in value.split(",")}
        return self.version == "1.0" or "close" in tokens


@dataclass
class Answer:
    status: int
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    chunked: bool = False


class Refused(Exception):
    """A request that is answered with a status, and then the connection closed."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Gone(Exception):
    """The client has closed, or was silent for too long."""


class HttpConnection:
    """One connection of a client: requests in, answers out."""

    def __init__(self, sock: socket.socket, broken: Broken) -> None:
        self.socket = sock
        self.broken = broken
        self.buffer = b""

    # Reading

    def more(self, deadline: float) -> bool:
        """Read what comes until then; False at FIN. Raises TimeoutError, OSError."""
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        data = self.socket.recv(1 << 16)
        self.buffer += data
        return bool(data)

    def read_head(self) -> Request:
        """Read a request up to its body. Raises Refused, Gone."""
        idle_end = time.monotonic() + IDLE_TIMEOUT
        while True:
            if self.buffer.startswith(b"\r\n"):
                self.refuse_if(self.broken("empty-lines-before-a-request"))
                self.buffer = self.buffer[2:]
                continue
            if self.buffer:
                break
            self._wait_for_a_request(idle_end)
        end = time.monotonic() + HEADER_TIMEOUT
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > ENDLESS:
                raise Refused(400 if self.broken("header-endless-431") else 431)
            self.refuse_if(self.broken("byte-by-byte"))
            try:
                if not self.more(end):
                    raise Gone
            except TimeoutError:
                if self.broken("slow-header-408"):
                    raise Gone from None
                raise Refused(408) from None
        raw, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return self.parse_head(raw)

    def _wait_for_a_request(self, end: float) -> None:
        try:
            if not self.more(end):
                raise Gone
        except TimeoutError:
            if self.broken("silent-connection-is-closed"):
                raise Refused(408) from None
            raise Gone from None

    def refuse_if(self, condition: bool, status: int = 400) -> None:
        if condition:
            raise Refused(status)

    def refuse(self, clause: str) -> None:
        """Refuse with 400, unless the clause that asks for it is the broken one."""
        self.refuse_if(not self.broken(clause))

    def parse_head(self, raw: bytes) -> Request:
        line, *rest = raw.split(b"\r\n")
        if b"\n" in line:
            self.refuse("lf-ends-request-line-400")
            line, *first = line.split(b"\n")
            rest = first + rest
        parts = line.split(b" ")
        if len(parts) == 3 and b"\0" in parts[1]:
            self.refuse("nul-in-target-400")
            parts[1] = parts[1].replace(b"\0", b"")
        self.refuse_if(len(parts) != 3 or not re.fullmatch(rb"[A-Z]+", parts[0]))
        self.refuse_if(not re.fullmatch(rb"[!-~]+", parts[1]))
        self.refuse_if(not re.fullmatch(rb"HTTP/\d\.\d", parts[2]))
        method, target, version = parts[0].decode(), parts[1].decode(), parts[2][5:].decode()
        if version not in ("1.0", "1.1"):
            self.refuse_if(not self.broken("version-505"), 505)
            version = "1.1"
        if len(target) > (4000 if self.broken("target-of-8000-bytes") else MAX_TARGET):
            raise Refused(400 if self.broken("target-too-long-414") else 414)
        self._check_size(raw, rest)
        request = Request(method, target, version, self.parse_fields(rest))
        self._check_fields(request)
        return request

    def _check_size(self, raw: bytes, lines: list[bytes]) -> None:
        most = 4096 if self.broken("header-as-large-as-allowed") else MAX_HEADER
        if len(raw) > most:
            one = max(len(line) for line in lines) > most
            clause = "header-too-large-431" if one else "headers-too-many-431"
            raise Refused(400 if self.broken(clause) else 431)

    def parse_fields(self, lines: list[bytes]) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = []
        queue = list(lines)
        while queue:
            line = queue.pop(0)
            if b"\n" in line:
                self.refuse("lf-ends-header-400")
                line, *more = line.split(b"\n")
                queue = more + queue
            if line[:1] in (b" ", b"\t"):
                self.refuse("folded-header-400")
                self.refuse_if(not fields)
                fields[-1] = (fields[-1][0], fields[-1][1] + " " + line.decode("latin-1").strip())
                continue
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                self.refuse("no-colon-400")
                continue
            if name != name.rstrip(" \t"):
                of_length = name.strip().lower() == "content-length"
                self.refuse(f"blank-before-colon{'-of-length' if of_length else ''}-400")
                name = name.rstrip(" \t")
            if " " in name or "\t" in name:
                self.refuse("blank-in-name-400")
                name = name.replace(" ", "-")
            self.refuse_if(not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name))
            if "\0" in value:
                self.refuse("nul-in-value-400")
            if "\r" in value:
                kind = {"content-type": "content-type", "x-eventsource-event": "event-name"}
                kind_of = kind.get(name.lower())
                self.refuse(f"{kind_of}-with-cr-400" if kind_of else "cr-in-value-400")
                value = value.replace("\r", " ")
            fields.append((name, value.strip(" \t")))
        return fields

    def _check_fields(self, request: Request) -> None:
        hosts = len(request.all("host"))
        if hosts == 0 and request.version == "1.1":
            self.refuse("host-missing-400")
        if hosts > 1:
            self.refuse("host-doubled-400")
        if len(request.all("content-type")) > 1:
            self.refuse("content-type-doubled-400")
        if request.chunked:
            coding = ", ".join(request.all("transfer-encoding")).lower()
            self.refuse_if(self.broken("chunked-request"), 501)
            if request.all("content-length"):
                self.refuse("length-and-coding-400")
            if request.version == "1.0":
                self.refuse("coding-in-1-0-400")
            if coding != "chunked":
                self.refuse_if(not self.broken("coding-other-than-chunked-501"), 501)
                drop = ("transfer-encoding",)
                request.fields = [f for f in request.fields if f[0].lower() not in drop]

    def length(self, request: Request) -> int:
        """The length of a body that is not chunked. Raises Refused."""
        values = request.all("content-length")
        if not values:
            return 0
        if len(set(values)) > 1:
            self.refuse("lengths-differ-400")
        value = values[0]
        if "," in value:
            self.refuse("lengths-in-a-list-differ-400")
            value = value.split(",")[0]
        if value.startswith("-"):
            self.refuse("length-negative-400")
            return 0
        if value.startswith("+"):
            self.refuse("length-with-plus-400")
            value = value[1:]
        if value.startswith("0x"):
            self.refuse("length-in-hex-400")
            value = str(int(value, 16))
        self.refuse_if(not re.fullmatch(r"[0-9]+", value))
        if int(value) >= 1 << 64:
            self.refuse("length-overflows-400")
            return int(value) % (1 << 64)
        return int(value)

    def read_body(self, request: Request, most: int, clause: str) -> bytes:
        """Read the body, whether it was asked for or not.

        clause: the one that bounds it, where it is not a message in chunks.
        Raises Refused, Gone.
        """
        length = 0 if request.chunked else self.length(request)
        if length > most:
            expects = request.all("expect") and self.broken("expect-100-continue-refused")
            if expects:
                self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            raise Refused(400 if self.broken(clause) else 413)
        end = time.monotonic() + BODY_TIMEOUT
        if (
            request.all("expect")
            and (length or request.chunked)
            and request.version == "1.1"
            and not self.buffer
            and not self.broken("expect-100-continue")
        ):
            self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            return self._chunks(most, end) if request.chunked else self._take(length, end)
        except TimeoutError:
            if self.broken("slow-body-408"):
                raise Gone from None
            raise Refused(408) from None

    def _take(self, length: int, end: float) -> bytes:
        while len(self.buffer) < length:
            if not self.more(end):
                raise Gone
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    def _line(self, end: float, clause: str) -> bytes:
        """A line of the framing of chunks, without its end."""
        while b"\n" not in self.buffer:
            self.refuse_if(len(self.buffer) > ENDLESS)
            if not self.more(end):
                raise Gone
        line, _, self.buffer = self.buffer.partition(b"\n")
        if not line.endswith(b"\r"):
            self.refuse(clause)
        return line.removesuffix(b"\r")

    def _chunks(self, most: int, end: float) -> bytes:
        body = b""
        while True:
            size = self._size(self._line(end, "chunk-size-ended-by-lf-400"))
            if size == 0:
                break
            if len(body) + size > most:
                raise Refused(400 if self.broken("body-chunked-too-large-413") else 413)
            body += self._take(size, end)
            behind = self._line(end, "chunk-ended-by-lf-400")
            if behind:
                self.refuse("chunk-not-ended-400")
        while trailer := self._line(end, "trailer-ended-by-lf-400"):
            self.refuse_if(self.broken("chunk-trailers") and b":" in trailer)
        return body

    def _size(self, line: bytes) -> int:
        text, semicolon, extension = line.partition(b";")
        self.refuse_if(bool(semicolon) and self.broken("chunk-extensions"))
        if b"\r" in extension:
            self.refuse("chunk-extension-with-cr-400")
        if b"\0" in extension:
            self.refuse("chunk-extension-with-nul-400")
        text = text.strip()
        if not text:
            self.refuse("chunk-size-empty-400")
            return 0
        if text.startswith(b"-"):
            self.refuse("chunk-size-negative-400")
            text = text[1:]
        if text.startswith(b"0x"):
            self.refuse("chunk-size-with-0x-400")
            text = text[2:]
        if not re.fullmatch(rb"[0-9A-Fa-f]+", text):
            self.refuse("chunk-size-no-number-400")
            return 0
        if len(text) > 16:
            self.refuse("chunk-size-overflows-400")
        return int(text, 16) % (1 << 64)

    # Writing

    def respond(self, request: Request | None, answer: Answer, closes: bool) -> None:
        """Send an answer. request: what is answered, if it could be read."""
        version = "1.1" if request is None else request.version
        missing = answer.status == 404
        lines = [f"HTTP/1.1 {answer.status} {REASONS[answer.status]}"]
        if not (missing and self.broken("server-on-every-answer")):
            lines.append("Server: faulty")
        if not (missing and self.broken("date-on-every-answer")):
            lines.append(f"Date: {formatdate(usegmt=True)}")
        lines += [f"{name}: {value}" for name, value in answer.fields]
        body = answer.body
        if answer.status in (204, 304):
            body = b""
        elif answer.chunked and version == "1.0":
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            lines.append(f"Content-Length: {len(body)}")
        if closes and not self.broken("connection-close"):
            lines.append("Connection: close")
        head_only = request is not None and request.method == "HEAD"
        if head_only and not self.broken("head-has-no-body"):
            body = b""
        self.socket.settimeout(20.0)
        self.socket.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def end(self) -> None:
        """Close so that no reset overtakes what was sent last."""
        with contextlib.suppress(OSError):
            if self.broken("closing-answer-is-not-lost"):
                return self.socket.close()
            if not self.broken("closing-answer-is-followed-by-fin"):
                self.socket.shutdown(socket.SHUT_WR)
            end = time.monotonic() + 2.0
            while (left := end - time.monotonic()) > 0:
                ready, _, _ = select.select([self.socket], [], [], left)
                if not ready or not self.socket.recv(1 << 16):
                    break
        self.socket.close()
