"""Which transport a request gets, and the smaller ones: HTTP stream, multipart, JSONP, batches."""

from __future__ import annotations

import email.message
import email.parser
import json
import re

import pytest

from .client import Connection, Headers
from .conftest import StartRelay
from .daemon import Daemon, config
from .streams import EVENTS, Stream

STREAM = {"TE": "chunked"}
PARTS = {"Accept": "multipart/mixed"}
KINDS: dict[str, Headers] = {
    "eventsource": EVENTS,
    "stream": STREAM,
    "multipart": PARTS,
    "longpoll": (),
}


def content_type(relay: Daemon, headers: Headers, prefix: str = "/sub/") -> tuple[int, str | None]:
    stream = Stream(relay, "room", headers, prefix=prefix)
    head = stream.read_head()
    stream.close()
    return head.status, head.header("Content-Type")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "text/plain"),
        ({"Accept": "*/*"}, "text/plain"),
        ({"Accept": "text/event-stream"}, "text/event-stream"),
        ({"Accept": "text/html, Text/Event-Stream;q=0.9"}, "text/event-stream"),
        ({"TE": "trailers, chunked"}, "application/octet-stream"),
        ({"TE": "trailers"}, "text/plain"),
        ({"Accept": "multipart/mixed"}, "multipart/mixed"),
    ],
    ids=str,
)
def test_the_request_chooses_the_transport(
    shared_relay: Daemon, headers: dict[str, str], expected: str
) -> None:
    shared_relay.post("room", b"one")
    status, kind = content_type(shared_relay, headers)
    assert status == 200
    assert (kind or "").split(";")[0] == expected


@pytest.mark.parametrize("only", KINDS)
def test_a_location_with_one_transport_gives_that_one_whatever_is_asked_for(
    start_relay: StartRelay, only: str
) -> None:
    relay = start_relay(config({"transports": [only]}))
    relay.post("room", b"one")
    kinds = {(content_type(relay, headers)[1] or "").split(";")[0] for headers in KINDS.values()}
    assert len(kinds) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_transport_that_is_not_allowed_is_406(start_relay: StartRelay, kind: str) -> None:
    others = [name for name in (*KINDS, "websocket") if name != kind]
    relay = start_relay(config({"transports": others}))
    relay.post("room", b"one")
    response = Stream(relay, "room", KINDS[kind]).read_head()
    assert response.status == 406
    assert response.header("X-Push-Explain")
    assert response.header("Access-Control-Allow-Origin") == "*"


def test_where_only_websockets_are_allowed_any_other_get_is_426(start_relay: StartRelay) -> None:
    relay = start_relay(config({"transports": ["websocket"]}))
    response = relay.get("room")
    assert response.status == 426
    assert "websocket" in response.tokens("Upgrade")


# HTTP streams


def test_an_http_stream_is_messages_with_a_separator_behind_each(start_relay: StartRelay) -> None:
    relay = start_relay(config({"content_type": "text/x", "stream_separator": "|\r\n"}))
    relay.post("room", b"one\n")
    stream = Stream(relay, "room", STREAM)
    assert stream.read_head().header("Content-Type") == "text/x"
    relay.post("room", b"")
    relay.post("room", b"two")
    relay.delete("room")
    assert stream.read_rest() == b"one\n|\r\n|\r\ntwo|\r\n"


def test_header_and_footer_stand_around_an_http_stream(start_relay: StartRelay) -> None:
    relay = start_relay(
        config(
            {
                "header_template": "<html>",
                "footer_template": "</html>",
                "message_template": "<p>~id~ ~channel~ ~text~ ~event-type~</p>",
            }
        )
    )
    stream = Stream(relay, "room", STREAM)
    stream.read_head()
    relay.request("POST", "/pub/room", {"Event-Type": "news"}, b"one")
    relay.delete("room")
    assert stream.read_rest() == b"<html><p>1 room one news</p>\n</html>"


# multipart/mixed


def parts_of(raw: bytes) -> list[email.message.Message]:
    payload = email.parser.BytesParser().parsebytes(raw).get_payload()
    return [part for part in payload if isinstance(part, email.message.Message)]


def test_each_part_has_its_position_and_content_type(relay: Daemon) -> None:
    relay.post("room", b"one\r\n", content_type="text/x")
    stream = Stream(relay, "room", PARTS)
    head = stream.read_head()
    relay.post("room", b"two", content_type=None)
    relay.delete("room")
    raw = b"Content-Type: " + (head.header("Content-Type") or "").encode() + b"\r\n\r\n"
    first, second = parts_of(raw + stream.read_rest())
    assert first.get_payload(decode=True) == b"one\r\n"
    assert first["Content-Type"] == "text/x"
    assert second.get_payload(decode=True) == b"two"
    assert second["Content-Type"] is None
    resumed = {"If-Modified-Since": first["Last-Modified"], "If-None-Match": first["Etag"]}
    relay.post("room", b"x")
    assert relay.get("room", headers=resumed).status == 200


def test_a_part_is_whole_without_the_next_one(relay: Daemon) -> None:
    stream = Stream(relay, "room", PARTS)
    boundary = (stream.read_head().header("Content-Type") or "").split("boundary=")[1].encode()
    stream.read_until(b"--" + boundary)
    relay.post("room", b"one")
    assert b"one" in stream.read_until(b"--" + boundary)


def test_who_knows_a_boundary_cannot_make_parts_for_others(relay: Daemon) -> None:
    mine, others = Stream(relay, "room", PARTS), Stream(relay, "room", PARTS)
    boundary = (mine.read_head().header("Content-Type") or "").split("boundary=")[1]
    head = others.read_head().header("Content-Type") or ""
    forged = f'--{boundary}\r\nEtag: "0"\r\n\r\nforged\r\n--{boundary}'
    relay.post("room", forged.encode())
    relay.delete("room")
    raw = b"Content-Type: " + head.encode() + b"\r\n\r\n" + others.read_rest()
    assert [part.get_payload() for part in parts_of(raw)] == [forged]


def test_a_part_behind_a_gap_says_so(start_relay: StartRelay) -> None:
    relay = start_relay(config(store={"max_messages": 1}))
    first = relay.publish("room", b"0", b"1", b"2")[0]
    stream = Stream(relay, "room", {**PARTS, **first.headers})
    stream.read_head()
    assert b"X-Push-Gap: " in stream.read_until(b"\r\n\r\n2\r\n--")


# JSONP


def jsonp(start_relay: StartRelay, **options: object) -> Daemon:
    return start_relay(config({"transports": ["longpoll", "jsonp"], **options}))


def call(relay: Daemon, query: str) -> tuple[str, dict[str, object]]:
    response = relay.request("GET", f"/sub/room?{query}")
    assert response.status == 200
    assert (response.header("Content-Type") or "").startswith("application/javascript")
    match = re.fullmatch(r"/\*\*/([^(]+)\((.*)\);\n", response.body.decode(), re.DOTALL)
    assert match
    return match[1], json.loads(match[2])


def test_a_script_is_called_with_what_is_new_and_its_position(start_relay: StartRelay) -> None:
    relay = jsonp(start_relay)
    relay.publish("room", b'"</script>\xe2\x80\xa8', b"\xff")
    name, answer = call(relay, "callback=app.on%5B1%5D")
    assert name == "app.on[1]"
    assert [m["text"] for m in answer["messages"]] == ['"</script>\u2028', "\ufffd"]  # type: ignore[attr-defined]
    relay.post("room", b"next")
    _, answer = call(relay, f"callback=f&last_event_id={answer['id']}")
    assert [m["text"] for m in answer["messages"]] == ["next"]  # type: ignore[attr-defined]


def test_a_script_hears_of_a_time_out_as_an_empty_answer(start_relay: StartRelay) -> None:
    relay = jsonp(start_relay, timeout=0.2)
    _, answer = call(relay, "callback=f&last_event_id=5:6")
    assert answer["messages"] == []
    assert answer["id"] == "5:6"


@pytest.mark.parametrize("query", ["&time=5", "&time=0", "&last_event_id=0:0"])
def test_the_position_of_an_empty_answer_is_taken_back(start_relay: StartRelay, query: str) -> None:
    relay = jsonp(start_relay, timeout=0.2)
    _, answer = call(relay, "callback=f" + query)
    relay.post("room", b"one")
    _, answer = call(relay, f"callback=f&last_event_id={answer['id']}")
    assert [m["text"] for m in answer["messages"]] == ["one"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["a;b", "a(b", "1a", "a%3Cb", "x" * 129, "%zz", "a%20b"])
def test_a_callback_that_could_be_more_than_a_name_is_400(
    start_relay: StartRelay, name: str
) -> None:
    relay = jsonp(start_relay)
    assert relay.request("GET", f"/sub/room?callback={name}").status == 400


def test_a_callback_means_nothing_where_jsonp_is_not_named(relay: Daemon) -> None:
    relay.post("room", b"one")
    assert relay.request("GET", "/sub/room?callback=f").body == b"one"


# Batches


def test_a_batch_is_all_that_waits_in_one_answer(start_relay: StartRelay) -> None:
    forms = ("multipart", "json", "raw")
    more = [{"type": "subscriber", "prefix": f"/{form}/", "batch": form} for form in forms]
    relay = start_relay(config(more=more))
    last = relay.publish("room", b"one", b"two", b"three")[-1]
    for form in forms:
        response = relay.get("room", prefix=f"/{form}/")
        assert response.position == last
        if form == "raw":
            assert response.body == b"onetwothree"
        elif form == "json":
            assert [m["text"] for m in json.loads(response.body)] == ["one", "two", "three"]
        else:
            kind = response.header("Content-Type") or ""
            raw = f"Content-Type: {kind}\r\n\r\n".encode() + response.body
            assert [p.get_payload(decode=True) for p in parts_of(raw)] == [b"one", b"two", b"three"]


def test_each_multipart_batch_has_a_boundary_of_its_own(start_relay: StartRelay) -> None:
    relay = start_relay(config({"batch": "multipart"}))
    relay.publish("room", b"one", b"two")
    assert len({relay.get("room").header("Content-Type") for _ in range(5)}) == 5


def test_a_message_that_was_waited_for_has_the_form_of_a_batch(start_relay: StartRelay) -> None:
    relay = start_relay(config({"batch": "json"}))
    poll = relay.hold("room")
    relay.post("room", b"one")
    assert [m["text"] for m in json.loads(poll.response().body)] == ["one"]


def test_large_batches_come_in_pieces_that_follow_each_other(start_relay: StartRelay) -> None:
    relay = start_relay(config({"batch": "raw"}))
    bodies = [b"%04d" % n for n in range(100)]
    relay.publish("room", *bodies)
    got, position = b"", None
    with Connection(relay.address) as connection:
        while len(got) < 400:
            headers: Headers = position.headers if position else ()
            response = connection.request("GET", "/sub/room", headers)
            assert 0 < len(response.body) <= 400
            got, position = got + response.body, response.position
    assert got == b"".join(bodies)
