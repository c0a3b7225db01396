"""Flags, where the configuration is looked for, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from .conftest import StartRelay
from .daemon import (
    BAD_CONFIGURATION,
    BAD_USAGE,
    CANNOT_START,
    LINE,
    OK,
    binary,
    config,
    environment,
    run,
)

pytestmark = pytest.mark.usefixtures("built")

GOOD = json.dumps({"port": 0, **config()})


def test_version_is_told_and_the_servername_has_it(start_relay: StartRelay) -> None:
    result = run("-V")
    assert result.returncode == OK
    match = re.fullmatch(r"pushserver (\d+\.\d+\S*)\n", result.stdout)
    assert match
    server = start_relay().request("GET", "/nowhere").header("Server")
    assert server == f"pushserver/{match[1]}"


def test_t_checks_a_good_configuration_and_exits_0() -> None:
    assert run("-t", "-c", "-", stdin=GOOD).returncode == OK


def test_t_names_line_and_key_of_a_bad_configuration_and_exits_1(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("port: 8001\nlog: info\nportt: 8002\n")
    result = run("-t", "-c", str(path))
    assert result.returncode == BAD_CONFIGURATION
    assert re.search(r"bad\.yaml\D+3\b.*portt", result.stderr), result.stderr


def test_a_bad_configuration_is_refused_at_start_too(tmp_path: Path) -> None:
    result = run("-c", "-", stdin="portt: 8001\n")
    assert result.returncode == BAD_CONFIGURATION
    assert "portt" in result.stderr


def test_t_binds_nothing(start_relay: StartRelay) -> None:
    relay = start_relay()
    text = json.dumps({"port": relay.port, **config()})
    assert run("-t", "-c", "-", stdin=text).returncode == OK


@pytest.mark.parametrize("args", [["-x"], ["--nonsense"], ["-c"], ["extra"], ["-t", "extra"]])
def test_a_wrong_flag_is_a_usage_error(args: list[str], tmp_path: Path) -> None:
    result = run(*args, cwd=tmp_path)
    assert result.returncode == BAD_USAGE
    assert "usage" in result.stderr.lower()


def test_a_configuration_that_does_not_exist_is_named(tmp_path: Path) -> None:
    result = run("-c", str(tmp_path / "absent.yaml"))
    assert result.returncode == BAD_CONFIGURATION
    assert "absent.yaml" in result.stderr


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    assert run("-t", "-c", str(tmp_path)).returncode == BAD_CONFIGURATION


def test_without_c_the_configuration_is_looked_for_in_config(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "pushserver.yaml").write_text("portt: 1\n")
    result = run("-t", cwd=tmp_path)
    assert result.returncode == BAD_CONFIGURATION
    assert re.search(r"config/pushserver\.yaml\D+1\b", result.stderr)


def test_without_any_configuration_the_places_are_named(tmp_path: Path) -> None:
    if os.path.exists("/etc/pushserver/pushserver.yaml"):
        pytest.skip("this machine has one")
    result = run("-t", cwd=tmp_path)
    assert result.returncode == BAD_CONFIGURATION
    assert "/etc/pushserver/pushserver.yaml" in result.stderr


def test_dump_config_can_be_read_back_and_is_then_the_same() -> None:
    text = json.dumps(
        {
            "port": 8123,
            "servername": None,
            "workers": 3,
            "limits": {"header_timeout": 1.5, "target_size": "4K"},
            "store": {
                "default": {"type": "memory", "max_messages": 7, "max_memory": "1M"},
                "small": {"type": "memory", "message_timeout": 0.25},
            },
            "locations": [
                {
                    "type": "subscriber",
                    "url": r"/updates/([^/'\"\\]+)",
                    "allow_origin": ["http://a.example", "http://b.example"],
                    "allow_credentials": True,
                    "concurrency": "last",
                    "timeout": 12.5,
                },
                {
                    "type": "publisher",
                    "prefix": "/ü:'/",
                    "store": "small",
                    "allow": ["10.0.0.0/8"],
                },
            ],
        },
        ensure_ascii=False,
    )
    first = run("--dump-config", "-c", "-", stdin=text)
    assert first.returncode == OK, first.stderr
    second = run("--dump-config", "-c", "-", stdin=first.stdout)
    assert second.returncode == OK, second.stderr
    assert second.stdout == first.stdout
    for expected in ("8123", "max_messages: 7", "12.5", "http://b.example", "10.0.0.0/8"):
        assert expected in first.stdout


def test_dump_config_shows_every_default() -> None:
    result = run("--dump-config", "-c", "-", stdin=GOOD)
    assert result.returncode == OK
    for expected in (
        "127.0.0.1:0",
        "header_timeout: 30",
        "keepalive_timeout: 75",
        "channel_timeout: 60",
        "concurrency: broadcast",
        "timeout: {longpoll: 55, eventsource: 0, websocket: 0",
        "timeout_status: 304",
        "create_on_post: true",
        "passthrough_linger: 5",
        "lingering: 100000",
    ):
        assert re.search(re.escape(expected) + r"\b", result.stdout), expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_exit_code_after_a_signal_is_0(start_relay: StartRelay, number: int) -> None:
    relay = start_relay()
    relay.stop(number)


@pytest.mark.parametrize("descriptors", range(4, 11))
def test_a_start_that_fails_for_another_reason_is_4(tmp_path: Path, descriptors: int) -> None:
    """Wherever descriptors run out: in a worker's own calls, or within libevent."""
    path = tmp_path / "many.yaml"
    path.write_text(json.dumps({"port": 0, "workers": 4, **config()}))
    shell = f'ulimit -n {descriptors} && exec "$@"'
    result = subprocess.run(
        ["sh", "-c", shell, "sh", binary(), "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(),
    )
    assert result.returncode == CANNOT_START, result
    lines = result.stderr.splitlines()
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert any(re.search("error: .*Too many open files", line) for line in lines), lines
