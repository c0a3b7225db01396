"""The drain: held subscribers are ended properly, publishers answered, exit 0 within 5 s."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from .client import Connection, wait_until
from .conftest import StartRelay
from .daemon import OK, Daemon, config

DRAIN = 5.0
SLACK = 5.0  # seconds that a loaded machine may be late


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_ends_held_polls_like_their_time_out_and_exits_0(
    relay: Daemon, number: int
) -> None:
    (position,) = relay.publish("c", b"m")
    polls = [relay.poll("c", position) for _ in range(20)] + [relay.poll("d")]
    relay.wait_until_held("c", 20)
    relay.wait_until_held("d", 1)
    start = time.monotonic()
    relay.send_signal(number)
    answers = [poll.response() for poll in polls]
    for answer in answers:
        assert answer.status == 304
        assert "close" in answer.tokens("Connection")
    assert all(answer.position == position for answer in answers[:-1])
    assert answers[-1].header("Etag") is None
    for poll in polls:
        poll.assert_closed()
        poll.close()
    assert relay.wait() == OK
    assert time.monotonic() - start < DRAIN + SLACK


def test_shutdown_uses_the_locations_timeout_status(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"timeout_status": 408}))
    poll = relay.hold("c")
    relay.send_signal(signal.SIGTERM)
    assert poll.response().status == 408


def test_shutdown_shows_cors_headers_on_what_it_ends(relay: Daemon) -> None:
    poll = relay.hold("c", headers={"Origin": "http://page.example"})
    relay.send_signal(signal.SIGTERM)
    assert poll.response().header("Access-Control-Allow-Origin") == "*"


def test_shutdown_closes_idle_connections(relay: Daemon) -> None:
    used, fresh = relay.connect(), relay.connect()
    assert used.request("GET", "/pub/c").status == 404
    relay.send_signal(signal.SIGTERM)
    used.assert_closed()
    fresh.assert_closed()
    assert relay.wait() == OK


def test_shutdown_does_not_wait_for_a_request_that_never_ends(relay: Daemon) -> None:
    head, body = relay.connect(), relay.connect()
    head.send(b"GET /pub/c HTTP/1.1\r\nHost: x\r\n")
    head.wait_until_read()
    body.send_request("POST", "/pub/c", {"Content-Length": "100"})
    body.send(b"only this")
    body.wait_until_read()
    relay.allow_log("warning: the drain takes too long")
    start = time.monotonic()
    relay.send_signal(signal.SIGTERM)
    assert relay.wait() == OK
    assert time.monotonic() - start < DRAIN + SLACK


def test_shutdown_does_not_wait_for_a_reader_that_takes_nothing(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"max_body": "16M"}))
    relay.hold("c", receive_buffer=4096)
    assert relay.post("c", b"x" * 2**23).status == 201
    relay.allow_log("warning: the drain takes too long")
    start = time.monotonic()
    relay.send_signal(signal.SIGTERM)
    assert relay.wait() == OK
    assert time.monotonic() - start < DRAIN + SLACK


def test_shutdown_answers_each_publisher_or_closes_before_taking_its_message(
    relay: Daemon,
) -> None:
    """No answer is cut: each is whole, or there is none."""
    statuses: list[int] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def publish(number: int) -> None:
        try:
            with Connection(relay.address) as connection:
                while not stop.is_set():
                    connection.send_some(b"")
                    connection.send_request("POST", f"/pub/{number}", body=b"m")
                    statuses.append(connection.read_response().status)
        except EOFError as error:
            if "before" not in str(error) or not str(error).endswith("b''"):
                failures.append(error)
        except OSError:
            pass  # refused, or the connection had been closed before the request came
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(statuses) > 100, what="publishers at work")
    relay.send_signal(signal.SIGTERM)
    code = relay.wait()
    stop.set()
    for thread in threads:
        thread.join()
    assert code == OK
    assert not failures
    assert set(statuses) == {202}


def test_connections_are_refused_after_shutdown(relay: Daemon) -> None:
    relay.send_signal(signal.SIGTERM)
    assert relay.wait() == OK
    with pytest.raises(ConnectionRefusedError):
        relay.connect()


def test_a_second_signal_while_draining_does_no_harm(relay: Daemon) -> None:
    poll = relay.hold("c")
    relay.send_signal(signal.SIGTERM)
    relay.send_signal(signal.SIGTERM)
    relay.send_signal(signal.SIGINT)
    assert poll.response().status == 304
    poll.close()
    assert relay.wait() == OK


def test_signals_until_the_very_end_leave_the_exit_code_0(relay: Daemon) -> None:
    """An impatient Ctrl-C, or a terminal and a parent that both pass the signal on."""
    relay.hold("c")

    def ended() -> bool:
        if relay.process.poll() is None:
            relay.send_signal(signal.SIGTERM)
        relay.close_connections()
        return relay.process.poll() is not None

    wait_until(ended, what="the end")
    assert relay.wait() == OK


def test_a_relay_with_two_thousand_subscribers_drains(relay: Daemon) -> None:
    polls = [relay.poll(f"c{n % 50}") for n in range(2000)]
    for n in range(50):
        relay.wait_until_held(f"c{n}", 40)
    relay.send_signal(signal.SIGTERM)
    assert {poll.response().status for poll in polls} == {304}
    relay.close_connections()
    assert relay.wait() == OK
