"""What is measured: the runs of the load program, and the lines of the tables made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Result = Mapping[str, Any]

TRANSPORTS = {
    "longpoll": "long poll",
    "eventsource": "event stream",
    "websocket": "WebSocket",
    "stream": "HTTP stream",
}


Options = dict[str, int | str | bool]


@dataclass(frozen=True)
class Run:
    """One run of the load program for each server. Its options are named without dashes."""

    name: str
    options: Options
    workers: int = 1
    servers: tuple[str, ...] = ("relay", "floor", "nchan")
    once: bool = False  # in the first round only

    def arguments(self) -> list[str]:
        given: list[str] = []
        for name, value in self.options.items():
            if value is True:
                given.append(f"--{name}")
            elif value is not False:
                given += [f"--{name}", str(value)]
        return given

    def quick(self) -> Run:
        """The same in a moment: it shows that it works, its figures mean nothing."""
        small = {"subscribers": 20, "channels": 20, "messages": 5, "warmup": 2, "cycles": 200}
        small |= {"batch": 20, "publishers": 5}
        options = dict(self.options)
        for name, most in small.items():
            value = options.get(name)
            if isinstance(value, int):
                options[name] = min(value, most)
        if "cycles" in options:
            options["batch"] = 20
        options["patience"] = 10
        return replace(self, options=options)


@dataclass(frozen=True)
class Line:
    """A line of a table: a figure of a run, and what it may be at most."""

    name: str
    run: str
    value: Callable[[Result], float]
    unit: str
    # Of the relay's figure to the floor's, or to its own in the run `beside`.
    budget: float | None = None
    # The run whose figure of the same server this one is divided by.
    beside: str | None = None
    # The run whose least cost of a publish is taken off.
    less: str | None = None
    limit: float | None = None  # of the relay's figure itself
    digits: int = 2
    # Whether the least of the rounds is shown, which noise cannot lower, or their median.
    least: bool = True


def us_per(count: str) -> Callable[[Result], float]:
    """CPU time in microseconds for each of what the result counts under that name."""
    return lambda result: float(result["cpu_ns"]) / 1000 / float(result[count])


def bytes_per_subscriber(result: Result) -> float:
    grown: int = result["pss_idle"] - result["pss_before"]
    return grown / float(result["subscribers"])


def rate(result: Result) -> float:
    """Thousands of deliveries a second."""
    return float(result["deliveries"]) / float(result["wall_ns"]) * 1e6


def time_of(name: str, which: str) -> Callable[[Result], float]:
    return lambda result: float(result[name][which]) / 1000


def connect_seconds(result: Result) -> float:
    return float(result["connect_ns"]) / 1e9


def churn_growth(result: Result) -> float:
    """Memory at the end, as a multiple of that at half time."""
    readings = result["pss"]
    return float(readings[-1]) / float(readings[len(readings) // 2 - 1])


def churn_kilobytes(result: Result) -> float:
    return float(result["pss"][-1]) / 1024


RUNS: list[Run] = []
# By table: its title, what its figures are, and its lines.
CPU: list[Line] = []
MEMORY: list[Line] = []
RATES: list[Line] = []
TIMES: list[Line] = []
SHARING: list[Line] = []


def _fan_out() -> None:
    # As many messages that a run has 100,000 deliveries (of 10,000 subscribers, 200,000).
    messages = {100: 1000, 1000: 100, 10000: 20}
    for transport, words in TRANSPORTS.items():
        polls = transport == "longpoll"
        for subscribers, count in messages.items():
            options: Options = {
                "transport": transport,
                "subscribers": subscribers,
                "messages": count,
                "warmup": max(count // 10, 3),
                "browser": polls,
            }
            name = f"{transport}-{subscribers}"
            RUNS.append(Run(name, options))
            title = f"{words}, {subscribers:,} subscribers"
            if polls:
                title = f"{words}, a browser's headers, {subscribers:,} subscribers"
            cost = us_per("deliveries")
            CPU.append(Line(title, name, cost, "µs", budget=1.3 if polls else 1.15))
            RATES.append(Line(title, name, rate, "k/s", digits=0, least=False))
            if subscribers == 10000:
                MEMORY.append(
                    Line(words, name, bytes_per_subscriber, "B", limit=512, digits=0, least=False)
                )
            if polls and subscribers == 1000:
                RUNS.append(Run(f"{name}-minimal", {**options, "browser": False}))
                title = f"{words}, minimal headers, {subscribers:,} subscribers"
                CPU.append(Line(title, f"{name}-minimal", cost, "µs"))
    for transport in ("eventsource", "longpoll"):
        for size, subscribers, count, words in (
            (1024, 1000, 100, "1 KiB"),
            (65536, 100, 100, "64 KiB"),
        ):
            name = f"{transport}-{words.replace(' ', '')}"
            options = {
                "transport": transport,
                "subscribers": subscribers,
                "messages": count,
                "size": size,
                "browser": transport == "longpoll",
            }
            RUNS.append(Run(name, options))
            title = f"{TRANSPORTS[transport]}, {words} messages, {subscribers:,} subscribers"
            CPU.append(Line(title, name, us_per("deliveries"), "µs"))


def _publish() -> None:
    options: Options = {
        "subscribers": 0,
        "publishers": 50,
        "channels": 50,
        "messages": 400,
        "warmup": 40,
    }
    RUNS.append(Run("publish", options))
    CPU.append(
        Line(
            "publish, 50 kept connections, no subscribers",
            "publish",
            us_per("publishes"),
            "µs",
            budget=1.25,
        )
    )


def _publish_widely() -> None:
    # As often as the runs of 10,000 channels with subscribers.
    options: Options = {
        "subscribers": 0,
        "publishers": 50,
        "channels": 10000,
        "messages": 20,
        "warmup": 2,
    }
    RUNS.append(Run("publish-10000", options))
    title = "publish, 10,000 channels without subscribers; beside 50"
    SHARING.append(Line(title, "publish-10000", us_per("publishes"), "µs", beside="publish"))


def _come_and_go() -> None:
    for transport in ("longpoll", "eventsource"):
        name = f"cycle-{transport}"
        RUNS.append(Run(name, {"mode": "cycle", "transport": transport, "cycles": 10000}))
        title = f"connect, subscribe ({TRANSPORTS[transport]}), leave"
        CPU.append(Line(title, name, us_per("cycles"), "µs", budget=1.2))
    for transport in ("longpoll", "eventsource"):
        name = f"churn-{transport}"
        options: Options = {
            "mode": "churn",
            "transport": transport,
            "cycles": 400000,
            "batch": 100,
            "sub": "/churn-sub/",
            "pub": "/churn-pub/",
        }
        # The floor keeps no messages for who comes late.
        RUNS.append(Run(name, options, servers=("relay", "nchan"), once=True))
        words = f"churn, {TRANSPORTS[transport]}"
        title = f"{words}: end / half time"
        MEMORY.append(Line(title, name, churn_growth, "×", limit=1.02))
        MEMORY.append(Line(f"{words}: KiB at the end", name, churn_kilobytes, "KiB", digits=0))


def _channels() -> None:
    for transport in ("eventsource", "longpoll"):
        # As many deliveries as the runs of one channel with 10,000 subscribers.
        for count, messages in ((100, 2000), (10000, 20)):
            options: Options = {
                "transport": transport,
                "subscribers": count,
                "channels": count,
                "messages": messages,
                "warmup": max(messages // 10, 1),
                "publishers": 50,
                "browser": transport == "longpoll",
            }
            RUNS.append(Run(f"channels-{count}-{transport}", options))
        words = TRANSPORTS[transport]
        cost = us_per("deliveries")
        name = f"channels-10000-{transport}"
        title = (
            f"{words}, 10,000 channels of one subscriber, less such a publish each; "
            "beside one channel"
        )
        SHARING.append(
            Line(title, name, cost, "µs", 1.2, beside=f"{transport}-10000", less="publish-10000")
        )
        title = f"{words}, 10,000 channels of one subscriber; beside 100 such"
        SHARING.append(Line(title, name, cost, "µs", beside=f"channels-100-{transport}"))


def _workers() -> None:
    for name, count, words in (
        ("eventsource-1000", "deliveries", "event stream, 1,000 subscribers"),
        ("longpoll-1000", "deliveries", "long poll, 1,000 subscribers"),
        ("publish", "publishes", "publish"),
    ):
        one = next(run for run in RUNS if run.name == name)
        two = replace(one, name=f"{name}-2", workers=2, servers=("relay", "nchan"))
        RUNS.append(two)
        title = f"{words}, 2 workers; beside one"
        SHARING.append(Line(title, two.name, us_per(count), "µs", budget=1.1, beside=name))


def _times() -> None:
    for transport in ("eventsource", "longpoll"):
        name = f"latency-{transport}"
        options: Options = {
            "transport": transport,
            "subscribers": 1000,
            "messages": 100,
            "rate": 20,
            "browser": transport == "longpoll",
        }
        RUNS.append(Run(name, options))
        for which in ("p50", "p99", "max"):
            title = f"{TRANSPORTS[transport]}, 1,000 subscribers, 20 messages a second: {which}"
            TIMES.append(Line(title, name, time_of("latency_us", which), "ms", least=False))
    options = {"transport": "eventsource", "subscribers": 10000, "messages": 20, "aside": True}
    RUNS.append(Run("aside", options))
    for which in ("p50", "max"):
        title = f"a new client publishes elsewhere during a fan-out to 10,000: {which}"
        TIMES.append(Line(title, "aside", time_of("aside_us", which), "ms", least=False))
    herd: Options = {
        "transport": "eventsource",
        "subscribers": 18000,
        "messages": 1,
        "batch": 18000,
    }
    RUNS.append(Run("herd", herd))
    title = "18,000 event streams connect at once: until all have begun"
    TIMES.append(Line(title, "herd", connect_seconds, "s", least=False))


_fan_out()
_publish()
_publish_widely()
_come_and_go()
_channels()
_workers()
_times()

TABLES = {
    "CPU time of the server": CPU,
    "Memory for each idle subscriber, and after churn": MEMORY,
    "Sharing: many channels, two workers": SHARING,
    "Times": TIMES,
    "Thousands of deliveries a second": RATES,
}
