"""Fixtures: a daemon for each test, for each number of workers."""

from __future__ import annotations

import contextlib
import os
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from .daemon import ORIGIN_WARNING, Config, Daemon, binary, config
from .fake_django import FakeDjango

StartRelay = Callable[..., Daemon]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs a daemon once for each number of workers."""
    if "workers" in metafunc.fixturenames:
        counts = [int(n) for n in os.environ.get("PUSHSERVER_WORKERS", "1 4").split()]
        metafunc.parametrize("workers", counts, ids=lambda n: f"workers{n}", scope="module")


@pytest.fixture(scope="session", autouse=True)
def enough_descriptors() -> None:
    """Thousands of subscribers need as many sockets here as in the daemon."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="session")
def built() -> None:
    assert Path(binary()).is_file(), f"{binary()} does not exist: run make first"


@pytest.fixture
def applications() -> Iterator[contextlib.ExitStack]:
    """What must go on until the daemons have stopped: they have notices to the end."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def start_relay(
    tmp_path: Path, workers: int, built: None, applications: contextlib.ExitStack
) -> Iterator[StartRelay]:
    """Start daemons with a configuration each; all are stopped and checked at the end."""
    daemons: list[Daemon] = []

    def start(
        settings: Config | str | None = None,
        env: Mapping[str, str] | None = None,
        ulimit: str | None = None,
    ) -> Daemon:
        folder = tmp_path / f"relay{len(daemons)}"
        folder.mkdir()
        settings = config() if settings is None else settings
        daemon = Daemon(folder, settings, workers, env, ulimit)
        daemons.append(daemon)
        return daemon

    yield start
    stop_all(daemons)


def stop_all(daemons: list[Daemon]) -> None:
    """Stop each daemon, whatever the others did, and tell the first thing that was wrong."""
    failure: AssertionError | None = None
    for daemon in daemons:
        daemon.close_connections()
        try:
            # One that a test has killed on purpose has nothing more to tell.
            if daemon.process.returncode != -9:
                daemon.stop()
        except AssertionError as error:
            daemon.kill()
            failure = failure or error
    if failure is not None:
        raise failure


@pytest.fixture
def relay(start_relay: StartRelay) -> Daemon:
    """A daemon with a publisher at /pub/ and a subscriber at /sub/, else with defaults."""
    return start_relay(config())


@pytest.fixture(scope="module")
def shared_relay(
    tmp_path_factory: pytest.TempPathFactory, workers: int, built: None
) -> Iterator[Daemon]:
    """One daemon for a module's tables of small requests, whose rows do not disturb each other."""
    daemon = Daemon(tmp_path_factory.mktemp("shared"), config(), workers)
    daemon.allow_log(ORIGIN_WARNING)
    yield daemon
    stop_all([daemon])


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A path for a Unix socket: short, for it may have no more than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="relay") as folder:
        yield Path(folder) / "sock"


@pytest.fixture
def django(applications: contextlib.ExitStack) -> FakeDjango:
    """An application that answers each notice with 204."""
    return applications.enter_context(FakeDjango())


@pytest.fixture
def deaf_django(applications: contextlib.ExitStack) -> FakeDjango:
    """An application that refuses connections until it is told to listen."""
    return applications.enter_context(FakeDjango(listen=False))
