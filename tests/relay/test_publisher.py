"""The publisher location: GET, PUT, DELETE, POST, channel information, who may publish."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from .client import Connection, Response, chunked, request_bytes, wait_until
from .conftest import StartRelay
from .daemon import ORIGIN_WARNING, Daemon, config

TEXT_INFO = re.compile(
    r"queued messages: (\d+)\r?\n"
    r"last requested: (-?\d+) sec\. ago\r?\n"
    r"active subscribers: (\d+)\r?\n"
    r"last message id: (\d+:\d+)(\r?\n)?"
)
EVERY_BYTE = bytes(range(256)) * 4


def info_of(response: Response) -> dict[str, Any]:
    """The channel information in the body of an answer in JSON."""
    assert (response.header("Content-Type") or "").startswith("application/json")
    info: dict[str, Any] = json.loads(response.body)
    assert set(info) == {"messages", "requested", "subscribers", "last_message_id"}
    return info


# GET


def test_get_of_an_unknown_channel_is_404_and_creates_nothing(relay: Daemon) -> None:
    assert relay.request("GET", "/pub/c").status == 404
    assert relay.request("GET", "/pub/c").status == 404
    assert relay.delete("c").status == 404


def test_get_tells_messages_subscribers_and_last_message_id(relay: Daemon) -> None:
    _, last = relay.publish("c", b"one", b"two")
    relay.hold("c", last)
    info = relay.info("c")
    assert info["messages"] == 2
    assert info["subscribers"] == 1
    assert info["last_message_id"] == last.text
    assert 0 <= info["requested"] <= 20


def test_info_says_minus_one_when_nobody_ever_subscribed(relay: Daemon) -> None:
    relay.post("c", b"one")
    assert relay.info("c")["requested"] == -1


def test_info_counts_the_seconds_since_the_last_subscriber_request(relay: Daemon) -> None:
    relay.post("c", b"one")
    assert relay.get("c").status == 200
    assert relay.info("c")["requested"] == 0
    wait_until(lambda: relay.info("c")["requested"] == 1, what="a second to pass")


def test_info_of_an_empty_channel_has_no_last_message_id(relay: Daemon) -> None:
    relay.put("c")
    assert relay.info("c") == {
        "messages": 0,
        "requested": -1,
        "subscribers": 0,
        "last_message_id": None,
    }


# PUT


def test_put_creates_a_channel(relay: Daemon) -> None:
    assert relay.put("c").status == 200
    assert relay.info("c") is not None


def test_put_leaves_stored_messages_and_waiters_untouched(relay: Daemon) -> None:
    (position,) = relay.publish("c", b"one")
    poll = relay.hold("c", position)
    response = relay.put("c")
    assert response.status == 200
    info = info_of(response)
    assert (info["messages"], info["subscribers"]) == (1, 1)
    assert not poll.has_answer()
    assert relay.get("c").body == b"one"
    assert relay.post("c", b"two").status == 201
    assert poll.response().body == b"two"


def test_put_ignores_its_body(relay: Daemon) -> None:
    assert relay.request("PUT", "/pub/c", body=b"not a message").status == 200
    assert relay.stored("c") == 0


# DELETE


def test_subscriber_waiting_gets_410_when_channel_is_deleted(relay: Daemon) -> None:
    poll = relay.hold("c")
    assert relay.delete("c").status == 200
    assert poll.response().status == 410


def test_every_waiter_was_sent_410_before_delete_is_answered(relay: Daemon) -> None:
    polls = [relay.poll("c") for _ in range(30)]
    relay.wait_until_held("c", 30)
    response = relay.delete("c")
    assert response.status == 200
    assert info_of(response)["subscribers"] == 30
    # On loopback what was sent can be read: nothing may still be on its way now.
    assert all(poll.has_answer() for poll in polls)
    assert [poll.response().status for poll in polls] == [410] * 30


def test_delete_drops_the_messages(relay: Daemon) -> None:
    relay.publish("c", b"one", b"two")
    response = relay.delete("c")
    assert response.status == 200
    assert info_of(response)["messages"] == 0
    assert relay.info("c") is None
    relay.put("c")
    assert relay.stored("c") == 0
    poll = relay.hold("c")
    relay.post("c", b"three")
    assert poll.response().body == b"three"


def test_second_delete_is_404(relay: Daemon) -> None:
    assert relay.delete("c").status == 404
    relay.put("c")
    assert relay.delete("c").status == 200
    assert relay.delete("c").status == 404


def test_delete_leaves_other_channels_alone(relay: Daemon) -> None:
    relay.put("d")
    other = relay.hold("c")
    relay.delete("d")
    assert not other.has_answer()
    assert relay.post("c", b"m").status == 201
    assert other.response().body == b"m"


# POST


def test_post_is_202_when_nobody_is_held(relay: Daemon) -> None:
    assert relay.post("c", b"m").status == 202


def test_post_is_201_when_a_held_subscriber_was_sent_it(relay: Daemon) -> None:
    poll = relay.hold("c")
    assert relay.post("c", b"m").status == 201
    assert poll.response().body == b"m"
    assert relay.post("c", b"n").status == 202


def test_post_reaches_all_held_subscribers_at_once(relay: Daemon) -> None:
    polls = [relay.poll("c") for _ in range(50)]
    relay.wait_until_held("c", 50)
    response = relay.post("c", b"to all")
    assert response.status == 201
    assert info_of(response)["subscribers"] == 50
    answers = [poll.response() for poll in polls]
    assert {(a.status, a.body) for a in answers} == {(200, b"to all")}
    assert len({a.position for a in answers}) == 1
    assert relay.held("c") == 0


def test_an_empty_body_is_a_message(relay: Daemon) -> None:
    poll = relay.hold("c")
    assert relay.post("c", b"").status == 201
    answer = poll.response()
    assert (answer.status, answer.body) == (200, b"")
    assert relay.stored("c") == 1
    assert relay.get("c").body == b""


def test_a_message_may_be_any_bytes(relay: Daemon) -> None:
    poll = relay.hold("c")
    relay.post("c", EVERY_BYTE, content_type="application/octet-stream")
    assert poll.response().body == EVERY_BYTE
    assert relay.get("c").body == EVERY_BYTE


def test_a_chunked_body_is_a_message(relay: Daemon) -> None:
    poll = relay.hold("c")
    body = chunked(b"one ", b"and ", EVERY_BYTE)
    relay.request("POST", "/pub/c", {"Transfer-Encoding": "chunked"}, body)
    assert poll.response().body == b"one and " + EVERY_BYTE


def test_post_without_content_type_is_accepted_and_none_is_made_up(relay: Daemon) -> None:
    assert relay.post("c", b"m", content_type=None).status == 202
    answer = relay.get("c")
    assert (answer.status, answer.body) == (200, b"m")
    assert answer.header("Content-Type") is None


def test_post_tells_the_messages_after_it_and_the_subscribers_before_it(relay: Daemon) -> None:
    relay.post("c", b"one")
    first = relay.get("c")
    relay.hold("c", first.position)
    info = info_of(relay.post("c", b"two"))
    assert (info["messages"], info["subscribers"]) == (2, 1)
    assert info["last_message_id"] == relay.get("c", first.position).position.text


def test_post_of_a_message_as_large_as_max_body_is_accepted(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"max_body": 1000}))
    assert relay.post("c", b"x" * 1000).status == 202
    assert relay.post("c", b"x" * 1001).status == 413
    assert relay.get("c").body == b"x" * 1000
    assert relay.stored("c") == 1


def test_max_body_is_1_mib_by_default(relay: Daemon) -> None:
    assert relay.post("c", b"x" * 2**20).status == 202
    assert relay.post("c", b"x" * (2**20 + 1)).status == 413


def test_a_body_over_the_limit_is_refused_before_it_is_sent(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"max_body": "1K"}))
    connection = relay.connect()
    connection.send_request("POST", "/pub/c", {"Content-Length": "1025"})
    assert connection.read_response().status == 413
    connection.assert_closed()


def test_a_chunked_body_over_the_limit_is_refused(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"max_body": "1K"}))
    connection = relay.connect()
    body = chunked(*[b"x" * 100] * 11)
    connection.send_some(request_bytes("POST", "/pub/c", {"Transfer-Encoding": "chunked"}, body))
    assert connection.read_response().status == 413
    assert relay.info("c") is None


def test_a_publisher_that_half_closes_after_its_request_is_answered(relay: Daemon) -> None:
    poll = relay.hold("c")
    connection = relay.connect()
    connection.send_request("POST", "/pub/c", body=b"last words")
    connection.half_close()
    assert connection.read_response().status == 201
    assert poll.response().body == b"last words"


def test_create_on_post_false_is_404_until_put(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"create_on_post": False}))
    assert relay.post("c", b"m").status == 404
    assert relay.info("c") is None
    relay.put("c")
    assert relay.post("c", b"m").status == 202
    relay.delete("c")
    assert relay.post("c", b"m").status == 404


def test_store_messages_false_delivers_to_those_held_and_no_one_else(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(publisher={"store_messages": False}))
    held = relay.hold("c")
    response = relay.post("c", b"now or never")
    assert response.status == 201
    assert info_of(response)["messages"] == 0
    assert held.response().body == b"now or never"
    late = relay.hold("c")
    assert relay.post("c", b"the next").status == 201
    assert late.response().body == b"the next"


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "OPTIONS"])
def test_other_methods_at_a_publisher_are_405(shared_relay: Daemon, method: str) -> None:
    response = shared_relay.request(method, "/pub/other-methods")
    assert response.status == 405
    assert response.tokens("Allow") == {"get", "put", "post", "delete"}
    assert shared_relay.info("other-methods") is None


# The form of channel information


def test_info_is_plain_text_by_default(relay: Daemon) -> None:
    (position,) = relay.publish("c", b"one")
    for method in ("GET", "PUT", "POST"):
        response = relay.request(method, "/pub/c", body=b"")
        assert (response.header("Content-Type") or "").startswith("text/plain")
        match = TEXT_INFO.fullmatch(response.body.decode())
        assert match, response.body
        assert int(match[1]) == (2 if method == "POST" else 1)
        assert match[2] == "-1"
        assert match[3] == "0"
        assert (match[4] == position.text) == (method != "POST")
    response = relay.request("DELETE", "/pub/c")
    assert response.body.startswith(b"queued messages: 0")


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("application/json", "json"),
        ("text/plain", "plain"),
        ("*/*", "plain"),
        ("text/*", "plain"),
        ("application/xml", "xml"),
        ("text/xml", "xml"),
        ("application/yaml", "yaml"),
        ("APPLICATION/JSON", "json"),
        ("application/json; charset=utf-8", "json"),
        ("text/plain;q=0.5, application/json", "json"),
        ("text/plain;q=0.5, application/json;q=0.4", "plain"),
        ("application/json;q=0.3, application/xml;q=0.7, application/yaml;q=0.5", "xml"),
        ("application/json;q=0, */*;q=0.1", "plain"),
        ("text/plain;q=0, application/json;q=0.001", "json"),
        ("text/html, application/json;q=0.9, */*;q=0.1", "json"),
        # What cannot be met, or read, gets plain text.
        ("image/png", "plain"),
        ("application/json;q=0", "plain"),
        ("", "plain"),
        (";;;,,,/", "plain"),
        ("application/json;q=wrong", "plain|json"),
    ],
)
def test_info_follows_accept_and_never_stops_a_post(
    shared_relay: Daemon, accept: str, form: str
) -> None:
    response = shared_relay.request("POST", "/pub/accept", {"Accept": accept}, b"m")
    assert response.status == 202
    assert re.search(form, response.header("Content-Type") or "")


def test_info_as_xml_has_the_root_channel(relay: Daemon) -> None:
    (position,) = relay.publish("c", b"one")
    body = relay.request("GET", "/pub/c", {"Accept": "application/xml"}).body
    root = ET.fromstring(body)
    assert root.tag == "channel"
    assert {child.tag: (child.text or "").strip() for child in root} == {
        "messages": "1",
        "requested": "-1",
        "subscribers": "0",
        "last_message_id": position.text,
    }


def test_info_as_yaml_quotes_the_message_id(relay: Daemon) -> None:
    """Unquoted, SECOND:TAG is a number to base 60 for readers of YAML 1.1."""
    (position,) = relay.publish("c", b"one")
    body = relay.request("GET", "/pub/c", {"Accept": "application/yaml"}).body.decode()
    lines = [line.strip() for line in body.splitlines() if line.strip() not in ("", "---", "...")]
    items = dict(line.split(": ", 1) for line in lines)
    assert items.pop("last_message_id") in (f'"{position.text}"', f"'{position.text}'")
    assert items == {"messages": "1", "requested": "-1", "subscribers": "0"}


@pytest.mark.parametrize("accept", ["application/json", "application/xml", "application/yaml"])
def test_info_of_an_empty_channel_can_be_had_in_every_form(
    shared_relay: Daemon, accept: str
) -> None:
    shared_relay.put("empty")
    response = shared_relay.request("GET", "/pub/empty", {"Accept": accept})
    assert response.status == 200
    assert b"last_message_id" in response.body


def test_allow_delete_false_is_405_and_keeps_the_channel(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"allow_delete": False}))
    relay.post("c", b"m")
    answer = relay.delete("c")
    assert answer.status == 405
    assert answer.header("Allow") == "GET, PUT, POST"
    assert relay.request("PATCH", "/pub/c").header("Allow") == "GET, PUT, POST"
    assert relay.get("c").body == b"m"


# Who may publish


def test_strangers_may_not_publish(start_relay: StartRelay) -> None:
    relay = start_relay(
        config(subscriber={"timeout": 0.2}, publisher={"allow": ["192.0.2.0/24", "2001:db8::/32"]})
    )
    for method in ("GET", "PUT", "POST", "DELETE"):
        assert relay.request(method, "/pub/c", body=b"").status == 403
    assert relay.get("c").status == 304


def test_allow_names_addresses_and_networks(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"allow": ["127.0.0.1", "127.1.0.0/16"]}))
    expected = {"127.0.0.1": 202, "127.0.0.2": 403, "127.1.2.3": 202, "127.2.0.1": 403}
    for source, status in expected.items():
        connection = relay.connect(source=source)
        assert connection.request("POST", "/pub/c", body=b"m").status == status
    assert relay.stored("c") == 2


def test_all_of_loopback_may_publish_by_default(relay: Daemon) -> None:
    connection = relay.connect(source="127.9.8.7")
    assert connection.request("POST", "/pub/c", body=b"m").status == 202


def test_a_unix_socket_may_publish_by_default(start_relay: StartRelay, socket_path: Path) -> None:
    relay = start_relay(config(listen=["127.0.0.1:0", f"unix:{socket_path}"]))
    with Connection(str(socket_path)) as connection:
        assert connection.request("POST", "/pub/c", body=b"m").status == 202
    assert relay.get("c").body == b"m"


def test_a_post_with_an_origin_is_403_and_publishes_nothing(relay: Daemon) -> None:
    relay.allow_log(ORIGIN_WARNING)
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{relay.port}"):
        assert relay.request("POST", "/pub/c", {"Origin": origin}, b"m").status == 403
    assert relay.info("c") is None


def test_no_publisher_request_with_an_origin_is_let_in(relay: Daemon) -> None:
    relay.allow_log(ORIGIN_WARNING)
    relay.publish("c", b"m")
    for method in ("GET", "PUT", "DELETE"):
        assert relay.request(method, "/pub/c", {"Origin": "http://evil.example"}).status == 403
    assert relay.stored("c") == 1


def test_a_publisher_location_lets_in_the_origin_that_it_names(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"allow_origin": "http://good.example"}))
    relay.allow_log(ORIGIN_WARNING)
    for origin, status in {"http://good.example": 202, "http://evil.example": 403}.items():
        response = relay.request("POST", "/pub/c", {"Origin": origin}, b"m")
        assert response.status == status
    assert relay.stored("c") == 1
