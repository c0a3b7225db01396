"""Section 9: a WebSocket's messages, the server's and the client's, and its pings."""

from __future__ import annotations

import os

from .frames import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    frame,
    frame_head,
)
from .kinds import SOCKET, socket
from .options import Options
from .sockets import META, META_MORE, WebSocket
from .suite import SETTLE, Section, Trial, expect, expect_equal
from .wire import Deadline, Failure, Position

section = Section(9, "Streams: the WebSocket's conversation")

NEEDS = "websocket_sub"


def begin(t: Trial) -> tuple[str, WebSocket]:
    """A channel, and a WebSocket of it that has nothing more to read."""
    channel, opened = SOCKET.begin(t)
    assert isinstance(opened, WebSocket)
    return channel, opened


# Messages of the server


def _kind_of(t: Trial, body: bytes, content_type: str | None) -> str:
    channel, ws = begin(t)
    t.post(channel, body, {} if content_type is None else {"Content-Type": content_type})
    return ws.expect(body, after="POST")[0].kind


@section.check("decision", NEEDS)
def ws_text(t: Trial) -> None:
    """A message that is UTF-8 is text, whatever its Content-Type, with two exceptions."""
    for kind in (None, "text/plain", "application/json", "image/png"):
        expect_equal(_kind_of(t, "žluťoučký 🐎".encode(), kind), "text", f"of {kind}:")


@section.check("decision", NEEDS)
def ws_binary_for_octet_stream(t: Trial) -> None:
    """A message of application/octet-stream is binary."""
    kind = _kind_of(t, b"text by chance", "application/octet-stream")
    expect_equal(kind, "binary", "the message's kind")


@section.check("ws", NEEDS)
def ws_binary_where_not_utf_8(t: Trial) -> None:
    """A message that is not UTF-8 is binary: text must be UTF-8."""
    for body in (
        b"\xff",
        b"abc\x80",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
    ):
        expect_equal(_kind_of(t, body, "text/plain"), "binary", f"the kind of {body!r}")


@section.check("ws", NEEDS)
def ws_lengths(t: Trial) -> None:
    """Messages of every form of length come whole, each in its shortest form."""
    channel, ws = begin(t)
    for length in (0, 1, 125, 126, 127, 65535, 65536, 70000):
        body = b"x" * length
        t.post(channel, body)
        ws.expect(body, after=f"POST of {length} bytes")


def _meta(t: Trial, body: bytes, content_type: str | None) -> tuple[WebSocket, str]:
    channel = t.channel()
    t.post(channel, body, {} if content_type is None else {"Content-Type": content_type})
    return socket(t, channel, {"Sec-WebSocket-Protocol": META}), channel


@section.check("decision", NEEDS)
def ws_meta_lines(t: Trial) -> None:
    """In ws+meta.nchan a message has lines before it: id, content-type, and an empty one."""
    ws, channel = _meta(t, b"a\n\nb", "text/x-a; charset=utf-8")
    (message,) = ws.expect(b"a\n\nb")
    position = t.read(channel, b"a\n\nb").position
    wanted = [("id", position.text), ("content-type", "text/x-a; charset=utf-8")]
    expect_equal(list(message.fields), wanted, "lines")


@section.check("decision", NEEDS)
def ws_more_meta_lines(t: Trial) -> None:
    """In ws+meta.pushserver these lines have the channel and the event as well."""
    channel = t.channel()
    t.post(channel, b"m", {"Content-Type": "text/x-a", "X-EventSource-Event": "news"})
    (message,) = socket(t, channel, {"Sec-WebSocket-Protocol": META_MORE}).expect(b"m")
    position = t.read(channel, b"m").position
    wanted = {
        "id": position.text,
        "content-type": "text/x-a",
        "channel": channel,
        "event": "news",
    }
    expect_equal(dict(message.fields), wanted, "lines")


@section.check("decision", NEEDS)
def ws_meta_without_content_type(t: Trial) -> None:
    """In ws+meta.nchan a message without Content-Type has no such line."""
    ws, channel = _meta(t, b"m", None)
    (message,) = ws.expect(b"m")
    position: Position = t.read(channel, b"m").position
    expect_equal(list(message.fields), [("id", position.text)], "lines")


@section.check("decision", NEEDS)
def ws_meta_of_an_empty_message(t: Trial) -> None:
    """In ws+meta.nchan an empty message has its lines."""
    ws, _ = _meta(t, b"", None)
    expect(ws.expect(b"")[0].id is not None, "an id", "none")


@section.check("decision", NEEDS)
def ws_meta_binary(t: Trial) -> None:
    """In ws+meta.nchan a message that is not UTF-8 is binary, lines included."""
    ws, _ = _meta(t, b"\xff\0", "application/octet-stream")
    expect_equal(ws.expect(b"\xff\0")[0].kind, "binary", "the message's kind")


# Pings


@section.check("ws", NEEDS)
def ws_ping_is_answered(t: Trial) -> None:
    """A ping is answered with a pong of the same payload, of 0 to 125 bytes."""
    _, ws = begin(t)
    for payload in (b"", b"hello", bytes(range(125)), b"\xff\xfe"):
        ws.send(frame(PING, payload))
        ws.expect_pong(payload)


@section.check("ws", NEEDS)
def ws_pings_in_one_packet(t: Trial) -> None:
    """Of many pings at once the last at least is answered, and all that are in order."""
    _, ws = begin(t)
    payloads = [b"%d" % n for n in range(10)]
    ws.send(*(frame(PING, payload) for payload in payloads))
    end = Deadline(t.soon)
    while payloads[-1] not in ws.pongs and end.left():
        expect(ws.take() is None, "pongs", "a message")
        ws.fill(end.left())
    expect(payloads[-1] in ws.pongs, "a pong to the last", str(ws.pongs))
    expect_equal(ws.pongs, [p for p in payloads if p in ws.pongs], "pongs in order,")


@section.check("ws", NEEDS)
def ws_ping_byte_by_byte(t: Trial) -> None:
    """A frame may come byte by byte."""
    _, ws = begin(t)
    for payload in (b"slow", b"y" * 125):
        ws.send_each_byte(frame(PING, payload))
        ws.expect_pong(payload)
    ws.send_each_byte(frame(TEXT, b"z" * 130))
    ws.expect_alive("a message byte by byte")


@section.check("ws", NEEDS)
def ws_pong_unasked(t: Trial) -> None:
    """A pong that nobody asked for is passed over."""
    _, ws = begin(t)
    ws.send(frame(PONG), frame(PONG, b"unasked"))
    ws.expect_alive("a pong that nobody asked for")


def pinging(options: Options) -> float:
    return 2 * (options.ping_interval or 0) + (options.ping_timeout or 0) + 1.0


@section.check("decision", NEEDS, "ping_sub", "ping_interval", takes=pinging)
def ws_server_pings(t: Trial) -> None:
    """The server pings every ping interval, and goes on when it is answered."""
    interval = t.options.ping_interval
    assert interval is not None
    channel = t.channel()
    t.post(channel, b"start")
    ws = socket(t, channel, location=t.options.ping_sub)
    ws.expect(b"start")
    ws.expect_nothing("as only pings come", 2 * interval + SETTLE)
    expect(len(ws.pings) >= 1, "a ping in two intervals", "none")
    ws.expect_alive("pings")


@section.check("decision", NEEDS, "ping_sub", "ping_interval", "ping_timeout", takes=pinging)
def ws_dead_peer_is_gone(t: Trial) -> None:
    """A client that answers no ping is gone within the ping's interval and time-out."""
    interval, timeout = t.options.ping_interval, t.options.ping_timeout
    assert interval is not None
    assert timeout is not None
    channel = t.channel()
    t.post(channel, b"start")
    ws = socket(t, channel, location=t.options.ping_sub)
    ws.answers_pings = False
    ws.expect(b"start")
    if not t.until(lambda: t.info(channel).subscribers == 0, interval + timeout + t.soon):
        raise Failure("nobody held any more", f"{t.info(channel).subscribers}")


@section.check("decision", NEEDS, "ping_sub", "ping_interval", "ping_timeout", takes=pinging)
def ws_any_frame_is_life(t: Trial) -> None:
    """A client that answers no ping but sends other frames is alive."""
    interval, timeout = t.options.ping_interval, t.options.ping_timeout
    assert interval is not None
    assert timeout is not None
    channel = t.channel()
    t.post(channel, b"start")
    ws = socket(t, channel, location=t.options.ping_sub)
    ws.answers_pings = False
    ws.expect(b"start")
    end = Deadline(interval + timeout + SETTLE)
    while end.left():
        ws.send(frame(TEXT, b"alive"))
        ws.expect_nothing("as only pings come", min(0.1, end.left()))
    t.post(channel, b"m")
    ws.expect(b"m", after="POST")


@section.check(
    "decision", NEEDS, "ping_message_sub", "ping_interval", "ping_message", takes=pinging
)
def ws_ping_message(t: Trial) -> None:
    """A location's ping_message comes as a text message."""
    channel = t.channel()
    t.post(channel, b"start")
    ws = socket(t, channel, location=t.options.ping_message_sub)
    ws.expect(b"start")
    assert t.options.ping_interval is not None
    assert t.options.ping_message is not None
    end = Deadline(2 * t.options.ping_interval + t.soon)
    while (message := ws.take()) is None:
        expect(end.left() > 0, "the ping's message", "nothing")
        ws.fill(end.left())
    wanted = (t.options.ping_message.encode(), "text")
    expect_equal((message.body, message.kind), wanted, "the ping's message")


@section.check("decision", NEEDS, "heartbeat_sub", "heartbeat_in", "heartbeat_out")
def ws_heartbeat(t: Trial) -> None:
    """Where there is a heartbeat, its text is answered with the other text, and no other is."""
    beat, answer = t.options.heartbeat_in, t.options.heartbeat_out
    assert beat is not None
    assert answer is not None
    channel = t.channel()
    t.post(channel, b"start")
    ws = socket(t, channel, location=t.options.heartbeat_sub)
    ws.expect(b"start")
    for _ in range(2):
        ws.send(frame(TEXT, beat.encode()))
        message = ws.next("the heartbeat")
        expect_equal((message.body, message.kind), (answer.encode(), "text"), "the answer")
    ws.send(frame(TEXT, beat.encode() + b"?"))
    ws.expect_nothing("as this is not the heartbeat", 0.2)


# Messages of the client


@section.check("safety", NEEDS)
def ws_messages_are_dropped(t: Trial) -> None:
    """Messages of a client are dropped where publishing over the socket is not allowed."""
    channel, ws = begin(t)
    before = t.info(channel)
    for opcode in (TEXT, BINARY):
        ws.send(frame(opcode, b"never asked for"))
    ws.send(frame(TEXT, b"in", fin=False), frame(CONTINUATION, b" fragments"))
    ws.expect_alive("messages that are dropped")
    after = t.info(channel)
    expect_equal(after.messages, before.messages, "messages")
    expect_equal(after.last_message_id, before.last_message_id, "the last message id")
    t.post(channel, b"m")
    ws.expect(b"m", after="POST")


PUBLISHING = (NEEDS, "publishing_sub")


def publishing(t: Trial) -> tuple[str, WebSocket, Position]:
    """A channel, a WebSocket that may publish to it, and the position behind the first message."""
    channel = t.channel()
    position = t.start(channel)
    headers = {"Last-Event-ID": position.text}
    return channel, socket(t, channel, headers, location=t.options.publishing_sub), position


def expect_published(
    t: Trial, channel: str, position: Position, body: bytes, content_type: str
) -> Position:
    poll = t.poll(channel, position)
    answer = poll.answer_at_once("a message over the socket")
    expect_equal((answer.status, answer.body), (200, body), "what was published")
    found = (answer.header("Content-Type") or "").split(";")[0].strip()
    expect_equal(found, content_type, "its Content-Type")
    return answer.position


@section.check("decision", *PUBLISHING)
def ws_publishes_text(t: Trial) -> None:
    """Where it is allowed, a text is published as text/plain, and to the socket itself too."""
    channel, ws, position = publishing(t)
    for body in ("žluť 1".encode(), b"2"):
        ws.send(frame(TEXT, body))
        position = expect_published(t, channel, position, body, "text/plain")
        ws.expect(body, after="a message over the socket")


@section.check("decision", *PUBLISHING)
def ws_publishes_binary(t: Trial) -> None:
    """Where it is allowed, a binary message is published as application/octet-stream."""
    channel, ws, position = publishing(t)
    ws.send(frame(BINARY, b"\xff\0\1"))
    expect_published(t, channel, position, b"\xff\0\1", "application/octet-stream")
    expect_equal(ws.next("a message over the socket").kind, "binary", "the message's kind")


@section.check("decision", *PUBLISHING)
def ws_publishes_fragments(t: Trial) -> None:
    """A message in fragments, with a ping between, is published whole."""
    channel, ws, position = publishing(t)
    ws.send(
        frame(TEXT, "é".encode()[:1], fin=False),
        frame(PING),
        frame(CONTINUATION, "é".encode()[1:], fin=False),
        frame(CONTINUATION, b"!"),
    )
    expect_published(t, channel, position, "é!".encode(), "text/plain")


@section.check("decision", *PUBLISHING)
def ws_publishes_byte_by_byte(t: Trial) -> None:
    """Messages that come byte by byte are published, each once and in order."""
    channel, ws, position = publishing(t)
    ws.send_each_byte(frame(TEXT, b"one") + frame(TEXT, b"") + frame(BINARY, b"three" * 30))
    for body, kind in (
        (b"one", "text/plain"),
        (b"", "text/plain"),
        (b"three" * 30, "application/octet-stream"),
    ):
        position = expect_published(t, channel, position, body, kind)


@section.check("decision", *PUBLISHING, "publishing_max_body")
def ws_publishes_up_to_max_body(t: Trial) -> None:
    """A message of as many bytes as allowed is published."""
    channel, ws, position = publishing(t)
    body = os.urandom(t.options.publishing_max_body or 0)
    ws.send(frame(BINARY, body))
    expect_published(t, channel, position, body, "application/octet-stream")


def _too_big(t: Trial, *pieces: bytes) -> None:
    channel, ws, position = publishing(t)
    ws.send(*pieces)
    ws.expect_failed("a message that is too big", 1009)
    t.poll(channel, position).expect_held("as nothing was published")


@section.check("decision", *PUBLISHING, "publishing_max_body")
def ws_too_big_1009(t: Trial) -> None:
    """A message of more bytes than allowed fails the connection with 1009, before it has come."""
    _too_big(t, frame_head(BINARY, (t.options.publishing_max_body or 0) + 1) + bytes(4))


@section.check("safety", *PUBLISHING, "publishing_max_body")
def ws_fragments_too_big_1009(t: Trial) -> None:
    """Fragments that are together more than allowed fail the connection with 1009."""
    half = bytes((t.options.publishing_max_body or 0) // 2 + 1)
    _too_big(t, frame(BINARY, half, fin=False), frame(CONTINUATION, half, fin=False))


@section.check("safety", *PUBLISHING)
def ws_bad_text_is_not_published(t: Trial) -> None:
    """Text that is not UTF-8 fails the connection with 1007, and is not published."""
    channel, ws, position = publishing(t)
    ws.send(frame(TEXT, b"a\xff"))
    ws.expect_failed("text that is not UTF-8", 1007)
    t.poll(channel, position).expect_held("as nothing was published")
