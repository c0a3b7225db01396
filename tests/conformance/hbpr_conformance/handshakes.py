"""Section 9: the WebSocket's opening handshake, RFC 6455 section 4."""

from __future__ import annotations

from functools import partial

from .frames import PING, frame
from .kinds import SOCKET, expect_polled
from .sockets import META, handshake_headers, open_socket, shake_hands
from .suite import Section, Trial, expect, expect_equal, expect_status
from .wire import Location, Response, request_bytes

section = Section(9, "Streams: the WebSocket's handshake")

NEEDS = "websocket_sub"
ORIGIN_NEEDS = ("websocket_sub", "origin_sub", "origin")


def answer_to(
    t: Trial, headers: dict[str, str | None], location: Location | None = None
) -> Response:
    """What a handshake with these headers, beside or in place of the usual, is answered."""
    channel = t.channel()
    t.post(channel, b"m")
    _, head = shake_hands(t, location or SOCKET.location(t.options), channel, headers)
    return head


# What is accepted


@section.check("ws", NEEDS)
def ws_accept_is_of_the_key(t: Trial) -> None:
    """Sec-WebSocket-Accept is what the key makes it; each handshake's is its own."""
    for key in ("dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "/////////////////////w=="):
        expect_status(answer_to(t, {"Sec-WebSocket-Key": key}), 101, of="a handshake")


@section.check("ws", NEEDS)
def ws_101_says_upgrade(t: Trial) -> None:
    """The 101 says Upgrade: websocket and Connection: Upgrade."""
    head = expect_status(answer_to(t, {}), 101, of="a handshake")
    expect("websocket" in head.tokens("Upgrade"), "Upgrade: websocket", str(head.fields))
    expect("upgrade" in head.tokens("Connection"), "Connection: Upgrade", str(head.fields))


@section.check("ws", NEEDS)
def ws_tokens_in_any_case(t: Trial) -> None:
    """Upgrade and Connection are read without regard to case, and may say more."""
    headers: dict[str, str | None] = {
        "Upgrade": "WebSocket",
        "Connection": "keep-alive, UPGRADE",
    }
    expect_status(answer_to(t, headers), 101, of="a handshake")


@section.check("ws", NEEDS)
def ws_frames_with_the_handshake(t: Trial) -> None:
    """Frames that come together with the handshake are read."""
    channel = t.channel()
    position = t.start(channel)
    headers = {"Last-Event-ID": position.text}
    location = SOCKET.location(t.options)
    open_socket(t, location, channel, headers, behind=frame(PING, b"early")).expect_pong(b"early")


# What is refused

BAD_KEYS: dict[str, tuple[str, str | None]] = {
    "missing": ("no Sec-WebSocket-Key", None),
    "empty": ("an empty Sec-WebSocket-Key", ""),
    "short": ("a key of 15 bytes", "QUFBQUFBQUFBQUFBQUFB"),
    "long": ("a key of 17 bytes", "QUFBQUFBQUFBQUFBQUFBQUE="),
    "no-base64": ("a key that is no base64", "dGhlIHNhbXBsZSBub2!jZQ=="),
}


def _bad_key(key: str | None, t: Trial) -> None:
    expect_status(answer_to(t, {"Sec-WebSocket-Key": key}), 400, of="such a handshake")


for _name, (_about, _key) in BAD_KEYS.items():
    section.add(
        "ws",
        f"ws-key-{_name}-400",
        f"A handshake with {_about} is 400",
        partial(_bad_key, _key),
        NEEDS,
    )


@section.check("ws", NEEDS)
def ws_version_other_426(t: Trial) -> None:
    """Another Sec-WebSocket-Version is 426, which names version 13."""
    for version in ("8", "12", "14", "1", "013"):
        answer = answer_to(t, {"Sec-WebSocket-Version": version})
        expect_status(answer, 426, of=f"Sec-WebSocket-Version: {version}")
        expect("13" in answer.tokens("Sec-WebSocket-Version"), "13 named", str(answer.fields))


@section.check("ws", NEEDS)
def ws_version_missing(t: Trial) -> None:
    """A handshake without Sec-WebSocket-Version is 400 or 426."""
    expect_status(answer_to(t, {"Sec-WebSocket-Version": None}), 400, 426, of="such a handshake")


def _no_switch(headers: dict[str, str | None], version: str, t: Trial) -> None:
    channel = t.channel()
    t.post(channel, b"m")
    location = SOCKET.location(t.options)
    fields = {k: v for k, v in {**handshake_headers(), **headers}.items() if v is not None}
    connection = t.connect(location)
    target = location.target(channel)
    connection.asked = f"GET {target}"
    connection.send(request_bytes("GET", target, location.host, fields, version=version))
    head = connection.read_head()
    expect(head.status != 101, "any answer but 101", str(head))


NO_HANDSHAKES: tuple[tuple[str, str, dict[str, str | None], str], ...] = (
    ("without-connection", "without Connection: Upgrade", {"Connection": None}, "HTTP/1.1"),
    ("in-1-0", "in HTTP/1.0", {}, "HTTP/1.0"),
    ("to-another", "to another protocol", {"Upgrade": "websocket2"}, "HTTP/1.1"),
)
for _name, _about, _headers, _version in NO_HANDSHAKES:
    section.add(
        "ws",
        f"ws-upgrade-{_name}",
        f"An Upgrade {_about} is no handshake",
        partial(_no_switch, _headers, _version),
        NEEDS,
    )


@section.check("ws", NEEDS)
def ws_upgrade_by_post(t: Trial) -> None:
    """A handshake is a GET: POST is not answered with 101."""
    channel = t.channel()
    t.post(channel, b"m")
    location = SOCKET.location(t.options)
    fields = {k: v for k, v in handshake_headers().items() if v is not None}
    connection = t.connect(location)
    t.send(connection, location, "POST", channel, fields, b"")
    expect(connection.read_head().status != 101, "any answer but 101", "101")


@section.check("decision", NEEDS)
def ws_refused_connection_goes_on(t: Trial) -> None:
    """A handshake that is refused by 426 is an answer as any: it is a poll's turn next."""
    channel = t.channel()
    t.post(channel, b"m")
    location = SOCKET.location(t.options)
    connection, head = shake_hands(t, location, channel, {"Sec-WebSocket-Version": "12"})
    expect_status(head, 426)
    if "close" not in head.tokens("Connection"):
        t.send(connection, location, "GET", channel)
        expect_polled(connection.read_final(), b"m")


# Subprotocols and extensions


@section.check("ws", NEEDS)
def ws_nothing_unasked(t: Trial) -> None:
    """Where no subprotocol and no extension is offered, none is accepted."""
    head = expect_status(answer_to(t, {}), 101, of="a handshake")
    for name in ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"):
        expect_equal(head.header(name), None, name)


@section.check("decision", NEEDS)
def ws_unknown_subprotocol(t: Trial) -> None:
    """An unknown subprotocol is not accepted, and stops nothing."""
    head = answer_to(t, {"Sec-WebSocket-Protocol": "chat, superchat"})
    expect_status(head, 101, of="a handshake")
    expect_equal(head.header("Sec-WebSocket-Protocol"), None, "Sec-WebSocket-Protocol")


@section.check("ws", NEEDS)
def ws_unknown_extension(t: Trial) -> None:
    """An unknown extension is not accepted, and stops nothing."""
    head = answer_to(t, {"Sec-WebSocket-Extensions": 'foo; bar="baz", x-webkit-deflate-frame'})
    expect_status(head, 101, of="a handshake")
    expect_equal(head.header("Sec-WebSocket-Extensions"), None, "Sec-WebSocket-Extensions")


@section.check("decision", NEEDS)
def ws_meta_is_accepted(t: Trial) -> None:
    """The subprotocol ws+meta.nchan is accepted, also among others."""
    for offer in (META, f"chat, {META}", f"{META}, chat"):
        head = answer_to(t, {"Sec-WebSocket-Protocol": offer})
        expect_status(head, 101, of="a handshake")
        expect_equal(head.header("Sec-WebSocket-Protocol"), META, f"of {offer}:")


# Origin


def _origin(t: Trial, origin: str | None, location: Location | None = None) -> Response:
    return answer_to(t, {"Origin": origin}, location or t.options.origin_sub)


@section.check("safety", *ORIGIN_NEEDS)
def ws_origin_stranger_403(t: Trial) -> None:
    """Where credentials are allowed, the Origin of another site is 403: cookies go with a
    handshake from any page."""
    assert t.options.origin is not None
    for origin in ("http://evil.test", f"{t.options.origin}.evil.test", "null"):
        expect_status(_origin(t, origin), 403, of=f"Origin: {origin}")


@section.check("decision", *ORIGIN_NEEDS)
def ws_origin_allowed(t: Trial) -> None:
    """Where credentials are allowed, an Origin that allow_origin names may come."""
    expect_status(_origin(t, t.options.origin), 101, of="a handshake")


@section.check("decision", *ORIGIN_NEEDS)
def ws_origin_own_host(t: Trial) -> None:
    """Where credentials are allowed, the Origin of the request's own host may come."""
    assert t.options.origin_sub is not None
    own = f"http://{t.options.origin_sub.host}"
    expect_status(_origin(t, own), 101, of=f"Origin: {own}")


@section.check("decision", *ORIGIN_NEEDS)
def ws_origin_none(t: Trial) -> None:
    """A handshake without Origin comes from no page, and passes."""
    expect_status(_origin(t, None), 101, of="a handshake")


@section.check("decision", NEEDS)
def ws_origin_any_without_credentials(t: Trial) -> None:
    """Where no credentials are allowed, pages of any origin may come."""
    answer = _origin(t, "http://page.test", SOCKET.location(t.options))
    expect_status(answer, 101, of="a handshake")
