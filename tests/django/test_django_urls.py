"""The URLs of channels: which host, which scheme, which path."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Template
from django.test import RequestFactory, override_settings
from django.utils.html import escape

from pushserver.utils import updates

LOCATIONS = [
    {"type": "subscriber", "url": r"/updates/([^/]+)"},
    {"type": "publisher", "url": r"/send-update/([^/]+)"},
]


def urls(push_server: dict[str, Any], channel_id: str = "room") -> tuple[str, str]:
    with override_settings(PUSH_SERVER=push_server):
        return updates.publisher_url(channel_id), updates.subscriber_url(channel_id)


@pytest.mark.parametrize(
    ("push_server", "host"),
    [
        ({}, "127.0.0.1:8001"),
        ({"port": 9001}, "127.0.0.1:9001"),
        ({"port": "9001"}, "127.0.0.1:9001"),
        ({"address": "10.0.0.5", "port": 80}, "10.0.0.5:80"),
        ({"address": ""}, "127.0.0.1:8001"),
        ({"address": "*"}, "127.0.0.1:8001"),
        ({"address": None}, "127.0.0.1:8001"),
        ({"listen": "*:9001"}, "127.0.0.1:9001"),
        ({"address": "0.0.0.0"}, "127.0.0.1:8001"),
        ({"address": "::"}, "[::1]:8001"),
        ({"address": "::1"}, "[::1]:8001"),
        ({"listen": ["unix:/run/push.sock", "[::1]:9001", "127.0.0.1:9002"]}, "[::1]:9001"),
    ],
)
def test_without_hosts_the_relays_own_address_is_taken(
    push_server: dict[str, Any], host: str
) -> None:
    assert urls({**push_server, "locations": LOCATIONS}) == (
        f"http://{host}/send-update/room",
        f"http://{host}/updates/room",
    )


def test_hosts_are_taken_with_their_scheme() -> None:
    push_server = {
        "publisher_host": {"location": "push.internal:8443", "secure": True},
        "subscriber_host": {"location": "example.com"},
        "locations": LOCATIONS,
    }
    assert urls(push_server) == (
        "https://push.internal:8443/send-update/room",
        "http://example.com/updates/room",
    )


@pytest.mark.parametrize(
    ("address", "location", "scheme"),
    [
        ("127.0.0.1", "127.0.0.1:8001", "http"),
        ("127.0.0.1", "localhost:8001", "http"),
        ("", "127.0.0.1:8001", "http"),
        ("", "[::1]:8001", "http"),
        ("0.0.0.0", "localhost:8001", "http"),
        ("0.0.0.0", "[::1]:8001", "https"),
        ("::", "[::1]:8001", "http"),
        ("::", "127.0.0.1:8001", "https"),
        ("::1", "[::1]:8001", "http"),
        ("127.0.0.1", "127.0.0.1:8443", "https"),
        ("127.0.0.1", "127.0.0.1", "https"),
        ("127.0.0.1", "[::1]:8001", "https"),
        ("127.0.0.1", "127.0.0.2:8001", "https"),
        ("127.0.0.1", "push.example.com:8001", "https"),
        ("10.0.0.5", "10.0.0.5:8001", "https"),
    ],
)
def test_https_is_published_to_all_but_the_relay_itself(
    address: str, location: str, scheme: str
) -> None:
    push_server = {
        "address": address,
        "publisher_host": {"location": location, "secure": True},
        "locations": LOCATIONS,
    }
    assert urls(push_server)[0] == f"{scheme}://{location}/send-update/room"


def test_without_locations_there_are_the_originals_prefixes() -> None:
    assert urls({}) == (
        "http://127.0.0.1:8001/publisher/room",
        "http://127.0.0.1:8001/subscriber/room",
    )


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ({"url": r"/updates/([^/]+)"}, "/updates/room"),
        ({"url": r"^/updates/([^/]+)$"}, "/updates/room"),
        ({"url": r"/updates/(?P<channel>[^/]+)/?"}, "/updates/room"),
        ({"url": r"/updates/(.+)/poll"}, "/updates/room/poll"),
        ({"url": r"/(?:updates)/([a-z]+)"}, "/updates/room"),
        ({"url": r"/100%25/([^/]+)"}, "/100%25/room"),
        ({"prefix": "/updates/"}, "/updates/room"),
        ({"prefix": "/updates-"}, "/updates-room"),
        ({"url": r"/by-url/([^/]+)", "prefix": "/by-prefix/"}, "/by-url/room"),
        ({"prefix": "/sub", "channel_argument": "channel"}, "/sub?channel=room"),
        ({"url": r"^/(?:sub)/?$", "channel_argument": "id"}, "/sub?id=room"),
    ],
)
def test_paths_are_made_from_patterns_and_prefixes(location: dict[str, str], path: str) -> None:
    push_server = {"locations": [{"type": "subscriber", **location}, LOCATIONS[1]]}
    assert urls(push_server)[1] == f"http://127.0.0.1:8001{path}"


def test_first_location_of_a_type_is_taken() -> None:
    second = {"type": "subscriber", "url": r"/later/([^/]+)"}
    assert urls({"locations": [*LOCATIONS, second]})[1].endswith("/updates/room")


@pytest.mark.parametrize(
    ("channel_id", "quoted"),
    [
        ("some_channel_id", "some_channel_id"),
        ("a/b c", "a%2Fb%20c"),
        ("grün", "gr%C3%BCn"),
        ("100%", "100%25"),
        ("x&y='<\">", "x%26y%3D%27%3C%22%3E"),
        ("a?b#c", "a%3Fb%23c"),
        ("line\nend", "line%0Aend"),
        ("...", "..."),
    ],
)
@pytest.mark.parametrize("location", [LOCATIONS[0], {"type": "subscriber", "prefix": "/updates/"}])
def test_ids_are_quoted(location: dict[str, str], channel_id: str, quoted: str) -> None:
    url = urls({"locations": [location, LOCATIONS[1]]}, channel_id)[1]
    assert url == f"http://127.0.0.1:8001/updates/{quoted}"


def test_ids_in_a_query_are_quoted_and_may_be_anything() -> None:
    location = {"type": "subscriber", "prefix": "/sub", "channel_argument": "c", "split": ","}
    publisher = {"type": "publisher", "prefix": "/pub", "channel_argument": "c"}
    push_server = {"locations": [location, publisher]}
    assert urls(push_server, "a&b=c,d+e/..") == (
        "http://127.0.0.1:8001/pub?c=a%26b%3Dc%2Cd%2Be%2F..",
        "http://127.0.0.1:8001/sub?c=a%26b%3Dc%2Cd%2Be%2F..",
    )
    with pytest.raises(ValueError, match="must not be empty"):
        urls(push_server, "")


@pytest.mark.parametrize("channel_id", ["", ".", ".."])
@pytest.mark.parametrize("location", [LOCATIONS[0], {"type": "subscriber", "prefix": "/updates/"}])
def test_ids_that_no_url_can_hold_are_refused(location: dict[str, str], channel_id: str) -> None:
    with pytest.raises(ValueError):
        urls({"locations": [location, LOCATIONS[1]]}, channel_id)


def test_id_that_the_pattern_does_not_match_is_refused() -> None:
    numbers = {"type": "subscriber", "url": r"/poll/(\d+)"}
    assert urls({"locations": [numbers, LOCATIONS[1]]}, "42")[1].endswith("/poll/42")
    with pytest.raises(ValueError, match=r"'room' does not fit .*\['url'\]: /poll/"):
        urls({"locations": [numbers, LOCATIONS[1]]}, "room")


def test_relay_on_unix_sockets_alone_needs_hosts() -> None:
    with pytest.raises(ImproperlyConfigured, match="set publisher_host"):
        urls({"listen": "unix:/run/push.sock", "locations": LOCATIONS})


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8000", "localhost:8001"),
        ("127.0.0.1:8000", "127.0.0.1:8001"),
        ("testserver", "testserver:8001"),
    ],
)
def test_tag_takes_the_pages_host_name(host: str, expected: str) -> None:
    request = RequestFactory().get("/", headers={"host": host})
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        assert rendered({"request": request}) == f"http://{expected}/updates/room"


def test_tag_takes_the_subscriber_host_where_there_is_one() -> None:
    request = RequestFactory().get("/", headers={"host": "localhost:8000"})
    host = {"location": "push.example.com", "secure": True}
    with override_settings(PUSH_SERVER={"subscriber_host": host, "locations": LOCATIONS}):
        assert rendered({"request": request}) == "https://push.example.com/updates/room"


def test_tag_without_a_request_takes_the_relays_address() -> None:
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        assert rendered({}) == "http://127.0.0.1:8001/updates/room"


def rendered(context: dict[str, Any]) -> str:
    return Template('{% load pushserver %}{% channel_url "room" %}').render(Context(context))


def test_escaping_leaves_urls_as_they_are() -> None:
    # Everything of ASCII, and within a pattern all that it may have.
    channel_id = "".join(map(chr, range(1, 128)))
    location = {"type": "subscriber", "url": r"/a;b,c=d@e:!\$\(\*\)~_-/([^/]+)"}
    with override_settings(PUSH_SERVER={"locations": [location, LOCATIONS[1]]}):
        url = updates.subscriber_url(channel_id)
        template = Template("{% load pushserver %}{% channel_url id %}")
        assert template.render(Context({"id": channel_id})) == url == escape(url)


def test_tag_can_keep_its_url_in_a_variable() -> None:
    template = Template('{% load pushserver %}{% channel_url "room" as url %}<{{ url }}>')
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        assert template.render(Context({})) == "<http://127.0.0.1:8001/updates/room>"
