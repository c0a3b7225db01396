"""Section 8: what django-pushserver's script in a browser sends."""

from __future__ import annotations

import re
import time

from .suite import SETTLE, Poll, Section, Trial, expect, expect_equal, expect_message
from .wire import Connection, Position, Response

section = Section(8, "The old browser client")

FIRST = {"If-Modified-Since": "Thu, 1 Jan 1970 00:00:00 GMT", "If-None-Match": "0"}
PAGE = {"Origin": "http://page.test"}


def ask(
    t: Trial, channel: str, position: dict[str, str], connection: Connection | None = None
) -> Poll:
    """Ask as the script does: from a page, with its position and jQuery's query."""
    query = f"_={time.time_ns() // 1_000_000}"
    return t.poll(channel, None, {**PAGE, **position}, query=query, connection=connection)


def hidden_position(answer: Response) -> dict[str, str]:
    """What the script sends next where a browser hides Etag: it looks into Cache-Control."""
    found = re.search(r"etag=(\S+)", ", ".join(answer.all("Cache-Control")))
    expect(bool(found), "etag= in Cache-Control", str(answer.all("Cache-Control")))
    assert found
    position: Position = answer.position
    return {"If-Modified-Since": position.last_modified, "If-None-Match": found[1]}


@section.check("legacy")
def old_client_begins_with_the_oldest(t: Trial) -> None:
    """The first request, from 1 Jan 1970 with If-None-Match: 0 and ?_=<ms>, gets the oldest."""
    channel = t.channel()
    t.post(channel, b"1")
    t.post(channel, b"2")
    expect_message(ask(t, channel, FIRST).answer_at_once("the first request"), b"1")


@section.check("legacy")
def old_client_echoes_what_it_got(t: Trial) -> None:
    """Then it echoes Last-Modified and the tag in Cache-Control, and gets one after another."""
    channel = t.channel()
    wanted = [b"%d" % n for n in range(5)]
    for body in wanted[:3]:
        t.post(channel, body)
    position, got = FIRST, []
    for number, body in enumerate(wanted):
        poll = ask(t, channel, position)
        if number >= 3:
            poll.expect_held("having read all", SETTLE)
            t.post(channel, body)
        answer = expect_message(poll.answer_at_once("its request"))
        got.append(answer.body)
        position = hidden_position(answer)
    expect_equal(got, wanted, "messages")


@section.check("legacy")
def old_client_repeats_after_an_error(t: Trial) -> None:
    """After an error it repeats the same position, and gets the same message."""
    channel = t.channel()
    t.post(channel, b"1")
    t.post(channel, b"2")
    first = ask(t, channel, FIRST).answer_at_once("the first request")
    position = expect_message(first, b"1").position.headers
    for _ in range(3):
        expect_message(ask(t, channel, position).answer_at_once("its request"), b"2")


@section.check("legacy", "origin_sub", "origin")
def old_client_with_credentials(t: Trial) -> None:
    """It asks with credentials, and is let in where they are allowed."""
    origin = t.options.origin
    assert origin is not None
    channel = t.channel()
    t.post(channel, b"1")
    headers = {**FIRST, "Origin": origin, "Cookie": "sessionid=abc"}
    answer = t.read(channel, b"1", None, headers, t.options.origin_sub, "_=1732150000123")
    expect_equal(answer.header("Access-Control-Allow-Origin"), origin, "the origin allowed")
    expect_equal(answer.header("Access-Control-Allow-Credentials"), "true", "credentials")
