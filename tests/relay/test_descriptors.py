"""Few file descriptors: the limit is raised at start, and running out does not spin."""

from __future__ import annotations

import contextlib
import resource
import signal

import pytest

from .client import Connection, Poll
from .conftest import StartRelay
from .daemon import OK, Daemon, config

FEW = 120  # descriptors the daemon gets
MANY = 160  # connections it is asked to serve
WARNING = "warning: .*(descriptors|connections is reached)"


def answered(polls: list[Poll]) -> list[Poll]:
    return [poll for poll in polls if poll.has_answer()]


def test_the_descriptor_limit_is_raised_to_its_hard_limit(start_relay: StartRelay) -> None:
    relay = start_relay(ulimit=f"-S -n {FEW}")
    soft, hard = resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE)
    assert soft == hard
    assert hard > MANY
    polls = [relay.poll("c") for _ in range(MANY)]
    relay.wait_until_held("c", MANY)
    relay.publish("c", b"m")
    assert {poll.response().body for poll in polls} == {b"m"}


@pytest.fixture(params=["few from the start", "fewer than it thinks"])
def short_relay(request: pytest.FixtureRequest, start_relay: StartRelay) -> Daemon:
    """A relay with few descriptors, which it knows, or which accept() has to tell it."""
    settings = config(subscriber={"timeout": 0})
    if request.param == "few from the start":
        return start_relay(settings, ulimit=f"-n {FEW}")
    relay = start_relay(settings)
    resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, (FEW, FEW))
    return relay


def run_out(relay: Daemon) -> list[Poll]:
    """Connect until the relay has accepted all it can; further clients wait in the backlog."""
    polls = [relay.poll("c") for _ in range(MANY)]
    relay.expect_log(WARNING)
    return polls


def test_running_out_of_descriptors_pauses_with_one_warning(short_relay: Daemon) -> None:
    """Nobody held is disturbed, and who waited to be accepted is served when others leave."""
    polls = run_out(short_relay)
    assert not answered(polls)
    leavers, stayers = polls[:-50], polls[-50:]
    for poll in leavers:
        poll.close()
    short_relay.wait_until_held("c", len(stayers))
    assert short_relay.post("c", b"m").status == 201
    assert {poll.response().body for poll in stayers} == {b"m"}
    # One a listener, and each worker has one.
    assert 1 <= len(short_relay.log_lines(WARNING)) <= short_relay.workers


def test_running_out_of_descriptors_does_not_spin(
    short_relay: Daemon, start_relay: StartRelay
) -> None:
    run_out(short_relay)
    before = short_relay.cpu_seconds()
    other = start_relay(config(subscriber={"timeout": 1}))
    assert other.get("c").status == 304  # a second passes
    assert short_relay.cpu_seconds() - before < 0.3


def test_running_out_of_descriptors_leaves_the_shutdown_clean(short_relay: Daemon) -> None:
    """Who is held is told; who was never accepted is cut off with the backlog."""
    polls = run_out(short_relay)
    short_relay.send_signal(signal.SIGTERM)
    told = 0
    for poll in polls:
        with contextlib.suppress(ConnectionResetError, EOFError):
            assert poll.response().status == 304
            told += 1
        poll.close()
    assert FEW / 4 < told < MANY
    assert short_relay.wait() == OK


def test_a_shutdown_that_reaches_the_limit_of_connections_is_clean(start_relay: StartRelay) -> None:
    """It empties the queue of each address, and the limit is reached at the second."""
    relay = start_relay(config(listen=["127.0.0.1:0", "127.0.0.2:0"], limits={"connections": 2}))
    relay.allow_log(WARNING)
    (line,) = relay.log_lines(r"listening on 127\.0\.0\.2:")
    second = ("127.0.0.2", int(line.rsplit(":", 1)[1]))
    relay.send_signal(signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(Connection(second))
        relay.send_signal(signal.SIGTERM)
        relay.send_signal(signal.SIGCONT)
        assert relay.wait() == OK


def test_the_limit_of_connections_is_one_of_the_whole_relay(start_relay: StartRelay) -> None:
    """However the kernel spreads them over the workers, all that the limit allows are served."""
    settings = config(subscriber={"timeout": 0}, limits={"connections": 41})
    relay = start_relay(settings)
    relay.allow_log(WARNING)
    polls = [relay.poll("c") for _ in range(40)]
    relay.wait_until_held("c", 40)
    assert relay.post("c", b"m").status == 201
    assert {poll.response().body for poll in polls} == {b"m"}
