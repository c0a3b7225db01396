"""Publishing updates: what is sent, what counts as published, what receivers see."""

import datetime
import decimal
import json
import logging
import pickle
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.dispatch import Signal
from django.test import override_settings
from django.utils.functional import lazystr

from fakes import FakeRelay, unused_port
from pushserver import signals
from pushserver.utils import updates


@pytest.fixture(autouse=True)
def publisher(fake_relay: FakeRelay) -> Iterator[None]:
    with override_settings(PUSH_SERVER=settings_for(fake_relay.location)):
        yield


def settings_for(location: str) -> dict[str, Any]:
    return {
        "publisher_host": {"location": location},
        "locations": [
            {"type": "publisher", "url": r"/send-update/([^/]+)"},
            {"type": "subscriber", "url": r"/updates/([^/]+)"},
        ],
    }


class Receiver:
    """Connects to a signal for a test and notes what it is called with."""

    def __init__(self, signal: Signal, does: Any = None) -> None:
        self.signal, self.does = signal, does
        self.calls: list[dict[str, Any]] = []

    def __call__(self, **kwargs: Any) -> None:
        self.calls.append(kwargs)
        if self.does is not None:
            self.does(**kwargs)

    def __enter__(self) -> "Receiver":
        self.signal.connect(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self.signal.disconnect(self)


def test_update_is_posted_as_json(fake_relay: FakeRelay) -> None:
    updates.send_update("some_channel_id", {"type": "answer", "value": 42})
    (request,) = fake_relay.requests
    assert (request.method, request.path) == ("POST", "/send-update/some_channel_id")
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(request.body) == {"type": "answer", "value": 42}


def test_what_djangos_encoder_knows_can_be_sent(fake_relay: FakeRelay) -> None:
    updates.send_update(
        "room",
        {
            "when": datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC),
            "price": decimal.Decimal("1.50"),
            "id": uuid.UUID(int=7),
            "text": lazystr("grün"),
        },
    )
    assert json.loads(fake_relay.requests[0].body) == {
        "when": "2026-11-20T12:00:00Z",
        "price": "1.50",
        "id": "00000000-0000-0000-0000-000000000007",
        "text": "grün",
    }


def test_what_browsers_cannot_read_is_not_sent(fake_relay: FakeRelay) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        updates.send_update("room", {"value": float("nan")}, ignore_errors=True)
    assert fake_relay.requests == []


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ('{"type": "grün"}', '{"type": "grün"}'.encode()),
        (b"\xff\x00", b"\xff\x00"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        ("", b""),
    ],
)
def test_serialized_data_is_sent_as_it_is(fake_relay: FakeRelay, data: object, body: bytes) -> None:
    updates.send_update("room", data, True)
    assert fake_relay.requests[0].body == body
    assert fake_relay.requests[0].headers["Content-Length"] == str(len(body))


def test_serialized_data_of_another_type_is_an_error(fake_relay: FakeRelay) -> None:
    with pytest.raises(TypeError, match="str or bytes, not dict"):
        updates.send_update("room", {"type": "answer"}, already_serialized=True)
    assert fake_relay.requests == []


def test_updates_share_one_connection(fake_relay: FakeRelay) -> None:
    for value in range(5):
        updates.send_update("room", {"value": value})
    assert len({request.client_port for request in fake_relay.requests}) == 1


def test_connection_that_the_relay_closed_meanwhile_is_replaced(fake_relay: FakeRelay) -> None:
    fake_relay.hangs_up = True
    for value in range(5):
        updates.send_update("room", {"value": value})
    bodies = [json.loads(request.body)["value"] for request in fake_relay.requests]
    assert bodies == [0, 1, 2, 3, 4]


def test_kept_connection_that_turns_out_to_be_closed_is_replaced(fake_relay: FakeRelay) -> None:
    fake_relay.drops_from = 2
    updates.send_update("room", {"value": 0})
    updates.send_update("room", {"value": 1})
    assert len({request.client_port for request in fake_relay.requests}) == 2


def test_relay_that_hangs_up_on_a_new_connection_is_not_asked_twice(fake_relay: FakeRelay) -> None:
    fake_relay.drops_from = 1
    with pytest.raises(updates.UpdateError, match="closed connection without response"):
        updates.send_update("room", {})
    assert len(fake_relay.requests) == 1


def test_child_of_a_fork_uses_a_connection_of_its_own(fake_relay: FakeRelay) -> None:
    script = f"""
import os, django
from django.conf import settings
settings.configure(PUSH_SERVER={settings_for(fake_relay.location)!r})
django.setup()
from pushserver.utils import updates
updates.send_update("room", "before")
child = os.fork()
if child == 0:
    updates.send_update("room", "child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
updates.send_update("room", "parent")
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
    ports = {json.loads(request.body): request.client_port for request in fake_relay.requests}
    assert set(ports) == {"before", "child", "parent"}
    assert ports["before"] == ports["parent"] != ports["child"]


@pytest.mark.parametrize("status", [200, 201, 202])
def test_relays_that_published_say_so(fake_relay: FakeRelay, status: int) -> None:
    fake_relay.status = status
    with Receiver(signals.post_send_update) as after:
        updates.send_update("room", {})
    (call,) = after.calls
    assert call["response"].status == status
    assert call["response"].data == b"queued messages: 1\n"


@pytest.mark.parametrize("status", [204, 301, 307, 400, 403, 404, 410, 413, 500, 503, 507])
def test_any_other_answer_is_an_error_that_names_url_and_status(
    fake_relay: FakeRelay, status: int
) -> None:
    fake_relay.status = status
    fake_relay.headers = {"Location": f"http://{fake_relay.location}/elsewhere"}
    with pytest.raises(updates.UpdateError) as raised:
        updates.send_update("room", {})
    assert isinstance(raised.value, OSError)
    assert raised.value.status == status
    assert raised.value.url == f"http://{fake_relay.location}/send-update/room"
    assert str(status) in str(raised.value)
    assert raised.value.url in str(raised.value)
    assert len(fake_relay.requests) == 1, "neither tried again nor redirected"


def test_relay_that_is_not_there_is_an_error_with_its_cause() -> None:
    location = f"127.0.0.1:{unused_port()}"
    with (
        override_settings(PUSH_SERVER=settings_for(location)),
        pytest.raises(updates.UpdateError, match="refused") as raised,
    ):
        updates.send_update("room", {})
    assert raised.value.status is None
    assert raised.value.url == f"http://{location}/send-update/room"
    assert raised.value.__cause__ is not None


def test_relay_that_does_not_answer_is_an_error_after_the_timeout(fake_relay: FakeRelay) -> None:
    fake_relay.may_answer.clear()
    with pytest.raises(updates.UpdateError, match="timed out"):
        updates.send_update("room", {}, timeout=0.2)


def test_error_survives_pickling() -> None:
    error = updates.UpdateError("http://relay/x", 404, "Not Found")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.url, copy.status, str(copy)) == (error.url, error.status, str(error))


def test_ignored_error_is_a_warning(
    fake_relay: FakeRelay, caplog: pytest.LogCaptureFixture
) -> None:
    fake_relay.status = 404
    with caplog.at_level(logging.WARNING, "pushserver"):
        updates.send_update("room", {}, ignore_errors=True)
    assert "/send-update/room failed: answered 404" in caplog.text


def test_setting_ignores_errors_as_the_argument_does(
    fake_relay: FakeRelay, caplog: pytest.LogCaptureFixture
) -> None:
    fake_relay.status = 404
    with override_settings(PUSH_SERVER_IGNORE_ERRORS=True):
        updates.send_update("room", {})
    assert "answered 404" in caplog.text


def test_receivers_see_the_update_and_its_request(fake_relay: FakeRelay) -> None:
    data = {"type": "answer"}
    with Receiver(signals.pre_send_update) as before, Receiver(signals.post_send_update) as after:
        updates.send_update("room", data)
    for call in (*before.calls, *after.calls):
        assert call["sender"] is updates
        assert call["channel_id"] == "room"
        assert call["data"] is data
        assert call["already_serialized"] is False
        assert call["request"].url == f"http://{fake_relay.location}/send-update/room"
        assert call["request"].body == b'{"type":"answer"}'
    assert len(before.calls) == len(after.calls) == 1
    assert "response" not in before.calls[0]


def test_receiver_may_change_headers(fake_relay: FakeRelay) -> None:
    def sign(request: updates.UpdateRequest, **kwargs: Any) -> None:
        request.headers["authorization"] = "Bearer x"
        request.headers["content-type"] = "text/plain"

    with Receiver(signals.pre_send_update, sign):
        updates.send_update("room", {})
    headers = {name.lower(): value for name, value in fake_relay.requests[0].headers.items()}
    assert headers["authorization"] == "Bearer x"
    assert headers["content-type"] == "text/plain"


def test_receivers_of_a_failed_update_get_the_exception(fake_relay: FakeRelay) -> None:
    fake_relay.status = 500
    with Receiver(signals.post_send_update) as after:
        updates.send_update("room", {}, ignore_errors=True)
    (call,) = after.calls
    assert isinstance(call["response"], updates.UpdateError)
    assert call["response"].status == 500


def test_failing_receiver_stops_neither_the_others_nor_the_update(fake_relay: FakeRelay) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("a receiver's own affair")

    for signal in (signals.pre_send_update, signals.post_send_update):
        signal.connect(fail)
        with Receiver(signal) as other:
            updates.send_update("room", {})
        signal.disconnect(fail)
        assert len(other.calls) == 1
    assert len(fake_relay.requests) == 2


def test_proxy_of_the_environment_is_not_used(
    fake_relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    updates.send_update("room", {})
    assert len(fake_relay.requests) == 1


def test_importing_has_no_effects() -> None:
    script = """
from pushserver import conf, daemon, signals
from pushserver.utils import updates
assert updates._pools == {}
from django.conf import settings
assert not settings.configured
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
