"""The wall clock steps back, as it does when a machine's time is corrected."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from .client import wait_until
from .conftest import StartRelay
from .daemon import Daemon, config, now

SetClock = Callable[[float], None]


@pytest.fixture(scope="session")
def wall_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that shifts the daemon's wall clock."""
    library = tmp_path_factory.mktemp("clock") / "wall_clock.so"
    source = Path(__file__).with_name("wall_clock.c")
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run(
        [*compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", str(library), str(source)], check=True
    )
    return library


@pytest.fixture
def clock(
    start_relay: StartRelay, wall_clock: Path, tmp_path: Path
) -> tuple[Callable[..., Daemon], SetClock]:
    """Start a relay by the first, shift its clock by so many seconds by the second."""
    shift = tmp_path / "shift"

    def set_clock(seconds: float) -> None:
        # In place: the daemon has the file mapped.
        with shift.open("r+b" if shift.exists() else "wb") as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))

    def start() -> Daemon:
        asan = os.environ.get("ASAN_OPTIONS", "detect_leaks=1")
        env = {
            "LD_PRELOAD": str(wall_clock),
            "WALL_CLOCK_SHIFT": str(shift),
            # A sanitizer wants to be the first library; this one wraps nothing of it.
            "ASAN_OPTIONS": asan + ":verify_asan_link_order=0",
        }
        return start_relay(config(), env=env)

    set_clock(0)
    return start, set_clock


def date_of(relay: Daemon) -> int:
    """The second that the relay thinks it is."""
    date = relay.request("GET", "/nowhere").header("Date")
    assert date is not None
    return int(parsedate_to_datetime(date).timestamp())


def test_ids_go_on_increasing_when_the_clock_steps_back(
    clock: tuple[Callable[..., Daemon], SetClock],
) -> None:
    start, set_clock = clock
    relay = start()
    before = relay.publish("c", b"one", b"two")
    set_clock(-3600)
    wait_until(lambda: date_of(relay) < now() - 3000, what="the relay to see the step")
    after = relay.publish("c", b"three", b"four") + relay.publish("d", b"five")
    ids = [position.id for position in before + after]
    assert ids == sorted(set(ids))
    # The second stands still, the tags go on.
    assert {second for second, _ in ids[2:]} == {ids[1][0]}
    assert relay.get("c", before[0]).body == b"two"
    assert relay.get("c", before[1]).body == b"three"
    assert relay.get("c", after[0]).body == b"four"


def test_a_clock_that_stepped_back_strands_no_subscriber(
    clock: tuple[Callable[..., Daemon], SetClock],
) -> None:
    """A position from before a restart may then lie in the future: the next message answers it."""
    start, set_clock = clock
    set_clock(3600)
    earlier = start()
    (position,) = earlier.publish("c", b"one")
    earlier.stop()
    set_clock(0)
    relay = start()
    poll = relay.hold("c", position)
    (lower,) = relay.publish("c", b"two")
    assert lower.id < position.id
    answer = poll.response()
    assert (answer.status, answer.body, answer.position) == (200, b"two", lower)
    poll.again("/sub/c", answer.position)
    relay.wait_until_held("c", 1)
    relay.publish("c", b"three")
    assert poll.response().body == b"three"
