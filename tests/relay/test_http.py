"""HTTP itself: what is accepted, what is refused and how, and how connections end."""

from __future__ import annotations

import re
import time

import pytest

from .client import DATE, Connection, Response, chunked, request_bytes, wait_until
from .conftest import StartRelay
from .daemon import Daemon, config

BODY = b"the body"
POST = request_bytes("POST", "/pub/c", {"Content-Type": "text/plain"}, BODY)
CHUNKED = request_bytes(
    "POST",
    "/pub/c",
    {"Transfer-Encoding": "chunked"},
    chunked(b"the ", b"body", extension=b';name="a b";x', trailer=b"X-Trailer: t\r\n"),
)


def last_body(relay: Daemon, channel: str = "c") -> bytes:
    """The only stored message, which goes with its channel."""
    assert relay.stored(channel) == 1
    body = relay.get(channel).body
    relay.delete(channel)
    return body


@pytest.fixture
def no_channels(shared_relay: Daemon) -> None:
    """The channels that bad requests must not make are not there yet from an earlier failure."""
    for channel in ("bad", "smuggled"):
        shared_relay.delete(channel)


def raw(relay: Daemon, data: bytes) -> tuple[Response, Connection]:
    """Send bytes and read one answer."""
    connection = relay.connect()
    connection.send_some(data)
    return connection.read_final(), connection


# What is accepted


def test_a_connection_is_kept_for_further_requests(relay: Daemon) -> None:
    connection = relay.connect()
    assert connection.request("PUT", "/pub/c").status == 200
    for n in range(20):
        assert connection.request("POST", "/pub/c", body=b"%d" % n).status == 202
    assert connection.request("GET", "/sub/c").body == b"0"
    assert connection.request("GET", "/nowhere").status == 404
    assert connection.request("DELETE", "/pub/c").status == 200


def test_pipelined_requests_are_answered_in_order(relay: Daemon) -> None:
    connection = relay.connect()
    requests = [request_bytes("POST", "/pub/c", body=b"%d" % n) for n in range(50)]
    requests += [request_bytes("GET", "/sub/c"), request_bytes("DELETE", "/pub/c")]
    requests += [request_bytes("GET", "/pub/c"), request_bytes("OPTIONS", "/sub/c")]
    connection.send(b"".join(requests))
    assert [connection.read_response().status for _ in range(50)] == [202] * 50
    assert connection.read_response().body == b"0"
    assert [connection.read_response().status for _ in range(3)] == [200, 404, 200]


def test_a_request_may_come_byte_by_byte(start_relay: StartRelay) -> None:
    relay = start_relay(config(limits={"header_timeout": 600, "body_timeout": 600}))
    for data in (POST, CHUNKED):
        connection = relay.connect()
        connection.send_in_pieces(data, *range(1, len(data)))
        assert connection.read_response().status == 202
        assert last_body(relay) == BODY


@pytest.mark.parametrize("data", [POST, CHUNKED], ids=["length", "chunked"])
def test_a_request_may_be_cut_in_any_place(shared_relay: Daemon, data: bytes) -> None:
    """One connection throughout, so that each cut also follows another request's end."""
    connection = shared_relay.connect()
    for cut in range(1, len(data)):
        connection.send_in_pieces(data, cut)
        response = connection.read_response()
        assert response.status == 202, f"cut at {cut}"
    assert shared_relay.stored("c") == len(data) - 1
    answer = shared_relay.get("c")
    while answer.position.text != shared_relay.info("c")["last_message_id"]:
        assert answer.body == BODY
        answer = shared_relay.get("c", answer.position)
    shared_relay.delete("c")


def test_a_pair_of_requests_may_be_cut_in_any_place(shared_relay: Daemon) -> None:
    """The second is often half read with the first."""
    first = request_bytes("PUT", "/pub/pair", {"X": "y"})
    second = request_bytes("GET", "/pub/pair")
    connection = shared_relay.connect()
    for cut in range(len(first) - 5, len(first) + len(second)):
        connection.send_in_pieces(first + second, cut)
        assert connection.read_response().status == 200
        assert connection.read_response().status == 200


def test_chunks_may_have_extensions_and_trailers(relay: Daemon) -> None:
    assert raw(relay, CHUNKED)[0].status == 202
    assert last_body(relay) == BODY
    many = chunked(
        *(b"%d" % (n % 10) for n in range(500)),
        extension=b"; a = b",
        trailer=b"Content-Length: 3\r\nHost: evil\r\nX: y\r\n",
    )
    head = request_bytes("POST", "/pub/c", {"Transfer-Encoding": "Chunked"})
    response, connection = raw(relay, head + many)
    assert response.status == 202
    assert last_body(relay) == b"0123456789" * 50
    assert connection.request("GET", "/nowhere").status == 404


@pytest.mark.parametrize("size", [b"8", b"08", b"00000008", b"8;", b"8;x", b"8 ;x"])
def test_a_chunk_size_may_have_zeros_in_front_and_an_extension(
    shared_relay: Daemon, size: bytes
) -> None:
    head = request_bytes("POST", "/pub/size", {"Transfer-Encoding": "chunked"})
    response, _ = raw(shared_relay, head + size + b"\r\nthe body\r\n0\r\n\r\n")
    assert response.status == 202
    assert last_body(shared_relay, "size") == BODY


def test_expect_100_continue_is_answered_before_the_body_comes(relay: Daemon) -> None:
    connection = relay.connect()
    for framing, body in (
        ({"Content-Length": "8"}, BODY),
        ({"Transfer-Encoding": "chunked"}, chunked(BODY)),
    ):
        connection.send_request("POST", "/pub/c", {"Expect": "100-continue", **framing})
        assert connection.read_response().status == 100
        connection.send(body)
        assert connection.read_response().status == 202
        assert last_body(relay) == BODY


def test_expect_100_continue_is_not_answered_where_the_body_is_refused(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(publisher={"max_body": 10}))
    headers = {"Expect": "100-continue", "Content-Length": "11"}
    connection = relay.connect()
    connection.send_request("POST", "/pub/c", headers)
    assert connection.read_response().status == 413


def test_an_http_1_0_client_gets_no_100(relay: Daemon) -> None:
    connection = relay.connect()
    headers = {"Expect": "100-continue", "Content-Length": "8"}
    connection.send_request("POST", "/pub/c", headers, version="HTTP/1.0")
    connection.wait_until_read()
    connection.send(BODY)
    assert connection.read_response().status == 202


@pytest.mark.parametrize(
    "target",
    [
        "http://relay.test/pub/absolute",
        "http://10.0.0.1:81/pub/absolute?x",
        "HTTP://[::1]/pub/absolute",
    ],
)
def test_a_target_may_be_in_absolute_form(shared_relay: Daemon, target: str) -> None:
    assert shared_relay.request("POST", target, body=BODY).status == 202
    assert last_body(shared_relay, "absolute") == BODY


def test_empty_lines_before_a_request_are_passed_over(relay: Daemon) -> None:
    connection = relay.connect()
    for _ in range(2):
        connection.send(b"\r\n\r\n" + request_bytes("PUT", "/pub/c"))
        assert connection.read_response().status == 200


@pytest.mark.parametrize(
    "line",
    ["hOST: x", "Host:x", "Host:   x   ", "Host:\tx\t", "Host: x:8001", "Host: [::1]:1", "Host:"],
)
def test_a_host_in_any_form_is_enough(shared_relay: Daemon, line: str) -> None:
    data = f"GET /nowhere HTTP/1.1\r\n{line}\r\n\r\n".encode()
    assert raw(shared_relay, data)[0].status == 404


def test_blanks_around_a_content_length_are_no_part_of_it(relay: Daemon) -> None:
    """A tab after the digits too, which the parser alone would refuse."""
    for value in (b"8", b" 8", b"\t8", b" 8 ", b" 8\t", b"  08 \t "):
        head = b"POST /pub/c HTTP/1.1\r\nHost: x\r\nContent-Length:" + value + b"\r\n\r\n"
        response, connection = raw(relay, head + BODY)
        assert response.status == 202, value
        assert last_body(relay) == BODY
        assert connection.request("GET", "/nowhere").status == 404


def test_http_1_0_is_answered_and_closed(relay: Daemon) -> None:
    connection = relay.connect()
    response = connection.request("POST", "/pub/c", body=BODY, version="HTTP/1.0", host=None)
    assert response.status == 202
    assert response.header("Transfer-Encoding") is None
    connection.assert_closed()
    assert last_body(relay) == BODY


def test_connection_close_is_honoured_and_said(relay: Daemon) -> None:
    for value in ("close", "Close", "x-other, close", "keep-alive,close"):
        connection = relay.connect()
        response = connection.request("PUT", "/pub/c", {"Connection": value})
        assert response.status == 200
        assert "close" in response.tokens("Connection")
        connection.assert_closed()


def test_connection_close_is_honoured_after_a_held_request(relay: Daemon) -> None:
    poll = relay.hold("c", headers={"Connection": "close"})
    relay.publish("c", b"m")
    answer = poll.response()
    assert answer.body == b"m"
    assert "close" in answer.tokens("Connection")
    poll.assert_closed()


@pytest.mark.parametrize("upgrade", ["h2c", "TLS/1.0", "foo"])
def test_an_upgrade_that_is_not_known_is_an_ordinary_request(relay: Daemon, upgrade: str) -> None:
    """The parser would end its work there; what follows must still be read as requests."""
    relay.publish("c", b"m")
    connection = relay.connect()
    headers = {"Connection": "Upgrade", "Upgrade": upgrade}
    connection.send(
        request_bytes("GET", "/sub/c", headers)
        + request_bytes("POST", "/pub/c", headers, b"n")
        + request_bytes("GET", "/nowhere")
    )
    assert connection.read_response().body == b"m"
    assert connection.read_response().status == 202
    assert connection.read_response().status == 404


# What is refused with 400


def head(*lines: bytes, first: bytes = b"GET /pub/bad HTTP/1.1") -> bytes:
    return b"".join(line + b"\r\n" for line in (first, *lines, b""))


def with_chunks(body: bytes) -> bytes:
    return request_bytes("POST", "/pub/bad", {"Transfer-Encoding": "chunked"}) + body


POST_LINE = b"POST /pub/bad HTTP/1.1"
HOST = b"Host: x"
TE = b"Transfer-Encoding: chunked"

BAD = {
    "length and coding": head(HOST, b"Content-Length: 5", TE, first=POST_LINE) + b"0\r\n\r\n",
    "coding and length": head(HOST, TE, b"Content-Length: 5", first=POST_LINE) + b"0\r\n\r\n",
    "coding in 1.0": head(HOST, TE, first=b"POST /pub/bad HTTP/1.0") + b"0\r\n\r\n",
    "lengths differ": head(HOST, b"Content-Length: 3", b"Content-Length: 4", first=POST_LINE)
    + b"abcd",
    "lengths differ in a list": head(HOST, b"Content-Length: 3, 4", first=POST_LINE) + b"abcd",
    "length negative": head(HOST, b"Content-Length: -1", first=POST_LINE),
    "length with plus": head(HOST, b"Content-Length: +3", first=POST_LINE) + b"abc",
    "length in hex": head(HOST, b"Content-Length: 0x3", first=POST_LINE) + b"abc",
    "length empty": head(HOST, b"Content-Length:", first=POST_LINE),
    "length of two numbers": head(HOST, b"Content-Length: 3 3", first=POST_LINE) + b"abc",
    "length overflows": head(HOST, b"Content-Length: 18446744073709551619", first=POST_LINE)
    + b"abc",
    "length overflows far": head(HOST, b"Content-Length: " + b"9" * 60, first=POST_LINE) + b"abc",
    "chunk size empty": with_chunks(b"\r\nabc\r\n0\r\n\r\n"),
    "chunk size no number": with_chunks(b"xyz\r\nabc\r\n0\r\n\r\n"),
    "chunk size negative": with_chunks(b"-3\r\nabc\r\n0\r\n\r\n"),
    "chunk size with plus": with_chunks(b"+3\r\nabc\r\n0\r\n\r\n"),
    "chunk size with 0x": with_chunks(b"0x3\r\nabc\r\n0\r\n\r\n"),
    "chunk size of two numbers": with_chunks(b"3 3\r\nabc\r\n0\r\n\r\n"),
    "chunk size overflows": with_chunks(b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "chunk size only extension": with_chunks(b";x=3\r\nabc\r\n0\r\n\r\n"),
    "chunk longer than its size": with_chunks(b"3\r\nabcd\r\n0\r\n\r\n"),
    "chunk not ended": with_chunks(b"3\r\nabc0\r\n\r\n"),
    "chunk ended by LF": with_chunks(b"3\r\nabc\n0\r\n\r\n"),
    "chunk ended by CR": with_chunks(b"3\r\nabc\r0\r\n\r\n"),
    "chunk size ended by LF": with_chunks(b"3\nabc\r\n0\r\n\r\n"),
    "chunk extension with CR": with_chunks(b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "chunk extension with NUL": with_chunks(b"3;a\0b\r\nabc\r\n0\r\n\r\n"),
    "chunk extension ended by LF": with_chunks(b"3;a\nabc\r\n0\r\n\r\n"),
    "trailer ended by LF": with_chunks(b"0\r\nX: y\n\r\n"),
    "trailer with NUL": with_chunks(b"0\r\nX: y\0z\r\n\r\n"),
    "trailer with CR": with_chunks(b"0\r\nX: y\rz\r\n\r\n"),
    "trailers ended by LF": with_chunks(b"0\r\nX: y\r\n\n"),
    "last chunk ended by LF": with_chunks(b"0\n\r\n"),
    "end of chunks ended by LF": with_chunks(b"0\r\n\n"),
    "folded header": head(HOST, b"X: one", b" two"),
    "folded header with tab": head(HOST, b"X: one", b"\ttwo"),
    "folded first header": head(b" X: one", HOST),
    "blank before colon": head(HOST, b"X : y"),
    "tab before colon": head(HOST, b"X\t: y"),
    "blank in name": head(HOST, b"X Y: z"),
    "blank before colon of a length": head(HOST, b"Content-Length : 3", first=POST_LINE) + b"abc",
    "no name": head(HOST, b": y"),
    "no colon": head(HOST, b"Xy"),
    "odd byte in name": head(HOST, b"X\x01: y"),
    "NUL in name": head(HOST, b"X\0: y"),
    "no host": head(b"X: y"),
    "two hosts": head(HOST, b"Host: y"),
    "two equal hosts": head(HOST, HOST),
    "two content types": head(
        HOST, b"Content-Type: a/b", b"Content-Type: a/b", b"Content-Length: 0", first=POST_LINE
    ),
    "NUL in a value": head(HOST, b"X: a\0b"),
    "CR in a value": head(HOST, b"X: a\rb"),
    "CR in a content type": head(
        HOST, b"Content-Type: a/b\rX: y", b"Content-Length: 0", first=POST_LINE
    ),
    "LF in a content type": head(
        HOST, b"Content-Type: a/b\nX: y", b"Content-Length: 0", first=POST_LINE
    ),
    "NUL in a content type": head(
        HOST, b"Content-Type: a\0b", b"Content-Length: 0", first=POST_LINE
    ),
    "CR in an event name": head(
        HOST, b"X-EventSource-Event: a\rdata: b", b"Content-Length: 0", first=POST_LINE
    ),
    "LF ends a header": b"GET /pub/bad HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    "LF ends the request line": b"GET /pub/bad HTTP/1.1\nHost: x\r\n\r\n",
    "LF ends the head": b"GET /pub/bad HTTP/1.1\r\nHost: x\r\n\n",
    "only LF": b"GET /pub/bad HTTP/1.1\nHost: x\n\n",
    "CR in the target": b"GET /pub/b\rad HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in the target": b"GET /pub/b\0ad HTTP/1.1\r\nHost: x\r\n\r\n",
    "fragment": b"GET /pub/bad#x HTTP/1.1\r\nHost: x\r\n\r\n",
    "fragment behind a query": b"GET /pub/bad?a#x HTTP/1.1\r\nHost: x\r\n\r\n",
    "fragment of an absolute form": b"GET http://x#/pub/bad HTTP/1.1\r\nHost: x\r\n\r\n",
    "empty fragment": b"GET /pub/bad# HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /pub/bad\r\nHost: x\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "no slash": b"GET pub/bad HTTP/1.1\r\nHost: x\r\n\r\n",
    "odd method": b"G@T /pub/bad HTTP/1.1\r\nHost: x\r\n\r\n",
    "other protocol": b"GET /pub/bad ICY/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
}


@pytest.mark.usefixtures("no_channels")
@pytest.mark.parametrize("name", BAD)
def test_a_malformed_request_is_400_and_closes(shared_relay: Daemon, name: str) -> None:
    """And what stands behind it is never taken for a request."""
    smuggled = request_bytes("PUT", "/pub/smuggled")
    response, connection = raw(shared_relay, BAD[name] + smuggled)
    assert response.status == 400
    assert "close" in response.tokens("Connection")
    connection.assert_closed()
    assert shared_relay.info("smuggled") is None
    assert shared_relay.info("bad") is None


@pytest.mark.usefixtures("no_channels")
@pytest.mark.parametrize("name", BAD)
def test_a_malformed_request_is_400_also_byte_by_byte(shared_relay: Daemon, name: str) -> None:
    connection = shared_relay.connect()
    data = BAD[name]
    for n in range(min(len(data), 300)):
        connection.send_some(data[n : n + 1])
    if len(data) > 300:
        connection.send_some(data[300:])
    assert connection.read_response().status == 400
    connection.assert_closed()


@pytest.mark.usefixtures("no_channels")
@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "identity", "xchunked", "chunkedx"])
def test_a_transfer_coding_other_than_chunked_is_501(shared_relay: Daemon, coding: str) -> None:
    data = request_bytes("POST", "/pub/bad", {"Transfer-Encoding": coding}, chunked(b"abc"))
    response, connection = raw(shared_relay, data)
    assert response.status == 501
    connection.assert_closed()
    assert shared_relay.info("bad") is None


@pytest.mark.usefixtures("no_channels")
@pytest.mark.parametrize("coding", ["chunked, gzip", "chunked, chunked", "", ","])
def test_a_transfer_coding_that_does_not_end_as_it_must_is_refused(
    shared_relay: Daemon, coding: str
) -> None:
    data = request_bytes("POST", "/pub/bad", {"Transfer-Encoding": coding}, chunked(b"abc"))
    response, connection = raw(shared_relay, data)
    assert response.status in (400, 501)
    connection.assert_closed()
    assert shared_relay.info("bad") is None


@pytest.mark.parametrize(
    "version", ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/9.9", "HTTP/3.1", "HTTP/0.0"]
)
def test_a_version_other_than_1_0_and_1_1_is_505(shared_relay: Daemon, version: str) -> None:
    response, connection = raw(shared_relay, request_bytes("GET", "/pub/c", version=version))
    assert response.status == 505
    connection.assert_closed()


def test_connect_is_refused(shared_relay: Daemon) -> None:
    response, _ = raw(
        shared_relay,
        b"CONNECT relay.test:443 HTTP/1.1\r\nHost: relay.test:443\r\n\r\n"
        + request_bytes("PUT", "/pub/smuggled"),
    )
    assert 400 <= response.status < 600


# Too large


def test_a_target_over_8_kib_is_414(shared_relay: Daemon) -> None:
    fits = "/nowhere?" + "x" * (8192 - len("/nowhere?"))
    assert shared_relay.request("GET", fits).status == 404
    response, connection = raw(shared_relay, request_bytes("GET", fits + "x"))
    assert response.status == 414
    connection.assert_closed()
    response, connection = raw(shared_relay, request_bytes("GET", fits + "x" * 200_000))
    assert response.status == 414


def test_headers_over_16_kib_are_431(shared_relay: Daemon) -> None:
    one = {"X": "x" * 15_000}
    assert shared_relay.request("GET", "/nowhere", one).status == 404
    many = [(f"X-{n}", "x" * 100) for n in range(100)]
    assert shared_relay.request("GET", "/nowhere", many).status == 404
    for too_much in ({"X": "x" * 17_000}, [(f"X-{n}", "x" * 40) for n in range(400)]):
        response, connection = raw(shared_relay, request_bytes("GET", "/nowhere", too_much))
        assert response.status == 431
        connection.assert_closed()


def test_a_header_without_end_is_431(shared_relay: Daemon) -> None:
    response, _ = raw(shared_relay, b"GET /nowhere HTTP/1.1\r\nX: " + b"x" * 300_000)
    assert response.status == 431


@pytest.mark.usefixtures("no_channels")
def test_trailers_and_extensions_without_end_are_refused(shared_relay: Daemon) -> None:
    for body in (
        b"3;" + b"x" * 300_000,
        b"0\r\nX: " + b"x" * 300_000,
        b"0\r\n" + b"X: y\r\n" * 50_000,
    ):
        response, _ = raw(shared_relay, with_chunks(body))
        assert response.status in (400, 413, 431)
    assert shared_relay.info("bad") is None


def test_the_limits_of_a_head_are_settings(start_relay: StartRelay) -> None:
    relay = start_relay(config(limits={"target_size": "1K", "header_size": 2048}))
    assert raw(relay, request_bytes("GET", "/x?" + "x" * 1021))[0].status == 404
    assert raw(relay, request_bytes("GET", "/x?" + "x" * 1022))[0].status == 414
    assert raw(relay, request_bytes("GET", "/x", {"X": "x" * 1500}))[0].status == 404
    assert raw(relay, request_bytes("GET", "/x", {"X": "x" * 2500}))[0].status == 431


# Too slow


def trickle(connection: Connection, data: bytes) -> float:
    """Send a byte every 20 ms until an answer comes; return the seconds that it took."""
    start = time.monotonic()
    for n in range(len(data)):
        connection.send_some(data[n : n + 1])
        if connection.has_answer(0.02):
            return time.monotonic() - start
    raise AssertionError(f"no answer after {len(data)} bytes")


def test_a_header_that_is_not_complete_in_its_time_is_408(start_relay: StartRelay) -> None:
    relay = start_relay(config(limits={"header_timeout": 0.5}))
    connection = relay.connect()
    connection.send(b"GET /pub/c HTTP/1.1\r\nHost: x\r\n")
    response = connection.read_response()
    assert response.status == 408
    assert "close" in response.tokens("Connection")
    connection.assert_closed()


def test_the_time_for_a_header_counts_for_the_whole(start_relay: StartRelay) -> None:
    relay = start_relay(config(limits={"header_timeout": 0.5}))
    connection = relay.connect()
    seconds = trickle(connection, b"GET /pub/c HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2000)
    assert 0.45 <= seconds < 10
    assert connection.read_response().status == 408


def test_the_time_for_a_body_counts_for_the_whole(start_relay: StartRelay) -> None:
    relay = start_relay(config(limits={"body_timeout": 0.5}))
    for framing in ({"Content-Length": "5000"}, {"Transfer-Encoding": "chunked"}):
        connection = relay.connect()
        connection.send_request("POST", "/pub/c", framing)
        data = b"x" * 2000 if "Content-Length" in framing else b"1\r\nx\r\n" * 400
        assert 0.45 <= trickle(connection, data) < 10
        assert connection.read_response().status == 408
        connection.assert_closed()
    assert relay.info("c") is None


def test_the_time_for_a_header_begins_anew_with_each_request(start_relay: StartRelay) -> None:
    """Requests that are each in time may together take longer."""
    relay = start_relay(config(limits={"header_timeout": 0.6}))
    connection = relay.connect()
    start = time.monotonic()
    while time.monotonic() - start < 0.9:
        assert connection.request("GET", "/nowhere").status == 404
    connection.send(b"GET /x HTTP/1.1\r\n")
    assert connection.read_response().status == 408


def test_a_connection_that_sent_nothing_is_closed_without_a_word(start_relay: StartRelay) -> None:
    relay = start_relay(config(limits={"header_timeout": 0.4, "keepalive_timeout": 0.4}))
    relay.connect().assert_closed()


def test_an_idle_kept_connection_is_closed_without_a_word(start_relay: StartRelay) -> None:
    relay = start_relay(config(limits={"keepalive_timeout": 0.4}))
    connection = relay.connect()
    assert connection.request("GET", "/nowhere").status == 404
    connection.assert_closed()


def test_a_held_request_is_not_idle(start_relay: StartRelay) -> None:
    limits = {"header_timeout": 0.2, "body_timeout": 0.2, "keepalive_timeout": 0.2}
    relay = start_relay(config(subscriber={"timeout": 0.8}, limits=limits))
    poll = relay.poll("c")
    assert poll.response().status == 304
    poll.assert_closed()


# A body that nobody asked for


@pytest.mark.usefixtures("no_channels")
@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/pub/body", 200),
        ("PUT", "/pub/body", 200),
        ("GET", "/sub/body", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/nowhere", 404),
        ("POST", "/sub/body", 405),
        ("PATCH", "/pub/body", 405),
        ("OPTIONS", "/sub/body", 200),
        ("DELETE", "/pub/body2", 404),
    ],
)
@pytest.mark.usefixtures("no_channels")
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_a_body_that_nobody_asked_for_is_never_taken_for_a_request(
    shared_relay: Daemon, method: str, target: str, status: int, coding: str
) -> None:
    shared_relay.publish("body", b"m")
    body = request_bytes("PUT", "/pub/smuggled")
    headers = {}
    if coding == "chunked":
        headers, body = {"Transfer-Encoding": "chunked"}, chunked(body)
    connection = shared_relay.connect()
    for _ in range(2):
        assert connection.request(method, target, headers, body).status == status
    assert connection.request("GET", "/pub/smuggled").status == 404


def test_a_held_request_with_a_body_is_held_and_the_body_dropped(relay: Daemon) -> None:
    poll = relay.connect()
    poll.send_request("GET", "/sub/c", body=request_bytes("PUT", "/pub/smuggled"))
    relay.wait_until_held("c", 1)
    assert relay.info("smuggled") is None
    relay.publish("c", b"m")
    assert poll.read_response().body == b"m"
    assert poll.request("GET", "/nowhere").status == 404


@pytest.mark.parametrize(
    ("method", "target"), [("PUT", "/pub/c"), ("GET", "/nowhere"), ("POST", "/sub/c")]
)
def test_a_body_that_nobody_asked_for_is_413_over_1_mib(
    shared_relay: Daemon, method: str, target: str
) -> None:
    fits = shared_relay.connect()
    assert fits.request(method, target, body=b"x" * 2**20).status != 413
    assert fits.request("GET", "/nowhere").status == 404
    response, connection = raw(
        shared_relay, request_bytes(method, target, {"Content-Length": str(2**20 + 1)})
    )
    assert response.status == 413
    connection.assert_closed()
    body = chunked(*[b"x" * 65536] * 17)
    response, connection = raw(
        shared_relay, request_bytes(method, target, {"Transfer-Encoding": "chunked"}, body)
    )
    # The answer may have gone out before the body was too long; then it ends the connection.
    assert response.status in (200, 404, 405, 413)


# How an answer that closes is closed


def test_an_answer_that_closes_is_not_lost_to_a_reset(start_relay: StartRelay) -> None:
    """What still comes is read and dropped for a moment."""
    relay = start_relay(config(publisher={"max_body": 1000}))
    for _ in range(20):
        connection = relay.connect()
        connection.send_request("POST", "/pub/c", {"Content-Length": str(500_000)})
        for _ in range(50):
            connection.send(b"x" * 10_000)
        assert connection.read_response().status == 413
        connection.assert_closed()


def test_an_answer_that_closes_is_followed_by_fin_at_once(relay: Daemon) -> None:
    """Not when the client closes or what is dropped has ended: it has not."""
    connection = relay.connect()
    connection.send_request("POST", "/pub/c", {"Content-Length": str(2**30)})
    start = time.monotonic()
    assert connection.read_response().status == 413
    connection.assert_closed()
    assert time.monotonic() - start < 1.9


def test_a_client_that_never_stops_after_such_an_answer_is_cut_off(relay: Daemon) -> None:
    connection = relay.connect()
    connection.send_request("POST", "/pub/c", {"Content-Length": str(2**30)})
    assert connection.read_response().status == 413

    def cut_off() -> bool:
        try:
            connection.send(b"x" * 1000)
        except OSError:
            return True
        return False

    wait_until(cut_off, what="the relay to close for good")


def test_a_client_that_hangs_up_early_does_no_harm(relay: Daemon) -> None:
    requests = [POST, CHUNKED, request_bytes("GET", "/sub/d"), request_bytes("DELETE", "/pub/e")]
    for data in requests:
        for cut in range(1, len(data) + 1, 7):
            for end in (Connection.close, Connection.reset, Connection.half_close):
                connection = relay.connect()
                connection.send(data[:cut])
                end(connection)
    wait_until(lambda: relay.held("d") == 0, what="all to have left")
    assert relay.put("f").status == 200


# Every answer


@pytest.mark.parametrize(
    "data",
    [
        request_bytes("GET", "/nowhere"),
        request_bytes("PUT", "/pub/every"),
        request_bytes("POST", "/pub/every", body=b"m"),
        request_bytes("GET", "/sub/every"),
        request_bytes("OPTIONS", "/sub/every"),
        request_bytes("POST", "/sub/every"),
        request_bytes("GET", "/sub/every", {"If-None-Match": "abc"}),
        request_bytes("GET", "/pub/every", {"Origin": "http://evil.example"}),
        request_bytes("GET", "/pub/every", version="HTTP/7.7"),
        BAD["no host"],
        BAD["TLS"],
    ],
)
def test_date_and_server_are_on_every_answer(shared_relay: Daemon, data: bytes) -> None:
    shared_relay.publish("every", b"m")
    response, _ = raw(shared_relay, data)
    assert DATE.fullmatch(response.header("Date") or "")
    assert re.fullmatch(r"pushserver/\d+\.\d+\S*", response.header("Server") or "")


def test_date_and_server_are_on_delayed_answers(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"timeout": 1}))
    delivered, deleted, timed_out = relay.hold("a"), relay.hold("b"), relay.hold("c")
    relay.publish("a", b"m")
    relay.delete("b")
    for poll, status in ((delivered, 200), (deleted, 410), (timed_out, 304)):
        response = poll.response()
        assert response.status == status
        assert DATE.fullmatch(response.header("Date") or "")
        assert response.header("Server")


@pytest.mark.parametrize("name", ["my relay/1.0", None])
def test_servername_is_a_setting(start_relay: StartRelay, name: str | None) -> None:
    relay = start_relay(config(servername=name))
    relay.publish("c", b"m")
    held = relay.hold("d")
    relay.publish("d", b"m")
    for response in (relay.get("c"), relay.request("GET", "/nowhere"), held.response()):
        assert response.header("Server") == name
    assert raw(relay, BAD["no host"])[0].header("Server") == name
