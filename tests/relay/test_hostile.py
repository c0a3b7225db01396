"""Clients in great numbers that mean no good. After each, others are served as always."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from .client import request_bytes, wait_until
from .conftest import StartRelay
from .daemon import Daemon, binary, config
from .test_http import BAD

USUAL = 5.0  # seconds
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST
# AddressSanitizer keeps what was freed; little of it, where memory is what a test is about.
# ThreadSanitizer's shadow of all that was ever touched cannot be kept small.
memory_is_the_daemons = pytest.mark.skipif(
    "tsan" in binary(), reason="under ThreadSanitizer memory is not the daemon's own"
)
LITTLE_QUARANTINE = {
    "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "detect_leaks=1") + ":quarantine_size_mb=1"
}


def connect(relay: Daemon, data: bytes = b"", receive_buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(20)
    client.connect(relay.address)
    if data:
        client.sendall(data)
    return client


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


def assert_serves_others(relay: Daemon) -> None:
    """Publish to a held subscriber, in the usual time: milliseconds, on a loaded machine more."""
    begin = time.monotonic()
    poll = relay.hold("somebody else")
    assert relay.post("somebody else", b"still here").status == 201
    assert poll.response().body == b"still here"
    assert relay.delete("somebody else").status == 200
    assert time.monotonic() - begin < USUAL


def memory(relay: Daemon) -> int:
    """Bytes of memory that are the daemon's alone, in use now."""
    for line in Path(f"/proc/{relay.process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("smaps_rollup has no Private_Dirty")


def descriptors(relay: Daemon) -> int:
    return len(os.listdir(f"/proc/{relay.process.pid}/fd"))


@pytest.mark.parametrize("name", BAD)
def test_each_form_of_smuggling_reaches_nobody_else(shared_relay: Daemon, name: str) -> None:
    """A hundred at a time, each on a connection of its own, with a request behind it."""
    data = BAD[name] + request_bytes("PUT", "/pub/smuggled")
    clients = [connect(shared_relay, data) for _ in range(100)]
    assert_serves_others(shared_relay)
    for client in clients:
        assert client.recv(12) == b"HTTP/1.1 400"
        client.close()
    assert shared_relay.info("smuggled") is None
    assert_serves_others(shared_relay)


TOO_LARGE = {
    "target": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
    "target without end": (b"GET /" + b"x" * 300_000, b"414"),
    "headers": (request_bytes("GET", "/sub/c", [(f"X-{n}", "x" * 40) for n in range(400)]), b"431"),
    "header without end": (b"GET /sub/c HTTP/1.1\r\nX: " + b"x" * 300_000, b"431"),
    "length of a body": (request_bytes("POST", "/pub/c", {"Content-Length": "1048577"}), b"413"),
    "body in chunks": (
        request_bytes("POST", "/pub/c", {"Transfer-Encoding": "chunked"})
        + (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 17,
        b"413",
    ),
    "id": (request_bytes("GET", "/sub/" + "c" * 256), b"400"),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_is_too_large_is_refused_and_disturbs_nobody(shared_relay: Daemon, name: str) -> None:
    data, status = TOO_LARGE[name]
    clients = [connect(shared_relay) for _ in range(20)]
    for client in clients:
        with contextlib.suppress(OSError):  # it is refused before all of it was sent
            client.sendall(data)
    assert_serves_others(shared_relay)
    for client in clients:
        assert client.recv(12) == b"HTTP/1.1 " + status
        client.close()
    assert_serves_others(shared_relay)


def test_thousands_of_connections_that_send_nothing_disturb_nobody(
    start_relay: StartRelay,
) -> None:
    """And they are closed when the time for a head is over."""
    relay = start_relay(config(limits={"header_timeout": 2}))
    before = descriptors(relay)
    silent = [connect(relay) for _ in range(3000)]
    assert_serves_others(relay)
    for client in silent:
        assert client.recv(100) == b""
        client.close()
    wait_until(lambda: descriptors(relay) <= before + 1, what="closed descriptors")
    assert_serves_others(relay)


def test_five_thousand_abrupt_resets_leave_nothing_behind(start_relay: StartRelay) -> None:
    """In the middle of a head, of a body, of being held, and right behind a request."""
    relay = start_relay(config(subscriber={"timeout": 0}))
    before = descriptors(relay)
    pieces = (
        b"GET /sub/c HTTP/1.1\r\nHo",
        b"POST /pub/d HTTP/1.1\r\nHost: relay\r\nContent-Length: 1000\r\n\r\nabc",
        b"GET /sub/c HTTP/1.1\r\nHost: relay\r\n\r\n",
        b"GET /sub/c HTTP/1.1\r\nHost: relay\r\n\r\n" * 3,
        b"POST /pub/d HTTP/1.1\r\nHost: relay\r\nContent-Length: 1\r\n\r\na" * 20,
    )
    for _ in range(50):
        clients = [connect(relay, pieces[n % len(pieces)]) for n in range(100)]
        for client in clients:
            reset(client)
    wait_until(lambda: descriptors(relay) <= before + 1, what="closed descriptors")
    wait_until(lambda: relay.info("c") is None, what="a channel without waiters to go")
    assert_serves_others(relay)


def test_slow_heads_and_slow_bodies_have_one_time_for_the_whole(start_relay: StartRelay) -> None:
    """A byte now and then buys no more of it."""
    relay = start_relay(config(limits={"header_timeout": 2, "body_timeout": 2}))
    heads = [connect(relay, b"GET /sub/c HTTP/1.1\r\nHost: relay\r\nX: ") for _ in range(100)]
    bodies = [
        connect(relay, b"POST /pub/c HTTP/1.1\r\nHost: relay\r\nContent-Length: 900\r\n\r\n")
        for _ in range(100)
    ]
    waiting = heads + bodies
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.2):
            for client in waiting:
                with contextlib.suppress(OSError):  # this one was cut off already
                    client.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        assert_serves_others(relay)
        for client in waiting:
            assert client.recv(15) == b"HTTP/1.1 408 Re"
    finally:
        over.set()
        dripping.join()
        for client in waiting:
            client.close()
    assert_serves_others(relay)


@memory_is_the_daemons
def test_a_subscriber_that_never_reads_costs_no_more_than_what_is_stored(
    start_relay: StartRelay,
) -> None:
    """Its polls stand in a row, each for a large message, while 10,000 messages pass."""
    relay = start_relay(
        config(store={"max_messages": 10}, subscriber={"timeout": 0}), env=LITTLE_QUARANTINE
    )
    poll = b"GET /sub/c HTTP/1.1\r\nHost: relay\r\n\r\n"
    message = b"m" * 20_000
    post = b"POST /pub/c HTTP/1.1\r\nHost: relay\r\nContent-Length: 20000\r\n\r\n" + message
    relay.publish("c", message)
    deaf = [connect(relay, poll * 200, receive_buffer=4096) for _ in range(5)]
    with connect(relay) as publisher, publisher.makefile("rb") as answers:

        def publish(count: int) -> None:
            for _ in range(count):
                publisher.sendall(post)
                assert answers.readline().split()[1] in (b"201", b"202")
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    if line.startswith(b"Content-Length:"):
                        length = int(line.split()[1])
                answers.read(length)

        publish(1000)
        early = memory(relay)
        publish(9000)
        assert memory(relay) - early < 4 * 1024 * 1024
    for client in deaf:
        client.close()
    assert_serves_others(relay)


@memory_is_the_daemons
def test_a_hundred_thousand_channels_are_bounded_and_go_when_they_are_unused(
    start_relay: StartRelay,
) -> None:
    """Each made by a POST; the second hundred thousand needs no memory that the first had not."""
    relay = start_relay(
        config(store={"max_memory": "40M", "message_timeout": 1, "channel_timeout": 1}),
        env=LITTLE_QUARANTINE,
    )

    def make_channels(prefix: str) -> None:
        with connect(relay) as publisher, publisher.makefile("rb") as answers:

            def send() -> None:
                for start in range(0, 100_000, 500):
                    publisher.sendall(
                        b"".join(
                            b"POST /pub/%b-%d HTTP/1.1\r\nHost: relay\r\n"
                            b"Content-Length: 2\r\n\r\nhi" % (prefix.encode(), n)
                            for n in range(start, start + 500)
                        )
                    )

            sender = threading.Thread(target=send)
            sender.start()
            taken = 0
            for _ in range(100_000):
                status = answers.readline().split()[1]
                assert status in (b"202", b"507")
                taken += status == b"202"
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    if line.startswith(b"Content-Length:"):
                        length = int(line.split()[1])
                answers.read(length)
            sender.join()
            assert taken > 0

    make_channels("first")
    after_first = memory(relay)
    wait_until(
        lambda: relay.info("first-99999") is None and relay.info("first-0") is None,
        timeout=30,
        what="unused channels to go",
    )
    make_channels("second")
    assert memory(relay) < after_first + 24 * 1024 * 1024
    # The last of them may never have been made, for want of room.
    wait_until(lambda: relay.post("one more", b"m").status != 507, timeout=30, what="room again")
    wait_until(lambda: relay.info("second-99999") is None, timeout=30, what="these to go, too")
    assert_serves_others(relay)
