"""Compare the relay with the least that a server can do, and with Nchan: `make bench`.

The servers take turns within a round, and rounds repeat; a ratio is made of figures of one
round, or of the least figures of all rounds. docs/performance.md says how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cases
import servers
from cases import Line, Result, Run

# By run and server: the result of each round.
Results = dict[str, dict[str, list[Result]]]
# How many rounds there were, and those.
Saved = tuple[int, Results]

# Between two runs: what the last one left closing is gone.
PAUSE_S = 0.2


def measure(
    runs: Sequence[Run],
    names: Sequence[str],
    rounds: int,
    processors: tuple[int | None, int | None],
    file: Path | None,
    before: Saved,
) -> tuple[Saved, list[str]]:
    """Add rounds to those before; says what went wrong, too.

    Who fails a run is left out of its later rounds.
    file: where the results so far are written after each round.
    """
    done, results = before
    failures: dict[tuple[str, str], str] = {}
    start = time.monotonic()
    for number in range(done, done + rounds):
        for run in runs:
            if run.once and number > 0:
                continue
            wanted = [name for name in names if name in run.servers]
            turn = number % len(wanted) if wanted else 0
            for name in wanted[turn:] + wanted[:turn]:
                if (run.name, name) in failures:
                    continue
                try:
                    with servers.running(name, run.workers, processors[0]) as server:
                        result = servers.load(server, run.arguments(), processors[1])
                    results[run.name][name].append(result)
                except servers.Failed as error:
                    failures[run.name, name] = f"{run.name}, {name}: {error}"
                    print(failures[run.name, name], file=sys.stderr)
                time.sleep(PAUSE_S)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"rounds": number + 1, "results": results}))
        took = f"{time.monotonic() - start:.0f} s"
        print(f"round {number + 1} of {done + rounds}: {took}", file=sys.stderr)
    return (done + rounds, results), list(failures.values())


def figures(line: Line, name: str, results: Results) -> list[float]:
    """One server's figures for a line, one a round."""
    found = [line.value(result) for result in results[line.run][name]]
    if line.less is not None:
        # The least of them: a difference of two rounds would be least where one was disturbed.
        publish = min(map(cases.us_per("publishes"), results[line.less][name]), default=0.0)
        found = [figure - publish for figure in found]
    return found


def shown(line: Line, found: Sequence[float]) -> float:
    return min(found) if line.least else statistics.median(found)


def table(lines: Sequence[Line], names: Sequence[str], results: Results) -> list[str]:
    """A table in Markdown, of the lines for which there is anything."""
    against = [("relay", "floor"), ("relay", "nchan"), ("nchan", "floor")]
    pairs = [(a, b) for a, b in against if a in names and b in names]
    beside = any(line.beside for line in lines)
    ratios = [f"{name} / beside" for name in names] if beside else [f"{a} / {b}" for a, b in pairs]
    head = ["", *names, *ratios, "budget"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for line in lines:
        found = {name: figures(line, name, results) for name in names}
        if not any(found.values()):
            continue
        row = [line.name]
        for name in names:
            row.append(
                f"{shown(line, found[name]):.{line.digits}f} {line.unit}" if found[name] else "–"
            )
        if line.beside is not None:
            other = replace(line, run=line.beside, less=None)
            row += [ratio(line, found[name], figures(other, name, results)) for name in names]
        elif not beside:
            row += [ratio(line, found[a], found[b]) for a, b in pairs]
        budget = "" if line.budget is None else f"≤ {line.budget} ×"
        row.append(budget if line.limit is None else f"≤ {line.limit} {line.unit}")
        rows.append(row)
    if len(rows) == 2:
        return []
    return ["| " + " | ".join(row) + " |" for row in rows]


def ratio(line: Line, ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Of what is shown, and in brackets the median of the ratios within a round."""
    if not ours or not theirs or min(theirs) <= 0:
        return "–"
    within = statistics.median(a / b for a, b in zip(ours, theirs, strict=False))
    return f"{shown(line, ours) / shown(line, theirs):.2f} ({within:.2f})"


def machine() -> str:
    """The machine in words: nothing that names it."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.+)", info)
    kernel = re.match(r"\d+\.\d+", platform.release())
    virtual = ", a virtual machine" if "hypervisor" in info else ""
    return (
        f"{os.cpu_count()} processors ({model[1] if model else 'of unknown model'}){virtual}, "
        f"Linux {kernel[0] if kernel else 'of unknown version'}"
    )


def report(results: Results, names: Sequence[str], rounds: int) -> str:
    nchan = f"; {servers.nchan_version()}" if "nchan" in names else ""
    text = [f"{machine()}{nchan}; rounds: {rounds}."]
    for title, lines in cases.TABLES.items():
        rows = table(lines, names, results)
        if rows:
            text += ["", f"### {title}", "", *rows]
    return "\n".join(text)


def saved_in(file: Path | None) -> Saved:
    """What was written there; nothing without a file."""
    results: Results = defaultdict(lambda: defaultdict(list))
    if file is None:
        return 0, results
    saved = json.loads(file.read_text())
    for run, by_server in saved["results"].items():
        for name, rounds in by_server.items():
            results[run][name] = rounds
    return saved["rounds"], results


def choose_processors() -> tuple[int | None, int | None]:
    """One for the server and one for the load, if there are two."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        print("one processor only: server and load share it", file=sys.stderr)
        return None, None
    return allowed[0], allowed[1]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.py", description="See docs/performance.md.")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="10 by default")
    parser.add_argument("--runs", metavar="REGEX", help="only runs whose whole name matches")
    parser.add_argument("--servers", default=",".join(servers.NAMES), help="%(default)s")
    parser.add_argument("--quick", action="store_true", help="one small round, to see it work")
    parser.add_argument("--list", action="store_true", help="names of the runs, then end")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all figures here, after each round"
    )
    parser.add_argument("--more", action="store_true", help="add rounds to those in that file")
    parser.add_argument("--from-json", type=Path, metavar="FILE", help="tables of such a file")
    given = parser.parse_args(arguments)
    names = given.servers.split(",")
    if unknown := set(names) - set(servers.NAMES):
        parser.error(f"unknown servers: {', '.join(sorted(unknown))}")
    runs = [run for run in cases.RUNS if re.fullmatch(given.runs or ".*", run.name)]
    if not runs:
        parser.error(f"no run is called {given.runs}; --list shows them")
    if given.list:
        print("\n".join(run.name for run in runs))
        return 0
    if given.from_json:
        rounds, results = saved_in(given.from_json)
        print(report(results, names, rounds))
        return 0
    if given.more and not given.json:
        parser.error("--more needs --json, where the rounds so far are")
    if given.quick:
        given.rounds = 1
        runs = [run.quick() for run in runs]
    try:
        if "nchan" in names:
            servers.find_nchan()
        before = saved_in(given.json if given.more else None)
        (rounds, results), failures = measure(
            runs, names, given.rounds, choose_processors(), given.json, before
        )
    except servers.Failed as error:
        print(error, file=sys.stderr)
        return 2
    print(report(results, names, rounds))
    if failures:
        print("\nFailed:\n" + "\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
