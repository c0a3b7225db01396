"""Which location a path belongs to, and which channel it names."""

from __future__ import annotations

import re

import pytest

from .conftest import StartRelay
from .daemon import Config, Daemon, config

PUBLISHER = {"type": "publisher"}
SUBSCRIBER = {"type": "subscriber", "create_on_get": True}


def urls(**top: object) -> Config:
    """Locations by regular expression, where an id is one part of the path."""
    return {
        "locations": [
            {**PUBLISHER, "url": "/send/([^/]+)"},
            {**SUBSCRIBER, "url": "/updates/([^/]+)/now"},
            {**PUBLISHER, "prefix": "/pub/"},
        ],
        **top,
    }


@pytest.fixture
def by_url(start_relay: StartRelay) -> Daemon:
    return start_relay(urls())


# Matching


def test_a_path_outside_all_locations_is_404(shared_relay: Daemon) -> None:
    for path in ("/", "/pub", "/sub", "/other/c", "//pub/c", "/Pub/c", "/x/pub/c"):
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            assert shared_relay.request(method, path).status == 404


def test_the_first_location_that_matches_wins(start_relay: StartRelay) -> None:
    relay = start_relay(
        {
            "locations": [
                {**PUBLISHER, "prefix": "/a/special/"},
                {**SUBSCRIBER, "prefix": "/a/"},
                {**PUBLISHER, "url": "/a/(never/.*)"},
            ]
        }
    )
    assert relay.request("POST", "/a/special/c", body=b"m").status == 202
    assert relay.request("POST", "/a/never/c", body=b"m").status == 405
    assert relay.request("GET", "/a/c").body == b"m"


def test_a_url_pattern_must_match_the_whole_path(by_url: Daemon) -> None:
    assert by_url.request("POST", "/send/c", body=b"m").status == 202
    assert by_url.request("GET", "/updates/c/now").body == b"m"
    for path in ("/send/c/", "/send/a/b", "/x/send/c", "/send/", "/updates/c", "/updates/c/now/"):
        assert by_url.request("GET", path).status == 404


def test_url_has_precedence_over_prefix(start_relay: StartRelay) -> None:
    both = {**PUBLISHER, "url": "/send/([a-z]+)", "prefix": "/pub/"}
    relay = start_relay({"locations": [both]})
    assert relay.request("PUT", "/send/c").status == 200
    assert relay.request("PUT", "/pub/c").status == 404


def test_patterns_are_in_pythons_notation(start_relay: StartRelay) -> None:
    """What Django's users write: (?P<name>...), non-capturing groups, \\Z, escapes."""
    patterns = {
        r"/named/(?P<channel>[\w.-]+)": "/named/a.b-c_1",
        r"/(?:one|two)/(\d{3})": "/two/123",
        r"^/anchored/(.+)$": "/anchored/x/y",
        r"/end/(\w+)\Z": "/end/z",
        r"/(?i:CASE)/(.*?)/x": "/case/id/x",
    }
    relay = start_relay({"locations": [{**PUBLISHER, "url": url} for url in patterns]})
    for pattern, path in patterns.items():
        assert re.fullmatch(pattern, path)
        assert relay.request("PUT", path).status == 200


def test_a_prefix_takes_the_rest_of_the_path_as_the_id(relay: Daemon) -> None:
    assert relay.request("POST", "/pub/a/b//c", body=b"m").status == 202
    assert relay.get("a/b//c").body == b"m"


def test_a_prefix_without_a_rest_names_no_channel(shared_relay: Daemon) -> None:
    assert shared_relay.request("POST", "/pub/", body=b"m").status == 404
    assert shared_relay.request("GET", "/sub/").status == 404


# Ids


def test_a_path_is_matched_before_it_is_decoded(by_url: Daemon) -> None:
    """An encoded slash is part of the id, where a real one would match nothing."""
    assert by_url.request("POST", "/send/a%2Fb", body=b"m").status == 202
    assert by_url.request("POST", "/send/a/b", body=b"m").status == 404
    assert by_url.stored("a/b") == 1
    assert by_url.request("GET", "/updates/a%2fb/now").body == b"m"
    assert by_url.request("POST", "/%73end/c", body=b"m").status == 404


@pytest.mark.parametrize(
    "channel",
    [
        b"a/b",
        b"\0",
        b"a\0b",
        b"\n",
        b"\r\nX: y",
        b"%",
        b"%41",
        b" ",
        b"+",
        b"?",
        b"#",
        b"..",
        b"a/../b",
        b"\xff\xfe",
        "żółw".encode(),
        bytes(range(1, 255)),
    ],
)
def test_an_id_is_decoded_once_and_then_opaque_bytes(shared_relay: Daemon, channel: bytes) -> None:
    held = shared_relay.hold(channel)
    assert shared_relay.post(channel, b"for " + channel).status == 201
    assert held.response().body == b"for " + channel
    assert shared_relay.delete(channel).status == 200


def test_an_id_may_hold_every_byte_there_is(shared_relay: Daemon) -> None:
    """Each alone, and each between others; the publisher's information is of the same channel."""
    for byte in range(256):
        for channel in (bytes([byte]), b"a" + bytes([byte]) + b"z"):
            assert shared_relay.post(channel, b"%d" % byte).status == 202
            assert shared_relay.get(channel).body == b"%d" % byte
            assert shared_relay.stored(channel) == 1
            assert shared_relay.delete(channel).status == 200


def test_ids_that_differ_only_in_encoding_are_one_channel(relay: Daemon) -> None:
    relay.request("POST", "/pub/abc", body=b"m")
    assert relay.request("GET", "/sub/%61b%63").body == b"m"
    assert relay.request("GET", "/sub/%61%62%63").body == b"m"


def test_ids_that_differ_in_any_byte_are_other_channels(relay: Daemon) -> None:
    for target in ("c", "C", "c%00", "c%20", "c/", "%2563", "c%0A"):
        relay.request("POST", f"/pub/{target}", body=target.encode())
    for target in ("c", "C", "c%00", "c%20", "c/", "%2563", "c%0A"):
        answer = relay.request("GET", f"/sub/{target}")
        assert answer.body == target.encode()


@pytest.mark.parametrize("path", ["%", "a%", "%4", "%zz", "%4g", "a%%41", "%u0041", "%-1"])
def test_bad_percent_encoding_is_400(shared_relay: Daemon, path: str) -> None:
    assert shared_relay.request("POST", f"/pub/{path}", body=b"m").status == 400
    assert shared_relay.request("GET", f"/sub/{path}").status == 400


def test_the_query_is_never_part_of_the_id(relay: Daemon) -> None:
    poll = relay.connect()
    poll.send_request("GET", "/sub/c?_=1795217222123&x=/y%")
    relay.wait_until_held("c", 1)
    assert relay.request("POST", "/pub/c?whatever", body=b"m").status == 201
    assert poll.read_response().body == b"m"
    assert relay.request("POST", "/pub/c?", body=b"n").status == 202
    assert relay.stored("c") == 2


def test_an_id_has_255_bytes_at_most_after_decoding(shared_relay: Daemon) -> None:
    assert shared_relay.request("PUT", "/pub/" + "x" * 255).status == 200
    assert shared_relay.request("PUT", "/pub/" + "%C5" * 255).status == 200
    assert shared_relay.request("PUT", "/pub/" + "x" * 256).status == 400
    assert shared_relay.request("GET", "/sub/" + "x" * 256).status == 400


def test_id_length_is_a_setting(start_relay: StartRelay) -> None:
    relay = start_relay(config(limits={"id_length": 5}))
    assert relay.put("12345").status == 200
    assert relay.put("123456").status == 400


def test_locations_of_both_types_share_the_channels_of_their_store(start_relay: StartRelay) -> None:
    relay = start_relay(
        config(more=[{**PUBLISHER, "prefix": "/pub2/"}, {**SUBSCRIBER, "prefix": "/sub2/"}])
    )
    first, second = relay.hold("c"), relay.hold("c", prefix="/sub2/")
    assert relay.post("c", b"m", prefix="/pub2/").status == 201
    assert first.response().body == second.response().body == b"m"


# Ids in the query, and several


def by_argument(**top: object) -> Config:
    """Locations whose ids are in the query, and one that takes several from the path."""
    return {
        "locations": [
            {**PUBLISHER, "prefix": "/pub", "channel_argument": "id"},
            {**SUBSCRIBER, "url": "/(?:sub|listen)", "channel_argument": "channel"},
            {**SUBSCRIBER, "prefix": "/few/", "split": ",", "max_channels": 2},
            {**PUBLISHER, "prefix": "/"},
        ],
        **top,
    }


def test_ids_come_from_the_query_where_a_location_names_its_parameter(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(by_argument())
    assert relay.request("POST", "/pub?x=1&id=a%2Fb%20+&_=2", body=b"m").status == 202
    assert relay.request("GET", "/sub?channel=a/b%20%2b").body == b"m"
    assert relay.request("GET", "/listen?channel=a%2fb%20+").body == b"m"


def test_the_prefix_is_the_whole_path_where_ids_are_in_the_query(start_relay: StartRelay) -> None:
    relay = start_relay(by_argument())
    assert relay.request("PUT", "/pub?id=c").status == 200
    # The last location has these.
    assert relay.request("GET", "/pub/?id=c").status == 404
    assert relay.request("GET", "/pubs?id=c").status == 404


def test_a_query_without_an_id_is_400(start_relay: StartRelay) -> None:
    relay = start_relay(by_argument())
    for query in ("", "?", "?id=", "?id", "?ids=c", "?channel=c&ID=c"):
        assert relay.request("PUT", f"/pub{query}").status == 400
    for query in ("", "?channel=", "?id=c"):
        answer = relay.request("GET", f"/sub{query}")
        assert answer.status == 400
        assert b"channel_argument" in answer.body


def test_a_publisher_names_one_channel(start_relay: StartRelay) -> None:
    relay = start_relay(by_argument())
    assert relay.request("POST", "/pub?id=a&id=b", body=b"m").status == 403
    assert relay.request("GET", "/pub?id=a").status == 404
    assert relay.request("POST", "/pub?id=a&id=%61", body=b"m").status == 202


def test_more_channels_than_max_channels_are_403(start_relay: StartRelay) -> None:
    relay = start_relay(by_argument())
    relay.request("POST", "/pub?id=a", body=b"m")
    assert relay.request("GET", "/few/a,b,c").status == 403
    assert relay.request("GET", "/few/" + ",".join(["a"] * 1025)).status == 403
    # Each counts once, and nothing between two separators is none.
    assert relay.request("GET", "/few/a,%61,,a").body == b"m"


def test_a_separator_that_is_encoded_is_part_of_an_id(start_relay: StartRelay) -> None:
    relay = start_relay(by_argument())
    relay.request("POST", "/pub?id=a,b", body=b"m")
    assert relay.request("GET", "/few/a%2Cb").body == b"m"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ({"url": "/some/(\\w+)/(\\w+)(?:/(\\w+))?"}, "/some/a/b"),
        ({"prefix": "/some/", "split": ","}, "/some/b,a,b"),
        ({"url": "/some/(.+)", "split": "/"}, "/some//a/b/"),
        ({"prefix": "/some", "channel_argument": "c"}, "/some?c=b&_=1&c=a&c="),
        ({"prefix": "/some", "channel_argument": "c", "split": ","}, "/some?c=b,a"),
    ],
    ids=["groups", "split", "path", "parameters", "parameter that is split"],
)
def test_a_request_that_names_several_channels_gets_the_messages_of_each(
    start_relay: StartRelay, location: Config, target: str
) -> None:
    relay = start_relay(config(more=[{**SUBSCRIBER, **location}]))
    for channel, body in (("b", b"1"), ("a", b"2"), ("other", b"3"), ("b", b"4")):
        relay.post(channel, body)
    headers: dict[str, str] = {}
    bodies = []
    for _ in range(3):
        answer = relay.request("GET", target, headers)
        assert answer.status == 200
        bodies.append((answer.header("X-Push-Channel"), answer.body))
        headers = {
            "If-Modified-Since": answer.header("Last-Modified") or "",
            "If-None-Match": answer.header("Etag") or "",
        }
    assert bodies == [("b", b"1"), ("a", b"2"), ("b", b"4")]
