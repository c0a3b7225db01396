"""Django and the real relay together: updates out, notices in."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from django.test import override_settings

from fakes import unused_port
from logins import session_cookie
from processes import DEADLINE, RunPushserver, daemon_binary, wait_until
from pushserver import signals
from pushserver.utils import updates

Notice = tuple[str, str, str]


class Subscriber:
    """A client that is held, in a thread of its own."""

    def __init__(self, url: str, **headers: str) -> None:
        self.answer: urllib3.BaseHTTPResponse | None = None
        self.pool = urllib3.PoolManager()
        self.thread = threading.Thread(target=self._poll, args=(url, headers))
        self.thread.start()

    def _poll(self, url: str, headers: dict[str, str]) -> None:
        self.answer = self.pool.request(
            "GET", url, headers=headers, timeout=DEADLINE, retries=False
        )

    def answered(self) -> urllib3.BaseHTTPResponse:
        self.thread.join(DEADLINE)
        self.pool.clear()
        assert self.answer is not None
        return self.answer


@contextlib.contextmanager
def notices() -> Iterator[list[Notice]]:
    noted: list[Notice] = []

    def came(request: Any, channel_id: str, **kwargs: Any) -> None:
        noted.append(("came", str(request.user), channel_id))

    def left(request: Any, channel_id: str, **kwargs: Any) -> None:
        noted.append(("left", str(request.user), channel_id))

    signals.channel_subscribe.connect(came)
    signals.channel_unsubscribe.connect(left)
    try:
        yield noted
    finally:
        signals.channel_subscribe.disconnect(came)
        signals.channel_unsubscribe.disconnect(left)


@pytest.fixture
def relay(live_server: str, tmp_path: Path) -> Iterator[RunPushserver]:
    push_server = {
        "port": unused_port(),
        "store": {"type": "memory", "max_messages": 10},
        "locations": [
            {
                "type": "subscriber",
                "prefix": "/updates/",
                "create_on_get": True,
                "passthrough": f"http://{live_server}/passthrough",
            },
            {"type": "publisher", "url": r"/send-update/([^/]+)"},
        ],
    }
    with (
        override_settings(PUSH_SERVER=push_server),
        RunPushserver(tmp_path, push_server, binary=daemon_binary()) as run,
    ):
        wait_until(accepts_publisher, "the relay")
        yield run


def accepts_publisher() -> bool:
    try:
        updates.send_update("ready?", {})
    except updates.UpdateError as error:
        if error.status is not None:
            raise
        return False
    return True


def test_update_reaches_who_is_held_and_who_comes_later(relay: RunPushserver) -> None:
    statuses: list[int] = []

    def note(response: urllib3.BaseHTTPResponse, **kwargs: Any) -> None:
        statuses.append(response.status)

    signals.post_send_update.connect(note)
    try:
        with notices() as noted:
            subscriber = Subscriber(updates.subscriber_url("room"))
            wait_until(lambda: noted, "the notice")
            updates.send_update("room", {"type": "answer", "value": 42})
            answer = subscriber.answered()
        assert json.loads(answer.data) == {"type": "answer", "value": 42}
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        updates.send_update("room", b"later", already_serialized=True)
    finally:
        signals.post_send_update.disconnect(note)
    assert statuses == [201, 202]
    position = {
        "If-Modified-Since": answer.headers["Last-Modified"],
        "If-None-Match": answer.headers["Etag"],
    }
    assert Subscriber(updates.subscriber_url("room"), **position).answered().data == b"later"


@pytest.mark.parametrize("channel_id", ["a/b c", "grün 🌿", "100%", "x&y='<\">", "a+b", "a\nb"])
def test_any_id_is_the_same_for_publisher_subscriber_and_receivers(
    relay: RunPushserver, channel_id: str
) -> None:
    with notices() as noted:
        subscriber = Subscriber(updates.subscriber_url(channel_id))
        wait_until(lambda: noted, "the notice")
        updates.send_update(channel_id, {"value": channel_id})
        assert json.loads(subscriber.answered().data) == {"value": channel_id}
        wait_until(lambda: len(noted) == 2, "both notices")
    assert noted == [
        ("came", "AnonymousUser", channel_id),
        ("left", "AnonymousUser", channel_id),
    ]


def test_receivers_know_each_subscriber_by_the_session_cookie(relay: RunPushserver) -> None:
    url = updates.subscriber_url("room")
    with notices() as noted:
        ada = Subscriber(url, Cookie=session_cookie("ada"))
        bob = Subscriber(url, Cookie=session_cookie("bob"))
        stranger = Subscriber(url, Cookie="sessionid=forged")
        wait_until(lambda: len(noted) == 3, "three notices")
        updates.send_update("room", {})
        for subscriber in (ada, bob, stranger):
            assert subscriber.answered().status == 200
        wait_until(lambda: len(noted) == 6, "all notices")
    for what in ("came", "left"):
        users = sorted(user for event, user, _ in noted if event == what)
        assert users == ["AnonymousUser", "ada", "bob"]


def test_relay_says_why_its_notices_are_refused(relay: RunPushserver) -> None:
    with override_settings(INTERNAL_IPS=["192.0.2.1"]), notices() as noted:
        subscriber = Subscriber(updates.subscriber_url("room"))
        relay.wait_for_log("403.*INTERNAL_IPS")
        updates.send_update("room", {})
        assert subscriber.answered().status == 200, "the subscriber does not notice"
    assert noted == []


def test_subscribers_are_ended_properly_when_the_command_is_told_to_stop(
    relay: RunPushserver,
) -> None:
    with notices() as noted:
        subscriber = Subscriber(updates.subscriber_url("room"))
        wait_until(lambda: noted, "the notice")
        relay.process.terminate()
        assert relay.wait() == 0
        assert subscriber.answered().status == 304
        wait_until(lambda: len(noted) == 2, "the last notice")


@pytest.mark.parametrize("address", ["127.0.0.1", "", "*", None, "0.0.0.0", "::", "::1"])
def test_relay_is_reached_wherever_it_listens(tmp_path: Path, address: str | None) -> None:
    push_server = {"address": address, "port": unused_port()}
    with (
        override_settings(PUSH_SERVER=push_server),
        RunPushserver(tmp_path, push_server, binary=daemon_binary()),
    ):
        wait_until(accepts_publisher, f"the relay at {updates.publisher_url('ready?')}")


def test_unknown_channel_is_an_error_where_posts_do_not_create(tmp_path: Path) -> None:
    push_server = {
        "port": unused_port(),
        "locations": [
            {"type": "subscriber", "prefix": "/subscriber/"},
            {"type": "publisher", "prefix": "/publisher/", "create_on_post": False},
        ],
    }

    def status() -> int | None:
        with pytest.raises(updates.UpdateError) as raised:
            updates.send_update("room", {})
        return raised.value.status

    with (
        override_settings(PUSH_SERVER=push_server),
        RunPushserver(tmp_path, push_server, binary=daemon_binary()),
    ):
        assert wait_until(status, "an answer of the relay") == 404
