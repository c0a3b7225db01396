"""websocket-client, Python's synchronous client."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import websocket
from relay.client import Position
from relay.conftest import StartRelay
from relay.daemon import SUB, config

from .conftest import StartProxy

GONE = 1001  # RFC 6455, 7.4.1: the close code of a deleted channel


@contextlib.contextmanager
def connection(port: int, query: str = "") -> Iterator[websocket.WebSocket]:
    """A connection that says the id of each message before it."""
    url = f"ws://127.0.0.1:{port}{SUB}c{query}"
    ws = websocket.create_connection(url, timeout=20, subprotocols=["ws+meta.nchan"])
    try:
        assert ws.subprotocol == "ws+meta.nchan"
        yield ws
    finally:
        ws.shutdown()  # type: ignore[no-untyped-call]


def receive(ws: websocket.WebSocket, count: int) -> list[tuple[str, bytes]]:
    """Messages with their ids."""
    seen = []
    for _ in range(count):
        _, data = ws.recv_data()
        head, body = data.split(b"\n\n", 1)
        fields = dict(line.split(": ", 1) for line in head.decode().split("\n"))
        assert fields["content-type"] == "text/plain"
        seen.append((fields["id"], body))
    return seen


def receive_close(ws: websocket.WebSocket) -> int:
    """The code of the close frame, which must be what comes next."""
    opcode, data = ws.recv_data(control_frame=True)
    assert opcode == websocket.ABNF.OPCODE_CLOSE, (opcode, data)
    return int.from_bytes(data[:2])


def test_create_connection_gets_what_is_published(start_relay: StartRelay) -> None:
    relay = start_relay(config())
    ws = websocket.create_connection(f"ws://127.0.0.1:{relay.port}{SUB}c", timeout=20)
    try:
        relay.publish("c", "first, in ÜTF-8".encode())
        relay.publish("c", b"second")
        assert [ws.recv(), ws.recv()] == ["first, in ÜTF-8", "second"]
        relay.post("c", b"\x00\xff\x80", "application/octet-stream")
        assert ws.recv() == b"\x00\xff\x80"
        ws.close()
        assert ws.sock is None
    finally:
        ws.shutdown()  # type: ignore[no-untyped-call]
    relay.wait_until_held("c", 0)


def test_each_message_once_in_order_through_cuts_to_the_end(
    start_relay: StartRelay, start_proxy: StartProxy
) -> None:
    relay = start_relay(config())
    proxy = start_proxy(relay)
    ids: list[Position] = []
    seen: list[tuple[str, bytes]] = []
    query = ""

    def publish_five() -> None:
        ids.extend(relay.publish("c", *(b"message %d" % (len(ids) + n) for n in range(5))))

    for _ in range(4):
        publish_five()
        with connection(proxy.port, query) as ws:
            relay.wait_until_held("c", 1)
            publish_five()
            seen += receive(ws, 10)
            proxy.cut()
            with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
                ws.recv()
        relay.wait_until_held("c", 0)
        query = f"?last_event_id={seen[-1][0]}"
    assert seen == [(id.text, b"message %d" % n) for n, id in enumerate(ids)]

    with connection(proxy.port, query) as ws:
        relay.wait_until_held("c", 1)
        assert relay.delete("c").status == 200
        assert receive_close(ws) == GONE


def test_a_client_that_answers_pings_stays(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"ping_interval": 1, "ping_timeout": 1}))
    with connection(relay.port) as ws:
        for _ in range(3):
            opcode, _ = ws.recv_data(control_frame=True)  # the client answers by itself
            assert opcode == websocket.ABNF.OPCODE_PING
        relay.publish("c", b"still here")
        assert receive(ws, 1)[0][1] == b"still here"
