"""Publish updates, and the URLs of channels.

Works with the pushserver relay, Nginx's HTTP push module and Nchan, whose publisher
locations answer alike.
"""

import json
import logging
import os
import sys
from dataclasses import dataclass, field
from typing import Any

import urllib3
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest

from pushserver import conf, signals

logger = logging.getLogger("pushserver")

# 201 and 202 are HBPR's: somebody was sent the update, or nobody was there. 200 is what
# relays with other channel information answer. Any other 2xx says that something was done
# with the update, but not that it was published: Nchan's 204, for one, that it was dropped.
_PUBLISHED = (200, 201, 202)

# Connections kept to each relay; threads beyond it get connections of their own for one
# request each.
_KEPT_CONNECTIONS = 16


class UpdateError(OSError):
    """An update was not published.

    url: where to.
    status: of the answer; None where there was none, and __cause__ says why.
    """

    def __init__(self, url: str, status: int | None = None, reason: str = "") -> None:
        self.url = url
        self.status = status
        self.reason = reason
        outcome = reason if status is None else f"answered {status} {reason}".rstrip()
        super().__init__(f"publishing to {url} failed: {outcome}")

    # OSError makes an exception anew from its args, which here are but the message.
    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.status, self.reason)


@dataclass(frozen=True)
class UpdateRequest:
    """The request as receivers of pre_send_update and post_send_update see it."""

    url: str
    body: bytes
    # Names in any case; receivers of pre_send_update may change them.
    headers: urllib3.HTTPHeaderDict = field(default_factory=urllib3.HTTPHeaderDict)


def send_update(
    channel_id: str,
    data: object,
    already_serialized: bool = False,
    ignore_errors: bool = False,
    *,
    timeout: float = 5.0,
) -> None:
    """Publish one update to a channel.

    channel_id: what the group in the publisher location's URL captures, unquoted.
    data: JSON-serialisable, also what DjangoJSONEncoder adds; clients dispatch on a string
        data["type"]. With already_serialized, the body as it is, bytes, or a str that is
        sent as UTF-8.
    timeout: seconds until the answer has begun, connecting included.

    Raises UpdateError (url, status) unless the relay answers that it published;
    ignore_errors, or else PUSH_SERVER_IGNORE_ERRORS, turns that into a warning in the log.
    Source: docs/protocol.md, section 4.
    """
    request = UpdateRequest(
        publisher_url(channel_id),
        _body(data, already_serialized),
        urllib3.HTTPHeaderDict({"Content-Type": "application/json; charset=utf-8"}),
    )
    # As receivers of the original knew it: the module is the sender.
    about: dict[str, Any] = {
        "sender": sys.modules[__name__],
        "channel_id": channel_id,
        "data": data,
        "already_serialized": already_serialized,
        "request": request,
    }
    signals.pre_send_update.send_robust(**about)
    try:
        response = _post(request, timeout)
    except UpdateError as error:
        signals.post_send_update.send_robust(**about, response=error)
        if ignore_errors or getattr(settings, "PUSH_SERVER_IGNORE_ERRORS", False):
            logger.warning("%s", error)
            return
        raise
    signals.post_send_update.send_robust(**about, response=response)


def publisher_url(channel_id: str) -> str:
    """Return the URL at which updates of a channel are published.

    channel_id: unquoted; ValueError where the location cannot match it.
    """
    config = conf.load()
    path = config.location("publisher").path(channel_id)
    host = config.publisher_host
    if host is None:
        return f"http://{config.own_host()}{path}"
    # django-pushserver's documentation asks for https here from a relay that speaks none.
    secure = host.secure and not config.is_own(host)
    return f"{'https' if secure else 'http'}://{host.location}{path}"


def subscriber_url(channel_id: str, *, request: HttpRequest | None = None) -> str:
    """Return the URL at which browsers subscribe to a channel.

    channel_id: unquoted; ValueError where the location cannot match it.
    request: the page's. Without PUSH_SERVER['subscriber_host'] its host name is taken and
        not the relay's address, for to cookies localhost and 127.0.0.1 are two hosts.
    """
    config = conf.load()
    path = config.location("subscriber").path(channel_id)
    host = config.subscriber_host
    if host is not None:
        return f"{'https' if host.secure else 'http'}://{host.location}{path}"
    name = None if request is None else conf.host_name(request.get_host())
    return f"http://{config.own_host(name)}{path}"


def _body(data: object, already_serialized: bool) -> bytes:
    if not already_serialized:
        # JavaScript's JSON has no NaN and no infinity.
        text = json.dumps(data, cls=DjangoJSONEncoder, allow_nan=False, separators=(",", ":"))
        return text.encode()
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"already serialized data is str or bytes, not {type(data).__name__}")


def _post(request: UpdateRequest, timeout: float) -> urllib3.BaseHTTPResponse:
    try:
        response = _send(request, timeout)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise UpdateError(request.url, None, str(error)) from error
    if response.status not in _PUBLISHED:
        raise UpdateError(request.url, response.status, response.reason or "")
    return response


def _send(request: UpdateRequest, timeout: float) -> urllib3.BaseHTTPResponse:
    """Send a request; once more only where a kept connection turned out to be closed."""

    def send() -> urllib3.BaseHTTPResponse:
        return manager.request(
            "POST",
            request.url,
            body=request.body,
            headers=request.headers,
            timeout=urllib3.Timeout(total=timeout),
            # A second try could publish twice, a redirect would turn the POST into a GET.
            retries=False,
            redirect=False,
        )

    manager = _pool()
    pool = manager.connection_from_url(request.url)
    made = pool.num_connections
    try:
        return send()
    except urllib3.exceptions.ProtocolError as error:
        # Where no connection was made since, this was a kept one. That the relay closed it
        # without a byte of answer means that it had done so before it saw the request, or
        # has been restarted.
        kept = pool.num_connections == made
        if not kept or not isinstance(error.args[-1], ConnectionError):
            raise
    # The others that are kept may be as dead.
    manager.clear()
    return send()


# By process: after a fork the child must not write to its parent's connections. Reading and
# setdefault() are one step each, so there is no lock that a fork could leave locked.
_pools: dict[int, urllib3.PoolManager] = {}


def _pool() -> urllib3.PoolManager:
    pid = os.getpid()
    pool = _pools.get(pid)
    if pool is None:
        pool = _pools.setdefault(pid, urllib3.PoolManager(maxsize=_KEPT_CONNECTIONS))
    return pool
