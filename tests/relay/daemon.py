"""Start the real daemon for one test, and see to it that it ends as it should.

Each daemon has a folder of its own (configuration, log) and a port that the kernel chose.
When it is stopped, it must exit with 0, and its log must hold nothing but lines of the
log's own form: no assertion, no sanitizer report, no warning or error that the test did
not expect.
"""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .client import Address, Connection, Headers, Poll, Position, Response, wait_until

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (error|warning|info|debug): .+")
ORIGIN_WARNING = "warning: .*origin .* is not allowed"
PUB = "/pub/"
SUB = "/sub/"

# Exit codes, as the man page has them.
OK, BAD_CONFIGURATION, BAD_USAGE, CANNOT_BIND, CANNOT_START = range(5)

Config = dict[str, Any]


def binary() -> str:
    return str((ROOT / os.environ.get("PUSHSERVER_BINARY", "build/pushserver")).resolve())


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The daemon's environment: a sanitizer's finding ends it, and no proxy of ours reaches it."""
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1")
    env.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
    env.setdefault("TSAN_OPTIONS", "halt_on_error=1")
    return {**env, **(extra or {})}


def config(
    subscriber: Config | None = None,
    publisher: Config | None = None,
    more: Iterable[Config] = (),
    **top: Any,
) -> Config:
    """A configuration with a publisher at /pub/, a subscriber at /sub/ and what a test adds.

    more: further locations, tried after these two.
    """
    return {
        "locations": [
            {"type": "publisher", "prefix": PUB, **(publisher or {})},
            {"type": "subscriber", "prefix": SUB, "create_on_get": True, **(subscriber or {})},
            *more,
        ],
        **top,
    }


def run(
    *args: str,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the binary to its end, for calls that serve nobody."""
    return subprocess.run(
        [binary(), *args],
        input=stdin if stdin is not None else "",
        cwd=cwd,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def channel_path(prefix: str, channel: str | bytes) -> str:
    return prefix + quote(channel, safe="")


class Daemon:
    """A running relay, and the requests that tests make of it."""

    def __init__(
        self,
        folder: Path,
        settings: Config | str,
        workers: int,
        env: Mapping[str, str] | None = None,
        ulimit: str | None = None,
    ) -> None:
        """Write the configuration and start.

        settings: a configuration, to which the number of workers and a free port are added,
            or the text of a file, which is taken as it is.
        ulimit: options to the shell's ulimit, for a daemon with few descriptors.
        """
        self.folder = folder
        self.workers = workers
        self.expected: list[re.Pattern[str]] = []
        self.connections: list[Connection] = []
        self.log_path = folder / "log"
        self.config_path = folder / "pushserver.yaml"
        if isinstance(settings, str):
            text = settings
        else:
            # `listen` says all by itself, and takes no port beside it.
            port = {} if "listen" in settings else {"port": 0}
            settings = {**port, "workers": workers, **copy.deepcopy(settings)}
            text = json.dumps(settings, indent=1, ensure_ascii=False)
        self.config_path.write_text(text, encoding="utf-8")
        command = [binary(), "-c", str(self.config_path)]
        if ulimit is not None:
            command = ["sh", "-c", f'ulimit {ulimit} && exec "$@"', "sh", *command]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment(env),
            )
        try:
            self.port = self._wait_until_listening()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _wait_until_listening(self) -> int:
        def listening() -> int | None:
            if self.process.poll() is not None:
                raise AssertionError(f"exit {self.process.returncode} at start:\n{self.log()}")
            found = re.search(r"listening on \S*:(\d+)", self.log())
            return int(found[1]) if found else None

        return wait_until(listening, timeout=30, what="listening") or 0

    # The log

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def log_lines(self, pattern: str) -> list[str]:
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def allow_log(self, pattern: str) -> None:
        """Warnings and errors with this pattern may come."""
        self.expected.append(re.compile(pattern))

    def expect_log(self, pattern: str) -> list[str]:
        """Wait for a line with this pattern, which may be a warning; return all such lines."""
        self.allow_log(pattern)
        return wait_until(
            lambda: self.log_lines(pattern), what=lambda: f"log says {pattern}\n{self.log()}"
        )

    def check_log(self) -> None:
        """Check that the log has no line that nobody expected."""
        odd = []
        for line in self.log().splitlines():
            match = LINE.fullmatch(line)
            calm = match is not None and match[1] in ("info", "debug")
            if not calm and not any(pattern.search(line) for pattern in self.expected):
                odd.append(line)
        assert not odd, "unexpected in the log:\n" + "\n".join(odd[:50])

    # Stopping

    def close_connections(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections.clear()

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 15.0) -> int:
        """Wait for the end; return the exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {timeout} s:\n{self.log()}") from None

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop, and check how it ended. The drain has 5 s; a loaded machine gets more here."""
        if self.process.poll() is None:
            self.send_signal(number)
        code = self.wait()
        assert code == OK, f"exit {code}:\n{self.log()}"
        self.check_log()

    def kill(self) -> None:
        """End at once, as a crash would."""
        self.process.kill()
        self.process.wait()

    def cpu_seconds(self) -> float:
        """CPU time used so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    # Clients

    @property
    def address(self) -> Address:
        return ("127.0.0.1", self.port)

    def connect(self, receive_buffer: int | None = None, source: str | None = None) -> Connection:
        connection = Connection(self.address, receive_buffer=receive_buffer, source=source)
        self.connections.append(connection)
        return connection

    def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes | None = None,
        version: str = "HTTP/1.1",
        host: str | None = "relay.test",
    ) -> Response:
        """One request on a connection of its own."""
        with Connection(self.address) as connection:
            return connection.request(method, target, headers, body, version, host)

    def get(
        self,
        channel: str | bytes,
        position: Position | None = None,
        headers: Headers = (),
        prefix: str = SUB,
    ) -> Response:
        """Subscribe and wait for the answer, for what is answered at once or soon."""
        with Poll(self.address, channel_path(prefix, channel), position, headers) as poll:
            return poll.response()

    def post(
        self,
        channel: str | bytes,
        body: bytes = b"",
        content_type: str | None = "text/plain",
        prefix: str = PUB,
    ) -> Response:
        headers = {"Accept": "application/json"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        return self.request("POST", channel_path(prefix, channel), headers, body)

    def put(self, channel: str | bytes, prefix: str = PUB) -> Response:
        headers = {"Accept": "application/json"}
        return self.request("PUT", channel_path(prefix, channel), headers, b"")

    def delete(self, channel: str | bytes, prefix: str = PUB) -> Response:
        headers = {"Accept": "application/json"}
        return self.request("DELETE", channel_path(prefix, channel), headers)

    def info(self, channel: str | bytes, prefix: str = PUB) -> Any:
        """Channel information (a dict), or None where there is no such channel."""
        headers = {"Accept": "application/json"}
        response = self.request("GET", channel_path(prefix, channel), headers)
        if response.status == 404:
            return None
        assert response.status == 200, response
        return json.loads(response.body)

    def held(self, channel: str | bytes) -> int:
        """How many subscribers the channel holds."""
        info = self.info(channel)
        return 0 if info is None else info["subscribers"]

    def stored(self, channel: str | bytes) -> int:
        """How many messages the channel keeps."""
        info = self.info(channel)
        return 0 if info is None else info["messages"]

    def wait_until_held(self, channel: str | bytes, count: int) -> None:
        wait_until(
            lambda: self.held(channel) == count,
            what=lambda: f"{count} subscribers held, {self.held(channel)} are",
        )

    def poll(
        self,
        channel: str | bytes,
        position: Position | None = None,
        headers: Headers = (),
        prefix: str = SUB,
        version: str = "HTTP/1.1",
        receive_buffer: int | None = None,
    ) -> Poll:
        """Send a subscriber's request, which may be held or answered."""
        target = channel_path(prefix, channel)
        poll = Poll(self.address, target, position, headers, version, receive_buffer)
        self.connections.append(poll)
        return poll

    def hold(
        self,
        channel: str | bytes,
        position: Position | None = None,
        headers: Headers = (),
        prefix: str = SUB,
        version: str = "HTTP/1.1",
        receive_buffer: int | None = None,
    ) -> Poll:
        """Subscribe, and return when the request is held."""
        before = self.held(channel)
        poll = self.poll(channel, position, headers, prefix, version, receive_buffer)
        self.wait_until_held(channel, before + 1)
        return poll

    def publish(self, channel: str | bytes, *bodies: bytes) -> list[Position]:
        """Publish messages and return their positions, as the relay tells them."""
        positions = []
        for body in bodies:
            response = self.post(channel, body)
            assert response.status in (201, 202), response
            second, tag = json.loads(response.body)["last_message_id"].split(":")
            positions.append(Position.at(int(second), int(tag)))
        return positions


def now() -> int:
    """The wall clock's second."""
    return int(time.time())
