"""Section 9: several channels on one connection."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote, unquote_to_bytes

from .kinds import KINDS, PARTS, Kind, events, socket
from .sockets import META
from .suite import Section, Trial, expect_equal, expect_message, expect_status
from .wire import Failure, Location, Position

section = Section(9, "Streams: several channels on one connection")

NEEDS = "split_sub"


def together(t: Trial, *channels: str) -> str:
    """Ids as --split-sub has them in its URL."""
    return t.options.split.join(channels)


def two(t: Trial) -> tuple[str, str, str]:
    """Two channels that have a message each, and both as one."""
    a, b = t.channel(), t.channel()
    t.post(a, b"a1")
    t.post(b, b"b1")
    return a, b, together(t, a, b)


# How they are asked for


def _read_both(t: Trial, location: Location | None, ids: str, query: str = "") -> None:
    first = t.read(ids, b"a1", subscriber=location, query=query)
    t.read(ids, b"b1", first.position, subscriber=location, query=query)


@section.check("decision", NEEDS)
def several_by_split(t: Trial) -> None:
    """Several ids in one group are several channels: one position serves them all."""
    _, _, both = two(t)
    _read_both(t, t.options.split_sub, both)


@section.check("decision", "split_slash_sub")
def several_by_slash(t: Trial) -> None:
    """Where split is /, the rest of a path is several ids."""
    a, b, _ = two(t)
    _read_both(t, t.options.split_slash_sub, f"{a}/{b}")


@section.check("decision", "groups_sub")
def several_by_groups(t: Trial) -> None:
    """Several groups in a location's url are several channels."""
    a, b, _ = two(t)
    given = t.options.groups_sub
    assert given is not None
    _read_both(t, Location(given.url.replace("{other}", b)), a)


@section.check("decision", "argument_sub", "argument")
def several_by_argument(t: Trial) -> None:
    """Ids may come as a query parameter, repeated for several."""
    a, b, _ = two(t)
    _read_both(t, t.options.argument_sub, a, f"{t.options.argument}={b}")


@section.check("decision", NEEDS)
def several_one_alone(t: Trial) -> None:
    """One id is one channel, where there may be several."""
    a, _, _ = two(t)
    position = t.read(a, b"a1", subscriber=t.options.split_sub).position
    t.hold(a, position, subscriber=t.options.split_sub)


@section.check("decision", NEEDS)
def several_cut_before_decoding(t: Trial) -> None:
    """Ids are cut before they are decoded: an escaped separator is part of an id."""
    a, b = t.channel(), t.channel()
    joined = quote(t.options.split, safe="").join((a, b))
    try:
        for channel, body in ((joined, b"together"), (a, b"a1"), (b, b"b1")):
            t.post(channel, body)
        position = t.read(joined, b"together", subscriber=t.options.split_sub).position
        t.hold(joined, position, subscriber=t.options.split_sub)
    finally:
        t.request(t.options.pub, "DELETE", joined)


@section.check("decision", NEEDS)
def several_same_twice(t: Trial) -> None:
    """An id that is named twice is one channel: each message comes once."""
    a, _, _ = two(t)
    ids = together(t, a, a)
    position = t.read(ids, b"a1", subscriber=t.options.split_sub).position
    held = t.hold(a, position, subscriber=t.options.split_sub)
    held.close()
    poll = t.poll(ids, position, subscriber=t.options.split_sub)
    t.expect_held_count(a, 1, "by one request")
    t.post(a, b"a2")
    answer = expect_message(poll.answer_at_once("POST"), b"a2")
    t.poll(ids, answer.position, subscriber=t.options.split_sub).expect_held("as it has had all")


@section.check("decision", NEEDS)
def several_up_to_255(t: Trial) -> None:
    """There may be 255 channels, and not 256."""
    base = t.channel()
    names = [f"{base}.{n}" for n in range(256)]
    try:
        t.post(names[254], b"the last")
        location = t.options.split_sub
        t.read(together(t, *names[:255]), b"the last", subscriber=location)
        answer = t.get(together(t, *names), subscriber=location)
        expect_status(answer, 400, 403, 414, of="256 channels")
    finally:
        t.request(t.options.pub, "DELETE", names[254])


# How they are read


@section.check("decision", NEEDS)
def several_in_one_order(t: Trial) -> None:
    """Messages of several channels come in the order of their publication, each once."""
    a, b, both = two(t)
    wanted = [b"a1", b"b1"]
    for n in range(6):
        body = b"%d" % n
        t.post((a, b, b)[n % 3], body)
        wanted.append(body)
    got = []
    position: Position | None = None
    for _ in wanted:
        answer = t.read(both, position=position, subscriber=t.options.split_sub)
        position = answer.position
        got.append(answer.body)
    expect_equal(got, wanted, "messages")


@section.check("decision", NEEDS)
def several_held_for_each(t: Trial) -> None:
    """A poll of several channels is held in each, and answered by a message of any."""
    a, b, both = two(t)
    position = Position(*t.read(b, b"b1").position)
    for channel, body in ((a, b"a2"), (b, b"b2")):
        poll = t.poll(both, position, subscriber=t.options.split_sub)
        for each in (a, b):
            t.expect_held_count(each, 1, "as one poll is of both")
        expect_status(t.post(channel, body), 201, of="POST")
        position = expect_message(poll.answer_at_once("POST"), body).position
        for each in (a, b):
            t.expect_held_count(each, 0, "as the poll is answered")


@section.check("decision", NEEDS)
def several_say_their_channel(t: Trial) -> None:
    """Where there are several channels, X-Push-Channel says which a message is of."""
    a, b, both = two(t)
    first = t.read(both, b"a1", subscriber=t.options.split_sub)
    expect_equal(first.header("X-Push-Channel"), a, "X-Push-Channel")
    second = t.read(both, b"b1", first.position, subscriber=t.options.split_sub)
    expect_equal(second.header("X-Push-Channel"), b, "X-Push-Channel")


@section.check("decision", NEEDS)
def several_poll_outlives_one(t: Trial) -> None:
    """Deleting one channel does not end a poll of another as well; deleting all does, with 410."""
    a, b, both = two(t)
    position = t.read(b, b"b1").position
    poll = t.poll(both, position, subscriber=t.options.split_sub)
    t.expect_held_count(b, 1, "the poll")
    t.request(t.options.pub, "DELETE", a)
    poll.expect_held("as only one of its channels was deleted")
    t.request(t.options.pub, "DELETE", b)
    expect_status(poll.answer_at_once("DELETE of all channels"), 410)


def _stream_of_both(kind: Kind, t: Trial) -> None:
    a, b, both = two(t)
    stream = kind.open(t, both, t.options.split_sub)
    stream.expect(b"a1", b"b1")
    for channel, body in ((b, b"b2"), (a, b"a2"), (b, b"b3")):
        t.post(channel, body)
        stream.expect(body, after="POST")
    for channel in (a, b):
        t.expect_held_count(channel, 1, "as one stream is of both")


def _stream_outlives_one(kind: Kind, t: Trial) -> None:
    a, b, both = two(t)
    stream = kind.open(t, both, t.options.split_sub)
    stream.expect(b"a1", b"b1")
    t.request(t.options.pub, "DELETE", a)
    stream.expect_nothing("as only one of its channels was deleted", 0.2)
    t.post(b, b"b2")
    stream.expect(b"b2", after="POST")
    t.request(t.options.pub, "DELETE", b)
    stream.expect_end("DELETE of all channels", 1001)


for _kind in KINDS:
    section.add(
        "decision",
        f"several-by-{_kind.name}",
        f"{_kind.title[0].upper()}{_kind.title[1:]} may be of several channels, counted in each",
        partial(_stream_of_both, _kind),
        NEEDS,
        _kind.option,
    )
    section.add(
        "decision",
        f"several-{_kind.name}-outlives-one",
        f"Deleting one of several channels ends only that subscription of {_kind.title}",
        partial(_stream_outlives_one, _kind),
        NEEDS,
        _kind.option,
    )


@section.check("decision", NEEDS, "multipart_sub")
def several_parts_say_their_channel(t: Trial) -> None:
    """Where there are several channels, each part of multipart/mixed has X-Push-Channel."""
    a, b, both = two(t)
    parts = PARTS.open(t, both, t.options.split_sub).expect(b"a1", b"b1")
    expect_equal([part.field("x-push-channel") for part in parts], [a, b], "X-Push-Channel")


# say_channel

ODD = "%20x%0A%C3%A9%25"  # behind an id: a blank, a line's end, é and %


def _odd(t: Trial) -> str:
    """A channel whose id must be encoded to be said, with a message."""
    channel = t.channel(suffix=ODD)
    t.post(channel, b"m")
    return channel


def expect_said(found: str | None, channel: str, where: str) -> None:
    """Check that a channel is said percent-encoded, whichever bytes are."""
    if found is None or not found.isascii() or not _same(found, channel):
        raise Failure(f"{where} {channel}", str(found))


def _same(one: str, other: str) -> bool:
    return unquote_to_bytes(one) == unquote_to_bytes(other)


@section.check("decision", "say_channel_sub")
def say_channel_in_a_poll(t: Trial) -> None:
    """With say_channel the answer to a poll of one channel has X-Push-Channel, percent-encoded."""
    channel = _odd(t)
    answer = t.read(channel, b"m", subscriber=t.options.say_channel_sub)
    expect_said(answer.header("X-Push-Channel"), channel, "X-Push-Channel")


@section.check("decision", "say_channel_sub", "eventsource_sub")
def say_channel_in_events(t: Trial) -> None:
    """With say_channel an event has the field channel, percent-encoded."""
    channel = _odd(t)
    (event,) = events(t, channel, location=t.options.say_channel_sub).expect(b"m")
    expect_said(event.field("channel"), channel, "channel:")


@section.check("decision", "say_channel_sub", "websocket_sub")
def say_channel_in_meta(t: Trial) -> None:
    """With say_channel the lines of ws+meta.nchan have channel, percent-encoded."""
    channel = _odd(t)
    headers = {"Sec-WebSocket-Protocol": META}
    ws = socket(t, channel, headers, location=t.options.say_channel_sub)
    expect_said(ws.expect(b"m")[0].field("channel"), channel, "channel:")


@section.check("decision", "say_channel_sub", "multipart_sub")
def say_channel_in_parts(t: Trial) -> None:
    """With say_channel each part has X-Push-Channel, percent-encoded."""
    channel = _odd(t)
    (part,) = PARTS.open(t, channel, t.options.say_channel_sub).expect(b"m")
    expect_said(part.field("x-push-channel"), channel, "X-Push-Channel")


@section.check("decision", "eventsource_sub")
def say_channel_is_off(t: Trial) -> None:
    """Without say_channel, and with one channel, nothing says it."""
    channel = t.channel()
    t.post(channel, b"m")
    (event,) = events(t, channel).expect(b"m")
    expect_equal(event.field("channel"), None, "channel:")
    answer = t.read(channel, b"m")
    expect_equal(answer.header("X-Push-Channel"), None, "X-Push-Channel")
