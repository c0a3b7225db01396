"""Frames of RFC 6455: bytes out as any client, right or wrong, and bytes in, read strictly."""

from __future__ import annotations

import struct
from typing import NamedTuple

from .wire import MOST_BYTES, Failure, brief

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NAMES = {
    **{CONTINUATION: "a continuation", TEXT: "text", BINARY: "binary"},
    **{CLOSE: "close", PING: "ping", PONG: "pong"},
}
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10

MASK = b"\x37\xfa\x21\x3d"


def masked(payload: bytes, mask: bytes = MASK) -> bytes:
    if not payload:
        return b""
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return number.to_bytes(len(payload), "big")


def frame_head(opcode: int, length: int, *, fin: bool = True, rsv: int = 0, form: int = 0) -> bytes:
    """A frame's first bytes, of a client: that it is masked is said.

    form: 126 or 127, for a length in more bytes than it needs.
    """
    first = (0x80 if fin else 0) | rsv | opcode
    if form == 127 or length > 0xFFFF:
        return struct.pack("!BBQ", first, 0xFF, length)
    if form == 126 or length > 125:
        return struct.pack("!BBH", first, 0xFE, length)
    return struct.pack("!BB", first, 0x80 | length)


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, form: int = 0
) -> bytes:
    """A whole frame of a client."""
    head = frame_head(opcode, len(payload), fin=fin, rsv=rsv, form=form)
    return head + MASK + masked(payload)


def unmasked_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A frame as only servers may send it. payload: at most 125 bytes."""
    return struct.pack("!BB", 0x80 | opcode, len(payload)) + payload


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


class Frame(NamedTuple):
    """A frame of a server."""

    opcode: int
    payload: bytes
    fin: bool
    compressed: bool  # RSV1

    def __str__(self) -> str:
        name = NAMES.get(self.opcode, f"opcode {self.opcode}")
        return f"{name} {brief(self.payload)}"

    @property
    def code(self) -> int | None:
        """The code of a close frame, if it has one."""
        if len(self.payload) < 2:
            return None
        code: int = struct.unpack("!H", self.payload[:2])[0]
        return code


def read_frame(buffer: bytes) -> tuple[Frame, bytes] | None:
    """The first frame and what is behind it; None if it is not whole.

    Raises Failure for what no server may send, whatever was negotiated.
    """
    if len(buffer) < 2:
        return None
    first, second = buffer[0], buffer[1]
    opcode, fin, length, start = first & 0x0F, bool(first & 0x80), second & 0x7F, 2
    _refuse(bool(second & 0x80), "a frame of a server not to be masked", buffer)
    _refuse(bool(first & (RSV2 | RSV3)), "the bits RSV2 and RSV3 to be 0", buffer)
    _refuse(opcode not in NAMES, "an opcode that RFC 6455 has", buffer)
    _refuse(opcode >= CLOSE and not fin, "a control frame not to be fragmented", buffer)
    _refuse(opcode >= CLOSE and length > 125, "a control frame of at most 125 bytes", buffer)
    _refuse(opcode >= CLOSE and bool(first & RSV1), "a control frame without RSV1", buffer)
    if length >= 126:
        size = 2 if length == 126 else 8
        if len(buffer) < 2 + size:
            return None
        start = 2 + size
        length = int.from_bytes(buffer[2:start], "big")
        _refuse(length < (126 if size == 2 else 1 << 16), "a length in its shortest form", buffer)
        _refuse(length > MOST_BYTES, "a length that can be", buffer)
    if len(buffer) < start + length:
        return None
    payload = buffer[start : start + length]
    return Frame(opcode, payload, fin, bool(first & RSV1)), buffer[start + length :]


def _refuse(condition: bool, expected: str, buffer: bytes) -> None:
    if condition:
        raise Failure(expected, f"a frame that begins with {brief(buffer[:10])}")
