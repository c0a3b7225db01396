"""A tiny HBPR server with one fault: the proof that each check of the suite can fail.

Without a fault it does everything that the suite asks for. A fault is called like the check
that is to notice it, and breaks that clause: each `self.broken("…")`, here and in the other
faulty_*.py, stands where the clause is kept otherwise. Some faults cannot help being noticed by
further checks. It is for tests alone: a thread for each connection, and one lock.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from faulty_http import (
    BODY_TIMEOUT,
    HEADER_TIMEOUT,
    IDLE_TIMEOUT,
    MAX_UNASKED,
    Answer,
    Gone,
    HttpConnection,
    Refused,
    Request,
)
from faulty_notices import Notices
from faulty_positions import Positions
from faulty_publishing import Publishing
from faulty_store import Location, Store, StoreOptions
from faulty_subscribing import HOLD, Subscribing
from relay_streams import EVENT, HEARTBEAT, PING_MESSAGE, PUBLISHING_MAX_BODY, RETRY, SEPARATOR

ORIGIN = "http://allowed.test"
PING = 0.4
CHANNEL_TIMEOUT, MESSAGE_TIMEOUT, LINGER = 0.3, 0.8, 0.6
MAX_MESSAGES, MIN_MESSAGES, MAX_MEMORY, MAX_ID = 4, 2, 1 << 16, 255

BOUNDS: dict[str, object] = {
    "max-messages": MAX_MESSAGES,
    "message-timeout": MESSAGE_TIMEOUT,
    "channel-timeout": CHANNEL_TIMEOUT,
    "min-messages": MIN_MESSAGES,
    "max-memory": MAX_MEMORY,
    "hold-timeout": HOLD,
    "linger": LINGER,
    "header-timeout": HEADER_TIMEOUT,
    "body-timeout": BODY_TIMEOUT,
    "idle-timeout": IDLE_TIMEOUT,
    "ping-interval": PING,
    "ping-timeout": PING,
}


class FaultyServer:
    """Serves on a free port from when it is made until it is stopped.

    fault: the id of a check that is to fail, or None.
    notices: the port on loopback that notices go to.
    """

    def __init__(self, fault: str | None = None, notices: int = 0) -> None:
        self.fault = fault
        self.notices = notices
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.stores = defaultdict(
            lambda: Store(self.broken, StoreOptions()),
            limited=Store(self.broken, StoreOptions(max_messages=MAX_MESSAGES)),
            expiring=Store(
                self.broken,
                StoreOptions(message_timeout=MESSAGE_TIMEOUT, channel_timeout=CHANNEL_TIMEOUT),
            ),
            kept=Store(
                self.broken,
                StoreOptions(message_timeout=MESSAGE_TIMEOUT, min_messages=MIN_MESSAGES),
            ),
            small=Store(self.broken, StoreOptions(max_memory=MAX_MEMORY)),
        )
        self.locations = {location.name: location for location in self._locations()}
        self.lingering: dict[tuple[str, bytes, str], Notices] = {}
        self.sockets: set[socket.socket] = set()
        self.threads: list[threading.Thread] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self.listener.getsockname()[1]
        self.start(self.accept)

    def broken(self, clause: str) -> bool:
        return self.fault == clause

    def _locations(self) -> list[Location]:
        default, named = self.stores["default"], self.stores
        return [
            Location("pub", "publisher", default),
            Location("existing-pub", "publisher", default, creates=True),
            Location("forego-pub", "publisher", default, stores=False),
            Location("closed-pub", "publisher", default, closed=True),
            Location("origin-pub", "publisher", default, origins=[ORIGIN]),
            *(Location(f"{n}-pub", "publisher", named[n]) for n in STORES),
            *(Location(n, "subscriber", named[n]) for n in STORES),
            Location("sub", "subscriber", default),
            Location("interval", "subscriber", default, polling="interval"),
            Location("last", "subscriber", default, concurrency="last"),
            Location("first", "subscriber", default, concurrency="first"),
            Location("creating", "subscriber", default, creates=True),
            Location("timeout", "subscriber", default, timeout=HOLD),
            Location("type", "subscriber", default, content_type="text/x-location"),
            Location("origin", "subscriber", default, origins=[ORIGIN], credentials=True),
            Location("origins", "subscriber", default, origins=["http://other.test", ORIGIN]),
            Location("passthrough", "subscriber", default, passthrough=True),
            Location("passthrough-timeout", "subscriber", default, timeout=HOLD, passthrough=True),
            Location(
                "passthrough-last", "subscriber", default, concurrency="last", passthrough=True
            ),
            Location("passthrough-interval", "subscriber", default, "interval", passthrough=True),
            Location("linger", "subscriber", default, passthrough=True, linger=LINGER),
            *self._streams(),
        ]

    def _streams(self) -> list[Location]:
        default, limited, small = (self.stores[n] for n in ("default", "limited", "small"))
        jsonp = ("longpoll", "jsonp")

        def sub(name: str, store: Store = default, **more: Any) -> Location:
            return Location(name, "subscriber", store, **more)

        return [
            *(sub(f"only-{name}", transports=(name,)) for name in TRANSPORTS),
            sub("two", transports=("longpoll", "eventsource")),
            sub("jsonp", transports=jsonp, rich=True),
            sub("ping", ping_interval=PING, ping_timeout=PING),
            sub("ping-message", ping_interval=PING, ping_message=PING_MESSAGE),
            sub("heartbeat", heartbeat=HEARTBEAT),
            sub("event", event=EVENT),
            sub("retry", retry=RETRY),
            sub("separator", separator=SEPARATOR.encode()),
            sub("deflate", deflate=True),
            sub("publishing", deflate=True, allow_publish=True, max_body=PUBLISHING_MAX_BODY),
            *(sub(f"batch-{form}", batch=form, rich=True) for form in ("multipart", "json", "raw")),
            sub("split", split=",", rich=True, creates=True),
            sub("split-slash", split="/", rich=True, creates=True),
            sub("groups", split="/and/", rich=True),
            sub("argument", argument="channel", rich=True),
            sub("say-channel", say_channel=True, rich=True),
            sub("newest", first=0, rich=True),
            sub("second", first=2, rich=True),
            sub("last-two", first=-2, rich=True),
            sub("gap", limited, gap_event=True),
            sub("silent", limited),
            sub("full", max_subscribers=1, rich=True),
            sub("few-channels", split=",", max_channels=2, rich=True, creates=True),
            sub("slow-gap", small, gap_event=True),
            sub("slow-close", small, closes_slow=True),
        ]

    # Threads and sockets

    def start(self, run: Callable[[], None]) -> None:
        with self.lock:
            self.threads = [thread for thread in self.threads if thread.is_alive()]
            thread = threading.Thread(target=run, name="faulty")
            self.threads.append(thread)
            thread.start()

    def accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.sockets.add(sock)
                crowded = len(self.sockets) > 90
            if crowded and self.broken("silent-connections-harm-nobody"):
                sock.close()
                continue
            self.start(Conversation(self, sock).run)

    def stop(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        while True:
            with self.lock:
                for sock in self.sockets:
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
                alive = [thread for thread in self.threads if thread.is_alive()]
            if not alive:
                return
            alive[0].join(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


TRANSPORTS = ("longpoll", "eventsource", "websocket", "stream", "multipart")
STORES = ("limited", "expiring", "kept", "small")


# One connection


class Conversation:
    """The requests of one connection, one after another."""

    def __init__(self, server: FaultyServer, sock: socket.socket) -> None:
        self.server = server
        self.broken = server.broken
        self.lock = server.lock
        self.http = HttpConnection(sock, server.broken)
        self.positions = Positions(server.broken)
        self.pairs = 0  # notices begun on this connection
        self.goes_on = False  # behind a stream that has ended
        self.when_sent: Callable[[], None] = lambda: None  # for who waits for an answer's sending

    def run(self) -> None:
        closes_well = False
        try:
            closes_well = self.converse()
        except (Gone, OSError):
            if self.broken("resets-harm-nobody"):
                self.end_everybody()
        finally:
            if closes_well:
                self.http.end()
            self.http.socket.close()
            with self.lock:
                self.server.sockets.discard(self.http.socket)

    def end_everybody(self) -> None:
        with self.lock:
            for store in self.server.stores.values():
                for channel in store.channels.values():
                    for waiter in channel.waiters:
                        waiter.finish(500)
                    channel.waiters.clear()

    def converse(self) -> bool:
        """Answer requests until one closes; True if that is to be done with care."""
        while True:
            request = None
            try:
                request = self.http.read_head()
                answer = self.answer(request)
            except Refused as refused:
                self.http.respond(request, Answer(refused.status), True)
                return True
            if answer is None and self.goes_on:
                self.goes_on = False
                continue
            if answer is None:
                return False
            closes = request.closes and not (request.version == "1.0" and self.broken("http-1-0"))
            if self.broken("unknown-upgrade") and request.all("upgrade"):
                closes = True
            self.http.respond(request, answer, closes)
            self.when_sent()
            if closes:
                return True
            if self.broken("connection-is-kept"):
                return False
            if self.broken("pipelined-requests"):
                self.http.buffer = b""

    def answer(self, request: Request) -> Answer | None:
        """Find what is asked for. None: the connection is to be dropped."""
        target = request.target
        if not self.broken("absolute-form"):
            target = re.sub(r"^http://[^/]*", "", target, flags=re.IGNORECASE)
        path, _, query = target.partition("?")
        name, _, escaped = path.removeprefix("/").partition("/")
        location = self.server.locations.get(name)
        if location is None:
            self.drop_body(request, "nowhere")
            return Answer(204 if self.broken("path-outside-all-locations-404") else 404)
        if location.type == "publisher":
            if query and self.broken("channel-id-without-query-pub"):
                escaped += "?" + query
            return Publishing(self, location, request, escaped).answer()
        if query and "last_event_id" not in query and self.broken("channel-id-without-query-sub"):
            escaped += "?" + query
        return Subscribing(self, location, request, escaped, query).answer()

    def channel_id(self, escaped: str) -> bytes:
        """Decode an id. Raises Refused."""
        if re.search(r"%(?![0-9A-Fa-f]{2})", escaped) and not self.broken(
            "channel-id-bad-escape-400"
        ):
            raise Refused(400)
        if self.broken("channel-id-slash-escaped"):
            escaped = re.split("%2F", escaped, flags=re.IGNORECASE)[0]
        id = escaped.encode() if self.broken("channel-id-escape-equals-byte") else None
        id = unquote_to_bytes(escaped) if id is None else id
        if self.broken("channel-id-decoded-once"):
            id = unquote_to_bytes(id)
        if self.broken("channel-id-any-bytes"):
            id = id.decode("utf-8", "replace").lower().encode()
        if self.broken("channel-id-nul-escaped"):
            id = id.split(b"\0")[0]
        if self.broken("channel-id-line-end-escaped"):
            id = id.split(b"\r\n")[0]
        if self.broken("channel-id-is-the-applications"):
            id = id.split(b"~")[0]
        most = 200 if self.broken("channel-id-as-long-as-allowed") else MAX_ID
        if len(id) > most and not self.broken("channel-id-too-long-400"):
            raise Refused(400)
        return id

    def drop_body(self, request: Request, where: str) -> None:
        """Read what nobody asked for, so that it is not taken for a request."""
        framing = "chunked" if request.chunked else "length"
        clause = f"body-of-{request.method.lower()}-{where}-{framing}"
        if self.broken(clause):
            return
        self.http.read_body(request, MAX_UNASKED, "unasked-body-too-large-413")
