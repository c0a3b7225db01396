"""Count the relay's user instructions for each poll, delivery and publish, by callgrind.

Unlike times these repeat, on any machine with the same compiler and libraries. What is
counted is the difference of two runs that differ in their length only, so that starting,
connecting and ending cancel out; the loop that carries the events is in it.

    python3 bench/instructions.py [--profile]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import servers
from cases import Options, Run

# So many subscribers hear a message, or so many publishers publish at once.
SUBSCRIBERS = 100
PUBLISHERS = 10

Profile = Counter[str]


@dataclass(frozen=True)
class Count:
    """What is counted, with which run of the load program, and what it may be at most."""

    name: str
    title: str
    options: Options
    messages: tuple[int, int]  # of the short run and of the long one
    each: int  # of what is counted, a message has so many
    budget: int
    publishes: int = 0  # that a message costs besides; they are taken off


def _fan_out(
    name: str, title: str, budget: int, messages: tuple[int, int], **options: str | bool
) -> Count:
    given: Options = {"subscribers": SUBSCRIBERS, "warmup": 2, **options}
    return Count(name, title, given, messages, SUBSCRIBERS, budget, publishes=1)


COUNTS = (
    Count(
        "publish",
        "publish",
        {"subscribers": 0, "publishers": PUBLISHERS, "channels": PUBLISHERS, "warmup": 2},
        (100, 300),
        PUBLISHERS,
        4500,
    ),
    _fan_out("poll", "poll and its delivery, minimal headers", 3500, (10, 50)),
    _fan_out(
        "poll-browser", "poll and its delivery, a browser's headers", 6000, (10, 50), browser=True
    ),
    _fan_out("eventsource", "event-stream delivery", 250, (50, 150), transport="eventsource"),
)


def callgrind(options: Options, messages: int, log: Path, passthrough: str | None = None) -> None:
    """Run the relay once, and write what it did to log. Raises servers.Failed.

    passthrough: see servers.relay_configuration().
    """
    log.unlink(missing_ok=True)
    under = ("valgrind", "--tool=callgrind", "--quiet", f"--callgrind-out-file={log}")
    given = {**options, "messages": messages, "patience": 120}
    with servers.running("relay", under=under, passthrough=passthrough) as server:
        servers.load(server, Run("", given).arguments(), None)


def calls_in(log: Path) -> Profile:
    """How often each function was called in one run."""
    names: dict[str, str] = {}
    callee = ""
    found: Profile = Counter()
    for line in log.read_text().splitlines():
        # "cfn=(7) malloc", and the number alone from then on.
        if named := re.match(r"c?fn=(\(\d+\))(?: (.+))?", line):
            if named[2] is not None:
                names[named[1]] = re.sub(r"'\d+$", "", named[2])
            if line.startswith("cfn="):
                callee = names[named[1]]
        elif counted := re.match(r"calls=(\d+)", line):
            found[callee] += int(counted[1])
    return found


def instructions_in(log: Path) -> Profile:
    """Instructions of each function in one run. Raises servers.Failed."""
    said = subprocess.run(
        ["callgrind_annotate", "--threshold=100", "--auto=no", str(log)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found: Profile = Counter()
    line = re.compile(r"^ *([\d,]+) \([ \d.]+%\)  \S*?:(\S+)(?: \[(?:.*/)?([^/\]]+)\])?$", re.M)
    for count, function, library in line.findall(said):
        where = "" if library in ("", "pushserver") else f" [{library}]"
        found[re.sub(r"'\d+$", "", function) + where] += int(count.replace(",", ""))
    total = re.search(r"^(?:summary|totals): (\d+)", log.read_text(), re.M)
    if total is None:
        raise servers.Failed(f"{log} has no total")
    # What callgrind_annotate leaves out is too little for a line of its own.
    found["(the rest)"] = int(total[1]) - sum(found.values())
    return found


def measure(count: Count, publish: float = 0.0) -> tuple[float, Profile]:
    """Instructions for each, and those of each function, publishing included in these.

    publish: what a publish costs.
    """
    with tempfile.TemporaryDirectory(prefix="instructions") as folder:
        log = Path(folder, "callgrind")
        profiles = []
        for n in count.messages:
            callgrind(count.options, n, log)
            profiles.append(instructions_in(log))
    short, long = profiles
    messages = count.messages[1] - count.messages[0]
    long.subtract(short)
    each = (sum(long.values()) / messages - count.publishes * publish) / count.each
    return each, Counter({name: n // (messages * count.each) for name, n in long.items()})


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="instructions.py", description="docs/performance.md")
    parser.add_argument("--profile", action="store_true", help="also by function")
    parser.add_argument("--counts", metavar="REGEX", default=".*", help="names: %(default)s")
    given = parser.parse_args(arguments)
    publish = 0.0
    failed = False
    print("|  | instructions | budget |\n| --- | ---: | ---: |")
    for count in COUNTS:
        # Publishing is part of the others.
        if count.publishes == 0 or re.fullmatch(given.counts, count.name):
            try:
                each, profile = measure(count, publish)
            except servers.Failed as error:
                print(f"{count.name}: {error}", file=sys.stderr)
                failed = True
                continue
            publish = publish or each
            print(f"| {count.title} | {each:,.0f} | {count.budget:,} |", flush=True)
            if given.profile:
                for function, n in profile.most_common(25):
                    print(f"    {n:6,}  {function}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
