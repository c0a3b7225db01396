"""An application that takes the relay's notices: a small threaded HTTP server on loopback.

It records each request as bytes, for the relay promises to pass header values unchanged, and
misbehaves on demand: slow, silent, closing, refusing until it listens. Its backlog is that of
Django's development server.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import Counter
from types import TracebackType
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .client import wait_until

BACKLOG = 10
MAX_CONNECTIONS = 64
PATIENCE = 30.0  # seconds until a thread gives up whatever it waits for


class Notice(NamedTuple):
    """One request, as it came."""

    connection: int  # the how manieth connection it came on, from 0
    line: bytes
    fields: list[tuple[str, bytes]]  # names in lower case, values as they are
    body: bytes

    @property
    def event(self) -> str:
        """subscribe or unsubscribe."""
        match = re.fullmatch(rb"channel_id=[^&=]*&(subscribe|unsubscribe)=1", self.body)
        assert match, f"not a notice: {self.body!r}"
        return match[1].decode()

    @property
    def channel(self) -> bytes:
        value = self.body.split(b"&")[0].removeprefix(b"channel_id=")
        return unquote_to_bytes(value.replace(b"+", b" "))

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key == name.lower()]

    def header(self, name: str) -> bytes | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None


class FakeDjango:
    """Answers every request; all attributes may be changed while it runs.

    status, fields, body: the answer.
    closes: None keeps connections; "said" closes each after its answer and says so,
        "silently" closes without having said so, "unanswered" instead of answering.
        "reused" closes each when a second request comes, without taking it.
    gate: answers wait until it is set.
    """

    def __init__(self, listen: bool = True) -> None:
        self.status = 204
        self.fields: list[tuple[str, str]] = []
        self.body = b""
        self.closes: str | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.connections = 0  # in all
        self.busy = 0  # requests being answered now
        self.most_busy = 0
        self._notices: list[Notice] = []
        self._errors: list[str] = []
        self._lock = threading.Lock()
        self._open: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._listener = socket.socket()
        # Bound but not listening, the port refuses connections and nobody else can take it.
        self._listener.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        if listen:
            self.listen()

    def listen(self) -> None:
        """Begin to answer; before this, connections are refused."""
        self._listener.listen(BACKLOG)
        thread = threading.Thread(target=self._accept, name="fake-django-accept")
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> FakeDjango:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if kind is None:
            assert not self._errors, self._errors[:10]

    def stop(self) -> None:
        self._stopping = True
        self.gate.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() does not
        self._listener.close()
        self.hang_up()
        for thread in list(self._threads):
            thread.join(PATIENCE)

    def hang_up(self) -> None:
        """Close all connections that are kept."""
        with self._lock:
            for connection in self._open.values():
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/passthrough"

    @property
    def notices(self) -> list[Notice]:
        with self._lock:
            return list(self._notices)

    @property
    def events(self) -> list[tuple[str, str]]:
        """What came: (event, channel) in order of arrival."""
        return [(n.event, n.channel.decode("latin-1")) for n in self.notices]

    def count(self) -> Counter[tuple[str, str]]:
        return Counter(self.events)

    def wait_until_idle(self) -> None:
        """Wait until each request that came has been answered."""
        wait_until(lambda: self.busy == 0, what="all to be answered")

    def wait_for(self, number: int, timeout: float = 15.0) -> list[Notice]:
        """Wait until so many notices have come, and check that there are no more of them."""

        def came() -> bool:
            with self._lock:
                return len(self._notices) >= number

        wait_until(came, timeout, lambda: f"{number} notices, came {len(self.notices)}")
        notices = self.notices
        assert len(notices) == number, self.events
        return notices

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                number, self.connections = self.connections, self.connections + 1
                if self._stopping or len(self._open) >= MAX_CONNECTIONS:
                    self._errors += [] if self._stopping else ["too many connections at once"]
                    connection.close()
                    continue
                self._open[number] = connection
            connection.settimeout(PATIENCE)
            thread = threading.Thread(target=self._serve, args=(number, connection))
            self._threads.append(thread)
            thread.start()

    def _serve(self, number: int, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as stream:
                while self._answer_one(number, stream, connection):
                    pass
        except OSError:
            pass
        finally:
            with self._lock:
                del self._open[number]
            connection.close()

    def _answer_one(self, number: int, stream: object, connection: socket.socket) -> bool:
        """Read and answer one request; False when the connection is done."""
        readline, read = stream.readline, stream.read  # type: ignore[attr-defined]
        line = readline()
        if not line:
            return False
        fields = []
        while (field := readline()) not in (b"\r\n", b""):
            name, _, value = field.partition(b":")
            # One blank after the colon is the usual form; anything else is part of the value.
            value = value.removesuffix(b"\r\n").removeprefix(b" ")
            fields.append((name.decode("latin-1").lower(), value))
        notice = Notice(number, line.rstrip(b"\r\n"), fields, b"")
        length = notice.header("Content-Length")
        if length is None or notice.header("Transfer-Encoding") is not None:
            with self._lock:
                self._errors.append(f"a notice without Content-Length: {fields}")
            return False
        notice = notice._replace(body=read(int(length)))
        with self._lock:
            self._notices.append(notice)
            self.busy += 1
            self.most_busy = max(self.busy, self.most_busy)
        try:
            self.gate.wait(PATIENCE)
            if self._stopping or self.closes == "unanswered":
                return False
            connection.sendall(self._answer())
        finally:
            with self._lock:
                self.busy -= 1
        if self.closes == "reused":
            # Closing with the request unread resets the connection, as when the two cross.
            connection.recv(1, socket.MSG_PEEK)
            return False
        return self.closes is None

    def _answer(self) -> bytes:
        fields = list(self.fields)
        if self.status != 204:
            fields.append(("Content-Length", str(len(self.body))))
        if self.closes == "said":
            fields.append(("Connection", "close"))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"HTTP/1.1 {self.status} Any\r\n{head}\r\n".encode() + self.body
