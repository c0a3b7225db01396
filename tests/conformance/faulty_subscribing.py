"""A request at a subscriber location of the faulty server; see faulty.py."""

from __future__ import annotations

import re
import select
import socket
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from faulty_http import Answer, HttpConnection, Refused, Request
from faulty_notices import Notices
from faulty_publishing import Publishing
from faulty_rich import RichPoll
from faulty_store import Channel, Id, Location, Message, Waiter
from faulty_streaming import Streaming
from faulty_transports import STREAMS, choose, ids_of

if TYPE_CHECKING:
    from faulty import Conversation

HOLD = 0.8  # seconds, of the locations that are to time out


def imf_fixdate(second: int) -> str:
    return formatdate(second, usegmt=True)


POSITION_HEADERS = "If-Modified-Since, If-None-Match"
EXPOSED = "Last-Modified, Etag, Cache-Control"


class Subscribing:
    """One request at a subscriber location."""

    def __init__(
        self,
        conversation: Conversation,
        location: Location,
        request: Request,
        escaped: str,
        query: str,
    ) -> None:
        self.conversation = conversation
        self.broken = conversation.broken
        self.lock = conversation.lock
        self.location = location
        self.store = location.store
        self.request = request
        self.query = query
        self.escaped = escaped
        self.ids = ids_of(conversation, location, escaped, query)
        self.id = self.ids[0]
        self.position: Id | None = None
        self.delayed = False

    # Answers

    def cors(self, status: int) -> list[tuple[str, str]]:
        """What scripts need to see the answer."""
        where, origin = self.location, self.request.header("origin")
        clause = f"cors-on-{status}"
        if self.delayed and status == 304 and where.timeout == HOLD:
            clause = "cors-on-time-out"
        if self.broken(clause) or (self.delayed and self.broken("cors-any-origin-delayed")):
            return []
        fields: list[tuple[str, str]] = []
        allowed: str | None = "*"
        if self.broken("cors-any-origin") and not where.origins:
            allowed = None
        if where.origins:
            allowed = where.origins[0]
            if len(where.origins) > 1:
                allowed = origin if origin in where.origins else None
                if self.broken("cors-list-echoes") and allowed:
                    allowed = ", ".join(where.origins)
                if not self.broken("cors-list-varies") or allowed:
                    fields.append(("Vary", "Origin"))
            elif self.broken("cors-one-origin"):
                allowed = None
            if self.broken("cors-stranger-is-not-echoed"):
                allowed = origin
        if allowed is not None:
            fields.append(("Access-Control-Allow-Origin", allowed))
        credentials = where.credentials and not self.broken("cors-credentials")
        credentials = credentials and not self.broken("old-client-with-credentials")
        if credentials or (not where.origins and self.broken("cors-no-credentials-for-all")):
            fields.append(("Access-Control-Allow-Credentials", "true"))
        headers = POSITION_HEADERS
        headers += "" if self.broken("cors-allow-headers") else ", X-Cookie"
        headers += "" if self.broken("cors-allow-more-headers") else ", Last-Event-ID, Content-Type"
        exposed = "Last-Modified" if self.broken("cors-expose-headers") else EXPOSED
        exposed += "" if self.broken("cors-expose-gap") else ", X-Push-Gap"
        fields.append(("Access-Control-Allow-Headers", headers))
        fields.append(("Access-Control-Expose-Headers", exposed))
        fields.append(("Access-Control-Max-Age", "1" if self.broken("cors-max-age") else "864000"))
        return fields

    def status(self, status: int, fields: list[tuple[str, str]] | None = None) -> Answer:
        return Answer(status, [*(fields or []), *self.cors(status)], b"")

    def nothing_new(self, status: int) -> Answer:
        """The end of a request that got no message, which repeats its position."""
        fields = []
        if self.position is not None:
            second, tag = self.position
            fields = [("Last-Modified", imf_fixdate(second)), ("Etag", f'"{max(tag, 0)}"')]
        elif self.broken("time-out-without-position-has-none") and self.delayed:
            fields = [("Last-Modified", imf_fixdate(0)), ("Etag", '"0"')]
        clause = "time-out-repeats-position" if self.delayed else "interval-304-repeats-position"
        return self.status(status, [] if self.broken(clause) else fields)

    def message(self, message: Message, channel: Channel, gap: bool) -> Answer:
        kind = message.content_type
        if self.broken("content-type-per-message"):
            kind = channel.last_type
        if self.broken("content-type-unchanged") and kind:
            kind = kind.lower()
        if self.broken("content-type-none") and kind is None:
            kind = "text/plain"
        if self.location.content_type and not self.broken("content-type-of-location"):
            kind = self.location.content_type
        fields = [] if kind is None else [("Content-Type", kind)]
        second, tag = message.id
        if gap and self.broken("expired-position-reads-on") and self.position:
            second, tag = self.position
        fields.append(("Last-Modified", imf_fixdate(second)))
        if not self.broken("position-on-every-message"):
            fields.append(("Etag", f"{tag}" if self.broken("etag-is-quoted") else f'"{tag}"'))
        cached = "max-age=60" if self.broken("message-is-not-cached") else "no-cache"
        from_page = self.request.header("origin") is not None
        if from_page and self.broken("old-client-echoes-what-it-got"):
            tag += 1
        if self.broken("etag-in-cache-control"):
            fields.append(("Cache-Control", f'{cached}, etag="{tag}", private'))
        else:
            fields.append(("Cache-Control", f'{cached}, etag="{tag}"'))
        if not self.broken("vary-by-position"):
            fields.append(("Vary", POSITION_HEADERS))
        if gap and not self.broken("gap-of-a-poll"):
            fields.append(("X-Push-Gap", "1"))
        if self.delayed and self.broken("delayed-answer-is-the-same"):
            fields.append(("X-Delayed", "1"))
        fields += self.cors(200)
        chunked = self.broken("http-1-0-subscriber-gets-no-chunks")
        return Answer(200, fields, message.body, chunked)

    # The request

    def answer(self) -> Answer | None:
        request = self.request
        where = "sub" if self.location.name == "sub" else self.location.name
        self.conversation.drop_body(request, where)
        if request.method == "OPTIONS":
            return self.status(405 if self.broken("sub-options-200") else 200)
        by_post = self.broken("ws-upgrade-by-post") and request.header("upgrade") == "websocket"
        if request.method != "GET" and not by_post:
            if self.broken("no-notice-when-refused") and self.location.passthrough:
                self.notices_of().subscribe()
            wrong = self.broken(f"sub-{request.method.lower()}-405")
            allow = [] if self.broken("sub-405-has-allow") else [("Allow", "GET, OPTIONS")]
            answer = self.status(403 if wrong else 405, allow)
            answer.body = b"a body that HEAD must not have"
            return answer
        if self.broken("malformed-position-before-404"):
            with self.lock:
                if self.id not in self.store.channels and not self.location.creates:
                    return self.status(404)
        try:
            transport = choose(self.broken, self.location, request)
            self.position = self.position_of(STREAMS.get(transport, "poll"))
        except Refused as refused:
            return self.refusal(refused)
        if transport in STREAMS:
            return Streaming(self, transport).run()
        rich = self.location.rich or self.broken("jsonp-off-unless-named")
        if rich or re.search(r"(^|&)backtrack=", self.query):
            return RichPoll(self).answer()
        return self.find_or_hold()

    def refusal(self, refused: Refused) -> Answer:
        fields = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
        if refused.status != 426 or self.broken("upgrade-with-426"):
            fields = []
        answer = self.status(refused.status, fields)
        if refused.status == 406 and self.broken("cors-on-406"):
            answer.fields = []
        return answer

    def position_of(self, kind: str) -> Id | None:
        """The position that is asked for. Raises Refused."""
        without = {
            f"{kind}-resume-by-header": ("last-event-id",),
            f"{kind}-resume-as-a-poll": ("if-modified-since", "if-none-match"),
            f"{kind}-malformed-position-400": ("last-event-id",),
            f"from-a-poll-to-{kind}": ("last-event-id",),
        }
        request = Request(**vars(self.request))
        for clause, names in without.items():
            if self.broken(clause):
                request.fields = [f for f in request.fields if f[0].lower() not in names]
        if self.request.header("last-event-id") == "" and self.broken(
            f"{kind}-empty-position-is-none"
        ):
            raise Refused(400)
        query = "" if self.broken(f"{kind}-resume-by-query") else self.query
        if kind != "poll" and self.broken("one-position-for-all"):
            return None
        return self.conversation.positions.of(request, query)

    def find_or_hold(self) -> Answer | None:
        where = self.location
        with self.lock:
            self.store.expire()
            channel = self.store.channels.get(self.id)
            if channel is None:
                creates = where.creates and not self.broken("unknown-channel-created-and-held")
                if where.polling == "interval" and self.broken("interval-creates-no-channel"):
                    creates = True
                if not creates:
                    return self.status(204 if self.broken("unknown-channel-404") else 404)
                channel = self.store.create(self.id)
                channel.by_get = not self.broken("channel-made-by-get-vanishes")
            channel.requested = time.monotonic()
            conflict = self.conflict(channel)
            early = self.broken(f"{where.concurrency}-at-once-is-no-conflict")
            if conflict and early:
                return self.status(409)
            message, gap = self.find(channel)
            if message is None and self.dead(channel):
                return None
            if message is not None:
                if self.broken("no-notice-when-answered-at-once") and where.passthrough:
                    self.notices_of().subscribe()
                return self.message(message, channel, gap)
            if where.polling == "interval":
                return self.interval(channel)
            if conflict:
                return self.status(409)
            if self.broken("long-poll-is-held") and where.name == "sub":
                return self.nothing_new(304)
        return self.hold(channel)

    def dead(self, channel: Channel) -> bool:
        return (
            self.broken("position-of-an-expired-message")
            and self.position is not None
            and not channel.messages
            and self.id in self.store.dropped
        )

    def interval(self, channel: Channel) -> Answer:
        if self.broken("interval-never-counts-as-held"):
            channel.uncounted += 1
        if self.broken("no-notice-for-interval-polls") and self.location.passthrough:
            self.notices_of().subscribe()
        return self.nothing_new(204 if self.broken("interval-nothing-new-304") else 304)

    def find(self, channel: Channel) -> tuple[Message | None, bool]:
        """The first message after the position, and whether something before it was missed."""
        position, messages = self.position, channel.messages
        interval = self.location.polling == "interval"
        if self.broken("sub-get-existing-at-once") and position is None:
            return None, False
        if interval and position is None and self.broken("interval-existing-at-once"):
            return None, False
        if position is None and self.broken("no-position-is-the-oldest"):
            return (messages[-1] if messages else None), False
        from_page = self.request.header("origin") is not None
        if from_page and messages:
            epoch = position is not None and position[0] == 0
            if epoch and self.broken("old-client-begins-with-the-oldest"):
                return messages[-1], False
            if not epoch and self.broken("old-client-repeats-after-an-error"):
                position = None
        again = self.broken("position-sent-back-is-the-next")
        after = [
            m
            for m in messages
            if position is None or m.id > position or (again and m.id == position)
        ]
        dropped = self.store.dropped.get(self.id)
        missed = dropped is not None and position is not None and position[0] > 0
        missed = missed and dropped is not None and position is not None and dropped > position
        gap = missed and not self.broken("gap-is-told")
        if missed and after and self.broken("expired-position-is-the-oldest"):
            return after[-1], gap
        if dropped is not None and self.broken("gap-is-told-once"):
            gap = gap or (position is not None and position[0] > 0)
        if dropped is not None and self.broken("no-gap-without-position"):
            gap = True
        if self.broken("no-gap-where-nothing-was-missed"):
            gap = True
        return (after[0] if after else None), gap

    def conflict(self, channel: Channel) -> bool:
        """Whether this request conflicts and loses; others that lose are ended."""
        where = self.location
        concurrency = where.concurrency
        if where.name == "sub" and self.broken("everybody-held-by-default"):
            concurrency = "last"
        everywhere = self.broken("conflicts-within-one-location")
        others = [w for w in channel.waiters if everywhere or w.location is where]
        if concurrency == "last" and others and not self.broken("last-older-gets-409"):
            message, _ = self.find(channel)
            if message is None or self.broken("last-at-once-is-no-conflict"):
                for waiter in others:
                    channel.waiters.remove(waiter)
                    waiter.finish(409)
                return self.broken("last-newest-stays")
        if concurrency == "first":
            if channel.uncounted and self.broken("first-lets-next-in"):
                return True
            if not others or self.broken("first-newer-gets-409"):
                return False
            if self.broken("first-oldest-stays"):
                for waiter in others:
                    channel.waiters.remove(waiter)
                    waiter.finish(409)
            return True
        return False

    # Being held

    def hold(self, channel: Channel) -> Answer | None:
        where, http = self.location, self.conversation.http
        notices = None
        if where.passthrough:
            notices = self.begin_notices()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            waiter = Waiter(where, channel, theirs)
            with self.lock:
                found = self.find(channel)[0]
                if found is not None:
                    # It came while a slow application was notified.
                    waiter.finish(found)
                else:
                    channel.waiters.append(waiter)
            if notices and self.broken("notice-answer-is-ignored"):
                notices.on_error = lambda: self.leave(waiter, 500)
            reason = self.wait(waiter, ours, http)
            answer = self.outcome(waiter, reason)
            if notices and not self.broken(f"pair-when-{reason}"):
                notices.unsubscribe()
            self.conversation.when_sent = waiter.sent.set
        return answer

    def leave(self, waiter: Waiter, status: int) -> None:
        with self.lock:
            if waiter in waiter.channel.waiters:
                waiter.channel.waiters.remove(waiter)
                waiter.finish(status)

    def wait(self, waiter: Waiter, wake: socket.socket, http: HttpConnection) -> str:
        """Wait until this is over; say why it is."""
        timeout = self.location.timeout / (2 if self.broken("time-out-in-its-time") else 1)
        end = time.monotonic() + timeout
        watched = [wake, http.socket]
        while not self.conversation.server.stopping.is_set():
            ready, _, _ = select.select(watched, [], [], max(0.0, end - time.monotonic()))
            if wake in ready:
                kinds = {410: "deleted", 404: "deleted", 409: "in-conflict"}
                if isinstance(waiter.outcome, int):
                    return kinds.get(waiter.outcome, "refused")
                return "delivered"
            if not ready:
                return "timed-out"
            try:
                data = http.socket.recv(1 << 16)
            except OSError:
                if self.broken("client-that-closes-is-gone"):
                    watched = [wake]
                    continue
                return "reset"
            if data:
                if not self.broken("pipelined-behind-a-held-one"):
                    http.buffer += data
                continue
            clauses = ("client-that-sends-fin-is-gone", "client-that-closes-is-gone")
            if any(self.broken(clause) for clause in clauses):
                watched = [wake]
                continue
            return "closed"
        return "closed"

    def outcome(self, waiter: Waiter, reason: str) -> Answer | None:
        channel = waiter.channel
        with self.lock:
            if waiter in channel.waiters:
                channel.waiters.remove(waiter)
                gone = reason in ("closed", "reset")
                if gone and self.broken("first-lets-next-in"):
                    channel.uncounted += 1
                nobody = not channel.waiters and not channel.messages
                if channel.by_get and not channel.by_put and nobody:
                    self.store.channels.pop(channel.id, None)
        self.delayed = True
        if isinstance(waiter.outcome, Message):
            answer = self.message(waiter.outcome, channel, self.gap_while_held(waiter.outcome))
            if self.broken("connection-goes-on-after-delivery"):
                self.request.fields.append(("Connection", "close"))
            return answer
        if waiter.outcome is not None:
            return self.status(waiter.outcome)
        if reason == "timed-out":
            return self.nothing_new(408 if self.broken("time-out-304") else 304)
        return None

    def gap_while_held(self, message: Message) -> bool:
        """Held from a position whose messages have been dropped, it has missed them."""
        dropped = self.store.dropped.get(self.id)
        position = self.position
        return dropped is not None and position is not None and position < dropped < message.id

    def publish(self, body: bytes, kind: str, channel: Channel) -> None:
        """Publish what came over a WebSocket."""
        request = Request("POST", "", "1.1", [("Content-Type", kind)], body)
        publishing = Publishing(self.conversation, self.location, request, self.escaped)
        with self.lock:
            publishing.post(channel)

    def notices_of(self, linger: float = 0.0) -> Notices:
        return Notices(self.conversation.server, self.request, self.id, linger)

    def begin_notices(self) -> Notices | None:
        self.conversation.pairs += 1
        if self.conversation.pairs > 1 and self.broken("pair-for-each-poll"):
            return None
        linger = self.location.linger
        if linger and not self.broken("linger-makes-one-pair"):
            key = (self.location.name, self.id, self.request.header("cookie") or "")
            with self.lock:
                earlier = self.conversation.server.lingering.get(key)
                if earlier is not None and earlier.come_back():
                    return earlier
                notices = self.conversation.server.lingering[key] = self.notices_of(linger)
        else:
            notices = self.notices_of()
        notices.subscribe()
        return notices
