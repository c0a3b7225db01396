"""The load program sees each mistake that a server can make with a message."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOAD = ROOT / "build/bench/load"

SUBSCRIBERS = 5
MESSAGES = 4

# What it says of each mistake, of polls and of event streams.
SAID = {
    "lost": r"14 of 15 deliveries, and no more for 2 s",
    "skipped": r"wanted message 2 of channel 0, got '0000000003 0000000000 ",
    "old": r"wanted message 2 of channel 0, got '0000000001 0000000000 ",
    "torn": r"message 2 of channel 0 has 63 bytes, not 64",
    "changed": r"wanted message 2 of channel 0, got '0000000002 0000000000 ",
    "foreign": r"wanted message 2 of channel 0, got '0000000002 0000000007 ",
    "closed": r"the server closed the connection of a subscriber",
    "refused": r"a message was answered with 500",
}


@contextmanager
def faulty(fault: str) -> Iterator[tuple[int, int]]:
    """The port and the process id of a server with that fault."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("faulty.py")), fault],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def run(fault: str, transport: str) -> subprocess.CompletedProcess[str]:
    with faulty(fault) as (port, pid):
        return subprocess.run(
            [str(LOAD), f"--port={port}", f"--pids={pid}", f"--transport={transport}"]
            + [f"--subscribers={SUBSCRIBERS}", "--warmup=0", f"--messages={MESSAGES}"]
            + ["--patience=2"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.mark.parametrize("transport", ["longpoll", "eventsource"])
def test_load_counts_what_a_server_without_fault_delivers(transport: str) -> None:
    done = run("none", transport)
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert result["deliveries"] == SUBSCRIBERS * MESSAGES
    assert result["publishes"] == MESSAGES
    assert result["cpu_ns"] > 0


@pytest.mark.parametrize("transport", ["longpoll", "eventsource"])
@pytest.mark.parametrize("fault", sorted(SAID))
def test_load_ends_with_a_sentence_when_a_message_is_not_as_it_was_sent(
    fault: str, transport: str
) -> None:
    done = run(fault, transport)
    assert done.returncode == 1
    assert done.stdout == ""
    assert SAID[fault] in done.stderr


def test_load_sees_that_a_message_comes_twice_on_a_stream() -> None:
    done = run("repeated", "eventsource")
    assert done.returncode == 1
    assert (
        "wanted message 3 of channel 0, got '0000000002 " in done.stderr
        or "deliveries instead of" in done.stderr
    )


def test_load_sees_that_a_poll_is_answered_twice() -> None:
    done = run("repeated", "longpoll")
    assert done.returncode == 1
    assert "wanted message 3 of channel 0, got '0000000002 " in done.stderr
