"""The suite against our relay, and against servers that are none."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import relay
import table
from hbpr_conformance import __main__ as command
from hbpr_conformance.suite import LEVELS

HERE = Path(__file__).resolve().parent


def run(*arguments: str) -> tuple[int, str]:
    """The exit status and output of a run of the suite in this process."""
    out = io.StringIO()
    try:
        return command.main(arguments, out), out.getvalue()
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()


def run_as_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A run as a user has it."""
    return subprocess.run(
        [sys.executable, "-m", "hbpr_conformance", *arguments],
        cwd=HERE,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# Our relay


@pytest.mark.parametrize("workers", [1, 4])
def test_our_relay_passes_every_check(workers: int) -> None:
    with relay.running(workers) as arguments:
        done = run_as_command(*arguments, "--timeout", "20", "--json")
    document = json.loads(done.stdout)
    failed = {
        check["id"]: (check["clause"], check["expected"], check["got"])
        for check in document["checks"]
        if check["result"] == "fail"
    }
    assert not failed
    assert done.returncode == 0
    skipped = {check["id"] for check in document["checks"] if check["result"] == "skip"}
    assert not skipped
    assert document["summary"]["all"]["pass"] == len(command.CHECKS)
    assert document["seconds"] < 60


# Servers that are none


class Nonsense:
    """Accepts connections and treats each as it is told, until it is stopped.

    Everything it has accepted is kept, so that nothing is closed by accident.
    """

    def __init__(self, treat: Callable[[socket.socket], None]) -> None:
        self.treat = treat
        self.kept: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.kept.append(connection)
            connection.settimeout(0.5)
            with contextlib.suppress(OSError):
                self.treat(connection)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for connection in self.kept:
            connection.close()


def hang(connection: socket.socket) -> None:
    """Say nothing."""


def close(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def babble(connection: socket.socket) -> None:
    connection.sendall(bytes(range(256)) * 4 + b"\r\n\r\n")
    connection.close()


def promise(connection: socket.socket) -> None:
    """Begin an answer that never comes to its end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")


def exaggerate(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nabc")


def go_on(connection: socket.socket) -> None:
    """Send a header without end, as much as is taken."""
    connection.setblocking(False)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (4 << 20))


def contradict(connection: socket.socket) -> None:
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nLast-Modified: Thu, 99 Foo 0000 99:99:99 GMT\r\nEtag: \xff\r\n"
        b"Content-Length: 3\r\n\r\n{x}"
    )


def confirm(connection: socket.socket) -> None:
    """Answer everything with 200 and nothing."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 50)


TREATMENTS = [hang, close, reset, babble, promise, exaggerate, go_on, contradict, confirm]


@pytest.fixture
def nonsense() -> Iterator[Callable[[Callable[[socket.socket], None]], Nonsense]]:
    servers: list[Nonsense] = []

    def start(treat: Callable[[socket.socket], None]) -> Nonsense:
        servers.append(Nonsense(treat))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize("treat", TREATMENTS, ids=lambda treat: treat.__name__)
def test_a_server_that_is_none_fails_in_time_and_leaves_nothing(
    nonsense: Callable[[Callable[[socket.socket], None]], Nonsense],
    treat: Callable[[socket.socket], None],
) -> None:
    server = nonsense(treat)
    threads = threading.active_count()
    start = time.monotonic()
    status, output = run(
        f"--sub={server.url}s", f"--pub={server.url}p", "--timeout=0.3", "--jobs=32"
    )
    assert status == 1
    assert time.monotonic() - start < 60
    assert threading.active_count() == threads
    lines = output.splitlines()
    by_id = {line.split()[2].rstrip(":"): line for line in lines[: len(command.CHECKS)]}
    assert len(by_id) == len(command.CHECKS)
    assert "FAIL" in by_id["publisher-to-subscriber"]
    # Where every answer is 200 some clauses hold; otherwise silence is no proof of any.
    musts = {check.id for check in command.CHECKS if check.level == "must" and not check.needs}
    passed = {id for id in musts if by_id[id].startswith("pass")}
    if treat not in (confirm, contradict):
        assert not passed


# The command line


def test_a_server_that_cannot_be_reached_is_status_2() -> None:
    port = relay.free_port()
    done = run_as_command(f"--sub=http://127.0.0.1:{port}/s/", f"--pub=http://127.0.0.1:{port}/p/")
    assert done.returncode == 2
    assert "cannot reach the server" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--sub=http://127.0.0.1/s/"],
        ["--sub=ftp://127.0.0.1/s/", "--pub=http://127.0.0.1/p/"],
        ["--list", "--level=musts"],
        ["--list", "--only=no-such-check"],
        ["--list", "--timeout=0"],
        ["--list", "--max-messages=-1"],
        ["--list", "--passthrough-listen=8000"],
        ["--no-such-option"],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


def test_list_names_every_check_with_its_level_and_clause() -> None:
    status, output = run("--list")
    assert status == 0
    for check in command.CHECKS:
        assert f"  {check.level:<8}  {check.id}: {check.clause}" in output


def test_level_and_only_choose_checks() -> None:
    assert {check.level for check in command.choose("must,safety", None)} == {"must", "safety"}
    chosen = command.choose("must", "pub-delete-*,info-messages")
    assert {check.id.split("-")[0] for check in chosen} == {"pub", "info"}
    assert len(chosen) > 3


def test_a_run_says_a_line_for_each_check_and_a_summary() -> None:
    with relay.running(1) as arguments:
        given = [one for one in arguments if not one.startswith("--linger")]
        status, output = run(*given, "--only=pub-get-*,linger*", "--timeout=20")
    assert status == 0
    assert output.splitlines()[:4] == [
        "pass  must      pub-get-200",
        "pass  must      pub-get-unknown-404",
        "pass  must      pub-get-creates-nothing",
        "skip  decision  linger-makes-one-pair: no --linger-sub, --linger",
    ]
    assert output.splitlines()[5:-1] == [
        "            pass  FAIL  skip",
        "must           3     0     0",
        "decision       0     0     1",
        "all            3     0     1",
    ]


def test_an_id_may_stand_anywhere_in_a_url() -> None:
    """Nothing of ours has such URLs, but others have."""
    from hbpr_conformance.wire import Location

    assert Location("http://x:81/a/").target("id", "q=1") == "/a/id?q=1"
    assert Location("http://x/a/{id}/b?c=d").target("id", "q=1") == "/a/id/b?c=d&q=1"
    assert Location("http://x/?id={id}").target("id") == "/?id=id"
    assert Location("http://[::1]:81/").address == ("::1", 81)
    assert Location("http://[::1]:81/").host == "[::1]:81"


# The document


def test_the_document_has_every_check_as_it_is_measured_here() -> None:
    """Nchan's column cannot be measured where there is no Nchan; ours can, and is all passes."""
    text = (HERE.parents[1] / "docs" / "conformance.md").read_text()
    outcome = r"(pass|\*\*FAIL\*\*|–)"
    row_of = rf"^\| `([a-z0-9-]+)` \| (\w+) \| (.*) \| {outcome} \| {outcome} \| "
    found = re.findall(row_of, text, re.MULTILINE)
    assert [row[:2] for row in found] == [(check.id, check.level) for check in command.CHECKS]
    for row, check in zip(found, command.CHECKS, strict=True):
        assert row[2] == table.cell(check.clause)
        assert row[3] == "pass", check.id
        if row[4] == "**FAIL**":
            assert table.note(check.id), f"{check.id}: a difference without a word"


def test_the_document_names_no_option_that_is_not_there() -> None:
    text = (HERE.parents[1] / "docs" / "conformance.md").read_text()
    for option in set(re.findall(r"--[a-z][a-z-]+", text)):
        assert option in command.parser().format_help(), option
    for name, about in LEVELS.items():
        assert re.search(rf"^\| (must, )?{name}[ ,]", text, re.MULTILINE), about
