"""How the faulty server writes its streams over HTTP; see faulty.py."""

from __future__ import annotations

import re
import secrets
import time
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from faulty_store import Channel, Message

if TYPE_CHECKING:
    from faulty_streaming import Streaming

FOREVER = 1e12


def said_channel(channel: Channel) -> str:
    """A channel's id as it is said: percent-encoded."""
    return quote_from_bytes(channel.id, safe="")


class Form:
    """How one kind of streams is written, over HTTP."""

    def __init__(self, streaming: Streaming) -> None:
        self.streaming = streaming
        self.broken = streaming.broken
        self.location = streaming.location
        self.request = streaming.subscribing.request
        self.socket = streaming.http.socket
        self.kind = streaming.kind
        self.over = False
        self.heard_at = time.monotonic()
        in_1_0 = self.request.version == "1.0"
        clause = "without-chunks-in-1-0" if in_1_0 else "in-chunks"
        self.chunked = in_1_0 == self.broken(f"{self.kind}-{clause}")

    # What a kind fills in

    def fields(self) -> list[tuple[str, str]]:
        raise NotImplementedError

    def opening(self) -> bytes:
        return b""

    def message(self, channel: Channel, message: Message, body: bytes, gap: bool) -> None:
        raise NotImplementedError

    def ping(self) -> None:
        """Say that the stream is alive."""

    def closing(self) -> bytes:
        return b""

    # What all have

    def deadline(self) -> float:
        return FOREVER

    def head(self) -> None:
        fields = self.fields()
        if not self.broken(f"{self.kind}-cors"):
            fields += self.streaming.subscribing.cors(200)
        if self.chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        else:
            fields.append(("Connection", "close"))
        lines = ["HTTP/1.1 200 OK", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in fields]
        self.socket.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        self.write(self.opening())

    def write(self, data: bytes) -> None:
        if not data:
            return
        if self.chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.socket.sendall(data)

    def end(self, outcome: int) -> None:
        """End the stream as it should. outcome: the status of a poll that ends for this."""
        self.write(self.closing())
        if self.chunked:
            self.socket.sendall(b"0\r\n\r\n")
            goes_on = not self.broken(f"{self.kind}-connection-goes-on")
            self.streaming.subscribing.conversation.goes_on = goes_on
        self.over = True

    def take_from_client(self, data: bytes) -> None:
        self.streaming.http.buffer += data

    def says_channel(self) -> bool:
        several = len(self.streaming.channels) > 1
        return several or self.location.say_channel


class Events(Form):
    """Event streams."""

    def fields(self) -> list[tuple[str, str]]:
        kind = "text/event-stream; charset=utf-8"
        if self.broken("sse-content-type"):
            kind = "text/event-stream; charset=latin-1"
        said = ["no-cache", "no-transform"]
        if self.broken("sse-is-not-cached"):
            said.remove("no-cache")
        if self.broken("sse-is-not-transformed"):
            said.remove("no-transform")
        fields = [("Content-Type", kind), ("Cache-Control", ", ".join(said))]
        if not self.broken("sse-is-not-buffered"):
            fields.append(("X-Accel-Buffering", "no"))
        return fields

    def opening(self) -> bytes:
        if self.location.retry is None:
            return b": \n"
        retry = self.location.retry * (1 if self.broken("sse-retry-of-location") else 1000)
        return b": \nretry: %d\n\n" % retry

    def lines(self, body: bytes) -> list[bytes]:
        """The lines of a message: CR, LF and CRLF each end one."""
        end = rb"\r\n|\r|\n"
        ends = {
            "sse-lf-splits": rb"\r\n|\r",
            "sse-cr-splits": rb"\r\n|\n",
            "sse-crlf-splits": rb"\r|\n",
            "sse-mixed-line-ends": rb"(?:\r\n|\r|\n)+",
        }
        for clause, pattern in ends.items():
            if self.broken(clause):
                end = pattern
        if self.broken("sse-nothing-is-forged") and b"forged" in body:
            end = rb"\r\n|\n"
        lines = re.split(end, body)
        if lines[-1] == b"" and len(lines) > 1:
            by_cr = body.endswith(b"\r")
            if self.broken("sse-empty-last-line-by-cr" if by_cr else "sse-empty-last-line"):
                lines.pop()
        while len(lines) > 1 and lines[0] == b"" and self.broken("sse-empty-first-line"):
            lines.pop(0)
        if not any(lines) and self.broken("sse-only-line-ends"):
            lines = lines[:1]
        return lines

    def message(self, channel: Channel, message: Message, body: bytes, gap: bool) -> None:
        if gap and self.location.gap_event and not self.broken("gap-of-an-event-stream"):
            self.gap(message)
        if gap and not self.location.gap_event and self.broken("gap-event-may-be-off"):
            self.gap(message)
        name = message.event
        if self.broken("sse-event-of-its-message-alone"):
            name = name or next((m.event for m in channel.messages if m.event), None)
        if name is None or self.broken("sse-event-of-location"):
            name = self.location.event or name
        second, tag = message.id
        if self.broken("sse-goes-on-from-its-ids"):
            second -= 1
        lines = [] if name is None else [f"event: {name}".encode()]
        if not self.broken("sse-id-of-each-message"):
            lines.append(b"id: %d:%d" % (second, tag))
        say = self.location.say_channel and not self.broken("say-channel-in-events")
        if say or self.broken("say-channel-is-off"):
            lines.append(f"channel: {said_channel(channel)}".encode())
        prefix = b"data:" if self.broken("sse-blanks-are-kept") else b"data: "
        for line in self.lines(body):
            looks = line.startswith((b"id:", b":")) and self.broken("sse-looks-like-fields")
            lines.append(line if looks else prefix + line)
        data = b"\n".join(lines) + b"\n\n"
        if self.broken("sse-utf-8"):
            data = data.decode("latin-1").encode()
        self.write(data)

    def gap(self, message: Message) -> None:
        second, tag = message.id
        position = b"%d:%d" % ((second, tag - 1) if tag else (second - 1, 1 << 40))
        lost = b"9999" if self.broken("gap-of-an-event-stream") else b""
        named = b"" if self.broken("gap-event-has-an-id") else b"id: %s\n" % position
        self.write(b"event: gap\n%sdata: %s\n\n" % (named, lost))

    def ping(self) -> None:
        text = self.location.ping_message or ""
        if text and self.broken("sse-ping-message"):
            text = ""
        if self.broken("sse-pings-are-comments"):
            return
        self.write(f": {text}\n".encode())


class Plain(Form):
    """HTTP streams."""

    def fields(self) -> list[tuple[str, str]]:
        kind = "application/octet-stream"
        if self.broken("stream-content-type"):
            kind = "text/plain"
        if self.location.content_type and not self.broken("stream-content-type-of-location"):
            kind = self.location.content_type
        return [("Content-Type", kind)]

    def message(self, channel: Channel, message: Message, body: bytes, gap: bool) -> None:
        separator = self.location.separator
        if self.broken("stream-separator-of-location"):
            separator = b"\n"
        if self.broken("stream-separator") and body == b"two":
            separator = b"\r\n"
        self.write(body + separator)

    def ping(self) -> None:
        if self.location.ping_message is None:
            return self.write(b" " if self.broken("stream-has-no-pings") else b"")
        if not self.broken("stream-ping-message"):
            self.write(self.location.ping_message.encode() + self.location.separator)


class Parts(Form):
    """multipart/mixed: each part is followed by the delimiter at once."""

    def __init__(self, streaming: Streaming) -> None:
        super().__init__(streaming)
        self.boundary = secrets.token_hex(16).encode()
        if self.broken("multipart-boundary-is-not-guessed"):
            self.boundary = b"x"

    def fields(self) -> list[tuple[str, str]]:
        return [("Content-Type", f'multipart/mixed; boundary="{self.boundary.decode()}"')]

    def opening(self) -> bytes:
        return b"--" + self.boundary

    def message(self, channel: Channel, message: Message, body: bytes, gap: bool) -> None:
        second, tag = message.id
        fields = [("Last-Modified", formatdate(second, usegmt=True)), ("Etag", f'"{tag}"')]
        if self.broken("multipart-says-each-position"):
            fields.pop()
        kind = message.content_type
        if self.broken("multipart-says-each-content-type"):
            kind = kind or "text/plain"
        if kind is not None:
            fields.append(("Content-Type", kind))
        if gap:
            fields.append(("X-Push-Gap", "1"))
        silent = self.broken("several-parts-say-their-channel") and not self.location.say_channel
        silent = silent or self.broken("say-channel-in-parts")
        if self.says_channel() and not silent:
            fields.append(("X-Push-Channel", said_channel(channel)))
        head = "".join(f"\r\n{name}: {value}" for name, value in fields).encode("latin-1")
        self.write(head + b"\r\n\r\n" + body + b"\r\n--" + self.boundary)

    def closing(self) -> bytes:
        return b"" if self.broken("multipart-closes") else b"--\r\n"
