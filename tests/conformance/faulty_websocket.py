"""WebSockets of the faulty server: RFC 6455 and RFC 7692, but for one clause; see faulty.py."""

from __future__ import annotations

import base64
import codecs
import hashlib
import json
import re
import struct
import time
import zlib
from typing import TYPE_CHECKING

from faulty_forms import FOREVER, Form, said_channel
from faulty_http import Answer, Broken, Request
from faulty_store import Channel, Location, Message

if TYPE_CHECKING:
    from faulty_streaming import Streaming

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
META = "ws+meta.nchan"
META_MORE = "ws+meta.pushserver"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
LINGER = 0.5  # seconds for the client's close frame
RSV = {0x40: "ws-rsv1-1002", 0x20: "ws-rsv2-1002", 0x10: "ws-rsv3-1002"}


class Failed(Exception):
    """What the client sent ends the connection."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Handshake:
    """What a handshake asks for, and what it is answered."""

    def __init__(self, broken: Broken, location: Location, request: Request) -> None:
        self.broken = broken
        self.location = location
        self.request = request
        self.key = request.header("sec-websocket-key")
        self.meta = self.more = False
        self.deflate = False
        self.bits = 15

    def refusal(self) -> Answer | None:
        """The answer to what is no handshake, or may not come."""
        request, broken = self.request, self.broken
        if not self.origin_passes():
            return Answer(403)
        if name := self.wrong_key():
            return None if broken(f"ws-key-{name}-400") else Answer(400)
        version = request.header("sec-websocket-version")
        if version is None and not broken("ws-version-missing"):
            return Answer(400)
        if version not in (None, "13"):
            fields = [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")]
            if broken("ws-version-other-426"):
                return Answer(426, fields[1:])
            if broken("ws-refused-connection-goes-on"):
                fields.append(("Transfer-Encoding", "chunked"))
            return Answer(426, fields)
        return None

    def wrong_key(self) -> str | None:
        """What is wrong with the key, by the name of its check."""
        if self.key is None:
            return "missing"
        if not self.key:
            return "empty"
        try:
            length = len(base64.b64decode(self.key, validate=True))
        except ValueError:
            return "no-base64"
        return None if length == 16 else "short" if length < 16 else "long"

    def origin_passes(self) -> bool:
        origin, where, broken = self.request.header("origin"), self.location, self.broken
        if not where.credentials:
            return not (origin and broken("ws-origin-any-without-credentials"))
        if origin is None:
            return not broken("ws-origin-none")
        if origin in where.origins:
            return not broken("ws-origin-allowed")
        if origin == f"http://{self.request.header('host')}":
            return not broken("ws-origin-own-host")
        return broken("ws-origin-stranger-403")

    def fields(self) -> list[tuple[str, str]]:
        """The headers of the 101."""
        broken = self.broken
        key = (self.key or "").encode()
        if broken("ws-accept-is-of-the-key"):
            key = b"dGhlIHNhbXBsZSBub25jZQ=="
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()
        upgrade = "h2c" if broken("ws-101-says-upgrade") else "websocket"
        fields = [("Upgrade", upgrade), ("Connection", "Upgrade")]
        fields.append(("Sec-WebSocket-Accept", accept))
        offered = ",".join(self.request.all("sec-websocket-protocol")).split(",")
        offered = [name.strip() for name in offered]
        if broken("ws-meta-is-accepted"):
            offered = offered[:1]
        self.more = META_MORE in offered
        self.meta = META in offered or self.more
        if self.meta:
            fields.append(("Sec-WebSocket-Protocol", META_MORE if self.more else META))
        elif broken("ws-unknown-subprotocol") and any(offered):
            fields.append(("Sec-WebSocket-Protocol", offered[0]))
        elif broken("ws-nothing-unasked"):
            fields.append(("Sec-WebSocket-Protocol", META))
        extension = self.extension()
        if extension is not None:
            fields.append(("Sec-WebSocket-Extensions", extension))
        return fields

    def extension(self) -> str | None:
        """What is accepted of the extensions that are offered."""
        broken = self.broken
        offers = self.offers()
        if offers and offers[0][0] == "foo" and broken("ws-unknown-extension"):
            return "foo"
        off = not self.location.deflate and not broken("deflate-off-is-declined")
        if off or broken("deflate-is-accepted"):
            return None
        if broken("deflate-next-offer"):
            offers = offers[:1]
        for name, parameters in offers:
            if name == "permessage-deflate" and self.acceptable(parameters):
                return self.accept(dict(parameters))
        return None

    def offers(self) -> list[tuple[str, list[tuple[str, str | None]]]]:
        result = []
        for item in ",".join(self.request.all("sec-websocket-extensions")).split(","):
            name, *rest = (part.strip() for part in item.split(";"))
            parameters: list[tuple[str, str | None]] = []
            for part in rest:
                key, equals, value = (piece.strip() for piece in part.partition("="))
                if not self.broken("deflate-quoted-value"):
                    value = value.strip('"')
                parameters.append((key, value if equals else None))
            if name:
                result.append((name, parameters))
        return result

    def acceptable(self, parameters: list[tuple[str, str | None]]) -> bool:
        broken = self.broken
        names = [name for name, _ in parameters]
        if len(set(names)) < len(names) and not broken("deflate-offer-doubled-parameter"):
            return False
        return all(self.fits(name, value) for name, value in parameters)

    def fits(self, name: str, value: str | None) -> bool:
        broken = self.broken
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            side = "" if name.startswith("server") else "-the-clients"
            clause = f"deflate-offer-value-of{side or '-a'}-flag"
            return value is None or broken(clause)
        if name not in ("server_max_window_bits", "client_max_window_bits"):
            return broken("deflate-offer-unknown-parameter")
        if value is None:
            without = broken("deflate-offer-bits-without-value")
            return name == "client_max_window_bits" or without
        clauses = {
            "7": "bits-7",
            "16": "bits-16" if name.startswith("server") else "bits-of-client-16",
            "010": "bits-with-a-zero",
            "ten": "bits-no-number",
        }
        if value in clauses:
            return broken(f"deflate-offer-{clauses[value]}")
        return bool(re.fullmatch(r"9|1[0-5]", value))  # 8 is what zlib cannot do

    def accept(self, parameters: dict[str, str | None]) -> str:
        broken = self.broken
        self.deflate = True
        said = ["permessage-deflate"]
        if not broken("deflate-server-context-as-asked"):
            said.append("server_no_context_takeover")
        said.append("client_no_context_takeover")
        bits = parameters.get("server_max_window_bits")
        if bits is not None and bits.isdigit() and 9 <= int(bits) <= 15:
            self.bits = 15 if broken("deflate-within-its-window") else int(bits)
            if not broken("deflate-server-bits-as-asked"):
                said.append(f"server_max_window_bits={bits}")
        if broken("deflate-client-bits-unasked"):
            said.append("client_max_window_bits=15")
        if broken("deflate-answer-is-well-formed"):
            said.append("x_own=1")
        return "; ".join(said)


class SocketForm(Form):
    """The conversation behind a handshake."""

    def __init__(self, streaming: Streaming, handshake: Handshake) -> None:
        super().__init__(streaming)
        self.handshake = handshake
        self.early = streaming.http.buffer
        streaming.http.buffer = b""
        if self.broken("ws-frames-with-the-handshake"):
            self.early = b""
        self.buffer = b""
        self.fault = streaming.subscribing.conversation.server.fault or ""
        self.opcode: int | None = None  # of the message whose fragments come
        self.compressed = False
        self.data = b""
        self.decoder = self.new_decoder()
        self.closing_since: float | None = None
        self.closed_by_client = False
        self.pinged_at: float | None = None
        self.context: zlib._Compress | None = None

    # Out

    def head(self) -> None:
        lines = ["HTTP/1.1 101 Switching Protocols"]
        lines += [f"{name}: {value}" for name, value in self.handshake.fields()]
        self.socket.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def send(self, opcode: int, payload: bytes, rsv: int = 0) -> None:
        if self.closing_since is not None:
            return
        first, length = 0x80 | rsv | opcode, len(payload)
        if length > 65535:
            head = struct.pack("!BBQ", first, 127, length)
        elif length > 125 or (length == 125 and self.broken("ws-lengths")):
            head = struct.pack("!BBH", first, 126, length)
        else:
            head = struct.pack("!BB", first, length)
        self.socket.sendall(head + payload)

    def message(self, channel: Channel, message: Message, body: bytes, gap: bool) -> None:
        binary = message.content_type == "application/octet-stream"
        binary = binary and not self.broken("ws-binary-for-octet-stream")
        text = True
        try:
            body.decode()
        except UnicodeDecodeError:
            text = self.broken("ws-binary-where-not-utf-8")
        if message.content_type == "image/png" and self.broken("ws-text"):
            binary = True
        if self.handshake.meta:
            body = self.meta(channel, message, gap) + body
            if not text and self.broken("ws-meta-binary"):
                text, binary = True, False
        self.send_data(TEXT if text and not binary else BINARY, body)

    def meta(self, channel: Channel, message: Message, gap: bool) -> bytes:
        lines = [] if self.broken("ws-meta-lines") else [f"id: {message.id[0]}:{message.id[1]}"]
        if message.content_type is not None:
            lines.append(f"content-type: {message.content_type}")
        elif self.broken("ws-meta-without-content-type"):
            lines.append("content-type: ")
        more = self.handshake.more and not self.broken("ws-more-meta-lines")
        if more and message.event is not None:
            lines.append(f"event: {message.event}")
        if more and gap and not self.broken("gap-of-a-socket"):
            lines.append("gap: 1")
        if (more or self.location.say_channel) and not self.broken("say-channel-in-meta"):
            lines.append(f"channel: {said_channel(channel)}")
        if not message.body and self.broken("ws-meta-of-an-empty-message"):
            return b""
        if self.broken("deflate-with-meta"):
            lines = lines[1:] or ["x: y"]
        return "\n".join(lines).encode("latin-1") + b"\n\n"

    def send_data(self, opcode: int, body: bytes) -> None:
        deflates = self.handshake.deflate and len(body) > 50
        if self.broken("deflate-for-some-only") and self.location.deflate and len(body) > 50:
            deflates = True
        if not deflates or self.broken("deflate-compresses"):
            return self.send(opcode, body)
        maker = zlib.compressobj(wbits=-self.handshake.bits)
        if self.broken("deflate-without-context"):
            maker = self.context = self.context or maker
        data = maker.compress(body) + maker.flush(zlib.Z_SYNC_FLUSH)
        data = data.removesuffix(b"\0\0\xff\xff")
        if self.broken("deflate-messages"):
            data = data[:-5]
        self.send(opcode, data, 0x40)

    def ping(self) -> None:
        text = self.location.ping_message
        if text is not None:
            if not self.broken("ws-ping-message"):
                self.send(TEXT, text.encode())
            return
        if not self.broken("ws-server-pings"):
            self.send(PING, b"")
        if self.pinged_at is None and not self.broken("ws-dead-peer-is-gone"):
            self.pinged_at = time.monotonic()

    def deadline(self) -> float:
        if self.closing_since is not None:
            return self.closing_since + LINGER
        if self.pinged_at is not None:
            timeout: float = self.location.ping_timeout
            return self.pinged_at + timeout
        return FOREVER

    def end(self, outcome: int) -> None:
        code = {304: 1000, 410: 1001}.get(outcome, 1008)
        self.close(code, b"")
        self.settle()

    def refuse(self, status: int, words: str) -> None:
        self.close(1008, json.dumps({"http_status": status, "explain": words}).encode())
        self.settle()

    def close(self, code: int | None, reason: bytes) -> None:
        self.send(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)
        self.closing_since = time.monotonic()

    def settle(self) -> None:
        """Wait for the client's close frame, and close so that nothing is lost."""
        if self.broken("ws-deleted-and-answered"):
            self.streaming.subscribing.conversation.server.stopping.wait(3.0)
        end = time.monotonic() + LINGER
        try:
            while not self.closed_by_client and (left := end - time.monotonic()) > 0:
                self.socket.settimeout(left)
                data = self.socket.recv(1 << 16)
                if not data:
                    break
                self.buffer += data
                self.read_frames()
        except (OSError, Failed):
            pass
        self.over = True

    # In

    def take_from_client(self, data: bytes) -> None:
        data, self.early = self.early + data, b""
        self.buffer += data
        if data and (self.pinged_at is None or not self.broken("ws-any-frame-is-life")):
            self.pinged_at = None
        try:
            self.read_frames()
            # Of bytes sent one by one a busy machine reads several at once, but not all.
            if self.broken("ws-ping-byte-by-byte"):
                self.buffer = b""
        except Failed as failed:
            self.close(failed.code, b"")
            # The connection is closed at once, and what still comes is dropped.
            self.streaming.leave()
            self.streaming.http.end()
            self.over = True
        if self.closed_by_client:
            self.over = True
            self.streaming.leave()
            if not self.broken("ws-close-is-answered"):
                self.streaming.http.end()
            else:
                self.streaming.subscribing.conversation.server.stopping.wait(3.0)

    def require(self, condition: bool, code: int, *clauses: str) -> None:
        """Fail the connection unless the condition holds, or its clause is the broken one."""
        if not condition and not any(self.broken(clause) for clause in clauses):
            raise Failed(code)

    def read_frames(self) -> None:
        while not self.closed_by_client and (frame := self.read_frame()) is not None:
            fin, rsv1, opcode, payload = frame
            if opcode >= CLOSE:
                self.control(opcode, payload)
            else:
                self.fragment(fin, rsv1, opcode, payload)

    def read_frame(self) -> tuple[bool, bool, int, bytes] | None:
        buffer = self.buffer
        if len(buffer) < 2:
            return None
        fin, opcode = bool(buffer[0] & 0x80), buffer[0] & 0x0F
        masked, length, start = bool(buffer[1] & 0x80), buffer[1] & 0x7F, 2
        control, ping = opcode >= CLOSE, opcode == PING
        self.require(masked, 1002, "ws-unmasked-ping-1002" if ping else "ws-unmasked-1002")
        self.check_bits(buffer[0], opcode)
        known = opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
        self.require(known, 1002, f"ws-opcode-{opcode}-1002")
        name = "ping" if ping else "close"
        self.require(fin or not control, 1002, f"ws-{name}-fragmented-1002")
        self.require(length < 126 or not control, 1002, f"ws-{name}-too-long-1002")
        size = {126: 2, 127: 8}.get(length, 0)
        if len(buffer) < start + size:
            return None
        if size:
            length = int.from_bytes(buffer[2 : 2 + size], "big")
            least, bits = (126, 16) if size == 2 else (65536, 64)
            self.require(length >= least, 1002, f"ws-length-in-{bits}-bits-too-many-1002")
        self.require(length < 1 << 63, 1002, "ws-length-of-64-bits-1002")
        self.check_size(length, control)
        start += size + 4 * masked
        if len(buffer) < start + length:
            return None
        payload = buffer[start : start + length]
        if masked and payload:
            payload = unmask(payload, buffer[start - 4 : start])
        self.buffer = buffer[start + length :]
        return fin, bool(buffer[0] & 0x40), opcode, payload

    def check_bits(self, first: int, opcode: int) -> None:
        deflate = self.handshake.deflate
        names = {PING: "ping", CLOSE: "close-frame", CONTINUATION: "continuation"}
        for bit, clause in RSV.items():
            if not first & bit or (bit == 0x40 and deflate and opcode in (TEXT, BINARY)):
                continue
            clauses = [clause]
            if opcode == PING:
                clauses.append("ws-rsv-of-ping-1002")
            if bit == 0x40 and opcode == TEXT:
                clauses.append("deflate-unnegotiated-1002")
            if bit == 0x40 and deflate and opcode in names:
                clauses.append(f"deflate-rsv1-of-a-{names[opcode]}-1002")
            self.require(False, 1002, *clauses)

    def check_size(self, length: int, control: bool) -> None:
        if control or not self.location.allow_publish:
            return
        most = self.location.max_body
        if self.broken("ws-publishes-up-to-max-body"):
            most -= 1
        self.require(length <= most, 1009, "ws-too-big-1009")
        together = len(self.data) + length
        self.require(together <= most, 1009, "ws-fragments-too-big-1009", "ws-too-big-1009")

    # Data

    def new_decoder(self) -> codecs.IncrementalDecoder:
        return codecs.getincrementaldecoder("utf-8")()

    def fragment(self, fin: bool, rsv1: bool, opcode: int, payload: bytes) -> None:
        nothing = "ws-continuation-of-nothing-1002", "ws-continuation-behind-the-end-1002"
        if opcode == CONTINUATION:
            self.require(self.opcode is not None, 1002, *nothing)
            self.opcode = TEXT if self.opcode is None else self.opcode
        else:
            name = "text" if opcode == TEXT else "binary"
            self.require(self.opcode is None, 1002, f"ws-{name}-between-fragments-1002")
            self.opcode, self.compressed, self.data = opcode, rsv1, b""
            self.decoder = self.new_decoder()
        if self.broken("ws-fragments") and not fin:
            raise Failed(1003)
        if not payload and not fin and self.broken("ws-empty-fragments"):
            raise Failed(1002)
        self.data += payload
        if not self.compressed:
            self.check_text(payload, fin)
        if fin:
            self.whole()

    def check_text(self, payload: bytes, last: bool) -> None:
        if self.opcode != TEXT and not (payload and self.broken("ws-binary-is-any-bytes")):
            return
        fault = self.fault
        if fault == "ws-utf-8-fails-at-once-1007":
            if not last:
                return
            payload = self.data
        if fault == "ws-utf-8-cut-anywhere":
            last, self.decoder = True, self.new_decoder()
        try:
            text = self.decoder.decode(payload, last)
        except UnicodeDecodeError:
            tolerated = "ws-bad-text-is-not-published", "deflate-bad-text-1007"
            if fault.startswith("ws-utf-8-") and fault.endswith("1007") or fault in tolerated:
                return
            raise Failed(1007) from None
        if "\ufffe" in text and self.broken("ws-utf-8"):
            raise Failed(1007)

    def whole(self) -> None:
        """A message of the client is complete."""
        assert self.opcode is not None
        data, opcode = self.data, self.opcode
        if self.compressed:
            data = self.inflated(data)
            self.check_text(data, True)
        self.opcode, self.data = None, b""
        if not data and self.broken("ws-empty-text"):
            raise Failed(1002)
        if len(data) > 60_000 and self.broken("ws-long-text") and not self.location.allow_publish:
            raise Failed(1009)
        beat = self.location.heartbeat
        if beat is not None and opcode == TEXT and data == beat[0].encode():
            answer = beat[0] if self.broken("ws-heartbeat") else beat[1]
            return self.send(TEXT, answer.encode())
        if self.location.allow_publish or self.broken("ws-messages-are-dropped"):
            self.publish(opcode, data)

    def inflated(self, data: bytes) -> bytes:
        most = self.location.max_body if self.location.allow_publish else 1 << 22
        if self.broken("deflate-from-the-client"):
            raise Failed(1003)
        maker = zlib.decompressobj(-15)
        limit = 1 << 24 if self.broken("deflate-bomb-1009") else most + 1
        try:
            result = maker.decompress(data + b"\0\0\xff\xff", limit)
        except zlib.error:
            if self.broken("deflate-invalid-data"):
                return b""
            raise Failed(1007) from None
        self.require(len(result) <= most, 1009, "deflate-bomb-1009")
        return result

    def publish(self, opcode: int, data: bytes) -> None:
        kinds = {TEXT: "text/plain", BINARY: "application/octet-stream"}
        if self.broken("ws-publishes-text"):
            kinds[TEXT] = "text/html"
        if self.broken("ws-publishes-binary"):
            kinds[BINARY] = "text/plain"
        clauses = "ws-publishes-fragments", "ws-publishes-byte-by-byte", "deflate-publishes"
        if any(self.broken(clause) for clause in clauses):
            data = data[:1]
        self.streaming.subscribing.publish(data, kinds[opcode], self.streaming.channels[0])

    # Control

    def control(self, opcode: int, payload: bytes) -> None:
        between = self.opcode is not None
        if opcode == PING:
            if between and self.broken("ws-ping-between-fragments"):
                return
            if self.broken("ws-pings-in-one-packet") and b"\x89" in self.buffer[:1]:
                payload = b"0"
            elif self.broken("ws-pings-in-one-packet") and payload == b"9":
                return
            if len(payload) > 5 and self.broken("ws-ping-is-answered"):
                payload = payload[:5]
            self.send(PONG, payload)
        elif opcode == PONG:
            if self.pinged_at is None and self.broken("ws-pong-unasked"):
                raise Failed(1002)
        elif self.closing_since is not None:
            self.closed_by_client = True
        elif opcode == CLOSE:
            self.answer_close(payload, between)

    def answer_close(self, payload: bytes, between: bool) -> None:
        if between and self.broken("ws-close-between-fragments"):
            raise Failed(1002)
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
        if len(payload) == 1:
            self.require(False, 1002, "ws-close-of-1-byte-1002")
        if code is not None:
            good = 1000 <= code <= 1014 and code not in (1004, 1005, 1006) or 3000 <= code < 5000
            self.require(good, 1002, f"ws-close-code-{code}-1002")
            try:
                payload[2:].decode()
            except UnicodeDecodeError:
                self.require(False, 1007, "ws-close-reason-no-utf-8-1007")
        if code is None and self.broken("ws-close-without-code"):
            code = 1005
        if self.broken(f"ws-close-code-{code}"):
            code = 1002 if code != 1002 else 1000
        if self.broken("ws-nothing-behind-close"):
            self.send(CLOSE, struct.pack("!H", code or 1000))
            self.send(PONG, b"late")
        else:
            self.close(code, b"")
        self.closing_since = time.monotonic()
        self.closed_by_client = True


def unmask(payload: bytes, mask: bytes) -> bytes:
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return number.to_bytes(len(payload), "big")
