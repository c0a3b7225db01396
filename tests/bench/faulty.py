"""A small server that serves polls and event streams, and makes one mistake if told so.

`faulty.py FAULT` prints its port. Which mistake: see FAULTS. It is made with the third
message, to the first subscriber.
"""

from __future__ import annotations

import asyncio
import re
import sys

FAULTS = {
    "none": "all is right",
    "lost": "the message is not sent",
    "skipped": "the next one is sent in its place",
    "repeated": "it is sent twice",
    "old": "the one before is sent again in its place",
    "torn": "its last byte is missing",
    "changed": "one of its bytes is another",
    "foreign": "it is another channel's",
    "closed": "the connection is closed instead",
    "refused": "the publisher is answered 500",
}
AT = 2


class Server:
    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.waiters: list[tuple[asyncio.StreamWriter, bool]] = []
        self.bodies: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if head.startswith("POST "):
                    length = re.search(r"Content-Length: (\d+)", head)
                    assert length is not None
                    self.publish(await reader.readexactly(int(length[1])), writer)
                else:
                    self.subscribe(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def subscribe(self, head: str, writer: asyncio.StreamWriter) -> None:
        streams = "text/event-stream" in head
        if streams:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        self.waiters.append((writer, streams))

    def publish(self, body: bytes, publisher: asyncio.StreamWriter) -> None:
        number = len(self.bodies)
        self.bodies.append(body)
        waiters, self.waiters = self.waiters, [w for w in self.waiters if w[1]]
        for i, (writer, streams) in enumerate(waiters):
            right = number != AT or i != 0
            for sent in [body] if right else self.wrong(body):
                if sent is None:
                    writer.close()
                elif streams:
                    writer.write(b"id: 1:1\ndata: " + sent + b"\n\n")
                else:
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nLast-Modified: x\r\nEtag: %d\r\n" % number
                        + b"Content-Length: %d\r\n\r\n" % len(sent)
                        + sent
                    )
        status = b"500 No" if self.fault == "refused" and number == AT else b"201 Created"
        publisher.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    def wrong(self, body: bytes) -> list[bytes | None]:
        next_number = b"%010d" % (AT + 1)
        made: dict[str, list[bytes | None]] = {
            "none": [body],
            "lost": [],
            "skipped": [next_number + body[10:]],
            "repeated": [body, body],
            "old": [self.bodies[AT - 1]],
            "torn": [body[:-1]],
            "changed": [body[:-1] + b"?"],
            "foreign": [body[:11] + b"%010d" % 7 + body[21:]],
            "closed": [None],
            "refused": [body],
        }
        return made[self.fault]


async def main() -> None:
    server = await asyncio.start_server(Server(sys.argv[1]).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
