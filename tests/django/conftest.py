"""What the Django tests share: a configured Django with a database, and its server."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# A shell starts what is in its background with these ignored, and programs inherit that:
# what the tests start is to hear them.
for _number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# As an editable install would have it; subprocesses get it too.
os.environ["DJANGO_SETTINGS_MODULE"] = "django_settings"
_paths = [str(HERE), str(ROOT / "django_pushserver")]
os.environ["PYTHONPATH"] = os.pathsep.join(_paths)
sys.path[:0] = [path for path in _paths if path not in sys.path]

import django  # noqa: E402
from django.contrib.staticfiles.handlers import StaticFilesHandler  # noqa: E402
from django.db import connections  # noqa: E402
from django.test.testcases import LiveServerThread  # noqa: E402
from django.test.utils import (  # noqa: E402
    setup_databases,
    setup_test_environment,
    teardown_databases,
    teardown_test_environment,
)

from fakes import FakeRelay  # noqa: E402

django.setup()


@pytest.fixture(scope="session", autouse=True)
def database() -> Iterator[None]:
    setup_test_environment()
    old = setup_databases(verbosity=0, interactive=False)
    yield
    teardown_databases(old, verbosity=0)
    teardown_test_environment()


@pytest.fixture
def fake_relay() -> Iterator[FakeRelay]:
    with FakeRelay().running() as relay:
        yield relay


@pytest.fixture
def live_server() -> Iterator[str]:
    """Serve the project over real HTTP in this process; give host:port."""
    # The database is in memory, so the server's threads share this one's connection.
    connection = connections["default"]
    connection.inc_thread_sharing()
    thread = LiveServerThread(
        "127.0.0.1", StaticFilesHandler, connections_override={"default": connection}
    )
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    try:
        if thread.error:
            raise thread.error
        yield f"127.0.0.1:{thread.port}"
    finally:
        thread.terminate()
        connection.dec_thread_sharing()
