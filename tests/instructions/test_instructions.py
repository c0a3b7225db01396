"""User instructions, which repeat where times do not: docs/performance.md."""

from __future__ import annotations

from functools import cache

import pytest

import instructions

COUNTS = {count.name: count for count in instructions.COUNTS}


@cache
def measure(name: str) -> float:
    """Instructions for each; fails if nothing was counted."""
    count = COUNTS[name]
    publish = measure("publish") if count.publishes else 0.0
    each, _ = instructions.measure(count, publish)
    if each <= 0:
        pytest.fail(f"{name}: {each} instructions")
    return each


@pytest.mark.parametrize("name", COUNTS)
def test_instructions_are_within_the_budget(name: str) -> None:
    assert measure(name) <= COUNTS[name].budget


def test_a_larger_request_costs_more_instructions() -> None:
    """So it is requests that are counted."""
    assert measure("poll-browser") > measure("poll") > 0


def test_counting_twice_gives_the_same() -> None:
    """How many events a turn of the loop finds differs a little; nothing else may."""
    again, _ = instructions.measure(COUNTS["publish"])
    assert again == pytest.approx(measure("publish"), rel=0.05)
