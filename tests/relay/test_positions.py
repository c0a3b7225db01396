"""Message ids and positions: what comes next, what is malformed, what was missed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate

import pytest

from .client import EPOCH, Position, wait_until
from .conftest import StartRelay
from .daemon import Daemon, config, now


def walk(relay: Daemon, channel: str, position: Position | None = None) -> list[bytes]:
    """Read on to the last stored message by the positions of the answers."""
    last = relay.info(channel)["last_message_id"]
    bodies: list[bytes] = []
    while position is None or position.text != last:
        answer = relay.get(channel, position)
        assert answer.status == 200
        bodies.append(answer.body)
        position = answer.position
    return bodies


# What an answer carries


def test_an_answers_position_asks_for_the_next_message(relay: Daemon) -> None:
    """A hundred messages of one second and more, each asked for by the one before."""
    bodies = [b"%d" % n for n in range(100)]
    relay.publish("c", *bodies)
    assert walk(relay, "c") == bodies


def test_etag_is_quoted_and_repeated_last_in_cache_control(relay: Daemon) -> None:
    (position,) = relay.publish("c", b"m")
    answer = relay.get("c")
    etag = answer.header("Etag") or ""
    assert re.fullmatch(r'"\d+"', etag)
    assert answer.header("Cache-Control") == f"no-cache, etag={etag}"
    # What an old client makes of it where its browser hides Etag.
    found = re.search(r"/?etag=(\S+)", answer.header("Cache-Control") or "")
    assert found
    assert found[1] == etag
    assert answer.position == position


def test_last_modified_is_the_second_of_the_message(relay: Daemon) -> None:
    early = now()
    (position,) = relay.publish("c", b"m")
    assert early - 1 <= position.id[0] <= now() + 1
    assert relay.info("c")["last_message_id"] == position.text


def test_message_answers_vary_by_the_position(relay: Daemon) -> None:
    relay.publish("c", b"m")
    assert {"if-modified-since", "if-none-match"} <= relay.get("c").tokens("Vary")


# How ids are given out


def test_ids_increase_over_the_whole_store(relay: Daemon) -> None:
    positions = []
    for n in range(30):
        positions += relay.publish("abc"[n % 3], b"m")
    ids = [position.id for position in positions]
    assert ids == sorted(set(ids))


def test_ids_are_not_used_again_after_delete(relay: Daemon) -> None:
    (before,) = relay.publish("c", b"m")
    relay.delete("c")
    (after,) = relay.publish("c", b"m")
    assert after.id > before.id


def test_a_message_that_was_not_stored_has_an_id_of_its_own(start_relay: StartRelay) -> None:
    foregone = {"type": "publisher", "prefix": "/forego/", "store_messages": False}
    relay = start_relay(config(more=[foregone]))
    (before,) = relay.publish("c", b"before")
    poll = relay.hold("c", before)
    assert relay.post("c", b"foregone", prefix="/forego/").status == 201
    between = poll.response().position
    (after,) = relay.publish("c", b"after")
    assert before.id < between.id < after.id
    assert relay.get("c", between).body == b"after"


def test_ids_are_not_used_again_after_a_restart_within_a_second(start_relay: StartRelay) -> None:
    ids = []
    for _ in range(3):
        relay = start_relay()
        ids += [position.id for position in relay.publish("c", b"one", b"two", b"three")]
        relay.stop()
    assert ids == sorted(set(ids))


# What a request may say


def test_without_position_the_oldest_message_is_meant(relay: Daemon) -> None:
    relay.publish("c", b"one", b"two")
    assert relay.get("c").body == b"one"


def test_if_none_match_alone_changes_nothing(relay: Daemon) -> None:
    _, last = relay.publish("c", b"one", b"two")
    answer = relay.get("c", headers={"If-None-Match": last.etag})
    assert answer.body == b"one"
    assert answer.header("X-Push-Gap") is None


def test_if_modified_since_alone_means_the_first_message_of_that_second(relay: Daemon) -> None:
    first, *_ = relay.publish("c", b"one", b"two")
    answer = relay.get("c", headers={"If-Modified-Since": first.last_modified})
    assert answer.body == b"one"
    # And of a later one, where that second has none.
    wait_until(lambda: now() > first.id[0] + 1, what="a second to pass")
    relay.publish("c", b"three")
    seconds_later = formatdate(first.id[0] + 1, usegmt=True)
    assert relay.get("c", headers={"If-Modified-Since": seconds_later}).body in (b"two", b"three")


@pytest.mark.parametrize("form", ["{0}", '"{0}"', 'W/"{0}"', '"{0}-gzip"', 'W/"{0}-gzip"'])
def test_each_form_of_if_none_match_is_understood(shared_relay: Daemon, form: str) -> None:
    channel = f"form {form}"
    first, second = shared_relay.publish(channel, b"one", b"two")
    for position, body in ((first, b"two"), (second, b"three")):
        headers = {
            "If-Modified-Since": position.last_modified,
            "If-None-Match": form.format(position.id[1]),
        }
        if body == b"three":
            shared_relay.publish(channel, b"three")
        assert shared_relay.get(channel, headers=headers).body == body


@pytest.mark.parametrize(
    "value",
    [
        "*",
        '"1", "2"',
        "1, 2",
        "abc",
        '"abc"',
        '" "',
        'W/""',
        "-1",
        "+1",
        "1.5",
        "0x1",
        '"1',
        '1"',
        "'1'",
        'w/"1"',
        "W/1",
        'W/W/"1"',
        '"1-gzi"',
        "1-gzip",
        '"1" ;',
        "1 2",
        '"99999999999999999999999999"',
        "18446744073709551616",
    ],
)
def test_a_malformed_if_none_match_is_400(shared_relay: Daemon, value: str) -> None:
    for more in ({}, {"If-Modified-Since": EPOCH}):
        answer = shared_relay.get("malformed", headers={"If-None-Match": value, **more})
        assert answer.status == 400
    assert shared_relay.info("malformed") is None


def test_an_empty_if_none_match_is_absent(relay: Daemon) -> None:
    first, _ = relay.publish("c", b"one", b"two")
    empty = {"If-None-Match": '""'}
    assert relay.get("c", headers=empty).body == b"one"
    assert relay.get("c", headers={"Last-Event-ID": first.text, **empty}).body == b"two"
    alone = {"If-Modified-Since": first.headers["If-Modified-Since"]}
    assert relay.get("c", headers={**alone, **empty}).body == b"one"


def imf(second: float, zone: str = "GMT") -> str:
    return formatdate(second, usegmt=True).replace("GMT", zone)


def strftime(second: float, form: str) -> str:
    return datetime.fromtimestamp(second, UTC).strftime(form)


DATE_FORMS: dict[str, Callable[[float], str]] = {
    "imf-fixdate": imf,
    "rfc850": lambda t: strftime(t, "%A, %d-%b-%y %H:%M:%S GMT"),
    "asctime": lambda t: strftime(t, "%a %b %e %H:%M:%S %Y"),
    "east": lambda t: imf(t + 5400, "+0130"),
    "west": lambda t: imf(t - 28800, "-0800"),
    "zero": lambda t: imf(t, "+0000"),
}


@pytest.mark.parametrize("form", DATE_FORMS)
def test_each_form_of_if_modified_since_is_understood(shared_relay: Daemon, form: str) -> None:
    first, _ = shared_relay.publish(form, b"one", b"two")
    headers = {
        "If-Modified-Since": DATE_FORMS[form](first.id[0]),
        "If-None-Match": first.etag,
    }
    answer = shared_relay.get(form, headers=headers)
    assert (answer.status, answer.body) == (200, b"two")
    # A second earlier or later is another position: the first message, or one to wait for.
    for shift, expected in ((-1, b"one"), (-86400, b"one")):
        headers["If-Modified-Since"] = DATE_FORMS[form](first.id[0] + shift)
        assert shared_relay.get(form, headers=headers).body == expected


@pytest.mark.parametrize(
    "value",
    ["Thu, 1 Jan 1970 00:00:00 GMT", "Fri, 2 Jan 1970 00:00:00 GMT", "Thu Jan  1 00:00:00 1970"],
)
def test_a_day_of_one_digit_is_understood(shared_relay: Daemon, value: str) -> None:
    shared_relay.publish("one-digit", b"m")
    headers = {"If-Modified-Since": value, "If-None-Match": "0"}
    assert shared_relay.get("one-digit", headers=headers).status == 200


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "1795217222",
        "Thu, 01 Jan 1970",
        "Thu, 01 Jan 1970 00:00:00",
        "Thu, 32 Jan 1970 00:00:00 GMT",
        "Thu, 00 Jan 1970 00:00:00 GMT",
        "Tue, 30 Feb 2027 00:00:00 GMT",
        "Thu, 01 Foo 1970 00:00:00 GMT",
        "Thu, 01 Jan 1970 24:00:00 GMT",
        "Thu, 01 Jan 1970 00:60:00 GMT",
        "Thu, 01 Jan 1970 00:00:61 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT trailing",
        "Thu, 01 Jan 1970 00:00:00 +01",
        "Thu, 01 Jan 99999999999 00:00:00 GMT",
        "Thu, -1 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT, Thu, 01 Jan 1970 00:00:00 GMT",
        "\xff\xfe",
    ],
)
def test_a_malformed_if_modified_since_is_400(shared_relay: Daemon, value: str) -> None:
    answer = shared_relay.get("malformed", headers={"If-Modified-Since": value})
    assert answer.status == 400
    answer = shared_relay.get(
        "malformed", headers={"If-Modified-Since": value, "If-None-Match": "0"}
    )
    assert answer.status == 400


def test_400_goes_before_404(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"create_on_get": False}))
    assert relay.get("c").status == 404
    assert relay.get("c", headers={"If-None-Match": "abc"}).status == 400
    assert relay.get("c", headers={"If-Modified-Since": "abc"}).status == 400
    assert relay.get("c", headers={"Last-Event-ID": "abc"}).status == 400


# Last-Event-ID and the query


def test_last_event_id_is_a_position(relay: Daemon) -> None:
    first, second = relay.publish("c", b"one", b"two")
    assert relay.get("c", headers={"Last-Event-ID": first.text}).body == b"two"
    poll = relay.hold("c", headers={"Last-Event-ID": second.text})
    relay.publish("c", b"three")
    assert poll.response().body == b"three"


def test_the_query_last_event_id_is_a_position(relay: Daemon) -> None:
    first, _ = relay.publish("c", b"one", b"two")
    encoded = first.text.replace(":", "%3A")
    for query in (
        f"last_event_id={first.text}",
        f"last_event_id={encoded}",
        f"_=123&last_event_id={first.text}&x=y",
        f"lastEventId={first.text}",
        f"lastEventId={encoded}&last_event_id=",
        f"lastEventId=1:2&last_event_id={first.text}",
    ):
        assert relay.request("GET", f"/sub/c?{query}").body == b"two"


def test_headers_go_before_the_query_and_if_modified_since_before_all(relay: Daemon) -> None:
    one, two, three, _ = relay.publish("c", b"one", b"two", b"three", b"four")
    target = f"/sub/c?last_event_id={one.text}"
    assert relay.request("GET", target).body == b"two"
    assert relay.request("GET", target, {"Last-Event-ID": two.text}).body == b"three"
    headers = {"Last-Event-ID": two.text, **three.headers}
    assert relay.request("GET", target, headers).body == b"four"
    assert relay.request("GET", target, three.headers).body == b"four"


def test_an_empty_last_event_id_is_absent(relay: Daemon) -> None:
    one, two, _ = relay.publish("c", b"one", b"two", b"three")
    assert relay.request("GET", "/sub/c", {"Last-Event-ID": ""}).body == b"one"
    assert relay.request("GET", "/sub/c?last_event_id=").body == b"one"
    target = f"/sub/c?last_event_id={one.text}"
    assert relay.request("GET", target, {"Last-Event-ID": ""}).body == b"two"
    headers = {"Last-Event-ID": two.text, "If-Modified-Since": ""}
    assert relay.request("GET", target, headers).body == b"three"


@pytest.mark.parametrize(
    "value",
    [
        "abc",
        "1",
        "1:",
        ":1",
        "1:2:3",
        "1:-2",
        "-1:2",
        "1 :2",
        "1:a",
        "1,2",
        "9" * 30 + ":1",
        "1:" + "9" * 30,
    ],
)
def test_a_malformed_last_event_id_is_400(shared_relay: Daemon, value: str) -> None:
    assert shared_relay.get("malformed", headers={"Last-Event-ID": value}).status == 400
    query = value.replace(" ", "%20")
    response = shared_relay.request("GET", f"/sub/malformed?last_event_id={query}")
    assert response.status == 400


# The future


def test_a_position_in_the_future_is_held_and_the_next_message_answers_it(relay: Daemon) -> None:
    (stored,) = relay.publish("c", b"stored")
    second, tag = stored.id
    for future in (Position.at(second, tag + 1), Position.at(second + 86400), Position.at(2**33)):
        poll = relay.hold("c", future)
        (position,) = relay.publish("c", b"next")
        answer = poll.response()
        assert (answer.body, answer.position) == (b"next", position)
        assert answer.header("X-Push-Gap") is None


def test_a_position_in_the_future_is_repeated_by_a_time_out(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"timeout": 0.2}))
    relay.publish("c", b"stored")
    future = Position.at(now() + 86400, 5)
    answer = relay.get("c", future)
    assert (answer.status, answer.position) == (304, future)


# Gaps


def test_a_position_older_than_what_is_stored_gets_the_oldest_and_is_told_the_gap(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(store={"type": "memory", "max_messages": 2}))
    one, two, three, four, five = relay.publish("c", b"1", b"2", b"3", b"4", b"5")
    for old in (one, two):
        answer = relay.get("c", old)
        assert (answer.status, answer.body) == (200, b"4")
        assert answer.header("X-Push-Gap") == "1"
    # What comes next is no gap any more.
    answer = relay.get("c", four)
    assert (answer.body, answer.header("X-Push-Gap")) == (b"5", None)


def test_no_gap_is_told_where_nothing_after_the_position_was_dropped(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(store={"type": "memory", "max_messages": 2}))
    _, _, three, _, _ = relay.publish("c", b"1", b"2", b"3", b"4", b"5")
    answer = relay.get("c", three)
    assert (answer.body, answer.header("X-Push-Gap")) == (b"4", None)


def test_no_gap_is_told_to_who_has_no_position_or_second_0(start_relay: StartRelay) -> None:
    relay = start_relay(config(store={"type": "memory", "max_messages": 2}))
    relay.publish("c", b"1", b"2", b"3")
    for headers in (
        {},
        {"If-Modified-Since": "Thu, 1 Jan 1970 00:00:00 GMT", "If-None-Match": "0"},
        {"If-Modified-Since": EPOCH},
        {"Last-Event-ID": "0:0"},
        {"If-None-Match": "5"},
    ):
        answer = relay.get("c", headers=headers)
        assert (answer.body, answer.header("X-Push-Gap")) == (b"2", None)


def test_a_gap_is_told_after_messages_have_expired(start_relay: StartRelay) -> None:
    relay = start_relay(config(store={"type": "memory", "message_timeout": 0.3}))
    one, two = relay.publish("c", b"1", b"2")
    wait_until(lambda: relay.stored("c") == 0, what="expiry")
    lost_one = relay.hold("c", one)
    lost_none = relay.hold("c", two)
    relay.publish("c", b"3")
    answer = lost_one.response()
    assert (answer.body, answer.header("X-Push-Gap")) == (b"3", "1")
    answer = lost_none.response()
    assert (answer.body, answer.header("X-Push-Gap")) == (b"3", None)


def test_a_gap_is_told_after_the_channel_was_deleted_and_made_again(relay: Daemon) -> None:
    one, two = relay.publish("c", b"1", b"2")
    relay.delete("c")
    poll = relay.hold("c", one)
    relay.publish("c", b"3")
    answer = poll.response()
    assert (answer.body, answer.header("X-Push-Gap")) == (b"3", "1")


def test_a_gap_is_told_after_a_restart_of_the_memory_store(start_relay: StartRelay) -> None:
    """What may have been dropped before the start is not known any more."""
    relay = start_relay()
    (position,) = relay.publish("c", b"before")
    relay.stop()
    relay = start_relay()
    held = relay.hold("c", position)
    relay.publish("c", b"after")
    for answer in (held.response(), relay.get("c", position)):
        assert (answer.body, answer.header("X-Push-Gap")) == (b"after", "1")
    assert relay.get("c").header("X-Push-Gap") is None


def test_a_gap_is_told_once_to_a_subscriber_that_goes_on(start_relay: StartRelay) -> None:
    relay = start_relay(config(store={"type": "memory", "max_messages": 1}))
    one, _, _ = relay.publish("c", b"1", b"2", b"3")
    answer = relay.get("c", one)
    assert (answer.body, answer.header("X-Push-Gap")) == (b"3", "1")
    poll = relay.hold("c", answer.position)
    relay.publish("c", b"4")
    answer = poll.response()
    assert (answer.body, answer.header("X-Push-Gap")) == (b"4", None)


def test_unstored_messages_make_no_gap_for_who_was_not_held(start_relay: StartRelay) -> None:
    foregone = {"type": "publisher", "prefix": "/forego/", "store_messages": False}
    relay = start_relay(config(more=[foregone]))
    (one,) = relay.publish("c", b"1")
    relay.post("c", b"foregone", prefix="/forego/")
    poll = relay.hold("c", one)
    relay.publish("c", b"2")
    for answer in (poll.response(), relay.get("c", one)):
        assert (answer.body, answer.header("X-Push-Gap")) == (b"2", None)


def test_a_subscriber_that_reads_on_never_hangs_repeats_or_skips(start_relay: StartRelay) -> None:
    """A slow one among many messages and few kept: each answer is newer, each jump is told."""
    relay = start_relay(config(store={"type": "memory", "max_messages": 5}))
    (position,) = relay.publish("c", b"0")
    seen = newest = told = 0
    for burst in (1, 5, 6, 20, 1, 3):
        relay.publish("c", *[b"%d" % n for n in range(newest + 1, newest + 1 + burst)])
        newest += burst
        while seen != newest:
            answer = relay.get("c", position)
            jumps = newest - 4 > seen + 1
            assert int(answer.body) == (newest - 4 if jumps else seen + 1)
            assert answer.header("X-Push-Gap") == ("1" if jumps else None)
            seen, position, told = int(answer.body), answer.position, told + jumps
    assert told == 2


# The old browser client


def test_the_old_browser_client_works_unchanged(start_relay: StartRelay) -> None:
    """Its first request, then what it echoes, by header or by the Cache-Control token."""
    relay = start_relay(
        config(
            subscriber={"allow_origin": "http://127.0.0.1:8000", "allow_credentials": True},
            store={"type": "memory", "max_messages": 100},
        )
    )
    relay.publish("c", b'{"type": "a"}', b'{"type": "b"}')
    common = {
        "Origin": "http://127.0.0.1:8000",
        "Accept": "application/json, text/javascript, */*; q=0.01",
        "Cookie": "sessionid=abc",
    }
    first = relay.request(
        "GET",
        "/sub/c?_=1795217222123",
        {
            "If-Modified-Since": "Thu, 1 Jan 1970 00:00:00 GMT",
            "If-None-Match": "0",
            **common,
        },
    )
    assert (first.status, first.body) == (200, b'{"type": "a"}')
    assert first.header("Access-Control-Allow-Origin") == "http://127.0.0.1:8000"
    assert first.header("Access-Control-Allow-Credentials") == "true"
    assert first.header("X-Push-Gap") is None
    # A browser that hides Etag: the token of Cache-Control is what it sends back.
    token = re.search(r"etag=(\S+)", first.header("Cache-Control") or "")
    assert token
    second = relay.request(
        "GET",
        "/sub/c?_=1795217222124",
        {
            "If-Modified-Since": first.header("Last-Modified") or "",
            "If-None-Match": token[1],
            **common,
        },
    )
    assert second.body == b'{"type": "b"}'
    poll = relay.hold("c", headers=common | second.position.headers)
    relay.publish("c", b'{"type": "c"}')
    assert poll.response().body == b'{"type": "c"}'


def test_the_old_browser_client_may_repeat_a_position_after_an_error(relay: Daemon) -> None:
    first, _ = relay.publish("c", b"1", b"2")
    for _ in range(3):
        assert relay.get("c", first).body == b"2"
