"""Interval polling: never held, 304 when there is nothing new."""

from __future__ import annotations

import pytest

from .client import Position
from .conftest import StartRelay
from .daemon import Daemon, config, now


@pytest.fixture
def interval(start_relay: StartRelay) -> Daemon:
    return start_relay(config(subscriber={"polling": "interval"}))


def test_interval_poll_gets_an_existing_message(interval: Daemon) -> None:
    first, second = interval.publish("c", b"one", b"two")
    answer = interval.get("c")
    assert (answer.status, answer.body, answer.position) == (200, b"one", first)
    answer = interval.get("c", first)
    assert (answer.status, answer.body, answer.position) == (200, b"two", second)


def test_interval_poll_gets_304_with_its_position_when_nothing_is_new(interval: Daemon) -> None:
    (position,) = interval.publish("c", b"one")
    answer = interval.get("c", position)
    assert answer.status == 304
    assert answer.position == position


def test_interval_poll_without_position_gets_304_with_none(interval: Daemon) -> None:
    interval.put("c")
    answer = interval.get("c")
    assert answer.status == 304
    assert answer.header("Last-Modified") is None
    assert answer.header("Etag") is None


def test_interval_poll_from_the_future_gets_304_with_its_position(interval: Daemon) -> None:
    interval.publish("c", b"one")
    future = Position.at(now() + 1000, 3)
    answer = interval.get("c", future)
    assert (answer.status, answer.position) == (304, future)


def test_interval_poll_creates_no_channel(interval: Daemon) -> None:
    assert interval.get("c").status == 304
    assert interval.info("c") is None


def test_interval_poll_of_an_unknown_channel_is_404_without_create_on_get(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(subscriber={"polling": "interval", "create_on_get": False}))
    assert relay.get("c").status == 404
    relay.put("c")
    assert relay.get("c").status == 304


def test_interval_poll_never_counts_as_held(interval: Daemon) -> None:
    interval.put("c")
    assert interval.get("c").status == 304
    assert interval.held("c") == 0
    assert interval.post("c", b"m").status == 202


def test_interval_poll_keeps_its_connection(interval: Daemon) -> None:
    (position,) = interval.publish("c", b"one")
    connection = interval.connect()
    for _ in range(3):
        assert connection.request("GET", "/sub/c", position.headers).status == 304
    interval.publish("c", b"two")
    assert connection.request("GET", "/sub/c", position.headers).body == b"two"
