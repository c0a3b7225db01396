"""runpushserver: the program it finds, what it hands over, and how it ends.

A script stands in for the relay where only the command is looked at; what is promised of
both together is tested with the real one.
"""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from fakes import unused_port
from processes import RunPushserver, daemon_binary, wait_until
from pushserver import conf, daemon

LOCATIONS: list[dict[str, object]] = [
    {"type": "subscriber", "url": r"/updates/([^/]+)", "create_on_get": True},
    {"type": "publisher", "url": r"/send-update/([^/]+)"},
]

SCRIPT = f"""#!{sys.executable}
import json, os, signal, sys, time
settings = json.load(sys.stdin)
if "NOTES" in os.environ:
    with open(os.environ["NOTES"], "w") as notes:
        json.dump([sys.argv[1:], settings], notes)
if "STATUS" in os.environ:
    sys.exit(int(os.environ["STATUS"]))
def on_signal(number, frame):
    print("signal", signal.Signals(number).name, file=sys.stderr, flush=True)
    if number in (signal.SIGTERM, signal.SIGINT):
        sys.exit(7)
for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"):
    signal.signal(getattr(signal, name), on_signal)
print("ready", os.getpid(), file=sys.stderr, flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "stand-in"
    path.write_text(SCRIPT)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def handed_over(
    tmp_path: Path, script: Path, push_server: dict[str, Any], *arguments: str
) -> tuple[list[str], dict[str, Any]]:
    """Return the arguments and the settings that the relay was started with."""
    notes = tmp_path / "notes"
    environment = {"NOTES": str(notes), "STATUS": "0"}
    with RunPushserver(tmp_path, push_server, *arguments, binary=script, **environment) as run:
        assert run.wait() == 0, run.log
        assert run.log == ""
    argv, settings = json.loads(notes.read_text())
    return argv, settings


def test_relay_gets_the_settings_without_djangos_own_keys(tmp_path: Path, script: Path) -> None:
    push_server = {
        "port": 9001,
        "publisher_host": {"location": "push.example.com", "secure": True},
        "subscriber_host": {"location": "push.example.com"},
        "servername": "grün 🌿 \x85 ￾",
        "workers": 2,
        "unknown": {"to": ["Django", None, 1.5, False]},
        "locations": tuple(LOCATIONS),
    }
    argv, settings = handed_over(tmp_path, script, push_server)
    assert argv == ["-c", "-"]
    assert settings == {
        "address": "127.0.0.1",
        "port": 9001,
        "servername": "grün 🌿 \x85 ￾",
        "workers": 2,
        "unknown": {"to": ["Django", None, 1.5, False]},
        "locations": LOCATIONS,
    }


def test_settings_without_anything_mean_port_8001_and_two_prefixes(
    tmp_path: Path, script: Path
) -> None:
    _, settings = handed_over(tmp_path, script, {})
    assert settings == {
        "address": "127.0.0.1",
        "port": 8001,
        "locations": [
            {"type": "publisher", "prefix": "/publisher/"},
            {"type": "subscriber", "prefix": "/subscriber/"},
        ],
    }


@pytest.mark.parametrize(
    ("push_server", "arguments", "expected"),
    [
        ({}, ["9001"], ("127.0.0.1", 9001)),
        ({"port": 9001}, ["9002"], ("127.0.0.1", 9002)),
        ({"address": "10.0.0.5", "port": 9001}, ["9002"], ("10.0.0.5", 9002)),
        ({"port": 9001}, ["0.0.0.0:9002"], ("0.0.0.0", 9002)),
        ({}, ["localhost:9002"], ("127.0.0.1", 9002)),
        ({}, ["[::1]:9002"], ("::1", 9002)),
        ({}, ["-6"], ("::1", 8001)),
        ({"port": 9001}, ["-6"], ("::1", 9001)),
        ({"address": ""}, ["-6"], ("::", 8001)),
        ({"address": "fe80::1"}, ["-6"], ("fe80::1", 8001)),
        ({}, ["9002", "--ipv6"], ("::1", 9002)),
        ({}, ["[::]:9002", "-6"], ("::", 9002)),
        ({"listen": ["127.0.0.1:9001"]}, ["9002"], ("127.0.0.1", 9002)),
    ],
)
def test_command_line_says_where_to_listen(
    tmp_path: Path,
    script: Path,
    push_server: dict[str, Any],
    arguments: list[str],
    expected: tuple[str, int],
) -> None:
    _, settings = handed_over(tmp_path, script, push_server, *arguments)
    assert (settings["address"], settings["port"]) == expected
    assert "listen" not in settings


def test_listen_of_the_settings_is_left_to_the_relay(tmp_path: Path, script: Path) -> None:
    _, settings = handed_over(tmp_path, script, {"listen": ["unix:/run/push.sock"]})
    assert settings["listen"] == ["unix:/run/push.sock"]
    assert "address" not in settings and "port" not in settings


@pytest.mark.parametrize(
    "addrport", ["http", "127.0.0.1", ":8001", "8001x", "0", "65536", "[::g]:1", "a b:1"]
)
def test_what_is_no_address_is_an_error(addrport: str) -> None:
    with pytest.raises(CommandError, match="no port and no address:port"):
        call_command("runpushserver", addrport)


def test_address_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(CommandError, match="no IPv6 address"):
        call_command("runpushserver", "127.0.0.1:8001", "-6")
    with pytest.raises(CommandError, match="no IPv6 address"):
        call_command("runpushserver", "[1::2::3]:8001")


@pytest.mark.parametrize("arguments", [["--allrequests"], ["--forcehost"], ["--forcehost", "x"]])
def test_options_to_come_say_so(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="not available yet"):
        call_command("runpushserver", *arguments)


def test_command_line_is_shown(tmp_path: Path, script: Path) -> None:
    with RunPushserver(tmp_path, {}, binary=script, STATUS="0") as run:
        run.wait()
        assert f"{script} -c -" in run.output


@pytest.mark.parametrize("status", [0, 1, 2, 4, 77])
def test_command_ends_with_the_relays_status(tmp_path: Path, script: Path, status: int) -> None:
    with RunPushserver(tmp_path, {}, binary=script, STATUS=str(status)) as run:
        assert run.wait() == status
        assert run.log == ""


def test_relay_that_cannot_bind_is_explained(tmp_path: Path, script: Path) -> None:
    with RunPushserver(tmp_path, {"address": ""}, binary=script, STATUS="3") as run:
        assert run.wait() == 3
        assert run.log.startswith(
            "CommandError: the relay cannot listen on port 8001 of all addresses: it is in use"
        )
        assert run.log.count("\n") == 1


def test_command_ends_as_shells_say_when_the_relay_is_killed(tmp_path: Path, script: Path) -> None:
    with RunPushserver(tmp_path, {}, binary=script) as run:
        os.kill(int(run.wait_for_log(r"ready (\d+)\n")[1]), signal.SIGKILL)
        assert run.wait() == 128 + signal.SIGKILL


def test_signals_are_passed_on(tmp_path: Path, script: Path) -> None:
    with RunPushserver(tmp_path, {}, binary=script) as run:
        run.wait_for_log("ready")
        for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            run.process.send_signal(number)
            run.wait_for_log(f"signal {number.name}\n")
        run.process.send_signal(signal.SIGTERM)
        assert run.wait() == 7
        assert run.log.endswith("signal SIGTERM\n")


def test_ctrl_c_reaches_the_relay_once(tmp_path: Path, script: Path) -> None:
    with RunPushserver(tmp_path, {}, binary=script) as run:
        run.wait_for_log("ready")
        # As a terminal does: to the whole group in its foreground.
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.wait() == 7
        assert run.log.count("signal SIGINT") == 1
        assert "Traceback" not in run.log


def test_missing_binary_of_the_setting_is_said_in_one_line(tmp_path: Path) -> None:
    with RunPushserver(tmp_path, {}, binary=tmp_path / "nothing") as run:
        assert run.wait() == 1
        line = f"CommandError: PUSH_SERVER['binary'] is {tmp_path}/nothing, where there is no"
        assert run.log.startswith(line)
        assert run.log.count("\n") == 1


def test_missing_binary_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "BUNDLED", tmp_path / "bin" / "pushserver")
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        override_settings(PUSH_SERVER={}),
        pytest.raises(CommandError, match="there is no pushserver program: neither ") as raised,
    ):
        call_command("runpushserver")
    assert "\n" not in str(raised.value)


def test_program_that_cannot_run_is_said_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF, but no more")
    broken.chmod(0o755)
    with RunPushserver(tmp_path, {}, binary=broken) as run:
        assert run.wait() == 1
        assert run.log == f"CommandError: {broken} cannot be started: Exec format error\n"


def test_program_is_looked_for_in_the_setting_then_the_package_then_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def program(folder: str) -> Path:
        path = tmp_path / folder / "pushserver"
        path.parent.mkdir()
        path.touch(0o755)
        return path

    in_setting, bundled, in_path = program("setting"), program("bin"), program("path")
    monkeypatch.setattr(daemon, "BUNDLED", bundled)
    monkeypatch.setenv("PATH", str(in_path.parent))
    with override_settings(PUSH_SERVER={"binary": in_setting}):
        assert daemon.find() == in_setting
    with override_settings(PUSH_SERVER={}):
        assert daemon.find() == bundled
        bundled.unlink()
        assert daemon.find() == in_path


def test_malformed_settings_stop_the_command_before_the_relay(tmp_path: Path, script: Path) -> None:
    with RunPushserver(tmp_path, {"port": "http"}, binary=script, STATUS="0") as run:
        assert run.wait() == 1
        assert "PUSH_SERVER['port'] must be a number" in run.log
        assert run.output == ""


# With the real relay.


def listening(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def test_relay_serves_the_settings_and_ends_with_0_when_told(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        port = unused_port()
        push_server = {"port": port, "locations": LOCATIONS}
        with RunPushserver(tmp_path, push_server, binary=daemon_binary()) as run:
            wait_until(partial(listening, port), "the relay")
            url = f"http://127.0.0.1:{port}/send-update/room"
            with urllib.request.urlopen(url, data=b"x", timeout=5) as answer:
                assert answer.status == 202
            run.process.send_signal(number)
            assert run.wait() == 0, run.log
            assert "Traceback" not in run.log


def test_relays_log_is_shown(tmp_path: Path) -> None:
    port = unused_port()
    with RunPushserver(
        tmp_path, {"locations": LOCATIONS}, str(port), binary=daemon_binary()
    ) as run:
        run.wait_for_log(str(port))


def test_without_a_setting_the_relay_listens_on_ipv6_too_when_asked(tmp_path: Path) -> None:
    port = unused_port()
    with RunPushserver(tmp_path, {}, str(port), "-6", binary=daemon_binary()):
        wait_until(lambda: listening(port, "::1"), "the relay")
        with urllib.request.urlopen(
            f"http://[::1]:{port}/publisher/room", data=b"x", timeout=5
        ) as answer:
            assert answer.status == 202


def test_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with RunPushserver(tmp_path, {}, str(port), binary=daemon_binary()) as run:
            assert run.wait() == 3
    assert f"CommandError: the relay cannot listen on 127.0.0.1:{port}: it is in use" in run.log
    assert "Traceback" not in run.log


def test_port_of_another_relay_is_in_use_too(tmp_path: Path) -> None:
    port = str(unused_port())
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with RunPushserver(first, {}, port, binary=daemon_binary()):
        wait_until(lambda: listening(int(port)), "the relay")
        with RunPushserver(second, {}, port, binary=daemon_binary()) as run:
            assert run.wait() == 3, run.log


def test_key_that_nobody_knows_is_named_by_the_relay(tmp_path: Path) -> None:
    with RunPushserver(tmp_path, {"max_mesages": 3}, binary=daemon_binary()) as run:
        assert run.wait() == 1
        assert "max_mesages" in run.log


def test_settings_of_any_language_reach_the_relay() -> None:
    """As JSON that libyaml reads: no surrogate pairs, no control characters."""
    another = {"type": "publisher", "url": "/größe 🌿 [^\x7f\x85]/([^/]+)"}
    with override_settings(PUSH_SERVER={"locations": [*LOCATIONS, another]}):
        checked = subprocess.run(
            [daemon_binary(), "-c", "-", "-t"],
            input=conf.daemon_json(),
            capture_output=True,
            timeout=10,
        )
    assert checked.returncode == 0, checked.stderr.decode()


def test_subscribers_are_known_again_by_the_session_cookie_of_the_project() -> None:
    url = "http://127.0.0.1:8000/passthrough"
    told: dict[str, object] = {"type": "subscriber", "prefix": "/told/", "passthrough": url}
    chosen = {**told, "prefix": "/chosen/", "passthrough_identity": ["member"]}
    with override_settings(
        PUSH_SERVER={"locations": [told, chosen, *LOCATIONS]}, SESSION_COOKIE_NAME="sid"
    ):
        locations = json.loads(conf.daemon_json())["locations"]
    assert [one.get("passthrough_identity") for one in locations] == [
        ["sid"],
        ["member"],
        *[None] * len(LOCATIONS),
    ]


def test_binary_that_make_built_is_the_one_of_the_package() -> None:
    daemon_binary()
    version = subprocess.run(
        [daemon.BUNDLED, "-V"], capture_output=True, text=True, check=True, timeout=10
    )
    assert Path(__file__).parents[2].joinpath("VERSION").read_text().strip() in version.stdout
