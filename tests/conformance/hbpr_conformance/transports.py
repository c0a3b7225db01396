"""Section 9: the transport, which the request and the location choose."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from .kinds import EVENTS, KINDS, PARTS, SOCKET, STREAM, Kind, expect_polled
from .suite import Section, Trial, expect, expect_equal, expect_status
from .wire import Location

section = Section(9, "Streams: the transport that is chosen")

SEVERAL = "text/html, text/event-stream;q=0.5, */*;q=0.1"


# By the request


def _is_chosen(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    kind.open(t, channel).expect(b"m")


for _kind, _clause in {
    SOCKET: "Upgrade: websocket asks for a WebSocket",
    EVENTS: "Accept: text/event-stream asks for an event stream",
    PARTS: "Accept: multipart/mixed asks for a multipart/mixed stream",
    STREAM: "TE: chunked asks for an HTTP stream",
}.items():
    section.add(
        "decision", f"{_kind.name}-is-asked-for", _clause, partial(_is_chosen, _kind), _kind.option
    )


def _message_by(t: Trial, kind: Kind, headers: Mapping[str, str | None]) -> None:
    """Check that these headers, in place of the kind's own, choose it as well."""
    channel = t.channel()
    t.post(channel, b"m")
    kind.open(t, channel, headers=headers).expect(b"m")


@section.check("decision", "eventsource_sub")
def accept_among_others(t: Trial) -> None:
    """Accept may name text/event-stream among others."""
    _message_by(t, EVENTS, {"Accept": SEVERAL})


@section.check("http", "eventsource_sub")
def accept_in_any_case(t: Trial) -> None:
    """Accept: Text/Event-Stream is the same: media types have no case."""
    _message_by(t, EVENTS, {"Accept": "Text/Event-Stream"})


@section.check("decision", "websocket_sub")
def upgrade_before_accept(t: Trial) -> None:
    """Upgrade: websocket is a WebSocket whatever Accept and TE say."""
    others = {"Accept": "text/event-stream", "TE": "chunked", "Connection": "TE, Upgrade"}
    _message_by(t, SOCKET, others)


def _is_polled(option: str, headers: Mapping[str, str], t: Trial) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    location: Location = getattr(t.options, option)
    expect_polled(t.get(channel, headers=headers, subscriber=location), b"m")


for _id, _about, _option, _headers in (
    ("accept-any-is-a-poll", "Accept: */*", "eventsource_sub", {"Accept": "*/*"}),
    ("accept-text-is-a-poll", "Accept: text/*", "eventsource_sub", {"Accept": "text/*"}),
    (
        "accept-of-no-quality-is-a-poll",
        "Accept with text/event-stream;q=0",
        "eventsource_sub",
        {"Accept": "text/event-stream;q=0, */*"},
    ),
    ("te-trailers-is-a-poll", "TE: trailers", "stream_sub", {"TE": "trailers", "Connection": "TE"}),
):
    section.add(
        "decision",
        _id,
        f"A request with {_about} asks for no stream: it polls",
        partial(_is_polled, _option, _headers),
        _option,
    )


# By the location

EVERYTHING = {"Accept": "text/event-stream, multipart/mixed", "TE": "chunked", "Connection": "TE"}


def _only_one(kind: Kind, option: str, t: Trial) -> None:
    location: Location = getattr(t.options, option)
    channel = t.channel()
    t.post(channel, b"m")
    others = {name: value for name, value in EVERYTHING.items() if name not in kind.asked_by}
    for headers in ({}, others):
        # Without what asks for it: the location is enough.
        silent = dict.fromkeys(kind.asked_by)
        kind.open(t, channel, location, {**silent, **headers}).expect(b"m")


for _kind, _option in (
    (EVENTS, "only_eventsource_sub"),
    (STREAM, "only_stream_sub"),
    (PARTS, "only_multipart_sub"),
):
    section.add(
        "decision",
        f"only-{_kind.name}-whatever-is-asked",
        f"A location that has only {_kind.title} gives it, whatever Accept and TE say",
        partial(_only_one, _kind, _option),
        _option,
    )


@section.check("decision", "only_longpoll_sub")
def only_longpoll_whatever_is_asked(t: Trial) -> None:
    """A location that has only long polling polls, whatever Accept and TE say."""
    for headers in ({}, {"Accept": "text/event-stream"}, EVERYTHING):
        _is_polled("only_longpoll_sub", headers, t)


@section.check("decision", "only_websocket_sub")
def only_websocket_without_upgrade_426(t: Trial) -> None:
    """A GET without Upgrade where there is only the WebSocket is 426, whatever Accept says."""
    for headers in ({}, {"Accept": "text/event-stream"}):
        channel = t.channel()
        t.post(channel, b"m")
        answer = t.get(channel, headers=headers, subscriber=t.options.only_websocket_sub)
        expect_status(answer, 426, of=f"a GET with {headers or 'nothing'}")


@section.check("http", "only_websocket_sub")
def upgrade_with_426(t: Trial) -> None:
    """A 426 says Upgrade: websocket."""
    channel = t.channel()
    t.post(channel, b"m")
    answer = t.get(channel, subscriber=t.options.only_websocket_sub)
    expect_status(answer, 426)
    expect("websocket" in answer.tokens("Upgrade"), "Upgrade: websocket", str(answer.fields))


@section.check("decision", "only_websocket_sub")
def only_websocket_with_upgrade(t: Trial) -> None:
    """A location that has only the WebSocket gives it to who asks."""
    channel = t.channel()
    t.post(channel, b"m")
    SOCKET.open(t, channel, t.options.only_websocket_sub).expect(b"m")


def _not_allowed(kind: Kind, t: Trial) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    _, head = kind.ask(t, channel, t.options.two_sub)
    expect_status(head, 406, of=f"a request for {kind.title}")


for _kind in KINDS:
    if _kind is not EVENTS:
        section.add(
            "decision",
            f"{_kind.name}-not-allowed-406",
            f"{_kind.title[0].upper()}{_kind.title[1:]} where it is not allowed is 406",
            partial(_not_allowed, _kind),
            "two_sub",
        )


@section.check("decision", "two_sub")
def allowed_transports_by_request(t: Trial) -> None:
    """Where two transports are allowed the request chooses between these."""
    _is_polled("two_sub", {}, t)
    channel = t.channel()
    t.post(channel, b"m")
    EVENTS.open(t, channel, t.options.two_sub).expect(b"m")


@section.check("http", "two_sub")
def cors_on_406(t: Trial) -> None:
    """CORS headers are on 406."""
    channel = t.channel()
    t.post(channel, b"m")
    headers = {"Origin": "http://page.test"}
    _, head = STREAM.ask(t, channel, t.options.two_sub, headers)
    expect_status(head, 406)
    allowed = head.header("Access-Control-Allow-Origin")
    expect_equal(allowed, "*", "Access-Control-Allow-Origin")
