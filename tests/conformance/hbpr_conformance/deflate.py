"""Section 9: permessage-deflate, RFC 7692."""

from __future__ import annotations

import os
import zlib
from functools import partial

from .conversations import begin as begin_plain
from .conversations import expect_published
from .frames import BINARY, CLOSE, CONTINUATION, PING, RSV1, TEXT, close_payload, frame
from .kinds import socket
from .sockets import META, WebSocket, parse_extensions, shake_hands
from .suite import Section, Trial, expect, expect_equal, expect_status
from .wire import Response

section = Section(9, "Streams: the WebSocket's compression")

NEEDS = ("websocket_sub", "deflate_sub")
DEFLATE = "permessage-deflate"
KNOWN = {
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
}
LONG = b"compressible, " * 200


def deflated(data: bytes, bits: int = 15) -> bytes:
    """What a client sends of a message that it compresses."""
    maker = zlib.compressobj(wbits=-bits)
    return (maker.compress(data) + maker.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def answer_to(t: Trial, offer: str) -> Response:
    """The 101 to an offer."""
    channel = t.channel()
    t.post(channel, b"m")
    assert t.options.deflate_sub is not None
    headers = {"Sec-WebSocket-Extensions": offer}
    _, head = shake_hands(t, t.options.deflate_sub, channel, headers)
    return expect_status(head, 101, of=f"a handshake that offers {offer}")


def accepted(t: Trial, offer: str) -> dict[str, str | None] | None:
    """The parameters of what was accepted of an offer; None if nothing was."""
    found = parse_extensions(answer_to(t, offer))
    if not found:
        return None
    expect_equal([name for name, _ in found], [DEFLATE], "extensions")
    return found[0][1]


def begin(t: Trial, offer: str = DEFLATE, protocol: str | None = None) -> tuple[str, WebSocket]:
    """A channel, and a WebSocket of it with compression, which has nothing more to read."""
    channel = t.channel()
    t.post(channel, b"start")
    headers = {"Sec-WebSocket-Extensions": offer, "Sec-WebSocket-Protocol": protocol}
    ws = socket(t, channel, headers, location=t.options.deflate_sub)
    found = ws.head.header("Sec-WebSocket-Extensions")
    expect(found is not None, "permessage-deflate accepted", "none")
    ws.expect(b"start")
    return channel, ws


# The offer


@section.check("decision", *NEEDS)
def deflate_is_accepted(t: Trial) -> None:
    """permessage-deflate is accepted where it is on."""
    expect(accepted(t, DEFLATE) is not None, "it accepted", "not accepted")


@section.check("decision", "websocket_sub")
def deflate_off_is_declined(t: Trial) -> None:
    """permessage-deflate is declined where it is off, and stops nothing."""
    channel = t.channel()
    t.post(channel, b"m")
    ws = socket(t, channel, {"Sec-WebSocket-Extensions": DEFLATE})
    expect_equal(ws.head.header("Sec-WebSocket-Extensions"), None, "extensions")
    ws.expect(b"m")


@section.check("ws", *NEEDS)
def deflate_answer_is_well_formed(t: Trial) -> None:
    """What is accepted has only parameters that RFC 7692 knows, each once."""
    for offer in (DEFLATE, f"{DEFLATE}; client_max_window_bits", f"{DEFLATE}, {DEFLATE}"):
        found = accepted(t, offer)
        expect(found is not None, "it accepted", "not accepted")
        assert found is not None
        expect(set(found) <= KNOWN, "known parameters", str(found))
        for name, value in found.items():
            expect((value is None) == name.endswith("takeover"), "fitting values", str(found))


@section.check("ws", *NEEDS)
def deflate_client_bits_unasked(t: Trial) -> None:
    """client_max_window_bits is not answered unless it was offered."""
    found = accepted(t, DEFLATE)
    expect(found is not None and "client_max_window_bits" not in found, "none", str(found))


@section.check("ws", *NEEDS)
def deflate_server_context_as_asked(t: Trial) -> None:
    """server_no_context_takeover, when asked for, is answered."""
    found = accepted(t, f"{DEFLATE}; server_no_context_takeover")
    wanted = found is not None and "server_no_context_takeover" in found
    expect(wanted, "server_no_context_takeover", str(found))


@section.check("ws", *NEEDS)
def deflate_server_bits_as_asked(t: Trial) -> None:
    """server_max_window_bits, when asked for and accepted, is answered with no more."""
    found = accepted(t, f"{DEFLATE}; server_max_window_bits=10")
    bits = (found or {}).get("server_max_window_bits") or "15"
    expect(found is None or 8 <= int(bits) <= 10, "10 or fewer bits", str(found))
    found = accepted(t, f"{DEFLATE}; server_max_window_bits=10, {DEFLATE}")
    expect(found is not None, "one of two offers accepted", "none")


@section.check("ws", *NEEDS)
def deflate_quoted_value(t: Trial) -> None:
    """A parameter's value may be quoted."""
    offer = f'{DEFLATE}; server_max_window_bits="12"; client_max_window_bits="15"'
    expect(accepted(t, offer) is not None, "it accepted", "not accepted")


BAD_OFFERS = {
    "unknown-parameter": ("an unknown parameter", "x_own"),
    "doubled-parameter": (
        "a parameter twice",
        "server_no_context_takeover; server_no_context_takeover",
    ),
    "bits-7": ("a window of 7 bits", "server_max_window_bits=7"),
    "bits-16": ("a window of 16 bits", "server_max_window_bits=16"),
    "bits-of-client-16": ("a client's window of 16 bits", "client_max_window_bits=16"),
    "bits-with-a-zero": ("bits with a leading zero", "server_max_window_bits=010"),
    "bits-no-number": ("bits that are no number", "server_max_window_bits=ten"),
    "bits-without-value": ("server_max_window_bits without a value", "server_max_window_bits"),
    "value-of-a-flag": ("a value of a flag", "server_no_context_takeover=1"),
    "value-of-the-clients-flag": ("a value of the client's flag", "client_no_context_takeover=x"),
}


def _is_declined(parameters: str, t: Trial) -> None:
    expect_equal(accepted(t, f"{DEFLATE}; {parameters}"), None, "what is accepted,")


for _name, (_about, _parameters) in BAD_OFFERS.items():
    section.add(
        "ws",
        f"deflate-offer-{_name}",
        f"An offer with {_about} is declined, and the handshake goes on",
        partial(_is_declined, _parameters),
        *NEEDS,
    )


@section.check("ws", *NEEDS)
def deflate_next_offer(t: Trial) -> None:
    """Where the first offer cannot be accepted, the next is."""
    found = accepted(t, f"foo, {DEFLATE}; x_own=1, {DEFLATE}; server_no_context_takeover")
    wanted = found is not None and "server_no_context_takeover" in found
    expect(wanted, "the second offer accepted", str(found))


# Messages of the server


@section.check("ws", *NEEDS)
def deflate_messages(t: Trial) -> None:
    """Compressed messages inflate to what was published, text and binary."""
    channel, ws = begin(t)
    for body in (LONG, b"", b"x", "é".encode() * 500, os.urandom(3000), bytes(100_000)):
        t.post(channel, body)
        ws.expect(body, after="POST")


@section.check("decision", *NEEDS)
def deflate_compresses(t: Trial) -> None:
    """A message that gets smaller by it is compressed."""
    channel, ws = begin(t)
    t.post(channel, LONG)
    ws.expect(LONG, after="POST")
    expect(ws.compressed[-1], "RSV1", "a message that is not compressed")


@section.check("ws", *NEEDS)
def deflate_without_context(t: Trial) -> None:
    """With server_no_context_takeover each message inflates by itself."""
    channel, ws = begin(t, f"{DEFLATE}; server_no_context_takeover")
    for _ in range(3):
        t.post(channel, LONG)
        ws.expect(LONG, after="POST")


@section.check("ws", *NEEDS)
def deflate_within_its_window(t: Trial) -> None:
    """No message refers further back than the window that was agreed."""
    for bits in (9, 10, 12):
        offer = f"{DEFLATE}; server_max_window_bits={bits}, {DEFLATE}; server_no_context_takeover"
        channel, ws = begin(t, offer)
        piece = os.urandom((1 << bits) + 700)
        text = piece.hex().encode()
        for body in (piece * 3, text * 2):
            t.post(channel, body)
            ws.expect(body, after="POST")


@section.check("decision", *NEEDS)
def deflate_with_meta(t: Trial) -> None:
    """ws+meta.nchan and compression go together."""
    channel, ws = begin(t, protocol=META)
    t.post(channel, LONG, {"Content-Type": "text/x-a"})
    (message,) = ws.expect(LONG, after="POST")
    expect_equal(message.content_type, "text/x-a", "the Content-Type")
    expect(message.id is not None, "an id", "none")


@section.check("decision", *NEEDS)
def deflate_for_some_only(t: Trial) -> None:
    """Who has not asked for compression gets none, though others do."""
    channel, ws = begin(t)
    plain = socket(t, channel, location=t.options.deflate_sub)
    plain.expect(b"start")
    t.post(channel, LONG)
    ws.expect(LONG, after="POST")
    plain.expect(LONG, after="POST")


# Messages of the client


@section.check("ws", *NEEDS)
def deflate_from_the_client(t: Trial) -> None:
    """A client may send messages compressed or not, and in fragments."""
    _, ws = begin(t)
    data = deflated(LONG)
    ws.send(
        frame(TEXT, data, rsv=RSV1),
        frame(TEXT, b"plain"),
        frame(BINARY, deflated(b"\xff" * 300), rsv=RSV1),
        frame(TEXT, data[:7], rsv=RSV1, fin=False),
        frame(CONTINUATION, data[7:9], fin=False),
        frame(PING, b"between"),
        frame(CONTINUATION, data[9:]),
        frame(TEXT, deflated(b""), rsv=RSV1),
    )
    ws.expect_pong(b"between")
    ws.expect_alive("compressed messages")


def _fails(data: bytes, codes: tuple[int, ...], t: Trial) -> None:
    _, ws = begin(t)
    ws.send(data)
    ws.expect_failed("what must not be", *codes)


for _level, _id, _about, _data, _codes in (
    (
        "ws",
        "deflate-rsv1-of-a-continuation-1002",
        "RSV1 of a continuation",
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", rsv=RSV1),
        (1002,),
    ),
    (
        "ws",
        "deflate-rsv1-of-a-ping-1002",
        "RSV1 of a ping",
        frame(PING, b"a", rsv=RSV1),
        (1002,),
    ),
    (
        "ws",
        "deflate-rsv1-of-a-close-frame-1002",
        "RSV1 of a close frame",
        frame(CLOSE, close_payload(1000), rsv=RSV1),
        (1002,),
    ),
    (
        "safety",
        "deflate-invalid-data",
        "Data that does not inflate",
        frame(TEXT, b"\xff" * 20, rsv=RSV1),
        (1007, 1002),
    ),
    (
        "ws",
        "deflate-bad-text-1007",
        "Compressed text that is not UTF-8",
        frame(TEXT, deflated(b"a\xffb" * 20), rsv=RSV1),
        (1007,),
    ),
):
    section.add(
        _level,
        _id,
        f"{_about} fails the connection with {' or '.join(map(str, _codes))}",
        partial(_fails, _data, _codes),
        *NEEDS,
    )


@section.check("ws", "websocket_sub")
def deflate_unnegotiated_1002(t: Trial) -> None:
    """A compressed message where compression was not agreed on fails the connection with 1002."""
    _, ws = begin_plain(t)
    ws.send(frame(TEXT, deflated(LONG), rsv=RSV1))
    ws.expect_failed("RSV1", 1002)


PUBLISHING = (*NEEDS, "publishing_sub", "publishing_max_body")


def _publishing(t: Trial) -> tuple[str, WebSocket]:
    channel = t.channel()
    t.post(channel, b"start")
    headers = {"Sec-WebSocket-Extensions": DEFLATE}
    ws = socket(t, channel, headers, location=t.options.publishing_sub)
    ws.expect(b"start")
    found = ws.head.header("Sec-WebSocket-Extensions")
    expect(found is not None, "permessage-deflate accepted", "none")
    return channel, ws


@section.check("decision", *PUBLISHING)
def deflate_publishes(t: Trial) -> None:
    """A compressed message is published as what it inflates to."""
    channel, ws = _publishing(t)
    position = t.read(channel, b"start").position
    ws.send(frame(TEXT, deflated(LONG), rsv=RSV1))
    expect_published(t, channel, position, LONG, "text/plain")


@section.check("safety", *PUBLISHING)
def deflate_bomb_1009(t: Trial) -> None:
    """A small message that inflates to more than allowed fails the connection with 1009."""
    channel, ws = _publishing(t)
    position = t.read(channel, b"start").position
    most = t.options.publishing_max_body or 0
    ws.send(frame(BINARY, deflated(bytes(most * 4 + 1)), rsv=RSV1))
    ws.expect_failed("a message that is too big", 1009)
    t.poll(channel, position).expect_held("as nothing was published")
