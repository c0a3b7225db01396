"""What a poll that comes again and again does not do, whatever it costs: docs/performance.md."""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import pytest

import instructions
from cases import Options

# A message is published, rendered and noted for a worker: a few calls, of which each of
# its polls has a part. What a poll itself does comes to one for each.
A_FEW = instructions.SUBSCRIBERS // 5
MESSAGES = (10, 30)

POLLS: dict[str, Options] = {
    "minimal": {},
    "browser": {"browser": True},
    # Django was told of the subscriber with its first poll; the others are the same ones.
    "told": {"browser": True, "sub": "/told/"},
}
MEMORY = ("malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "free")


class Django(http.server.BaseHTTPRequestHandler):
    """Takes notices."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def django() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Django) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Cost:
    """Of one message and all its polls: calls and instructions of each function."""

    calls: Counter[str]
    instructions: Counter[str]
    run: Counter[str]  # the calls of a whole run, with starting and connecting


@pytest.fixture(scope="module")
def cost_of(django: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cost]:
    """What those of a name in POLLS cost, as the difference of two runs."""

    @cache
    def cost_of(name: str) -> Cost:
        log = tmp_path_factory.mktemp("calls") / "callgrind"
        options = {"subscribers": instructions.SUBSCRIBERS, "warmup": 2, **POLLS[name]}
        runs = []
        for messages in MESSAGES:
            instructions.callgrind(options, messages, log, django)
            runs.append((instructions.calls_in(log), instructions.instructions_in(log)))
        (short_calls, short), (long_calls, long) = runs
        return Cost(a_message(short_calls, long_calls), a_message(short, long), short_calls)

    return cost_of


def a_message(short: Counter[str], long: Counter[str]) -> Counter[str]:
    messages = MESSAGES[1] - MESSAGES[0]
    return Counter({name: round((n - short[name]) / messages) for name, n in long.items()})


@pytest.fixture(params=POLLS)
def cost(request: pytest.FixtureRequest, cost_of: Callable[[str], Cost]) -> Cost:
    return cost_of(request.param)


def test_each_poll_is_read_once_and_the_ordinary_way(cost: Cost) -> None:
    """So it is polls that are counted."""
    assert cost.calls["fastrequest_read"] == instructions.SUBSCRIBERS + 1
    assert cost.calls["http_parser_execute"] == 0


def test_a_poll_takes_and_frees_no_memory(cost: Cost) -> None:
    counted = {name: cost.calls[name] for name in MEMORY}
    assert counted["malloc"] > 0
    assert sum(counted.values()) <= A_FEW, counted


def test_a_poll_arms_no_timer_and_changes_nothing_in_epoll(cost: Cost) -> None:
    """Connecting does, so that these are the names."""
    for name in ("event_add", "epoll_ctl"):
        assert cost.run[name] >= instructions.SUBSCRIBERS
    counted = {name: cost.calls[name] for name in ("event_add", "event_del", "epoll_ctl")}
    assert sum(counted.values()) <= A_FEW, counted


def test_the_headers_of_a_subscriber_that_django_knows_are_not_collected_again(
    cost_of: Callable[[str], Cost],
) -> None:
    """Only who it is is read again: collecting and copying them costs twice a poll."""
    known, plain = (sum(cost_of(name).instructions.values()) for name in ("told", "browser"))
    assert plain < known < 1.5 * plain
