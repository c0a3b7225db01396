"""Section 7: HTTP itself: what is understood, what is refused and how, how connections end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial

from .suite import Section, Trial, expect, expect_equal, expect_message, expect_status
from .wire import Connection, Failure, Response, brief, chunked, request_bytes

section = Section(7, "HTTP")

CHUNKED = {"Transfer-Encoding": "chunked"}
BODY = b"the body"


def raw(t: Trial, data: bytes, asked: str) -> tuple[Response, Connection]:
    """Send bytes and read one answer."""
    connection = t.connect(t.options.pub)
    connection.asked = asked
    connection.send(data)
    return connection.read_final(), connection


def post_bytes(t: Trial, channel: str, headers: dict[str, str], body: bytes | None) -> bytes:
    pub = t.options.pub
    return request_bytes("POST", pub.target(channel), pub.host, headers, body)


def expect_published(t: Trial, data: bytes, channel: str, asked: str, body: bytes = BODY) -> None:
    """Check that a request published that body, and that its connection goes on."""
    answer, connection = raw(t, data, asked)
    expect_status(answer, 201, 202, of=asked)
    t.read(channel, body)
    expect_goes_on(t, connection, asked)


def expect_goes_on(t: Trial, connection: Connection, asked: str) -> None:
    t.send(connection, t.options.pub, "PUT", t.channel())
    connection.asked = f"a request behind {asked}"
    expect_status(connection.read_final(), 200, 202, of=connection.asked)


def expect_ended(connection: Connection, why: str, seconds: float = 2.0) -> None:
    """Check that the connection ends soon, and that nothing more comes on it."""
    if not connection.readable(seconds):
        raise Failure(f"the connection to be closed {why}", f"still open after {seconds:g} s")
    rest = connection.read_to_end()
    expect(not rest, f"nothing more {why}", brief(rest))


# What is understood


@section.check("http")
def connection_is_kept(t: Trial) -> None:
    """A connection is kept for further requests."""
    channel = t.channel()
    connection = t.connect(t.options.pub)
    for n in range(5):
        t.send(connection, t.options.pub, "POST", channel, body=b"%d" % n)
        expect_status(connection.read_final(), 202, of="POST")
    t.read(channel, b"0")


@section.check("http")
def pipelined_requests(t: Trial) -> None:
    """Pipelined requests are answered in order."""
    pub, channel = t.options.pub, t.channel()
    requests = [request_bytes("POST", pub.target(channel), pub.host, body=b"x") for _ in range(10)]
    requests.append(request_bytes("GET", pub.target(channel), pub.host))
    requests.append(request_bytes("DELETE", pub.target(channel), pub.host))
    requests.append(request_bytes("GET", pub.target(t.channel()), pub.host))
    connection = t.connect(pub)
    connection.asked = f"one of {len(requests)} pipelined requests"
    connection.send(b"".join(requests))
    got = [connection.read_final().status for _ in requests]
    expect_equal(got, [202] * 10 + [200, 200, 404], "answers")


@section.check("http")
def chunked_request(t: Trial) -> None:
    """A chunked body is understood."""
    channel = t.channel()
    data = post_bytes(t, channel, CHUNKED, chunked(b"the", b" ", b"body"))
    expect_published(t, data, channel, "a chunked POST")


@section.check("http")
def chunk_extensions(t: Trial) -> None:
    """Chunk extensions are passed over."""
    channel = t.channel()
    body = chunked(b"the ", b"body", extension=b';a=b;c="d e"')
    expect_published(t, post_bytes(t, channel, CHUNKED, body), channel, "chunks with extensions")


@section.check("http")
def chunk_trailers(t: Trial) -> None:
    """Trailers are passed over, and are no headers."""
    channel = t.channel()
    trailer = b"X-Trailer: t\r\nContent-Length: 3\r\nHost: evil.test\r\n"
    body = chunked(b"the ", b"body", trailer=trailer)
    expect_published(t, post_bytes(t, channel, CHUNKED, body), channel, "chunks with trailers")


@section.check("http")
def expect_100_continue(t: Trial) -> None:
    """Expect: 100-continue is answered with 100 before the body comes."""
    channel = t.channel()
    headers = {"Expect": "100-continue", "Content-Length": str(len(BODY))}
    connection = t.connect(t.options.pub)
    connection.asked = "Expect: 100-continue"
    connection.send(post_bytes(t, channel, headers, None))
    if not connection.readable(t.soon):
        raise Failure("100 before the body comes", "nothing")
    expect_status(connection.read_response(), 100)
    connection.send(BODY)
    expect_status(connection.read_final(), 202, of="POST")
    t.read(channel, BODY)


@section.check("http")
def expect_100_continue_refused(t: Trial) -> None:
    """Where the body is too large, 413 comes instead of 100."""
    length = str(t.options.max_body + 1)
    headers = {"Expect": "100-continue", "Content-Length": length}
    connection = t.connect(t.options.pub)
    connection.asked = f"a POST of {length} bytes"
    connection.send(post_bytes(t, t.channel(), headers, None))
    expect_status(connection.read_response(), 413, of="Expect: 100-continue")


@section.check("http")
def absolute_form(t: Trial) -> None:
    """A target may be in absolute form."""
    channel, pub = t.channel(), t.options.pub
    target = f"http://{pub.host}{pub.target(channel)}"
    data = request_bytes("POST", target, pub.host, body=BODY)
    expect_published(t, data, channel, "a target in absolute form")


@section.check("http")
def empty_lines_before_a_request(t: Trial) -> None:
    """Empty lines before a request are passed over."""
    channel = t.channel()
    data = b"\r\n" + post_bytes(t, channel, {}, BODY)
    expect_published(t, data, channel, "a request behind an empty line")


@section.check("http")
def byte_by_byte(t: Trial) -> None:
    """A request may come byte by byte."""
    channel = t.channel()
    connection = t.connect(t.options.pub)
    connection.asked = "a request byte by byte"
    for byte in post_bytes(t, channel, CHUNKED, chunked(b"the ", b"body")):
        connection.send(bytes([byte]))
        connection.readable(0.001)  # so that it leaves in a segment of its own
    expect_status(connection.read_final(), 202, of=connection.asked)
    t.read(channel, BODY)


@section.check("http")
def http_1_0(t: Trial) -> None:
    """HTTP/1.0 is answered without chunks, and the connection closed."""
    pub, channel = t.options.pub, t.channel()
    data = request_bytes("POST", pub.target(channel), None, body=BODY, version="HTTP/1.0")
    answer, connection = raw(t, data, "a POST of HTTP/1.0")
    expect_status(answer, 202, of="a POST of HTTP/1.0")
    expect_equal(answer.all("Transfer-Encoding"), [], "Transfer-Encoding to HTTP/1.0")
    expect_ended(connection, "after HTTP/1.0")
    t.read(channel, BODY)


@section.check("http")
def connection_close(t: Trial) -> None:
    """Connection: close is honoured and said."""
    pub = t.options.pub
    for value in ("close", "x-other, Close"):
        data = request_bytes("POST", pub.target(t.channel()), pub.host, {"Connection": value}, b"m")
        answer, connection = raw(t, data, f"Connection: {value}")
        expect("close" in answer.tokens("Connection"), "Connection: close", str(answer.fields))
        expect_ended(connection, f"after Connection: {value}")


@section.check("http")
def unknown_upgrade(t: Trial) -> None:
    """An Upgrade to something unknown is passed over."""
    channel = t.channel()
    headers = {"Connection": "Upgrade", "Upgrade": "x-unknown/1"}
    data = post_bytes(t, channel, headers, BODY)
    expect_published(t, data, channel, "a request with Upgrade")


@section.check("http")
def head_has_no_body(t: Trial) -> None:
    """HEAD is answered without a body, and the connection goes on."""
    for location in (t.options.sub, t.options.pub):
        connection = t.connect(location)
        channel = t.channel()
        t.post(channel, b"m")
        t.send(connection, location, "HEAD", channel)
        answer = connection.read_response("HEAD")
        expect_status(answer, 200, 405, of="HEAD")
        if "close" not in answer.tokens("Connection"):
            t.send(connection, location, "GET", channel)
            connection.asked = "a GET behind HEAD"
            expect_status(connection.read_final(), 200, of=connection.asked)


# What is refused: nothing that stands behind it may be taken for a request


def head(*lines: bytes) -> Callable[[bytes, bytes], bytes]:
    """A head, its first line first. {target} and {host} stand for these."""

    def make(target: bytes, host: bytes) -> bytes:
        data = b"\r\n".join(lines) + b"\r\n\r\n"
        return data.replace(b"{target}", target).replace(b"{host}", host)

    return make


def chunks(body: bytes) -> Callable[[bytes, bytes], bytes]:
    """A POST with these bytes where chunks should be."""
    make = head(POST, HOST, b"Transfer-Encoding: chunked")
    return lambda target, host: make(target, host) + body


POST = b"POST {target} HTTP/1.1"
GET = b"GET {target} HTTP/1.1"
HOST = b"Host: {host}"
TE = b"Transfer-Encoding: chunked"


def length(value: bytes, body: bytes = b"abc") -> Callable[[bytes, bytes], bytes]:
    make = head(POST, HOST, b"Content-Length:" + value)
    return lambda target, host: make(target, host) + body


def _and(make: Callable[[bytes, bytes], bytes], body: bytes) -> Callable[[bytes, bytes], bytes]:
    return lambda target, host: make(target, host) + body


NO_LENGTH = b"Content-Length: 0"

REFUSED: dict[str, tuple[str, str, Callable[[bytes, bytes], bytes]]] = {
    # id: level, what is refused, how it is made
    "length-and-coding": (
        "safety",
        "both Content-Length and Transfer-Encoding",
        _and(head(POST, HOST, b"Content-Length: 5", TE), b"0\r\n\r\n"),
    ),
    "coding-in-1-0": (
        "safety",
        "Transfer-Encoding in HTTP/1.0",
        _and(head(b"POST {target} HTTP/1.0", HOST, TE), b"0\r\n\r\n"),
    ),
    "lengths-differ": (
        "safety",
        "two Content-Lengths that differ",
        _and(head(POST, HOST, b"Content-Length: 3", b"Content-Length: 4"), b"abcd"),
    ),
    "lengths-in-a-list-differ": (
        "safety",
        "a list of lengths that differ",
        length(b" 3, 4", b"abcd"),
    ),
    "length-negative": ("safety", "a negative length", length(b" -1", b"")),
    "length-with-plus": ("safety", "a length with a sign", length(b" +3")),
    "length-in-hex": ("safety", "a length that is no decimal number", length(b" 0x3")),
    "length-overflows": ("safety", "a length that overflows", length(b" 18446744073709551619")),
    "chunk-size-empty": ("safety", "an empty chunk size", chunks(b"\r\nabc\r\n0\r\n\r\n")),
    "chunk-size-no-number": (
        "safety",
        "a chunk size that is no number",
        chunks(b"xyz\r\nabc\r\n0\r\n\r\n"),
    ),
    "chunk-size-negative": ("safety", "a negative chunk size", chunks(b"-3\r\nabc\r\n0\r\n\r\n")),
    "chunk-size-with-0x": (
        "safety",
        "a chunk size with 0x",
        chunks(b"0x3\r\nabc\r\n0\r\n\r\n"),
    ),
    "chunk-size-overflows": (
        "safety",
        "a chunk size that overflows",
        chunks(b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ),
    "chunk-not-ended": (
        "safety",
        "chunk data that is not ended by CRLF",
        chunks(b"3\r\nabcd\r\n0\r\n\r\n"),
    ),
    "chunk-ended-by-lf": (
        "safety",
        "chunk data that is ended by a bare LF",
        chunks(b"3\r\nabc\n0\r\n\r\n"),
    ),
    "chunk-size-ended-by-lf": (
        "safety",
        "a chunk size that is ended by a bare LF",
        chunks(b"3\nabc\r\n0\r\n\r\n"),
    ),
    "chunk-extension-with-cr": (
        "safety",
        "a chunk extension with a bare CR",
        chunks(b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ),
    "chunk-extension-with-nul": (
        "safety",
        "a chunk extension with NUL",
        chunks(b"3;a\0b\r\nabc\r\n0\r\n\r\n"),
    ),
    "trailer-ended-by-lf": (
        "safety",
        "a trailer that is ended by a bare LF",
        chunks(b"0\r\nX: y\n\r\n"),
    ),
    "folded-header": ("safety", "a folded header", head(GET, HOST, b"X: one", b" two")),
    "blank-before-colon": (
        "safety",
        "a blank between a header's name and its colon",
        head(GET, HOST, b"X : y"),
    ),
    "blank-before-colon-of-length": (
        "safety",
        "a blank before the colon of Content-Length",
        _and(head(POST, HOST, b"Content-Length : 3"), b"abc"),
    ),
    "blank-in-name": ("safety", "a blank in a header's name", head(GET, HOST, b"X Y: z")),
    "no-colon": ("http", "a header without a colon", head(GET, HOST, b"Xy")),
    "host-missing": ("http", "a missing Host in HTTP/1.1", head(GET, b"X: y")),
    "host-doubled": ("http", "a doubled Host", head(GET, HOST, b"Host: other.test")),
    "content-type-doubled": (
        "safety",
        "a doubled Content-Type",
        head(POST, HOST, b"Content-Type: a/b", b"Content-Type: c/d", NO_LENGTH),
    ),
    "cr-in-value": ("safety", "a bare CR in a header", head(GET, HOST, b"X: a\rb")),
    "nul-in-value": ("safety", "NUL in a header", head(GET, HOST, b"X: a\0b")),
    "lf-ends-header": (
        "decision",
        "a header that is ended by a bare LF",
        head(GET, HOST + b"\nX: y"),
    ),
    "lf-ends-request-line": (
        "decision",
        "a request line that is ended by a bare LF",
        head(GET + b"\n" + HOST),
    ),
    "nul-in-target": ("safety", "NUL in the target", head(b"GET {target}\0 HTTP/1.1", HOST)),
    "content-type-with-cr": (
        "safety",
        "a Content-Type that could split a response",
        head(POST, HOST, b"Content-Type: a/b\rX: y", NO_LENGTH),
    ),
    "event-name-with-cr": (
        "safety",
        "an event name that could split a stream",
        head(POST, HOST, b"X-EventSource-Event: a\rdata: b", NO_LENGTH),
    ),
}


def refuse(
    make: Callable[[bytes, bytes], bytes], what: str, statuses: tuple[int, ...], t: Trial
) -> None:
    pub, channel, smuggled = t.options.pub, t.channel(), t.channel()
    data = make(pub.target(channel).encode(), pub.host.encode())
    behind = request_bytes("POST", pub.target(smuggled), pub.host, body=b"smuggled")
    answer, connection = raw(t, data + behind, what)
    expect_status(answer, *statuses, of=what)
    expect_ended(connection, f"after {what}")
    expect(not t.exists(smuggled), "what stands behind it not to be a request", "its channel")


for _name, (_level, _what, _make) in REFUSED.items():
    section.add(
        _level,
        f"{_name}-400",
        f"Refused with 400, and the connection closed: {_what}",
        partial(refuse, _make, _what, (400,)),
    )

section.add(
    "http",
    "coding-other-than-chunked-501",
    "A transfer coding other than chunked is 501, and the connection closed",
    partial(refuse, head(POST, HOST, b"Transfer-Encoding: gzip"), "a transfer coding", (501,)),
)
section.add(
    "http",
    "version-505",
    "A version other than 1.0 and 1.1 is 505, and the connection closed",
    partial(refuse, head(b"GET {target} HTTP/2.0", HOST), "HTTP/2.0", (505,)),
)


# What is too large


@section.check("decision")
def header_as_large_as_allowed(t: Trial) -> None:
    """Headers of less than --max-header bytes are understood."""
    channel = t.channel()
    names = [f"X-{n}" for n in range(t.options.max_header // 1024 - 1)]
    headers = dict.fromkeys(names, "x" * 1000)
    expect_published(t, post_bytes(t, channel, headers, BODY), channel, "large headers")


@section.check("http")
def header_too_large_431(t: Trial) -> None:
    """A header over --max-header bytes is 431."""
    value = "x" * (t.options.max_header + 1)
    answer, _ = raw(t, post_bytes(t, t.channel(), {"X": value}, b"m"), "a large header")
    expect_status(answer, 431, of="a large header")


@section.check("http")
def headers_too_many_431(t: Trial) -> None:
    """Many headers that are together over --max-header bytes are 431."""
    headers = {f"X-{n}": "x" * 100 for n in range(t.options.max_header // 100)}
    answer, _ = raw(t, post_bytes(t, t.channel(), headers, b"m"), "many headers")
    expect_status(answer, 431, of="many headers")


@section.check("http")
def header_endless_431(t: Trial) -> None:
    """A header that does not end is 431, and not read for ever."""
    pub = t.options.pub
    data = f"GET {pub.target(t.channel())} HTTP/1.1\r\nX: ".encode() + b"x" * 500_000
    answer, connection = raw(t, data, "an endless header")
    expect_status(answer, 431, of="an endless header")
    expect_ended(connection, "after an endless header", 4.0)


@section.check("decision")
def body_as_large_as_allowed(t: Trial) -> None:
    """A message of --max-body bytes is accepted."""
    channel = t.channel()
    body = bytes(t.options.max_body)
    t.post(channel, body)
    t.read(channel, body)


@section.check("http")
def body_too_large_413(t: Trial) -> None:
    """A body over --max-body bytes is 413, before it is read where its length is told."""
    headers = {"Content-Length": str(t.options.max_body + 1)}
    data = post_bytes(t, t.channel(), headers, None)
    answer, _ = raw(t, data, "a POST that is too large")
    expect_status(answer, 413, of="a POST that is too large")


@section.check("http")
def body_chunked_too_large_413(t: Trial) -> None:
    """A chunked body that comes to more than --max-body bytes is 413."""
    channel = t.channel()
    piece = bytes(1 << 16)
    body = chunked(*[piece] * (t.options.max_body // len(piece) + 2))
    answer, _ = raw(t, post_bytes(t, channel, CHUNKED, body), "chunks that are too many")
    expect_status(answer, 413, of="chunks that are too many")
    expect(not t.exists(channel), "no channel", "200 to GET")


# What is too slow


def trickle(t: Trial, start: bytes, piece: bytes, seconds: float) -> tuple[Response, Connection]:
    """Send a little now and again until an answer comes, which must be soon after its time."""
    connection = t.connect(t.options.pub)
    connection.asked = f"a request that takes more than {seconds:g} s"
    connection.send(start)
    end = time.monotonic() + seconds + t.soon
    while not connection.readable(min(0.2, seconds / 5)):
        if time.monotonic() > end:
            raise Failure(f"408 after {seconds:g} s", f"nothing after {seconds + t.soon:g} s")
        connection.send(piece)
    return connection.read_final(), connection


@section.check("http", "header_timeout", takes=lambda options: (options.header_timeout or 0) + 2)
def slow_header_408(t: Trial) -> None:
    """A header that is not complete in its time is 408, the time counted for the whole."""
    assert t.options.header_timeout is not None
    pub = t.options.pub
    start = f"GET {pub.target(t.channel())} HTTP/1.1\r\nHost: {pub.host}\r\nX: ".encode()
    answer, connection = trickle(t, start, b"x", t.options.header_timeout)
    expect_status(answer, 408)
    expect_ended(connection, "after 408", 4.0)


@section.check("http", "body_timeout", takes=lambda options: (options.body_timeout or 0) + 2)
def slow_body_408(t: Trial) -> None:
    """A body that is not complete in its time is 408, the time counted for the whole."""
    assert t.options.body_timeout is not None
    channel = t.channel()
    start = post_bytes(t, channel, {"Content-Length": "1000"}, None)
    answer, connection = trickle(t, start, b"x", t.options.body_timeout)
    expect_status(answer, 408)
    expect_ended(connection, "after 408", 4.0)
    expect(not t.exists(channel), "no channel", "200 to GET")


@section.check("http", "idle_timeout", takes=lambda options: (options.idle_timeout or 0) + 2)
def silent_connection_is_closed(t: Trial) -> None:
    """A connection that sent nothing is closed without a word."""
    assert t.options.idle_timeout is not None
    connection = t.connect(t.options.pub)
    expect_ended(connection, "without a word", t.options.idle_timeout + t.soon)
    expect_equal(connection.ended, "closed", "the connection")


# A body that nobody asked for


def unasked(
    method: str, where: str, statuses: tuple[int, ...], framing: dict[str, str], t: Trial
) -> None:
    location, pub, smuggled = getattr(t.options, where), t.options.pub, t.channel()
    channel = t.channel()
    t.post(channel, b"m")
    body = request_bytes("POST", pub.target(smuggled), pub.host, body=b"smuggled")
    if framing:
        body = chunked(body)
    asked = f"{method} with a body"
    connection = t.connect(location)
    connection.asked = asked
    target = location.target(channel)
    connection.send(request_bytes(method, target, location.host, framing, body))
    expect_status(connection.read_final(), *statuses, of=asked)
    # Whatever was made of the body has been made of it by the time of a second answer.
    connection.send(request_bytes("GET", pub.target(channel), pub.host))
    if connection.readable(t.soon):
        answer = connection.read_to_end() if connection.ended else _next(connection)
        expect(
            answer[:12] in (b"", b"HTTP/1.1 200", b"HTTP/1.1 404"), "200 or a close", brief(answer)
        )
    expect(not t.exists(smuggled), "the body not to be a request", "its channel")


def _next(connection: Connection) -> bytes:
    """The next answer as it came, or nothing where the connection was closed."""
    try:
        return connection.read_final().raw
    except Failure:
        if connection.ended:
            return b""
        raise


for _method, _where, _statuses in (
    ("GET", "sub", (200,)),
    ("GET", "pub", (200,)),
    ("PUT", "pub", (200, 202)),
    ("DELETE", "pub", (200,)),
    ("PATCH", "sub", (405, 403)),
    ("GET", "nowhere", (404,)),
):
    for _framing in ({}, CHUNKED):
        section.add(
            "safety",
            f"body-of-{_method}-{_where}-{'chunked' if _framing else 'length'}".lower(),
            f"A body that nobody asked for, of {_method} at --{_where}, "
            f"{'chunked' if _framing else 'with a length'}, is never taken for a request",
            partial(unasked, _method, _where, _statuses, _framing),
            *(("nowhere",) if _where == "nowhere" else ()),
        )


@section.check("decision")
def unasked_body_too_large_413(t: Trial) -> None:
    """A body that nobody asked for is 413 over 1 MiB."""
    pub = t.options.pub
    headers = {"Content-Length": str((1 << 20) + 1)}
    data = request_bytes("PUT", pub.target(t.channel()), pub.host, headers)
    answer, _ = raw(t, data, "a PUT that is too large")
    expect_status(answer, 413, of="a PUT that is too large")


# How answers end


@section.check("safety")
def closing_answer_is_not_lost(t: Trial) -> None:
    """An answer that closes the connection is not overtaken by a reset, whatever still comes."""
    pub = t.options.pub
    data = f"GET {pub.target(t.channel())} HTTP/1.1\r\nX : y\r\n\r\n".encode()
    for _ in range(5):
        connection = t.connect(pub)
        connection.asked = "a bad request with much behind it"
        connection.send(data + bytes(1 << 18))
        for _ in range(5):
            connection.send(bytes(1 << 10))
            connection.readable(0.01)
        expect_status(connection.read_final(), 400, of=connection.asked)
        connection.read_to_end()
        # Linux may hand over what came before a reset, others do not.
        ends = (connection.refused, connection.ended)
        expect(ends == (None, "closed"), "all to be taken and then FIN", str(ends))


@section.check("decision")
def closing_answer_is_followed_by_fin(t: Trial) -> None:
    """An answer that closes the connection is followed by FIN at once."""
    pub = t.options.pub
    data = f"GET {pub.target(t.channel())} HTTP/1.1\r\nX : y\r\n\r\n".encode()
    answer, connection = raw(t, data, "a bad request")
    expect_status(answer, 400, of="a bad request")
    expect_ended(connection, "after the answer", 1.0)
    expect_equal(connection.ended, "closed", "the connection")


def answers(t: Trial) -> list[Response]:
    """One of each status that can be had anywhere."""
    channel = t.channel()
    position = t.start(channel)
    held = t.hold(channel, position)
    found = [
        t.request(t.options.pub, "GET", t.channel()),
        t.request(t.options.pub, "GET", channel),
        t.request(t.options.pub, "POST", channel, body=b"m"),
        held.answer_at_once("POST"),
        t.request(t.options.sub, "PATCH", channel, body=b"x"),
        t.request(t.options.sub, "OPTIONS", channel),
        t.get(channel, headers={"If-Modified-Since": "yesterday"}),
        raw(t, b"GET / HTTP/1.1\r\nX : y\r\n\r\n", "a bad request")[0],
    ]
    last = t.hold(channel, expect_message(found[3]).position)
    t.request(t.options.pub, "DELETE", channel)
    return [*found, last.answer_at_once("DELETE")]


DATE = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")


@section.check("http")
def date_on_every_answer(t: Trial) -> None:
    """Date is on every answer."""
    for answer in answers(t):
        value = answer.header("Date")
        expect(bool(value and DATE.fullmatch(value)), f"Date on {answer.status}", repr(value))


@section.check("decision")
def server_on_every_answer(t: Trial) -> None:
    """Server is on every answer, if on any."""
    found = {answer.status: answer.header("Server") for answer in answers(t)}
    if len(set(found.values())) > 1:
        raise Failure("one Server on every answer", str(found))


# Others are served on


@section.check("safety")
def resets_harm_nobody(t: Trial) -> None:
    """Clients that reset their connections anywhere do no harm to others."""
    channel = t.channel()
    position = t.start(channel)
    held = t.hold(channel, position)
    data = post_bytes(t, t.channel(), {}, BODY)
    for cut in range(0, len(data), 4):
        with t.connect(t.options.pub) as connection:
            connection.send(data[:cut])
            connection.reset()
    expect_status(t.post(channel, b"m"), 201, of="POST")
    expect_message(held.answer_at_once("POST"), b"m")


@section.check("safety")
def silent_connections_harm_nobody(t: Trial) -> None:
    """A hundred connections that say nothing do no harm to others."""
    channel = t.channel()
    held = t.hold(channel, t.start(channel))
    silent = [t.connect(t.options.pub) for _ in range(100)]
    expect_status(t.post(channel, b"m"), 201, of="POST")
    expect_message(held.answer_at_once("POST"), b"m")
    for connection in silent:
        connection.close()


@section.check("safety")
def slow_reader_delays_nobody(t: Trial) -> None:
    """A subscriber that does not read its message delays nobody."""
    channel = t.channel()
    position = t.start(channel)
    slow = [t.hold(channel, position) for _ in range(3)]
    held = t.hold(channel, position)
    t.post(channel, bytes(t.options.max_body))
    expect_message(held.answer_at_once("POST"), bytes(t.options.max_body))
    for poll in slow:
        poll.close()
    t.post(channel, b"next")
