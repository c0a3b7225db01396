"""Far more subscribers than one turn of the loop serves: all get all, and others their turn."""

from __future__ import annotations

from .client import Connection, Position, request_bytes
from .conftest import StartRelay
from .daemon import PUB, SUB, Daemon, channel_path, config
from .streams import Stream, events

# A turn serves 256 waiters of a channel.
MANY = 1500
MESSAGES = [b"%d" % n for n in range(30)]


def open_streams(relay: Daemon, channel: str, count: int) -> list[Stream]:
    """Event streams that have all begun."""
    streams = [Stream(relay, channel, {"Accept": "text/event-stream"}) for _ in range(count)]
    for stream in streams:
        assert stream.read_head().status == 200
    relay.wait_until_held(channel, count)
    return streams


def post(connection: Connection, channel: str, *bodies: bytes) -> None:
    """Send requests to publish in one go; the answers are left to be read."""
    target = channel_path(PUB, channel)
    connection.send(b"".join(request_bytes("POST", target, body=body) for body in bodies))


def test_messages_that_come_while_one_is_still_fanned_out_reach_all_once_and_in_order(
    start_relay: StartRelay,
) -> None:
    relay = start_relay()
    streams = open_streams(relay, "c", MANY)
    publishers = [relay.connect() for _ in MESSAGES]
    for publisher, body in zip(publishers, MESSAGES, strict=True):
        post(publisher, "c", body)
    assert {publisher.read_response("POST").status for publisher in publishers} == {201}
    order = [event.data for event in streams[0].read_events(len(MESSAGES))]
    assert sorted(order, key=int) == [body.decode() for body in MESSAGES]
    for stream in streams[1:]:
        assert [event.data for event in stream.read_events(len(MESSAGES))] == order
    # And nothing after it but this.
    relay.publish("c", b"the end")
    assert {stream.read_event().data for stream in streams} == {"the end"}


def test_who_leaves_and_who_comes_during_a_fan_out_disturbs_no_one(
    start_relay: StartRelay,
) -> None:
    relay = start_relay()
    streams = open_streams(relay, "c", MANY)
    (before,) = relay.publish("c", b"before")
    publisher = relay.connect()
    post(publisher, "c", b"during")
    streams[0].read_event()
    leavers, stayers = streams[1::3], [s for n, s in enumerate(streams) if n % 3 != 1]
    for leaver in leavers:
        leaver.reset()
    comers = [events(relay, "c", {"Last-Event-ID": before.text}) for _ in range(50)]
    assert publisher.read_response("POST").status == 201
    relay.publish("c", b"after")
    for stream in stayers:
        seen = [event.data for event in stream.read_events(2 if stream is streams[0] else 3)]
        assert seen == ["before", "during", "after"][-len(seen) :]
    for comer in comers:
        assert [event.data for event in comer.read_events(2)] == ["during", "after"]


def test_a_publisher_elsewhere_is_answered_while_a_fan_out_goes_on(
    start_relay: StartRelay,
) -> None:
    """Who publishes in another channel need not wait until the last subscriber is served.

    Whether it is so can be seen only when the fan-out is not over before the client has
    asked, so that is tried again and again.
    """
    relay = start_relay()
    streams = open_streams(relay, "crowd", MANY)
    first, last = streams[0], streams[-1]
    crowd, elsewhere = relay.connect(), relay.connect()
    for n in range(200):
        post(crowd, "crowd", b"%d" % n)
        first.read_event()
        post(elsewhere, "elsewhere", b"m")
        assert elsewhere.read_response("POST").status == 202
        in_between = not last.has_answer()
        assert crowd.read_response("POST").status == 201
        for stream in streams[1:]:
            assert stream.read_event().data == str(n)
        if in_between:
            return
    raise AssertionError("no answer came before the last subscriber of the fan-out was served")


def test_all_come_back_at_once_after_a_restart_and_lose_nothing(
    start_relay: StartRelay,
) -> None:
    relay = start_relay()
    polls = [relay.poll("c") for _ in range(MANY)]
    relay.wait_until_held("c", MANY)
    relay.publish("c", b"before")
    positions = [poll.response().position for poll in polls]
    assert len(set(positions)) == 1
    port = relay.port
    relay.stop()
    relay = start_relay(config(address="127.0.0.1", port=port))
    herd = [Connection(relay.address) for _ in range(MANY)]
    relay.connections += herd
    for connection, position in zip(herd, positions, strict=True):
        connection.send(ask(position))
    relay.wait_until_held("c", MANY)
    relay.publish("c", b"after")
    for connection in herd:
        answer = connection.read_response()
        assert answer.body == b"after"
        connection.send(ask(answer.position))
    relay.wait_until_held("c", MANY)


def ask(position: Position) -> bytes:
    """A long poll that goes on where the last one ended."""
    return request_bytes("GET", channel_path(SUB, "c"), position.headers)
