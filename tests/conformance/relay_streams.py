"""The locations of section 9 in our relay's configuration, and what the suite is told of them."""

from __future__ import annotations

PING_MESSAGE, EVENT, RETRY, SEPARATOR = "still here", "news", 2.5, "|\n"
HEARTBEAT = ("are you there?", "I am")
PUBLISHING_MAX_BODY = 70_000

# Each option's path: a prefix, or all of it with {id}; and the keys of the location there, or
# None where it is one of relay.py's.
ROWS: dict[str, tuple[str, dict[str, object] | None]] = {
    "eventsource-sub": ("sub", None),
    "websocket-sub": ("sub", None),
    "stream-sub": ("sub", None),
    "multipart-sub": ("sub", None),
    "streams-timeout-sub": ("timeout", None),
    "jsonp-sub": ("jsonp", {"transports": ["longpoll", "jsonp"]}),
    "only-eventsource-sub": ("only-eventsource", {"transports": ["eventsource"]}),
    "only-websocket-sub": ("only-websocket", {"transports": ["websocket"]}),
    "only-stream-sub": ("only-stream", {"transports": ["stream"]}),
    "only-multipart-sub": ("only-multipart", {"transports": ["multipart"]}),
    "only-longpoll-sub": ("only-longpoll", {"transports": ["longpoll"]}),
    "two-sub": ("two", {"transports": ["longpoll", "eventsource"]}),
    "ping-sub": ("ping", {"ping_interval": 1, "ping_timeout": 1}),
    "ping-message-sub": ("ping-message", {"ping_interval": 1, "ping_message": PING_MESSAGE}),
    "heartbeat-sub": ("heartbeat", {"heartbeat": list(HEARTBEAT)}),
    "event-sub": ("event", {"event": EVENT}),
    "retry-sub": ("retry", {"retry": RETRY}),
    "separator-sub": ("separator", {"stream_separator": SEPARATOR}),
    "deflate-sub": ("deflate", {"deflate": True}),
    "publishing-sub": (
        "publishing",
        {"deflate": True, "allow_publish": True, "max_body": PUBLISHING_MAX_BODY},
    ),
    "batch-multipart-sub": ("batch-multipart", {"batch": "multipart"}),
    "batch-json-sub": ("batch-json", {"batch": "json"}),
    "batch-raw-sub": ("batch-raw", {"batch": "raw"}),
    "split-sub": ("split", {"split": ",", "create_on_get": True}),
    "split-slash-sub": ("split-slash", {"split": "/", "create_on_get": True}),
    "groups-sub": (
        "groups/{id}/and/{other}",
        {"url": "/groups/([^/]+)/and/([^/]+)", "prefix": None},
    ),
    "argument-sub": (
        "argument/?channel={id}",
        {"prefix": "/argument/", "channel_argument": "channel"},
    ),
    "say-channel-sub": ("say-channel", {"say_channel": True}),
    "newest-sub": ("newest", {"first_message": "newest"}),
    "second-sub": ("second", {"first_message": 2}),
    "last-two-sub": ("last-two", {"first_message": -2}),
    "gap-sub": ("gap", {"gap_event": True, "store": "limited"}),
    "silent-sub": ("silent", {"gap_event": False, "store": "limited"}),
    "full-sub": ("full", {"max_subscribers": 1}),
    "few-channels-sub": (
        "few-channels",
        {"split": ",", "max_channels": 2, "create_on_get": True},
    ),
    "slow-gap-sub": ("slow-gap", {"gap_event": True, "store": "small"}),
    "slow-close-sub": ("slow-close", {"on_slow": "close", "store": "small"}),
}
PATHS = {option: path for option, (path, _) in ROWS.items()}
BOUNDS: dict[str, object] = {
    "ping-interval": 1,
    "ping-timeout": 1,
    "ping-message": PING_MESSAGE,
    "heartbeat-in": HEARTBEAT[0],
    "heartbeat-out": HEARTBEAT[1],
    "event": EVENT,
    "retry": RETRY,
    "separator": SEPARATOR,
    "publishing-max-body": PUBLISHING_MAX_BODY,
    "argument": "channel",
}


def locations() -> list[dict[str, object]]:
    """The locations that the options' own keys need."""
    return [
        {
            name: value
            for name, value in {
                "type": "subscriber",
                "prefix": f"/{path}/",
                "store": "default",
                **keys,
            }.items()
            if value is not None
        }
        for path, keys in ROWS.values()
        if keys is not None
    ]
