"""Our relay, configured so that every check has its location, for one run of the suite."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import relay_streams

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "http://allowed.test"
LINGER = 2


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def location(type: str, name: str, store: str = "default", **more: object) -> dict[str, object]:
    return {"type": type, "prefix": f"/{name}/", "store": store, **more}


def configuration(workers: int, notices: int) -> dict[str, object]:
    """The daemon's settings. notices: the port that the suite listens on for them."""
    url = f"http://127.0.0.1:{notices}/passthrough"
    notify: dict[str, Any] = {"passthrough": url, "passthrough_linger": 0}
    return {
        "address": "127.0.0.1",
        "port": 0,
        "workers": workers,
        # A header and a body have time enough on a loaded machine, and their checks an end.
        "limits": {"header_timeout": 4, "body_timeout": 4, "keepalive_timeout": 5},
        "store": {
            "default": {"type": "memory"},
            "limited": {"type": "memory", "max_messages": 4},
            "expiring": {"type": "memory", "message_timeout": 2, "channel_timeout": 1},
            "kept": {"type": "memory", "message_timeout": 2, "min_messages": 2},
            "small": {"type": "memory", "max_memory": "64K"},
        },
        "locations": [
            location("publisher", "pub"),
            location("publisher", "existing-pub", create_on_post=False),
            location("publisher", "forego-pub", store_messages=False),
            location("publisher", "closed-pub", allow=["192.0.2.1"]),
            location("publisher", "origin-pub", allow_origin=ORIGIN),
            location("publisher", "limited-pub", "limited"),
            location("publisher", "expiring-pub", "expiring"),
            location("publisher", "kept-pub", "kept"),
            location("publisher", "small-pub", "small"),
            location("subscriber", "sub"),
            location("subscriber", "interval", polling="interval"),
            location("subscriber", "last", concurrency="last"),
            location("subscriber", "first", concurrency="first"),
            location("subscriber", "creating", create_on_get=True),
            location("subscriber", "timeout", timeout=2),
            location("subscriber", "type", content_type="text/x-location"),
            location("subscriber", "origin", allow_origin=ORIGIN, allow_credentials=True),
            location("subscriber", "origins", allow_origin=["http://other.test", ORIGIN]),
            location("subscriber", "limited", "limited"),
            location("subscriber", "expiring", "expiring"),
            location("subscriber", "kept", "kept"),
            location("subscriber", "small", "small"),
            location("subscriber", "passthrough", **notify),
            location("subscriber", "passthrough-timeout", timeout=2, **notify),
            location("subscriber", "passthrough-last", concurrency="last", **notify),
            location("subscriber", "passthrough-interval", polling="interval", **notify),
            location("subscriber", "linger", passthrough=url, passthrough_linger=LINGER),
            *relay_streams.locations(),
        ],
    }


BOUNDS: dict[str, object] = {
    "max-messages": 4,
    "message-timeout": 2,
    "channel-timeout": 1,
    "min-messages": 2,
    "max-memory": 64 << 10,
    "hold-timeout": 2,
    "header-timeout": 4,
    "body-timeout": 4,
    "idle-timeout": 5,
    "linger": LINGER,
    "content-type": "text/x-location",
    "origin": ORIGIN,
    **relay_streams.BOUNDS,
}


def arguments(port: int, notices: int, bounds: Mapping[str, object] = BOUNDS) -> list[str]:
    """What the suite must be told of a server that is configured so."""
    given = {
        "interval-sub": "interval",
        "last-sub": "last",
        "first-sub": "first",
        "existing-sub": "sub",
        "creating-sub": "creating",
        "timeout-sub": "timeout",
        "type-sub": "type",
        "origin-sub": "origin",
        "origins-sub": "origins",
        "limited-sub": "limited",
        "expiring-sub": "expiring",
        "kept-sub": "kept",
        "small-sub": "small",
        "passthrough-sub": "passthrough",
        "passthrough-timeout-sub": "passthrough-timeout",
        "passthrough-last-sub": "passthrough-last",
        "passthrough-interval-sub": "passthrough-interval",
        "linger-sub": "linger",
        "idle-pub": "expiring-pub",
    }
    names = ["sub", "pub", "existing-pub", "forego-pub", "closed-pub", "origin-pub", "limited-pub"]
    names += ["expiring-pub", "kept-pub", "small-pub", "nowhere"]
    given |= {name: name for name in names}
    given |= relay_streams.PATHS
    result = [f"--{name}={url(port, path)}" for name, path in given.items()]
    result.append(f"--passthrough-listen=127.0.0.1:{notices}")
    return result + [f"--{name}={value}" for name, value in bounds.items()]


def url(port: int, path: str) -> str:
    """The URL of a location. path: its prefix, or all with {id} in it."""
    return f"http://127.0.0.1:{port}/{path}" + ("" if "{id}" in path else "/")


def binary() -> Path:
    return (ROOT / os.environ.get("PUSHSERVER_BINARY", "build/pushserver")).resolve()


class Failed(Exception):
    """The daemon did not start, or did not end, as it should."""


@contextlib.contextmanager
def running(workers: int) -> Iterator[list[str]]:
    """Start the relay; give what the suite must be told. Raises Failed at a bad start or end."""
    if not binary().is_file():
        raise Failed(f"{binary()} does not exist: run make first")
    notices = free_port()
    with tempfile.TemporaryDirectory(prefix="conformance") as folder:
        log = Path(folder, "log")
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [binary(), "-c", "-"], stdin=subprocess.PIPE, stderr=errors, cwd=folder
            )
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(configuration(workers, notices)).encode())
            process.stdin.close()
            yield arguments(_port(process, log), notices)
            process.send_signal(signal.SIGTERM)
            status = process.wait(30)
            said = log.read_text(errors="replace")
            # A sanitizer ends the daemon with a status of its own and says why.
            if status != 0 or " error: " in said:
                raise Failed(f"status {status}:\n{said[-4000:]}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until something listens there. Raises Failed."""
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.02)
    raise Failed(f"nothing listens on port {port}")


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port that the daemon says it listens on."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise Failed(f"does not listen: {log.read_text()}")
