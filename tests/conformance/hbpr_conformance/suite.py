"""What a check is, what it has to work with, and how checks are run."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import select
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from .listener import Listener
from .options import Options
from .wire import (
    Connection,
    Deadline,
    Failure,
    Headers,
    Location,
    Position,
    Response,
    brief,
    request_bytes,
)

SETTLE = 0.4  # seconds after which a request that nothing is heard of is taken to be held
RUN = uuid4().hex[:8]  # keeps the channels of two runs apart
_numbers = itertools.count(1)

LEVELS = {
    "must": "a must of HBPR",
    "should": "a should of HBPR",
    "legacy": "what clients of py-hbpush and django-pushserver rely on",
    "http": "RFC 9110 and RFC 9112",
    "ws": "RFC 6455 and RFC 7692, WebSocket and its compression",
    "sse": "the HTML standard's server-sent events",
    "safety": "what keeps a relay and those behind it safe from what is sent to it",
    "decision": "what the protocol document decides where HBPR is silent",
}


# Checks


@dataclass(frozen=True)
class Check:
    """One clause, and the function that finds out whether it holds.

    run: raises Failure if it does not; any other end is a pass.
    needs: the options without which the check is skipped.
    takes: the seconds that it must wait, whatever the server.
    group: checks of one group never run at the same time.
    """

    id: str
    level: str
    section: int
    clause: str
    run: Callable[[Trial], object]
    needs: tuple[str, ...]
    takes: Callable[[Options], float]
    group: str | None


CheckFunction = Callable[["Trial"], object]


def _no_time(options: Options) -> float:
    return 0.0


class Section:
    """A section of the protocol, which its checks are entered in."""

    def __init__(self, number: int, title: str) -> None:
        self.number = number
        self.title = title
        self.checks: list[Check] = []

    def add(
        self,
        level: str,
        id: str,
        clause: str,
        run: CheckFunction,
        *needs: str,
        takes: Callable[[Options], float] = _no_time,
        group: str | None = None,
    ) -> None:
        assert level in LEVELS, level
        check = Check(id, level, self.number, " ".join(clause.split()), run, needs, takes, group)
        self.checks.append(check)

    def check(
        self,
        level: str,
        *needs: str,
        takes: Callable[[Options], float] = _no_time,
        group: str | None = None,
    ) -> Callable[[CheckFunction], CheckFunction]:
        """Enter a function whose name is the check's id and whose docstring is its clause."""

        def enter(function: CheckFunction) -> CheckFunction:
            name: str = getattr(function, "__name__", "")
            clause = (function.__doc__ or "").strip().rstrip(".")
            assert clause, name
            id = name.strip("_").replace("_", "-")
            self.add(level, id, clause, function, *needs, takes=takes, group=group)
            return function

        return enter


# What a check works with


class Info(NamedTuple):
    """Channel information, as far as it was told."""

    messages: int | None
    requested: int | None
    subscribers: int | None
    last_message_id: str | None


TEXT_LINES = {
    "messages": r"^queued messages: (\d+)\r?$",
    "requested": r"^last requested: (-?\d+) sec\. ago",
    "subscribers": r"^active subscribers: (\d+)\r?$",
    "last_message_id": r"^last message id: (\S*)",
}


def parse_info(response: Response) -> Info:
    """Read channel information in whichever form it came. Raises Failure where there is none."""
    text = response.body.decode("utf-8", "replace").strip()
    values: dict[str, object] = {}
    if text.startswith("{"):
        with contextlib.suppress(ValueError):
            values = dict(json.loads(text))
    elif text.startswith("<"):
        with contextlib.suppress(ElementTree.ParseError):
            root = ElementTree.fromstring(text)
            values = {child.tag: child.text for child in root}
    else:
        for key, pattern in TEXT_LINES.items():
            if found := re.search(pattern, text, re.MULTILINE):
                values[key] = found[1]
    if "messages" not in values:
        for line in text.splitlines():
            key, colon, value = line.strip().partition(":")
            if colon and key in Info._fields:
                values[key] = value.strip().strip("\"'")
    if "messages" not in values:
        raise Failure("channel information in the body", f"{response} with {brief(response.body)}")

    def number(key: str) -> int | None:
        value = str(values.get(key, "")).strip()
        return int(value) if re.fullmatch(r"-?\d{1,15}", value) else None

    last = values.get("last_message_id")
    known = None if last in (None, "", "null", "~") else str(last)
    return Info(number("messages"), number("requested"), number("subscribers"), known)


class Poll:
    """A subscriber's request that has been sent and may be held."""

    def __init__(self, trial: Trial, connection: Connection) -> None:
        self.trial = trial
        self.connection = connection

    def answer(self) -> Response:
        return self.connection.read_final()

    def answer_at_once(self, after: str) -> Response:
        """after: what has just happened, for the report."""
        if not self.connection.readable(self.trial.soon):
            raise Failure(f"an answer at once after {after}", f"none within {self.trial.soon:g} s")
        return self.answer()

    def expect_held(self, why: str, seconds: float = SETTLE) -> None:
        """Check that nothing is answered for a while."""
        if self.connection.readable(seconds):
            raise Failure(f"the request to be held, {why}", str(self.answer()))

    def close(self) -> None:
        self.connection.close()


class Trial:
    """One run of one check: its time, its connections and its channels."""

    def __init__(self, options: Options, seconds: float, listener: Listener | None) -> None:
        self.options = options
        self.deadline = Deadline(seconds)
        self.soon = max(1.0, options.timeout / 2)
        self._listener = listener
        self._connections: list[Connection] = []
        self._channels: list[tuple[Location, str]] = []

    def end(self) -> None:
        """Close what is open and delete what was made, as far as the server lets us."""
        for connection in self._connections:
            connection.close()
        self.deadline = Deadline(0.5)
        with contextlib.suppress(Failure):
            for publisher, channel in self._channels:
                self.request(publisher, "DELETE", channel)
        for connection in self._connections:
            connection.close()

    @property
    def listener(self) -> Listener:
        assert self._listener is not None, "a check without --passthrough-listen in its needs"
        return self._listener

    def wait(self, seconds: float) -> None:
        """Wait for time itself to pass, which some clauses are about."""
        time.sleep(min(seconds, self.deadline.left()))

    def until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Ask again and again until the condition is true or the time is up."""
        end = Deadline(min(self.deadline.left(), self.soon if seconds is None else seconds))
        while not condition():
            if end.left() == 0:
                return False
            time.sleep(0.02)
        return True

    # Channels

    def channel(self, publisher: Location | None = None, suffix: str = "") -> str:
        """A channel id that was never used. publisher: where it is deleted at the end."""
        channel = f"hbpr-{RUN}-{next(_numbers)}{suffix}"
        self._channels.append((publisher or self.options.pub, channel))
        return channel

    # Requests

    def connect(self, location: Location | None = None) -> Connection:
        connection = Connection((location or self.options.sub).address, self.deadline)
        self._connections.append(connection)
        return connection

    def send(
        self,
        connection: Connection,
        location: Location,
        method: str,
        channel: str,
        headers: Headers = (),
        body: bytes | None = None,
        query: str = "",
    ) -> None:
        target = location.target(channel, query)
        connection.asked = f"{method} {target if len(target) < 60 else target[:60] + '…'}"
        connection.send(request_bytes(method, target, location.host, headers, body))

    def request(
        self,
        location: Location,
        method: str,
        channel: str,
        headers: Headers = (),
        body: bytes | None = None,
        query: str = "",
    ) -> Response:
        """Ask on a connection of its own and read the answer."""
        with self.connect(location) as connection:
            self.send(connection, location, method, channel, headers, body, query)
            return connection.read_final(method)

    def post(
        self,
        channel: str,
        body: bytes,
        headers: Headers = (),
        publisher: Location | None = None,
    ) -> Response:
        """Publish, which must be accepted."""
        answer = self.request(publisher or self.options.pub, "POST", channel, headers, body)
        return expect_status(answer, 201, 202, of="POST")

    def get(
        self,
        channel: str,
        position: Position | None = None,
        headers: Headers = (),
        subscriber: Location | None = None,
        query: str = "",
    ) -> Response:
        """Ask for a message that is there; an answer of any status must come at once."""
        poll = self.poll(channel, position, headers, subscriber, query)
        if not poll.connection.readable(self.soon):
            raise Failure(f"{poll.connection.asked} to be answered at once", "it is held")
        return poll.answer()

    def read(
        self,
        channel: str,
        body: bytes | None = None,
        position: Position | None = None,
        headers: Headers = (),
        subscriber: Location | None = None,
        query: str = "",
    ) -> Response:
        """Ask for a message that is there, which must come. body: what it must be."""
        answer = self.get(channel, position, headers, subscriber, query)
        return expect_message(answer, body)

    def start(
        self,
        channel: str,
        publisher: Location | None = None,
        subscriber: Location | None = None,
    ) -> Position:
        """Make a channel with one message; return the position behind it.

        A POST and not a PUT, so that this works with servers whose PUT is not as it should be.
        """
        self.post(channel, b"start", publisher=publisher)
        return self.read(channel, b"start", subscriber=subscriber).position

    def poll(
        self,
        channel: str,
        position: Position | None = None,
        headers: Headers = (),
        subscriber: Location | None = None,
        query: str = "",
        connection: Connection | None = None,
    ) -> Poll:
        """Send a subscriber's request, and leave it."""
        items = dict(headers)
        if position is not None:
            items = {**position.headers, **items}
        location = subscriber or self.options.sub
        connection = connection or self.connect(location)
        self.send(connection, location, "GET", channel, items, query=query)
        return Poll(self, connection)

    def hold(
        self,
        channel: str,
        position: Position | None = None,
        headers: Headers = (),
        subscriber: Location | None = None,
        publisher: Location | None = None,
        connection: Connection | None = None,
    ) -> Poll:
        """Send a subscriber's request and wait until the server holds it.

        That is when the publisher's GET counts one more. Where it does not, it is taken to be
        held when nothing was heard of it for a moment.
        """
        before = self.held(channel, publisher)
        poll = self.poll(channel, position, headers, subscriber, connection=connection)
        settled = Deadline(SETTLE if before is None else 2 * SETTLE)
        while settled.left():
            poll.expect_held("as there is nothing new", 0.01)
            if before is not None:
                now = self.held(channel, publisher)
                if now is not None and now > before:
                    return poll
        poll.expect_held("as there is nothing new", 0.0)
        return poll

    def info(self, channel: str, publisher: Location | None = None) -> Info:
        """The channel information of a channel that is there."""
        answer = self.request(
            publisher or self.options.pub, "GET", channel, {"Accept": "application/json"}
        )
        return parse_info(expect_status(answer, 200, of="GET of the publisher location"))

    def held(self, channel: str, publisher: Location | None = None) -> int | None:
        """How many are held, if the server says."""
        answer = self.request(
            publisher or self.options.pub, "GET", channel, {"Accept": "application/json"}
        )
        if answer.status == 404:
            return 0
        try:
            return parse_info(answer).subscribers
        except Failure:
            return None

    def expect_held_count(self, channel: str, count: int, why: str) -> None:
        """Check that the server comes to count so many held."""
        if not self.until(lambda: self.info(channel).subscribers == count):
            got = self.info(channel).subscribers
            raise Failure(f"{count} held, {why}", f"{got}")

    def exists(self, channel: str, publisher: Location | None = None) -> bool:
        answer = self.request(publisher or self.options.pub, "GET", channel)
        return expect_status(answer, 200, 404, of="GET of the publisher location").status == 200


# What a check says


def expect_status(response: Response, *statuses: int, of: str = "") -> Response:
    if response.status not in statuses:
        wanted = " or ".join(str(status) for status in statuses)
        raise Failure(f"{wanted} to {of}" if of else wanted, str(response))
    return response


def expect_message(response: Response, body: bytes | None = None) -> Response:
    if response.status != 200 or (body is not None and response.body != body):
        wanted = "a message" if body is None else f"the message {brief(body)}"
        got = f"{response} with {brief(response.body)}" if response.body else str(response)
        raise Failure(wanted, got)
    return response


def expect_equal(got: object, wanted: object, what: str) -> None:
    if got != wanted:
        raise Failure(f"{what} {_short(wanted)}", _short(got))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:160] + "…"


def expect(condition: bool, expected: str, got: str) -> None:
    if not condition:
        raise Failure(expected, got)


# Running


@dataclass(frozen=True)
class Result:
    check: Check
    outcome: str  # pass, fail or skip
    expected: str = ""
    got: str = ""
    reason: str = ""  # of a skip
    seconds: float = 0.0


def run_check(check: Check, options: Options, listener: Listener | None = None) -> Result:
    """Run one check to its end, which comes at its deadline at the latest."""
    missing = options.missing(check.needs)
    if missing:
        return Result(check, "skip", reason="no " + ", ".join(missing))
    start = time.monotonic()
    trial = Trial(options, options.timeout + check.takes(options), listener)
    try:
        check.run(trial)
        result = Result(check, "pass")
    except Failure as failure:
        result = Result(check, "fail", failure.expected, failure.got)
    except (OSError, ValueError, OverflowError) as error:
        # A descriptor that could not be had, a date that cannot be read: the server's doing.
        result = Result(check, "fail", "an answer that can be read", f"{error!r}")
    finally:
        with contextlib.suppress(OSError):
            trial.end()
    return Result(
        check, result.outcome, result.expected, result.got, seconds=time.monotonic() - start
    )


def run_checks(
    checks: list[Check], options: Options, listener: Listener | None, jobs: int
) -> Iterator[Result]:
    """Run checks, several at a time, and tell their results in the order of the checks.

    No thread is left behind, for every check ends by itself.
    """
    locks = {check.group: threading.Lock() for check in checks if check.group}

    def run(check: Check) -> Result:
        lock = contextlib.nullcontext() if check.group is None else locks[check.group]
        with lock:
            return run_check(check, options, listener)

    with ThreadPoolExecutor(jobs, thread_name_prefix="hbpr") as pool:
        futures = [pool.submit(run, check) for check in checks]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def first_readable(polls: list[Poll], seconds: float) -> list[Poll]:
    """Those that have something to read, waiting for at least one."""
    sockets = {poll.connection.socket: poll for poll in polls}
    ready, _, _ = select.select(list(sockets), [], [], seconds)
    return [sockets[socket] for socket in ready]
