"""The application that a relay's passthrough notices go to: a small HTTP server.

Checks run at the same time, so notices are told apart by their channel, and how one is
answered is chosen by channel too.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import defaultdict
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .wire import imf_fixdate

MOST_CONNECTIONS = 64
MOST_HEAD = 1 << 17
PATIENCE = 30.0  # seconds until a thread gives up on a relay that says nothing more
HUGE = 64 << 20  # bytes of the answer that nobody should read
ENOUGH = 16 << 20  # of them may fit in the buffers between


class Notice(NamedTuple):
    """One request, as it came."""

    line: bytes
    fields: list[tuple[str, bytes]]  # names in lower case, values as they are
    body: bytes

    @property
    def event(self) -> str:
        """subscribe, unsubscribe, or what else came."""
        for event in ("subscribe", "unsubscribe"):
            if self.body.endswith(f"&{event}=1".encode()):
                return event
        return repr(self.body[-40:])

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key == name.lower()]


class Listener:
    """Takes notices from when it is made until it is stopped.

    Raises OSError when it cannot listen there.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._lock = threading.Lock()
        self._notices: dict[bytes, list[Notice]] = defaultdict(list)
        self._lines: list[bytes] = []
        self._answers: dict[bytes, str] = {}
        self._taken: dict[bytes, int | None] = {}
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family, backlog=128)
        self.address = self._listener.getsockname()[:2]
        self._acceptor = threading.Thread(target=self._accept, name="hbpr-listener")
        self._acceptor.start()

    def stop(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() does not
        self._listener.close()
        self._acceptor.join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    # What checks ask

    def answer(self, channel: str, how: str) -> None:
        """Choose how this channel's notices are answered.

        how: never, error, redirect or huge; 204 else.
        """
        self._answers[channel.encode()] = how

    def notices(self, channel: str | bytes) -> list[Notice]:
        with self._lock:
            return list(self._notices[channel.encode() if isinstance(channel, str) else channel])

    def saw_path(self, path: str) -> bool:
        with self._lock:
            return any(path.encode() in line for line in self._lines)

    def taken(self, channel: str) -> int | None:
        """Bytes of a huge answer that were taken before the relay hung up; None while it goes."""
        return self._taken.get(channel.encode())

    # How it works

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopping.wait(0.05):
                    return
                continue
            with self._lock:
                if len(self._open) >= MOST_CONNECTIONS:
                    connection.close()
                    continue
                self._open.add(connection)
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                thread = threading.Thread(target=self._serve, args=(connection,), name="hbpr-note")
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(PATIENCE)
            with contextlib.suppress(OSError, ValueError, EOFError):
                self._converse(connection)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _converse(self, connection: socket.socket) -> None:
        buffer = b""
        while not self._stopping.is_set():
            while b"\r\n\r\n" not in buffer:
                data = connection.recv(1 << 16)
                if not data or len(buffer) > MOST_HEAD:
                    return
                buffer += data
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            line, *rest = head.split(b"\r\n")
            fields = []
            for field in rest:
                name, _, value = field.partition(b":")
                fields.append((name.decode("latin-1").strip().lower(), value.strip(b" \t")))
            length = int(dict(fields).get("content-length", b"0"))
            while len(buffer) < min(length, MOST_HEAD):
                data = connection.recv(1 << 16)
                if not data:
                    return
                buffer += data
            notice = Notice(line, fields, buffer[:length])
            buffer = buffer[length:]
            self._take(connection, notice)

    def _take(self, connection: socket.socket, notice: Notice) -> None:
        channel = b""
        for part in notice.body.split(b"&"):
            key, _, value = part.partition(b"=")
            if key == b"channel_id":
                channel = unquote_to_bytes(value.replace(b"+", b" "))
        with self._lock:
            self._lines.append(notice.line)
            self._notices[channel].append(notice)
        how = self._answers.get(channel, "")
        date = b"Date: " + imf_fixdate(int(time.time())).encode() + b"\r\n"
        if how == "never":
            self._stopping.wait(PATIENCE)
        elif how == "error":
            body = b"the application has failed"
            connection.sendall(
                b"HTTP/1.1 500 Internal Server Error\r\n%sContent-Length: %d\r\n\r\n%s"
                % (date, len(body), body)
            )
        elif how == "redirect":
            connection.sendall(
                b"HTTP/1.1 302 Found\r\n%sLocation: http://%s/elsewhere-%s\r\n"
                b"Content-Length: 0\r\n\r\n" % (date, dict(notice.fields)["host"], channel)
            )
        elif how == "huge":
            self._send_huge(connection, channel, date)
        else:
            connection.sendall(b"HTTP/1.1 204 No Content\r\n%s\r\n" % date)

    def _send_huge(self, connection: socket.socket, channel: bytes, date: bytes) -> None:
        connection.settimeout(2.0)
        piece, sent = bytes(1 << 16), 0
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (date, HUGE))
            while sent < HUGE:
                connection.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        self._taken[channel] = max(sent, self._taken.get(channel) or 0)
        if sent < HUGE:
            raise EOFError
