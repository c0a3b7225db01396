"""A stream of the faulty server, of any kind; see faulty.py.

What the kinds have in common is here; how each writes is in faulty_forms.py, and in
faulty_websocket.py.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faulty_forms import Events, Form, Parts, Plain
from faulty_http import Answer, Broken, Refused
from faulty_store import Channel, Location, Message, Store, Waiter
from faulty_transports import STREAMS
from faulty_websocket import Handshake, SocketForm

if TYPE_CHECKING:
    from faulty_subscribing import Subscribing

HOLD = 0.8  # seconds, of the locations that are to time out
MANY = 50  # messages behind which a reader is slow


@dataclass(eq=False)
class Seat(Waiter):
    """A stream's place in one channel. What comes is put into one box for all of them."""

    box: deque[tuple[Channel, Message | int]] = field(default_factory=deque)
    delays: bool = False

    def finish(self, outcome: Message | int) -> None:
        if len(self.box) > MANY and self.delays:
            time.sleep(0.1)
        self.box.append((self.channel, outcome))
        with contextlib.suppress(OSError):
            self.wake.send(b"x")


class Joined:
    """A request that is in one or more channels: what there is to read, and what comes."""

    def __init__(self, subscribing: Subscribing, kind: str) -> None:
        self.subscribing = subscribing
        self.broken: Broken = subscribing.broken
        self.location: Location = subscribing.location
        self.store: Store = subscribing.store
        self.kind: str = kind
        self.channels: list[Channel] = []
        self.seats: list[Seat] = []
        self.box: deque[tuple[Channel, Message | int]] = deque()
        self.ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)  # who wakes it has the lock

    def enter(self) -> tuple[int, str]:
        """Find the channels; give a status and words where that is refused."""
        where, broken = self.location, self.broken
        self.store.expire()
        few = where.max_channels == 2
        clause = (
            "too-many-channels-of-a-socket" if self.kind == "ws" else "too-many-channels-refused"
        )
        most = 200 if broken("several-up-to-255") else where.max_channels
        if len(self.subscribing.ids) > most and not (few and broken(clause)):
            return 403, "too many channels"
        for id in self.subscribing.ids:
            channel = self.store.channels.get(id)
            if channel is None:
                if not where.creates and not broken(f"{self.kind}-unknown-channel-404"):
                    return 404, "unknown"
                channel = self.store.create(id)
                channel.by_get = True
            self.channels.append(channel)
        return self.refused_as_full()

    def refused_as_full(self) -> tuple[int, str]:
        most, broken = self.location.max_subscribers, self.broken
        if not most:
            return 200, ""
        clauses = {"poll": "full-channel-refuses", "sse": "full-channel-refuses-streams"}
        for channel in self.channels:
            held = len(channel.waiters)
            if broken("full-is-said-of-each-channel"):
                held = sum(len(c.waiters) for c in self.store.channels.values())
            if broken("full-channel-lets-the-next-in"):
                held = max(held, channel.uncounted)
                channel.uncounted = 1
            clause = clauses.get(self.kind, "full-channel-refuses-sockets")
            if held >= most and not broken(clause):
                return 403, "the channel has as many subscribers as it may"
        return 200, ""

    def sit_down(self) -> None:
        for channel in self.channels:
            one = self.broken("several-held-for-each") and channel is not self.channels[0]
            if one and self.kind == "poll":
                continue
            if channel is not self.channels[0] and self.broken(f"several-by-{self.kind}"):
                continue
            seat = Seat(self.location, channel, self.theirs, kind=self.kind, box=self.box)
            seat.delays = self.broken("slow-subscriber-delays-nobody")
            seat.counted = not self.broken(f"{self.kind}-is-counted")
            channel.waiters.append(seat)
            self.seats.append(seat)

    def get_up(self, channel: Channel | None = None) -> None:
        """Leave one channel, or all."""
        for seat in list(self.seats):
            if channel is None or seat.channel is channel:
                self.seats.remove(seat)
                if seat in seat.channel.waiters:
                    seat.channel.waiters.remove(seat)
                empty = not seat.channel.waiters and not seat.channel.messages
                if seat.channel.by_get and not seat.channel.by_put and empty:
                    self.store.channels.pop(seat.channel.id, None)

    def leave(self) -> None:
        with self.subscribing.lock:
            seats = list(self.seats)
            self.get_up()
        for seat in seats:
            seat.sent.set()

    # What there is to read

    def backlog(self) -> list[tuple[Channel, Message, bool]]:
        """The messages that are there, and of each whether a gap is before it."""
        position = self.subscribing.position
        found = [(c, m) for c in self.channels for m in c.messages]
        if not self.broken("several-in-one-order"):
            found.sort(key=lambda item: item[1].id)
        if position is not None:
            found = [item for item in found if item[1].id > position]
        elif self.broken(f"{self.kind}-begins-with-the-oldest"):
            found = found[-1:]
        found = self.begin(found)
        gap = False
        for channel in self.channels:
            dropped = self.store.dropped.get(channel.id)
            if dropped is not None and position is not None and dropped > position:
                gap = True
        result = [(c, m, gap and n == 0) for n, (c, m) in enumerate(found)]
        if self.broken("gap-of-a-part") and self.kind == "multipart":
            result = [(c, m, gap) for c, m, _ in result]
        if self.broken("no-gap-event-for-nothing") and result:
            result[0] = (*result[0][:2], True)
        return result

    def begin(self, found: list[tuple[Channel, Message]]) -> list[tuple[Channel, Message]]:
        """Where it begins, if that is not said by a position."""
        query, first, broken = self.subscribing.query, self.location.first, self.broken
        if found_time := re.search(r"(?:^|&)time=(\d+)(?:&tag=(\d+))?", query):
            second, tag = int(found_time[1]), int(found_time[2] or -1)
            if broken("time-of-the-query") and tag < 0:
                second += 1
            if broken("time-and-tag-of-the-query"):
                tag = -1
            return [item for item in found if item[1].id > (second, tag)]
        if backtrack := re.search(r"(?:^|&)backtrack=([^&]*)", query):
            if not backtrack[1].isdigit():
                if broken("backtrack-malformed-400"):
                    return found
                raise Refused(400)
            if broken("backtrack") and self.kind != "poll":
                return found
            if broken("backtrack-of-a-poll") and self.kind == "poll":
                return found
            number = int(backtrack[1])
            if number > len(found) and broken("backtrack-more-than-there-is"):
                return []
            return found[max(0, len(found) - number) :]
        if first is None:
            return found
        if self.subscribing.position is not None and not broken("first-message-without-position"):
            return found
        name = {0: "newest", 2: "2", -2: "minus-2"}[first]
        kinds = {"poll": "first-message-of-a-poll", "ws": "first-message-of-a-socket"}
        if broken(f"first-message-{name}") or broken(kinds.get(self.kind, "")):
            return found
        if first == 0:
            return []
        if first < 0:
            if len(found) < -first and broken("first-message-of-few"):
                return []
            return found[first:]
        return found[first - 1 :]

    # Waiting

    def wait(self, http: socket.socket | None, end: float) -> bool | None:
        """Wait for what comes; True if it is from the client, None if it is the time."""
        while not self.subscribing.conversation.server.stopping.is_set():
            watched = [self.ours] if http is None else [self.ours, http]
            left = max(0.0, end - time.monotonic())
            ready, _, _ = select.select(watched, [], [], min(left, 0.5))
            if self.ours in ready:
                self.ours.recv(1 << 12)
                return False
            if ready:
                return True
            if left == 0:
                return None
        raise OSError("the server is stopping")

    def close(self) -> None:
        self.leave()
        self.ours.close()
        self.theirs.close()


class Streaming(Joined):
    """One stream, from its request to its end."""

    def __init__(self, subscribing: Subscribing, transport: str) -> None:
        super().__init__(subscribing, STREAMS[transport])
        self.transport = transport
        self.http = subscribing.conversation.http
        self.form: Form
        self.sent = 0

    def run(self) -> Answer | None:
        try:
            return self.run_or_refuse()
        except Refused as refused:
            return self.subscribing.status(refused.status)
        finally:
            self.close()

    def run_or_refuse(self) -> Answer | None:
        handshake = None
        if self.kind == "ws":
            handshake = Handshake(self.broken, self.location, self.subscribing.request)
            refusal = handshake.refusal()
            if refusal is not None:
                return refusal
        with self.subscribing.lock:
            status, words = self.enter()
            backlog: list[tuple[Channel, Message, bool]] = []
            if status == 200:
                backlog = self.backlog()
                if not self.broken(f"{self.kind}-newer-409-where-first"):
                    status = self.conflict()
            if status == 200:
                self.sit_down()
        self.form = self.new_form(handshake)
        if status != 200:
            return self.refuse(status, words)
        notices = None
        if self.location.passthrough:
            notices = self.subscribing.begin_notices()
        try:
            self.converse(backlog)
        finally:
            self.leave()
            if notices is not None and not self.broken(f"{self.kind}-pair-of-notices"):
                notices.unsubscribe()
        return None

    def conflict(self) -> int:
        if self.location.concurrency == "last" and self.broken(
            f"{self.kind}-older-ends-where-last"
        ):
            return 200
        position, self.subscribing.position = self.subscribing.position, None
        if self.channels[0].last_id is not None:
            self.subscribing.position = self.channels[0].last_id
        lost = self.subscribing.conflict(self.channels[0])
        self.subscribing.position = position
        return 409 if lost else 200

    def refuse(self, status: int, words: str) -> Answer | None:
        if isinstance(self.form, SocketForm) and status == 403 and "channel" in words:
            self.form.head()
            self.form.refuse(status, words)
            return None
        return self.subscribing.status(status, [("X-Push-Explain", words)])

    def new_form(self, handshake: Handshake | None) -> Form:
        if handshake is not None:
            return SocketForm(self, handshake)
        return {"eventsource": Events, "stream": Plain, "multipart": Parts}[self.transport](self)

    # Its life

    def converse(self, backlog: list[tuple[Channel, Message, bool]]) -> None:
        form = self.form
        late = self.broken(f"{self.kind}-head-at-once")
        if not late or backlog:
            form.head()
            late = False
        self.http.socket.settimeout(20.0)
        for channel, message, gap in backlog:
            self.deliver(channel, message, gap)
        form.take_from_client(b"")
        now = time.monotonic()
        end = now + (HOLD if self.location.timeout == HOLD else 1e6)
        if self.broken(f"{self.kind}-ends-in-its-time"):
            end = now + 1e6
        form.heard_at = now
        ping = now + self.location.ping_interval
        watched: socket.socket | None = self.http.socket
        while not form.over:
            came = self.wait(watched, min(end, ping, form.deadline()))
            now = time.monotonic()
            if came:
                watched = self.hear()
            elif came is False:
                if late:
                    form.head()
                    late = False
                self.read_box()
            elif now >= end:
                return form.end(304)
            elif now >= form.deadline():
                return
            elif now >= ping:
                form.ping()
                ping = now + self.location.ping_interval

    def hear(self) -> socket.socket | None:
        """Read from the client; give the socket to go on watching."""
        try:
            data = self.http.socket.recv(1 << 16)
        except OSError:
            data = b""
        if data:
            if self.broken(f"{self.kind}-request-behind-waits"):
                raise OSError("what must not come has come")
            self.form.heard_at = time.monotonic()
            self.form.take_from_client(data)
            return self.http.socket
        gone = f"{self.kind}-closed-is-not-held", "ws-closed-without-a-word"
        if self.broken(gone[0]) or (self.kind == "ws" and self.broken(gone[1])):
            return None
        self.form.over = True
        return None

    def read_box(self) -> None:
        while True:
            with self.subscribing.lock:
                if not self.box:
                    return
                slow = len(self.box) > MANY
                channel, outcome = self.box.popleft()
            if isinstance(outcome, Message):
                skipped = self.broken("slow-subscriber-is-told-its-gap") and slow
                closes = self.location.closes_slow and slow
                if closes and not self.broken("slow-subscriber-is-closed"):
                    raise OSError("a reader that is too slow")
                if not skipped and not self.broken(f"{self.kind}-live"):
                    self.deliver(channel, outcome, False)
                continue
            with self.subscribing.lock:
                seats = [seat for seat in self.seats if seat.channel is channel]
                self.get_up(channel)
            if not self.seats or self.broken(f"several-{self.kind}-outlives-one"):
                if outcome == 409 and self.broken(f"{self.kind}-older-ends-where-last"):
                    outcome = 200
                elif not (outcome == 410 and self.broken(f"{self.kind}-ends-with-its-channel")):
                    self.form.end(outcome)
                self.form.over = True
            for seat in seats:
                seat.sent.set()
            if self.form.over:
                return

    def deliver(self, channel: Channel, message: Message, gap: bool) -> None:
        self.sent += 1
        body = message.body
        if self.sent % 7 == 0 and self.broken(f"{self.kind}-each-once-in-order"):
            return
        if not body and self.broken(f"{self.kind}-empty-message"):
            return
        if self.broken(f"{self.kind}-large-message"):
            body = body[:100_000]
        if self.broken(f"{self.kind}-any-bytes"):
            body = body.replace(b"\0", b"")
        if gap and self.broken("gap-of-a-part"):
            gap = self.kind != "multipart" or self.sent > 1
        self.form.message(channel, message, body, gap)
