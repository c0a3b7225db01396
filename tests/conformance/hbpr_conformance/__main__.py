"""The command line: `python3 -m hbpr_conformance --sub URL --pub URL`."""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from . import (
    batches,
    bodies,
    channels,
    conversations,
    cors,
    cursor,
    deflate,
    eventstream,
    framing,
    handshakes,
    http,
    locations,
    old_client,
    passthrough,
    positions,
    publishers,
    refusals,
    streams,
    subscribers,
    transports,
)
from .listener import Listener
from .options import PARSERS, Options, flag
from .suite import LEVELS, Check, Result, run_checks
from .wire import Location

SECTIONS = [
    module.section
    for module in (
        locations,
        positions,
        subscribers,
        publishers,
        cors,
        passthrough,
        http,
        old_client,
        transports,
        streams,
        eventstream,
        handshakes,
        conversations,
        framing,
        deflate,
        bodies,
        batches,
        channels,
        cursor,
        refusals,
    )
]
CHECKS = [check for section in SECTIONS for check in section.checks]

PASSED, FAILED, CANNOT_RUN = range(3)  # exit codes; argparse's own is 2 as well


def parser() -> argparse.ArgumentParser:
    levels = "\n".join(f"  {name:<10}{about}" for name, about in LEVELS.items())
    result = argparse.ArgumentParser(
        prog="python3 -m hbpr_conformance",
        description="Hold an HBPR server to its protocol, clause by clause.",
        epilog=f"{{id}} in a URL stands for the channel id; without it, the id is appended.\n\n"
        f"Levels:\n{levels}\n\n"
        "Exit status: 0 all selected checks passed or were skipped, 1 some failed, "
        "2 nothing could be run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("--list", action="store_true", help="list the checks and exit")
    result.add_argument("--json", action="store_true", help="write JSON instead of lines")
    result.add_argument("--level", metavar="LEVEL,…", help="only these levels; all by default")
    result.add_argument(
        "--only", metavar="PATTERN,…", help="only checks whose ids match, with * and ?"
    )
    result.add_argument(
        "--jobs", metavar="N", type=PARSERS["int"], default=8, help="checks at a time (8)"
    )
    for field in dataclasses.fields(Options):
        default = "" if field.default is None else f" ({_said(field.default)})"
        result.add_argument(
            flag(field.name),
            metavar=field.metadata["metavar"],
            help=field.metadata["help"] + default,
            type=PARSERS[str(field.type)],
            default=field.default,
        )
    return result


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def choose(levels: str | None, patterns: str | None) -> list[Check]:
    """The checks of these levels and names. Raises ValueError where there are none."""
    wanted = set(levels.split(",")) if levels is not None else set(LEVELS)
    if unknown := wanted - set(LEVELS):
        raise ValueError(f"no such level: {', '.join(sorted(unknown))}")
    names = patterns.split(",") if patterns is not None else ["*"]
    chosen = [
        check
        for check in CHECKS
        if check.level in wanted and any(fnmatch.fnmatchcase(check.id, name) for name in names)
    ]
    if not chosen:
        raise ValueError("no check has these levels and names")
    return chosen


def unreachable(options: Options) -> str | None:
    """Why the server cannot be reached, if it cannot."""
    addresses = {
        value.address
        for field in dataclasses.fields(Options)
        if isinstance(value := getattr(options, field.name), Location)
    }
    for address in sorted(addresses):
        try:
            socket.create_connection(address, options.timeout).close()
        except ConnectionResetError:
            pass  # whatever this is, it is there
        except OSError as error:
            return f"{address[0]}:{address[1]}: {error}"
    return None


def line(result: Result) -> str:
    check = result.check
    text = f"{'FAIL' if result.outcome == 'fail' else result.outcome}  {check.level:<8}  {check.id}"
    if result.outcome == "fail":
        text += f": expected {result.expected}, got {result.got}"
    elif result.outcome == "skip":
        text += f": {result.reason}"
    # What a server sent may be anything; one line is promised.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def as_json(result: Result) -> dict[str, object]:
    check = result.check
    return {
        "id": check.id,
        "section": check.section,
        "level": check.level,
        "clause": check.clause,
        "result": result.outcome,
        "expected": result.expected,
        "got": result.got,
        "reason": result.reason,
        "seconds": round(result.seconds, 3),
    }


def summary(results: list[Result]) -> dict[str, dict[str, int]]:
    """How many passed, failed and were skipped, by level and in all."""
    table = {}
    for level in [*LEVELS, "all"]:
        counts = Counter(r.outcome for r in results if level in (r.check.level, "all"))
        if counts:
            table[level] = {outcome: counts[outcome] for outcome in ("pass", "fail", "skip")}
    return table


def list_checks(checks: list[Check], out: TextIO) -> None:
    for section in SECTIONS:
        chosen = [check for check in section.checks if check in checks]
        if chosen:
            print(f"{section.number}. {section.title}", file=out)
        for check in chosen:
            needs = f" [{' '.join(flag(name) for name in check.needs)}]" if check.needs else ""
            print(f"  {check.level:<8}  {check.id}: {check.clause}{needs}", file=out)


def main(arguments: Sequence[str] | None = None, out: TextIO | None = None) -> int:
    out = out or sys.stdout
    parse = parser()
    given = vars(parse.parse_args(arguments))
    try:
        checks = choose(given["level"], given["only"])
    except ValueError as error:
        parse.error(str(error))
    if given["list"]:
        list_checks(checks, out)
        return PASSED
    if given["sub"] is None or given["pub"] is None:
        parse.error("--sub and --pub are needed")
    options = Options(**{field.name: given[field.name] for field in dataclasses.fields(Options)})
    if (why := unreachable(options)) is not None:
        print(f"cannot reach the server: {why}", file=sys.stderr)
        return CANNOT_RUN
    listener = None
    if options.passthrough_listen is not None:
        try:
            listener = Listener(options.passthrough_listen)
        except OSError as error:
            print(f"cannot listen for notices: {error}", file=sys.stderr)
            return CANNOT_RUN
    try:
        return run(checks, options, listener, given["jobs"], given["json"], out)
    finally:
        if listener is not None:
            listener.stop()


def run(
    checks: list[Check],
    options: Options,
    listener: Listener | None,
    jobs: int,
    json_wanted: bool,
    out: TextIO,
) -> int:
    start = time.monotonic()
    results: list[Result] = []
    for result in run_checks(checks, options, listener, jobs):
        results.append(result)
        if not json_wanted:
            print(line(result), file=out, flush=True)
    seconds = time.monotonic() - start
    counts = summary(results)
    if json_wanted:
        document = {
            "checks": [as_json(result) for result in results],
            "summary": counts,
            "seconds": round(seconds, 1),
        }
        print(json.dumps(document, indent=1), file=out)
    else:
        print(f"\n{'':<10}{'pass':>6}{'FAIL':>6}{'skip':>6}", file=out)
        for level, count in counts.items():
            print(f"{level:<10}{count['pass']:>6}{count['fail']:>6}{count['skip']:>6}", file=out)
        print(f"in {seconds:.1f} s", file=out)
    return FAILED if counts["all"]["fail"] else PASSED


if __name__ == "__main__":
    sys.exit(main())
