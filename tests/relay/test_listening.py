"""Where the relay listens, and what is refused at start."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import json
import os
import re
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Connection, request_bytes, wait_until
from .conftest import StartRelay
from .daemon import CANNOT_BIND, Daemon, config, run
from .streams import EVENTS, Stream


def config_text(port: int, workers: int, address: str = "127.0.0.1") -> str:
    return f"""
address: {address}
port: {port}
workers: {workers}
locations:
  - {{type: publisher, prefix: /pub/}}
"""


def refused(text: str) -> str:
    """Run with a configuration that cannot be bound; return what was said."""
    result = run("-c", "-", stdin=text)
    assert result.returncode == CANNOT_BIND, result
    return result.stderr


def test_a_port_that_another_relay_serves_is_refused(relay: Daemon, workers: int) -> None:
    """With SO_REUSEPORT alone the second one would take half of the subscribers."""
    said = refused(config_text(relay.port, workers))
    assert f"127.0.0.1:{relay.port}" in said
    # The first goes on, and nothing went astray.
    for n in range(20):
        assert relay.post("c", b"%d" % n).status == 202


def test_a_port_that_another_program_serves_is_refused(workers: int, built: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert str(port) in refused(config_text(port, workers))


def test_a_port_that_another_program_shares_is_refused(workers: int, built: None) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        assert str(port) in refused(config_text(port, workers))


def test_an_address_of_another_machine_is_refused(workers: int, built: None) -> None:
    assert "192.0.2.1" in refused(config_text(0, workers, "192.0.2.1"))


def test_a_port_can_be_taken_again_at_once_after_a_stop(
    start_relay: StartRelay, workers: int
) -> None:
    """Connections of the one before, still in TIME_WAIT, do not matter."""
    relay = start_relay()
    connections = [relay.connect() for _ in range(5)]
    for connection in connections:
        assert connection.request("GET", "/pub/c").status == 404
    port = relay.port
    relay.stop()
    again = start_relay({**config(), "port": port})
    assert again.port == port
    assert again.put("c").status == 200


def test_port_0_binds_a_free_port_and_names_it(relay: Daemon) -> None:
    assert relay.port > 0
    assert re.search(rf"info: .*listening on 127\.0\.0\.1:{relay.port}\b", relay.log())
    assert relay.put("c").status == 200


def test_several_addresses_can_be_listened_on(start_relay: StartRelay, socket_path: Path) -> None:
    relay = start_relay(config(listen=["127.0.0.1:0", "127.0.0.2:0", f"unix:{socket_path}"]))
    found = wait_until(
        lambda: re.search(r"listening on .*?127\.0\.0\.2:(\d+)", relay.log(), re.DOTALL),
        what="the second address",
    )
    assert found
    relay.publish("c", b"m")
    addresses = (
        relay.address,
        ("127.0.0.2", int(found[1])),
        str(socket_path),
    )
    for address in addresses:
        with Connection(address) as connection:
            assert connection.request("GET", "/sub/c").body == b"m"


def test_an_ipv6_address_can_be_listened_on(start_relay: StartRelay) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 here")
    relay = start_relay(config(listen=["[::1]:0"]))
    with Connection(("::1", relay.port)) as connection:
        assert connection.request("POST", "/pub/c", body=b"m").status == 202


def test_a_unix_socket_holds_subscribers(start_relay: StartRelay, socket_path: Path) -> None:
    relay = start_relay(config(listen=["127.0.0.1:0", f"unix:{socket_path}"]))
    assert stat.S_ISSOCK(socket_path.stat().st_mode)
    with Connection(str(socket_path)) as subscriber:
        subscriber.send_request("GET", "/sub/c")
        relay.wait_until_held("c", 1)
        assert relay.post("c", b"m").status == 201
        assert subscriber.read_response().body == b"m"
        subscriber.send_request("GET", "/sub/d")
        relay.wait_until_held("d", 1)
        subscriber.half_close()
        relay.wait_until_held("d", 0)


# What a client did before it was accepted


@contextlib.contextmanager
def not_accepting(relay: Daemon) -> Iterator[None]:
    """What clients do now is all there when the relay accepts them."""
    relay.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        relay.send_signal(signal.SIGCONT)


def test_requests_that_came_before_their_connections_were_accepted_are_answered(
    relay: Daemon,
) -> None:
    relay.publish("c", b"first")
    with not_accepting(relay):
        whole, pipelined, begun, silent = (relay.connect() for _ in range(4))
        whole.send_request("GET", "/sub/c")
        pipelined.send(request_bytes("POST", "/pub/c", body=b"second"))
        pipelined.send(request_bytes("GET", "/sub/c"))
        get = request_bytes("GET", "/sub/c")
        begun.send(get[:-9])
    assert whole.read_response().body == b"first"
    assert pipelined.read_response("POST").status == 202
    assert pipelined.read_response().body == b"first"
    begun.wait_until_read()
    begun.send(get[-9:])
    assert begun.read_response().body == b"first"
    silent.send(get)
    assert silent.read_response().body == b"first"


def test_who_left_before_it_was_accepted_is_not_held(relay: Daemon) -> None:
    relay.put("c")
    with not_accepting(relay):
        stays, *leave = (relay.connect() for _ in range(10))
        for client in (stays, *leave):
            client.send_request("GET", "/sub/c")
        for client, end in zip(
            leave, itertools.cycle((Connection.half_close, Connection.close, Connection.reset))
        ):
            end(client)
    relay.publish("c", b"m")
    assert stays.read_response().body == b"m"
    relay.wait_until_held("c", 0)


def subscribe_and_leave(relay: Daemon) -> None:
    """Of a relay with one worker: others would hear a little later of who has left one of them."""
    with relay.connect() as gone:
        gone.send_request("GET", "/sub/c")


@pytest.mark.parametrize("subscriber", [{"concurrency": "first"}, {"max_subscribers": 1}])
def test_who_left_before_it_was_accepted_keeps_nobody_out(
    start_relay: StartRelay, subscriber: dict[str, object]
) -> None:
    relay = start_relay(config(subscriber, workers=1))
    relay.put("c")
    with not_accepting(relay):
        subscribe_and_leave(relay)
        stays = relay.poll("c")
    relay.wait_until_held("c", 1)
    relay.publish("c", b"m")
    assert stays.response().body == b"m"


def test_who_left_before_it_was_accepted_displaces_nobody(start_relay: StartRelay) -> None:
    relay = start_relay(config({"concurrency": "last"}, workers=1))
    stays = relay.hold("c")
    with not_accepting(relay):
        subscribe_and_leave(relay)
    relay.publish("c", b"m")
    assert stays.response().body == b"m"


def test_who_left_before_it_was_accepted_is_sent_nothing(start_relay: StartRelay) -> None:
    relay = start_relay(config(publisher={"store_messages": False}, workers=1))
    relay.put("c")
    with Connection(relay.address) as publisher:
        assert publisher.request("GET", "/pub/c").status == 200
        with not_accepting(relay):
            subscribe_and_leave(relay)
            publisher.send_request("POST", "/pub/c", body=b"m")
        assert publisher.read_response("POST").status == 202


def test_who_published_and_half_closed_before_it_was_accepted_is_answered(relay: Daemon) -> None:
    with not_accepting(relay):
        publisher, idle = relay.connect(), relay.connect()
        publisher.send_request("POST", "/pub/c", body=b"m")
        publisher.half_close()
        idle.half_close()
    assert publisher.read_response("POST").status == 202
    publisher.assert_closed()
    idle.assert_closed()
    assert relay.stored("c") == 1


def test_a_stream_that_fills_its_socket_when_it_is_accepted_goes_on(relay: Daemon) -> None:
    for n in range(9):
        relay.post("c", b"%d " % n + b"x" * 900_000)
    with not_accepting(relay):
        slow = Stream(relay, "c", EVENTS, receive_buffer=4096)
    slow.read_head()
    slow.widen()
    assert [e.data.split(" ")[0] for e in slow.read_events(9)] == [str(n) for n in range(9)]
    relay.wait_until_held("c", 1)
    relay.post("c", b"last")
    assert slow.read_event().data == "last"
    slow.close()
    relay.wait_until_held("c", 0)


def unix_text(path: Path, workers: int) -> str:
    return json.dumps({"listen": [f"unix:{path}"], "workers": workers, **config()})


def test_a_unix_socket_that_another_relay_serves_is_refused(
    start_relay: StartRelay, socket_path: Path, workers: int
) -> None:
    relay = start_relay(config(listen=["127.0.0.1:0", f"unix:{socket_path}"]))
    assert str(socket_path) in refused(unix_text(socket_path, workers))
    with Connection(str(socket_path)) as connection:
        assert connection.request("POST", "/pub/c", body=b"m").status == 202
    assert relay.stored("c") == 1


def test_a_unix_socket_left_by_a_crash_is_taken_over(
    start_relay: StartRelay, socket_path: Path
) -> None:
    settings = config(listen=["127.0.0.1:0", f"unix:{socket_path}"])
    start_relay(settings).kill()
    assert socket_path.exists()
    relay = start_relay(settings)
    with Connection(str(socket_path)) as connection:
        assert connection.request("POST", "/pub/c", body=b"m").status == 202
    assert relay.stored("c") == 1


def test_a_file_that_is_no_socket_is_not_replaced(
    socket_path: Path, workers: int, built: None
) -> None:
    socket_path.write_text("data")
    assert str(socket_path) in refused(unix_text(socket_path, workers))
    assert socket_path.read_text() == "data"


def test_connections_are_spread_over_the_workers_and_all_are_served(relay: Daemon) -> None:
    polls = [relay.poll("c") for _ in range(100)]
    relay.wait_until_held("c", 100)
    assert relay.post("c", b"m").status == 201
    assert {poll.response().body for poll in polls} == {b"m"}


def test_a_client_that_connects_and_leaves_at_once_does_no_harm(relay: Daemon) -> None:
    for n in range(100):
        connection = Connection(relay.address)
        if n % 2:
            connection.reset()
        else:
            connection.close()
    assert relay.put("c").status == 200


def test_the_daemon_runs_one_thread_per_worker(relay: Daemon, workers: int) -> None:
    """With one worker everything runs in the main thread; a sanitizer may add one of its own."""
    tasks = Path(f"/proc/{relay.process.pid}/task")
    wait_until(lambda: len(list(tasks.iterdir())) >= workers, what="all threads")
    assert relay.put("c").status == 200
    assert len(list(tasks.iterdir())) <= workers + 1


def options_of(relay: Daemon, connection: Connection) -> dict[str, int]:
    """Options of the daemon's end of a connection, read through a copy of its descriptor."""
    pidfd = os.pidfd_open(relay.process.pid)
    pidfd_getfd = 438
    try:
        for name in os.listdir(f"/proc/{relay.process.pid}/fd"):
            fd = ctypes.CDLL(None, use_errno=True).syscall(pidfd_getfd, pidfd, int(name), 0)
            if fd == -1:
                number = ctypes.get_errno()
                if number in (errno.EPERM, errno.ENOSYS):
                    pytest.skip("this kernel does not let us look into the daemon's descriptors")
                continue
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.close(fd)
                continue
            with socket.socket(fileno=fd) as theirs:
                try:
                    peer = theirs.getpeername()
                except OSError:
                    continue
                if peer != connection.socket.getsockname():
                    continue
                tcp = ("KEEPIDLE", "KEEPINTVL", "KEEPCNT", "USER_TIMEOUT", "NODELAY")
                found = {
                    name: theirs.getsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_{name}"))
                    for name in tcp
                }
                found["KEEPALIVE"] = theirs.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                return found
    finally:
        os.close(pidfd)
    raise AssertionError("the daemon has no such connection")


def test_dead_peers_end_by_themselves_also_where_requests_are_held_for_ever(
    start_relay: StartRelay,
) -> None:
    """The kernel asks after them: a machine that lost its power sends no FIN."""
    relay = start_relay(config(subscriber={"timeout": 0}))
    options = options_of(relay, relay.hold("c"))
    assert options["KEEPALIVE"] == 1
    assert options["NODELAY"] == 1
    idle, interval, count = (options[f"KEEP{name}"] for name in ("IDLE", "INTVL", "CNT"))
    assert 0 < idle + interval * count <= 120
    # In milliseconds: for data that nobody acknowledges.
    assert 0 < options["USER_TIMEOUT"] <= 120_000
