"""Section 9: one position for all transports, where it begins, and what was lost."""

from __future__ import annotations

import time
from functools import partial

from .kinds import EVENTS, PARTS, SOCKET, STREAM, Kind, events, expect_polled, socket
from .sockets import META, META_MORE
from .streaming import Message
from .suite import Section, Trial, expect, expect_equal, expect_status
from .wire import Failure, Location, Position

section = Section(9, "Streams: one position for all")


# From one transport to another


@section.check("decision", "websocket_sub", "eventsource_sub")
def one_position_for_all(t: Trial) -> None:
    """From a WebSocket to an event stream to long polls and back, each message comes once."""
    channel = t.channel()
    wanted = [b"%d" % n for n in range(12)]
    for body in wanted[:9]:
        t.post(channel, body)
    got: list[Message] = []
    for _ in range(2):
        last = {"Last-Event-ID": got[-1].id} if got else {}
        ws = socket(t, channel, {**last, "Sec-WebSocket-Protocol": META})
        got += [ws.next(), ws.next()]
        ws.close()
        stream = events(t, channel, {"Last-Event-ID": got[-1].id})
        got += [stream.next(), stream.next()]
        stream.close()
        for _ in range(2):
            answer = t.get(channel, headers={"Last-Event-ID": got[-1].id or ""})
            expect_status(answer, 200)
            got.append(Message(answer.body, answer.position.text))
        for body in wanted[len(got) + 3 : len(got) + 6]:
            t.post(channel, body)
    expect_equal([message.body for message in got], wanted, "messages")


def _from_poll_to(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    for body in (b"1", b"2"):
        t.post(channel, body)
    position = t.read(channel, b"1").position
    stream = kind.open(t, channel, headers={"Last-Event-ID": position.text})
    (message,) = stream.expect(b"2")
    stream.close()
    if message.id is not None:
        poll = t.poll(channel, headers={"Last-Event-ID": message.id})
        poll.expect_held("as it has had all")


for _kind in (EVENTS, SOCKET, STREAM, PARTS):
    section.add(
        "decision",
        f"from-a-poll-to-{_kind.name}",
        f"{_kind.title[0].upper()}{_kind.title[1:]} goes on from a poll's position, and back",
        partial(_from_poll_to, _kind),
        _kind.option,
    )


# Where it begins


def _begins(t: Trial, location: Location | None, *bodies: bytes, query: str = "") -> None:
    """Check what an event stream of six messages begins with, and that it goes on."""
    channel = t.channel()
    for n in range(1, 7):
        t.post(channel, b"%d" % n)
    stream = events(t, channel, query=query, location=location)
    stream.expect(*bodies)
    stream.expect_nothing("as there is no more", 0.1)
    t.post(channel, b"live")
    stream.expect(b"live", after="POST")


@section.check("decision", "newest_sub", "eventsource_sub")
def first_message_newest(t: Trial) -> None:
    """With first_message: newest a stream begins with the next message."""
    _begins(t, t.options.newest_sub)


@section.check("decision", "second_sub", "eventsource_sub")
def first_message_2(t: Trial) -> None:
    """With first_message: 2 a stream begins with the second of those that are stored."""
    _begins(t, t.options.second_sub, b"2", b"3", b"4", b"5", b"6")


@section.check("decision", "last_two_sub", "eventsource_sub")
def first_message_minus_2(t: Trial) -> None:
    """With first_message: -2 a stream begins with the last but one."""
    _begins(t, t.options.last_two_sub, b"5", b"6")


@section.check("decision", "last_two_sub", "eventsource_sub")
def first_message_of_few(t: Trial) -> None:
    """With first_message: -2 a stream of fewer messages begins with the oldest."""
    channel = t.channel()
    t.post(channel, b"1")
    events(t, channel, location=t.options.last_two_sub).expect(b"1")


@section.check("decision", "newest_sub", "eventsource_sub")
def first_message_without_position(t: Trial) -> None:
    """first_message is for who has no position."""
    channel = t.channel()
    position = t.start(channel)
    t.post(channel, b"next")
    headers = {"Last-Event-ID": position.text}
    events(t, channel, headers, location=t.options.newest_sub).expect(b"next")


@section.check("decision", "newest_sub")
def first_message_of_a_poll(t: Trial) -> None:
    """first_message is for polls as well."""
    channel = t.channel()
    t.post(channel, b"old")
    poll = t.poll(channel, subscriber=t.options.newest_sub)
    poll.expect_held("as it begins with the next message")
    t.post(channel, b"new")
    expect_polled(poll.answer_at_once("POST"), b"new")


@section.check("decision", "websocket_sub", "newest_sub")
def first_message_of_a_socket(t: Trial) -> None:
    """first_message is for WebSockets as well."""
    channel = t.channel()
    t.post(channel, b"old")
    ws = socket(t, channel, location=t.options.newest_sub)
    ws.expect_nothing("as it begins with the next message", 0.1)
    t.post(channel, b"new")
    ws.expect(b"new", after="POST")


@section.check("decision", "eventsource_sub")
def backtrack(t: Trial) -> None:
    """?backtrack=2 begins a stream with the last two messages."""
    _begins(t, None, b"5", b"6", query="backtrack=2")


@section.check("decision", "eventsource_sub")
def backtrack_more_than_there_is(t: Trial) -> None:
    """?backtrack=100 begins with the oldest where there are fewer."""
    _begins(t, None, *(b"%d" % n for n in range(1, 7)), query="backtrack=100")


@section.check("decision", "eventsource_sub")
def backtrack_of_a_poll(t: Trial) -> None:
    """?backtrack=1 is for polls as well."""
    channel = t.channel()
    for body in (b"1", b"2"):
        t.post(channel, body)
    expect_polled(t.get(channel, query="backtrack=1"), b"2")


@section.check("decision", "eventsource_sub")
def backtrack_malformed_400(t: Trial) -> None:
    """A backtrack that is no number is 400."""
    channel = t.channel()
    t.post(channel, b"m")
    for text in ("some", "-1", "1x"):
        _, head = EVENTS.ask(t, channel, query=f"backtrack={text}")
        expect_status(head, 400, of=f"backtrack={text}")


def a_second(options: object) -> float:
    return 1.1


def _seconds_apart(t: Trial) -> tuple[str, Position, Position]:
    """A channel with messages of two seconds: one and two of the first, three of the second."""
    channel = t.channel()
    for body in (b"one", b"two"):
        t.post(channel, body)
    first = t.read(channel, b"one").position
    t.wait(1.05 - time.time() % 1)
    t.post(channel, b"three")
    second = t.read(channel, b"two", first).position
    third = t.read(channel, b"three", second).position
    return channel, second, third


@section.check("decision", "eventsource_sub", takes=a_second)
def time_of_the_query(t: Trial) -> None:
    """?time=SECOND begins with the first message of that second or later."""
    channel, _, third = _seconds_apart(t)
    events(t, channel, query=f"time={third.second}").expect(b"three")
    events(t, channel, query=f"time={third.second - 5}").expect(b"one", b"two", b"three")


@section.check("decision", "eventsource_sub", takes=a_second)
def time_and_tag_of_the_query(t: Trial) -> None:
    """?time=SECOND&tag=N begins behind that message."""
    channel, second, _ = _seconds_apart(t)
    query = f"time={second.second}&tag={second.tag}"
    events(t, channel, query=query).expect(b"three")


# What was lost

GAP = ("limited_pub", "gap_sub", "max_messages")


def _lost(t: Trial, subscriber: Location | None = None) -> tuple[str, Position, list[bytes], int]:
    """A channel of whose messages some were dropped: it, a position before, what is left, and
    how many were lost."""
    most = t.options.max_messages
    assert most is not None
    channel = t.channel(t.options.limited_pub)
    position = t.start(channel, t.options.limited_pub, subscriber or t.options.gap_sub)
    bodies = [b"%d" % n for n in range(most + 3)]
    for body in bodies:
        t.post(channel, body, publisher=t.options.limited_pub)
    return channel, position, bodies[-most:], 3


def expect_gap(text: str | None, lost: int, where: str) -> None:
    """Check that so many are said to be lost, or 1: how many is said where it is known."""
    if text is None or not text.isdigit() or not 1 <= int(text) <= lost:
        raise Failure(f"{where}, of 1 to {lost}", str(text))


@section.check("decision", *GAP)
def gap_of_a_poll(t: Trial) -> None:
    """A poll from a position that is older than what is stored has X-Push-Gap."""
    channel, position, left, lost = _lost(t)
    answer = t.read(channel, left[0], position, subscriber=t.options.gap_sub)
    expect_gap(answer.header("X-Push-Gap"), lost, "X-Push-Gap")


@section.check("decision", *GAP, "eventsource_sub")
def gap_of_an_event_stream(t: Trial) -> None:
    """With gap_event an event stream says a gap once, before the oldest message there is."""
    channel, position, left, lost = _lost(t)
    headers = {"Last-Event-ID": position.text}
    stream = events(t, channel, headers, location=t.options.gap_sub)
    gap = stream.next()
    expect_equal(gap.kind, "gap", "the first event")
    if gap.body:
        expect_gap(gap.body.decode(), lost, "the number lost")
    expect_equal([event.kind for event in stream.expect(*left)], ["message"] * len(left), "events")


@section.check("decision", *GAP, "eventsource_sub")
def gap_event_has_an_id(t: Trial) -> None:
    """The id of a gap event means the messages behind it, and no gap again."""
    channel, position, left, _ = _lost(t)
    headers = {"Last-Event-ID": position.text}
    gap = events(t, channel, headers, location=t.options.gap_sub).next()
    expect_equal(gap.kind, "gap", "the first event")
    expect(gap.id is not None, "an id", "none")
    found = events(t, channel, {"Last-Event-ID": gap.id}, location=t.options.gap_sub)
    expect_equal(found.expect(*left)[0].kind, "message", "the first event")


@section.check("decision", *GAP, "eventsource_sub")
def no_gap_event_for_nothing(t: Trial) -> None:
    """No gap event is said to who missed nothing, or has no position."""
    channel, _, left, _ = _lost(t)
    stream = events(t, channel, location=t.options.gap_sub)
    got = stream.expect(*left)
    expect_equal([event.kind for event in got], ["message"] * len(left), "events")
    headers = {"Last-Event-ID": got[0].id}
    again = events(t, channel, headers, location=t.options.gap_sub).expect(*left[1:])
    expect_equal([event.kind for event in again], ["message"] * len(again), "events")


@section.check("decision", "limited_pub", "silent_sub", "max_messages", "eventsource_sub")
def gap_event_may_be_off(t: Trial) -> None:
    """Where gap events are off an event stream has messages only."""
    channel, position, left, _ = _lost(t, t.options.silent_sub)
    headers = {"Last-Event-ID": position.text}
    events(t, channel, headers, location=t.options.silent_sub).expect(*left)


@section.check("decision", *GAP, "websocket_sub")
def gap_of_a_socket(t: Trial) -> None:
    """In ws+meta.pushserver the message behind a gap has the line gap, and no other."""
    channel, position, left, lost = _lost(t)
    headers = {"Last-Event-ID": position.text, "Sec-WebSocket-Protocol": META_MORE}
    messages = socket(t, channel, headers, location=t.options.gap_sub).expect(*left)
    expect_gap(messages[0].field("gap"), lost, "gap:")
    others = [message.field("gap") for message in messages[1:]]
    expect_equal(others, [None] * len(others), "gap: of the others")


@section.check("decision", *GAP, "multipart_sub")
def gap_of_a_part(t: Trial) -> None:
    """The part behind a gap has X-Push-Gap, and no other."""
    channel, position, left, lost = _lost(t)
    headers = {"Last-Event-ID": position.text}
    parts = PARTS.open(t, channel, t.options.gap_sub, headers).expect(*left)
    expect_gap(parts[0].field("x-push-gap"), lost, "X-Push-Gap")
    others = [part.field("x-push-gap") for part in parts[1:]]
    expect_equal(others, [None] * len(others), "X-Push-Gap of the others")
