"""Fixtures: the relay's own, and proxies before it that cut connections when told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from relay.conftest import (
    applications,
    built,
    enough_descriptors,
    pytest_generate_tests,
    start_relay,
)
from relay.daemon import Daemon

from .proxy import Proxy

__all__ = ["applications", "built", "enough_descriptors", "pytest_generate_tests", "start_relay"]

StartProxy = Callable[[Daemon], Proxy]


@pytest.fixture
def start_proxy() -> Iterator[StartProxy]:
    """Start proxies; what still goes through them at the end is cut."""
    with contextlib.ExitStack() as stack:
        yield lambda relay: stack.enter_context(Proxy(relay.port))
