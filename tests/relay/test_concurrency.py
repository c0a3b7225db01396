"""Who is held when several want to be: broadcast, last, first."""

from __future__ import annotations

import pytest

from .client import Poll, wait_until
from .conftest import StartRelay
from .daemon import Daemon, config


@pytest.fixture
def last(start_relay: StartRelay) -> Daemon:
    return start_relay(config(subscriber={"concurrency": "last"}))


@pytest.fixture
def first(start_relay: StartRelay) -> Daemon:
    return start_relay(config(subscriber={"concurrency": "first"}))


def test_broadcast_is_the_default(relay: Daemon) -> None:
    polls = [relay.hold("c") for _ in range(3)]
    relay.publish("c", b"m")
    assert [poll.response().body for poll in polls] == [b"m"] * 3


def test_last_holds_the_newest_and_answers_409_to_the_one_before(last: Daemon) -> None:
    before = last.hold("c")
    for _ in range(8):
        newest = last.poll("c")
        assert before.response().status == 409
        assert last.held("c") == 1
        before = newest
    assert not before.has_answer()
    assert last.post("c", b"m").status == 201
    assert before.response().body == b"m"


def test_first_holds_the_oldest_and_answers_409_to_all_others(first: Daemon) -> None:
    oldest = first.hold("c")
    for _ in range(8):
        assert first.get("c").status == 409
    assert first.held("c") == 1
    assert first.post("c", b"m").status == 201
    assert oldest.response().body == b"m"


def test_first_lets_the_next_one_in_when_the_holder_has_left(first: Daemon) -> None:
    first.put("c")
    first.hold("c").close()
    first.wait_until_held("c", 0)
    second = first.hold("c")
    first.publish("c", b"m")
    position = second.response().position
    # Answered, it holds no more: the very next request gets in, on whatever worker.
    for n in range(8):
        third = first.hold("c", position)
        first.publish("c", b"%d" % n)
        answer = third.response()
        assert answer.body == b"%d" % n
        position = answer.position


def test_first_lets_the_next_one_in_after_a_time_out_and_a_deletion(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(subscriber={"concurrency": "first", "timeout": 0.3}))
    assert relay.get("c").status == 304
    assert relay.get("c").status == 304
    poll = relay.hold("c")
    relay.delete("c")
    assert poll.response().status == 410
    relay.hold("c")


@pytest.mark.parametrize("concurrency", ["last", "first"])
def test_a_request_that_can_be_answered_at_once_conflicts_with_nobody(
    start_relay: StartRelay, concurrency: str
) -> None:
    relay = start_relay(config(subscriber={"concurrency": concurrency}))
    (position,) = relay.publish("c", b"one")
    holder = relay.hold("c", position)
    assert relay.get("c").body == b"one"
    assert not holder.has_answer()
    assert relay.held("c") == 1
    relay.publish("c", b"two")
    assert holder.response().body == b"two"


@pytest.mark.parametrize("concurrency", ["last", "first"])
def test_conflicts_are_per_channel(start_relay: StartRelay, concurrency: str) -> None:
    relay = start_relay(config(subscriber={"concurrency": concurrency}))
    polls = [relay.hold(channel) for channel in "abc"]
    assert not any(poll.has_answer() for poll in polls)


@pytest.mark.parametrize("concurrency", ["last", "first"])
def test_conflicts_are_counted_within_one_location(
    start_relay: StartRelay, concurrency: str
) -> None:
    kind = {"type": "subscriber", "create_on_get": True}
    relay = start_relay(
        config(
            subscriber={"concurrency": concurrency},
            more=[
                {**kind, "prefix": "/too/", "concurrency": concurrency},
                {**kind, "prefix": "/all/"},
            ],
        )
    )
    polls: list[Poll] = [relay.hold("c")]
    polls += [relay.hold("c", prefix="/too/")]
    polls += [relay.hold("c", prefix="/all/") for _ in range(2)]
    assert not any(poll.has_answer() for poll in polls)
    relay.publish("c", b"m")
    assert [poll.response().body for poll in polls] == [b"m"] * 4


def test_many_at_once_leave_exactly_one_held_with_last(last: Daemon) -> None:
    polls = [last.poll("c") for _ in range(40)]
    wait_until(lambda: sum(poll.has_answer() for poll in polls) == 39, what="39 answers")
    assert last.held("c") == 1
    answered = [poll for poll in polls if poll.has_answer()]
    assert [poll.response().status for poll in answered] == [409] * 39
    assert last.post("c", b"m").status == 201


def test_many_at_once_leave_exactly_one_held_with_first(first: Daemon) -> None:
    polls = [first.poll("c") for _ in range(40)]
    wait_until(lambda: sum(poll.has_answer() for poll in polls) == 39, what="39 answers")
    assert first.held("c") == 1
    assert first.post("c", b"m").status == 201
    assert sorted(poll.response().status for poll in polls) == [200] + [409] * 39
