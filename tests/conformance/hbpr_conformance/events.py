"""Event streams, as the HTML standard has them read: "9.2.6 Interpreting an event stream"."""

from __future__ import annotations

from .streaming import Body, Message
from .suite import Trial
from .wire import Connection, Response

FIELDS = ("data", "event", "id", "retry")


class EventStream(Body):
    """What an EventSource makes of a stream; beside its events it keeps what else came."""

    def __init__(self, trial: Trial, connection: Connection, head: Response) -> None:
        self.comments: list[str] = []
        self.retry: int | None = None  # milliseconds
        self.last_event_id = ""
        self._block: list[tuple[str, str]] = []  # the fields since the last empty line
        self._first = True
        self._after_cr = False
        super().__init__(trial, connection, head)

    def take(self) -> Message | None:
        while (line := self._line()) is not None:
            if not line:
                message = self._dispatch()
                if message is not None:
                    return message
            elif line.startswith(":"):
                self.comments.append(line[1:].removeprefix(" "))
            else:
                name, _, value = line.partition(":")
                self._field(name, value.removeprefix(" "))
        return None

    def _line(self) -> str | None:
        """The next line, which CR, LF and CRLF end alike."""
        if self._after_cr and self.data:
            self.data = self.data.removeprefix(b"\n")
            self._after_cr = False
        ends = [at for at in (self.data.find(b"\r"), self.data.find(b"\n")) if at >= 0]
        if not ends:
            return None
        at = min(ends)
        line, self._after_cr = self.data[:at], self.data[at : at + 1] == b"\r"
        self.data = self.data[at + 1 :]
        if self._first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._first = False
        return line.decode("utf-8", "replace")

    def _field(self, name: str, value: str) -> None:
        self._block.append((name, value))
        if name == "id" and "\0" not in value:
            self.last_event_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)

    def _dispatch(self) -> Message | None:
        block, self._block = self._block, []
        data = [value for name, value in block if name == "data"]
        if not data:
            return None  # an event without data is none
        event = ([value for name, value in block if name == "event"] or [""])[-1]
        id = None
        for name, value in block:
            id = value if name == "id" else id
        others = tuple(item for item in block if item[0] not in FIELDS)
        return Message(
            "\n".join(data).encode(),
            id,
            event or "message",
            fields=others,
        )
