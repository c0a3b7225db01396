"""Answers that go on: their bodies as they come, and how they end.

A subscriber of any kind gives one message after another by next(), whatever they came in.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .suite import SETTLE, Trial, expect
from .wire import Connection, Deadline, Failure, Response, brief

CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")


class Message(NamedTuple):
    """A message, as far as its transport says what it is."""

    body: bytes
    id: str | None = None  # SECOND:TAG
    kind: str = ""  # an event's name; or the opcode of a WebSocket's message in words
    content_type: str | None = None
    fields: tuple[tuple[str, str], ...] = ()  # what else was said, names in lower case

    def field(self, name: str) -> str | None:
        return dict(self.fields).get(name)


class Subscriber:
    """Who reads a stream, of any kind."""

    def __init__(self, trial: Trial, connection: Connection, head: Response) -> None:
        self.trial = trial
        self.connection = connection
        self.head = head
        self.over = False  # its end has come, as it should

    def take(self) -> Message | None:
        """The next message of what has been read, if it is whole."""
        raise NotImplementedError

    def fill(self, seconds: float) -> bool:
        """Read what comes within so many seconds; False if nothing does."""
        raise NotImplementedError

    def pending(self) -> bytes:
        """What has been read and is no whole message, for what is said of it."""
        raise NotImplementedError

    def next(self, after: str = "the request") -> Message:
        """The next message, which must come at once. after: what has just happened."""
        end = Deadline(min(self.trial.soon, self.trial.deadline.left()))
        while (message := self.take()) is None:
            if self.over:
                raise Failure(f"a message after {after}", "the end of the stream")
            if not self.fill(end.left()) and end.left() == 0:
                behind = f", but {brief(self.pending())}" if self.pending() else ""
                raise Failure(
                    f"a message at once after {after}", f"none within {end.seconds:g} s{behind}"
                )
        return message

    def expect(self, *bodies: bytes, after: str = "the request") -> list[Message]:
        """Read messages, which must be these."""
        messages = []
        for body in bodies:
            message = self.next(after)
            expect(message.body == body, f"the message {brief(body)}", brief(message.body))
            messages.append(message)
        return messages

    def expect_nothing(self, why: str, seconds: float = SETTLE) -> None:
        """Check that no message comes for a while, and no end."""
        end = Deadline(min(seconds, self.trial.deadline.left()))
        while True:
            message = self.take()
            if message is not None:
                raise Failure(f"no message, {why}", brief(message.body))
            if self.over:
                raise Failure(f"the stream to go on, {why}", "its end")
            if end.left() == 0:
                return
            self.fill(end.left())

    def expect_end(self, after: str, code: int, seconds: float | None = None) -> None:
        """Check that the stream ends at once, and as it should, with no message before.

        code: a WebSocket's close code. seconds: instead of at once.
        """
        end = Deadline(min(seconds or self.trial.soon, self.trial.deadline.left()))
        while not self.over:
            message = self.take()
            if message is not None:
                raise Failure(f"the end after {after}", f"the message {brief(message.body)}")
            if not self.over and not self.fill(end.left()) and end.left() == 0:
                raise Failure(f"the end after {after}", f"none within {end.seconds:g} s")

    def close(self) -> None:
        self.connection.close()


class Body(Subscriber):
    """The body of an HTTP answer, in chunks or to the end of the connection."""

    def __init__(self, trial: Trial, connection: Connection, head: Response) -> None:
        super().__init__(trial, connection, head)
        self.data = b""  # of the body, not yet taken
        coding = head.header("Transfer-Encoding")
        self.chunked = coding is not None
        if coding is not None and coding.lower() != "chunked":
            raise Failure("a stream's coding to be chunked", brief(coding))
        if head.header("Content-Length") is not None:
            raise Failure("a stream without a length", f"Content-Length: {head.fields}")
        self._decode()

    def fill(self, seconds: float) -> bool:
        if self.over or not self.connection.read_some(seconds):
            return False
        self._decode()
        return True

    def pending(self) -> bytes:
        return self.data + self.connection.buffer

    def _decode(self) -> None:
        connection = self.connection
        if not self.chunked:
            self.data, connection.buffer = self.data + connection.buffer, b""
        while self.chunked and not self.over and self._decode_chunk():
            pass
        if connection.ended is not None and not self.over:
            if self.chunked:
                raise Failure("the last chunk", f"the connection {connection.ended}")
            if connection.ended != "closed":
                raise Failure("the connection closed", connection.ended)
            self.over = True

    def _decode_chunk(self) -> bool:
        """Take a chunk from what was read, if it is whole."""
        buffer = self.connection.buffer
        found = CHUNK_SIZE.match(buffer)
        if not found:
            if b"\r\n" in buffer or len(buffer) > 1024:
                raise Failure("a chunk's size", brief(buffer))
            return False
        size, start = int(found[1], 16), found.end()
        if len(buffer) < start + size + 2:
            return False
        if buffer[start + size : start + size + 2] != b"\r\n":
            raise Failure("a chunk to end with CRLF", brief(buffer[start + size :], 10))
        self.data += buffer[start : start + size]
        self.connection.buffer = buffer[start + size + 2 :]
        self.over = size == 0
        return True
