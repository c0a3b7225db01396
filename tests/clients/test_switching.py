"""Clients that change their transport at random, through a proxy that resets and delays.

Whatever they change to and wherever they are cut off, each of them gets every message once
and in order, but for those that it is told are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from relay.conftest import StartRelay
from relay.daemon import Daemon, config

from .subscribers import STREAM, TEMPLATE, Subscriber, read_head

CLIENTS = 200
MESSAGES = 20_000
BURST = 400  # messages at once, at most
PUBLISHING = 20.0  # seconds for all of them, where nobody is in their way
DEADLINE = 400.0  # seconds, for a machine that has much else to do


@contextlib.contextmanager
def proxy_by_chance(port: int, seed: str) -> Iterator[int]:
    """A proxy before the relay in a process of its own; gives its port."""
    program = str(Path(__file__).with_name("proxy.py"))
    with subprocess.Popen(
        [sys.executable, program, str(port), seed],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
    assert process.returncode == 0


async def publish(relay: Daemon, channel: str, rng: random.Random) -> None:
    """Publish all messages, in bursts, on one connection and without waiting for answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    with contextlib.closing(writer):
        number = 1
        while number <= MESSAGES:
            burst = min(rng.randint(1, BURST), MESSAGES + 1 - number)
            for n in range(number, number + burst):
                body = b"%d%b" % (n, b" " * rng.randint(0, 50))
                head = f"POST /pub/{channel} HTTP/1.1\r\nHost: relay.test\r\n"
                head += f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
            for _ in range(burst):
                status, headers = await read_head(reader)
                assert status in (201, 202), status
                await reader.readexactly(int(headers["content-length"]))
            number += burst
            # Bursts come in the midst of bursts' deliveries, and also when all is quiet.
            await asyncio.sleep(rng.uniform(0, 2) * PUBLISHING * burst / MESSAGES)


async def follow(subscribers: list[Subscriber], relay: Daemon, rng: random.Random) -> None:
    try:
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
            for subscriber in subscribers:
                group.create_task(subscriber.follow(MESSAGES))
            group.create_task(publish(relay, subscribers[0].channel, rng))
    except TimeoutError:
        behind = sorted(subscriber.last for subscriber in subscribers)
        raise AssertionError(f"not within {DEADLINE} s; they have got to {behind}") from None


@pytest.mark.parametrize("kept", [0, 500], ids=["all kept", "few kept"])
def test_who_changes_its_transport_loses_nothing_untold_and_gets_nothing_twice(
    start_relay: StartRelay, kept: int
) -> None:
    seed = os.environ.get("SWITCHING_SEED") or str(random.randrange(10**9))
    print(f"to have the same choices once more: SWITCHING_SEED={seed}")
    streams = {
        "type": "subscriber",
        "prefix": STREAM,
        "transports": ["stream"],
        "message_template": TEMPLATE,
    }
    relay = start_relay(
        config(
            {"gap_event": True, "ping_interval": 1},
            more=[streams],
            store={"type": "memory", "max_messages": kept},
        )
    )
    start = relay.publish("c", b"0")[0].text
    with proxy_by_chance(relay.port, seed) as port:
        subscribers = [Subscriber(port, "c", start, 0, f"{seed} {n}") for n in range(CLIENTS)]
        asyncio.run(follow(subscribers, relay, random.Random(seed)))

    for subscriber in subscribers:
        assert subscriber.received.total() + subscriber.lost == MESSAGES
    received: Counter[str] = sum((s.received for s in subscribers), Counter())
    gaps: Counter[str] = sum((s.gaps for s in subscribers), Counter())
    print(f"received {received}, gaps {gaps}, counted {sum(s.counted for s in subscribers)}")
    # That all this has really been tried.
    transports = set(subscribers[0].transports)
    assert set(received) == transports
    assert sum(subscriber.broken for subscriber in subscribers) > CLIENTS
    assert set(gaps) == (transports if kept else set())
