"""The view that turns the relay's notices into signals, over real HTTP."""

import contextlib
import ipaddress
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from django.db import connections
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings

from logins import session_cookie
from pushserver import signals, views

pytestmark = pytest.mark.usefixtures("database")

Notice = tuple[str, str, str]


@contextlib.contextmanager
def noted() -> Iterator[list[Notice]]:
    """Note who subscribed to what, by name."""
    notices: list[Notice] = []

    def receiver(name: str) -> Callable[..., None]:
        def note(sender: object, request: Any, channel_id: str, **kwargs: Any) -> None:
            assert sender is views.passthrough
            notices.append((name, str(request.user), channel_id))

        return note

    subscribed, unsubscribed = receiver("subscribe"), receiver("unsubscribe")
    signals.channel_subscribe.connect(subscribed)
    signals.channel_unsubscribe.connect(unsubscribed)
    try:
        yield notices
    finally:
        signals.channel_subscribe.disconnect(subscribed)
        signals.channel_unsubscribe.disconnect(unsubscribed)


def post(address: str, body: str, **headers: str) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager() as pool:
        return pool.request(
            "POST",
            f"http://{address}/passthrough",
            body=body,
            headers={"Content-Type": "application/x-www-form-urlencoded", **headers},
            redirect=False,
        )


def test_notices_become_signals_with_the_subscribers_user(live_server: str) -> None:
    cookie = session_cookie("ada")
    with noted() as notices:
        assert post(live_server, "channel_id=room&subscribe=1", Cookie=cookie).status == 204
        assert post(live_server, "channel_id=room&unsubscribe=1", Cookie=cookie).status == 204
    assert notices == [("subscribe", "ada", "room"), ("unsubscribe", "ada", "room")]


def test_subscriber_without_a_session_is_anonymous(live_server: str) -> None:
    with noted() as notices:
        assert post(live_server, "channel_id=room&subscribe=1").status == 204
    assert notices == [("subscribe", "AnonymousUser", "room")]


def test_channel_id_is_decoded(live_server: str) -> None:
    with noted() as notices:
        post(live_server, "channel_id=gr%C3%BCn%2F%26&subscribe=1")
    assert notices == [("subscribe", "AnonymousUser", "grün/&")]


def test_view_needs_neither_csrf_token_nor_login(live_server: str) -> None:
    client = Client(enforce_csrf_checks=True, headers={"host": live_server})
    response = client.post("/passthrough", {"channel_id": "room", "subscribe": "1"})
    assert response.status_code == 204


@pytest.mark.parametrize(
    "body",
    ["", "channel_id=room", "subscribe=1", "channel_id=&subscribe=1", "channel_id=room&leave=1"],
)
def test_incomplete_notice_is_forbidden(live_server: str, body: str) -> None:
    with noted() as notices:
        assert post(live_server, body).status == 403
    assert notices == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_post_is_allowed(method: str) -> None:
    assert passthrough("127.0.0.1", method).status_code == 403


def passthrough(address: str, method: str = "POST") -> HttpResponse:
    request = RequestFactory(REMOTE_ADDR=address).generic(
        method,
        "/passthrough",
        b"channel_id=room&subscribe=1",
        content_type="application/x-www-form-urlencoded",
    )
    return views.passthrough(request)


class Networks:
    """A project's own INTERNAL_IPS: something that only knows `in`."""

    def __contains__(self, address: str) -> bool:
        return ipaddress.ip_address(address) in ipaddress.ip_network("10.0.0.0/8")


@pytest.mark.parametrize(
    ("internal_ips", "address", "status"),
    [
        (["127.0.0.1"], "127.0.0.1", 204),
        (("127.0.0.1",), "127.0.0.1", 204),
        ({"127.0.0.1"}, "127.0.0.1", 204),
        (["127.0.0.1"], "::ffff:127.0.0.1", 204),
        (["::ffff:127.0.0.1"], "::ffff:127.0.0.1", 204),
        (["::1"], "::1", 204),
        (Networks(), "10.1.2.3", 204),
        (Networks(), "::ffff:10.1.2.3", 204),
        (Networks(), "11.1.2.3", 403),
        ([], "127.0.0.1", 403),
        (["127.0.0.1"], "127.0.0.2", 403),
        (["127.0.0.1"], "::ffff:127.0.0.2", 403),
        (["127.0.0.1"], "::1", 403),
        (["127.0.0.1"], "", 403),
        (["127.0.0.1"], "unix:", 403),
    ],
)
def test_only_internal_addresses_may_notify(
    internal_ips: object, address: str, status: int
) -> None:
    with override_settings(INTERNAL_IPS=internal_ips):
        assert passthrough(address).status_code == status


def test_refusal_is_logged_with_the_address(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "pushserver"):
        assert passthrough("192.0.2.7").status_code == 403
        assert passthrough("127.0.0.1", "GET").status_code == 403
    assert [record.name for record in caplog.records] == ["pushserver", "pushserver"]
    assert "'192.0.2.7' refused: the address is not in INTERNAL_IPS" in caplog.messages[0]
    assert "'127.0.0.1' refused: only POST" in caplog.messages[1]


def test_failing_receiver_does_not_stop_the_others(live_server: str) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("a receiver's own affair")

    signals.channel_subscribe.connect(fail)
    try:
        with noted() as notices:
            assert post(live_server, "channel_id=room&subscribe=1").status == 204
    finally:
        signals.channel_subscribe.disconnect(fail)
    assert notices == [("subscribe", "AnonymousUser", "room")]


def test_receivers_do_not_share_a_transaction(live_server: str) -> None:
    seen: list[bool] = []

    def look(**kwargs: Any) -> None:
        seen.append(connections["default"].in_atomic_block)

    signals.channel_subscribe.connect(look)
    settings_dict = connections["default"].settings_dict
    old = settings_dict["ATOMIC_REQUESTS"]
    settings_dict["ATOMIC_REQUESTS"] = True
    try:
        assert post(live_server, "channel_id=room&subscribe=1").status == 204
    finally:
        settings_dict["ATOMIC_REQUESTS"] = old
        signals.channel_subscribe.disconnect(look)
    assert seen == [False]
