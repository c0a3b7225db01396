"""What a run is told of the server: its locations, and the bounds they are configured with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .wire import Location


def seconds(text: str) -> float:
    """A time that is more than none. Raises ValueError."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(text)
    return value


def count(text: str) -> int:
    """A number of at least one. Raises ValueError."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def address(text: str) -> tuple[str, int]:
    """ADDR:PORT. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not (host and colon):
        raise ValueError(text)
    return host.strip("[]"), count(port)


def _option(metavar: str, about: str, default: Any = None) -> Any:
    return dataclasses.field(default=default, metadata={"metavar": metavar, "help": about})


def _url(about: str) -> Any:
    return _option("URL", about)


@dataclass
class Options:
    """Each field is an option of the command line, with - for _.

    A check that needs an option which was not given is skipped, and says which.
    """

    sub: Location = _url("a subscriber location: long polling, everyone held, any origin")
    pub: Location = _url("a publisher location of the same channels")

    interval_sub: Location | None = _url("a subscriber location that polls in intervals")
    last_sub: Location | None = _url("a subscriber location that holds only the newest request")
    first_sub: Location | None = _url("a subscriber location that holds only the oldest request")
    existing_sub: Location | None = _url("a subscriber location where unknown channels are 404")
    creating_sub: Location | None = _url("a subscriber location that makes unknown channels")
    timeout_sub: Location | None = _url("a subscriber location that holds for --hold-timeout")
    hold_timeout: float | None = _option("S", "how long --timeout-sub holds")
    type_sub: Location | None = _url("a subscriber location that sets --content-type itself")
    content_type: str | None = _option("TYPE", "the Content-Type that --type-sub sets")
    origin_sub: Location | None = _url("a subscriber location for --origin alone, with credentials")
    origins_sub: Location | None = _url("a subscriber location for a list that has --origin in it")
    origin: str | None = _option("ORIGIN", "an origin that is allowed where these options say so")

    existing_pub: Location | None = _url("a publisher location where a POST makes no channel")
    forego_pub: Location | None = _url("a publisher location that stores nothing, beside --pub")
    closed_pub: Location | None = _url("a publisher location that this machine may not use")
    origin_pub: Location | None = _url("a publisher location that lets pages of --origin publish")

    limited_pub: Location | None = _url("a publisher location that keeps --max-messages a channel")
    limited_sub: Location | None = _url("the subscriber location of --limited-pub")
    max_messages: int | None = _option("N", "the messages that --limited-pub keeps")
    expiring_pub: Location | None = _url(
        "a publisher location that keeps messages for --message-timeout; else --limited-pub is"
    )
    expiring_sub: Location | None = _url("the subscriber location of --expiring-pub")
    message_timeout: float | None = _option("S", "how long --expiring-pub and --kept-pub keep")
    kept_pub: Location | None = _url(
        "a publisher location that keeps --min-messages over --message-timeout"
    )
    kept_sub: Location | None = _url("the subscriber location of --kept-pub")
    min_messages: int | None = _option("N", "the messages that --kept-pub keeps whatever their age")
    idle_pub: Location | None = _url(
        "a publisher location whose channels go when idle for --channel-timeout, --message-timeout "
        "applying as well if it is given"
    )
    channel_timeout: float | None = _option("S", "when channels of --idle-pub go")
    small_pub: Location | None = _url("a publisher location of a store of --max-memory")
    small_sub: Location | None = _url("the subscriber location of --small-pub")
    max_memory: int | None = _option("BYTES", "what the store of --small-pub has")

    passthrough_sub: Location | None = _url("a subscriber location that notifies the listener")
    passthrough_timeout_sub: Location | None = _url("the same, holding for --hold-timeout")
    passthrough_last_sub: Location | None = _url("the same, holding only the newest request")
    passthrough_interval_sub: Location | None = _url("the same, polling in intervals")
    linger_sub: Location | None = _url("the same, with a linger of --linger")
    linger: float | None = _option("S", "how long a subscriber of --linger-sub may be away")
    passthrough_listen: tuple[str, int] | None = _option(
        "ADDR:PORT", "where the suite listens for the notices of these"
    )

    eventsource_sub: Location | None = _url(
        "a subscriber location that has event streams and polls"
    )
    websocket_sub: Location | None = _url("a subscriber location that has WebSockets and polls")
    stream_sub: Location | None = _url("a subscriber location that has HTTP streams and polls")
    multipart_sub: Location | None = _url(
        "a subscriber location that has multipart/mixed and polls"
    )
    jsonp_sub: Location | None = _url("a subscriber location that has JSONP and polls")
    only_eventsource_sub: Location | None = _url("a subscriber location of event streams alone")
    only_websocket_sub: Location | None = _url("a subscriber location of WebSockets alone")
    only_stream_sub: Location | None = _url("a subscriber location of HTTP streams alone")
    only_multipart_sub: Location | None = _url("a subscriber location of multipart/mixed alone")
    only_longpoll_sub: Location | None = _url("a subscriber location of long polls alone")
    two_sub: Location | None = _url("a subscriber location of event streams and long polls alone")
    streams_timeout_sub: Location | None = _url(
        "a subscriber location whose streams end after --hold-timeout"
    )
    ping_sub: Location | None = _url("a subscriber location with pings every --ping-interval")
    ping_interval: float | None = _option("S", "the time from ping to ping")
    ping_timeout: float | None = _option("S", "the time in which a WebSocket's client must answer")
    ping_message_sub: Location | None = _url("the same, with --ping-message")
    ping_message: str | None = _option("TEXT", "what pings of --ping-message-sub say")
    heartbeat_sub: Location | None = _url(
        "a subscriber location that answers --heartbeat-in with --heartbeat-out"
    )
    heartbeat_in: str | None = _option("TEXT", "a WebSocket's heartbeat")
    heartbeat_out: str | None = _option("TEXT", "the answer to it")
    event_sub: Location | None = _url("a subscriber location that names its events --event")
    event: str | None = _option("NAME", "the event of --event-sub")
    retry_sub: Location | None = _url("a subscriber location whose event streams say --retry")
    retry: float | None = _option("S", "what --retry-sub says")
    separator_sub: Location | None = _url("a subscriber location with --separator in HTTP streams")
    separator: str | None = _option("TEXT", "what follows each message at --separator-sub")
    deflate_sub: Location | None = _url("a subscriber location with permessage-deflate")
    publishing_sub: Location | None = _url(
        "a subscriber location whose WebSockets may publish, with permessage-deflate if "
        "--deflate-sub is given"
    )
    publishing_max_body: int | None = _option("BYTES", "the largest message over --publishing-sub")
    batch_multipart_sub: Location | None = _url(
        "a subscriber location whose polls have all messages, as multipart/mixed"
    )
    batch_json_sub: Location | None = _url("the same, as JSON")
    batch_raw_sub: Location | None = _url("the same, one behind the other")
    split_sub: Location | None = _url(
        "a subscriber location of several ids with --split between, which makes unknown channels"
    )
    split: str = _option("TEXT", "what is between ids at --split-sub", ",")
    split_slash_sub: Location | None = _url("the same with slashes")
    groups_sub: Location | None = _url("a subscriber location of two ids, {id} and {other}")
    argument_sub: Location | None = _url(
        "a subscriber location whose ids are in the query, as --argument={id}"
    )
    argument: str | None = _option("NAME", "the query parameter of --argument-sub")
    say_channel_sub: Location | None = _url(
        "a subscriber location that says each message's channel"
    )
    newest_sub: Location | None = _url("a subscriber location that begins with the next message")
    second_sub: Location | None = _url("a subscriber location that begins with the second oldest")
    last_two_sub: Location | None = _url("a subscriber location that begins with the last but one")
    gap_sub: Location | None = _url(
        "the subscriber location of --limited-pub that says gaps in event streams"
    )
    silent_sub: Location | None = _url("the same that says none")
    full_sub: Location | None = _url("a subscriber location of one subscriber a channel")
    few_channels_sub: Location | None = _url("as --split-sub, of two channels at most")
    slow_gap_sub: Location | None = _url(
        "the subscriber location of --small-pub where slow readers are told their gaps"
    )
    slow_close_sub: Location | None = _url("the same where their connections are closed")

    nowhere: Location | None = _url("a URL outside all locations of the server")
    header_timeout: float | None = _option("S", "the time that the server gives a header")
    body_timeout: float | None = _option("S", "the time that the server gives a body")
    idle_timeout: float | None = _option("S", "the time that the server gives a silent connection")
    max_id: int = _option("BYTES", "the longest channel id", 255)
    max_target: int = _option("BYTES", "the longest request target", 8192)
    max_header: int = _option("BYTES", "the largest head of a request", 16384)
    max_body: int = _option("BYTES", "the largest message", 1 << 20)

    timeout: float = _option("S", "the time that a check has, beside what it must wait", 5.0)

    def __post_init__(self) -> None:
        if self.expiring_pub is None and self.expiring_sub is None:
            self.expiring_pub, self.expiring_sub = self.limited_pub, self.limited_sub

    def missing(self, needs: tuple[str, ...]) -> list[str]:
        """The options, as they are written, that are needed and were not given."""
        return [flag(name) for name in needs if getattr(self, name) is None]


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


PARSERS: dict[str, Callable[[str], Any]] = {
    "Location": Location,
    "Location | None": Location,
    "float | None": seconds,
    "float": seconds,
    "int | None": count,
    "int": count,
    "str | None": str,
    "str": str,
    "tuple[str, int] | None": address,
}
