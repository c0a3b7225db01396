"""Bodies of several messages: those with a separator between, and multipart/mixed (RFC 2046)."""

from __future__ import annotations

import re
from email.message import Message as Header

from .streaming import Body, Message
from .suite import Trial, expect
from .wire import Connection, Failure, Position, Response, brief


class SeparatedStream(Body):
    """An HTTP stream: each message is followed by the separator."""

    def __init__(
        self, trial: Trial, connection: Connection, head: Response, separator: bytes = b"\n"
    ) -> None:
        self.separator = separator
        super().__init__(trial, connection, head)

    def take(self) -> Message | None:
        body, found, rest = self.data.partition(self.separator)
        if not found:
            return None
        self.data = rest
        return Message(body)


def boundary_of(response: Response) -> bytes:
    """The boundary that a multipart answer's Content-Type tells. Raises Failure."""
    header = Header()
    header["Content-Type"] = response.header("Content-Type") or ""
    boundary = header.get_boundary()
    expect(
        header.get_content_type() == "multipart/mixed" and bool(boundary),
        "multipart/mixed with a boundary",
        str(response.header("Content-Type")),
    )
    assert boundary is not None
    expect(
        bool(re.fullmatch(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", boundary)),
        "a boundary of 1 to 70 of the characters that RFC 2046 allows",
        brief(boundary),
    )
    return boundary.encode()


class Parts:
    """The parts of a multipart body, as far as it has come."""

    def __init__(self, boundary: bytes) -> None:
        self.delimiter = b"--" + boundary
        self.data = b""
        self.closed = False  # the closing delimiter has come
        self._inside = False

    def take(self) -> Message | None:
        """The next part that is whole: its length says so, or the delimiter that follows."""
        if not self._inside and not self._enter():
            return None
        head, blank, rest = (b"\r\n" + self.data).partition(b"\r\n\r\n")
        if not blank:
            return None
        fields = [self._field(line) for line in head.split(b"\r\n")[1:]]
        length = dict(fields).get("content-length")
        if length is not None:
            if len(rest) < int(length):
                return None
            body, rest = rest[: int(length)], rest[int(length) :]
        else:
            body, found, behind = rest.partition(b"\r\n" + self.delimiter)
            if not found:
                return None
            rest = found + behind
        self.data, self._inside = rest, False
        return self._message(body, fields)

    def _enter(self) -> bool:
        """Step over the delimiter, if it is there."""
        if self.closed:
            return False
        data = self.data.removeprefix(b"\r\n")
        if len(data) < len(self.delimiter) + 2:
            return False
        if not data.startswith(self.delimiter):
            raise Failure(f"the delimiter {brief(self.delimiter)}", brief(data))
        data = data[len(self.delimiter) :]
        if data.startswith(b"--"):
            self.closed = True
            return False
        padding, found, data = data.partition(b"\r\n")
        if not found:
            return False
        expect(not padding.strip(b" \t"), "nothing but CRLF behind a delimiter", brief(padding))
        self.data, self._inside = data, True
        return True

    @staticmethod
    def _field(line: bytes) -> tuple[str, str]:
        name, colon, value = line.decode("latin-1").partition(":")
        expect(bool(colon), "headers of a part", brief(line))
        return name.lower(), value.strip(" \t")

    @staticmethod
    def _message(body: bytes, fields: list[tuple[str, str]]) -> Message:
        said = dict(fields)
        id = None
        if "last-modified" in said and "etag" in said:
            id = Position(said["last-modified"], said["etag"]).text
        return Message(body, id, "", said.get("content-type"), tuple(fields))


class PartStream(Body):
    """A multipart/mixed stream."""

    def __init__(self, trial: Trial, connection: Connection, head: Response) -> None:
        self.parts = Parts(boundary_of(head))
        super().__init__(trial, connection, head)

    def take(self) -> Message | None:
        self.parts.data, self.data = self.parts.data + self.data, b""
        return self.parts.take()

    def pending(self) -> bytes:
        return self.parts.data + super().pending()


def parts_of(response: Response) -> list[Message]:
    """The parts of a whole answer."""
    parts = Parts(boundary_of(response))
    parts.data = response.body
    messages = []
    while (message := parts.take()) is not None:
        messages.append(message)
    expect(parts.closed, "the closing delimiter", brief(parts.data))
    return messages
