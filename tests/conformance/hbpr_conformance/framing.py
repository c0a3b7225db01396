"""Section 9: a WebSocket's frames, its text and its end, RFC 6455 sections 5, 7 and 8."""

from __future__ import annotations

from functools import partial

from .conversations import begin
from .frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    close_payload,
    frame,
    frame_head,
    unmasked_frame,
)
from .suite import Section, Trial, expect, expect_equal, expect_status
from .wire import Failure

section = Section(9, "Streams: the WebSocket's frames")

NEEDS = "websocket_sub"


# What breaks the rules of framing


def _fails(data: bytes, codes: tuple[int, ...], t: Trial) -> None:
    channel, ws = begin(t)
    ws.send(data)
    ws.expect_failed("what must not be", *codes)
    t.expect_held_count(channel, 0, "as the WebSocket has failed")


def _must_fail(level: str, name: str, about: str, data: bytes, *codes: int) -> None:
    said = " or ".join(str(code) for code in codes)
    section.add(
        level,
        f"ws-{name}-{codes[0]}",
        f"{about} fails the connection with {said}",
        partial(_fails, data, codes),
        NEEDS,
    )


_must_fail("ws", "unmasked", "A frame that is not masked", unmasked_frame(TEXT, b"abc"), 1002)
_must_fail("ws", "unmasked-ping", "A ping that is not masked", unmasked_frame(PING), 1002)
for _rsv, _name in ((RSV1, "rsv1"), (RSV2, "rsv2"), (RSV3, "rsv3")):
    _must_fail(
        "ws",
        _name,
        f"{_name.upper()} where nothing has given it a meaning",
        frame(TEXT, b"abc", rsv=_rsv),
        1002,
    )
_must_fail("ws", "rsv-of-ping", "A ping with a reserved bit", frame(PING, rsv=RSV3), 1002)
for _opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    _must_fail(
        "ws", f"opcode-{_opcode}", f"The reserved opcode {_opcode}", frame(_opcode, b"x"), 1002
    )
_must_fail("ws", "ping-too-long", "A ping of 126 bytes", frame(PING, b"x" * 126), 1002)
_must_fail("ws", "ping-fragmented", "A ping in fragments", frame(PING, b"x", fin=False), 1002)
_must_fail(
    "ws", "close-fragmented", "A close frame in fragments", frame(CLOSE, b"", fin=False), 1002
)
_must_fail(
    "ws",
    "close-too-long",
    "A close frame of 126 bytes",
    frame(CLOSE, close_payload(1000, b"x" * 124)),
    1002,
)
_must_fail(
    "ws",
    "length-in-16-bits-too-many",
    "A length below 126 in 16 bits",
    frame(TEXT, b"abc", form=126),
    1002,
)
_must_fail(
    "ws",
    "length-in-64-bits-too-many",
    "A length below 65536 in 64 bits",
    frame(TEXT, b"x" * 200, form=127),
    1002,
)
_must_fail(
    "ws",
    "length-of-64-bits",
    "A length with its highest bit set",
    frame_head(BINARY, 1 << 63) + b"\0\0\0\0",
    1002,
    1009,
)


# Fragments


def _goes_on(data: bytes, about: str, t: Trial) -> None:
    channel, ws = begin(t)
    ws.send(data)
    ws.expect_alive(about)
    t.post(channel, b"m")
    ws.expect(b"m", after="POST")


def _must_pass(level: str, name: str, about: str, data: bytes) -> None:
    section.add(
        level,
        f"ws-{name}",
        f"{about} {'are' if about.endswith('s') else 'is'} as it may be, and all goes on",
        partial(_goes_on, data, about),
        NEEDS,
    )


_must_pass(
    "ws",
    "fragments",
    "A text in fragments",
    frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", fin=False) + frame(CONTINUATION, b"c"),
)
_must_pass(
    "ws",
    "empty-fragments",
    "A text in empty fragments",
    frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 3 + frame(CONTINUATION),
)
_must_pass("ws", "empty-text", "An empty text", frame(TEXT))
_must_pass("ws", "long-text", "A text of 70,000 bytes", frame(TEXT, b"x" * 70_000))


@section.check("ws", NEEDS)
def ws_ping_between_fragments(t: Trial) -> None:
    """A ping between fragments is answered at once, and the message goes on."""
    _, ws = begin(t)
    ws.send(frame(TEXT, b"a", fin=False), frame(PING, b"between"))
    ws.expect_pong(b"between", "a ping between fragments")
    ws.send(frame(CONTINUATION, b"b", fin=False), frame(PONG), frame(CONTINUATION, b"c"))
    ws.expect_alive("fragments with control frames between")


@section.check("ws", NEEDS)
def ws_close_between_fragments(t: Trial) -> None:
    """A close frame between fragments is answered."""
    _, ws = begin(t)
    ws.send(frame(TEXT, b"a", fin=False), frame(CLOSE, close_payload(1000)))
    ws.expect_failed("a close frame between fragments", 1000)


_must_fail(
    "ws",
    "continuation-of-nothing",
    "A continuation of nothing",
    frame(CONTINUATION, b"x"),
    1002,
)
_must_fail(
    "ws",
    "continuation-behind-the-end",
    "A continuation behind a message's end",
    frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b") + frame(CONTINUATION, b"c"),
    1002,
)
_must_fail(
    "ws",
    "text-between-fragments",
    "A new message between fragments",
    frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
    1002,
)
_must_fail(
    "ws",
    "binary-between-fragments",
    "A new binary message between fragments",
    frame(BINARY, b"a", fin=False) + frame(BINARY, b"b", fin=False),
    1002,
)


# UTF-8

VALID_TEXTS = (
    "κόσμε",
    "\x00\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff",
    "\ud7ff\ue000\ufffd\ufffe\uffff\U0001fffe\ufdd0",
    "\ufeff",
)


@section.check("ws", NEEDS)
def ws_utf_8(t: Trial) -> None:
    """Text of every length of UTF-8 sequences passes, noncharacters included."""
    _, ws = begin(t)
    for text in VALID_TEXTS:
        ws.send(frame(TEXT, text.encode()))
        ws.expect_alive(f"the text {text!r}")


@section.check("ws", NEEDS)
def ws_utf_8_cut_anywhere(t: Trial) -> None:
    """A UTF-8 sequence may be cut between fragments, at every byte."""
    _, ws = begin(t)
    data = "aκ€🐎".encode()
    for at in range(len(data) + 1):
        ws.send(frame(TEXT, data[:at], fin=False), frame(CONTINUATION, data[at:]))
    ws.send(
        *(frame(CONTINUATION if n else TEXT, bytes([b]), fin=False) for n, b in enumerate(data)),
        frame(CONTINUATION),
    )
    ws.expect_alive("texts cut within sequences")


BAD_UTF_8 = {
    "stray-byte": ("a continuation byte alone", b"a\x80b"),
    "stray-at-the-end": ("a continuation byte too many", b"\xc3\xa9\xa9"),
    "overlong-2": ("2 bytes for what needs 1", b"\xc0\xaf"),
    "overlong-3": ("3 bytes for what needs 2", b"\xe0\x80\xaf"),
    "overlong-4": ("4 bytes for what needs 3", b"\xf0\x80\x80\xaf"),
    "surrogate": ("a surrogate", b"\xed\xa0\x80"),
    "last-surrogate": ("the last surrogate", b"\xed\xbf\xbf"),
    "above-10ffff": ("a code point above U+10FFFF", b"\xf4\x90\x80\x80"),
    "5-bytes": ("a sequence of 5 bytes", b"\xf8\x88\x80\x80\x80"),
    "ff": ("the byte FF", b"a\xff"),
    "unfinished": ("a sequence that the message's end cuts", b"\xce\xba\xe2\x82"),
    "interrupted": ("a sequence that another interrupts", b"\xe2\x82\xce\xba"),
}
for _name, (_about, _bytes) in BAD_UTF_8.items():
    _must_fail("ws", f"utf-8-{_name}", f"Text with {_about}", frame(TEXT, _bytes), 1007)
_must_fail(
    "ws",
    "utf-8-cut-by-the-end",
    "Text whose last fragment ends within a sequence",
    frame(TEXT, b"\xe2", fin=False) + frame(CONTINUATION, b"\x82"),
    1007,
)
_must_fail(
    "ws",
    "utf-8-over-fragments",
    "Text whose fragments are bad only together",
    frame(TEXT, b"\xed", fin=False) + frame(CONTINUATION, b"\xa0\x80"),
    1007,
)
_must_fail(
    "decision",
    "utf-8-fails-at-once",
    "Bad UTF-8 in a first fragment, before the message has ended,",
    frame(TEXT, b"a\xc0\xafb", fin=False),
    1007,
)
_must_pass("ws", "binary-is-any-bytes", "A binary message of any bytes", frame(BINARY, b"\xff\xc0"))


# Closing


@section.check("ws", NEEDS)
def ws_close_is_answered(t: Trial) -> None:
    """A close frame is answered with one of its code, and the server closes the connection."""
    channel, ws = begin(t)
    ws.send(frame(CLOSE, close_payload(1000, b"bye")))
    ws.expect_failed("a close frame", 1000)
    t.expect_held_count(channel, 0, "as the WebSocket is closed")


@section.check("ws", NEEDS)
def ws_close_without_code(t: Trial) -> None:
    """A close frame without a code is answered, and the server closes the connection."""
    _, ws = begin(t)
    ws.send(frame(CLOSE))
    ended = False
    while not ended:
        expect(ws.take() is None, "a close frame", "a message")
        ended = ws.over or (not ws.fill(t.soon) and not ws.over)
    if ws.closed is None:
        raise Failure("a close frame", "none")
    expect(ws.closed.code in (None, 1000), "no code, or 1000", ws.said())
    ws.expect_gone("an empty close frame")


GOOD_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
BAD_CODES = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)


def _code_is_answered(code: int, t: Trial) -> None:
    _, ws = begin(t)
    ws.send(frame(CLOSE, close_payload(code, b"a reason")))
    ws.expect_failed(f"a close frame with {code}", code)


for _code in GOOD_CODES:
    section.add(
        "ws",
        f"ws-close-code-{_code}",
        f"Close code {_code} may be sent, and is answered with itself",
        partial(_code_is_answered, _code),
        NEEDS,
    )
for _code in BAD_CODES:
    _must_fail(
        "ws",
        f"close-code-{_code}",
        f"Close code {_code}, which is never sent,",
        frame(CLOSE, close_payload(_code)),
        1002,
    )
_must_fail("ws", "close-of-1-byte", "A close frame of one byte", frame(CLOSE, b"\3"), 1002)
_must_fail(
    "ws",
    "close-reason-no-utf-8",
    "A close reason that is not UTF-8",
    frame(CLOSE, close_payload(1000, b"a\xff")),
    1007,
)


@section.check("ws", NEEDS)
def ws_nothing_behind_close(t: Trial) -> None:
    """Behind its close frame the server sends nothing, whatever comes."""
    channel, ws = begin(t)
    ws.send(frame(CLOSE, close_payload(1000)), frame(PING, b"late"), frame(TEXT, b"late"))
    ws.expect_end("a close frame", 1000)
    t.post(channel, b"late")
    ws.expect_gone("a close frame")
    expect_equal(ws.pongs, [], "pongs")


@section.check("decision", NEEDS)
def ws_closed_without_a_word(t: Trial) -> None:
    """A client that closes without a close frame is gone, and no longer held."""
    channel, ws = begin(t)
    ws.send(frame(TEXT, b"half a message", fin=False), frame_head(TEXT, 100))
    ws.connection.half_close()
    t.expect_held_count(channel, 0, "as it has closed")
    expect_status(t.post(channel, b"m"), 202, of="POST when nobody is held")


@section.check("ws", NEEDS)
def ws_deleted_and_answered(t: Trial) -> None:
    """When the channel's end is answered with a close frame, the server closes the connection."""
    channel, ws = begin(t)
    t.request(t.options.pub, "DELETE", channel)
    ws.expect_end("DELETE", 1001)
    ws.send(frame(CLOSE, close_payload(1001)))
    ws.expect_gone("both close frames")
