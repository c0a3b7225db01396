"""A WebSocket client: it shakes hands, reads messages strictly, and sends whatever it is told."""

from __future__ import annotations

import base64
import hashlib
import os
import time
import zlib
from collections.abc import Mapping

from .frames import CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, frame, read_frame
from .streaming import Message, Subscriber
from .suite import Trial, expect, expect_equal
from .wire import Connection, Deadline, Failure, Location, Response, brief, request_bytes

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
META = "ws+meta.nchan"
META_MORE = "ws+meta.pushserver"
PIECE = 256


def new_key() -> str:
    return base64.b64encode(os.urandom(16)).decode()


def accept_of(key: str) -> str:
    """What Sec-WebSocket-Accept must be for a key."""
    return base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode()


def handshake_headers(key: str | None = None) -> dict[str, str | None]:
    return {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": new_key() if key is None else key,
        "Sec-WebSocket-Version": "13",
    }


def parse_extensions(response: Response) -> list[tuple[str, dict[str, str | None]]]:
    """The extensions that the server has accepted, with their parameters."""
    found = []
    for item in ",".join(response.all("Sec-WebSocket-Extensions")).split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if not name:
            continue
        said: dict[str, str | None] = {}
        for parameter in parameters:
            key, equals, value = (part.strip() for part in parameter.partition("="))
            expect(key not in said, f"{key} once", item)
            said[key] = value.strip('"') if equals else None
        found.append((name, said))
    return found


class WebSocket(Subscriber):
    """A WebSocket whose handshake has been answered with 101.

    It answers pings unless told otherwise, and never a close frame by itself.
    """

    def __init__(self, trial: Trial, connection: Connection, head: Response) -> None:
        super().__init__(trial, connection, head)
        self.protocol = head.header("Sec-WebSocket-Protocol")
        self.answers_pings = True
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.closed: Frame | None = None
        self.compressed: list[bool] = []  # of each message
        self._parts: list[Frame] = []
        self._inflate: zlib._Decompress | None = None
        self._keeps_context = True
        self._bits = -15
        for name, parameters in parse_extensions(head):
            expect_equal(name, "permessage-deflate", "an extension that was offered,")
            self._bits = -int(parameters.get("server_max_window_bits") or 15)
            self._keeps_context = "server_no_context_takeover" not in parameters
            self._inflate = zlib.decompressobj(self._bits)

    # Sending

    def send(self, *pieces: bytes) -> None:
        """Send bytes, all in one."""
        self.connection.asked = f"a frame {brief(pieces[0], 16)}"
        self.connection.send(b"".join(pieces))

    def send_each_byte(self, data: bytes) -> None:
        for at, byte in enumerate(data):
            self.connection.send(bytes([byte]))
            if at == 0:
                # Else a server that is busy reads them all at once.
                time.sleep(0.02)

    # Reading

    def fill(self, seconds: float) -> bool:
        if self.connection.ended is not None:
            if not self.over:
                how = "" if self.connection.ended == "closed" else f" {self.connection.ended}"
                raise Failure("a close frame", f"the end of the connection{how}")
            return False
        return self.connection.read_some(seconds)

    def pending(self) -> bytes:
        return self.connection.buffer

    def take(self) -> Message | None:
        while (found := read_frame(self.connection.buffer)) is not None:
            frame_, self.connection.buffer = found
            if self.closed is not None:
                raise Failure("nothing behind a close frame", str(frame_))
            if frame_.opcode == CLOSE:
                self.closed, self.over = frame_, True
            elif frame_.opcode == PING:
                self.pings.append(frame_.payload)
                if self.answers_pings:
                    self.connection.send(frame(PONG, frame_.payload))
            elif frame_.opcode == PONG:
                self.pongs.append(frame_.payload)
            elif (message := self._data(frame_)) is not None:
                return message
        return None

    def _data(self, part: Frame) -> Message | None:
        """A data frame; the message that it completes."""
        begins = part.opcode != CONTINUATION
        expect(begins == (not self._parts), "fragments in order", str(part))
        expect(
            not part.compressed or (begins and self._inflate is not None),
            "RSV1 only where it was negotiated, on a message's first frame",
            str(part),
        )
        self._parts.append(part)
        if not part.fin:
            return None
        parts, self._parts = self._parts, []
        payload = b"".join(part.payload for part in parts)
        self.compressed.append(parts[0].compressed)
        if parts[0].compressed:
            payload = self._inflated(payload)
        if parts[0].opcode == TEXT:
            try:
                payload.decode()
            except UnicodeDecodeError as error:
                raise Failure("text to be UTF-8", f"{brief(payload)}: {error.reason}") from None
        return self._message(payload, "text" if parts[0].opcode == TEXT else "binary")

    def _inflated(self, payload: bytes) -> bytes:
        assert self._inflate is not None
        if not self._keeps_context:
            self._inflate = zlib.decompressobj(self._bits)
        # In small pieces, for what is inflated in one has all of it for a window.
        data, pieces = payload + b"\0\0\xff\xff", []
        try:
            while piece := self._inflate.decompress(data, PIECE):
                pieces.append(piece)
                data = self._inflate.unconsumed_tail
            return b"".join(pieces)
        except zlib.error as error:
            raise Failure("a message that inflates", f"{error} of {brief(payload)}") from None

    def _message(self, payload: bytes, kind: str) -> Message:
        if self.protocol not in (META, META_MORE):
            return Message(payload, kind=kind)
        head, blank, body = payload.partition(b"\n\n")
        lines = [line.partition(b": ") for line in head.split(b"\n")]
        expect(
            bool(blank) and all(colon for _, colon, _ in lines),
            f"lines of {self.protocol} and an empty one",
            brief(payload),
        )
        said = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, _, value in lines)
        fields = dict(said)
        return Message(body, fields.get("id"), kind, fields.get("content-type"), said)

    # What checks expect

    def expect_pong(self, payload: bytes = b"", after: str = "a ping") -> None:
        """Check that a pong with this payload comes at once, before any message."""
        end = Deadline(min(self.trial.soon, self.trial.deadline.left()))
        while payload not in self.pongs:
            message = self.take()
            if message is not None:
                raise Failure(f"a pong after {after}", f"the message {brief(message.body)}")
            if payload in self.pongs:
                break
            if self.over:
                raise Failure(f"a pong after {after}", f"a close frame with {self.said()}")
            if not self.fill(end.left()) and end.left() == 0:
                raise Failure(f"a pong {brief(payload)} after {after}", f"{self.pongs or 'none'}")
        self.pongs.clear()

    def expect_alive(self, after: str) -> None:
        """Check that the conversation goes on: a ping is answered."""
        mark = os.urandom(4)
        self.send(frame(PING, mark))
        self.expect_pong(mark, f"{after}, then a ping")

    def expect_end(self, after: str, code: int, seconds: float | None = None) -> None:
        super().expect_end(after, code, seconds)
        self._expect_code(after, code)

    def expect_failed(self, after: str, *codes: int) -> None:
        """Check that the server fails the connection: a close frame with one of these codes,
        then the end of the connection."""
        super().expect_end(after, codes[0])
        self._expect_code(after, *codes)
        self.expect_gone(after)

    def expect_gone(self, after: str) -> None:
        """Check that the server, which has sent a close frame, closes the connection."""
        end = Deadline(min(self.trial.soon, self.trial.deadline.left()))
        while self.connection.ended is None:
            if not self.connection.read_some(end.left()) and end.left() == 0:
                raise Failure(f"the connection closed after {after}", "it stays open")
        self.take()
        expect(not self.connection.buffer, "nothing more", brief(self.connection.buffer))

    def _expect_code(self, after: str, *codes: int) -> None:
        assert self.closed is not None
        if self.closed.code not in codes:
            wanted = " or ".join(str(code) for code in codes)
            raise Failure(f"a close frame with {wanted} after {after}", self.said())

    def said(self) -> str:
        """The code and the reason of the server's close frame."""
        if self.closed is None:
            return "no close frame"
        code = "no code" if self.closed.code is None else str(self.closed.code)
        return code + (f" {brief(self.closed.payload[2:])}" if self.closed.payload[2:] else "")


def shake_hands(
    trial: Trial,
    location: Location,
    channel: str,
    headers: Mapping[str, str | None] | None = None,
    query: str = "",
    behind: bytes = b"",
) -> tuple[Connection, Response]:
    """Ask for a WebSocket; give the connection and the answer, whatever it is.

    headers: beside those of the handshake, or in their place; None is for none.
    behind: sent with the request.
    """
    chosen = {**handshake_headers(), **(headers or {})}
    fields = {name: value for name, value in chosen.items() if value is not None}
    connection = trial.connect(location)
    target = location.target(channel, query)
    connection.asked = f"a handshake at {target if len(target) < 60 else target[:60] + '…'}"
    connection.send(request_bytes("GET", target, location.host, fields) + behind)
    head = connection.read_head()
    if head.status != 101:
        head = connection.read_body(head)
    else:
        expect_equal(
            head.header("Sec-WebSocket-Accept"),
            accept_of(fields.get("Sec-WebSocket-Key", "")),
            "Sec-WebSocket-Accept",
        )
    return connection, head


def open_socket(
    trial: Trial,
    location: Location,
    channel: str,
    headers: Mapping[str, str | None] | None = None,
    query: str = "",
    behind: bytes = b"",
) -> WebSocket:
    """Open a WebSocket. Raises Failure if it is refused."""
    connection, head = shake_hands(trial, location, channel, headers, query, behind)
    if head.status != 101:
        raise Failure("101 to a handshake", f"{head} {brief(head.body) if head.body else ''}")
    return WebSocket(trial, connection, head)
