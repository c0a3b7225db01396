"""Many requests in a row on one connection, faster than the workers answer them."""

import json
import random
import socket
import threading

from .client import wait_until
from .conftest import StartRelay
from .daemon import config

ROUNDS = 400
BATCH = 10


def batch(channel: str, first: int) -> bytes:
    """POSTs whose answers wait for workers, each with a number as its message."""
    posts = b""
    for n in range(first, first + BATCH):
        body = b"%d" % n
        posts += (
            b"POST /pub/%b HTTP/1.1\r\nHost: relay\r\nAccept: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (channel.encode(), len(body), body)
        )
    return posts


def send_in_pieces(publisher: socket.socket) -> None:
    """Cut anywhere, so that a part of a request is often all that is there."""
    data = b"".join(batch("c", n * BATCH) for n in range(ROUNDS))
    cuts = random.Random(1)
    start = 0
    while start < len(data):
        size = cuts.choice((37, 111, 300, 700))
        publisher.sendall(data[start : start + size])
        start += size


def test_pipelined_posts_are_answered_one_by_one_in_their_order(start_relay: StartRelay) -> None:
    """Also when more of them arrive while the first of them still wait for other workers."""
    relay = start_relay(config(subscriber={"timeout": 0}, store={"max_messages": 10}))
    polls = [relay.hold("c") for _ in range(8)]
    readers = []
    for poll in polls:
        # Each polls on at once, so that there is always someone to be waited for.
        reader = threading.Thread(target=keep_polling, args=(relay.port,), daemon=True)
        reader.start()
        readers.append(reader)
        poll.close()
    with (
        socket.create_connection(("127.0.0.1", relay.port), timeout=30) as publisher,
        publisher.makefile("rb") as stream,
    ):
        sender = threading.Thread(target=send_in_pieces, args=(publisher,))
        sender.start()
        last = (0, -1)
        for _ in range(ROUNDS * BATCH):
            status = stream.readline()
            assert status.split()[1] in (b"201", b"202"), status
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            second, tag = map(int, json.loads(stream.read(length))["last_message_id"].split(":"))
            assert (second, tag) > last
            last = (second, tag)
        sender.join()

    def ended() -> bool:
        """Delete until all have met it: who is between two polls makes the channel anew."""
        relay.request("DELETE", "/pub/c")
        return not any(reader.is_alive() for reader in readers)

    wait_until(ended, what="the end of the pollers")


def keep_polling(port: int) -> None:
    """Poll until the channel is deleted."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
        client.makefile("rb") as stream,
    ):
        position = b""
        while True:
            client.sendall(b"GET /sub/c HTTP/1.1\r\nHost: relay\r\n" + position + b"\r\n")
            status = stream.readline().split()[1]
            headers = {}
            while (line := stream.readline()) != b"\r\n":
                name, value = line.split(b":", 1)
                headers[name.lower()] = value.strip()
            stream.read(int(headers.get(b"content-length", b"0")))
            if status != b"200":
                assert status == b"410"
                return
            position = (
                b"If-Modified-Since: "
                + headers[b"last-modified"]
                + b"\r\nIf-None-Match: "
                + headers[b"etag"]
                + b"\r\n"
            )
