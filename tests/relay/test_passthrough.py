"""Notices to Django: what they hold, when they come, and that Django's troubles are its own.

Without passthrough_linger, whose tests are in test_linger.py.
"""

from __future__ import annotations

import signal
import socket
import time

import pytest

from .client import Poll, request_bytes, wait_until
from .conftest import StartRelay
from .daemon import Config, Daemon, config
from .fake_django import FakeDjango, Notice

SUBSCRIBE, UNSUBSCRIBE = "subscribe", "unsubscribe"
PAIR = [(SUBSCRIBE, "c"), (UNSUBSCRIBE, "c")]
NOTICE_WARNING = "warning: .*(notice|passthrough)"
DRAIN_WARNING = "warning: the drain takes too long"
BROWSER = [
    ("Host", "127.0.0.1:8001"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Test/1.0"),
    ("Accept", "application/json, text/javascript, */*; q=0.01"),
    ("Accept-Language", "sl-SI,sl;q=0.9,en;q=0.8"),
    ("Origin", "http://127.0.0.1:8000"),
    ("Referer", "http://127.0.0.1:8000/"),
    ("Cookie", 'sessionid=abc123; csrftoken="x y"; empty='),
    ("Authorization", "Basic dXNlcjpwYXNz"),
    ("Sec-Fetch-Mode", "cors"),
]


def pairs_to(url: str) -> Config:
    """Keys of a location whose every held request has its pair of notices."""
    return {"passthrough": url, "passthrough_linger": 0}


def with_passthrough(
    django: FakeDjango, subscriber: Config | None = None, **limits: object
) -> Config:
    """A configuration whose subscriber location sends its notices to the application."""
    return config(subscriber={**pairs_to(django.url), **(subscriber or {})}, limits=limits)


@pytest.fixture
def noticed(start_relay: StartRelay, django: FakeDjango) -> Daemon:
    """A relay whose notices go to the application of the fixture `django`."""
    return start_relay(with_passthrough(django))


# What a notice holds


def test_a_notice_is_a_post_of_a_form(noticed: Daemon, django: FakeDjango) -> None:
    noticed.hold("c").close()
    subscribe, unsubscribe = django.wait_for(2)
    assert subscribe.line == b"POST /passthrough HTTP/1.1"
    assert subscribe.body == b"channel_id=c&subscribe=1"
    assert unsubscribe.body == b"channel_id=c&unsubscribe=1"
    for notice in (subscribe, unsubscribe):
        assert notice.header("Content-Type") == b"application/x-www-form-urlencoded"
        assert notice.header("Host") == f"127.0.0.1:{django.port}".encode()


@pytest.mark.parametrize(
    "channel", [b"a b", b"a&subscribe=1", b"x=y;z", b"a/b?c#d%", "żółw".encode(), b"\0\xff\n+"]
)
def test_any_channel_id_survives_the_form(
    noticed: Daemon, django: FakeDjango, channel: bytes
) -> None:
    noticed.hold(channel).close()
    assert [notice.channel for notice in django.wait_for(2)] == [channel, channel]


def test_the_subscribers_headers_come_with_both_notices(
    noticed: Daemon, django: FakeDjango
) -> None:
    noticed.hold("c", headers=BROWSER).close()
    for notice in django.wait_for(2):
        for name, value in BROWSER[1:]:
            assert notice.header(name) == value.encode()


def test_nothing_is_added_but_where_the_request_came_from(
    noticed: Daemon, django: FakeDjango
) -> None:
    """No Accept or User-Agent that did not come."""
    noticed.hold("c", headers={"Host": "relay.test:81"}).close()
    for notice in django.wait_for(2):
        assert {name: value for name, value in notice.fields if name != "content-length"} == {
            "host": f"127.0.0.1:{django.port}".encode(),
            "content-type": b"application/x-www-form-urlencoded",
            "x-forwarded-for": b"127.0.0.1",
            "x-forwarded-proto": b"http",
            "x-forwarded-host": b"relay.test:81",
        }


def test_forwarded_headers_of_a_proxy_on_loopback_are_kept(
    noticed: Daemon, django: FakeDjango
) -> None:
    headers = {
        "X-Forwarded-For": "198.51.100.7, 203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.example.com",
    }
    noticed.hold("c", headers=headers).close()
    for notice in django.wait_for(2):
        assert notice.header("X-Forwarded-For") == b"198.51.100.7, 203.0.113.9, 127.0.0.1"
        assert notice.header("X-Forwarded-Proto") == b"https"
        assert notice.header("X-Forwarded-Host") == b"www.example.com"


def own_address() -> str:
    """An address of this machine that is not on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing, but finds the way
        except OSError as error:
            pytest.skip(f"this machine has no address but loopback: {error}")
        address: str = probe.getsockname()[0]
        return address


def test_forwarded_headers_of_a_stranger_are_replaced(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    """It could claim to have come by https; where it comes from it cannot change."""
    address = own_address()
    relay = start_relay({**with_passthrough(django), "address": "*"})
    headers = {
        "X-Forwarded-For": "198.51.100.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.example.com",
        "Host": "relay.test:81",
    }
    with Poll((address, relay.port), "/sub/c", headers=headers):
        relay.wait_until_held("c", 1)
    for notice in django.wait_for(2):
        assert notice.header("X-Forwarded-For") == f"198.51.100.7, {address}".encode()
        assert notice.header("X-Forwarded-Proto") == b"http"
        assert notice.header("X-Forwarded-Host") == b"relay.test:81"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eA=="),
        ("TE", "trailers"),
        ("Trailer", "X-T"),
        ("Content-Language", "sl"),
        ("Content-Disposition", "inline"),
        ("Content-Encoding", "gzip"),
        ("Expect", "100-continue"),
        ("Upgrade", "h2c"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "x"),
        ("If-Modified-Since", "Thu, 1 Jan 2099 00:00:00 GMT"),
        ("If-None-Match", "5"),
        ("If-Unmodified-Since", "Thu, 1 Jan 2099 00:00:00 GMT"),
        ("If-Match", '"5"'),
        ("If-Range", '"5"'),
        ("Range", "bytes=0-1"),
        ("Accept-Encoding", "gzip, br"),
        ("X_Forwarded_User", "root"),
        ("Remote_User", "root"),
    ],
)
def test_headers_of_the_connection_the_body_and_the_cache_are_not_passed_on(
    start_relay: StartRelay, django: FakeDjango, name: str, value: str
) -> None:
    """Names with _ neither: to Django they look like those with -."""
    relay = start_relay(with_passthrough(django))
    relay.hold("c", headers={name: value, "X-End": "y"}).close()
    for notice in django.wait_for(2):
        assert notice.all(name) == []
        assert notice.header("X-End") == b"y"


def test_headers_that_connection_names_are_not_passed_on(
    noticed: Daemon, django: FakeDjango
) -> None:
    headers = [
        ("X-Hop", "1"),
        ("Connection", "keep-alive, x-HOP"),
        ("X-Other-Hop", "2"),
        ("Connection", "X-Other-Hop"),
        ("X-Stays", "3"),
    ]
    noticed.hold("c", headers=headers).close()
    for notice in django.wait_for(2):
        assert notice.all("X-Hop") == notice.all("X-Other-Hop") == []
        assert notice.all("Connection") in ([], [b"keep-alive"])
        assert notice.header("X-Stays") == b"3"


def test_all_other_values_pass_byte_for_byte(noticed: Daemon, django: FakeDjango) -> None:
    values = {
        "X-Empty": b"",
        "X-Latin": bytes(range(0x80, 0x100)),
        "X-Utf8": "żółw".encode(),
        "X-Punctuation": b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
        "X-Blanks": b"a  b\tc",
        "X-Percent": b"%0d%0aX: y",
        "X-Long": b"x" * 8000,
        "Cookie": b'a="\xe9 ; \\"; b=c=d',
    }
    items = [(name, value.decode("latin-1")) for name, value in values.items()]
    noticed.hold("c", headers=items).close()
    for notice in django.wait_for(2):
        assert {name: notice.header(name) for name in values} == values


def test_a_header_that_came_twice_is_passed_twice_in_order(
    noticed: Daemon, django: FakeDjango
) -> None:
    headers = [("X-Twice", "1"), ("X-Between", "b"), ("x-twice", "2")]
    noticed.hold("c", headers=headers).close()
    for notice in django.wait_for(2):
        assert notice.all("X-Twice") == [b"1", b"2"]


def test_each_request_on_a_connection_has_its_own_headers(
    noticed: Daemon, django: FakeDjango
) -> None:
    """A session that begins or ends between two polls."""
    poll = noticed.hold("c", headers={"Cookie": "sessionid=one"})
    position = noticed.publish("c", b"m")[0]
    poll.response()
    django.wait_for(2)
    poll.again("/sub/c", position, {"Cookie": "sessionid=two"})
    noticed.wait_until_held("c", 1)
    poll.close()
    cookies = [notice.header("Cookie") for notice in django.wait_for(4)]
    assert cookies == [b"sessionid=one"] * 2 + [b"sessionid=two"] * 2


# When notices come: one pair for each held request, for whatever reason it ends


def assert_one_pair(django: FakeDjango) -> None:
    assert [(n.event, n.channel) for n in django.wait_for(2)] == [
        (SUBSCRIBE, b"c"),
        (UNSUBSCRIBE, b"c"),
    ]


def test_subscribe_is_sent_when_a_request_is_held(noticed: Daemon, django: FakeDjango) -> None:
    noticed.hold("c")
    assert [notice.event for notice in django.wait_for(1)] == [SUBSCRIBE]


def test_a_pair_is_sent_when_a_message_is_delivered(noticed: Daemon, django: FakeDjango) -> None:
    poll = noticed.hold("c")
    noticed.publish("c", b"m")
    assert poll.response().status == 200
    assert_one_pair(django)


def test_a_pair_is_sent_when_the_client_closes(noticed: Daemon, django: FakeDjango) -> None:
    noticed.hold("c").close()
    assert_one_pair(django)


def test_a_pair_is_sent_when_the_client_half_closes(noticed: Daemon, django: FakeDjango) -> None:
    noticed.hold("c").half_close()
    assert_one_pair(django)


def test_a_pair_is_sent_when_the_client_resets(noticed: Daemon, django: FakeDjango) -> None:
    noticed.hold("c").reset()
    assert_one_pair(django)


def test_a_pair_is_sent_when_the_request_times_out(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(with_passthrough(django, {"timeout": 0.3}))
    assert relay.get("c").status == 304
    assert_one_pair(django)


def test_a_pair_is_sent_when_the_channel_is_deleted(noticed: Daemon, django: FakeDjango) -> None:
    poll = noticed.hold("c")
    noticed.delete("c")
    assert poll.response().status == 410
    assert_one_pair(django)


def test_a_pair_is_sent_for_the_one_displaced_by_a_conflict(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(with_passthrough(django, {"concurrency": "last"}))
    first = relay.hold("c", headers={"Cookie": "first"})
    second = relay.poll("c", headers={"Cookie": "second"})
    assert first.response().status == 409
    notices = django.wait_for(3)
    assert [n.event for n in notices if n.header("Cookie") == b"first"] == [SUBSCRIBE, UNSUBSCRIBE]
    assert [n.event for n in notices if n.header("Cookie") == b"second"] == [SUBSCRIBE]
    second.close()
    assert django.wait_for(4)[-1].header("Cookie") == b"second"


def test_a_pair_is_sent_when_the_relay_shuts_down(noticed: Daemon, django: FakeDjango) -> None:
    polls = [noticed.hold("c") for _ in range(5)]
    noticed.send_signal(signal.SIGTERM)
    assert {poll.response().status for poll in polls} == {304}
    noticed.close_connections()
    assert noticed.wait() == 0
    notices = django.wait_for(10)
    assert sorted(n.event for n in notices) == [SUBSCRIBE] * 5 + [UNSUBSCRIBE] * 5


def test_every_poll_of_a_connection_has_its_pair(noticed: Daemon, django: FakeDjango) -> None:
    poll = noticed.hold("c")
    for n in range(5):
        noticed.publish("c", b"%d" % n)
        position = poll.response().position
        poll.again("/sub/c", position)
        noticed.wait_until_held("c", 1)
    poll.close()
    django.wait_for(12)
    assert django.events == PAIR * 6


def test_nothing_is_sent_for_requests_that_are_not_held(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    """Answered at once, refused, malformed, OPTIONS, interval polling: Django hears of none."""
    passthrough = {"type": "subscriber", **pairs_to(django.url)}
    relay = start_relay(
        config(
            subscriber={**pairs_to(django.url), "concurrency": "first"},
            more=[
                {**passthrough, "prefix": "/interval/", "polling": "interval"},
                {**passthrough, "prefix": "/existing/"},
            ],
        )
    )
    relay.publish("stored", b"m")
    assert relay.get("stored").status == 200
    assert relay.get("stored", prefix="/interval/").status == 200
    relay.put("empty")
    assert relay.get("empty", prefix="/interval/").status == 304
    assert relay.get("unknown", prefix="/existing/").status == 404
    assert relay.get("c", headers={"If-None-Match": "abc"}).status == 400
    assert relay.request("GET", "/sub/%zz").status == 400
    for method, status in {"OPTIONS": 200, "POST": 405, "HEAD": 405}.items():
        assert relay.request(method, "/sub/c").status == status
    holder = relay.hold("c")
    assert relay.get("c").status == 409
    holder.close()
    # Notices of a worker go out in order, so any odd one would have come before or by now.
    relay.stop()
    django.wait_for(2)
    assert django.events == PAIR


def test_nothing_is_sent_for_a_location_without_passthrough(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    quiet = {"type": "subscriber", "prefix": "/quiet/", "create_on_get": True}
    relay = start_relay(config(subscriber={**pairs_to(django.url), "timeout": 0.2}, more=[quiet]))
    polls = relay.hold("quiet", prefix="/quiet/")
    polls.close()
    relay.get("c")
    django.wait_for(2)
    relay.stop()
    assert django.events == PAIR


def test_the_notices_of_a_connection_keep_their_order(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    """Each goes when the one before is answered, for two at once overtake each other."""
    relay = start_relay(with_passthrough(django))
    django.gate.clear()
    poll = relay.hold("c")
    django.wait_for(1)
    for n in range(3):
        relay.publish("c", b"%d" % n)
        position = poll.response().position
        poll.again("/sub/c", position)
        relay.wait_until_held("c", 1)
    poll.close()
    relay.wait_until_held("c", 0)
    assert len(django.notices) == 1
    django.gate.set()
    django.wait_for(8)
    assert django.events == PAIR * 4


# Django's answers and connections


def test_the_answer_is_ignored(start_relay: StartRelay, django: FakeDjango) -> None:
    for status in (200, 201, 301, 302, 400, 401, 403, 404, 500, 503):
        relay = start_relay(with_passthrough(django))
        relay.allow_log(NOTICE_WARNING)
        django.status = status
        before = len(django.notices)
        poll = relay.hold("c")
        relay.publish("c", b"m")
        assert poll.response().body == b"m"
        django.wait_for(before + 2)
        relay.stop()


def test_redirects_are_not_followed(start_relay: StartRelay, django: FakeDjango) -> None:
    with FakeDjango() as elsewhere:
        relay = start_relay(with_passthrough(django))
        relay.allow_log(NOTICE_WARNING)
        django.status = 302
        django.fields = [("Location", elsewhere.url)]
        relay.hold("c").close()
        django.wait_for(2)
        relay.stop()
        assert elsewhere.connections == 0


def test_a_long_answer_is_not_read_to_its_end(start_relay: StartRelay, django: FakeDjango) -> None:
    relay = start_relay(with_passthrough(django))
    relay.allow_log(NOTICE_WARNING)
    django.status = 500
    django.body = b"a traceback " * 200_000
    for n in range(5):
        relay.hold(f"c{n}").close()
    django.wait_for(10)


def test_connections_to_django_are_kept(noticed: Daemon, django: FakeDjango) -> None:
    for _ in range(30):
        noticed.hold("c").close()
        noticed.wait_until_held("c", 0)
    django.wait_for(60)
    assert django.connections <= 8


@pytest.mark.parametrize("closes", ["said", "silently"])
def test_a_django_that_closes_after_each_answer_gets_each_notice_once(
    noticed: Daemon, django: FakeDjango, closes: str
) -> None:
    """An idle kept connection that turns out to be closed is the one case of sending again."""
    django.closes = closes
    polls = [noticed.poll(f"c{n}") for n in range(40)]
    django.wait_for(40)
    for poll in polls:
        poll.close()
    django.wait_for(80, timeout=30)
    assert set(django.count().values()) == {1}


def test_a_kept_connection_that_django_closed_meanwhile_costs_no_notice(
    noticed: Daemon, django: FakeDjango
) -> None:
    for n in range(10):
        poll = noticed.hold(f"c{n}")
        django.wait_for(2 * n + 1)
        django.wait_until_idle()
        django.hang_up()
        poll.close()
        django.wait_for(2 * n + 2)
        django.wait_until_idle()
        django.hang_up()
    assert set(django.count().values()) == {1}


def test_a_notice_that_met_a_closing_connection_is_sent_again_each_time(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    """Django closes just when the next notice comes, and does so all day long."""
    relay = start_relay(with_passthrough(django, notice_connections=1))
    django.closes = "reused"
    for n in range(20):
        relay.hold(f"c{n}").close()
        django.wait_for(2 * n + 2)
    assert set(django.count().values()) == {1}


def test_a_notice_that_may_have_been_taken_is_not_sent_again(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    """The connection ends instead of an answer: Django may have worked on it."""
    relay = start_relay(with_passthrough(django))
    relay.allow_log(NOTICE_WARNING)
    django.closes = "unanswered"
    polls = [relay.hold(f"c{n}") for n in range(3)]
    for poll in polls:
        poll.close()
    relay.stop()
    # Whether an unsubscribe follows a subscribe that failed is not the point here.
    assert set(django.count().values()) == {1}


def test_few_notices_are_under_way_at_once(start_relay: StartRelay, django: FakeDjango) -> None:
    relay = start_relay(with_passthrough(django))
    django.gate.clear()
    polls = [relay.poll(f"c{n}") for n in range(50)]
    wait_until(lambda: django.busy > 0, what="the first notice")
    for n in range(50):
        relay.wait_until_held(f"c{n}", 1)
    assert django.connections <= 8
    django.gate.set()
    django.wait_for(50)
    assert django.most_busy <= 8
    for poll in polls:
        poll.close()
    django.wait_for(100)


def test_notice_connections_is_a_setting(start_relay: StartRelay, django: FakeDjango) -> None:
    relay = start_relay(with_passthrough(django, notice_connections=1))
    polls = [relay.poll(f"c{n}") for n in range(20)]
    django.wait_for(20)
    for poll in polls:
        poll.close()
    django.wait_for(40)
    assert django.most_busy <= relay.workers  # each worker has one at least


def test_two_thousand_subscribers_at_once_have_their_notices_delivered(
    noticed: Daemon, django: FakeDjango
) -> None:
    number = 2000
    polls: list[Poll] = [noticed.poll(f"c{n}") for n in range(number)]
    django.wait_for(number, timeout=60)
    assert django.count() == {(SUBSCRIBE, f"c{n}"): 1 for n in range(number)}
    for poll in polls:
        poll.close()
    django.wait_for(2 * number, timeout=60)
    assert set(django.count().values()) == {1}
    assert len(django.count()) == 2 * number


# Django in trouble


def test_a_slow_django_delays_nobody(start_relay: StartRelay, django: FakeDjango) -> None:
    relay = start_relay(with_passthrough(django))
    django.gate.clear()
    polls = [relay.poll("c") for _ in range(50)]
    relay.wait_until_held("c", 50)
    assert relay.post("c", b"m").status == 201
    assert {poll.response().body for poll in polls} == {b"m"}
    assert relay.get("c").body == b"m"
    assert len(django.notices) <= 8
    django.gate.set()
    django.wait_for(100)


def test_a_django_that_never_answers_is_given_up(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    """After notice_timeout; the next notices get their chance."""
    relay = start_relay(with_passthrough(django, notice_timeout=0.3))
    django.gate.clear()
    relay.hold("c")
    django.wait_for(1)
    relay.expect_log(NOTICE_WARNING)
    django.gate.set()
    relay.hold("d")
    wait_until(lambda: (SUBSCRIBE, "d") in django.events, what="the next notice")


def test_a_dead_django_delays_nobody_and_is_warned_of(
    start_relay: StartRelay, deaf_django: FakeDjango
) -> None:
    relay = start_relay(with_passthrough(deaf_django, notice_retry=0.3))
    polls = [relay.poll("c") for _ in range(20)]
    relay.wait_until_held("c", 20)
    assert relay.post("c", b"m").status == 201
    assert {poll.response().body for poll in polls} == {b"m"}
    lines = relay.expect_log(NOTICE_WARNING)
    assert len(lines) <= 2 * relay.workers
    deaf_django.listen()
    relay.hold("d")
    wait_until(lambda: (SUBSCRIBE, "d") in deaf_django.events, what="a notice to the new Django")


def test_a_refused_notice_is_tried_again_until_django_is_back(
    start_relay: StartRelay, deaf_django: FakeDjango
) -> None:
    """A Django that is reloading its code loses no notice, and each comes once, in order."""
    relay = start_relay(with_passthrough(deaf_django))
    relay.allow_log(NOTICE_WARNING)
    polls = [relay.hold(f"c{n}") for n in range(12)]
    for poll in polls[6:]:
        poll.close()
    for n in range(6, 12):
        relay.wait_until_held(f"c{n}", 0)
    deaf_django.listen()
    wait_until(
        lambda: all((SUBSCRIBE, f"c{n}") in deaf_django.events for n in range(6)),
        what="all who are still there to be told",
    )
    for poll in polls[:6]:
        poll.close()
    deaf_django.wait_for(24)
    for n in range(12):
        mine = [event for event, channel in deaf_django.events if channel == f"c{n}"]
        assert mine == [SUBSCRIBE, UNSUBSCRIBE]


def test_a_subscribe_that_never_left_is_followed_by_no_unsubscribe(
    start_relay: StartRelay, deaf_django: FakeDjango
) -> None:
    quiet = {"type": "subscriber", "prefix": "/quiet/", "create_on_get": True, "timeout": 2}
    settings = config(
        subscriber=pairs_to(deaf_django.url), more=[quiet], limits={"notice_retry": 0.3}
    )
    relay = start_relay(settings)
    poll = relay.hold("c")
    relay.expect_log(NOTICE_WARNING)
    assert relay.get("c", prefix="/quiet/").status == 304  # two seconds pass: it is given up
    deaf_django.listen()
    poll.close()
    relay.wait_until_held("c", 0)
    relay.hold("d").close()
    wait_until(lambda: (UNSUBSCRIBE, "d") in deaf_django.events, what="the notices of d")
    relay.stop()
    assert deaf_django.events == [(SUBSCRIBE, "d"), (UNSUBSCRIBE, "d")]


def test_the_queue_of_notices_is_bounded_and_what_is_given_up_counted(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    """Nobody is refused, the queue does not grow, and a pair is never sent by half."""
    relay = start_relay(with_passthrough(django, notices=20, notice_connections=2))
    django.gate.clear()
    polls = [relay.poll(f"c{n}") for n in range(300)]
    for n in range(0, 300, 10):
        relay.wait_until_held(f"c{n}", 1)
    relay.expect_log(NOTICE_WARNING)
    django.gate.set()
    for poll in polls:
        poll.close()
    relay.stop()
    counts = django.count()
    assert set(counts.values()) == {1}
    subscribed = {channel for event, channel in counts if event == SUBSCRIBE}
    left = {channel for event, channel in counts if event == UNSUBSCRIBE}
    assert 0 < len(subscribed) < 300
    assert left <= subscribed


def test_shutdown_does_not_wait_for_a_django_that_does_not_answer(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    """What is not told within 5 seconds is counted in the log."""
    relay = start_relay(with_passthrough(django))
    relay.allow_log(DRAIN_WARNING)
    django.gate.clear()
    polls = [relay.hold(f"c{n}") for n in range(5)]
    wait_until(lambda: django.busy > 0, what="the first notice")
    start = time.monotonic()
    relay.send_signal(signal.SIGTERM)
    assert {poll.response().status for poll in polls} == {304}
    relay.close_connections()
    assert relay.wait() == 0
    assert time.monotonic() - start < 10
    relay.expect_log(NOTICE_WARNING)


def test_shutdown_does_not_wait_for_a_dead_django(
    start_relay: StartRelay, deaf_django: FakeDjango
) -> None:
    """The tries stop with the drain."""
    relay = start_relay(with_passthrough(deaf_django, notice_retry=60))
    polls = [relay.hold(f"c{n}") for n in range(5)]
    start = time.monotonic()
    relay.send_signal(signal.SIGTERM)
    assert {poll.response().status for poll in polls} == {304}
    relay.close_connections()
    assert relay.wait() == 0
    assert time.monotonic() - start < 10
    relay.expect_log(NOTICE_WARNING)


# The relay says why


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (403, "INTERNAL_IPS"),
        (400, "ALLOWED_HOSTS"),
        (301, "SECURE_SSL_REDIRECT.*PREPEND_WWW|PREPEND_WWW.*SECURE_SSL_REDIRECT"),
        (302, "SECURE_SSL_REDIRECT|login"),
        (404, "(?i)no such url|urls"),
        (500, "status 500"),
    ],
)
def test_the_first_refused_notice_is_logged_with_its_likely_cause(
    start_relay: StartRelay, django: FakeDjango, status: int, cause: str
) -> None:
    relay = start_relay(with_passthrough(django))
    relay.allow_log(NOTICE_WARNING)
    django.status = status
    for _ in range(5):
        relay.hold("c").close()
        relay.wait_until_held("c", 0)
    lines = relay.expect_log(cause)
    assert str(status) in lines[0]
    django.wait_for(10)
    assert len(relay.log_lines(cause)) <= relay.workers


def test_what_is_logged_of_a_notice_holds_no_cookie(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay({**with_passthrough(django), "log": "debug"})
    relay.allow_log(NOTICE_WARNING)
    django.status = 403
    headers = {"Cookie": "sessionid=topsecret1", "Authorization": "Basic topsecret2"}
    relay.hold("c", headers=headers).close()
    django.wait_for(2)
    relay.stop()
    assert "topsecret" not in relay.log()


# The environment


def test_a_proxy_in_the_environment_is_ignored(start_relay: StartRelay, django: FakeDjango) -> None:
    with FakeDjango() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY")
        relay = start_relay(with_passthrough(django), env=dict.fromkeys(names, url))
        relay.hold("c").close()
        django.wait_for(2)
        assert proxy.connections == 0


def test_a_passthrough_host_may_be_a_name(start_relay: StartRelay, django: FakeDjango) -> None:
    """Resolved without blocking a worker."""
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    relay = start_relay(config(subscriber=pairs_to(f"http://localhost:{django.port}/passthrough")))
    relay.hold("c").close()
    notices: list[Notice] = django.wait_for(2)
    assert notices[0].header("Host") == f"localhost:{django.port}".encode()


def test_the_query_of_the_passthrough_url_is_kept(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(config(subscriber=pairs_to(django.url + "?key=a%20b")))
    relay.hold("c").close()
    assert django.wait_for(2)[0].line == b"POST /passthrough?key=a%20b HTTP/1.1"


def test_pipelined_polls_have_their_notices_one_after_another(
    noticed: Daemon, django: FakeDjango
) -> None:
    connection = noticed.connect()
    connection.send(request_bytes("GET", "/sub/c") + request_bytes("GET", "/sub/d"))
    noticed.wait_until_held("c", 1)
    assert [n.channel for n in django.wait_for(1)] == [b"c"]
    noticed.publish("c", b"m")
    connection.read_response()
    noticed.wait_until_held("d", 1)
    connection.close()
    django.wait_for(4)
    assert django.events == [*PAIR, (SUBSCRIBE, "d"), (UNSUBSCRIBE, "d")]
