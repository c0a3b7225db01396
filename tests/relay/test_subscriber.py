"""The subscriber location with long polling: held, delivered, ended."""

from __future__ import annotations

import threading
import time

import pytest

from .client import Connection, Poll, Position, request_bytes, wait_until
from .conftest import StartRelay
from .daemon import Daemon, config


def test_an_existing_message_is_answered_at_once(relay: Daemon) -> None:
    (position,) = relay.publish("c", b"here")
    answer = relay.get("c")
    assert (answer.status, answer.body, answer.position) == (200, b"here", position)


def test_a_request_is_held_until_a_message_arrives(relay: Daemon) -> None:
    poll = relay.hold("c")
    assert not poll.has_answer()
    relay.publish("c", b"at last")
    assert poll.response().body == b"at last"


def test_a_delayed_answer_is_the_same_bytes_as_an_immediate_one(relay: Daemon) -> None:
    (before,) = relay.publish("c", b"before")
    headers = {"Origin": "http://page.example", "User-Agent": "test"}
    held = relay.hold("c", before, headers)
    relay.post("c", b"the message", content_type="text/x; charset=utf-8")
    delayed = held.response()
    immediate = relay.poll("c", before, headers).response()
    assert delayed.header("Date") is not None
    assert delayed.raw_without_date == immediate.raw_without_date


def test_a_connection_is_kept_after_a_delivery(relay: Daemon) -> None:
    poll = relay.hold("c")
    position = None
    for n in range(5):
        relay.wait_until_held("c", 1)
        relay.publish("c", b"%d" % n)
        answer = poll.response()
        assert answer.body == b"%d" % n
        position = answer.position
        poll.again("/sub/c", position)
    relay.wait_until_held("c", 1)


def test_one_connection_polls_one_channel_after_another(relay: Daemon) -> None:
    channels = ("a", "b", "b", "aa", "a", "A", "a")
    positions = {channel: relay.publish(channel, b"the first")[0] for channel in channels}
    poll = relay.poll("a")
    assert poll.response().body == b"the first"
    for n, channel in enumerate(channels):
        poll.again(f"/sub/{channel}", positions[channel])
        relay.wait_until_held(channel, 1)
        for other in set(channels) - {channel}:
            (positions[other],) = relay.publish(other, b"not for who polls")
        (positions[channel],) = relay.publish(channel, b"%d" % n)
        assert poll.response().body == b"%d" % n


def test_a_connection_that_polls_asks_for_other_things_in_between(relay: Daemon) -> None:
    poll = relay.hold("c")
    for n in range(3):
        (position,) = relay.publish("c", b"%d" % n)
        assert poll.response().body == b"%d" % n
        assert poll.request("POST", "/pub/d", body=b"m").status == 202
        assert poll.request("GET", "/nowhere").status == 404
        assert poll.request("PUT", "/sub/c", body=b"").status == 405
        assert poll.request("GET", "/pub/c").status == 200
        poll.again("/sub/c", position)
        relay.wait_until_held("c", 1)


def test_a_connection_polls_on_when_its_channel_was_gone_in_between(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(subscriber={"timeout": 0.3}))
    poll = relay.hold("c")
    # Made by GET, it lives by its waiters.
    for _ in range(3):
        assert poll.response().status == 304
        assert relay.info("c") is None
        poll.again("/sub/c")
    relay.wait_until_held("c", 1)
    relay.publish("c", b"m")
    answer = poll.response()
    assert answer.body == b"m"
    poll.again("/sub/c", answer.position)
    relay.wait_until_held("c", 1)
    relay.delete("c")
    assert poll.response().status == 410
    poll.again("/sub/c", answer.position)
    relay.publish("c", b"of the new one")
    assert poll.response().body == b"of the new one"


def test_a_connection_polls_on_seconds_later(relay: Daemon) -> None:
    # A worker lets go of a channel that nobody waited in for five seconds.
    poll, other = relay.hold("c"), relay.hold("c")
    (position,) = relay.publish("c", b"before")
    assert poll.response().body == other.response().body == b"before"
    time.sleep(7)
    poll.again("/sub/c", position)
    relay.wait_until_held("c", 1)
    relay.hold("c", position)
    other.again("/sub/c", position)
    relay.wait_until_held("c", 3)
    relay.publish("c", b"after")
    assert poll.response().body == other.response().body == b"after"


def test_other_channels_messages_do_not_end_a_poll(relay: Daemon) -> None:
    poll = relay.hold("c")
    relay.publish("d", b"not for c")
    assert not poll.has_answer()
    relay.publish("c", b"for c")
    assert poll.response().body == b"for c"


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/json; charset=utf-8",
        'multipart/x;  boundary="a b;c" ; Q=1',
        "not really a type",
        "text/caf\u00e9",
    ],
)
def test_content_type_is_the_publishers_unchanged(shared_relay: Daemon, content_type: str) -> None:
    channel = "type " + content_type
    poll = shared_relay.hold(channel)
    shared_relay.post(channel, b"m", content_type)
    assert poll.response().header("Content-Type") == content_type
    assert shared_relay.get(channel).header("Content-Type") == content_type


def test_each_message_keeps_its_own_content_type(relay: Daemon) -> None:
    relay.post("c", b"1", "text/one")
    relay.post("c", b"2", None)
    relay.post("c", b"3", "text/three")
    position, types = None, []
    for _ in range(3):
        answer = relay.get("c", position)
        position = answer.position
        types.append(answer.header("Content-Type"))
    assert types == ["text/one", None, "text/three"]


def test_a_location_may_override_content_type(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"content_type": "application/json"}))
    relay.post("c", b"1", "text/one")
    relay.post("c", b"2", None)
    first = relay.get("c")
    assert first.header("Content-Type") == "application/json"
    assert relay.get("c", first.position).header("Content-Type") == "application/json"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "PATCH"])
def test_other_methods_at_a_subscriber_are_405(shared_relay: Daemon, method: str) -> None:
    response = shared_relay.request(method, "/sub/other-methods")
    assert response.status == 405
    assert "get" in response.tokens("Allow")
    assert "post" not in response.tokens("Allow")
    assert shared_relay.info("other-methods") is None


def test_a_head_request_has_no_body_and_leaves_the_connection_usable(relay: Daemon) -> None:
    relay.publish("c", b"m")
    connection = relay.connect()
    assert connection.request("HEAD", "/sub/c").status == 405
    assert connection.request("GET", "/sub/c").body == b"m"


# Creating on GET


def test_an_unknown_channel_is_404_without_create_on_get(start_relay: StartRelay) -> None:
    relay = start_relay(
        {
            "locations": [
                {"type": "publisher", "prefix": "/pub/"},
                {"type": "subscriber", "prefix": "/sub/"},
            ]
        }
    )
    assert relay.get("c").status == 404
    assert relay.info("c") is None
    relay.put("c")
    relay.hold("c")


def test_an_unknown_channel_is_created_and_held_with_create_on_get(relay: Daemon) -> None:
    relay.hold("c")
    assert relay.info("c")["subscribers"] == 1


def test_a_channel_made_by_get_vanishes_with_its_last_waiter(relay: Daemon) -> None:
    first, second = relay.hold("c"), relay.hold("c")
    first.close()
    relay.wait_until_held("c", 1)
    assert relay.info("c") is not None
    second.close()
    wait_until(lambda: relay.info("c") is None, what="the channel to vanish")


def test_a_channel_made_by_get_stays_when_something_is_stored(relay: Daemon) -> None:
    poll = relay.hold("c")
    relay.publish("c", b"m")
    poll.response()
    poll.close()
    assert relay.stored("c") == 1
    assert relay.get("c").body == b"m"


# Time-outs


def test_a_poll_times_out_with_304_and_the_position_it_came_with(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"timeout": 0.3}))
    (position,) = relay.publish("c", b"m")
    answer = relay.get("c", position)
    assert answer.status == 304
    assert answer.position == position


def test_a_poll_without_position_times_out_with_none(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"timeout": 0.3}))
    answer = relay.get("c")
    assert answer.status == 304
    assert answer.header("Last-Modified") is None
    assert answer.header("Etag") is None


def test_a_time_out_repeats_the_request_not_what_came_meanwhile(start_relay: StartRelay) -> None:
    """The position of the 304 is the request's, in the form that answers have."""
    relay = start_relay(config(subscriber={"timeout": 0.3}))
    for target, headers in (
        ("/sub/c", {"If-Modified-Since": "Fri, 20 Nov 2026 23:27:02 GMT", "If-None-Match": "7"}),
        ("/sub/c", {"Last-Event-ID": "1795217222:7"}),
        ("/sub/c?last_event_id=1795217222:7", {}),
    ):
        answer = relay.request("GET", target, headers)
        assert answer.status == 304
        assert answer.position == Position("Fri, 20 Nov 2026 23:27:02 GMT", '"7"')


def test_a_connection_is_kept_after_a_time_out_and_misses_nothing(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"timeout": 0.3}))
    (position,) = relay.publish("c", b"one")
    poll = relay.poll("c", position)
    again = poll.response().position
    relay.publish("c", b"two")
    poll.again("/sub/c", again)
    assert poll.response().body == b"two"


@pytest.mark.parametrize("status", [204, 304, 408])
def test_timeout_status_is_chosen_by_the_location(start_relay: StartRelay, status: int) -> None:
    relay = start_relay(config(subscriber={"timeout": 0.2, "timeout_status": status}))
    (position,) = relay.publish("c", b"m")
    answer = relay.get("c", position)
    assert answer.status == status
    assert answer.position == position


def test_a_poll_ends_never_later_than_timeout_and_up_to_a_tenth_earlier(
    start_relay: StartRelay,
) -> None:
    """Only the lower bound is exact here: a loaded machine is late by itself."""
    relay = start_relay(config(subscriber={"timeout": 1}))
    polls = []
    for _ in range(20):
        start = time.monotonic()
        polls.append((start, relay.poll("c")))
    pending, lengths = dict(enumerate(polls)), []
    while pending:
        for key, (start, poll) in list(pending.items()):
            if poll.has_answer(0.002):
                lengths.append(time.monotonic() - start)
                assert poll.response().status == 304
                del pending[key]
    assert min(lengths) >= 0.89
    assert max(lengths) < 5


def test_timeout_0_holds_for_ever(start_relay: StartRelay) -> None:
    short = {"type": "subscriber", "prefix": "/short/", "create_on_get": True, "timeout": 0.5}
    relay = start_relay(config(subscriber={"timeout": 0}, more=[short]))
    for_ever = relay.hold("c")
    assert relay.get("d", prefix="/short/").status == 304
    assert not for_ever.has_answer()
    relay.publish("c", b"m")
    assert for_ever.response().body == b"m"


# Leaving


def test_a_held_client_that_sends_fin_is_gone(relay: Daemon) -> None:
    poll = relay.hold("c")
    poll.half_close()
    relay.wait_until_held("c", 0)
    assert relay.post("c", b"m").status == 202


def test_a_held_client_that_closes_or_resets_is_gone(relay: Daemon) -> None:
    relay.put("c")
    relay.hold("c").close()
    relay.wait_until_held("c", 0)
    relay.hold("c").reset()
    relay.wait_until_held("c", 0)
    assert relay.post("c", b"m").status == 202


def test_post_is_201_when_one_stays_of_those_held(relay: Daemon) -> None:
    leaver, stayer = relay.hold("c"), relay.hold("c")
    leaver.half_close()
    relay.wait_until_held("c", 1)
    assert relay.post("c", b"m").status == 201
    assert stayer.response().body == b"m"


def test_a_subscriber_that_is_answered_no_longer_counts(relay: Daemon) -> None:
    """Its client's next request, on whatever worker, finds it gone."""
    position = None
    for n in range(20):
        poll = relay.hold("c", position)
        relay.publish("c", b"%d" % n)
        position = poll.response().position
        assert relay.held("c") == 0


def test_polls_of_different_kinds_each_get_their_own_answer_to_one_message(relay: Daemon) -> None:
    """Alike ones are sent the same bytes, in one walk over those held; these are mixed."""
    kinds = [
        ("HTTP/1.1", None, None),
        ("HTTP/1.1", "close", "close"),
        ("HTTP/1.0", None, "close"),
        ("HTTP/1.0", "keep-alive", "keep-alive"),
    ]
    polls = [
        relay.hold("c", headers={} if asks is None else {"Connection": asks}, version=version)
        for version, asks, _ in kinds * 2
    ]
    relay.publish("c", b"m")
    for poll, (_, _, told) in zip(polls, kinds * 2, strict=True):
        answer = poll.response()
        assert (answer.body, answer.header("Connection")) == (b"m", told)


# Pipelining and HTTP/1.0


def test_pipelined_requests_behind_a_held_one_wait_their_turn(relay: Daemon) -> None:
    connection = relay.connect()
    connection.send(
        request_bytes("GET", "/sub/c")
        + request_bytes("GET", "/pub/c", {"Accept": "application/json"})
        + request_bytes("GET", "/nowhere")
    )
    relay.wait_until_held("c", 1)
    assert not connection.has_answer()
    relay.publish("c", b"first")
    assert connection.read_response().body == b"first"
    assert b'"messages"' in connection.read_response().body
    assert connection.read_response().status == 404


def test_a_post_pipelined_behind_a_poll_is_not_taken_before_it(relay: Daemon) -> None:
    connection = relay.connect()
    connection.send(request_bytes("GET", "/sub/c") + request_bytes("POST", "/pub/d", body=b"x"))
    relay.wait_until_held("c", 1)
    assert relay.info("d") is None
    relay.publish("c", b"m")
    assert connection.read_response().body == b"m"
    assert connection.read_response().status == 202
    assert relay.stored("d") == 1


def test_a_held_client_with_more_behind_it_than_a_buffer_is_served_on(relay: Daemon) -> None:
    """Of a held client at most one buffer is read; the rest is taken up afterwards, unasked."""
    connection = relay.connect()
    connection.send(request_bytes("GET", "/sub/c"))
    relay.wait_until_held("c", 1)
    posts = [request_bytes("POST", "/pub/d", body=b"%d " % n + b"x" * 5000) for n in range(40)]
    sender = threading.Thread(target=connection.send, args=(b"".join(posts),))
    sender.start()
    relay.publish("c", b"m")
    assert connection.read_response().body == b"m"
    assert [connection.read_response().status for _ in posts] == [202] * 40
    sender.join()
    assert relay.stored("d") == 40


def test_an_http_1_0_subscriber_gets_no_chunks(relay: Daemon) -> None:
    poll = relay.hold("c", version="HTTP/1.0")
    relay.publish("c", b"m")
    answer = poll.response()
    assert (answer.status, answer.body) == (200, b"m")
    assert answer.header("Transfer-Encoding") is None
    poll.assert_closed()


# Slow readers


def test_nobody_waits_for_a_slow_reader(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"max_body": "16M"}))
    body = b"0123456789abcdef" * 2**19  # 8 MiB: more than both socket buffers
    slow = relay.hold("c", receive_buffer=4096)
    quick = relay.hold("c")
    assert relay.post("c", body).status == 201
    answer = quick.response()
    assert answer.body == body
    relay.publish("d", b"the others go on")
    assert relay.get("d").body == b"the others go on"
    slow.widen()
    assert slow.response().body == body


def test_a_slow_reader_gets_its_message_even_when_the_channel_is_deleted(
    start_relay: StartRelay,
) -> None:
    """The message is counted by who is in the middle of sending it."""
    relay = start_relay(config(publisher={"max_body": "16M"}))
    body = b"0123456789abcdef" * 2**19
    slow = relay.hold("c", receive_buffer=4096)
    relay.post("c", body)
    assert relay.delete("c").status == 200
    slow.widen()
    assert slow.response().body == body


def test_a_reader_that_leaves_in_the_middle_of_a_message_disturbs_nobody(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(publisher={"max_body": "16M"}))
    polls = [relay.hold("c", receive_buffer=4096) for _ in range(4)]
    relay.post("c", b"x" * 2**23)
    for poll in polls[:2]:
        poll.reset()
    for poll in polls[2:]:
        poll.close()
    relay.publish("d", b"m")
    assert relay.get("d").body == b"m"


def test_a_socket_that_takes_nothing_for_send_timeout_is_closed(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"max_body": "16M"}, limits={"send_timeout": 0.5}))
    body = b"x" * 2**23
    slow = relay.hold("c", receive_buffer=4096)
    assert relay.post("c", body).status == 201
    wait_until(lambda: not slow.peer_is_open(), what="the relay to give up")
    with pytest.raises((EOFError, ConnectionResetError)):
        slow.response()


# Everything at once


def test_every_subscriber_gets_every_message_once_and_in_order(relay: Daemon) -> None:
    """Publishers and subscribers on several connections, so on several workers, at once."""
    publishers, each, readers = 4, 25, 8
    seen: list[list[bytes]] = [[] for _ in range(readers)]
    ids: list[list[tuple[int, int]]] = [[] for _ in range(readers)]
    failures: list[BaseException] = []

    def publish(number: int) -> None:
        try:
            with Connection(relay.address) as connection:
                for n in range(each):
                    answer = connection.request("POST", "/pub/c", body=b"%d/%d" % (number, n))
                    assert answer.status in (201, 202)
        except BaseException as error:
            failures.append(error)

    def read(number: int) -> None:
        try:
            with Poll(relay.address, "/sub/c") as poll:
                while True:
                    answer = poll.response()
                    assert answer.status == 200
                    assert answer.header("X-Push-Gap") is None
                    seen[number].append(answer.body)
                    ids[number].append(answer.position.id)
                    if len(seen[number]) == publishers * each:
                        return
                    poll.again("/sub/c", answer.position)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(readers)]
    threads += [threading.Thread(target=publish, args=(n,)) for n in range(publishers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    assert all(order == seen[0] for order in seen)
    assert all(order == sorted(set(order)) for order in ids)
    for number in range(publishers):
        mine = [body for body in seen[0] if body.startswith(b"%d/" % number)]
        assert mine == [b"%d/%d" % (number, n) for n in range(each)]


# Who may subscribe


def test_everyone_may_subscribe_unless_allow_says_otherwise(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"allow": ["127.0.0.1", "unix"]}))
    relay.post("c", b"m")
    assert relay.get("c").body == b"m"
    stranger = relay.connect(source="127.0.0.2")
    for method in ("GET", "OPTIONS"):
        answer = stranger.request(method, "/sub/c")
        assert answer.status == 403
        # A script must be able to see it.
        assert answer.header("Access-Control-Allow-Origin") == "*"
    # Publishing is another location's, whose `allow` is its own.
    assert stranger.request("POST", "/pub/c", body=b"n").status == 202
