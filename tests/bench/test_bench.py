"""Every run of the benchmark works, on the floor and on the relay. No figure is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What the relay serves so far: polls.
RUNS = {"floor": ".*", "relay": ".*"}


@pytest.mark.parametrize("name", RUNS)
def test_benchmark_runs_and_prints_its_tables(name: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/bench.py"), "--quick", "--servers", name]
        + ["--runs", RUNS[name], "--json", str(figures)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| long poll, a browser's headers, 1,000 subscribers | " in done.stdout
    assert "| publish, 50 kept connections, no subscribers | " in done.stdout
    results = json.loads(figures.read_text())["results"]
    for run, by_server in results.items():
        assert len(by_server[name]) == 1, run
        result = by_server[name][0]
        assert result["cpu_ns"] > 0, run
        if result["mode"] == "fanout" and result["subscribers"] > 0:
            per_channel = result["subscribers"] // result["channels"]
            assert result["deliveries"] == result["publishes"] * per_channel, run


def test_rounds_are_added_to_those_of_an_earlier_run(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    for rounds, more in ((1, []), (2, ["--more"]), (1, [])):
        done = subprocess.run(
            [sys.executable, str(ROOT / "bench/bench.py"), "--quick", "--servers", "floor"]
            + ["--runs", "publish", "--json", str(figures), *more],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"rounds: {rounds}." in done.stdout
        saved = json.loads(figures.read_text())
        assert saved["rounds"] == len(saved["results"]["publish"]["floor"]) == rounds


def test_benchmark_knows_no_other_servers() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/bench.py"), "--quick", "--servers", "floor,nowhere"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "unknown servers: nowhere" in done.stderr
