"""Event streams: the form of WHATWG HTML, 9.2, which nothing that is published can forge."""

from __future__ import annotations

import pytest

from .client import wait_until
from .conftest import StartRelay
from .daemon import Daemon, config
from .streams import Stream, events


def test_the_head_is_what_proxies_and_browsers_need(relay: Daemon) -> None:
    head = events(relay, "room").head
    assert head.header("Cache-Control") == "no-cache, no-transform"
    assert head.header("X-Accel-Buffering") == "no"
    assert head.header("Access-Control-Allow-Origin") == "*"
    assert head.header("Transfer-Encoding") == "chunked"


@pytest.mark.parametrize(
    "body",
    [
        *("", "one", "a\nb", "a\rb", "a\r\nb", "a\n", "\n", "\r\n\r\n", "a\n\rb", " lead", "é ☃"),
        "\r".join(["a" * 70, "b\nc", "d" * 70 + "\n" + "e" * 70, "", "f\r\ng\n\nh" * 30]),
    ],
    ids=lambda body: repr(body)[:20],
)
def test_a_message_arrives_with_its_lines_whatever_ends_them(relay: Daemon, body: str) -> None:
    stream = events(relay, "room")
    relay.post("room", body.encode())
    expected = body.replace("\r\n", "\n").replace("\r", "\n")
    assert stream.read_event().data == expected


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\r\r", "\n\n", "\r\n\r\n"], ids=repr)
def test_no_line_of_a_message_can_be_a_field(relay: Daemon, end: str) -> None:
    stream = events(relay, "room")
    forged = f"x{end}event: forged{end}id: 1:1{end}retry: 1{end}data: more{end}{end}"
    relay.post("room", forged.encode())
    event = stream.read_event()
    assert event.type == "message"
    assert set(event.fields) == {"id"}
    assert event.fields["id"] != "1:1"


def test_the_id_is_the_position_that_polls_have(relay: Daemon) -> None:
    position = relay.publish("room", b"one")[0]
    assert events(relay, "room").read_event().id == position.text


@pytest.mark.parametrize("header", ["X-EventSource-Event", "Event-Type"])
def test_a_publisher_names_the_event(relay: Daemon, header: str) -> None:
    stream = events(relay, "room")
    relay.request("POST", "/pub/room", {header: "news"}, b"one")
    assert stream.read_event().type == "news"


def test_a_location_names_events_that_their_publisher_did_not(start_relay: StartRelay) -> None:
    relay = start_relay(config({"event": "update"}))
    stream = events(relay, "room")
    relay.post("room", b"one")
    relay.request("POST", "/pub/room", {"Event-Type": "news"}, b"two")
    assert [event.type for event in stream.read_events(2)] == ["update", "news"]


def test_retry_is_said_first(start_relay: StartRelay) -> None:
    relay = start_relay(config({"retry": 2.5}))
    assert events(relay, "room").read_chunk() == b"retry: 2500\n\n"


def test_a_message_may_say_its_channel(start_relay: StartRelay) -> None:
    relay = start_relay(config({"say_channel": True}))
    stream = events(relay, b"a room/\n")
    relay.post(b"a room/\n", b"one")
    assert stream.read_event().fields["channel"] == "a%20room%2F%0A"


def test_user_agents_that_wait_for_more_bytes_are_given_them(start_relay: StartRelay) -> None:
    padding = [{"user_agent": "Old", "head": 1024, "message": 512}]
    relay = start_relay(config({"padding": padding}))
    old, new = events(relay, "room", {"User-Agent": "Old/1"}), events(relay, "room")
    assert len(old.read_chunk()) >= 1024
    relay.post("room", b"one")
    assert len(old.read_chunk()) >= 512
    assert new.read_event().data == "one"


def test_a_gap_is_an_event_that_has_a_position_of_its_own(start_relay: StartRelay) -> None:
    relay = start_relay(config(store={"max_messages": 2}))
    first = relay.publish("room", *(b"%d" % n for n in range(5)))[0]
    resumed = {"Last-Event-ID": first.text}
    gap, three = events(relay, "room", resumed).read_events(2)
    assert (gap.type, three.data) == ("gap", "3")
    # Who comes back from there has been told already.
    assert events(relay, "room", {"Last-Event-ID": gap.id}).read_event().data == "3"


def test_the_position_of_a_gap_before_the_first_message_of_a_second_is_taken_back(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(store={"max_messages": 1}))
    old, dropped = relay.publish("room", b"old", b"dropped")

    def first_of_a_second() -> bool:
        return relay.publish("room", b"new")[0].id[1] == 0

    wait_until(first_of_a_second, what="a message with tag 0")
    gap = events(relay, "room", {"Last-Event-ID": old.text}).read_event()
    assert gap.type == "gap"
    assert gap.position > dropped.id
    event = events(relay, "room", {"Last-Event-ID": gap.id}).read_event()
    assert (event.type, event.data) == ("message", "new")


def test_gaps_are_kept_from_clients_that_do_not_want_them(start_relay: StartRelay) -> None:
    relay = start_relay(config({"gap_event": False}, store={"max_messages": 1}))
    first = relay.publish("room", b"0", b"1", b"2")[0]
    assert events(relay, "room", {"Last-Event-ID": first.text}).read_event().data == "2"


def test_a_newcomer_starts_where_first_message_says(start_relay: StartRelay) -> None:
    starts = {"newest": [], "oldest": ["0", "1", "2", "3"], "2": ["1", "2", "3"], "-3": ["1"]}
    more = [
        {
            "type": "subscriber",
            "prefix": f"/from{name}/",
            "first_message": int(name) if name.lstrip("-").isdigit() else name,
            "create_on_get": True,
        }
        for name in starts
    ]
    relay = start_relay(config(more=more))
    relay.publish("room", *(b"%d" % n for n in range(4)))
    for name, first in starts.items():
        stream = events(relay, "room", prefix=f"/from{name}/")
        relay.post("room", b"new")
        got = [event.data for event in stream.read_events(len(first) or 1)]
        assert got == (first or ["new"])
        stream.close()
        relay.wait_until_held("room", 0)
        relay.delete("room")
        relay.publish("room", *(b"%d" % n for n in range(4)))


def test_backtrack_gives_the_last_messages_and_a_position_goes_before_it(relay: Daemon) -> None:
    positions = relay.publish("room", *(b"%d" % n for n in range(6)))
    got = events(relay, "room", query="?backtrack=2").read_events(2)
    assert [event.data for event in got] == ["4", "5"]
    back = events(relay, "room", {"Last-Event-ID": positions[0].text}, query="?backtrack=2")
    assert back.read_event().data == "1"
    none = events(relay, "room", query="?backtrack=0")
    relay.post("room", b"new")
    assert none.read_event().data == "new"


def test_a_stream_may_start_at_a_time(relay: Daemon) -> None:
    position = relay.publish("room", b"one")[0]
    second = position.id[0]
    stream = events(relay, "room", query=f"?time={second}")
    # What came before the relay was started is unknown, so that there may be a gap.
    event = stream.read_event()
    assert (event if event.type == "message" else stream.read_event()).data == "one"
    later = events(relay, "room", query=f"?time={second}&tag={position.id[1]}")
    relay.post("room", b"two")
    assert later.read_event().data == "two"


@pytest.mark.parametrize("query", ["?time=x", "?backtrack=-1", "?last_event_id=1", "?time=1&tag=x"])
def test_a_malformed_start_is_400(relay: Daemon, query: str) -> None:
    stream = Stream(relay, "room", {"Accept": "text/event-stream"}, query=query)
    assert stream.read_head().status == 400
