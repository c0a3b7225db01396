"""Section 9: long polls with all waiting messages in one answer, and JSONP."""

from __future__ import annotations

import json
import re
from functools import partial

from .kinds import expect_polled
from .parts import parts_of
from .suite import Poll, Section, Trial, expect, expect_equal, expect_status
from .wire import Location, Response, brief

section = Section(9, "Streams: batches and JSONP")

BODIES = [b"one", b"two", b"three"]


# Batches


def _batched(t: Trial, location: Location | None) -> tuple[str, Response]:
    channel = t.channel()
    for body in BODIES:
        t.post(channel, body, {"Content-Type": "text/x-a"})
    answer = t.get(channel, subscriber=location)
    return channel, expect_status(answer, 200)


@section.check("decision", "batch_multipart_sub")
def batch_multipart(t: Trial) -> None:
    """batch: multipart has all messages as parts, each with its Content-Type and position."""
    channel, answer = _batched(t, t.options.batch_multipart_sub)
    parts = parts_of(answer)
    expect_equal([part.body for part in parts], BODIES, "parts")
    position = t.read(channel, BODIES[0]).position
    expect_equal(parts[0].id, position.text, "the first part's position")
    expect_equal([part.content_type for part in parts], ["text/x-a"] * 3, "Content-Type")


@section.check("decision", "batch_json_sub")
def batch_json(t: Trial) -> None:
    """batch: json has all messages in one JSON array."""
    _, answer = _batched(t, t.options.batch_json_sub)
    expect_equal(media_type(answer), "application/json", "Content-Type")
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    expect(isinstance(found, list) and len(found) == 3, "an array of three", brief(answer.body))
    for item, body in zip(found, BODIES, strict=True):
        expect(body.decode() in said(item), f"the message {body!r}", f"{item}")


@section.check("decision", "batch_raw_sub")
def batch_raw(t: Trial) -> None:
    """batch: raw has all messages one behind the other."""
    _, answer = _batched(t, t.options.batch_raw_sub)
    wanted = rb"one\n?two\n?three\n?"
    expect(bool(re.fullmatch(wanted, answer.body)), "onetwothree", brief(answer.body))


def _position_is_of_the_last(option: str, t: Trial) -> None:
    location: Location = getattr(t.options, option)
    channel, answer = _batched(t, location)
    poll = t.hold(channel, answer.position, subscriber=location)
    t.post(channel, b"four")
    following = poll.answer_at_once("POST")
    expect(following.status == 200 and b"four" in following.body, "the next", str(following))
    expect(b"three" not in following.body, "each message once", brief(following.body))
    expect(following.position.order > answer.position.order, "a later position", "an earlier")


for _form in ("multipart", "json", "raw"):
    section.add(
        "decision",
        f"batch-{_form}-position",
        f"The position of a batch ({_form}) is that of its last message",
        partial(_position_is_of_the_last, f"batch_{_form}_sub"),
        f"batch_{_form}_sub",
    )


# JSONP


def media_type(answer: Response) -> str:
    return (answer.header("Content-Type") or "").split(";")[0].strip().lower()


def called(answer: Response, callback: str) -> object:
    """What a script calls its callback with: JSON, for anything else could do anything."""
    expect_status(answer, 200)
    text = answer.body.decode("utf-8", "replace").strip().removeprefix("/**/")
    found = re.fullmatch(
        rf"(?:typeof \S+ *=== *'function' *&& *)?{re.escape(callback)}\((.*)\);?", text, re.DOTALL
    )
    expect(bool(found), f"{callback}(…);", brief(text))
    assert found
    try:
        return json.loads(found[1])
    except ValueError:
        expect(False, "JSON in the call", brief(found[1]))
    return None


def said(value: object) -> list[object]:
    """All that is in it, for how messages lie in a call is not laid down."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(found for item in inside for found in said(item))]


def _jsonp(t: Trial, body: bytes, callback: str) -> Response:
    channel = t.channel()
    t.post(channel, body, {"Content-Type": "application/json"})
    return t.get(channel, subscriber=t.options.jsonp_sub, query=f"callback={callback}")


@section.check("decision", "jsonp_sub")
def jsonp_calls_back(t: Trial) -> None:
    """Where JSONP is allowed, ?callback=NAME is answered with a call of it: NAME(…);."""
    answer = _jsonp(t, b'"hello"', "heard")
    expect_equal(media_type(answer), "application/javascript", "Content-Type")
    found = said(called(answer, "heard"))
    expect("hello" in found or '"hello"' in found, "the message", str(found))


@section.check("decision", "jsonp_sub")
def jsonp_names(t: Trial) -> None:
    """A callback's name may have letters, digits, _, $, dots and brackets."""
    for name in ("a.b", "$.updates_1", "list[0].heard", "_"):
        called(_jsonp(t, b"1", name), name)


@section.check("safety", "jsonp_sub")
def jsonp_bad_name_400(t: Trial) -> None:
    """A callback of any other characters is 400: it is code."""
    for name in ("alert(1)", "a;b", "a%0Ab", "a%3Cb", "a/*", "%22", "a-b"):
        expect_status(_jsonp(t, b"1", name), 400, of=f"callback={name}")


@section.check("safety", "jsonp_sub")
def jsonp_message_is_data(t: Trial) -> None:
    """A message is data in the call, whatever it looks like."""
    for body in (b"alert(1)", b"1); alert(1); (2", b'"\n', "\u2028\u2029".encode()):
        channel = t.channel()
        t.post(channel, body, {"Content-Type": "text/plain"})
        answer = t.get(channel, subscriber=t.options.jsonp_sub, query="callback=heard")
        found = said(called(answer, "heard"))
        expect(body.decode() in found, f"the message {body!r}", str(found))
        script = answer.body.decode("utf-8", "replace")
        expect("\u2028" not in script, "no line ends of old JavaScript", brief(script))


@section.check("decision", "jsonp_sub")
def jsonp_is_held(t: Trial) -> None:
    """JSONP is a long poll: it is held, and resumed by ?last_event_id=."""
    channel = t.channel()
    position = t.start(channel)
    connection = t.connect(t.options.jsonp_sub)
    query = f"callback=heard&last_event_id={position.text}"
    assert t.options.jsonp_sub is not None
    t.send(connection, t.options.jsonp_sub, "GET", channel, query=query)
    poll = Poll(t, connection)
    poll.expect_held("as nothing has come")
    t.post(channel, b'"next"')
    found = said(called(poll.answer_at_once("POST"), "heard"))
    expect("next" in found or '"next"' in found, "the message", str(found))


@section.check("decision", "jsonp_sub")
def jsonp_off_unless_named(t: Trial) -> None:
    """Where transports does not name it, ?callback= means nothing."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_polled(t.get(channel, query="callback=heard"), b"m")


@section.check("decision", "jsonp_sub")
def jsonp_without_callback(t: Trial) -> None:
    """Where JSONP is allowed, a request without callback polls."""
    channel = t.channel()
    t.post(channel, b"m")
    expect_polled(t.get(channel, subscriber=t.options.jsonp_sub), b"m")
