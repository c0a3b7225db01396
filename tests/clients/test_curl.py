"""curl, as users of a shell have it: streams without buffering, and polls by -z and ETags."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
from relay.client import Position, wait_until
from relay.conftest import StartRelay
from relay.daemon import SUB, config, now

from .conftest import StartProxy

PARTIAL_FILE, RECEIVE_ERROR = 18, 56  # curl's exit codes for a connection that broke


class Curl:
    """A running curl with what it has written so far."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.path = folder / "out"
        with self.path.open("wb") as out:
            self.process = subprocess.Popen(
                ["curl", "--silent", "--show-error", "--no-buffer", *arguments],
                stdout=out,
                stderr=subprocess.PIPE,
            )

    @property
    def output(self) -> bytes:
        return self.path.read_bytes()

    def end(self) -> int:
        self.process.communicate(timeout=30)
        return self.process.returncode


class StartCurl(Protocol):
    def __call__(self, *arguments: str) -> Curl: ...


@pytest.fixture
def start_curl(tmp_path: Path) -> Iterator[StartCurl]:
    started: list[Curl] = []

    def start(*arguments: str) -> Curl:
        folder = tmp_path / f"curl{len(started)}"
        folder.mkdir()
        started.append(Curl(folder, *arguments))
        return started[-1]

    yield start
    for curl in started:
        curl.process.kill()
        curl.process.communicate()


class Seen(NamedTuple):
    """A message as a stream shows it, with the id where the stream says one."""

    body: bytes
    id: str | None = None


def events(stream: bytes) -> list[Seen]:
    """The complete events of an event stream."""
    seen = []
    for block in stream.split(b"\n\n")[:-1]:
        lines = [line for line in block.split(b"\n") if line and not line.startswith(b":")]
        fields = [line.split(b": ", 1) for line in lines]
        data = [value for name, value in fields if name == b"data"]
        if data:
            ids = [value.decode() for name, value in fields if name == b"id"]
            seen.append(Seen(b"\n".join(data), ids[-1]))
    return seen


def lines(stream: bytes) -> list[Seen]:
    """The complete messages of an HTTP stream."""
    return [Seen(line) for line in stream.split(b"\n")[:-1]]


def parts(stream: bytes) -> list[Seen]:
    """The complete parts of a multipart body: each is followed by a boundary."""
    seen = []
    boundary, *rest = stream.split(b"\r\n", 1)
    for part in rest[0].split(boundary)[:-1] if rest else ():
        head, body = part.split(b"\r\n\r\n", 1)
        found = re.search(rb"last-modified: (.+?)\r\n.*etag: (\S+)", head, re.I | re.S)
        assert found, head
        position = Position(found[1].decode(), found[2].decode())
        seen.append(Seen(body.removesuffix(b"\r\n"), position.text))
    return seen


def is_past(second: int) -> bool:
    return now() > second


def numbers(first: int, last: int) -> list[bytes]:
    return [b"message %d" % n for n in range(first, last + 1)]


STREAMS = {
    "eventsource": ("Accept: text/event-stream", events),
    "stream": ("TE: chunked", lines),
    "multipart": ("Accept: multipart/mixed", parts),
}


@pytest.mark.parametrize(
    ("transport", "version"),
    [
        ("eventsource", "--http1.1"),
        ("eventsource", "--http1.0"),
        ("stream", "--http1.1"),
        ("multipart", "--http1.1"),
        ("multipart", "--http1.0"),
    ],
)
def test_curl_reads_a_stream_and_resumes_after_a_cut(
    start_relay: StartRelay,
    start_proxy: StartProxy,
    start_curl: StartCurl,
    transport: str,
    version: str,
) -> None:
    header, read = STREAMS[transport]
    relay = start_relay(config())
    proxy = start_proxy(relay)
    url = f"http://127.0.0.1:{proxy.port}{SUB}c"

    ids = relay.publish("c", *numbers(1, 3))
    curl = start_curl(version, "-H", header, url)
    relay.wait_until_held("c", 1)
    ids += relay.publish("c", *numbers(4, 6))
    wait_until(lambda: len(read(curl.output)) == 6, what=lambda: repr(curl.output))
    proxy.cut()
    assert curl.end() in (PARTIAL_FILE, RECEIVE_ERROR)
    first = read(curl.output)
    assert [seen.body for seen in first] == numbers(1, 6)
    assert [seen.id for seen in first] in ([id.text for id in ids], [None] * 6)

    ids += relay.publish("c", *numbers(7, 9))
    # An HTTP stream does not say ids: there the application knows how far it has come.
    resume = first[-1].id or ids[5].text
    curl = start_curl(version, "-H", header, "-H", f"Last-Event-ID: {resume}", url)
    relay.wait_until_held("c", 1)
    ids += relay.publish("c", *numbers(10, 12))
    wait_until(lambda: len(read(curl.output)) == 6, what=lambda: repr(curl.output))

    assert relay.delete("c").status == 200
    assert curl.end() == 0
    second = read(curl.output)
    assert [seen.body for seen in second] == numbers(7, 12)
    assert [seen.id for seen in second] in ([id.text for id in ids[6:]], [None] * 6)


class Loop:
    """Polls of a shell's loop: each has the date and the tag that the one before got."""

    def __init__(self, start_curl: StartCurl, folder: Path, url: str) -> None:
        self.start_curl = start_curl
        self.body, self.etag, self.date, self.url = folder / "body", folder / "etag", "", url

    def poll(self) -> Callable[[], str]:
        """Ask; the function returned waits for the answer and gives its status."""
        # curl's -z is of no use here: it compares the answer's date with its own, and hides
        # what is not of a later second.
        date = ("-H", f"If-Modified-Since: {self.date}") if self.date else ()
        # A file of its own, for curl empties it before it asks.
        new = self.etag.with_suffix(".new")
        written = "%{http_code} %header{last-modified}"
        # Where there is no tag yet curl sends an empty one: If-None-Match: "".
        tags = ("--etag-compare", str(self.etag), "--etag-save", str(new))
        curl = self.start_curl(*date, *tags, "-o", str(self.body), "-w", written, self.url)

        def status() -> str:
            assert curl.end() == 0
            code, date = curl.output.decode().split(" ", 1)
            if code == "200":
                self.date = date
                new.replace(self.etag)
            return code

        return status

    def next(self) -> bytes:
        assert self.poll()() == "200"
        return self.body.read_bytes()


def test_curl_polls_one_message_after_another(
    start_relay: StartRelay, start_proxy: StartProxy, start_curl: StartCurl, tmp_path: Path
) -> None:
    relay = start_relay(config())
    proxy = start_proxy(relay)
    loop = Loop(start_curl, tmp_path, f"http://127.0.0.1:{proxy.port}{SUB}c")

    relay.publish("c", *numbers(1, 20))
    assert [loop.next() for _ in range(20)] == numbers(1, 20)

    status = loop.poll()
    relay.wait_until_held("c", 1)
    relay.publish("c", *numbers(21, 23))
    assert status() == "200"
    assert [loop.body.read_bytes(), loop.next(), loop.next()] == numbers(21, 23)

    status = loop.poll()
    relay.wait_until_held("c", 1)
    proxy.cut()
    with pytest.raises(AssertionError):
        status()
    relay.publish("c", *numbers(24, 25))
    assert [loop.next(), loop.next()] == numbers(24, 25)

    status = loop.poll()
    relay.wait_until_held("c", 1)
    assert relay.delete("c").status == 200
    assert status() == "410"


def test_curl_polls_by_the_time_of_the_file_that_it_wrote(
    start_relay: StartRelay, start_curl: StartCurl, tmp_path: Path
) -> None:
    relay = start_relay(config())
    body, etag = tmp_path / "body", tmp_path / "etag"
    own = ("-R", "-o", str(body), "--etag-save", str(etag), f"http://127.0.0.1:{relay.port}{SUB}c")
    # -R gives the file the time of Last-Modified, and -z sends the time of the file.
    again = ("-z", str(body), "--etag-compare", str(etag))
    for sent in numbers(1, 3):
        published = relay.publish("c", sent)[0]
        curl = start_curl(*(again if body.exists() else ()), *own)
        assert curl.end() == 0
        assert body.read_bytes() == sent
        assert int(body.stat().st_mtime) == published.id[0]
        wait_until(partial(is_past, published.id[0]), what="the next second")
