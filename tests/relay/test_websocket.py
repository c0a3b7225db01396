"""WebSockets on the real daemon; of frames themselves see tests/unit/test_wsframe.c."""

from __future__ import annotations

import json
import os
import select
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
import websocket

from .client import wait_until
from .conftest import StartRelay
from .daemon import ORIGIN_WARNING, Daemon, config


@contextmanager
def opened(relay: Daemon, path: str = "/sub/room", **options: Any) -> Iterator[Any]:
    options.setdefault("suppress_origin", True)
    client: Any = websocket.create_connection(f"ws://127.0.0.1:{relay.port}{path}", 20, **options)
    try:
        yield client
    finally:
        client.shutdown()


def closing(client: Any) -> tuple[int, str]:
    """The code and the reason of the relay's close frame."""
    while True:
        opcode, data = client.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int.from_bytes(data[:2], "big"), data[2:].decode()


def test_a_socket_is_held_from_the_handshake_on_and_gets_each_message(relay: Daemon) -> None:
    with opened(relay) as client:
        for n in range(20):
            assert relay.post("room", b"%d" % n).status == 201
            assert client.recv() == str(n)
        assert relay.held("room") == 1
    relay.wait_until_held("room", 0)


def test_what_is_not_utf_8_or_an_octet_stream_comes_in_binary_frames(relay: Daemon) -> None:
    with opened(relay) as client:
        relay.post("room", b"\xff")
        assert client.recv_data()[0] == websocket.ABNF.OPCODE_BINARY
        relay.post("room", b"text", content_type="application/octet-stream")
        assert client.recv_data()[0] == websocket.ABNF.OPCODE_BINARY
        relay.post("room", "é".encode(), content_type="application/octet-streams")
        assert client.recv_data()[0] == websocket.ABNF.OPCODE_TEXT


def test_the_subprotocol_of_nchan_says_id_and_content_type(relay: Daemon) -> None:
    position = relay.publish("room", b"one")[0]
    with opened(relay, subprotocols=["other", "ws+meta.nchan"]) as client:
        assert client.getsubprotocol() == "ws+meta.nchan"
        assert client.recv() == f"id: {position.text}\ncontent-type: text/plain\n\none"


def test_our_own_subprotocol_says_channel_event_and_gap_too(start_relay: StartRelay) -> None:
    relay = start_relay(config(store={"max_messages": 1}))
    first = relay.publish("a b", b"0", b"1")[0]
    relay.request("POST", "/pub/a%20b", {"Event-Type": "news"}, b"2")
    path = f"/sub/a%20b?last_event_id={first.text}"
    with opened(relay, path, subprotocols=["ws+meta.pushserver"]) as client:
        meta, body = client.recv().split("\n\n", 1)
        fields = dict(line.split(": ", 1) for line in meta.split("\n"))
        assert body == "2"
        assert fields["channel"] == "a%20b"
        assert fields["event"] == "news"
        assert int(fields["gap"]) >= 1


def test_deletion_time_out_and_shutdown_have_their_close_codes(start_relay: StartRelay) -> None:
    relay = start_relay(
        config(
            more=[
                {"type": "subscriber", "prefix": "/short/", "timeout": 0.2, "create_on_get": True}
            ]
        )
    )
    with opened(relay, "/short/x") as client:
        assert closing(client)[0] == 1000
    with opened(relay) as client:
        relay.delete("room")
        assert closing(client)[0] == 1001
    with opened(relay) as client:
        relay.send_signal(15)
        assert closing(client)[0] == 1001
    relay.stop()


def test_a_refusal_is_a_close_that_a_browser_can_read(start_relay: StartRelay) -> None:
    relay = start_relay(config({"max_subscribers": 1, "create_on_get": False}))
    with opened(relay, "/sub/unknown") as client:
        code, reason = closing(client)
        assert code == 1008
        assert json.loads(reason)["http_status"] == 404
    relay.put("room")
    with opened(relay), opened(relay) as second:
        code, reason = closing(second)
        assert (code, json.loads(reason)["http_status"]) == (1008, 403)
        assert "max_subscribers" in json.loads(reason)["explain"]


def test_a_foreign_page_is_refused_where_cookies_count(start_relay: StartRelay) -> None:
    location = {"allow_origin": "http://good.test", "allow_credentials": True}
    relay = start_relay(config(location))
    relay.allow_log(ORIGIN_WARNING)
    own = f"http://127.0.0.1:{relay.port}"
    for origin in ("http://good.test", own):
        with opened(relay, suppress_origin=False, origin=origin):
            pass
    with (
        pytest.raises(websocket.WebSocketBadStatusException) as refused,
        opened(relay, suppress_origin=False, origin="http://evil.test"),
    ):
        pass
    assert refused.value.status_code == 403


def publishing(start_relay: StartRelay, **options: object) -> Daemon:
    return start_relay(config({"allow_publish": True, **options}))


def test_what_a_client_sends_is_published_in_order_where_that_is_allowed(
    start_relay: StartRelay,
) -> None:
    relay = publishing(start_relay)
    with opened(relay) as one, opened(relay) as other:
        for n in range(200):
            one.send(f"{n}")
        assert [other.recv() for _ in range(200)] == [str(n) for n in range(200)]
        assert [one.recv() for _ in range(200)] == [str(n) for n in range(200)]
        one.send_binary(b"\x00\x01")
        assert other.recv_data() == (websocket.ABNF.OPCODE_BINARY, b"\x00\x01")
    newest = relay.get("room", headers={"Last-Event-ID": "0:0"})
    assert newest.header("Content-Type") == "text/plain"


def test_what_was_sent_before_the_client_left_is_published(start_relay: StartRelay) -> None:
    relay = publishing(start_relay)
    with opened(relay) as client:
        for n in range(50):
            client.send(f"{n}")
        client.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: relay.stored("room") == 50, what="all to be stored")
        relay.wait_until_held("room", 0)


def test_a_client_that_has_published_costs_no_more_than_before(start_relay: StartRelay) -> None:
    # Without what AddressSanitizer keeps of freed memory.
    env = {"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}
    settings = config({"allow_publish": True}, store={"max_memory": "4M"})
    relay = start_relay(settings, env=env)
    half = b"x" * 500_000

    def resident() -> int:
        with open(f"/proc/{relay.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with ExitStack() as clients:
        for n in range(30):
            client = clients.enter_context(opened(relay, f"/sub/room{n}"))
            # In two frames, so that the relay has to put the message together.
            client.send_frame(websocket.ABNF(0, opcode=websocket.ABNF.OPCODE_TEXT, data=half))
            client.send_frame(websocket.ABNF(1, opcode=websocket.ABNF.OPCODE_CONT, data=half))
            assert len(client.recv()) == 2 * len(half)
            if n == 9:
                before = resident()
        assert resident() - before < 8_000_000


def test_elsewhere_what_a_client_sends_is_dropped(relay: Daemon) -> None:
    with opened(relay) as client:
        client.send("mine")
        client.ping("still there?")
        opcode, data = client.recv_data(control_frame=True)
        assert (opcode, data) == (websocket.ABNF.OPCODE_PONG, b"still there?")
        assert relay.stored("room") == 0


def test_a_message_over_max_body_closes_with_1009(start_relay: StartRelay) -> None:
    relay = publishing(start_relay, max_body=1000)
    with opened(relay) as client:
        client.send("x" * 1001)
        assert closing(client)[0] == 1009


def test_a_heartbeat_of_scripts_is_answered(start_relay: StartRelay) -> None:
    relay = start_relay(config({"heartbeat": ["in", "out"], "allow_publish": True}))
    with opened(relay) as client:
        client.send("in")
        assert client.recv() == "out"
        client.send("other")
        assert client.recv() == "other"
    assert relay.stored("room") == 1


def test_a_peer_that_does_not_answer_pings_is_gone(start_relay: StartRelay) -> None:
    relay = start_relay(config({"ping_interval": 0.2, "ping_timeout": 0.3}))
    with opened(relay) as dead, opened(relay) as live:
        end = time.monotonic() + 20
        while relay.held("room") != 1:
            assert time.monotonic() < end
            live.settimeout(0.05)
            with suppress(websocket.WebSocketTimeoutException):
                live.recv_data(control_frame=True)  # answers pings by itself
        live.settimeout(20)
        relay.post("room", b"one")
        assert live.recv() == "one"
        dead.shutdown()


def test_messages_are_deflated_where_both_sides_want_it(start_relay: StartRelay) -> None:
    relay = start_relay(config({"deflate": True}))
    with relay.connect() as connection:
        connection.send_request(
            "GET",
            "/sub/room",
            {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
            },
        )
        head = connection.read_response()
        assert head.status == 101
        answered = head.header("Sec-WebSocket-Extensions") or ""
        assert answered.startswith("permessage-deflate; server_no_context_takeover")
        relay.post("room", b"abc" * 1000)
        first, length = connection._take(2)
        assert first == 0xC1  # FIN, RSV1, text
        deflated = connection._take(length)
        inflater = zlib.decompressobj(-15)
        assert inflater.decompress(deflated + b"\0\0\xff\xff") == b"abc" * 1000
        relay.post("room", b"short")
        assert connection._take(7) == b"\x81\x05short"


def test_a_socket_that_reads_slowly_is_behind_and_loses_nothing_that_is_stored(
    relay: Daemon,
) -> None:
    options = ((1, 8, 4096),)  # SOL_SOCKET, SO_RCVBUF
    with opened(relay, sockopt=options) as client:
        bodies = [b"%d " % n + b"x" * 50_000 for n in range(100)]
        relay.publish("room", *bodies)
        assert [client.recv().split(" ")[0] for _ in bodies] == [str(n) for n in range(100)]


def test_who_has_read_all_has_lost_nothing_when_its_pongs_are_stuck(
    start_relay: StartRelay,
) -> None:
    foregone = {"type": "publisher", "prefix": "/forego/", "store_messages": False}
    relay = start_relay(config({"on_slow": "close"}, more=[foregone]))
    relay.publish("room", b"stored")
    relay.post("room", b"before it came", prefix="/forego/")
    with opened(relay, sockopt=((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),)) as client:
        assert client.recv() == "stored"
        # Until nothing goes either way any more: the relay reads no ping while a pong is stuck.
        mask = b"\0\0\0\0"
        pings = b"\x89\xfd" + mask + b"x" * 125
        sent = 0
        while select.select([], [client.sock], [], 1)[1]:
            client.sock.setblocking(False)
            left = pings[sent % len(pings) :] + pings * 500
            with suppress(BlockingIOError):
                sent += client.sock.send(left)
            assert sent < 100_000_000
        client.settimeout(20)
        for _ in range(sent // len(pings)):
            assert client.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"x" * 125)
        client.sock.sendall(pings[sent % len(pings) :])
        client.recv_data(control_frame=True)
        relay.post("room", b"next")
        assert client.recv() == "next"
