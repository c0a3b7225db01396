"""Section 9: what every kind of stream keeps, each clause a check for each kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from .kinds import KINDS, PARTS, SOCKET, STREAM, Kind
from .options import Options
from .passthrough import PAIR, expect_events, wait_for
from .sockets import WebSocket
from .streaming import Subscriber
from .suite import Section, Trial, expect, expect_equal, expect_message, expect_status
from .wire import Connection, Failure, Location, Response, brief

section = Section(9, "Streams: what all kinds keep")

OverKinds = Callable[[Kind, Trial], None]


def holding(options: Options) -> float:
    return (options.hold_timeout or 0) + 1.0


def over(
    level: str,
    name: str,
    clause: str,
    *needs: str,
    kinds: tuple[Kind, ...] = KINDS,
    takes: Callable[[Options], float] | None = None,
) -> Callable[[OverKinds], OverKinds]:
    """Enter a check for each kind. clause: with {} where the kind stands."""

    def enter(function: OverKinds) -> OverKinds:
        for kind in kinds:
            text = clause.format(kind.title)
            section.add(
                level,
                f"{kind.name}-{name}",
                text[0].upper() + text[1:],
                partial(function, kind),
                kind.option,
                *needs,
                takes=takes or (lambda options: 0.0),
            )
        return function

    return enter


BY_HTTP = tuple(kind for kind in KINDS if kind is not SOCKET)


def expect_refused(
    kind: Kind, t: Trial, status: int, connection: Connection, head: Response
) -> None:
    """Check that a stream is refused: by a status, or a WebSocket also by a close frame, with
    JSON that says why."""
    if kind is not SOCKET or head.status != 101:
        expect_status(head, status, of=connection.asked)
        return
    ws = WebSocket(t, connection, head)
    ws.expect_end("the handshake", 1008)
    assert ws.closed is not None
    reason = ws.closed.payload[2:]
    try:
        said = json.loads(reason)
    except ValueError:
        said = None
    if not isinstance(said, dict) or not {"http_status", "explain"} <= set(said):
        raise Failure("JSON with http_status and explain", brief(reason, 125))
    code, words = said["http_status"], said["explain"]
    expect(isinstance(code, int) and 400 <= code < 600, "an http_status", repr(code))
    expect(isinstance(words, str) and len(words.split()) >= 2, "words", repr(words))


# Its beginning


@over("decision", "head-at-once", "The head of {} is sent at once, before there is a message")
def head_at_once(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    position = t.start(channel)
    stream = kind.open(t, channel, headers={"Last-Event-ID": position.text})
    stream.expect_nothing("as nothing has come")


@over("decision", "unknown-channel-404", "{} of an unknown channel is 404", "existing_sub")
def unknown_channel_404(kind: Kind, t: Trial) -> None:
    expect_refused(kind, t, 404, *kind.ask(t, t.channel(), t.options.existing_sub))


@over("decision", "malformed-position-400", "A malformed Last-Event-ID of {} is 400")
def malformed_position_400(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    for text in ("yesterday", "1:2:3", "-1:0"):
        expect_refused(kind, t, 400, *kind.ask(t, channel, headers={"Last-Event-ID": text}))


@over("legacy", "cors", "{} may be read by scripts of any origin", kinds=BY_HTTP)
def cors(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    stream = kind.open(t, channel, headers={"Origin": "http://page.test"})
    allowed = stream.head.header("Access-Control-Allow-Origin")
    expect_equal(allowed, "*", "Access-Control-Allow-Origin")


@over("decision", "in-chunks", "{} comes in chunks in HTTP/1.1", kinds=BY_HTTP)
def in_chunks(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    stream = kind.open(t, channel)
    expect(stream.head.header("Transfer-Encoding") is not None, "chunks", str(stream.head.fields))
    stream.expect(b"m")


@over(
    "http",
    "without-chunks-in-1-0",
    "{} in HTTP/1.0 has no chunks, and ends with the connection",
    kinds=tuple(kind for kind in BY_HTTP if kind is not STREAM),
)
def without_chunks_in_1_0(kind: Kind, t: Trial) -> None:
    _without_chunks(kind, t, None)


def _without_chunks(kind: Kind, t: Trial, location: Location | None) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    stream = kind.open(t, channel, location, version="HTTP/1.0")
    coding = stream.head.header("Transfer-Encoding")
    expect_equal(coding, None, "Transfer-Encoding")
    stream.expect(b"m")
    t.post(channel, b"n")
    stream.expect(b"n", after="POST")
    expect_status(t.request(t.options.pub, "DELETE", channel), 200, of="DELETE")
    stream.expect_end("DELETE", 1001)


def _only_stream_without_chunks_in_1_0(t: Trial) -> None:
    _without_chunks(STREAM, t, t.options.only_stream_sub)


section.add(
    "http",
    "stream-without-chunks-in-1-0",
    "An HTTP stream in HTTP/1.0 has no chunks, and ends with the connection",
    _only_stream_without_chunks_in_1_0,
    "only_stream_sub",
)


def _waiting(kind: Kind, t: Trial) -> tuple[str, Subscriber]:
    """A channel and a stream of it that has nothing to read from its beginning.

    One that has may still be on its way from reading what is stored to waiting when its client
    has read all.
    """
    channel = t.channel()
    position = t.start(channel)
    return channel, kind.open(t, channel, headers={"Last-Event-ID": position.text})


# Its messages


@over("decision", "begins-with-the-oldest", "{} begins with the oldest message, and has all")
def begins_with_the_oldest(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    bodies = [b"%d" % n for n in range(5)]
    for body in bodies:
        t.post(channel, body)
    kind.open(t, channel).expect(*bodies)


@over("decision", "live", "{} has each message at once when it is published")
def live(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t)
    for body in (b"one", b"two", b"three"):
        stream.expect_nothing("as nothing has come", 0.1)
        t.post(channel, body)
        stream.expect(body, after="POST")


@over("must", "each-once-in-order", "{} has each message once and in order")
def each_once_in_order(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    bodies = [b"%d" % n for n in range(40)]
    for body in bodies[:20]:
        t.post(channel, body)
    stream = kind.open(t, channel)
    for body in bodies[20:]:
        t.post(channel, body)
    stream.expect(*bodies)
    stream.expect_nothing("as it has had all", 0.2)


@over("must", "is-for-its-channel", "{} has no message of another channel")
def is_for_its_channel(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t)
    t.post(t.channel(), b"other")
    t.post(channel, b"mine")
    stream.expect(b"mine", after="POST")


@over("decision", "empty-message", "An empty message is a message of {}")
def empty_message(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t)
    t.post(channel, b"")
    t.post(channel, b"next")
    stream.expect(b"", b"next", after="POST")


@over("must", "large-message", "A message of 300,000 bytes comes whole by {}")
def large_message(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t)
    body = b"0123456789" * 30_000
    t.post(channel, body)
    stream.expect(body, after="POST")


@over(
    "must",
    "any-bytes",
    "A message of any bytes comes unchanged by {}",
    kinds=(SOCKET, PARTS),
)
def any_bytes(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t)
    body = bytes(range(256)) * 2 + b"\r\n--\r\n\r\n"
    t.post(channel, body, {"Content-Type": "application/octet-stream"})
    stream.expect(body, after="POST")


@over("decision", "unstored-message", "{} has messages that are not stored", "forego_pub")
def unstored_message(kind: Kind, t: Trial) -> None:
    channel, stream = _waiting(kind, t)
    answer = t.post(channel, b"unstored", publisher=t.options.forego_pub)
    expect_status(answer, 201, of="POST")
    stream.expect(b"unstored", after="POST")


# Its position


@over("decision", "resume-by-header", "Last-Event-ID resumes {} behind that message")
def resume_by_header(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    position = t.start(channel)
    t.post(channel, b"next")
    kind.open(t, channel, headers={"Last-Event-ID": position.text}).expect(b"next")


@over("decision", "resume-by-query", "?last_event_id= resumes {} behind that message")
def resume_by_query(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    position = t.start(channel)
    t.post(channel, b"next")
    kind.open(t, channel, query=f"last_event_id={position.text}").expect(b"next")


@over("decision", "resume-as-a-poll", "The headers of a poll's position resume {} as well")
def resume_as_a_poll(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    position = t.start(channel)
    t.post(channel, b"next")
    kind.open(t, channel, headers=dict(position.headers)).expect(b"next")


@over("decision", "empty-position-is-none", "An empty Last-Event-ID of {} is none")
def empty_position_is_none(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    kind.open(t, channel, headers={"Last-Event-ID": ""}, query="last_event_id=").expect(b"m")


# Being held


@over("must", "is-held", "{} is held: a POST is 201 while it is open")
def is_held(kind: Kind, t: Trial) -> None:
    channel, stream = _waiting(kind, t)
    for body in (b"one", b"two"):
        expect_status(t.post(channel, body), 201, of="POST while it is open")
        stream.expect(body, after="POST")


@over("must", "is-counted", "{} is one of the held subscribers of its channel")
def is_counted(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t)
    t.expect_held_count(channel, 1, f"as {kind.title} is open")
    t.post(channel, b"m")
    stream.expect(b"m", after="POST")
    t.expect_held_count(channel, 1, "also after a message")


@over("decision", "closed-is-not-held", "{} that its client closes is no longer held")
def closed_is_not_held(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t)
    stream.close()
    t.expect_held_count(channel, 0, "as it is closed")
    expect_status(t.post(channel, b"m"), 202, of="POST when nobody is held")


@over("decision", "everybody-has-each", "A message goes to all kinds at once, {} among them", "sub")
def everybody_has_each(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    position = t.start(channel)
    streams = [kind.open(t, channel, headers={"Last-Event-ID": position.text}) for _ in range(3)]
    poll = t.poll(channel, position)
    t.expect_held_count(channel, 4, "three streams and a poll")
    t.post(channel, b"all")
    for stream in streams:
        stream.expect(b"all", after="POST")
    answer = poll.answer_at_once("POST")
    expect_equal(answer.body, b"all", "the poll's message")


@over("should", "newer-409-where-first", "{} is 409 where only the oldest is held", "first_sub")
def newer_409_where_first(kind: Kind, t: Trial) -> None:
    channel, older = kind.begin(t, t.options.first_sub)
    headers = {"Last-Event-ID": t.info(channel).last_message_id}
    expect_refused(kind, t, 409, *kind.ask(t, channel, t.options.first_sub, headers))
    t.post(channel, b"m")
    older.expect(b"m", after="POST")


@over("should", "older-ends-where-last", "{} ends where only the newest is held", "last_sub")
def older_ends_where_last(kind: Kind, t: Trial) -> None:
    channel, older = kind.begin(t, t.options.last_sub)
    headers = {"Last-Event-ID": t.info(channel).last_message_id}
    newer = kind.open(t, channel, t.options.last_sub, headers)
    older.expect_end("a newer one", 1008)
    t.post(channel, b"m")
    newer.expect(b"m", after="POST")


@over(
    "decision",
    "pair-of-notices",
    "The application has one subscribe and one unsubscribe of {}, whatever it reads",
    "passthrough_sub",
    "passthrough_listen",
)
def pair_of_notices(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t, t.options.passthrough_sub)
    for body in (b"one", b"two"):
        t.post(channel, body)
        stream.expect(body, after="POST")
    events = [notice.event for notice in wait_for(t, channel, 1)]
    expect_equal(events, PAIR[:1], "notices while it is open")
    stream.close()
    expect_events(t, channel, PAIR)


# Its end


@over("must", "ends-with-its-channel", "{} ends at once, and properly, when its channel is deleted")
def ends_with_its_channel(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t)
    expect_status(t.request(t.options.pub, "DELETE", channel), 200, of="DELETE")
    stream.expect_end("DELETE", 1001)


@over(
    "decision",
    "ends-in-its-time",
    "{} ends properly when it has been open for its location's time",
    "streams_timeout_sub",
    "hold_timeout",
    takes=holding,
)
def ends_in_its_time(kind: Kind, t: Trial) -> None:
    hold = t.options.hold_timeout
    assert hold is not None
    channel, stream = kind.begin(t, t.options.streams_timeout_sub)
    t.post(channel, b"m")
    stream.expect(b"m", after="POST")
    stream.expect_nothing("before its time", 0.6 * hold)
    stream.expect_end("its time-out", 1000, hold + t.soon)


@over(
    "decision",
    "connection-goes-on",
    "Behind the last chunk of {} the connection goes on",
    kinds=BY_HTTP,
)
def connection_goes_on(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t)
    t.request(t.options.pub, "DELETE", channel)
    stream.expect_end("DELETE", 1001)
    other = t.channel()
    t.post(other, b"m")
    t.send(stream.connection, kind.location(t.options), "GET", other)
    expect_message(stream.connection.read_final(), b"m")


@over(
    "safety", "request-behind-waits", "A request behind {} waits, and stops nothing", kinds=BY_HTTP
)
def request_behind_waits(kind: Kind, t: Trial) -> None:
    channel, stream = kind.begin(t)
    t.send(stream.connection, kind.location(t.options), "GET", channel)
    t.wait(0.1)  # for the server to read it
    t.post(channel, b"m")
    stream.expect(b"m", after="POST behind which a request waits")
