"""Streams: what is the same for all that stay open after a message."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import time

import pytest

from .client import Connection, wait_until
from .conftest import StartRelay
from .daemon import Daemon, config
from .streams import EVENTS, Stream, events


def test_whoever_has_seen_the_head_of_a_stream_counts_for_the_next_post(relay: Daemon) -> None:
    for n in range(20):
        stream = events(relay, "room")
        assert relay.post("room", b"%d" % n).status == 201
        for k in range(n + 1):
            assert stream.read_event().data == str(k)


def test_a_stream_is_held_until_its_client_leaves(relay: Daemon) -> None:
    stream = events(relay, "room")
    assert relay.held("room") == 1
    assert relay.post("room", b"one").status == 201
    stream.read_event()
    assert relay.held("room") == 1
    stream.close()
    relay.wait_until_held("room", 0)
    assert relay.post("room", b"two").status == 202


def test_streams_that_are_reset_between_two_reads_are_held_no_longer(relay: Daemon) -> None:
    """The reset comes before they wait, from when on nothing more would tell of it."""
    relay.publish("room", b"one", b"two")
    for _ in range(5):
        clients = [relay.connect() for _ in range(200)]
        # All requests are there at once, so the first streams have long begun when the last do.
        relay.send_signal(signal.SIGSTOP)
        for client in clients:
            client.send_request("GET", "/sub/room", EVENTS)
        relay.send_signal(signal.SIGCONT)
        for client in clients:
            assert client.has_answer(10)
            client.reset()
        relay.connections.clear()
        relay.wait_until_held("room", 0)


def test_a_stream_gets_what_is_stored_and_then_what_comes_in_order(relay: Daemon) -> None:
    relay.publish("room", *(b"%d" % n for n in range(100)))
    stream = events(relay, "room")
    relay.publish("room", *(b"%d" % n for n in range(100, 120)))
    got = stream.read_events(120)
    assert [event.data for event in got] == [str(n) for n in range(120)]
    ids = [event.position for event in got]
    assert ids == sorted(set(ids))


def test_a_stream_goes_on_behind_the_position_it_names(relay: Daemon) -> None:
    relay.publish("room", b"one", b"two", b"three")
    first = events(relay, "room").read_event()
    for stream in (
        events(relay, "room", {"Last-Event-ID": first.id}),
        events(relay, "room", query=f"?last_event_id={first.id}"),
    ):
        assert [e.data for e in stream.read_events(2)] == ["two", "three"]


def test_deleting_the_channel_ends_its_streams_and_the_connection_goes_on(relay: Daemon) -> None:
    stream = events(relay, "room")
    relay.post("room", b"one")
    assert relay.delete("room").status == 200
    stream.read_rest()
    assert stream.request("GET", "/nothing").status == 404
    assert relay.held("room") == 0


def test_who_is_behind_when_the_channel_is_deleted_is_ended_too(relay: Daemon) -> None:
    slow = Stream(relay, "room", EVENTS, receive_buffer=4096)
    slow.read_head()
    for _ in range(40):
        relay.post("room", b"x" * 200_000)
    assert relay.delete("room").status == 200
    slow.widen()
    slow.read_rest()


def test_http_1_0_gets_a_stream_without_chunks_that_ends_with_the_connection(
    relay: Daemon,
) -> None:
    stream = Stream(relay, "room", EVENTS, version="HTTP/1.0")
    head = stream.read_head()
    assert head.header("Transfer-Encoding") is None
    assert "close" in head.tokens("Connection")
    relay.post("room", b"one")
    relay.delete("room")
    assert b"data: one\n\n" in stream.read_to_end()


def test_a_stream_ends_with_its_time(start_relay: StartRelay) -> None:
    relay = start_relay(config({"timeout": 0.3}))
    stream = events(relay, "room")
    stream.read_rest()
    relay.wait_until_held("room", 0)


def test_a_stream_that_is_behind_ends_with_its_time_too_and_loses_nothing(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config({"timeout": 0.3}))
    fill(relay, "room", 9, 900_000)
    slow = Stream(relay, "room", EVENTS, receive_buffer=4096)
    slow.read_head()
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + 0.4, what="its time is up")
    slow.widen()
    ids = re.findall(rb"^id: (.*)$", slow.read_rest(), re.MULTILINE)
    assert 0 < len(ids) < 9
    back = events(relay, "room", {"Last-Event-ID": ids[-1].decode()})
    assert back.read_event().data.startswith(f"{len(ids)} ")


def test_no_ping_comes_where_none_is_asked_for(start_relay: StartRelay) -> None:
    relay = start_relay(config({"timeout": 0.3, "ping_interval": 0, "ping_message": "ping"}))
    for _ in range(5):
        assert b"ping" not in events(relay, "room").read_rest()


def test_polls_have_a_time_and_streams_none_unless_one_is_given(start_relay: StartRelay) -> None:
    relay = start_relay(config({"timeout": {"longpoll": 0.2}}))
    stream = events(relay, "room")
    assert relay.get("room").status == 304
    relay.post("room", b"one")
    assert stream.read_event().data == "one"


def test_a_shutdown_ends_streams_properly(start_relay: StartRelay) -> None:
    relay = start_relay()
    waiting = events(relay, "room")
    slow = Stream(relay, "other", EVENTS, receive_buffer=4096)
    slow.read_head()
    relay.publish("other", *(b"x" * 900_000 for _ in range(5)))
    relay.send_signal(15)
    waiting.read_rest()
    slow.widen()
    slow.read_event()
    slow.read_rest()
    relay.stop()


def test_pings_come_while_nothing_else_does(start_relay: StartRelay) -> None:
    relay = start_relay(config({"ping_interval": 0.1}))
    stream = events(relay, "room")
    for _ in range(3):
        assert stream.read_chunk() == b": \n\n"


def test_a_ping_may_say_something(start_relay: StartRelay) -> None:
    relay = start_relay(config({"ping_interval": 0.1, "ping_message": "-1"}))
    assert events(relay, "room").read_chunk() == b": -1\n\n"


# Slow readers


def fill(relay: Daemon, channel: str, count: int, size: int = 10_000) -> None:
    with Connection(relay.address) as publisher:
        for n in range(count):
            body = b"%d " % n + b"x" * size
            assert publisher.request("POST", f"/pub/{channel}", body=body).status in (201, 202)


def test_a_slow_reader_gets_all_that_is_stored_in_order(relay: Daemon) -> None:
    slow = Stream(relay, "room", EVENTS, receive_buffer=4096)
    slow.read_head()
    fill(relay, "room", 600)
    slow.widen()
    got = [event.data.split(" ", 1)[0] for event in slow.read_events(600)]
    assert got == [str(n) for n in range(600)]


def test_a_slow_reader_is_told_how_many_messages_it_has_missed(start_relay: StartRelay) -> None:
    relay = start_relay(config(store={"max_messages": 10}))
    slow = Stream(relay, "room", EVENTS, receive_buffer=4096)
    slow.read_head()
    fill(relay, "room", 1000)
    slow.widen()
    expected, lost = 0, 0
    while expected < 1000:
        event = slow.read_event()
        if event.type == "gap":
            lost += int(event.data)
            expected += int(event.data)
            continue
        assert int(event.data.split(" ", 1)[0]) == expected
        expected += 1
    assert lost > 0


def test_a_slow_reader_is_closed_where_the_location_says_so(start_relay: StartRelay) -> None:
    relay = start_relay(config({"on_slow": "close"}, store={"max_messages": 10}))
    slow = Stream(relay, "room", EVENTS, receive_buffer=4096)
    slow.read_head()
    fill(relay, "room", 1000)
    slow.widen()
    assert b"too slow" in slow.read_rest()
    relay.stop()
    assert relay.log_lines("1 streams ended because they were too slow")


def test_a_slow_reader_neither_delays_others_nor_makes_the_relay_grow(
    start_relay: StartRelay,
) -> None:
    # What AddressSanitizer keeps of freed memory would look like growth.
    asan = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    relay = start_relay(config(store={"max_messages": 20}), env={"ASAN_OPTIONS": asan})
    slow = [Stream(relay, "room", EVENTS, receive_buffer=4096) for _ in range(5)]
    fast = events(relay, "room")
    for stream in slow:
        stream.read_head()

    def resident() -> int:
        with open(f"/proc/{relay.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    before = 0
    with Connection(relay.address) as publisher:
        for n in range(3000):
            publisher.request("POST", "/pub/room", body=b"%d" % n + b"x" * 10_000)
            assert fast.read_event().data.startswith(f"{n}x")
            if n == 500:
                before = resident()
    # 2,500 messages of 10 kB for each of five slow readers would be 125 MB.
    assert resident() - before < 40_000_000


def test_what_was_not_stored_and_passed_while_a_stream_was_behind_is_a_gap(
    start_relay: StartRelay,
) -> None:
    foregone = {"type": "publisher", "prefix": "/forego/", "store_messages": False}
    relay = start_relay(config(more=[foregone]))
    slow = Stream(relay, "room", EVENTS, receive_buffer=4096)
    slow.read_head()
    for _ in range(6):
        fill(relay, "room", 1, 900_000)
    assert relay.post("room", b"gone", prefix="/forego/").status == 202
    assert relay.post("room", b"last").status == 201
    slow.widen()
    got = slow.read_events(8)
    assert [event.type for event in got] == ["message"] * 6 + ["gap", "message"]
    assert got[6].data == "1"
    assert got[7].data == "last"


def test_what_was_not_stored_before_a_stream_came_is_no_gap_however_long_it_reads(
    start_relay: StartRelay,
) -> None:
    foregone = {"type": "publisher", "prefix": "/forego/", "store_messages": False}
    relay = start_relay(config(more=[foregone]))
    with Connection(relay.address) as publisher:
        for n in range(200):
            # More messages than one send takes, so that some are read when it is held.
            prefix = "/forego/" if n % 10 == 5 else "/pub/"
            publisher.request("POST", f"{prefix}room", body=b"%d" % n)
    got = events(relay, "room").read_events(180)
    assert [event.data for event in got] == [str(n) for n in range(200) if n % 10 != 5]


def test_what_was_not_stored_before_a_stream_came_is_not_counted_with_what_it_lost(
    start_relay: StartRelay,
) -> None:
    foregone = {"type": "publisher", "prefix": "/forego/", "store_messages": False}
    statistics = {"type": "statistics", "prefix": "/stats/"}
    relay = start_relay(config(more=[foregone, statistics]))
    fill(relay, "room", 6, 900_000)
    for _ in range(5):
        relay.post("room", b"before it came", prefix="/forego/")
    slow = Stream(relay, "room", {"Accept": "multipart/mixed"}, receive_buffer=4096)
    slow.read_head()
    relay.wait_until_held("room", 1)
    assert relay.post("room", b"lost", prefix="/forego/").status == 202
    slow.widen()
    slow.read_until(b"\r\n\r\n5 ")

    def gaps() -> int:
        return int(json.loads(relay.request("GET", "/stats/").body)["slow_gaps"])

    # It has read on and waits: with the next message it is told.
    wait_until(lambda: gaps() == 1, what="the gap")
    assert relay.post("room", b"next").status == 201
    assert b"\r\nX-Push-Gap: 1\r\n" in slow.read_until(b"\r\n\r\nnext\r\n--")


def test_who_is_about_to_be_ended_is_not_held(start_relay: StartRelay) -> None:
    relay = start_relay(config({"concurrency": "last"}))
    slow = Stream(relay, "room", EVENTS, receive_buffer=4096)
    slow.read_head()
    fill(relay, "room", 5, 900_000)
    newer = events(relay, "room")
    relay.wait_until_held("room", 1)
    newer.close()
    relay.wait_until_held("room", 0)
    assert relay.post("room", b"nobody").status == 202
    slow.widen()
    slow.read_rest()


def test_a_post_to_a_stream_that_is_just_catching_up_is_201(relay: Daemon) -> None:
    fill(relay, "room", 100, 10)
    with Connection(relay.address) as publisher:
        for _ in range(50):
            stream = events(relay, "room")
            for _ in range(5):
                assert publisher.request("POST", "/pub/room", body=b"more").status == 201
            stream.close()
            relay.wait_until_held("room", 0)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_stream_that_goes_in_the_middle_of_a_send_leaves_nothing_behind(
    relay: Daemon, how: str
) -> None:
    slow = Stream(relay, "room", EVENTS, receive_buffer=4096)
    slow.read_head()
    relay.publish("room", *(b"x" * 900_000 for _ in range(5)))
    if how == "reset":
        slow.reset()
    else:
        slow.close()
    relay.wait_until_held("room", 0)


def test_a_client_that_takes_nothing_is_closed_after_send_timeout(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"max_body": "16M"}, limits={"send_timeout": 0.5}))
    slow = Stream(relay, "room", EVENTS, receive_buffer=4096)
    slow.read_head()
    relay.post("room", b"x" * 8_000_000)
    relay.wait_until_held("room", 0)


# Several channels


def many(start_relay: StartRelay, **subscriber: object) -> Daemon:
    location = {
        "type": "subscriber",
        "url": "/many/(.+)",
        "split": ",",
        "create_on_get": True,
        **subscriber,
    }
    return start_relay(config(more=[location]))


def test_one_position_serves_several_channels(start_relay: StartRelay) -> None:
    relay = many(start_relay, say_channel=True)
    bodies = []
    for n in range(30):
        relay.post("abc"[n % 3], b"%d" % n)
        bodies.append(str(n))
    with Connection(relay.address) as connection:
        connection.send_request("GET", "/many/a,b,c", EVENTS)
        first = Stream.__new__(Stream)
        first.__dict__.update(connection.__dict__, text=b"", ended=False)
        first.read_head()
        got = first.read_events(30)
    assert [event.data for event in got] == bodies
    assert [event.fields["channel"] for event in got] == ["a", "b", "c"] * 10
    poll = relay.request("GET", "/many/a,b,c", {"Last-Event-ID": got[6].id, "Accept": "text/plain"})
    assert poll.body == b"7"
    assert poll.header("X-Push-Channel") == "b"


def test_deleting_one_of_several_channels_ends_only_that_subscription(
    start_relay: StartRelay,
) -> None:
    relay = many(start_relay)
    stream = Stream(relay, b"a,b", EVENTS, prefix="/many/")
    # channel_path() encodes the comma: the id has one, and there is one channel.
    stream.read_head()
    assert relay.held("a,b") == 1
    with Connection(relay.address) as connection:
        connection.send_request("GET", "/many/a,b", EVENTS)
        wait_until(lambda: relay.held("a") == 1 and relay.held("b") == 1, what="both held")
        assert relay.delete("a").status == 200
        assert relay.held("b") == 1
        assert relay.post("a", b"x").status == 202
        assert relay.post("b", b"still").status == 201
        wait_until(lambda: b"data: still" in peek(connection), what="the message has come")
        assert relay.delete("b").status == 200
        wait_until(lambda: b"\r\n0\r\n\r\n" in peek(connection), what="the stream has ended")


def peek(connection: Connection) -> bytes:
    """What has come so far, without waiting for more."""
    while select.select([connection.socket], [], [], 0)[0] and connection._more():
        pass
    return connection.buffer


def test_max_subscribers_is_said_in_words(start_relay: StartRelay) -> None:
    relay = start_relay(config({"max_subscribers": 2}))
    streams = [events(relay, "room") for _ in range(2)]
    refused = relay.get("room")
    assert refused.status == 403
    assert "max_subscribers" in (refused.header("X-Push-Explain") or "")
    streams[0].close()
    relay.wait_until_held("room", 1)
    events(relay, "room")


def test_a_message_answers_a_poll_even_where_no_more_may_be_held(start_relay: StartRelay) -> None:
    relay = start_relay(config({"max_subscribers": 1}))
    relay.post("room", b"one")
    events(relay, "room")
    assert relay.get("room").body == b"one"


def test_streams_under_load_lose_and_repeat_nothing(relay: Daemon) -> None:
    streams = [events(relay, "room") for _ in range(50)]
    deadline = time.monotonic() + 60
    with Connection(relay.address) as publisher:
        for n in range(200):
            publisher.send_request("POST", "/pub/room", body=b"%d" % n)
        for _ in range(200):
            assert publisher.read_final().status == 201
    for stream in streams:
        assert [event.data for event in stream.read_events(200)] == [str(n) for n in range(200)]
    assert time.monotonic() < deadline
