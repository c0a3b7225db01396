"""The kinds of streams, by one table: how each is asked for, and what reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .events import EventStream
from .options import Options
from .parts import PartStream, SeparatedStream
from .sockets import WebSocket, handshake_headers, open_socket, shake_hands
from .streaming import Subscriber
from .suite import Trial, expect
from .wire import Connection, Failure, Location, Position, Response, brief, request_bytes

Headers = Mapping[str, str | None]


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of streams, but for WebSockets by HTTP alone."""

    name: str  # what the ids of its checks begin with
    title: str
    option: str  # the location where it is chosen by the request
    asked_by: Mapping[str, str | None]
    content_type: str | None  # of the answer; None where it is the location's
    reader: Callable[[Trial, Connection, Response], Subscriber]

    def location(self, options: Options) -> Location:
        location: Location = getattr(options, self.option)
        return location

    def ask(
        self,
        t: Trial,
        channel: str,
        location: Location | None = None,
        headers: Headers | None = None,
        query: str = "",
        version: str = "HTTP/1.1",
    ) -> tuple[Connection, Response]:
        """Ask for a stream, and read the head of what is answered; or all, if it is refused.

        The head must come at once, whether there is a message or not.
        """
        location = location or self.location(t.options)
        if self.name == "ws":
            return shake_hands(t, location, channel, headers, query)
        chosen = {**self.asked_by, **(headers or {})}
        fields = {name: value for name, value in chosen.items() if value is not None}
        connection = t.connect(location)
        target = location.target(channel, query)
        connection.asked = f"GET {target if len(target) < 60 else target[:60] + '…'}"
        connection.send(request_bytes("GET", target, location.host, fields, version=version))
        if not connection.readable(t.soon):
            raise Failure(f"the head of {self.title} at once", f"nothing within {t.soon:g} s")
        head = connection.read_head()
        if not self.is_in(head):
            head = connection.read_body(head)
        return connection, head

    def is_in(self, head: Response) -> bool:
        """Whether an answer is a stream of this kind."""
        if self.name == "ws":
            return head.status == 101
        kind = (head.header("Content-Type") or "").split(";")[0].strip().lower()
        return (
            head.status == 200
            and head.header("Etag") is None  # which a polled message has, and no stream
            and (self.content_type is None or kind == self.content_type)
        )

    def open(
        self,
        t: Trial,
        channel: str,
        location: Location | None = None,
        headers: Headers | None = None,
        query: str = "",
        version: str = "HTTP/1.1",
    ) -> Subscriber:
        """Ask for a stream, which must be given."""
        connection, head = self.ask(t, channel, location, headers, query, version)
        return self.begun(t, connection, head)

    def begun(self, t: Trial, connection: Connection, head: Response) -> Subscriber:
        """What reads the stream that was answered; it must be one."""
        if not self.is_in(head):
            body = f" with {brief(head.body)}" if head.body else ""
            raise Failure(self.title, f"{head}, {head.header('Content-Type')}{body}")
        return self.reader(t, connection, head)

    def begin(
        self,
        t: Trial,
        location: Location | None = None,
        headers: Headers | None = None,
        publisher: Location | None = None,
    ) -> tuple[str, Subscriber]:
        """A new channel and a stream of it that has nothing more to read."""
        channel = t.channel(publisher)
        t.post(channel, b"start", publisher=publisher)
        subscriber = self.open(t, channel, location, headers)
        subscriber.expect(b"start")
        return channel, subscriber


def _separated(t: Trial, connection: Connection, head: Response) -> Subscriber:
    return SeparatedStream(t, connection, head)


EVENTS = Kind(
    "sse",
    "an event stream",
    "eventsource_sub",
    {"Accept": "text/event-stream"},
    "text/event-stream",
    EventStream,
)
SOCKET = Kind("ws", "a WebSocket", "websocket_sub", handshake_headers(), None, WebSocket)
STREAM = Kind(
    "stream",
    "an HTTP stream",
    "stream_sub",
    {"TE": "chunked", "Connection": "TE"},
    None,
    _separated,
)
PARTS = Kind(
    "multipart",
    "a multipart/mixed stream",
    "multipart_sub",
    {"Accept": "multipart/mixed"},
    "multipart/mixed",
    PartStream,
)
KINDS = (EVENTS, SOCKET, STREAM, PARTS)


def events(
    t: Trial,
    channel: str,
    headers: Headers | None = None,
    query: str = "",
    location: Location | None = None,
) -> EventStream:
    """An event stream of a channel."""
    stream = EVENTS.open(t, channel, location, headers, query)
    assert isinstance(stream, EventStream)
    return stream


def socket(
    t: Trial,
    channel: str,
    headers: Headers | None = None,
    query: str = "",
    location: Location | None = None,
) -> WebSocket:
    """A WebSocket of a channel."""
    location = location or SOCKET.location(t.options)
    return open_socket(t, location, channel, headers, query)


def resumed(position: Position) -> dict[str, str | None]:
    return {"Last-Event-ID": position.text}


def expect_polled(response: Response, body: bytes) -> Response:
    """Check that a message was answered as to a poll."""
    polled = response.status == 200 and response.header("Etag") is not None
    expect(
        polled and response.body == body,
        f"the message {brief(body)} as a poll has it",
        f"{response} with {brief(response.body)}",
    )
    return response
