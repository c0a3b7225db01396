"""Section 4: the publisher location."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from functools import partial

from .locations import EVERY_BYTE
from .options import Options
from .suite import (
    SETTLE,
    Info,
    Section,
    Trial,
    expect,
    expect_equal,
    expect_message,
    expect_status,
    parse_info,
)
from .wire import Failure, Headers, Location, Response, brief, request_bytes

section = Section(4, "The publisher location")


def ask(
    t: Trial, method: str, channel: str, headers: Headers = (), body: bytes | None = None
) -> Response:
    return t.request(t.options.pub, method, channel, headers, body)


def put(t: Trial, channel: str, body: bytes | None = None) -> Response:
    return expect_status(ask(t, "PUT", channel, body=body), 200, of="PUT")


# GET


@section.check("must")
def pub_get_200(t: Trial) -> None:
    """GET of a channel is 200."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_status(ask(t, "GET", channel), 200, of="GET")


@section.check("must")
def pub_get_unknown_404(t: Trial) -> None:
    """GET of an unknown channel is 404."""
    expect_status(ask(t, "GET", t.channel()), 404, of="GET")


@section.check("must")
def pub_get_creates_nothing(t: Trial) -> None:
    """GET never creates a channel."""
    channel = t.channel()
    ask(t, "GET", channel)
    expect_status(ask(t, "GET", channel), 404, of="a second GET")


# PUT


@section.check("must")
def pub_put_200(t: Trial) -> None:
    """PUT is 200, whether the channel is there or not."""
    channel = t.channel()
    put(t, channel)
    put(t, channel)


@section.check("must")
def pub_put_creates(t: Trial) -> None:
    """PUT creates the channel if it is absent."""
    channel = t.channel()
    ask(t, "PUT", channel)
    expect_status(ask(t, "GET", channel), 200, of="GET after PUT")


@section.check("must")
def pub_put_is_no_message(t: Trial) -> None:
    """PUT publishes nothing, and its body is ignored."""
    channel = t.channel()
    position = t.start(channel)
    held = t.hold(channel, position)
    ask(t, "PUT", channel, body=b"not a message")
    held.expect_held("as PUT is no message")
    t.post(channel, b"next")
    expect_message(held.answer_at_once("POST"), b"next")
    t.read(channel, b"next", position)


@section.check("must")
def pub_put_keeps_messages(t: Trial) -> None:
    """PUT leaves stored messages untouched."""
    channel = t.channel()
    t.post(channel, b"1")
    t.post(channel, b"2")
    ask(t, "PUT", channel)
    t.read(channel, b"2", t.read(channel, b"1").position)


@section.check("must")
def pub_put_keeps_waiters(t: Trial) -> None:
    """PUT leaves held subscribers untouched."""
    channel = t.channel()
    held = t.hold(channel, t.start(channel))
    ask(t, "PUT", channel)
    held.expect_held("as PUT concerns it not")
    expect_status(t.post(channel, b"m"), 201, of="POST")
    expect_message(held.answer_at_once("POST"), b"m")


# DELETE


@section.check("must")
def pub_delete_200(t: Trial) -> None:
    """DELETE of a channel is 200."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_status(ask(t, "DELETE", channel), 200, of="DELETE")


@section.check("must")
def pub_delete_unknown_404(t: Trial) -> None:
    """DELETE of an absent channel is 404."""
    expect_status(ask(t, "DELETE", t.channel()), 404, of="DELETE")


@section.check("must")
def pub_delete_second_404(t: Trial) -> None:
    """A second DELETE is 404."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_status(ask(t, "DELETE", channel), 200, of="DELETE")
    expect_status(ask(t, "DELETE", channel), 404, of="a second DELETE")


@section.check("must")
def pub_delete_drops_messages(t: Trial) -> None:
    """After DELETE the messages are gone."""
    channel = t.channel()
    t.post(channel, b"before")
    ask(t, "DELETE", channel)
    t.post(channel, b"after")
    t.read(channel, b"after")


@section.check("must")
def pub_delete_removes_the_channel(t: Trial) -> None:
    """After DELETE the channel is gone: GET is 404."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_status(ask(t, "DELETE", channel), 200, of="DELETE")
    expect_status(ask(t, "GET", channel), 404, of="GET after DELETE")


@section.check("must")
def pub_delete_410_before_200(t: Trial) -> None:
    """Every waiter has been sent 410 before DELETE is answered with 200."""
    channel = t.channel()
    position = t.start(channel)
    polls = [t.hold(channel, position) for _ in range(6)]
    expect_status(ask(t, "DELETE", channel), 200, of="DELETE")
    # Sent before means here before, but for what a network does to the order.
    for number, poll in enumerate(polls, 1):
        if not poll.connection.readable(0.05):
            raise Failure("410 to all before DELETE's 200", f"nothing yet for number {number} of 6")
        expect_status(poll.answer(), 410)


# POST


@section.check("must")
def pub_post_any_bytes(t: Trial) -> None:
    """A message is any bytes."""
    channel = t.channel()
    body = EVERY_BYTE + b"\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n" + EVERY_BYTE[::-1]
    t.post(channel, body, {"Content-Type": "application/octet-stream"})
    t.read(channel, body)


@section.check("must")
def pub_post_empty(t: Trial) -> None:
    """An empty body is a message."""
    channel = t.channel()
    position = t.start(channel)
    t.post(channel, b"")
    t.read(channel, b"", position)


@section.check("must")
def pub_post_large(t: Trial) -> None:
    """A message of 256 KiB arrives whole."""
    channel = t.channel()
    body = EVERY_BYTE * 1024
    t.post(channel, body)
    t.read(channel, body)


@section.check("must")
def pub_post_201_when_sent(t: Trial) -> None:
    """POST is 201 if at least one held subscriber was sent the message."""
    channel = t.channel()
    t.hold(channel, t.start(channel))
    expect_status(ask(t, "POST", channel, body=b"m"), 201, of="POST with one held")


@section.check("must")
def pub_post_202_when_nobody(t: Trial) -> None:
    """POST is 202 if nobody is held, also to a channel that is new."""
    channel = t.channel()
    for _ in range(2):
        expect_status(ask(t, "POST", channel, body=b"m"), 202, of="POST with nobody held")


@section.check("must")
def pub_post_202_after_delivery(t: Trial) -> None:
    """A subscriber that was answered is held no more: the POST after it is 202."""
    channel = t.channel()
    held = t.hold(channel, t.start(channel))
    t.post(channel, b"1")
    expect_message(held.answer_at_once("POST"), b"1")
    expect_status(ask(t, "POST", channel, body=b"2"), 202, of="POST after delivery")


@section.check("legacy")
def pub_post_creates(t: Trial) -> None:
    """POST to an unknown channel creates it."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_status(ask(t, "GET", channel), 200, of="GET after POST")


@section.check("legacy", "existing_pub")
def pub_post_unknown_404(t: Trial) -> None:
    """With create_on_post: false a POST is 404 until PUT."""
    channel = t.channel()
    where = t.options.existing_pub
    assert where is not None
    expect_status(t.request(where, "POST", channel, body=b"m"), 404, of="POST")
    expect_status(t.request(where, "PUT", channel), 200, of="PUT")
    expect_status(t.request(where, "POST", channel, body=b"m"), 202, of="POST after PUT")


@section.check("decision")
def pub_post_without_content_type(t: Trial) -> None:
    """A POST without Content-Type is accepted."""
    channel = t.channel()
    expect_status(ask(t, "POST", channel, body=b"m"), 201, 202, of="POST without Content-Type")


# Channel information


def info_of(method: str, t: Trial) -> Info:
    channel = t.channel()
    t.post(channel, b"m")
    body = b"n" if method == "POST" else None
    answer = ask(t, method, channel, body=body)
    return parse_info(expect_status(answer, 200, 201, 202, of=method))


for _method in ("GET", "PUT", "POST", "DELETE"):
    section.add(
        "must",
        f"info-of-{_method.lower()}",
        f"The body of a 2xx to {_method} holds channel information",
        partial(info_of, _method),
    )


@section.check("must")
def info_messages(t: Trial) -> None:
    """Channel information tells the stored messages after the request."""
    channel = t.channel()
    for n in range(1, 4):
        told = parse_info(t.post(channel, b"m"))
        expect_equal(told.messages, n, "messages told by POST")


@section.check("must")
def info_messages_after_delete(t: Trial) -> None:
    """DELETE tells that no message is stored, for that is so after it."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_equal(parse_info(ask(t, "DELETE", channel)).messages, 0, "messages told by DELETE")


@section.check("must")
def info_subscribers(t: Trial) -> None:
    """Channel information tells the held subscribers prior to the request."""
    channel = t.channel()
    position = t.start(channel)
    for _ in range(2):
        t.hold(channel, position)
    expect_equal(t.info(channel).subscribers, 2, "subscribers told by GET")
    expect_equal(parse_info(t.post(channel, b"m")).subscribers, 2, "subscribers told by POST")
    t.expect_held_count(channel, 0, "after delivery")


@section.check("must", takes=lambda options: 1.5)
def info_requested(t: Trial) -> None:
    """Channel information tells the seconds since the last subscriber's request, or -1."""
    channel = t.channel()
    told = parse_info(t.post(channel, b"m"))
    expect_equal(told.requested, -1, "with no request yet, seconds")
    t.read(channel, b"m")
    now = t.info(channel).requested
    expect(now in (0, 1), "0 seconds after a request", str(now))
    t.wait(1.5)
    later = t.info(channel).requested
    expect(later is not None and 1 <= later <= 4, "1 or 2 seconds a little later", str(later))


@section.check("must")
def info_last_message_id(t: Trial) -> None:
    """Channel information tells the last message id."""
    channel = t.channel()
    t.post(channel, b"1")
    told = parse_info(t.post(channel, b"2")).last_message_id
    last = t.read(channel, b"2", t.read(channel, b"1").position).position
    expect_equal(told, last.text, "last message id")


@section.check("decision")
def info_is_text_by_default(t: Trial) -> None:
    """Channel information is plain text by default, in four lines as Nchan has them."""
    channel = t.channel()
    t.post(channel, b"m")
    answer = ask(t, "GET", channel)
    expect("text/plain" in (answer.header("Content-Type") or ""), "text/plain", _type(answer))
    wanted = (
        rb"queued messages: 1\r?\nlast requested: -1 sec\. ago\r?\n"
        rb"active subscribers: 0\r?\nlast message id: \d+:\d+(\r?\n)?"
    )
    expect(bool(re.fullmatch(wanted, answer.body)), "the four lines", brief(answer.body, 120))


def _type(answer: Response) -> str:
    return f"Content-Type {answer.header('Content-Type')}"


def _as(t: Trial, accept: str, kind: str) -> tuple[Response, str]:
    """Ask for a form of channel information; return it and the last message id."""
    channel = t.channel()
    t.post(channel, b"m")
    last = t.read(channel).position.text
    answer = expect_status(ask(t, "GET", channel, {"Accept": accept}), 200)
    expect(
        kind in (answer.header("Content-Type") or "").lower(), f"a type with {kind}", _type(answer)
    )
    return answer, last


KEYS = {"messages", "requested", "subscribers", "last_message_id"}


@section.check("decision")
def info_as_json(t: Trial) -> None:
    """Accept: application/json gets JSON with the four keys."""
    answer, last = _as(t, "application/json", "json")
    values = json.loads(answer.body)
    expect(set(values) >= KEYS, f"{sorted(KEYS)}", brief(answer.body, 120))
    expect_equal((values["messages"], values["last_message_id"]), (1, last), "values")


@section.check("decision")
def info_as_xml(t: Trial) -> None:
    """Accept: application/xml gets XML with the root channel and the four keys."""
    answer, last = _as(t, "application/xml", "xml")
    try:
        root = ElementTree.fromstring(answer.body)
    except ElementTree.ParseError:
        raise Failure("XML", brief(answer.body, 120)) from None
    expect_equal(root.tag, "channel", "root")
    values = {child.tag: (child.text or "").strip() for child in root}
    expect(set(values) >= KEYS, f"{sorted(KEYS)}", str(sorted(values)))
    expect_equal((values["messages"], values["last_message_id"]), ("1", last), "values")


@section.check("decision")
def info_as_yaml(t: Trial) -> None:
    """Accept: application/yaml gets YAML with the four keys."""
    answer, last = _as(t, "application/yaml", "yaml")
    found = re.findall(rb"^ *([a-z_]+): *(.*?) *\r?$", answer.body, re.MULTILINE)
    values = {key.decode(): value.decode().strip("\"'") for key, value in found}
    expect(set(values) >= KEYS, f"{sorted(KEYS)}", brief(answer.body, 120))
    expect_equal((values["messages"], values["last_message_id"]), ("1", last), "values")


@section.check("decision")
def info_accept_by_quality(t: Trial) -> None:
    """The q-values of Accept decide between the forms."""
    accept = "text/plain;q=0.2, application/xml;q=0.9, application/json;q=0.5, application/yaml;q=0"
    _as(t, accept, "xml")
    _as(t, "application/xml;q=0.1, application/json;q=0.2", "json")


@section.check("decision")
def info_accept_that_cannot_be_met(t: Trial) -> None:
    """An Accept that cannot be met gets plain text."""
    _as(t, "image/png", "text/plain")


@section.check("decision")
def accept_never_stops_a_post(t: Trial) -> None:
    """An Accept that cannot be met, or understood, never stops a POST."""
    channel = t.channel()
    for n, accept in enumerate(("image/png", "*/*;q=0", ";;,=", "x" * 500), 1):
        t.post(channel, b"m", {"Accept": accept})
        expect_equal(t.info(channel).messages, n, "stored messages")


@section.check("decision")
def info_of_an_empty_channel(t: Trial) -> None:
    """Where there is no message yet, last_message_id is null."""
    channel = t.channel()
    put(t, channel)
    answer = ask(t, "GET", channel, {"Accept": "application/json"})
    try:
        values = json.loads(answer.body)
    except ValueError:
        raise Failure("JSON", brief(answer.body, 120)) from None
    wanted = {"messages": 0, "requested": -1, "subscribers": 0, "last_message_id": None}
    expect_equal({key: values.get(key, "absent") for key in wanted}, wanted, "values")


# What is kept


@section.check("should", "forego_pub")
def forego_delivers_to_held(t: Trial) -> None:
    """Where storage is foregone, a message goes to those who are held, and POST is 201."""
    channel = t.channel()
    held = t.hold(channel, t.start(channel))
    answer = t.post(channel, b"unstored", publisher=t.options.forego_pub)
    expect_message(held.answer_at_once("POST"), b"unstored")
    expect_status(answer, 201, of="POST")


@section.check("should", "forego_pub")
def forego_stores_nothing(t: Trial) -> None:
    """Where storage is foregone, a message goes to no one else."""
    channel = t.channel()
    position = t.start(channel)
    answer = t.post(channel, b"unstored", publisher=t.options.forego_pub)
    expect_status(answer, 202, of="POST")
    expect_equal(t.info(channel).messages, 1, "stored messages")
    t.hold(channel, position).expect_held("as the message was not stored")


@section.check("should", "limited_pub", "limited_sub", "max_messages")
def max_messages(t: Trial) -> None:
    """max_messages bounds the messages of a channel: the oldest go."""
    most = t.options.max_messages
    assert most is not None
    publisher, subscriber = t.options.limited_pub, t.options.limited_sub
    channel = t.channel(publisher)
    for n in range(most + 3):
        t.post(channel, b"%d" % n, publisher=publisher)
    expect_equal(t.info(channel, publisher).messages, most, "stored messages")
    t.read(channel, b"3", subscriber=subscriber)


def expiry(options: Options) -> float:
    return (options.message_timeout or 0) + 1.0


EXPIRING = ("expiring_pub", "expiring_sub", "message_timeout")


@section.check("should", *EXPIRING, takes=expiry)
def message_timeout(t: Trial) -> None:
    """message_timeout bounds the age of messages: what is over it is not delivered."""
    publisher, subscriber = t.options.expiring_pub, t.options.expiring_sub
    channel = t.channel(publisher)
    t.post(channel, b"old", publisher=publisher)
    t.wait(expiry(t.options))
    poll = t.poll(channel, subscriber=subscriber)
    if poll.connection.readable(SETTLE):
        answer = poll.answer()
        expect(answer.status != 200, "no message any more", f"{answer} with {brief(answer.body)}")


@section.check("should", *EXPIRING, takes=expiry)
def message_timeout_is_told(t: Trial) -> None:
    """Channel information does not count messages that are over their age."""
    publisher, subscriber = t.options.expiring_pub, t.options.expiring_sub
    channel = t.channel(publisher)
    # The channel stays, for somebody is held.
    t.hold(channel, t.start(channel, publisher, subscriber), (), subscriber, publisher)
    t.wait(expiry(t.options))
    expect_equal(t.info(channel, publisher).messages, 0, "stored messages")


KEPT = ("kept_pub", "kept_sub", "min_messages", "message_timeout")


@section.check("should", *KEPT, takes=expiry)
def min_messages(t: Trial) -> None:
    """min_messages are kept whatever their age, and the others go."""
    publisher, subscriber, least = t.options.kept_pub, t.options.kept_sub, t.options.min_messages
    assert least is not None
    channel = t.channel(publisher)
    for n in range(least + 2):
        t.post(channel, b"%d" % n, publisher=publisher)
    wait = expiry(t.options) + t.soon
    if not t.until(lambda: t.info(channel, publisher).messages == least, wait):
        got = t.info(channel, publisher).messages
        raise Failure(f"{least} messages to be left", f"{got}")
    t.wait(0.5)
    expect_equal(t.info(channel, publisher).messages, least, "messages a little later")
    t.read(channel, b"2", subscriber=subscriber)


SMALL = ("small_pub", "small_sub", "max_memory")


def _small(t: Trial) -> tuple[Location, Location, int]:
    publisher, subscriber, memory = t.options.small_pub, t.options.small_sub, t.options.max_memory
    assert publisher and subscriber and memory
    return publisher, subscriber, memory


@section.check("decision", *SMALL, group="small")
def max_memory_makes_room(t: Trial) -> None:
    """max_memory bounds the store as a whole: the oldest messages of it make room."""
    publisher, subscriber, memory = _small(t)
    old, new = t.channel(publisher), t.channel(publisher)
    body = bytes(memory // 16)
    t.post(old, body, publisher=publisher)
    for n in range(24):
        t.post(new, b"%02d" % n + body, publisher=publisher)
    kept = t.info(new, publisher).messages or 0
    expect(2 <= kept <= 16, "2 to 16 messages of a sixteenth of the memory", str(kept))
    left = t.info(old, publisher).messages if t.exists(old, publisher) else 0
    expect_equal(left, 0, "messages of the older channel")
    answer = t.read(new, subscriber=subscriber)
    expect_equal(answer.body[:2], b"%02d" % (24 - kept), "the oldest message left")


@section.check("decision", *SMALL, group="small")
def message_too_large_for_the_store_413(t: Trial) -> None:
    """A message that alone is too large for the store is 413 and drops nothing."""
    publisher, subscriber, memory = _small(t)
    channel = t.channel(publisher)
    t.post(channel, b"kept", publisher=publisher)
    answer = t.request(publisher, "POST", channel, body=bytes(memory + 1))
    expect_status(answer, 413)
    t.read(channel, b"kept", subscriber=subscriber)


@section.check("decision", *SMALL, takes=lambda options: 8.0, group="small")
def no_room_507(t: Trial) -> None:
    """No room at all is 507 for PUT and POST, and never an error for a subscriber."""
    publisher, subscriber, memory = _small(t)
    made: list[str] = []
    base = t.channel(publisher)
    try:
        with t.connect(publisher) as connection:
            while True:
                channel = f"{base}-{len(made)}-" + "x" * 180
                t.send(connection, publisher, "PUT", channel)
                answer = connection.read_final()
                if answer.status != 200:
                    break
                made.append(channel)
                if len(made) * 180 > memory:
                    raise Failure(f"507 before ids alone take {memory} bytes", "200 to each PUT")
        expect_status(answer, 507, of="PUT without room")
        for channel in (made[0], base):
            answer = t.request(publisher, "POST", channel, body=bytes(memory // 4))
            expect_status(answer, 507, of="POST without room")
        t.poll(made[0], subscriber=subscriber).expect_held("however little room there is")
    finally:
        with t.connect(publisher) as connection:
            for channel in made:
                t.send(connection, publisher, "DELETE", channel)
                connection.read_final()


# Who may publish, and how


@section.check("decision")
def pub_other_methods_405(t: Trial) -> None:
    """Other methods at a publisher location are 405."""
    channel = t.channel()
    t.post(channel, b"m")
    answer = ask(t, "PATCH", channel, body=b"x")
    expect_status(answer, 405, of="PATCH to a publisher location")
    expect_status(ask(t, "HEAD", channel), 405, of="HEAD to a publisher location")
    expect_equal(t.info(channel).messages, 1, "stored messages")


@section.check("http")
def pub_405_has_allow(t: Trial) -> None:
    """A 405 of a publisher location says what is allowed."""
    answer = expect_status(ask(t, "PATCH", t.channel(), body=b"x"), 405, of="PATCH")
    missing = {"get", "put", "post", "delete"} - answer.tokens("Allow")
    expect(not missing, "Allow with GET, PUT, POST and DELETE", str(answer.all("Allow")))


@section.check("decision")
def publisher_that_half_closes(t: Trial) -> None:
    """A publisher that half-closes after its request is answered."""
    channel = t.channel()
    pub = t.options.pub
    connection = t.connect(pub)
    connection.asked = "a POST followed by FIN"
    connection.send(request_bytes("POST", pub.target(channel), pub.host, body=b"m"))
    connection.half_close()
    expect_status(connection.read_final(), 202)
    t.read(channel, b"m")


@section.check("safety", "closed_pub")
def strangers_may_not_publish(t: Trial) -> None:
    """An address that allow does not name gets 403 and publishes nothing."""
    where = t.options.closed_pub
    assert where is not None
    channel = t.channel()
    for method in ("GET", "PUT", "POST", "DELETE"):
        body = b"m" if method == "POST" else None
        answer = t.request(where, method, channel, body=body)
        expect_status(answer, 403, of=f"{method} of a stranger")
    expect(not t.exists(channel), "no channel", "200 to GET")


@section.check("safety")
def web_pages_may_not_publish(t: Trial) -> None:
    """A publisher's request with an Origin is 403 and publishes nothing."""
    channel = t.channel()
    for headers in (
        {"Origin": "http://evil.test", "Content-Type": "text/plain"},
        {"Origin": "null", "Content-Type": "application/x-www-form-urlencoded"},
    ):
        answer = ask(t, "POST", channel, headers, b"m")
        expect_status(answer, 403, of=f"POST with Origin: {headers['Origin']}")
    expect(not t.exists(channel), "no channel", "200 to GET")


@section.check("decision", "origin_pub", "origin")
def named_pages_may_publish(t: Trial) -> None:
    """A publisher location lets in the origin that its allow_origin names, and no other."""
    where, origin = t.options.origin_pub, t.options.origin
    assert where is not None and origin is not None
    channel = t.channel()
    answer = t.request(where, "POST", channel, {"Origin": origin}, b"m")
    expect_status(answer, 201, 202, of=f"POST with Origin: {origin}")
    answer = t.request(where, "POST", channel, {"Origin": origin + ".evil.test"}, b"m")
    expect_status(answer, 403, of="POST with another Origin")
    expect_equal(t.info(channel).messages, 1, "stored messages")
