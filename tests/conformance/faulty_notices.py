"""The notices that the faulty server sends to an application; see faulty.py."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_from_bytes

from faulty_http import Request

if TYPE_CHECKING:
    from faulty import FaultyServer

NEVER = {"host", "connection", "transfer-encoding"}
NOT_PASSED_ON: dict[str, Callable[[str], bool]] = {
    "notice-without-connection": lambda name: name in ("keep-alive", "proxy-connection"),
    "notice-without-proxy-authorization": lambda name: name == "proxy-authorization",
    "notice-without-te": lambda name: name in ("te", "trailer"),
    "notice-without-content": lambda name: name.startswith("content-"),
    "notice-without-expect": lambda name: name == "expect",
    "notice-without-upgrade": lambda name: name == "upgrade" or name.startswith("sec-websocket-"),
    "notice-without-conditions": lambda name: (
        name in ("if-match", "if-unmodified-since", "if-range", "range")
    ),
    "notice-without-accept-encoding": lambda name: name == "accept-encoding",
    "notice-without-underscores": lambda name: "_" in name,
    "notice-without-position": lambda name: name in ("if-modified-since", "if-none-match"),
}


class Notices:
    """The two notices of one held request, sent one after the other by a thread."""

    def __init__(
        self, server: FaultyServer, request: Request, channel: bytes, linger: float = 0.0
    ) -> None:
        self.server = server
        self.broken = server.broken
        self.fields = list(request.fields)
        self.channel = channel
        self.linger = linger
        self.on_error: Callable[[], None] = lambda: None
        self.condition = threading.Condition()
        self.present = True
        self.over = False

    def subscribe(self) -> None:
        if self.broken("slow-application-delays-nobody"):
            self.notify("subscribe")
            self.server.start(self.rest)
        else:
            self.server.start(self.run)

    def unsubscribe(self) -> None:
        with self.condition:
            self.present = False
            self.condition.notify()

    def come_back(self) -> bool:
        """Whether the subscriber can be taken for not having left."""
        with self.condition:
            if self.over:
                return False
            self.present = True
            self.condition.notify()
            return True

    def run(self) -> None:
        self.notify("subscribe")
        self.rest()

    def rest(self) -> None:
        with self.condition:
            while True:
                left = self.condition.wait_for(
                    lambda: not self.present or self.server.stopping.is_set(), 0.2
                )
                if self.server.stopping.is_set():
                    return
                if left and not self.condition.wait_for(lambda: self.present, self.linger):
                    break
            self.over = True
        self.notify("unsubscribe")

    def headers(self, event: str) -> list[tuple[str, str]]:
        named = {
            token.strip().lower()
            for name, value in self.fields
            if name.lower() == "connection"
            for token in value.split(",")
        }
        if self.broken("notice-without-what-connection-names"):
            named = set()
        kept = []
        for name, value in self.fields:
            low = name.lower()
            if low in NEVER or low in named or low.startswith("x-forwarded-"):
                continue
            if any(drops(low) and not self.broken(c) for c, drops in NOT_PASSED_ON.items()):
                continue
            if low == "cookie" and self.broken("notice-has-the-subscribers-headers"):
                continue
            if event == "unsubscribe" and self.broken("notices-of-one-request-are-alike"):
                continue
            if self.broken("notice-values-unchanged"):
                value = " ".join(value.split())
            kept.append((name, value))
        return kept

    def forwarded(self) -> list[tuple[str, str]]:
        came = [value for name, value in self.fields if name.lower() == "x-forwarded-for"]
        if self.broken("notice-forwarded-for"):
            came = []
        fields = [("X-Forwarded-For", ", ".join([*came, "127.0.0.1"]))]
        if not self.broken("notice-forwarded-proto-and-host"):
            hosts = [value for name, value in self.fields if name.lower() == "host"]
            fields += [("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "".join(hosts))]
        if self.broken("notice-has-nothing-else"):
            fields.append(("Accept", "*/*"))
        return fields

    def notify(self, event: str) -> None:
        kind = "application/x-www-form-urlencoded"
        if self.broken("notice-is-a-form"):
            kind = "text/plain"
        id = quote_from_bytes(self.channel, safe="~")
        if self.broken("notice-id-survives"):
            id = self.channel.decode("latin-1")
        value = "yes" if self.broken(f"notice-of-{event}") else "1"
        body = f"channel_id={id}&{event}={value}".encode("latin-1")
        host = f"127.0.0.1:{self.server.notices}"
        if self.broken("notice-has-the-applications-host"):
            host = next((v for n, v in self.fields if n.lower() == "host"), host)
        self.send("/passthrough", host, [("Content-Type", kind), *self.headers(event)], body)

    def send(self, path: str, host: str, fields: list[tuple[str, str]], body: bytes) -> None:
        lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in [*fields, *self.forwarded()]]
        lines.append("Connection: close")
        with contextlib.suppress(OSError):
            sock = socket.create_connection(("127.0.0.1", self.server.notices), 10.0)
            with self.server.lock:
                self.server.sockets.add(sock)
            try:
                sock.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
                self.read_answer(sock)
            finally:
                sock.close()
                with self.server.lock:
                    self.server.sockets.discard(sock)

    def read_answer(self, sock: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data and (more := sock.recv(4096)):
            data += more
        if self.broken("notice-answer-is-not-read-to-its-end"):
            while sock.recv(1 << 20):
                pass
        if b" 500 " in data[:20]:
            self.on_error()
        moved = re.search(rb"\r\nLocation: http://[^/]*(\S+)", data)
        if moved and self.broken("notice-redirect-is-not-followed"):
            path = quote(moved[1].decode())
            self.send(path, f"127.0.0.1:{self.server.notices}", [], b"")
