"""Section 3: the subscriber location."""

from __future__ import annotations

import time
from functools import partial

from .options import Options
from .suite import (
    SETTLE,
    Poll,
    Section,
    Trial,
    expect,
    expect_equal,
    expect_message,
    expect_status,
)
from .wire import Failure, Location, Position, Response, brief, request_bytes

section = Section(3, "The subscriber location")

OTHER_METHODS = ("POST", "PUT", "DELETE", "PATCH")


# Methods


@section.check("must")
def sub_get_existing_at_once(t: Trial) -> None:
    """GET of an existing message is answered with it at once."""
    channel = t.channel()
    t.post(channel, b"here")
    t.read(channel, b"here")


def other_method_is_405(method: str, t: Trial) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    body = b"x" if method in ("POST", "PUT", "PATCH") else None
    answer = t.request(t.options.sub, method, channel, body=body)
    expect_status(answer, 405, of=f"{method} to a subscriber location")
    t.read(channel, b"m")


for _method in OTHER_METHODS:
    section.add(
        "should",
        f"sub-{_method.lower()}-405",
        f"{_method} to a subscriber location is 405, and does nothing",
        partial(other_method_is_405, _method),
    )


@section.check("should")
def sub_head_405(t: Trial) -> None:
    """HEAD to a subscriber location is 405."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_status(t.request(t.options.sub, "HEAD", channel), 405, of="HEAD")


@section.check("http")
def sub_405_has_allow(t: Trial) -> None:
    """A 405 of a subscriber location says what is allowed: Allow has GET."""
    answer = t.request(t.options.sub, "PATCH", t.channel(), body=b"x")
    expect_status(answer, 405, of="PATCH")
    expect("get" in answer.tokens("Allow"), "Allow with GET", str(answer.all("Allow")))


@section.check("should")
def sub_options_200(t: Trial) -> None:
    """OPTIONS of a subscriber location is 200 with CORS headers, whether there is a channel."""
    headers = {"Origin": "http://page.test", "Access-Control-Request-Method": "GET"}
    channel = t.channel()
    for _ in range(2):
        answer = expect_status(t.request(t.options.sub, "OPTIONS", channel, headers), 200)
        expect(bool(answer.all("Access-Control-Allow-Origin")), "CORS headers", "none")
        t.post(channel, b"m")


# Long polling


@section.check("must")
def long_poll_is_held(t: Trial) -> None:
    """Where nothing is new the request is held, and answered at once when a message arrives."""
    channel = t.channel()
    held = t.hold(channel, t.start(channel))
    held.expect_held("as nothing has come")
    t.post(channel, b"now")
    expect_message(held.answer_at_once("POST"), b"now")


@section.check("must")
def long_poll_is_for_its_channel(t: Trial) -> None:
    """A message of another channel does not end a held request."""
    channel, other = t.channel(), t.channel()
    held = t.hold(channel, t.start(channel))
    t.post(other, b"other")
    held.expect_held("as only another channel had a message")
    t.post(channel, b"mine")
    expect_message(held.answer_at_once("POST"), b"mine")


@section.check("must")
def delayed_answer_is_the_same(t: Trial) -> None:
    """The delayed answer is byte for byte what an immediate one would be, but for Date."""
    channel = t.channel()
    position = t.start(channel)
    held = t.hold(channel, position)
    t.post(channel, b"the same", {"Content-Type": "text/x-test; charset=utf-8"})
    delayed = expect_message(held.answer_at_once("POST"), b"the same")
    immediate = t.read(channel, b"the same", position)
    _expect_same(delayed, immediate)


def _expect_same(delayed: Response, immediate: Response) -> None:
    if delayed.raw_without_date != immediate.raw_without_date:
        lines = zip(
            immediate.raw_without_date.split(b"\r\n"),
            delayed.raw_without_date.split(b"\r\n"),
            strict=False,
        )
        one, other = next(((a, b) for a, b in lines if a != b), (b"more lines", b"fewer"))
        raise Failure(f"the immediate answer's {brief(one)}", brief(other))


@section.check("must")
def deleted_while_held_410(t: Trial) -> None:
    """A request that is held when its channel is deleted is answered with 410 at once."""
    channel = t.channel()
    held = t.hold(channel, t.start(channel))
    expect_status(t.request(t.options.pub, "DELETE", channel), 200, of="DELETE")
    expect_status(held.answer_at_once("DELETE"), 410)


@section.check("must")
def everybody_held_by_default(t: Trial) -> None:
    """concurrency: broadcast is the default, and a message goes to all who are held."""
    channel = t.channel()
    position = t.start(channel)
    polls = [t.hold(channel, position), *(t.poll(channel, position) for _ in range(3))]
    for poll in polls:
        poll.expect_held("with others", 0.1)
    t.post(channel, b"all")
    for poll in polls:
        expect_message(poll.answer_at_once("POST"), b"all")


# Interval polling


@section.check("must", "interval_sub")
def interval_existing_at_once(t: Trial) -> None:
    """An interval poll gets an existing message, and then the next one by its position."""
    channel = t.channel()
    t.post(channel, b"1")
    t.post(channel, b"2")
    where = t.options.interval_sub
    position = t.read(channel, b"1", subscriber=where).position
    t.read(channel, b"2", position, subscriber=where)


@section.check("must", "interval_sub")
def interval_nothing_new_304(t: Trial) -> None:
    """An interval poll that finds nothing new is 304 at once."""
    channel = t.channel()
    position = t.start(channel)
    expect_status(t.get(channel, position, subscriber=t.options.interval_sub), 304)


@section.check("legacy", "interval_sub")
def interval_304_repeats_position(t: Trial) -> None:
    """The 304 of an interval poll repeats the request's position."""
    channel = t.channel()
    position = t.start(channel)
    answer = expect_status(t.get(channel, position, subscriber=t.options.interval_sub), 304)
    expect_equal(answer.position.order, position.order, "the position")


@section.check("must", "interval_sub")
def interval_never_counts_as_held(t: Trial) -> None:
    """Interval polls never count as held: a POST after one is 202, and 0 are held."""
    channel = t.channel()
    position = t.start(channel)
    with t.connect(t.options.interval_sub) as connection:
        poll = t.poll(channel, position, subscriber=t.options.interval_sub, connection=connection)
        expect_status(poll.answer_at_once("GET"), 304, 200)
        # Its connection is still open, as that of a held one would be.
        expect_equal(t.held(channel), 0, "the number held")
        expect_status(t.post(channel, b"m"), 202, of="POST")


@section.check("decision", "interval_sub")
def interval_creates_no_channel(t: Trial) -> None:
    """An interval poll of an unknown channel is 404 or 304, and creates none."""
    channel = t.channel()
    expect_status(t.get(channel, subscriber=t.options.interval_sub), 304, 404)
    expect(not t.exists(channel), "no channel", "200 to GET of the publisher location")


# Content types


@section.check("must")
def content_type_unchanged(t: Trial) -> None:
    """Content-Type is the publisher's, unchanged."""
    for value in ("text/plain", 'Application/JSON;charset="UTF-8" ; x=Y', "x-odd/!#$&^_.+-"):
        channel = t.channel()
        t.post(channel, b"m", {"Content-Type": value})
        expect_equal(t.read(channel).header("Content-Type"), value, "Content-Type")


@section.check("must")
def content_type_per_message(t: Trial) -> None:
    """Each message has the Content-Type that it was published with."""
    channel = t.channel()
    position = None
    for n in range(3):
        t.post(channel, b"%d" % n, {"Content-Type": f"text/x-{n}"})
    for n in range(3):
        answer = t.read(channel, b"%d" % n, position)
        expect_equal(answer.header("Content-Type"), f"text/x-{n}", "Content-Type")
        position = answer.position


@section.check("must")
def content_type_none(t: Trial) -> None:
    """A message that was published without Content-Type has none."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_equal(t.read(channel).header("Content-Type"), None, "Content-Type")


@section.check("must", "type_sub", "content_type")
def content_type_of_location(t: Trial) -> None:
    """A location's content_type overrides the publisher's."""
    channel = t.channel()
    t.post(channel, b"m", {"Content-Type": "text/x-publisher"})
    answer = t.read(channel, subscriber=t.options.type_sub)
    expect_equal(answer.header("Content-Type"), t.options.content_type, "Content-Type")


# Conflicts


def _two(t: Trial, subscriber: Location | None) -> tuple[str, Poll, Poll]:
    """Two requests at one location, the first surely before the second."""
    channel = t.channel()
    position = t.start(channel)
    older = t.hold(channel, position, subscriber=subscriber)
    newer = t.poll(channel, position, subscriber=subscriber)
    return channel, older, newer


def _expect_only(t: Trial, channel: str, stays: Poll) -> None:
    stays.expect_held("being the one that stays")
    expect_status(t.post(channel, b"m"), 201, of="POST")
    expect_message(stays.answer_at_once("POST"), b"m")


@section.check("must", "last_sub")
def last_older_gets_409(t: Trial) -> None:
    """With concurrency: last a newer request ends the older one with 409 at once."""
    _, older, _ = _two(t, t.options.last_sub)
    expect_status(older.answer_at_once("a newer request"), 409)


@section.check("must", "last_sub")
def last_newest_stays(t: Trial) -> None:
    """With concurrency: last the newest request stays held and gets the message."""
    channel, older, newer = _two(t, t.options.last_sub)
    older.answer_at_once("a newer request")
    _expect_only(t, channel, newer)


@section.check("must", "first_sub")
def first_newer_gets_409(t: Trial) -> None:
    """With concurrency: first a request is 409 at once while an older one is held."""
    _, _, newer = _two(t, t.options.first_sub)
    expect_status(newer.answer_at_once("a request while another is held"), 409)


@section.check("must", "first_sub")
def first_oldest_stays(t: Trial) -> None:
    """With concurrency: first the oldest request stays held and gets the message."""
    channel, older, newer = _two(t, t.options.first_sub)
    newer.answer_at_once("a request while another is held")
    _expect_only(t, channel, older)


@section.check("decision", "first_sub")
def first_lets_next_in(t: Trial) -> None:
    """With concurrency: first the next request is held when the oldest has left."""
    channel, older, newer = _two(t, t.options.first_sub)
    newer.answer_at_once("a request while another is held")
    older.close()
    t.expect_held_count(channel, 0, "as the oldest has left")
    _expect_only(
        t, channel, t.poll(channel, t.read(channel).position, subscriber=t.options.first_sub)
    )


def at_once_conflicts_with_nobody(name: str, t: Trial) -> None:
    subscriber = getattr(t.options, name)
    channel = t.channel()
    held = t.hold(channel, t.start(channel), subscriber=subscriber)
    t.read(channel, b"start", subscriber=subscriber)
    _expect_only(t, channel, held)


for _which in ("last", "first"):
    section.add(
        "decision",
        f"{_which}-at-once-is-no-conflict",
        f"With concurrency: {_which} a request that can be answered at once conflicts with nobody",
        partial(at_once_conflicts_with_nobody, f"{_which}_sub"),
        f"{_which}_sub",
    )


@section.check("decision", "last_sub")
def conflicts_within_one_location(t: Trial) -> None:
    """Conflicts are counted within one location, and per channel."""
    channel, other = t.channel(), t.channel()
    position = t.start(channel)
    polls = [
        t.hold(channel, position),
        t.hold(channel, position, subscriber=t.options.last_sub),
        t.hold(channel, position),
        t.hold(other, t.start(other), subscriber=t.options.last_sub),
    ]
    for poll in polls:
        poll.expect_held("as it is in conflict with nobody", 0.1)


# Unknown channels


@section.check("legacy", "existing_sub")
def unknown_channel_404(t: Trial) -> None:
    """With create_on_get: false an unknown channel is 404 and is not created."""
    channel = t.channel()
    expect_status(t.get(channel, subscriber=t.options.existing_sub), 404)
    expect(not t.exists(channel), "no channel", "200 to GET of the publisher location")


@section.check("legacy", "creating_sub")
def unknown_channel_created_and_held(t: Trial) -> None:
    """With create_on_get: true an unknown channel is created and the request held."""
    channel = t.channel()
    held = t.poll(channel, subscriber=t.options.creating_sub)
    held.expect_held("as the channel is new")
    expect(t.exists(channel), "the channel to be there", "404")
    expect_status(t.post(channel, b"m"), 201, of="POST")
    expect_message(held.answer_at_once("POST"), b"m")


@section.check("decision", "creating_sub")
def channel_made_by_get_vanishes(t: Trial) -> None:
    """A channel made by GET vanishes when its last waiter leaves and nothing is stored."""
    channel = t.channel()
    held = t.poll(channel, subscriber=t.options.creating_sub)
    if not t.until(lambda: t.exists(channel)):
        raise Failure("the channel to be there while the request is held", "404")
    held.close()
    if not t.until(lambda: not t.exists(channel), 2.0):
        raise Failure("404 within 2 s of the only waiter's leaving", "200")


# How a held request ends


def holding(options: Options) -> float:
    return (options.hold_timeout or 0) + 1.0


def _time_out(t: Trial, channel: str, position: Position | None) -> tuple[Response, float]:
    """The answer that ends a held request, and the seconds it took."""
    start = time.monotonic()
    poll = t.poll(channel, position, subscriber=t.options.timeout_sub)
    wait = holding(t.options) + t.soon
    if not poll.connection.readable(wait):
        raise Failure(f"an answer after {t.options.hold_timeout:g} s", f"none after {wait:g} s")
    return poll.answer(), time.monotonic() - start


TIMEOUT = ("timeout_sub", "hold_timeout")


@section.check("decision", *TIMEOUT, takes=holding)
def time_out_304(t: Trial) -> None:
    """A request that was held for its time is answered with 304."""
    channel = t.channel()
    expect_status(_time_out(t, channel, t.start(channel))[0], 304)


@section.check("decision", *TIMEOUT, takes=holding)
def time_out_in_its_time(t: Trial) -> None:
    """A held request ends up to a tenth before its time, and never later."""
    channel = t.channel()
    _, seconds = _time_out(t, channel, t.start(channel))
    wanted = t.options.hold_timeout
    assert wanted is not None
    # A second for a machine that has other things to do.
    expect(
        0.9 * wanted - 0.05 <= seconds <= wanted + 1,
        f"{0.9 * wanted:g} to {wanted:g} s",
        f"{seconds:.2f} s",
    )


@section.check("decision", *TIMEOUT, takes=holding)
def time_out_repeats_position(t: Trial) -> None:
    """The answer to a time-out repeats the request's position, so that old clients go on."""
    channel = t.channel()
    position = t.start(channel)
    answer, _ = _time_out(t, channel, position)
    expect_equal(answer.position, position, "the position")


@section.check("decision", *TIMEOUT, takes=holding)
def time_out_without_position_has_none(t: Trial) -> None:
    """The answer to a time-out has no position if the request had none."""
    channel = t.channel()
    t.request(t.options.pub, "PUT", channel)
    answer, _ = _time_out(t, channel, None)
    found = answer.all("Last-Modified") + answer.all("Etag")
    expect_equal(found, [], "Last-Modified and Etag")


@section.check("decision")
def client_that_sends_fin_is_gone(t: Trial) -> None:
    """A held client that sends FIN no longer counts, and the next POST is 202."""
    channel = t.channel()
    held = t.hold(channel, t.start(channel))
    held.connection.half_close()
    t.expect_held_count(channel, 0, "as the only client has sent FIN")
    expect_status(t.post(channel, b"m"), 202, of="POST")


@section.check("must")
def client_that_closes_is_gone(t: Trial) -> None:
    """A held client that closes or resets no longer counts, and the next POST is 202."""
    channel = t.channel()
    position = t.start(channel)
    t.hold(channel, position).close()
    t.expect_held_count(channel, 0, "as the only client has closed")
    t.hold(channel, position).connection.reset()
    t.expect_held_count(channel, 0, "as the only client has reset")
    expect_status(t.post(channel, b"m"), 202, of="POST")


@section.check("http")
def pipelined_behind_a_held_one(t: Trial) -> None:
    """Requests pipelined behind a held one wait their turn and are answered in order."""
    channel = t.channel()
    position = t.start(channel)
    held = t.hold(channel, position)
    sub = t.options.sub
    behind = request_bytes("OPTIONS", sub.target(channel), sub.host)
    held.connection.send(behind + request_bytes("GET", sub.target(channel), sub.host))
    held.expect_held("with requests behind it")
    t.post(channel, b"m")
    expect_message(held.answer_at_once("POST"), b"m")
    expect_status(held.answer_at_once("the first answer"), 200, of="OPTIONS behind it")
    expect_message(held.answer_at_once("the second answer"), b"start")


@section.check("http")
def http_1_0_subscriber_gets_no_chunks(t: Trial) -> None:
    """An HTTP/1.0 subscriber gets its message without chunks, also a delayed one."""
    channel = t.channel()
    position = t.start(channel)
    sub = t.options.sub
    for wanted in (b"start", b"delayed"):
        headers = position.headers if wanted == b"delayed" else {}
        connection = t.connect(sub)
        connection.asked = "a GET of HTTP/1.0"
        target = sub.target(channel)
        connection.send(request_bytes("GET", target, sub.host, headers, version="HTTP/1.0"))
        if wanted == b"delayed":
            Poll(t, connection).expect_held("as there is nothing new", SETTLE)
            t.post(channel, b"delayed")
        answer = connection.read_final()
        expect_equal(answer.all("Transfer-Encoding"), [], "Transfer-Encoding to HTTP/1.0")
        expect_message(answer, wanted)


@section.check("must")
def connection_goes_on_after_delivery(t: Trial) -> None:
    """A client may go on polling on the connection that its message came on."""
    channel = t.channel()
    position = t.start(channel)
    connection = t.connect()
    for n in range(3):
        poll = t.hold(channel, position, connection=connection)
        t.post(channel, b"%d" % n)
        position = expect_message(poll.answer_at_once("POST"), b"%d" % n).position
