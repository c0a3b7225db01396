"""The tests' own tools against each other: what they would hide, the other tests would miss."""

from __future__ import annotations

import socket

import pytest

from .client import Connection, Position, chunked, request_bytes, wait_until
from .fake_django import FakeDjango

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def exchange(answer: bytes) -> Connection:
    """A Connection whose peer has sent an answer and closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            peer.sendall(answer)
    return connection


def test_fake_django_records_a_notice_and_keeps_the_connection(django: FakeDjango) -> None:
    with Connection(("127.0.0.1", django.port)) as connection:
        for body in (b"channel_id=a%2Fb&subscribe=1", b"channel_id=c+d&unsubscribe=1"):
            answer = connection.request("POST", "/passthrough", {**FORM, "X-Odd": " v "}, body)
            assert answer.status == 204
    notices = django.wait_for(2)
    assert django.events == [("subscribe", "a/b"), ("unsubscribe", "c d")]
    assert [n.connection for n in notices] == [0, 0]
    assert notices[0].header("X-Odd") == b" v "


def test_fake_django_refuses_until_it_listens() -> None:
    with FakeDjango(listen=False) as django:
        with pytest.raises(ConnectionRefusedError):
            Connection(("127.0.0.1", django.port))
        django.listen()
        with Connection(("127.0.0.1", django.port)) as connection:
            assert connection.request("POST", "/", body=b"").status == 204


def test_fake_django_holds_its_answers_while_the_gate_is_shut(django: FakeDjango) -> None:
    django.gate.clear()
    with Connection(("127.0.0.1", django.port)) as connection:
        connection.send_request("POST", "/", body=b"channel_id=a&subscribe=1")
        django.wait_for(1)
        assert not connection.has_answer()
        django.gate.set()
        assert connection.read_response().status == 204


@pytest.mark.parametrize("closes", ["said", "silently", "unanswered"])
def test_fake_django_closes_as_told(django: FakeDjango, closes: str) -> None:
    django.closes = closes
    with Connection(("127.0.0.1", django.port)) as connection:
        connection.send_request("POST", "/", body=b"channel_id=a&subscribe=1")
        if closes != "unanswered":
            answer = connection.read_response()
            assert ("close" in answer.tokens("Connection")) == (closes == "said")
        connection.assert_closed()


def test_fake_django_takes_no_second_request_of_a_connection_as_told(django: FakeDjango) -> None:
    django.closes = "reused"
    with Connection(("127.0.0.1", django.port)) as connection:
        assert connection.request("POST", "/", body=b"channel_id=a&subscribe=1").status == 204
        connection.send_request("POST", "/", body=b"channel_id=a&unsubscribe=1")
        with pytest.raises(ConnectionResetError):
            connection.read_response()
    django.wait_for(1)


def test_client_reads_answers_that_follow_each_other() -> None:
    with exchange(
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
        b"HTTP/1.1 304 Not Modified\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"de", b"f")
    ) as connection:
        answers = [connection.read_response() for _ in range(4)]
        assert [a.status for a in answers] == [100, 200, 304, 200]
        assert [a.body for a in answers] == [b"", b"abc", b"", b"def"]
        connection.assert_closed()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nno length, and not said to close",
    ],
)
def test_client_refuses_an_answer_that_is_framed_badly(answer: bytes) -> None:
    with exchange(answer) as connection, pytest.raises(AssertionError):
        connection.read_response()


def test_positions_compare_as_their_ids_do() -> None:
    assert Position.at(1795217222, 7).last_modified == "Fri, 20 Nov 2026 23:27:02 GMT"
    assert Position("Fri, 20 Nov 2026 23:27:02 GMT", '"7"').text == "1795217222:7"
    assert Position.at(5, 10).id > Position.at(5, 9).id


def test_request_bytes_frame_a_body_once() -> None:
    assert request_bytes("POST", "/", body=b"ab").endswith(b"Content-Length: 2\r\n\r\nab")
    assert b"Length" not in request_bytes("POST", "/", {"Transfer-Encoding": "chunked"}, b"")


def test_wait_until_says_what_did_not_come() -> None:
    with pytest.raises(AssertionError, match="the moon"):
        wait_until(lambda: False, timeout=0.01, what="the moon")
