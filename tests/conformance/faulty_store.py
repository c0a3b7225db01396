"""What the faulty server keeps: channels, their messages, and who is held; see faulty.py."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field

from faulty_http import Broken, Refused

Id = tuple[int, int]


@dataclass(frozen=True)
class Message:
    id: Id
    body: bytes
    content_type: str | None
    at: float  # monotonic
    event: str | None = None


@dataclass
class StoreOptions:
    max_messages: int = 0
    message_timeout: float = 0
    min_messages: int = 0
    max_memory: int = 1 << 30
    channel_timeout: float = 60


@dataclass(eq=False)
class Waiter:
    """A held request: its thread waits for the outcome, which is set once."""

    location: Location
    channel: Channel
    wake: socket.socket
    outcome: Message | int | None = None  # a message, or a status
    sent: threading.Event = field(default_factory=threading.Event)
    kind: str = "poll"  # what the ids of its checks begin with
    counted: bool = True

    @property
    def stays(self) -> bool:
        """Whether a message does not end it."""
        return self.kind != "poll"

    def finish(self, outcome: Message | int) -> None:
        self.outcome = outcome
        with contextlib.suppress(OSError):
            self.wake.send(b"x")


@dataclass(eq=False)
class Channel:
    id: bytes
    by_put: bool = False
    by_get: bool = False
    messages: list[Message] = field(default_factory=list)
    waiters: list[Waiter] = field(default_factory=list)
    uncounted: int = 0  # held, as a fault has it
    last_id: Id | None = None
    last_type: str | None = None
    posts: int = 0
    requested: float | None = None
    idle_since: float = field(default_factory=time.monotonic)

    @property
    def held(self) -> int:
        return sum(waiter.counted for waiter in self.waiters) + self.uncounted

    @property
    def memory(self) -> int:
        return 256 + len(self.id) + sum(128 + len(message.body) for message in self.messages)


class Store:
    """Channels and their messages, within bounds. The server's lock guards it."""

    def __init__(self, broken: Broken, options: StoreOptions) -> None:
        self.broken = broken
        self.options = options
        self.channels: dict[bytes, Channel] = {}
        self.dropped: dict[bytes, Id] = {}  # the newest id of each channel that was dropped
        self.deleted: set[bytes] = set()
        self.last: Id = (0, 0)

    def expire(self) -> None:
        now, options = time.monotonic(), self.options
        for channel in list(self.channels.values()):
            most = options.max_messages + self.broken("max-messages")
            while options.max_messages and len(channel.messages) > most:
                self.drop(channel)
            timeout = 0 if self.broken("message-timeout") else options.message_timeout
            least = 0 if self.broken("min-messages") else options.min_messages
            while (
                timeout and len(channel.messages) > least and now - channel.messages[0].at > timeout
            ):
                self.drop(channel)
            if channel.messages or channel.waiters:
                channel.idle_since = now
            stays = channel.by_put and not self.broken("channel-made-by-put-stays")
            stays = stays or self.broken("channel-made-by-post-goes-when-idle")
            if not stays and now - channel.idle_since > options.channel_timeout:
                del self.channels[channel.id]

    def drop(self, channel: Channel) -> None:
        self.dropped[channel.id] = channel.messages.pop(0).id

    def used(self) -> int:
        return sum(channel.memory for channel in self.channels.values())

    def make_room(self, size: int) -> None:
        """Drop the oldest messages of the store until there is room. Raises Refused."""
        while self.used() + size > self.options.max_memory:
            holders = [channel for channel in self.channels.values() if channel.messages]
            if not holders or self.broken("max-memory-makes-room"):
                raise Refused(500 if self.broken("no-room-507") else 507)
            self.drop(min(holders, key=lambda channel: channel.messages[0].id))

    def create(self, id: bytes) -> Channel:
        self.make_room(256 + len(id))
        channel = self.channels[id] = Channel(id)
        if self.broken("pub-delete-drops-messages") and id in self.deleted:
            channel.messages = [Message((1, 0), b"from before", None, time.monotonic())]
        return channel

    def next_id(self, channel: Channel, stored: bool) -> Id:
        second = int(time.time())
        if self.broken("ids-increase-over-the-store"):
            last = channel.last_id or (0, 0)
        else:
            last = self.last
        id = (second, 0) if second > last[0] else (last[0], last[1] + 1)
        if stored or not self.broken("ids-not-reused-for-unstored"):
            self.last = max(id, self.last)
        return id

    def post(
        self,
        channel: Channel,
        body: bytes,
        kind: str | None,
        stored: bool,
        event: str | None = None,
    ) -> Message:
        if stored:
            size = 128 + len(body)
            if size + 256 + len(channel.id) > self.options.max_memory:
                raise Refused(507 if self.broken("message-too-large-for-the-store-413") else 413)
            self.make_room(size)
        message = Message(self.next_id(channel, stored), body, kind, time.monotonic(), event)
        channel.last_id, channel.last_type = message.id, kind
        channel.posts += 1
        if stored:
            channel.messages.append(message)
        elif self.broken("no-gap-for-unstored"):
            self.dropped[channel.id] = message.id
        self.expire()
        return message

    def delete(self, channel: Channel) -> None:
        if channel.messages and not self.broken("gap-is-told-after-delete"):
            self.dropped[channel.id] = channel.messages[-1].id
        if self.broken("ids-not-reused-after-delete"):
            self.last = (0, 0)
        channel.messages.clear()
        self.deleted.add(channel.id)
        if self.broken("pub-delete-removes-the-channel"):
            channel.by_put = True
        else:
            del self.channels[channel.id]


@dataclass(eq=False)
class Location:
    name: str
    type: str
    store: Store
    polling: str = "long"
    concurrency: str = "broadcast"
    creates: bool = False
    timeout: float = 60.0
    content_type: str | None = None
    origins: list[str] = field(default_factory=list)  # none: any
    credentials: bool = False
    stores: bool = True
    closed: bool = False
    passthrough: bool = False
    linger: float = 0.0
    transports: tuple[str, ...] = ("longpoll", "eventsource", "websocket", "stream", "multipart")
    ping_interval: float = 60.0
    ping_timeout: float = 60.0
    ping_message: str | None = None
    heartbeat: tuple[str, str] | None = None
    event: str | None = None
    retry: float | None = None
    separator: bytes = b"\n"
    deflate: bool = False
    allow_publish: bool = False
    max_body: int = 1 << 20
    rich: bool = False  # its polls may be of several channels, have batches, limits and more
    batch: str = "off"
    split: str | None = None
    argument: str | None = None
    say_channel: bool = False
    first: int | None = None  # 0: the next; N: the Nth; -N: the Nth from the end
    gap_event: bool = False
    max_subscribers: int = 0
    max_channels: int = 255
    closes_slow: bool = False
