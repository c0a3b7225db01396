"""Subscribers that change their transport all the time, and have one position for them all.

They read what the protocol promises and nothing else: each pattern below is one whole
message as its transport shows it, and bytes that none of them fits are an error. The body of
a message is its number, with blanks behind it up to some length.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from itertools import chain, repeat

EVENT = re.compile(
    rb"event: gap\nid: (?P<before>\d+:\d+)\ndata: (?P<lost>\d*)\n\n"
    rb"|id: (?P<id>\d+:\d+)\ndata: (?P<number>\d+) *\n\n"
    rb"|: \n\n"  # a ping
)
FRAME = re.compile(
    rb"id: (?P<id>\d+:\d+)\ncontent-type: text/plain\nchannel: [^\n]+\n"
    rb"(?:gap: (?P<lost>\d+)\n)?\n(?P<number>\d+) *"
)
PART = re.compile(
    rb"(?:\r\n)?--[0-9a-f]+\r\nLast-Modified: (?P<date>[^\r\n]+)\r\nEtag: \"(?P<tag>\d+)\"\r\n"
    rb"(?:X-Push-Gap: (?P<lost>\d+)\r\n)?Content-Length: \d+\r\nContent-Type: text/plain\r\n\r\n"
    rb"(?P<number>\d+) *(?=\r\n--)"
)
# The HTTP stream's location: without its template there would be neither positions nor counts.
STREAM = "/stream/"
TEMPLATE = "~id~ ~time~ ~tag~ ~text~"
LINE = re.compile(rb"(?P<count>\d+) (?P<date>[^\n]+ GMT) (?P<tag>\d+) (?P<number>\d+) *\n")
PATIENCE = 100.0  # seconds for an answer to begin
LONGEST = 1024  # bytes; what is longer, and no message yet, is none

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
FIN, TEXT, PING, PONG = 0x80, 1, 9, 10


class Broken(Exception):
    """The connection ended in the midst of an answer."""


@lru_cache(maxsize=1024)
def second_of(date: bytes) -> int:
    return int(parsedate_to_datetime(date.decode()).timestamp())


async def read(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(65536)
    if not data:
        raise Broken
    return data


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, bytes]]:
    """The status, and the headers with names in lower case."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise Broken from error
    line, *fields = head[:-4].split(b"\r\n")
    pairs = [field.split(b": ", 1) for field in fields]
    return int(line.split(b" ")[1]), {name.decode().lower(): value for name, value in pairs}


async def read_body(reader: asyncio.StreamReader, chunked: bool) -> AsyncIterator[bytes]:
    """Pieces of a body that has no end but by the proxy."""
    rest = b""
    while True:
        data = await read(reader)
        if not chunked:
            yield data
            continue
        rest += data
        pieces, at = [], 0
        while (end := rest.find(b"\r\n", at)) >= 0:
            length = int(rest[at:end], 16)
            assert length > 0, "the stream has ended, though nobody ended it"
            if len(rest) < end + 4 + length:
                break
            pieces.append(rest[end + 2 : end + 2 + length])
            at = end + 4 + length
        rest = rest[at:]
        if pieces:
            yield b"".join(pieces)


async def read_matches(
    pieces: AsyncIterator[bytes], pattern: re.Pattern[bytes]
) -> AsyncIterator[re.Match[bytes]]:
    """Messages of a body: one behind the other, and nothing between them."""
    rest = b""
    async for piece in pieces:
        rest += piece
        at = 0
        while match := pattern.match(rest, at):
            yield match
            at = match.end()
        rest = rest[at:]
        assert len(rest) < LONGEST, rest


async def read_frames(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncIterator[bytes]:
    """Texts of a WebSocket; pings are answered."""
    rest = b""
    while True:
        at = 0
        while len(rest) >= at + 2:
            first, length, start = rest[at], rest[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(rest[start : start + 2]), start + 2
            assert length < LONGEST, "as long as no message is, or masked"
            if len(rest) < start + length:
                break
            at = start + length
            if first == FIN | TEXT:
                yield rest[start:at]
            else:
                assert first == FIN | PING, f"frame {first:#x} {rest[start:at]!r}"
                # A mask of zeros is one as well.
                writer.write(bytes((FIN | PONG, 0x80 | length, 0, 0, 0, 0)) + rest[start:at])
        rest = rest[at:] + await read(reader)


class Subscriber:
    """One of them, and its account of what it was sent."""

    def __init__(self, port: int, channel: str, position: str, last: int, seed: str) -> None:
        """position, last: the id and the number of the message behind which it begins."""
        self.port, self.channel = port, channel
        self.position, self.last = position, last
        self.rng = random.Random(seed)
        # A gap that was told, and no message since: how many were lost, 0 if that is unknown.
        self.gap: int | None = None
        self.received: Counter[str] = Counter()  # messages by transport
        self.lost = 0
        self.gaps: Counter[str] = Counter()  # by transport
        self.counted = 0  # gaps that were told with the number of messages
        self.broken = 0  # connections that the proxy ended
        self.transport = ""
        self.turn: asyncio.Timeout
        self.transports: dict[
            str, Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]
        ] = {
            "longpoll": self.longpoll,
            "eventsource": self.eventsource,
            "websocket": self.websocket,
            "multipart": self.multipart,
            "stream": self.stream,
        }

    async def follow(self, final: int) -> None:
        """Go on by one transport after the other until message `final` has come."""
        while self.last < final:
            self.transport = self.rng.choice(list(self.transports))
            try:
                async with asyncio.timeout(PATIENCE) as self.turn:
                    await self.subscribe()
            except TimeoutError:
                pass
            except (Broken, OSError):
                self.broken += 1
            except AssertionError as error:
                error.add_note(f"{self.transport}, behind message {self.last}, {self.position}")
                raise

    def begin_turn(self) -> None:
        """The relay has answered. Counted from here, a turn leads on however slow all is."""
        self.turn.reschedule(asyncio.get_running_loop().time() + self.rng.uniform(0.1, 2.0))

    async def subscribe(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await self.transports[self.transport](reader, writer)
        finally:
            if self.rng.random() < 0.5:
                writer.transport.abort()
            writer.close()

    # The account

    def tell(self, lost: bytes, unknown: bytes) -> None:
        """A gap is told, with a number, or with what stands for one that is not known."""
        told = 0 if lost == unknown else int(lost)
        known = told > 0 and self.gap != 0
        self.gap = (self.gap or 0) + told if known else 0
        self.gaps[self.transport] += 1

    def take(self, number: int, position: str) -> None:
        missed = number - self.last - 1
        assert missed >= 0, f"message {number} comes after message {self.last}"
        if self.gap is None:
            assert missed == 0, f"{missed} are lost before message {number}, and no gap is told"
        else:
            assert missed > 0, f"a gap is told before message {number}, and none is there"
            if self.gap > 0:
                assert missed == self.gap, f"{self.gap} are told as lost, {missed} are"
                self.counted += 1
        self.gap = None
        self.last, self.position = number, position
        self.received[self.transport] += 1
        self.lost += missed

    # Requests

    def request(self, *headers: str, prefix: str = "/sub/", version: str = "HTTP/1.1") -> bytes:
        """A request for what comes behind the position, said in one of the three ways."""
        second, tag = self.position.split(":")
        ways = [
            ("", [f"Last-Event-ID: {self.position}"]),
            (f"?last_event_id={self.position}", []),
            ("", [f"If-Modified-Since: {formatdate(int(second), usegmt=True)}"]),
        ]
        query, position = self.rng.choice(ways)
        if position and position[0].startswith("If"):
            position.append(f'If-None-Match: "{tag}"')
        target = f"{prefix}{self.channel}{query}"
        lines = [f"GET {target} {version}", "Host: relay.test", *headers, *position, "", ""]
        return "\r\n".join(lines).encode()

    async def longpoll(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for first in chain((True,), repeat(False)):
            writer.write(self.request())
            status, headers = await read_head(reader)
            if first:
                self.begin_turn()
            assert status == 200, status
            try:
                body = await reader.readexactly(int(headers["content-length"]))
            except asyncio.IncompleteReadError as error:
                raise Broken from error
            if "x-push-gap" in headers:
                self.tell(headers["x-push-gap"], b"1")
            tag = headers["etag"].strip(b'"').decode()
            self.take(int(body), f"{second_of(headers['last-modified'])}:{tag}")

    async def body(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pattern: re.Pattern[bytes],
        request: bytes,
    ) -> AsyncIterator[re.Match[bytes]]:
        writer.write(request)
        status, headers = await read_head(reader)
        self.begin_turn()
        assert status == 200, status
        chunked = headers.get("transfer-encoding") == b"chunked"
        assert chunked == (b"HTTP/1.1" in request)
        async for match in read_matches(read_body(reader, chunked), pattern):
            yield match

    def any_version(self) -> str:
        return self.rng.choice(("HTTP/1.1", "HTTP/1.0"))

    async def eventsource(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = self.request("Accept: text/event-stream", version=self.any_version())
        async for event in self.body(reader, writer, EVENT, request):
            before, lost, position, number = event.groups()
            if number is not None:
                self.take(int(number), position.decode())
            elif before is not None:
                # From here on the gap is not told again: whoever is cut off now remembers it.
                self.tell(lost, b"")
                self.position = before.decode()

    async def multipart(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = self.request("Accept: multipart/mixed", version=self.any_version())
        async for part in self.body(reader, writer, PART, request):
            date, tag, lost, number = part.groups()
            if lost is not None:
                self.tell(lost, b"1")
            self.take(int(number), f"{second_of(date)}:{tag.decode()}")

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = self.request("TE: chunked", prefix=STREAM)
        async for line in self.body(reader, writer, LINE, request):
            count, date, tag, number = line.groups()
            # The relay's own count of the channel's messages tells of a gap, if anything does.
            lost = int(count) - 1 - self.last - 1
            if lost > 0:
                self.tell(b"%d" % lost, b"")
            self.take(int(number), f"{second_of(date)}:{tag.decode()}")

    async def websocket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = base64.b64encode(self.rng.randbytes(16))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        own = (f"Sec-WebSocket-Key: {key.decode()}", "Sec-WebSocket-Protocol: ws+meta.pushserver")
        writer.write(self.request(*upgrade, *own))
        status, headers = await read_head(reader)
        self.begin_turn()
        assert (status, headers.get("sec-websocket-accept")) == (101, accept)
        async for text in read_frames(reader, writer):
            message = FRAME.fullmatch(text)
            assert message, text
            position, lost, number = message.groups()
            if lost is not None:
                self.tell(lost, b"1")
            self.take(int(number), position.decode())
