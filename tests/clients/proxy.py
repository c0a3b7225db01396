"""A TCP proxy on loopback that resets connections and delays what goes through.

In a test's own process: `with Proxy(port) as proxy`, and connections end when the test says
so (`cut`). As a program of its own, for a test whose clients need a processor to themselves:
`python proxy.py PORT SEED` writes the port it listens on, has connections end and wait by
chance, and stops when its standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import sys
import threading
from typing import NamedTuple, Self

RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: closing sends RST, not FIN


class Fate(NamedTuple):
    """What becomes of one connection; by default it goes through as it is."""

    seconds: float | None = None  # reset after this time
    octets: int | None = None  # reset after so much of what the relay sent
    delay: float = 0.0  # seconds that each piece waits at most

    @classmethod
    def by_chance(cls, rng: random.Random) -> Fate:
        """Cut a third of them: after a time, or in the midst of a head or of a message."""
        delay = rng.choice((0.0, 0.0, 0.002, 0.05))
        chance = rng.random()
        if chance < 0.15:
            return cls(seconds=rng.uniform(0.0, 1.5), delay=delay)
        if chance < 0.33:
            # Heads end, and first messages begin, within the first few hundred.
            return cls(octets=int(rng.choice((400, 4000, 100_000)) * rng.random()), delay=delay)
        return cls(delay=delay)


class Cut(Exception):
    """The connection has met its fate."""


class Proxy:
    """Listens on a port of its own as long as the context lasts, in a thread of its own."""

    def __init__(self, target: int, seed: str | None = None) -> None:
        """target: the relay's port. seed: connections end and wait by chance; None: they do not."""
        self.target = target
        self.rng = random.Random(seed)
        self.by_chance = seed is not None
        self.links: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None  # a mistake of the proxy's own
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(
            asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        )
        self.port: int = self.server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fate = Fate.by_chance(self.rng) if self.by_chance else Fate()
        link = self.loop.create_task(self._serve(reader, writer, fate))
        self.links.add(link)
        link.add_done_callback(self._ended)

    def _ended(self, link: asyncio.Task[None]) -> None:
        self.links.discard(link)
        if not link.cancelled() and link.exception() is not None:
            self.failure = link.exception()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fate: Fate
    ) -> None:
        """Pass on in both directions until both have ended, or reset both ends."""
        ends = [writer]
        try:
            async with asyncio.timeout(fate.seconds), asyncio.TaskGroup() as both:
                relays_reader, relays_writer = await asyncio.open_connection(
                    "127.0.0.1", self.target
                )
                ends.append(relays_writer)
                both.create_task(self._pump(reader, relays_writer, fate.delay, None))
                both.create_task(self._pump(relays_reader, writer, fate.delay, fate.octets))
        except (asyncio.CancelledError, TimeoutError, ExceptionGroup):
            for end in ends:
                if not end.transport.is_closing():
                    own = end.get_extra_info("socket")
                    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    end.transport.abort()
        finally:
            for end in ends:
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        delay: float,
        octets: int | None,
    ) -> None:
        while data := await reader.read(65536):
            if delay:
                await asyncio.sleep(self.rng.uniform(0.0, delay))
            if octets is not None:
                data = data[:octets]
                octets -= len(data)
            writer.write(data)
            await writer.drain()
            if octets == 0:
                raise Cut
        writer.write_eof()

    def cut(self) -> None:
        """Reset all connections, at both ends. New ones may come at once."""
        assert asyncio.run_coroutine_threadsafe(self._cut(), self.loop).result(30), "none to cut"

    async def _cut(self) -> int:
        links = list(self.links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)
        return len(links)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        async def close() -> None:
            self.server.close()
            await self._cut()

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()
        if self.failure is not None:
            raise self.failure


if __name__ == "__main__":
    with Proxy(int(sys.argv[1]), sys.argv[2]) as running:
        print(running.port, flush=True)
        sys.stdin.read()
