"""Each check of the suite can fail, and none does without reason.

The faulty server has a fault for each check, of the same name, and so a check that nothing
makes fail is a test that fails here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import faulty
import pytest
import relay
from hbpr_conformance import __main__ as command
from hbpr_conformance.listener import Listener
from hbpr_conformance.options import Options
from hbpr_conformance.suite import Check, Result, run_check, run_checks

# A check that waits for what a fault keeps back waits half as long.
SECONDS = 2.4


def options_for(server: faulty.FaultyServer, notices: int, timeout: float) -> Options:
    bounds = {**relay.BOUNDS, **faulty.BOUNDS, "timeout": timeout}
    arguments = relay.arguments(server.port, notices, bounds)
    return Options(
        **{
            name: value
            for name, value in vars(command.parser().parse_args(arguments)).items()
            if name in Options.__dataclass_fields__
        }
    )


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener(("127.0.0.1", 0))
    yield listener
    listener.stop()


def check_against_fault(check: Check, fault: str | None, listener: Listener) -> Result:
    port = listener.address[1]
    with faulty.FaultyServer(fault, port) as server:
        return run_check(check, options_for(server, port, SECONDS), listener)


def test_the_server_without_a_fault_passes_every_check(listener: Listener) -> None:
    """None is skipped either, or its fault would prove nothing."""
    before = threading.active_count()
    port = listener.address[1]
    with faulty.FaultyServer(None, port) as server:
        options = options_for(server, port, 10.0)
        results = list(run_checks(command.CHECKS, options, listener, 6))
    wrong = {r.check.id: (r.expected, r.got, r.reason) for r in results if r.outcome != "pass"}
    assert not wrong
    assert [result.check for result in results] == command.CHECKS
    assert threading.active_count() <= before + 64, "only the listener may still have some"


@pytest.mark.parametrize("check", command.CHECKS, ids=lambda check: check.id)
def test_a_check_fails_where_its_clause_is_broken(check: Check, listener: Listener) -> None:
    result = check_against_fault(check, check.id, listener)
    assert result.outcome == "fail", f"{check.clause}: passed although it does not hold"
    assert result.expected
    assert result.got


def test_each_check_has_a_name_of_its_own() -> None:
    names = [check.id for check in command.CHECKS]
    assert len(set(names)) == len(names)
