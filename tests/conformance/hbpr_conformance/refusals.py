"""Section 9: limits, what is said of a refusal, and subscribers that are slow."""

from __future__ import annotations

import socket as sockets

from .channels import together
from .kinds import EVENTS, SOCKET, Kind, events
from .sockets import shake_hands
from .streams import expect_refused
from .suite import Section, Trial, expect, expect_equal, expect_status
from .wire import Failure, Location, Response, request_bytes

section = Section(9, "Streams: limits and slow subscribers")


def expect_explained(answer: Response) -> None:
    """Check that a refusal is one, and says why."""
    expect_status(answer, 400, 403, 409, 414, 429, 503)
    words = answer.header("X-Push-Explain") or ""
    expect(len(words.split()) >= 2, "X-Push-Explain in words", repr(words))


def expect_closed_with_words(t: Trial, location: Location | None, ids: str) -> None:
    """Check that a WebSocket is refused as scripts can see it: 101, then close 1008 with JSON."""
    assert location is not None
    connection, head = shake_hands(t, location, ids)
    expect_status(head, 101, of="a handshake, as scripts do not see the status of another answer")
    expect_refused(SOCKET, t, 0, connection, head)


# Subscribers of a channel


def _full(t: Trial) -> str:
    """A channel that has the one subscriber that --full-sub allows."""
    channel = t.channel()
    position = t.start(channel)
    t.hold(channel, position, subscriber=t.options.full_sub)
    return channel


@section.check("decision", "full_sub")
def full_channel_refuses(t: Trial) -> None:
    """A subscriber over max_subscribers of its channel is refused, and told why."""
    channel = _full(t)
    position = t.read(channel, b"start").position
    expect_explained(t.get(channel, position, subscriber=t.options.full_sub))


@section.check("decision", "full_sub", "eventsource_sub")
def full_channel_refuses_streams(t: Trial) -> None:
    """A stream over max_subscribers of its channel is refused, and told why."""
    _, head = EVENTS.ask(t, _full(t), t.options.full_sub)
    expect_explained(head)


@section.check("decision", "full_sub", "websocket_sub")
def full_channel_refuses_sockets(t: Trial) -> None:
    """A WebSocket over max_subscribers is closed with 1008 and the reason in JSON."""
    expect_closed_with_words(t, t.options.full_sub, _full(t))


@section.check("decision", "full_sub", "eventsource_sub")
def full_channel_lets_the_next_in(t: Trial) -> None:
    """When a subscriber leaves a full channel, another may come."""
    channel, first = EVENTS.begin(t, t.options.full_sub)
    first.close()
    t.expect_held_count(channel, 0, "as it has left")
    EVENTS.open(t, channel, t.options.full_sub).expect(b"start")


@section.check("decision", "full_sub", "eventsource_sub")
def full_is_said_of_each_channel(t: Trial) -> None:
    """max_subscribers is of each channel."""
    _full(t)
    EVENTS.begin(t, t.options.full_sub)


# Channels of a subscriber


def _too_many(t: Trial) -> str:
    channels = [t.channel() for _ in range(3)]
    for channel in channels:
        t.post(channel, b"m")
    return together(t, *channels)


@section.check("decision", "split_sub", "few_channels_sub")
def too_many_channels_refused(t: Trial) -> None:
    """A request for more than max_channels is refused, and told why."""
    expect_explained(t.get(_too_many(t), subscriber=t.options.few_channels_sub))


@section.check("decision", "split_sub", "few_channels_sub", "websocket_sub")
def too_many_channels_of_a_socket(t: Trial) -> None:
    """A WebSocket for more than max_channels is closed with 1008 and the reason in JSON."""
    expect_closed_with_words(t, t.options.few_channels_sub, _too_many(t))


@section.check("decision", "split_sub", "few_channels_sub")
def as_many_channels_as_allowed(t: Trial) -> None:
    """A request for max_channels is answered."""
    a, b = t.channel(), t.channel()
    t.post(a, b"a1")
    t.read(together(t, a, b), b"a1", subscriber=t.options.few_channels_sub)


# Slow subscribers

COUNT, SIZE = 600, 20_000  # 12 MB in all, more than the buffers on the way take


def _publish_many(t: Trial, channel: str, publisher: Location) -> None:
    """Publish numbered messages, one after the other on one connection."""
    connection = t.connect(publisher)
    target = publisher.target(channel)
    for number in range(COUNT):
        body = b"%d " % number + b"x" * SIZE
        connection.send(request_bytes("POST", target, publisher.host, body=body))
        expect_status(connection.read_final("POST"), 201, 202, of="POST with a slow subscriber")


def _slowly(t: Trial, kind: Kind, location: Location | None) -> tuple[str, list[tuple[str, int]]]:
    """Read nothing until all is published, then all; give how it ended, and what came: each
    message's kind and number."""
    assert t.options.small_pub is not None
    channel = t.channel(t.options.small_pub)
    t.post(channel, b"-1 start", publisher=t.options.small_pub)
    stream = kind.open(t, channel, location)
    receive = sockets.SOL_SOCKET, sockets.SO_RCVBUF
    stream.connection.socket.setsockopt(*receive, 1 << 14)
    stream.expect(b"-1 start")
    _publish_many(t, channel, t.options.small_pub)
    stream.connection.socket.setsockopt(*receive, 1 << 20)
    got: list[tuple[str, int]] = []
    while not got or got[-1][1] != COUNT - 1:
        try:
            message = stream.next("all was published")
        except Failure as failure:
            return failure.got, got
        number = message.body.split(b" ")[0]
        got.append((message.kind, int(number) if message.kind != "gap" else -1))
    return "", got


def some_seconds(options: object) -> float:
    return 10.0


@section.check(
    "decision", "slow_gap_sub", "small_pub", "eventsource_sub", takes=some_seconds, group="small"
)
def slow_subscriber_is_told_its_gap(t: Trial) -> None:
    """With on_slow: gap who reads too slowly goes on with the oldest message there is, after a
    gap event, and gets the last."""
    ended, got = _slowly(t, EVENTS, t.options.slow_gap_sub)
    expect_equal(ended, "", "nothing but messages,")
    last, told = -1, False
    for kind, number in got:
        if kind == "gap":
            told = True
            continue
        if number <= last or (number != last + 1 and not told):
            raise Failure(f"message {last + 1}, or a gap and then a later one", f"{number}")
        last, told = number, False


@section.check(
    "decision", "slow_close_sub", "small_pub", "eventsource_sub", takes=some_seconds, group="small"
)
def slow_subscriber_is_closed(t: Trial) -> None:
    """With on_slow: close the connection of who reads too slowly ends, before any gap."""
    ended, got = _slowly(t, EVENTS, t.options.slow_close_sub)
    expect(bool(ended), "the end of the connection", "all messages")
    numbers = [number for _, number in got]
    expect_equal(numbers, list(range(len(numbers))), "messages before it,")


@section.check(
    "safety", "small_pub", "slow_gap_sub", "eventsource_sub", takes=some_seconds, group="small"
)
def slow_subscriber_delays_nobody(t: Trial) -> None:
    """A stream that is not read delays no other stream of its channel."""
    assert t.options.small_pub is not None
    channel = t.channel(t.options.small_pub)
    t.post(channel, b"-1 start", publisher=t.options.small_pub)
    slow = EVENTS.open(t, channel, t.options.slow_gap_sub)
    slow.connection.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1 << 14)
    quick = events(t, channel, location=t.options.slow_gap_sub)
    quick.expect(b"-1 start")
    target = t.options.small_pub.target(channel)
    connection = t.connect(t.options.small_pub)
    for number in range(COUNT):
        body = b"%d " % number + b"x" * SIZE
        connection.send(request_bytes("POST", target, t.options.small_pub.host, body=body))
        expect_status(connection.read_final("POST"), 201, 202, of="POST with a slow subscriber")
        quick.expect(body, after="POST")
