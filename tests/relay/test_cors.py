"""What a page of another origin may see."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from .client import Position, Response
from .conftest import StartRelay
from .daemon import ORIGIN_WARNING, Daemon, config

PAGE = "http://127.0.0.1:8000"
OTHER = "https://other.example"
ORIGIN = {"Origin": PAGE}


def assert_visible(response: Response, origin: str = "*") -> None:
    """Check that a script may see the status, and the headers it needs to go on."""
    assert response.header("Access-Control-Allow-Origin") == origin, response
    exposed = response.tokens("Access-Control-Expose-Headers")
    assert {"last-modified", "etag", "cache-control", "x-push-gap"} <= exposed


def test_any_origin_is_allowed_by_default_without_credentials(relay: Daemon) -> None:
    relay.publish("c", b"m")
    answer = relay.get("c", headers=ORIGIN)
    assert_visible(answer)
    assert answer.header("Access-Control-Allow-Credentials") is None


def test_a_preflight_is_answered_with_what_is_allowed(relay: Daemon) -> None:
    answer = relay.request(
        "OPTIONS",
        "/sub/c",
        {
            **ORIGIN,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "if-modified-since,if-none-match",
        },
    )
    assert answer.status == 200
    assert_visible(answer)
    assert answer.tokens("Access-Control-Allow-Headers") >= {
        "if-modified-since",
        "if-none-match",
        "x-cookie",
        "last-event-id",
        "content-type",
    }
    assert answer.header("Access-Control-Max-Age") == "864000"
    assert relay.info("c") is None


def test_a_preflight_needs_no_channel(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"create_on_get": False}))
    answer = relay.request("OPTIONS", "/sub/c", {**ORIGIN, "Access-Control-Request-Method": "GET"})
    assert answer.status == 200
    assert_visible(answer)


def test_one_origin_is_told_with_credentials_where_allowed(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"allow_origin": PAGE, "allow_credentials": True}))
    relay.publish("c", b"m")
    for answer in (relay.get("c", headers=ORIGIN), relay.request("OPTIONS", "/sub/c", ORIGIN)):
        assert_visible(answer, PAGE)
        assert answer.header("Access-Control-Allow-Credentials") == "true"


def test_an_origin_that_is_not_allowed_is_never_echoed(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"allow_origin": PAGE, "allow_credentials": True}))
    relay.allow_log(ORIGIN_WARNING)
    relay.publish("c", b"m")
    for origin in (OTHER, "null", PAGE + "0", PAGE.upper() + ".evil", PAGE + "/"):
        answer = relay.get("c", headers={"Origin": origin})
        assert answer.header("Access-Control-Allow-Origin") in (None, PAGE)


def test_of_a_list_the_matching_origin_is_echoed_with_vary(start_relay: StartRelay) -> None:
    relay = start_relay(
        config(subscriber={"allow_origin": [PAGE, OTHER], "allow_credentials": True})
    )
    relay.publish("c", b"m")
    for origin in (PAGE, OTHER):
        answer = relay.get("c", headers={"Origin": origin})
        assert_visible(answer, origin)
        assert "origin" in answer.tokens("Vary")
        assert answer.header("Access-Control-Allow-Credentials") == "true"
        assert {"if-modified-since", "if-none-match"} <= answer.tokens("Vary")


def test_of_a_list_a_stranger_is_not_allowed_and_vary_still_said(start_relay: StartRelay) -> None:
    """Without Vary a cache would give a page that is allowed the answer of one that is not."""
    relay = start_relay(config(subscriber={"allow_origin": [PAGE, OTHER]}))
    relay.allow_log(ORIGIN_WARNING)
    relay.publish("c", b"m")
    for headers in ({"Origin": "http://stranger.example"}, {}):
        answer = relay.get("c", headers=headers)
        assert answer.header("Access-Control-Allow-Origin") is None
        assert "origin" in answer.tokens("Vary")


def test_subscribers_of_different_origins_each_get_their_own_delivered(
    start_relay: StartRelay,
) -> None:
    """One message, sent to both in the same walk over those held."""
    relay = start_relay(config(subscriber={"allow_origin": [PAGE, OTHER]}))
    polls = {o: relay.hold("c", headers={"Origin": o}) for o in (PAGE, OTHER)}
    plain = relay.hold("c")
    relay.publish("c", b"m")
    for origin, poll in polls.items():
        assert_visible(poll.response(), origin)
    assert plain.response().header("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize("status", [200, 304, 400, 404, 405, 409, 410])
def test_every_status_can_be_seen_by_a_script(start_relay: StartRelay, status: int) -> None:
    relay = start_relay(
        config(
            subscriber={
                "allow_origin": PAGE,
                "allow_credentials": True,
                "timeout": 0.2 if status == 304 else 20,
                "concurrency": "first",
                "create_on_get": False,
            }
        )
    )
    relay.put("c")
    if status == 200:
        relay.publish("c", b"m")
        answer = relay.get("c", headers=ORIGIN)
    elif status == 304:
        answer = relay.get("c", headers=ORIGIN)
    elif status == 400:
        answer = relay.get("c", headers={**ORIGIN, "If-None-Match": "abc"})
    elif status == 404:
        answer = relay.get("unknown", headers=ORIGIN)
    elif status == 405:
        answer = relay.request("PUT", "/sub/c", ORIGIN)
    elif status == 409:
        relay.hold("c")
        answer = relay.get("c", headers=ORIGIN)
    else:
        poll = relay.hold("c", headers=ORIGIN)
        relay.delete("c")
        answer = poll.response()
    assert answer.status == status
    assert_visible(answer, PAGE)
    assert answer.header("Access-Control-Allow-Credentials") == "true"


def test_a_conflict_of_the_one_displaced_can_be_seen(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"concurrency": "last"}))
    poll = relay.hold("c", headers=ORIGIN)
    relay.poll("c")
    answer = poll.response()
    assert answer.status == 409
    assert_visible(answer)


@pytest.fixture(scope="session")
def no_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that leaves the daemon without memory for blocks of one size."""
    library = tmp_path_factory.mktemp("memory") / "no_memory.so"
    source = Path(__file__).with_name("no_memory.c")
    compiler = os.environ.get("CC", "cc").split()
    command = [*compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run([*command, "-ldl"], check=True)
    return library


def test_a_503_can_be_seen_by_a_script(
    start_relay: StartRelay, no_memory: Path, tmp_path: Path
) -> None:
    """There is no memory for the channel, whose long id makes its block of a size of its own."""
    size = tmp_path / "size"
    size.write_bytes(bytes(8))
    asan = os.environ.get("ASAN_OPTIONS", "detect_leaks=1")
    relay = start_relay(
        config(subscriber={"allow_origin": PAGE, "create_on_get": False}),
        env={
            "LD_PRELOAD": str(no_memory),
            "NO_MEMORY_SIZE": str(size),
            # A sanitizer wants to be the first library; this one hands on to it.
            "ASAN_OPTIONS": asan + ":verify_asan_link_order=0",
        },
    )
    relay.allow_log("out of memory")
    id = "c" * 241
    statuses = set()
    for refused in range(len(id), len(id) + 100):
        with size.open("r+b") as file:
            file.write(struct.pack("=Q", refused))
        try:
            answer = relay.get(id, headers=ORIGIN)
        except (ConnectionError, EOFError):
            continue  # it was another block, without which the connection ends
        statuses.add(answer.status)
        assert_visible(answer, PAGE)
    assert statuses == {404, 503}


def test_a_gap_and_an_interval_polls_304_can_be_seen(start_relay: StartRelay) -> None:
    relay = start_relay(config(subscriber={"polling": "interval"}))
    (position,) = relay.publish("c", b"m")
    answer = relay.get("c", Position.at(1000), ORIGIN)
    assert (answer.status, answer.header("X-Push-Gap")) == (200, "1")
    assert_visible(answer)
    answer = relay.get("c", position, ORIGIN)
    assert answer.status == 304
    assert_visible(answer)


def test_the_first_origin_that_is_not_allowed_is_logged_with_the_one_that_is(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(subscriber={"allow_origin": PAGE, "timeout": 0.1}))
    for _ in range(5):
        relay.get("c", headers={"Origin": "http://localhost:8000"})
    lines = relay.expect_log(r"http://localhost:8000\b")
    assert PAGE in lines[0]
    relay.stop()
    assert len(relay.log_lines(r"http://localhost:8000\b")) == 1


def test_publisher_answers_are_not_for_scripts_of_any_origin(relay: Daemon) -> None:
    relay.allow_log(ORIGIN_WARNING)
    for method in ("GET", "POST", "OPTIONS"):
        answer = relay.request(method, "/pub/c", ORIGIN, b"")
        assert answer.header("Access-Control-Allow-Origin") is None
