"""How the faulty server understands which transport and which channels are asked for; see
faulty.py."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from faulty_http import Broken, Refused, Request
from faulty_store import Location

if TYPE_CHECKING:
    from faulty import Conversation

# The streams, and what the ids of their checks begin with.
STREAMS = {"eventsource": "sse", "websocket": "ws", "stream": "stream", "multipart": "multipart"}
MEDIA = {"text/event-stream": "eventsource", "multipart/mixed": "multipart"}


def tokens(request: Request, name: str) -> set[str]:
    return {t.strip().lower() for value in request.all(name) for t in value.split(",")}


def asked_for(broken: Broken, request: Request) -> str:
    """The transport that a request asks for."""
    by_accept = accepted(broken, request)
    if by_accept is not None and broken("upgrade-before-accept"):
        return by_accept
    upgrade = "websocket" in tokens(request, "upgrade")
    if broken("ws-tokens-in-any-case"):
        upgrade = "websocket" in request.all("upgrade")
    if broken("ws-upgrade-to-another") and request.all("upgrade"):
        upgrade = True
    connection = "upgrade" in tokens(request, "connection")
    connection = connection or broken("ws-upgrade-without-connection")
    version = request.version == "1.1" or broken("ws-upgrade-in-1-0")
    if upgrade and connection and version and not broken("ws-is-asked-for"):
        return "websocket"
    if by_accept is not None:
        return by_accept
    te = tokens(request, "te")
    if "trailers" in te and broken("te-trailers-is-a-poll"):
        return "stream"
    if "chunked" in te and not broken("stream-is-asked-for"):
        return "stream"
    return "longpoll"


def accepted(broken: Broken, request: Request) -> str | None:
    items = ",".join(request.all("accept")).split(",")
    if len(items) > 1 and broken("accept-among-others"):
        return None
    for item in items:
        media, _, parameters = item.strip().partition(";")
        if not broken("accept-in-any-case"):
            media = media.lower()
        if re.search(r"q=0(\.0*)?$", parameters) and not broken("accept-of-no-quality-is-a-poll"):
            continue
        if media == "*/*" and len(items) == 1 and broken("accept-any-is-a-poll"):
            return "eventsource"
        if media == "text/*" and broken("accept-text-is-a-poll"):
            return "eventsource"
        if media in MEDIA and not broken(f"{STREAMS[MEDIA[media]]}-is-asked-for"):
            return MEDIA[media]
    return None


def choose(broken: Broken, location: Location, request: Request) -> str:
    """The transport that a request gets. Raises Refused."""
    asked, allowed = asked_for(broken, request), location.transports
    if len(allowed) == 1:
        return only_one(broken, asked, allowed[0])
    if allowed[:2] == ("longpoll", "eventsource") and len(allowed) == 2:
        if broken("allowed-transports-by-request"):
            return "eventsource"
        if asked not in allowed:
            raise Refused(400 if broken(f"{STREAMS[asked]}-not-allowed-406") else 406)
    return asked


def only_one(broken: Broken, asked: str, only: str) -> str:
    if only == "websocket":
        if asked != "websocket" or broken("only-websocket-with-upgrade"):
            raise Refused(400 if broken("only-websocket-without-upgrade-426") else 426)
        return only
    if only == "longpoll":
        return asked if broken("only-longpoll-whatever-is-asked") else only
    if broken(f"only-{STREAMS[only]}-whatever-is-asked"):
        return asked
    return only


def ids_of(conversation: Conversation, location: Location, escaped: str, query: str) -> list[bytes]:
    """The channels that a request is of. Raises Refused."""
    broken, parts = conversation.broken, [escaped]
    if location.argument is not None:
        parts = re.findall(rf"(?:^|&){location.argument}=([^&]*)", query)
        if broken("several-by-argument"):
            parts = parts[:1]
    elif location.split is not None:
        clauses = {",": "several-by-split", "/": "several-by-slash"}
        if broken("several-cut-before-decoding"):
            escaped = unquote(escaped)
        parts = escaped.split(location.split)
        if broken(clauses.get(location.split, "several-by-groups")):
            parts = parts[:1]
        if len(parts) == 1 and broken("several-one-alone"):
            raise Refused(400)
    if len(parts) == location.max_channels == 2 and broken("as-many-channels-as-allowed"):
        raise Refused(403)
    ids = [conversation.channel_id(part) for part in parts] or [b""]
    return ids if broken("several-same-twice") else list(dict.fromkeys(ids))
