"""Section 2: message ids and positions."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import partial

from .options import Options
from .suite import Section, Trial, expect, expect_equal, expect_message, expect_status
from .wire import Failure, Headers, Location, Position, Response, imf_fixdate

section = Section(2, "Message ids and positions")

DAY = 86400


def publish(t: Trial, channel: str, *bodies: bytes, publisher: Location | None = None) -> None:
    for body in bodies:
        t.post(channel, body, publisher=publisher)


def read_all(t: Trial, channel: str, number: int) -> list[Response]:
    """Read so many messages from the oldest on, each by the position of the one before."""
    answers = [t.read(channel)]
    while len(answers) < number:
        answers.append(t.read(channel, position=answers[-1].position))
    return answers


def bodies(answers: list[Response]) -> list[bytes]:
    return [answer.body for answer in answers]


# What an answer says


@section.check("must")
def position_on_every_message(t: Trial) -> None:
    """Every 200 with a message carries Last-Modified and Etag."""
    channel = t.channel()
    publish(t, channel, b"1", b"2")
    first = t.read(channel)
    held = t.hold(channel, t.read(channel, position=first.position).position)
    t.post(channel, b"3")
    for answer in (first, expect_message(held.answer_at_once("POST"))):
        _ = answer.position


@section.check("must")
def position_sent_back_is_the_next(t: Trial) -> None:
    """Last-Modified and Etag, sent back, mean the next message."""
    channel = t.channel()
    wanted = [b"%d" % n for n in range(6)]
    publish(t, channel, *wanted)
    expect_equal(bodies(read_all(t, channel, 6)), wanted, "the messages, read on one by one,")


@section.check("http")
def etag_is_quoted(t: Trial) -> None:
    """Etag is a quoted, strong entity tag, as RFC 9110 has it."""
    channel = t.channel()
    t.post(channel, b"m")
    etag = t.read(channel).position.etag
    expect(bool(re.fullmatch(r'"[!#-~]*"', etag)), "a quoted strong Etag", etag)


@section.check("legacy")
def etag_in_cache_control(t: Trial) -> None:
    """Cache-Control repeats the tag as etag=, last, for clients that cannot see Etag."""
    channel = t.channel()
    t.post(channel, b"m")
    answer = t.read(channel)
    value = ", ".join(answer.all("Cache-Control"))
    found = re.search(r"etag=(\S+)$", value)
    expect(bool(found), "Cache-Control to end with etag=", repr(value))
    assert found
    expect_equal(found[1].strip('"'), answer.position.tag, "the tag in Cache-Control")


@section.check("decision")
def message_is_not_cached(t: Trial) -> None:
    """Cache-Control of a message says no-cache."""
    channel = t.channel()
    t.post(channel, b"m")
    answer = t.read(channel)
    expect(
        "no-cache" in answer.tokens("Cache-Control"), "no-cache", str(answer.all("Cache-Control"))
    )


@section.check("legacy")
def vary_by_position(t: Trial) -> None:
    """Message answers say Vary: If-Modified-Since, If-None-Match."""
    channel = t.channel()
    t.post(channel, b"m")
    answer = t.read(channel)
    missing = {"if-modified-since", "if-none-match"} - answer.tokens("Vary")
    expect(not missing, "both headers in Vary", str(answer.all("Vary")))


@section.check("decision")
def ids_increase_over_the_store(t: Trial) -> None:
    """Ids increase strictly over the whole store, so one position serves many channels."""
    channels = [t.channel() for _ in range(3)]
    for n in range(9):
        t.post(channels[n % 3], b"%d" % n)
    answers = {}
    for channel in channels:
        for answer in read_all(t, channel, 3):
            answers[answer.body] = answer.position.order
    orders = [answers[b"%d" % n] for n in range(9)]
    expect(
        all(a < b for a, b in zip(orders, orders[1:], strict=False)),
        "each id to be greater than the one before",
        str(orders),
    )


@section.check("decision")
def ids_not_reused_after_delete(t: Trial) -> None:
    """An id is never given out again, also not after DELETE."""
    channel = t.channel()
    orders = []
    for n in range(4):
        t.post(channel, b"%d" % n)
        orders.append(t.read(channel, b"%d" % n).position.order)
        t.request(t.options.pub, "DELETE", channel)
    expect(
        all(a < b for a, b in zip(orders, orders[1:], strict=False)),
        "each id to be greater than the one before",
        str(orders),
    )


@section.check("decision", "forego_pub")
def ids_not_reused_for_unstored(t: Trial) -> None:
    """A message that is not stored has an id of its own."""
    channel = t.channel()
    position = t.start(channel)
    orders = [position.order]
    for n in range(3):
        held = t.hold(channel, position)
        t.post(channel, b"%d" % n, publisher=t.options.forego_pub)
        position = expect_message(held.answer_at_once("POST"), b"%d" % n).position
        orders.append(position.order)
    t.post(channel, b"stored")
    orders.append(t.read(channel, b"stored", position).position.order)
    expect(
        all(a < b for a, b in zip(orders, orders[1:], strict=False)),
        "each id to be greater than the one before",
        str(orders),
    )


# Where a request stands


@section.check("must")
def no_position_is_the_oldest(t: Trial) -> None:
    """A request without If-Modified-Since gets the oldest message available."""
    channel = t.channel()
    publish(t, channel, b"oldest", b"middle", b"newest")
    t.read(channel, b"oldest")


@section.check("must")
def if_none_match_alone_changes_nothing(t: Trial) -> None:
    """If-None-Match alone changes nothing: the oldest message is meant."""
    channel = t.channel()
    publish(t, channel, b"oldest", b"newest")
    t.read(channel, b"oldest", headers={"If-None-Match": '"0"'})
    second = read_all(t, channel, 2)[1].position
    t.read(channel, b"oldest", headers={"If-None-Match": second.etag})


def in_the_next_second(t: Trial, channel: str) -> Position:
    """Publish "old", and then in a later second "new" and "newer"; return the position of new."""
    old = t.start(channel)
    while True:
        at = time.monotonic()
        t.post(channel, b"new")
        new = t.read(channel, position=old)
        if new.position.second > old.second:
            t.post(channel, b"newer")
            return new.position
        old = new.position
        t.wait(max(0.0, 0.05 - (time.monotonic() - at)))


@section.check("legacy", takes=lambda options: 1.5)
def if_modified_since_alone_is_that_second(t: Trial) -> None:
    """If-Modified-Since alone means the first message of that second or a later one."""
    channel = t.channel()
    new = in_the_next_second(t, channel)
    answer = t.read(channel, b"new", headers={"If-Modified-Since": new.last_modified})
    expect_equal(answer.position, new, "the position")


# How a position may be written


def expect_understood(t: Trial, headers: Callable[[Position], Headers]) -> None:
    """Check that a position in some form means the next message.

    It is the second of three messages, so that neither half of it can be ignored unseen.
    """
    channel = t.channel()
    publish(t, channel, b"1", b"2", b"3")
    second = read_all(t, channel, 2)[1].position
    t.read(channel, b"3", headers=headers(second))


TAGS = {
    "bare": ("legacy", "{}"),
    "quoted": ("http", '"{}"'),
    "weak": ("decision", 'W/"{}"'),
    "gzip": ("decision", '"{}-gzip"'),
    "weak-gzip": ("decision", 'W/"{}-gzip"'),
}


def tag_is_understood(form: str, t: Trial) -> None:
    expect_understood(
        t, lambda p: {"If-Modified-Since": p.last_modified, "If-None-Match": form.format(p.tag)}
    )


for _name, (_level, _form) in TAGS.items():
    section.add(
        _level,
        f"if-none-match-{_name}",
        f"If-None-Match: {_form.format(7)} is understood",
        partial(tag_is_understood, _form),
    )


@section.check("decision")
def if_none_match_empty_is_absent(t: Trial) -> None:
    """If-None-Match: "" is absent: curl sends it while it has no tag."""
    channel = t.channel()
    publish(t, channel, b"oldest", b"newest")
    t.read(channel, b"oldest", headers={"If-None-Match": '""'})


MALFORMED_TAGS = {
    "list": '"1", "2"',
    "star": "*",
    "word": "abc",
    "negative": '"-1"',
    "unclosed": '"1',
    "overflow": '"99999999999999999999999999"',
}


def malformed_tag_is_400(value: str, t: Trial) -> None:
    channel = t.channel()
    position = t.start(channel)
    t.post(channel, b"next")
    answer = t.get(channel, Position(position.last_modified, value))
    expect_status(answer, 400, of=f"If-None-Match: {value[:30]}")


for _name, _value in MALFORMED_TAGS.items():
    section.add(
        "decision" if _name in ("list", "star", "overflow", "negative") else "legacy",
        f"if-none-match-{_name}-400",
        f"If-None-Match: {_value[:20]} is malformed, which is 400",
        partial(malformed_tag_is_400, _value),
    )

DATES: dict[str, tuple[str, str, Callable[[int], str]]] = {
    "imf-fixdate": ("http", "Sun, 06 Nov 1994 08:49:37 GMT", imf_fixdate),
    "rfc850": (
        "http",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        lambda second: time.strftime("%A, %d-%b-%y %H:%M:%S GMT", time.gmtime(second)),
    ),
    "asctime": (
        "http",
        "Sun Nov  6 08:49:37 1994",
        lambda second: time.asctime(time.gmtime(second)),
    ),
    "zone": (
        "decision",
        "Sun, 06 Nov 1994 10:49:37 +0200",
        lambda second: formatdate(second + 7200, usegmt=True).replace("GMT", "+0200"),
    ),
}


def date_is_understood(form: Callable[[int], str], t: Trial) -> None:
    expect_understood(t, lambda p: {"If-Modified-Since": form(p.second), "If-None-Match": p.etag})


for _name, (_level, _example, _date) in DATES.items():
    section.add(
        _level,
        f"if-modified-since-{_name}",
        f"If-Modified-Since: {_example} is understood",
        partial(date_is_understood, _date),
    )


@section.check("legacy")
def if_modified_since_one_digit_day(t: Trial) -> None:
    """A day of one digit is understood: Thu, 1 Jan 1970 00:00:00 GMT."""
    channel = t.channel()
    publish(t, channel, b"1", b"2")
    epoch = {"If-Modified-Since": "Thu, 1 Jan 1970 00:00:00 GMT", "If-None-Match": "0"}
    t.read(channel, b"1", headers=epoch)
    # That could also be a date that nobody reads: the ninth of the month in 40 days is ahead.
    month = time.gmtime(time.time() + 40 * DAY)
    ninth = calendar.timegm((month.tm_year, month.tm_mon, 9, 0, 0, 0))
    date = imf_fixdate(ninth).replace(" 09 ", " 9 ", 1)
    ahead = t.poll(channel, headers={"If-Modified-Since": date, "If-None-Match": "0"})
    ahead.expect_held(f"as {date} is in the future")


MALFORMED_DATES = {
    "word": "yesterday",
    "number": "1732150000",
    "no-time": "Thu, 21 Nov 2024",
    "no-such-day": "Thu, 32 Jan 2020 00:00:00 GMT",
    "no-such-hour": "Thu, 02 Jan 2020 25:00:00 GMT",
    "more-behind": "Thu, 02 Jan 2020 00:00:00 GMT x",
}


def malformed_date_is_400(value: str, t: Trial) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    answer = t.get(channel, Position(value, '"0"'))
    expect_status(answer, 400, of=f"If-Modified-Since: {value}")


for _name, _value in MALFORMED_DATES.items():
    section.add(
        "legacy",
        f"if-modified-since-{_name}-400",
        f"If-Modified-Since: {_value} is malformed, which is 400",
        partial(malformed_date_is_400, _value),
    )


@section.check("legacy")
def malformed_position_before_404(t: Trial) -> None:
    """A malformed position is 400 also where the channel does not exist."""
    subscriber = t.options.existing_sub
    for headers in (
        {"If-Modified-Since": "yesterday"},
        {"If-Modified-Since": imf_fixdate(0), "If-None-Match": "abc"},
    ):
        answer = t.get(t.channel(), headers=headers, subscriber=subscriber)
        expect_status(answer, 400, of=str(headers))


def _last_event_id(p: Position) -> Headers:
    return {"Last-Event-ID": p.text}


@section.check("decision")
def last_event_id_header(t: Trial) -> None:
    """Last-Event-ID: SECOND:TAG is a position."""
    expect_understood(t, _last_event_id)


def query_is_understood(parameter: str, t: Trial) -> None:
    channel = t.channel()
    publish(t, channel, b"1", b"2", b"3")
    second = read_all(t, channel, 2)[1].position
    t.read(channel, b"3", query=f"{parameter}={second.text}")


for _name, _parameter in {
    "last-event-id-query": "last_event_id",
    "last-event-id-query-in-camel-case": "lastEventId",
}.items():
    section.add(
        "decision",
        _name,
        f"The query {_parameter}=SECOND:TAG is a position",
        partial(query_is_understood, _parameter),
    )


@section.check("decision")
def if_modified_since_before_last_event_id(t: Trial) -> None:
    """If-Modified-Since goes before Last-Event-ID."""
    channel = t.channel()
    publish(t, channel, b"1", b"2", b"3")
    first, second = (answer.position for answer in read_all(t, channel, 2))
    t.read(channel, b"2", first, {"Last-Event-ID": second.text})


@section.check("decision")
def last_event_id_header_before_query(t: Trial) -> None:
    """A header goes before the query."""
    channel = t.channel()
    publish(t, channel, b"1", b"2", b"3")
    first, second = (answer.position for answer in read_all(t, channel, 2))
    query = f"last_event_id={second.text}"
    t.read(channel, b"2", first, query=query)
    t.read(channel, b"2", headers={"Last-Event-ID": first.text}, query=query)


@section.check("decision")
def last_event_id_empty_is_absent(t: Trial) -> None:
    """An empty Last-Event-ID, or an empty query, is absent."""
    channel = t.channel()
    publish(t, channel, b"oldest", b"newest")
    t.read(channel, b"oldest", headers={"Last-Event-ID": ""})
    t.read(channel, b"oldest", query="last_event_id=")


@section.check("decision")
def last_event_id_malformed_400(t: Trial) -> None:
    """A malformed Last-Event-ID is 400."""
    channel = t.channel()
    t.post(channel, b"m")
    for value in ("abc", "1732150000", "1732150000:", ":1", "1732150000:x", "1:2:3"):
        answer = t.get(channel, headers={"Last-Event-ID": value})
        expect_status(answer, 400, of=f"Last-Event-ID: {value}")


@section.check("decision")
def last_event_id_query_malformed_400(t: Trial) -> None:
    """A malformed query last_event_id is 400."""
    channel = t.channel()
    t.post(channel, b"m")
    for value in ("abc", "1732150000", "1:2:3"):
        answer = t.get(channel, query=f"last_event_id={value}")
        expect_status(answer, 400, of=f"?last_event_id={value}")


# Positions that are not where the messages are


@section.check("decision")
def position_in_the_future(t: Trial) -> None:
    """A position in the future is held, and the channel's next message answers it."""
    channel = t.channel()
    now = t.start(channel)
    held = t.hold(channel, Position(imf_fixdate(now.second + DAY), '"5"'))
    t.post(channel, b"next")
    expect_message(held.answer_at_once("POST"), b"next")


def _overflow(t: Trial, channel: str, before: int) -> tuple[Position, list[bytes]]:
    """Publish more than a limited channel keeps; return the first position and what is kept."""
    most = t.options.max_messages
    assert most is not None
    publisher, subscriber = t.options.limited_pub, t.options.limited_sub
    first = t.start(channel, publisher, subscriber)
    wanted = [b"%d" % n for n in range(most + before)]
    publish(t, channel, *wanted, publisher=publisher)
    return first, wanted[-most:]


LIMITED = ("limited_pub", "limited_sub", "max_messages")


@section.check("decision", *LIMITED)
def expired_position_is_the_oldest(t: Trial) -> None:
    """A position older than what is stored means the oldest message available."""
    channel = t.channel(t.options.limited_pub)
    first, kept = _overflow(t, channel, 3)
    t.read(channel, kept[0], first, subscriber=t.options.limited_sub)


@section.check("decision", *LIMITED)
def expired_position_reads_on(t: Trial) -> None:
    """From a position older than what is stored, nothing hangs, repeats or is skipped."""
    channel = t.channel(t.options.limited_pub)
    position, kept = _overflow(t, channel, 3)
    for body in kept:
        answer = t.read(channel, body, position, subscriber=t.options.limited_sub)
        position = answer.position
    held = t.poll(channel, position, subscriber=t.options.limited_sub)
    held.expect_held("having read all")


@section.check("decision", *LIMITED)
def gap_is_told(t: Trial) -> None:
    """A position older than what is stored is answered with X-Push-Gap: 1, or the number lost."""
    channel = t.channel(t.options.limited_pub)
    first, kept = _overflow(t, channel, 3)
    answer = t.read(channel, kept[0], first, subscriber=t.options.limited_sub)
    expect(answer.header("X-Push-Gap") in ("1", "3"), "X-Push-Gap", f"{answer.all('X-Push-Gap')}")


@section.check("decision", *LIMITED)
def gap_is_told_once(t: Trial) -> None:
    """Who goes on from an answer with X-Push-Gap is not told it again."""
    channel = t.channel(t.options.limited_pub)
    first, kept = _overflow(t, channel, 3)
    position = t.read(channel, kept[0], first, subscriber=t.options.limited_sub).position
    answer = t.read(channel, kept[1], position, subscriber=t.options.limited_sub)
    expect_equal(answer.header("X-Push-Gap"), None, "X-Push-Gap")


@section.check("decision")
def gap_is_told_after_delete(t: Trial) -> None:
    """A gap is said if a message after the position was dropped by DELETE."""
    channel = t.channel()
    position = t.start(channel)
    t.post(channel, b"missed")
    t.request(t.options.pub, "DELETE", channel)
    t.post(channel, b"next")
    answer = t.read(channel, b"next", position)
    expect_equal(answer.header("X-Push-Gap"), "1", "X-Push-Gap")


@section.check("decision")
def no_gap_where_nothing_was_missed(t: Trial) -> None:
    """No gap is said to who reads on and misses nothing."""
    channel = t.channel()
    publish(t, channel, *(b"%d" % n for n in range(4)))
    for answer in read_all(t, channel, 4):
        expect_equal(answer.header("X-Push-Gap"), None, "X-Push-Gap")


@section.check("decision", *LIMITED)
def no_gap_without_position(t: Trial) -> None:
    """No gap is said to a request without a position, or with second 0."""
    channel = t.channel(t.options.limited_pub)
    _overflow(t, channel, 3)
    for position in (None, Position(imf_fixdate(0), '"0"')):
        answer = t.read(channel, position=position, subscriber=t.options.limited_sub)
        expect_equal(answer.header("X-Push-Gap"), None, f"for position {position}, X-Push-Gap")


@section.check("decision", "forego_pub")
def no_gap_for_unstored(t: Trial) -> None:
    """No gap is said for unstored messages that came while the subscriber was not held."""
    channel = t.channel()
    position = t.start(channel)
    t.post(channel, b"unstored", publisher=t.options.forego_pub)
    t.post(channel, b"stored")
    answer = t.read(channel, b"stored", position)
    expect_equal(answer.header("X-Push-Gap"), None, "X-Push-Gap")


def expiry(options: Options) -> float:
    return (options.message_timeout or 0) + 1.0


@section.check(
    "safety", "expiring_pub", "expiring_sub", "message_timeout", takes=lambda o: expiry(o)
)
def position_of_an_expired_message(t: Trial) -> None:
    """A position whose message has expired is held, and the next message answers it."""
    publisher, subscriber = t.options.expiring_pub, t.options.expiring_sub
    channel = t.channel(publisher)
    position = t.start(channel, publisher, subscriber)
    # The channel stays, for somebody is held.
    held = t.hold(channel, position, subscriber=subscriber, publisher=publisher)
    t.wait(expiry(t.options))
    again = t.hold(channel, position, subscriber=subscriber, publisher=publisher)
    t.post(channel, b"next", publisher=publisher)
    for poll in (held, again):
        expect_message(poll.answer_at_once("POST"), b"next")


def _chain(t: Trial, number: int) -> None:
    channel = t.channel()
    wanted = [b"%d" % n for n in range(number)]
    position: Position | None = t.start(channel)
    got = []
    for n in range(number):
        if n % 3 == 0:
            held = t.hold(channel, position)
            t.post(channel, wanted[n])
            answer = expect_message(held.answer_at_once("POST"))
        else:
            t.post(channel, wanted[n])
            answer = t.read(channel, position=position)
        got.append(answer.body)
        position = answer.position
    if got != wanted:
        raise Failure(f"{wanted} once and in order", str(got))


@section.check("must")
def every_message_once_and_in_order(t: Trial) -> None:
    """Who keeps its position gets every message once and in order, held or not."""
    _chain(t, 9)
