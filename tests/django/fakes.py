"""Stand-ins on loopback: a relay that answers as it is told, and a dead one."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    """What a fake relay was sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    client_port: int


@dataclass
class FakeRelay:
    """An HTTP server that notes what it is sent and answers with status."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"queued messages: 1\n"
    # Closes the connection after each answer without having said so.
    hangs_up: bool = False
    # Closes a connection without an answer from its n-th request on.
    drops_from: int | None = None
    # Cleared, it answers nothing until it is set.
    may_answer: threading.Event = field(default_factory=threading.Event)
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def location(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["FakeRelay"]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Nagle would hold the body back until the head is acknowledged.
            disable_nagle_algorithm = True

            served = 0  # of this connection

            def do_POST(self) -> None:
                self.served += 1
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.requests.append(
                    Request(
                        self.command,
                        self.path,
                        dict(self.headers),
                        body,
                        self.client_address[1],
                    )
                )
                fake.may_answer.wait()
                if fake.drops_from is not None and self.served >= fake.drops_from:
                    self.close_connection = True
                    return
                self.send_response(fake.status)
                for name, value in fake.headers.items():
                    self.send_header(name, value)
                answer = b"" if fake.status in (204, 304) else fake.body
                if fake.status not in (204, 304):
                    self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                self.close_connection = fake.hangs_up

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that gave up

        with Server(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_address[1]
            self.may_answer.set()
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield self
            finally:
                self.may_answer.set()
                server.shutdown()
                thread.join()


def unused_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
