"""Section 9: event streams, as the HTML standard has them read."""

from __future__ import annotations

import re
from functools import partial

from .kinds import EVENTS, events
from .options import Options
from .streaming import Message
from .suite import SETTLE, Section, Trial, expect, expect_equal
from .wire import brief

section = Section(9, "Streams: event streams")

NEEDS = "eventsource_sub"


def one_event(t: Trial, body: bytes, headers: dict[str, str] | None = None) -> Message:
    """The event that a message becomes. Nothing else may come of it."""
    channel = t.channel()
    t.post(channel, body, headers or {})
    stream = events(t, channel)
    event = stream.next()
    t.post(channel, b"the next")
    following = stream.next("POST")
    expect(following.body == b"the next", "one event of a message", brief(following.body))
    return event


# The head


@section.check("sse", NEEDS)
def sse_content_type(t: Trial) -> None:
    """The Content-Type is text/event-stream, of no other charset than UTF-8."""
    channel, stream = EVENTS.begin(t)
    found = (stream.head.header("Content-Type") or "").lower().replace(" ", "").replace('"', "")
    wanted = ("text/event-stream", "text/event-stream;charset=utf-8")
    expect(found in wanted, "text/event-stream", found)


@section.check("decision", NEEDS)
def sse_is_not_cached(t: Trial) -> None:
    """Cache-Control says no-cache."""
    channel, stream = EVENTS.begin(t)
    expect("no-cache" in stream.head.tokens("Cache-Control"), "no-cache", str(stream.head.fields))


@section.check("decision", NEEDS)
def sse_is_not_transformed(t: Trial) -> None:
    """Cache-Control says no-transform: what compresses it on the way holds events back."""
    channel, stream = EVENTS.begin(t)
    said = stream.head.tokens("Cache-Control")
    expect("no-transform" in said, "no-transform", str(stream.head.fields))


@section.check("decision", NEEDS)
def sse_is_not_buffered(t: Trial) -> None:
    """X-Accel-Buffering: no asks nginx to hold nothing back."""
    channel, stream = EVENTS.begin(t)
    expect_equal(stream.head.header("X-Accel-Buffering"), "no", "X-Accel-Buffering")


# The data

LINES = {
    "lf-splits": ("at LF", b"one\ntwo"),
    "cr-splits": ("at CR", b"one\rtwo"),
    "crlf-splits": ("at CRLF, which is one", b"one\r\ntwo"),
    "mixed-line-ends": ("at CR, LF and CRLF together", b"a\r\n\r\nb\n\rc\n\nd\r\re"),
    "empty-last-line": ("with a last line that is empty", b"one\n"),
    "empty-last-line-by-cr": ("with a last line that is empty behind CR", b"one\r"),
    "empty-first-line": ("with a first line that is empty", b"\n\none"),
    "only-line-ends": ("that are all empty", b"\r\n\r\n"),
}


def _splits(body: bytes, t: Trial) -> None:
    wanted = re.sub(rb"\r\n|\r", b"\n", body)
    expect_equal(one_event(t, body).body, wanted, f"the data of {brief(body)}")


for _name, (_about, _body) in LINES.items():
    section.add(
        "decision",
        f"sse-{_name}",
        f"A message is split into data lines {_about}",
        partial(_splits, _body),
        NEEDS,
    )


@section.check("sse", NEEDS)
def sse_blanks_are_kept(t: Trial) -> None:
    """A blank at the beginning of a line is data."""
    for body in (b" one", b"  two\n three", b" ", b"a\n "):
        expect_equal(one_event(t, body).body, body, "the data")


@section.check("sse", NEEDS)
def sse_looks_like_fields(t: Trial) -> None:
    """Lines that look like fields or comments are data."""
    for body in (b"id: 1:1", b": comment", b"event: x\ndata: y", b"data", b"retry: 1"):
        event = one_event(t, body)
        expect_equal((event.body, event.kind), (body, "message"), "data and event")


@section.check("safety", NEEDS)
def sse_nothing_is_forged(t: Trial) -> None:
    """Nothing that a publisher sends can forge a field or an event."""
    evil = b"x%sid: 9:9%sevent: evil%sretry: 1%s%sdata: forged%s%s: comment%s"
    for end in (b"\n", b"\r", b"\r\n", b"\n\r"):
        body = evil.replace(b"%s", end)
        event = one_event(t, body)
        wanted = re.sub(rb"\r\n|\r", b"\n", body)
        expect_equal(event.body, wanted, "the data")
        expect(event.kind == "message" and event.id != "9:9", "no field of it", str(event))


@section.check("sse", NEEDS)
def sse_utf_8(t: Trial) -> None:
    """Text comes as the UTF-8 that it is."""
    body = "žluťoučký kůň 押す 🐎\u2028\u0085 end".encode()
    expect_equal(one_event(t, body).body, body, "the data")


# The fields


@section.check("decision", NEEDS)
def sse_id_of_each_message(t: Trial) -> None:
    """Each event's id is the message's, SECOND:TAG, as a poll's position has it."""
    channel = t.channel()
    for body in (b"1", b"2"):
        t.post(channel, body)
    first = t.read(channel, b"1").position
    second = t.read(channel, b"2", first).position
    found = [event.id for event in events(t, channel).expect(b"1", b"2")]
    expect_equal(found, [first.text, second.text], "ids")


@section.check("decision", NEEDS)
def sse_goes_on_from_its_ids(t: Trial) -> None:
    """The id of an event, sent back as Last-Event-ID, means the next one."""
    channel = t.channel()
    bodies = [b"1", b"2", b"3"]
    for body in bodies:
        t.post(channel, body)
    last = None
    for body in bodies:
        headers = {"Last-Event-ID": last} if last else None
        last = events(t, channel, headers).expect(body)[0].id
        expect(last is not None, "an id", "none")


@section.check("decision", NEEDS)
def sse_event_by_x_eventsource_event(t: Trial) -> None:
    """The publisher's X-EventSource-Event names the event."""
    event = one_event(t, b"m", {"X-EventSource-Event": "cat picture"})
    expect_equal(event.kind, "cat picture", "the event")


@section.check("decision", NEEDS)
def sse_event_by_event_type(t: Trial) -> None:
    """The publisher's Event-Type names the event as well."""
    expect_equal(one_event(t, b"m", {"Event-Type": "cat"}).kind, "cat", "the event")


@section.check("decision", NEEDS)
def sse_event_of_its_message_alone(t: Trial) -> None:
    """An event's name is of its message alone, and without one it is message."""
    channel = t.channel()
    for name in ("", "one", "", "two"):
        t.post(channel, b"m", {"X-EventSource-Event": name} if name else {})
    found = [event.kind for event in events(t, channel).expect(*[b"m"] * 4)]
    expect_equal(found, ["message", "one", "message", "two"], "events")


@section.check("decision", "event_sub", "event")
def sse_event_of_location(t: Trial) -> None:
    """A location's event names those whose publisher named none, and no others."""
    channel = t.channel()
    t.post(channel, b"1")
    t.post(channel, b"2", {"X-EventSource-Event": "own"})
    stream = events(t, channel, location=t.options.event_sub)
    found = [event.kind for event in stream.expect(b"1", b"2")]
    expect_equal(found, [t.options.event, "own"], "events")


@section.check("decision", "retry_sub", "retry")
def sse_retry_of_location(t: Trial) -> None:
    """A location's retry is said at the beginning, in milliseconds."""
    channel = t.channel()
    t.post(channel, b"m")
    stream = events(t, channel, location=t.options.retry_sub)
    stream.expect(b"m")
    assert t.options.retry is not None
    expect_equal(stream.retry, round(t.options.retry * 1000), "retry")


# Pings


def pinging(options: Options) -> float:
    return 2 * (options.ping_interval or 0) + 1.0


@section.check("decision", NEEDS, "ping_sub", "ping_interval", takes=pinging)
def sse_pings_are_comments(t: Trial) -> None:
    """Where nothing comes there is a comment every ping interval, which is no event."""
    channel, stream = EVENTS.begin(t, t.options.ping_sub)
    read = events(t, channel, {"Last-Event-ID": ""}, location=t.options.ping_sub)
    read.expect(b"start")
    before = len(read.comments)
    assert t.options.ping_interval is not None
    read.expect_nothing("as only pings come", 2 * t.options.ping_interval + SETTLE)
    found = len(read.comments) - before
    expect(found >= 1, "a comment in two intervals", f"{found}")
    t.post(channel, b"m")
    read.expect(b"m", after="POST")


@section.check(
    "decision", NEEDS, "ping_message_sub", "ping_interval", "ping_message", takes=pinging
)
def sse_ping_message(t: Trial) -> None:
    """A location's ping_message is the text of these comments."""
    channel = t.channel()
    t.post(channel, b"start")
    read = events(t, channel, location=t.options.ping_message_sub)
    read.expect(b"start")
    assert t.options.ping_interval is not None
    read.expect_nothing("as only pings come", 2 * t.options.ping_interval + SETTLE)
    expect(t.options.ping_message in read.comments, "the text", str(read.comments))
