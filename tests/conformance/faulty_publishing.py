"""A request at a publisher location of the faulty server; see faulty.py."""

from __future__ import annotations

import re
import select
import socket
import time
from typing import TYPE_CHECKING

from faulty_http import MAX_BODY, Answer, Refused, Request
from faulty_store import Channel, Location, Message, Waiter

if TYPE_CHECKING:
    from faulty import Conversation


class Publishing:
    """One request at a publisher location."""

    def __init__(
        self, conversation: Conversation, location: Location, request: Request, escaped: str
    ) -> None:
        self.conversation = conversation
        self.broken = conversation.broken
        self.location = location
        self.store = location.store
        self.request = request
        self.id = conversation.channel_id(escaped)

    def answer(self) -> Answer | None:
        request, http = self.request, self.conversation.http
        if request.method == "POST":
            clause = (
                "expect-100-continue-refused" if request.all("expect") else "body-too-large-413"
            )
            most = MAX_BODY // 2 if self.broken("body-as-large-as-allowed") else MAX_BODY
            request.body = http.read_body(request, most, clause)
        else:
            self.conversation.drop_body(request, "pub")
        if self.broken("publisher-that-half-closes"):
            ready, _, _ = select.select([http.socket], [], [], 0.1)
            if ready and not http.socket.recv(1, socket.MSG_PEEK):
                return None
        if self.location.closed and not self.broken("strangers-may-not-publish"):
            return Answer(403)
        if not self.may_publish():
            return Answer(403)
        run = {"GET": self.get, "PUT": self.put, "POST": self.post, "DELETE": self.delete}
        if request.method not in run:
            status = 200 if self.broken("pub-other-methods-405") else 405
            allow = [] if self.broken("pub-405-has-allow") else [("Allow", ", ".join(run))]
            return Answer(status, allow, b"a body that HEAD must not have")
        with self.conversation.lock:
            self.store.expire()
            channel = self.store.channels.get(self.id)
            answer, waiters = run[request.method](channel)
        for waiter in waiters:
            waiter.sent.wait(2.0)
        return answer

    def may_publish(self) -> bool:
        origin = self.request.header("origin")
        if origin is None:
            return True
        if self.location.origins:
            return origin in self.location.origins and not self.broken("named-pages-may-publish")
        return self.broken("web-pages-may-not-publish")

    def info(
        self, status: int, channel: Channel, before: Channel | None = None, held: int | None = None
    ) -> Answer:
        """Channel information. before: as it was; held: before the request."""
        method = self.request.method
        if self.broken(f"info-of-{method.lower()}"):
            return Answer(status)
        held = channel.held if held is None else held
        if self.broken("info-subscribers") and method == "POST":
            held = len(channel.waiters)
        messages = len(channel.messages)
        if self.broken("info-messages") and method == "POST":
            messages -= 1
        if self.broken("info-messages-after-delete") and method == "DELETE":
            messages = channel.posts
        if self.broken("message-timeout-is-told") and self.store.options.message_timeout:
            messages = channel.posts
        requested = -1
        if channel.requested is not None:
            requested = int(time.monotonic() - channel.requested)
        if self.broken("info-requested"):
            requested = 0
        last = channel.last_id
        if last is not None and self.broken("info-last-message-id"):
            last = (last[0], last[1] + 1)
        text = None if last is None else f"{last[0]}:{last[1]}"
        if text is None and self.broken("info-of-an-empty-channel"):
            text = ""
        return self.render(status, messages, requested, held, text)

    def render(
        self, status: int, messages: int, requested: int, held: int, last: str | None
    ) -> Answer:
        kind = self.form()
        quoted = "null" if last is None else f'"{last}"'
        if kind == "application/json":
            body = (
                f'{{"messages": {messages}, "requested": {requested}, '
                f'"subscribers": {held}, "last_message_id": {quoted}}}'
            )
        elif kind == "application/xml":
            body = (
                f"<channel><messages>{messages}</messages><requested>{requested}</requested>"
                f"<subscribers>{held}</subscribers>"
                f"<last_message_id>{last or ''}</last_message_id></channel>"
            )
        elif kind == "application/yaml":
            body = (
                f"messages: {messages}\nrequested: {requested}\n"
                f"subscribers: {held}\nlast_message_id: {quoted}\n"
            )
        else:
            end = "s" if self.broken("info-is-text-by-default") else ""
            body = (
                f"queued messages: {messages}\nlast requested: {requested} sec. ago\n"
                f"active subscribers{end}: {held}\nlast message id: {last or ''}\n"
            )
        return Answer(status, [("Content-Type", kind)], body.encode())

    def form(self) -> str:
        """The form that Accept asks for. Raises Refused where a fault cannot meet it."""
        chosen: list[tuple[float, str]] = []
        accept = self.request.header("accept")
        for part in (accept or "").split(","):
            kind, _, parameters = part.strip().partition(";")
            found = re.search(r"q=([\d.]+)", parameters)
            quality = float(found[1]) if found else 1.0
            short = kind.removeprefix("application/")
            known = short in ("json", "xml", "yaml") and not self.broken(f"info-as-{short}")
            if (known or kind == "text/plain") and quality > 0:
                chosen.append((quality, kind))
        if chosen:
            if self.broken("info-accept-by-quality"):
                return chosen[0][1]
            return max(chosen)[1]
        if accept is not None:
            strict = "accept-never-stops-a-post"
            if self.request.method == "GET":
                strict = "info-accept-that-cannot-be-met"
            if self.broken(strict):
                raise Refused(406)
        return "text/plain"

    def get(self, channel: Channel | None) -> tuple[Answer, list[Waiter]]:
        if channel is None:
            if self.broken("pub-get-creates-nothing"):
                self.store.create(self.id)
            return Answer(200 if self.broken("pub-get-unknown-404") else 404), []
        return self.info(204 if self.broken("pub-get-200") else 200, channel), []

    def put(self, channel: Channel | None) -> tuple[Answer, list[Waiter]]:
        if channel is None:
            channel = self.store.create(self.id)
            if self.broken("pub-put-creates"):
                del self.store.channels[self.id]
        elif self.broken("pub-put-keeps-messages"):
            channel.messages.clear()
        channel.by_put = True
        waiters: list[Waiter] = []
        if self.broken("pub-put-is-no-message"):
            message = self.store.post(channel, b"", None, True)
            waiters = self.take_waiters(channel, message)
        if self.broken("pub-put-keeps-waiters"):
            waiters = self.take_waiters(channel, 410)
        return self.info(201 if self.broken("pub-put-200") else 200, channel), waiters

    def delete(self, channel: Channel | None) -> tuple[Answer, list[Waiter]]:
        if channel is None:
            clause = "pub-delete-unknown-404"
            if self.id in self.store.deleted:
                clause = "pub-delete-second-404"
            return Answer(200 if self.broken(clause) else 404), []
        held = channel.held
        outcome = 404 if self.broken("deleted-while-held-410") else 410
        waiters = []
        if self.broken("pub-delete-410-before-200"):
            self.conversation.server.start(lambda: self.delete_later(channel))
        else:
            waiters = self.take_waiters(channel, outcome)
        self.store.delete(channel)
        status = 204 if self.broken("pub-delete-200") else 200
        return self.info(status, channel, held=held), waiters

    def delete_later(self, channel: Channel) -> None:
        self.conversation.server.stopping.wait(0.3)
        with self.conversation.lock:
            self.take_waiters(channel, 410)

    def take_waiters(self, channel: Channel, outcome: Message | int) -> list[Waiter]:
        """End all who are held; they may then be waited for."""
        waiters, stay = channel.waiters, isinstance(outcome, Message)
        channel.waiters = [waiter for waiter in waiters if stay and waiter.stays]
        for waiter in waiters:
            waiter.finish(outcome)
        return waiters

    def event(self) -> str | None:
        names = {"sse-event-by-x-eventsource-event": "x-eventsource-event"}
        names["sse-event-by-event-type"] = "event-type"
        for clause, name in names.items():
            if self.request.header(name) is not None and not self.broken(clause):
                return self.request.header(name)
        return None

    def post(self, channel: Channel | None) -> tuple[Answer, list[Waiter]]:
        body, kind = self.request.body, self.request.header("content-type")
        if kind is None and self.broken("pub-post-without-content-type"):
            return Answer(400), []
        if not body and self.broken("pub-post-empty"):
            return Answer(400), []
        if channel is None:
            # This location makes channels only where that is a fault.
            asks_put = self.location.creates and not self.broken("pub-post-unknown-404")
            if asks_put or self.broken("pub-post-creates"):
                return Answer(404), []
            channel = self.store.create(self.id)
        if self.broken("pub-post-any-bytes"):
            body = body.replace(b"\0", b"")
        if self.broken("pub-post-large"):
            body = body[:100_000]
        stored = self.location.stores or self.broken("forego-stores-nothing")
        held = channel.held
        message = self.store.post(channel, body, kind, stored, self.event())
        waiters = self.deliver(channel, message, stored)
        waiters = [w for w in waiters if not (w.stays and self.broken(f"{w.kind}-is-held"))]
        sent = len(waiters) + channel.uncounted
        if self.broken("pub-post-202-after-delivery"):
            channel.uncounted += sum(not waiter.stays for waiter in waiters)
        if self.broken("publisher-to-subscriber"):
            channel.messages.clear()
        status = 201 if sent else 202
        if self.broken("pub-post-201-when-sent"):
            status = 202
        if self.broken("pub-post-202-when-nobody"):
            status = 201
        return self.info(status, channel, held=held), []

    def deliver(self, channel: Channel, message: Message, stored: bool) -> list[Waiter]:
        if not stored and self.broken("forego-delivers-to-held"):
            return []
        if self.broken("every-message-once-and-in-order") and channel.posts % 7 == 0:
            channel.messages.remove(message)
            return []
        if self.broken("long-poll-is-for-its-channel"):
            for other in self.store.channels.values():
                if other is not channel:
                    self.take_waiters(other, message)
        if self.broken("position-in-the-future"):
            stay = [w for w in channel.waiters if w.location.name == "sub"]
            channel.waiters = [w for w in channel.waiters if w not in stay]
        if self.broken("slow-reader-delays-nobody") and len(message.body) > MAX_BODY // 2:
            return []
        for other in self.store.channels.values():
            for waiter in other.waiters if other is not channel else ():
                if waiter.stays and self.broken(f"{waiter.kind}-is-for-its-channel"):
                    waiter.finish(message)
        deaf = self.deaf(channel, stored)
        channel.waiters = [waiter for waiter in channel.waiters if waiter not in deaf]
        taken = self.take_waiters(channel, message)
        channel.waiters += deaf
        return taken

    def deaf(self, channel: Channel, stored: bool) -> list[Waiter]:
        """The streams that a fault keeps a message from."""
        deaf, kinds = [], set()
        for waiter in channel.waiters:
            if not waiter.stays:
                continue
            unstored = not stored and self.broken(f"{waiter.kind}-unstored-message")
            again = waiter.kind in kinds and self.broken(f"{waiter.kind}-everybody-has-each")
            if unstored or again:
                deaf.append(waiter)
            kinds.add(waiter.kind)
        return deaf
