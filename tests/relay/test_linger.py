"""passthrough_linger: who comes back within it never left, whatever connections it comes by."""

from __future__ import annotations

import signal
import time
from collections import defaultdict

import pytest

from .client import Headers, Poll, wait_until
from .conftest import StartRelay
from .daemon import Config, Daemon, config
from .fake_django import FakeDjango
from .streams import events as open_stream

SUBSCRIBE, UNSUBSCRIBE = "subscribe", "unsubscribe"
PAIR = [SUBSCRIBE, UNSUBSCRIBE]
NOTICE_WARNING = "warning: .*(notice|passthrough)"
FOR_EVER = 1000
ANNA = {"Cookie": "sessionid=anna"}
BEN = {"Cookie": "sessionid=ben"}


def lingering(
    url: str, linger: float, subscriber: Config | None = None, **limits: object
) -> Config:
    """A configuration in which who has left /sub/ lingers so long, and who /slow/, for ever.

    Locations /after1/ and so on linger for as many seconds: a subscriber that left one of
    them at the same moment tells the test how much time has passed.
    """
    notify = {"passthrough": url, "create_on_get": True}
    return config(
        subscriber={**notify, "passthrough_linger": linger, **(subscriber or {})},
        more=[
            {"type": "subscriber", "prefix": f"/after{n}/", "passthrough_linger": n, **notify}
            for n in (1, 3, 6)
        ],
        limits=limits,
    )


def events(django: FakeDjango, channel: str = "c", cookie: str | None = None) -> list[str]:
    """What Django was told of a channel, or of one subscriber of it."""
    return [
        notice.event
        for notice in django.notices
        if notice.channel == channel.encode()
        and (cookie is None or notice.header("Cookie") == cookie.encode())
    ]


def wait_for_events(django: FakeDjango, *expected: str, channel: str = "c") -> None:
    wait_until(
        lambda: len(events(django, channel)) >= len(expected),
        what=lambda: f"{expected} of {channel}, came {django.events}",
    )
    assert events(django, channel) == list(expected), django.events


def leave(relay: Daemon, poll: Poll, channel: str = "c") -> None:
    """Close a held request, and see it gone."""
    before = relay.held(channel)
    poll.close()
    relay.wait_until_held(channel, before - 1)


def start_clock(relay: Daemon, *seconds: int) -> None:
    """Begin to measure time: `after1` and so on are channels, each with one who has left."""
    for n in seconds:
        name = f"after{n}"
        leave(relay, relay.hold(name, prefix=f"/{name}/"), name)


def wait_until_passed(django: FakeDjango, seconds: int) -> None:
    wait_for_events(django, *PAIR, channel=f"after{seconds}")


# Who comes back


def test_many_polls_on_as_many_connections_are_one_pair(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 6))
    position = None
    for n in range(12):
        poll = relay.hold("c", position, {**ANNA, "X-Poll": str(n)})
        relay.publish("c", b"%d" % n)
        position = poll.response().position
        poll.close()
    wait_for_events(django, *PAIR)
    assert [notice.header("X-Poll") for notice in django.notices] == [b"0", b"0"]


def test_many_polls_on_one_connection_are_one_pair(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 6))
    poll = relay.hold("c", headers=ANNA)
    for n in range(12):
        relay.publish("c", b"%d" % n)
        poll.again("/sub/c", poll.response().position, ANNA)
        relay.wait_until_held("c", 1)
    wait_for_events(django, SUBSCRIBE)
    poll.close()
    wait_for_events(django, *PAIR)


def test_a_poll_that_ran_out_and_is_made_again_is_the_same_visit(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 6, {"timeout": 0.3}))
    for _ in range(5):
        assert relay.get("c", headers=ANNA).status == 304
    wait_for_events(django, *PAIR)


def test_two_tabs_are_one_until_both_are_closed(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 1))
    first = relay.hold("c", headers={**ANNA, "X-Tab": "first"})
    second = relay.hold("c", headers={**ANNA, "X-Tab": "second"})
    leave(relay, first)
    start_clock(relay, 1, 3)
    wait_until_passed(django, 3)
    assert events(django) == [SUBSCRIBE]
    leave(relay, second)
    wait_for_events(django, *PAIR)
    tabs = [n.header("X-Tab") for n in django.notices if n.channel == b"c"]
    assert tabs == [b"first", b"first"]


def test_who_returns_in_time_never_left(start_relay: StartRelay, django: FakeDjango) -> None:
    """Also shortly before it, and the time it had begun to linger ends nothing then."""
    relay = start_relay(lingering(django.url, 6))
    poll = relay.hold("c", headers=ANNA)
    leave(relay, poll)
    start_clock(relay, 3, 6)
    wait_until_passed(django, 3)
    poll = relay.hold("c", headers=ANNA)
    wait_until_passed(django, 6)
    assert events(django) == [SUBSCRIBE]
    leave(relay, poll)
    wait_for_events(django, *PAIR)


def test_who_leaves_for_good_is_told_after_the_linger_and_not_before(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 3))
    headers = {**ANNA, "User-Agent": "Test/1.0", "X-Forwarded-For": "192.0.2.1"}
    start_clock(relay, 1)
    begin = time.monotonic()
    leave(relay, relay.hold("c", headers=headers))
    wait_until_passed(django, 1)
    assert events(django) == [SUBSCRIBE]
    wait_for_events(django, *PAIR)
    assert time.monotonic() - begin >= 3
    subscribe, unsubscribe = (n for n in django.notices if n.channel == b"c")
    ignored = ("content-length",)
    assert [f for f in subscribe.fields if f[0] not in ignored] == [
        f for f in unsubscribe.fields if f[0] not in ignored
    ]
    assert subscribe.header("Cookie") == b"sessionid=anna"
    assert subscribe.header("X-Forwarded-For") == b"192.0.2.1, 127.0.0.1"


def test_who_returns_too_late_has_a_second_pair(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 0.3))
    for n in range(1, 4):
        leave(relay, relay.hold("c", headers={**ANNA, "X-Visit": str(n)}))
        wait_for_events(django, *PAIR * n)
    visits = [notice.header("X-Visit") for notice in django.notices]
    assert visits == [b"1", b"1", b"2", b"2", b"3", b"3"]


@pytest.mark.parametrize("linger", [0, 0.05])
def test_each_arrival_by_one_connection_is_told_with_the_headers_of_its_own_request(
    start_relay: StartRelay, django: FakeDjango, linger: float
) -> None:
    """Those of the last request are kept: for the next one only if it has the same."""
    relay = start_relay(lingering(django.url, linger))
    pages = [("X-Page", "1"), ("X-Page", "1"), ("X-Page", "2"), ("X-Other", "2"), ("X-Page", "2")]
    ips = ["1.2.3.4", "1.2.3.4", "1.2.3.4", "1.2.3.4", "5.6.7.8"]
    # Attendees of several workers, whatever worker the connection is of.
    channels = [f"c{n}" for n in range(6)]
    connection, position = relay.connect(), None
    for n, ((name, value), ip) in enumerate(zip(pages, ips, strict=True)):
        for channel in channels:
            headers = {**ANNA, name: value, "X-Forwarded-For": ip}
            if position is not None:
                headers |= position.headers
            connection.send_request("GET", f"/sub/{channel}", headers)
            relay.wait_until_held(channel, 1)
            relay.publish(channel, b"m")
            position = connection.read_response().position
        django.wait_for(2 * len(channels) * (n + 1))
    for channel in channels:
        told = [notice for notice in django.notices if notice.channel == channel.encode()]
        assert [notice.event for notice in told] == PAIR * len(pages)
        for notice, (name, value), ip in zip(told[::2], pages, ips, strict=True):
            assert notice.header(name) == value.encode()
            assert notice.header("X-Other" if name == "X-Page" else "X-Page") is None
            assert notice.header("X-Forwarded-For") == f"{ip}, 127.0.0.1".encode()


def test_who_returns_while_its_leaving_is_not_yet_told_does_not_overtake_it(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 0.1))
    django.gate.clear()
    leave(relay, relay.hold("c", headers={**ANNA, "X-Visit": "1"}))
    # Django has not even answered the arrival when the linger is over.
    with FakeDjango() as other:
        clock = start_relay(lingering(other.url, 0.1))
        start_clock(clock, 1)
        wait_until_passed(other, 1)
        poll = relay.hold("c", headers={**ANNA, "X-Visit": "2"})
        clock.stop()
    assert events(django) == [SUBSCRIBE]
    django.gate.set()
    wait_for_events(django, *PAIR, SUBSCRIBE)
    leave(relay, poll)
    wait_for_events(django, *PAIR * 2)
    assert [n.header("X-Visit") for n in django.notices] == [b"1", b"1", b"2", b"2"]


def test_zero_gives_a_pair_for_each_held_request(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 0))
    for n in range(1, 6):
        leave(relay, relay.hold("c", headers=ANNA))
        wait_for_events(django, *PAIR * n)


def test_five_seconds_are_the_default(start_relay: StartRelay, django: FakeDjango) -> None:
    relay = start_relay(config(subscriber={"passthrough": django.url}))
    begin = time.monotonic()
    leave(relay, relay.hold("c"))
    wait_for_events(django, *PAIR)
    assert time.monotonic() - begin >= 5


def test_the_answered_the_deleted_and_the_displaced_linger_alike(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 6, {"concurrency": "last"}))
    first = relay.hold("c", headers=ANNA)
    second = relay.poll("c", headers=ANNA)
    assert first.response().status == 409
    relay.publish("c", b"m")
    assert second.response().status == 200
    third = relay.hold("c", relay.publish("c", b"n")[0], headers=ANNA)
    relay.delete("c")
    assert third.response().status == 410
    relay.hold("c", headers=ANNA).reset()
    wait_for_events(django, *PAIR)


# Streams, and several channels at once


@pytest.mark.parametrize("linger", [0, 0.05])
def test_that_a_stream_has_left_is_told_with_the_headers_it_came_with(
    start_relay: StartRelay, django: FakeDjango, linger: float
) -> None:
    relay = start_relay(lingering(django.url, linger))
    # Of several workers, whatever worker the attendee is of.
    for n in range(6):
        open_stream(relay, f"c{n}", {**ANNA, "X-Page": str(n)}).close()
        wait_for_events(django, *PAIR, channel=f"c{n}")
    assert [notice.header("X-Page") for notice in django.notices] == [
        str(n).encode() for n in range(6) for _ in PAIR
    ]


def test_a_stream_that_is_opened_again_in_time_never_left(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 6))
    for n in range(5):
        stream = open_stream(relay, "c", ANNA)
        relay.publish("c", b"%d" % n)
        assert stream.read_event().data == "0"
        stream.close()
        relay.wait_until_held("c", 0)
    poll = relay.hold("c", relay.publish("c", b"last")[0], headers=ANNA)
    wait_for_events(django, SUBSCRIBE)
    leave(relay, poll)
    wait_for_events(django, *PAIR)


def test_of_several_channels_each_is_come_to_and_left_by_itself(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    settings = lingering(django.url, 1)
    several = {**settings["locations"][1], "url": "/several/([^/]+)/([^/]+)"}
    settings["locations"].append({k: v for k, v in several.items() if k != "prefix"})
    relay = start_relay(settings)
    both = Poll(relay.address, "/several/c/d", headers=ANNA)
    wait_for_events(django, SUBSCRIBE, channel="c")
    wait_for_events(django, SUBSCRIBE, channel="d")
    other = Poll(relay.address, "/several/c/e", headers=ANNA)
    wait_for_events(django, SUBSCRIBE, channel="e")
    both.close()
    wait_for_events(django, *PAIR, channel="d")
    start_clock(relay, 1)
    wait_until_passed(django, 1)
    assert events(django, "c") == events(django, "e") == [SUBSCRIBE]
    other.close()
    wait_for_events(django, *PAIR, channel="c")
    wait_for_events(django, *PAIR, channel="e")


# Who is who


def assert_distinct(relay: Daemon, django: FakeDjango, *others: Headers) -> None:
    """Check that these are told each by its own pair."""
    for poll in [relay.hold("c", headers=headers) for headers in others]:
        poll.close()
    relay.wait_until_held("c", 0)
    wait_until(
        lambda: events(django).count(UNSUBSCRIBE) >= len(others),
        what=lambda: f"{len(others)} pairs, came {django.events}",
    )
    assert sorted(events(django)) == sorted(PAIR * len(others))


def assert_same(relay: Daemon, django: FakeDjango, *alike: Headers) -> None:
    """Check that these are told by one pair."""
    for headers in alike:
        leave(relay, relay.hold("c", headers=headers))
    wait_for_events(django, *PAIR)


def test_another_session_is_another_subscriber(start_relay: StartRelay, django: FakeDjango) -> None:
    assert_distinct(start_relay(lingering(django.url, 0.5)), django, ANNA, BEN)


def test_another_channel_and_another_location_are_told_by_themselves(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 0.5))
    polls = [
        relay.hold("c", headers=ANNA),
        relay.hold("d", headers=ANNA),
        relay.hold("c", headers=ANNA, prefix="/after1/"),
    ]
    for poll in polls:
        poll.close()
    wait_until(lambda: len(django.notices) >= 6, what=lambda: str(django.events))
    assert sorted(events(django, "c")) == sorted(PAIR * 2)
    assert events(django, "d") == PAIR
    assert len(django.notices) == 6


def test_a_session_is_the_same_whatever_else_a_request_carries(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    assert_same(
        start_relay(lingering(django.url, 6)),
        django,
        ANNA,
        {"Cookie": "csrftoken=1; sessionid=anna; theme=dark", "User-Agent": "A"},
        {"Cookie": "sessionid=anna ;theme=light", "X-Forwarded-For": "192.0.2.1"},
        [("Cookie", "a=b"), ("Cookie", " sessionid = anna")],
    )


@pytest.mark.parametrize(
    "others",
    [
        [{"Authorization": "Basic YTpi"}, {"Authorization": "Basic YTpj"}],
        [{**ANNA, "Authorization": "Basic YTpi"}, ANNA],
        [{"Cookie": "sessionid=anna"}, {"Cookie": "SESSIONID=anna"}],
        [{"Cookie": "sessionid="}, {"Cookie": "sessionid=; a=b"}],
        [{}, {"User-Agent": "A"}, {"User-Agent": "B"}, {"Cookie": "a=b"}],
        [{"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}, {}],
        [{"Cookie": "sessionidx=anna"}, {"Cookie": "xsessionid=anna"}],
    ],
    ids=[
        "authorization",
        "authorization and session",
        "names of cookies are not folded",
        "an empty session says nothing",
        "agents and cookies",
        "addresses",
        "whole names",
    ],
)
def test_subscribers_are_told_apart(
    start_relay: StartRelay, django: FakeDjango, others: list[Headers]
) -> None:
    assert_distinct(start_relay(lingering(django.url, 0.5)), django, *others)


@pytest.mark.parametrize(
    "alike",
    [
        [{"Authorization": "Basic YTpi", "User-Agent": "A"}, {"Authorization": "Basic YTpi"}],
        [{"User-Agent": "A", "X-Poll": "1"}, {"User-Agent": "A", "X-Poll": "2"}],
        [{"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.1"}],
    ],
    ids=["authorization", "agent and address", "forwarded address"],
)
def test_without_a_session_authorization_or_address_and_agent_tell_who_it_is(
    start_relay: StartRelay, django: FakeDjango, alike: list[Headers]
) -> None:
    assert_same(start_relay(lingering(django.url, 6)), django, *alike)


def test_the_cookies_that_tell_are_a_setting(start_relay: StartRelay, django: FakeDjango) -> None:
    names = {"passthrough_identity": ["member", "guest"]}
    relay = start_relay(lingering(django.url, 1, names))
    for cookie in ("member=1; sessionid=a", "member=1; sessionid=b", "guest=1", "sessionid=b"):
        leave(relay, relay.hold("c", headers={"Cookie": cookie}))
    wait_until(lambda: events(django).count(UNSUBSCRIBE) >= 3, what=lambda: str(django.events))
    told = [n.header("Cookie") for n in django.notices if n.event == SUBSCRIBE]
    assert set(told) == {b"member=1; sessionid=a", b"guest=1", b"sessionid=b"}
    assert len(told) == 3


# Many


def test_each_of_many_has_one_pair_however_often_it_polls(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    number = 150
    relay = start_relay(lingering(django.url, 6, {"timeout": 0.2}))
    for _ in range(4):
        polls = [relay.poll("c", headers={"Cookie": f"sessionid={n}"}) for n in range(number)]
        assert {poll.response().status for poll in polls} == {304}
        relay.close_connections()
    wait_until(
        lambda: len(django.notices) >= 2 * number,
        30,
        what=lambda: f"{2 * number} notices, came {len(django.notices)}",
    )
    told = defaultdict(list)
    for notice in django.notices:
        told[notice.header("Cookie")].append(notice.event)
    assert len(told) == number
    assert all(pair == PAIR for pair in told.values())


def test_beyond_the_limit_who_lingers_longest_is_told_to_have_left(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    """The limit is shared out to the workers, each of which has one at least."""
    relay = start_relay(lingering(django.url, FOR_EVER, lingering=1))
    for n in range(20):
        leave(relay, relay.hold("c", headers={"Cookie": f"sessionid={n}"}))
    wait_until(
        lambda: events(django).count(UNSUBSCRIBE) >= 20 - relay.workers,
        what=lambda: f"those who linger longest to be told, came {django.events}",
    )
    if relay.workers == 1:
        # Notices of different subscribers may overtake each other.
        left = {n.header("Cookie") for n in django.notices if n.event == UNSUBSCRIBE}
        assert left == {b"sessionid=%d" % n for n in range(19)}
    relay.stop()
    for n in range(20):
        assert events(django, cookie=f"sessionid={n}") == PAIR


# Django in trouble


def test_a_slow_django_delays_nobody_and_hears_each_once(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 0.2))
    django.gate.clear()
    for n in range(5):
        polls = [relay.poll("c", headers={"Cookie": f"sessionid={k}"}) for k in range(30)]
        relay.wait_until_held("c", 30)
        assert relay.delete("c").status == 200
        assert {poll.response().status for poll in polls} == {410}, n
        relay.close_connections()
    assert len(django.notices) <= 8
    django.gate.set()
    relay.stop()
    for k in range(30):
        mine = events(django, cookie=f"sessionid={k}")
        assert mine == PAIR * (len(mine) // 2)
        assert mine


def test_an_arrival_that_was_given_up_unsent_is_told_with_a_later_poll(
    start_relay: StartRelay, deaf_django: FakeDjango
) -> None:
    """Who stays while Django is down is not passed over for as long as it stays."""
    relay = start_relay(lingering(deaf_django.url, FOR_EVER, {"timeout": 0.3}, notice_retry=0.2))
    assert relay.get("c", headers=ANNA).status == 304
    relay.expect_log(NOTICE_WARNING)
    deaf_django.listen()

    def told() -> bool:
        assert relay.get("c", headers=ANNA).status == 304
        return bool(deaf_django.notices)

    wait_until(told, what="the arrival")
    assert events(deaf_django) == [SUBSCRIBE]
    relay.stop()
    assert events(deaf_django) == PAIR


def test_no_leaving_is_told_of_whom_no_arrival_was(
    start_relay: StartRelay, deaf_django: FakeDjango
) -> None:
    quiet = {"type": "subscriber", "prefix": "/quiet/", "create_on_get": True, "timeout": 2}
    settings = lingering(deaf_django.url, 0.2, notice_retry=0.2)
    settings["locations"].append(quiet)
    relay = start_relay(settings)
    poll = relay.hold("c", headers=ANNA)
    relay.expect_log(NOTICE_WARNING)
    assert relay.get("c", prefix="/quiet/").status == 304  # two seconds pass: it is given up
    deaf_django.listen()
    leave(relay, poll)
    leave(relay, relay.hold("d", headers=ANNA), "d")
    wait_for_events(deaf_django, *PAIR, channel="d")
    relay.stop()
    assert events(deaf_django) == []


def test_notices_beyond_the_limit_are_given_up_in_pairs(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, 0.2, notices=20, notice_connections=2))
    django.gate.clear()
    polls = [relay.poll("c", headers={"Cookie": f"sessionid={n}"}) for n in range(300)]
    relay.wait_until_held("c", 300)
    relay.expect_log(NOTICE_WARNING)
    for poll in polls:
        poll.close()
    relay.wait_until_held("c", 0)
    django.gate.set()
    relay.stop()
    told = defaultdict(list)
    for notice in django.notices:
        told[notice.header("Cookie")].append(notice.event)
    assert 0 < len(told) < 300
    assert all(pair == PAIR for pair in told.values())


# The end


def test_shutdown_tells_at_once_of_all_who_are_held_and_all_who_linger(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, FOR_EVER))
    gone = [relay.poll("c", headers={"Cookie": f"sessionid={n}"}) for n in range(40)]
    relay.wait_until_held("c", 40)
    for poll in gone:
        poll.close()
    relay.wait_until_held("c", 0)
    held = [relay.poll("c", headers={"Cookie": f"sessionid={n}"}) for n in range(20, 60)]
    relay.wait_until_held("c", 40)
    begin = time.monotonic()
    relay.send_signal(signal.SIGTERM)
    assert {poll.response().status for poll in held} == {304}
    relay.close_connections()
    assert relay.wait() == 0
    assert time.monotonic() - begin < 10
    for n in range(60):
        assert events(django, cookie=f"sessionid={n}") == PAIR
    assert len(django.notices) == 120


def test_who_polls_again_during_the_drain_is_told_in_pairs(
    start_relay: StartRelay, django: FakeDjango
) -> None:
    relay = start_relay(lingering(django.url, FOR_EVER))
    polls = [relay.poll("c", headers={"Cookie": f"sessionid={n}"}) for n in range(40)]
    relay.wait_until_held("c", 40)
    django.gate.clear()
    relay.send_signal(signal.SIGTERM)
    assert {poll.response().status for poll in polls} == {304}
    django.gate.set()
    relay.close_connections()
    assert relay.wait() == 0
    for n in range(40):
        assert events(django, cookie=f"sessionid={n}") == PAIR


def test_shutdown_does_not_wait_for_a_dead_django(
    start_relay: StartRelay, deaf_django: FakeDjango
) -> None:
    relay = start_relay(lingering(deaf_django.url, FOR_EVER, notice_retry=60))
    for n in range(5):
        leave(relay, relay.hold("c", headers={"Cookie": f"sessionid={n}"}))
    begin = time.monotonic()
    relay.send_signal(signal.SIGTERM)
    assert relay.wait() == 0
    assert time.monotonic() - begin < 10
    relay.expect_log(NOTICE_WARNING)
