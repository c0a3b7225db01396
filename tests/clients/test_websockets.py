"""websockets, Python's asynchronous client, which offers compression by default."""

from __future__ import annotations

import asyncio

import pytest
from relay.client import Position
from relay.conftest import StartRelay
from relay.daemon import SUB, Daemon, config
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.sync.client import connect as connect_sync
from websockets.typing import Subprotocol

from .conftest import StartProxy
from .proxy import Proxy

META = Subprotocol("ws+meta.nchan")
GONE = 1001  # RFC 6455, 7.4.1: the close code of a deleted channel
LONG = b"all work and no play " * 500


def url(port: int, query: str = "") -> str:
    return f"ws://127.0.0.1:{port}{SUB}c{query}"


def split(message: str | bytes) -> tuple[str, bytes]:
    """The id and the message."""
    assert isinstance(message, str)
    head, body = message.split("\n\n", 1)
    fields = dict(line.split(": ", 1) for line in head.split("\n"))
    return fields["id"], body.encode()


async def follow_through_cuts(relay: Daemon, proxy: Proxy) -> None:
    """Be cut four times, then see the end of the channel."""
    ids: list[Position] = []
    bodies: list[bytes] = []
    seen: list[tuple[str, bytes]] = []
    query = ""

    def publish_five() -> None:
        new = [b"message %d " % (len(ids) + n) + LONG * (n % 2) for n in range(5)]
        bodies.extend(new)
        ids.extend(relay.publish("c", *new))

    for _ in range(4):
        publish_five()
        async with connect(url(proxy.port, query), subprotocols=[META]) as ws:
            relay.wait_until_held("c", 1)
            publish_five()
            seen += [split(await ws.recv()) for _ in range(10)]
            proxy.cut()
            with pytest.raises(ConnectionClosedError):
                await ws.recv()
        relay.wait_until_held("c", 0)
        query = f"?last_event_id={seen[-1][0]}"
    assert seen == list(zip([id.text for id in ids], bodies, strict=True))

    async with connect(url(proxy.port, query), subprotocols=[META]) as ws:
        relay.wait_until_held("c", 1)
        assert relay.delete("c").status == 200
        # Raised after a close handshake, that is: the relay has sent its close frame.
        with pytest.raises(ConnectionClosedOK):
            await ws.recv()
        assert ws.close_code == GONE


@pytest.mark.parametrize("deflate", [False, True])
def test_each_message_once_in_order_through_cuts_to_the_end(
    start_relay: StartRelay, start_proxy: StartProxy, deflate: bool
) -> None:
    relay = start_relay(config(subscriber={"deflate": deflate}))
    asyncio.run(follow_through_cuts(relay, start_proxy(relay)))


def test_messages_are_compressed_where_the_location_says_so(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"deflate": True}))

    async def story() -> None:
        async with connect(url(relay.port)) as ws:
            assert [type(ext) for ext in ws.protocol.extensions] == [PerMessageDeflate]
            relay.publish("c", LONG)
            relay.post("c", LONG, "application/octet-stream")
            relay.publish("c", b"short", b"")
            received = [await ws.recv() for _ in range(4)]
            assert received == [LONG.decode(), LONG, "short", ""]

    asyncio.run(story())


def test_pings_of_either_side_are_answered(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"ping_interval": 1, "ping_timeout": 1}))

    async def story() -> None:
        # The client closes by itself where an answer to its own pings stays away.
        async with connect(url(relay.port), ping_interval=0.2, ping_timeout=10) as ws:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ws.recv(), 3.5)  # three pings of the relay's
            assert ws.latency > 0  # known from the answer to one of the client's
            relay.publish("c", b"still here")
            assert await ws.recv() == "still here"

    asyncio.run(story())


def test_the_synchronous_client_gets_messages_and_the_end(start_relay: StartRelay) -> None:
    relay = start_relay(config())
    with connect_sync(url(relay.port), subprotocols=[META]) as ws:
        ids = relay.publish("c", b"one", b"two")
        assert [split(ws.recv(20)) for _ in ids] == [(ids[0].text, b"one"), (ids[1].text, b"two")]
        assert relay.delete("c").status == 200
        with pytest.raises(ConnectionClosedOK):
            ws.recv(20)
        assert ws.close_code == GONE
