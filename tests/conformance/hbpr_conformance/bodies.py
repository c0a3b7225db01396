"""Section 9: HTTP streams and multipart/mixed."""

from __future__ import annotations

from .kinds import PARTS, STREAM
from .options import Options
from .parts import PartStream, SeparatedStream, boundary_of
from .suite import Section, Trial, expect, expect_equal
from .wire import Deadline

section = Section(9, "Streams: HTTP streams and multipart/mixed")


# HTTP streams


@section.check("decision", "stream_sub")
def stream_separator(t: Trial) -> None:
    """Each message of an HTTP stream is followed by a newline, and nothing else."""
    channel, stream = STREAM.begin(t)
    assert isinstance(stream, SeparatedStream)
    stream.separator = b"end"
    for body in (b"one", b"", b"two", b"end"):
        t.post(channel, body)
    stream.expect(b"one\n\ntwo\n", after="POST")


@section.check("decision", "separator_sub", "separator")
def stream_separator_of_location(t: Trial) -> None:
    """A location's stream_separator follows each message instead."""
    channel = t.channel()
    t.post(channel, b"one")
    stream = STREAM.open(t, channel, t.options.separator_sub)
    assert isinstance(stream, SeparatedStream)
    assert t.options.separator is not None
    stream.separator = t.options.separator.encode()
    t.post(channel, b"two\n")
    stream.expect(b"one", b"two\n")


@section.check("decision", "stream_sub")
def stream_content_type(t: Trial) -> None:
    """An HTTP stream is application/octet-stream, whatever its messages are."""
    channel = t.channel()
    t.post(channel, b"m", {"Content-Type": "text/x-own"})
    stream = STREAM.open(t, channel)
    expect_equal(stream.head.header("Content-Type"), "application/octet-stream", "Content-Type")


@section.check("decision", "stream_sub", "type_sub", "content_type")
def stream_content_type_of_location(t: Trial) -> None:
    """A location's content_type is the HTTP stream's."""
    channel = t.channel()
    t.post(channel, b"m", {"Content-Type": "text/x-own"})
    stream = STREAM.open(t, channel, t.options.type_sub)
    expect_equal(stream.head.header("Content-Type"), t.options.content_type, "Content-Type")


def pinging(options: Options) -> float:
    return 2 * (options.ping_interval or 0) + 1.0


@section.check("decision", "stream_sub", "ping_sub", "ping_interval", takes=pinging)
def stream_has_no_pings(t: Trial) -> None:
    """Nothing is added to an HTTP stream by pings unless there is a ping_message."""
    channel, stream = STREAM.begin(t, t.options.ping_sub)
    assert t.options.ping_interval is not None
    stream.expect_nothing("as pings add nothing", 2 * t.options.ping_interval)
    expect_equal(stream.pending(), b"", "what has come")


@section.check(
    "decision", "stream_sub", "ping_message_sub", "ping_interval", "ping_message", takes=pinging
)
def stream_ping_message(t: Trial) -> None:
    """A location's ping_message comes in the HTTP stream every ping interval."""
    channel, stream = STREAM.begin(t, t.options.ping_message_sub)
    assert t.options.ping_interval is not None
    assert t.options.ping_message is not None
    text = t.options.ping_message.encode()
    end = Deadline(2 * t.options.ping_interval + t.soon)
    assert isinstance(stream, SeparatedStream)
    while text not in stream.data:
        expect(end.left() > 0, f"{text!r}", repr(stream.data))
        stream.fill(end.left())


# Multipart


@section.check("decision", "multipart_sub")
def multipart_says_each_position(t: Trial) -> None:
    """Each part has Last-Modified and Etag, as a poll has them of the same message."""
    channel = t.channel()
    for body in (b"1", b"2"):
        t.post(channel, body)
    first = t.read(channel, b"1").position
    second = t.read(channel, b"2", first).position
    parts = PARTS.open(t, channel).expect(b"1", b"2")
    found = [(part.field("last-modified"), part.field("etag")) for part in parts]
    expect_equal(found, [tuple(first), tuple(second)], "positions")


@section.check("decision", "multipart_sub")
def multipart_says_each_content_type(t: Trial) -> None:
    """Each part has its message's Content-Type, and none where the publisher gave none."""
    channel = t.channel()
    kinds = ["text/x-one; charset=utf-8", None, "image/png"]
    for kind in kinds:
        t.post(channel, b"m", {} if kind is None else {"Content-Type": kind})
    found = [part.content_type for part in PARTS.open(t, channel).expect(*[b"m"] * 3)]
    expect_equal(found, kinds, "Content-Type")


@section.check("decision", "multipart_sub")
def multipart_closes(t: Trial) -> None:
    """The end of a multipart/mixed stream has the closing delimiter."""
    channel, stream = PARTS.begin(t)
    assert isinstance(stream, PartStream)
    t.request(t.options.pub, "DELETE", channel)
    stream.expect_end("DELETE", 1001)
    stream.take()
    expect(stream.parts.closed, "the closing delimiter", repr(stream.pending()))


@section.check("safety", "multipart_sub")
def multipart_boundary_is_not_guessed(t: Trial) -> None:
    """A boundary has 12 characters or more, so that no message has it by chance."""
    _, stream = PARTS.begin(t)
    boundary = boundary_of(stream.head)
    expect(len(boundary) >= 12, "a boundary of 12 characters or more", repr(boundary))
