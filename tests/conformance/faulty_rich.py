"""Polls of the faulty server that are more than plain; see faulty.py.

They may be of several channels, begin elsewhere than with the oldest message, have all messages
in one answer, be calls of a script, or be one too many.
"""

from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING

from faulty_forms import said_channel
from faulty_http import Answer, Refused
from faulty_store import Channel, Message
from faulty_streaming import Joined, Seat

if TYPE_CHECKING:
    from faulty_subscribing import Subscribing


def told(seats: list[Seat]) -> None:
    for seat in seats:
        seat.sent.set()


Found = list[tuple[Channel, Message, bool]]


class RichPoll(Joined):
    """One such request."""

    def __init__(self, subscribing: Subscribing) -> None:
        super().__init__(subscribing, "poll")
        found = re.search(r"(?:^|&)callback=([^&]*)", subscribing.query)
        jsonp = "jsonp" in self.location.transports or self.broken("jsonp-off-unless-named")
        self.callback = found[1] if found and jsonp else None

    def answer(self) -> Answer | None:
        try:
            return self.answer_or_refuse()
        except Refused as refused:
            return self.subscribing.status(refused.status)
        finally:
            self.close()

    def answer_or_refuse(self) -> Answer | None:
        self.check_callback()
        with self.subscribing.lock:
            status, words = self.enter()
            if status != 200:
                return self.subscribing.status(status, [("X-Push-Explain", words)])
            found = self.backlog()
            if not found:
                if self.callback and self.broken("jsonp-is-held"):
                    return self.subscribing.nothing_new(304)
                self.sit_down()
        return self.made_of(found) if found else self.hold()

    def check_callback(self) -> None:
        if self.callback is None:
            return
        allowed = r"[A-Za-z0-9_$]+" if self.broken("jsonp-names") else r"[A-Za-z0-9_$.\[\]]+"
        bad = not re.fullmatch(allowed, self.callback)
        if bad and not self.broken("jsonp-bad-name-400"):
            raise Refused(400)

    def hold(self) -> Answer | None:
        http, conversation = self.subscribing.conversation.http, self.subscribing.conversation
        while True:
            came = self.wait(http.socket, time.monotonic() + 60.0)
            if came is not False:
                data = http.socket.recv(1 << 16) if came else b""
                if not data:
                    return None
                http.buffer += data
                continue
            with self.subscribing.lock:
                channel, outcome = self.box.popleft()
                seats = [seat for seat in self.seats if seat.channel is channel]
                if isinstance(outcome, Message):
                    seats = list(self.seats)
                    self.get_up()
                else:
                    self.get_up(channel)
                over = not self.seats or self.broken("several-poll-outlives-one")
            if isinstance(outcome, Message):
                answer = self.made_of([(channel, outcome, False)])
            elif over:
                answer = self.subscribing.status(outcome)
            else:
                for seat in seats:
                    seat.sent.set()
                continue
            conversation.when_sent = partial(told, seats)
            return answer

    # What is answered

    def made_of(self, found: Found) -> Answer:
        batch = self.location.batch
        if batch == "off":
            found = found[:1]
        channel, last, _ = found[-1]
        if self.broken(f"batch-{batch}-position"):
            channel, last, _ = found[0]
        answer = self.subscribing.message(last, channel, found[0][2])
        several = len(self.channels) > 1 and not self.broken("several-say-their-channel")
        say = self.location.say_channel and not self.broken("say-channel-in-a-poll")
        if several or say:
            answer.fields.append(("X-Push-Channel", said_channel(channel)))
        if batch != "off" and not self.broken(f"batch-{batch}"):
            self.batch(answer, found)
        if self.callback is not None:
            self.call(answer, last)
        elif "jsonp" in self.location.transports and self.broken("jsonp-without-callback"):
            answer.status = 400
        return answer

    def batch(self, answer: Answer, found: Found) -> None:
        bodies = [message.body for _, message, _ in found]
        kind = {"multipart": "multipart/mixed; boundary=a-boundary", "json": "application/json"}
        name = kind.get(self.location.batch, "application/octet-stream")
        self.retype(answer, name)
        if self.location.batch == "json":
            answer.body = json.dumps([body.decode("utf-8", "replace") for body in bodies]).encode()
        elif self.location.batch == "raw":
            answer.body = b"".join(bodies)
        else:
            answer.body = b"--a-boundary"
            for channel, message, gap in found:
                part = self.subscribing.message(message, channel, gap)
                head = "".join(f"\r\n{name}: {value}" for name, value in part.fields)
                answer.body += head.encode() + b"\r\n\r\n" + message.body + b"\r\n--a-boundary"
            answer.body += b"--\r\n"

    def call(self, answer: Answer, message: Message) -> None:
        kind = "text/html" if self.broken("jsonp-calls-back") else "application/javascript"
        self.retype(answer, kind)
        text = json.dumps([message.body.decode("utf-8", "replace")])
        if self.broken("jsonp-message-is-data"):
            text = message.body.decode("utf-8", "replace")
        answer.body = f"/**/{self.callback}({text});".encode()

    @staticmethod
    def retype(answer: Answer, kind: str) -> None:
        fields = [f for f in answer.fields if f[0] != "Content-Type"]
        answer.fields = [*fields, ("Content-Type", kind)]
