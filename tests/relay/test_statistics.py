"""Statistics: of one channel, of several, of all, and of the store as a whole."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
import yaml

from .client import Response, request_bytes, wait_until
from .conftest import StartRelay
from .daemon import Config, Daemon, config
from .streams import EVENTS, Stream

STATS = "/stats"


def with_statistics(options: Config | None = None, **top: Any) -> Config:
    location = {"type": "statistics", "prefix": STATS, "channel_argument": "id", **(options or {})}
    return config(more=[location], **top)


@pytest.fixture
def relay(start_relay: StartRelay) -> Daemon:
    return start_relay(with_statistics())


def ask(relay: Daemon, *ids: str | bytes, accept: str | None = None) -> Response:
    query = "&".join(f"id={quote(i, safe='*')}" for i in ids)
    headers = {} if accept is None else {"Accept": accept}
    return relay.request("GET", f"{STATS}?{query}" if ids else STATS, headers)


def told(relay: Daemon, *ids: str | bytes) -> Any:
    response = ask(relay, *ids)
    assert response.status == 200, response
    assert response.header("Content-Type") == "application/json"
    return json.loads(response.body)


def listed(relay: Daemon, *ids: str | bytes) -> list[str]:
    return sorted(info["channel"] for info in told(relay, *ids)["infos"])


def create(relay: Daemon, names: list[str]) -> None:
    """Make channels over one connection, many requests at a time."""
    connection = relay.connect()
    for start in range(0, len(names), 200):
        part = names[start : start + 200]
        connection.send(b"".join(request_bytes("PUT", f"/pub/{name}", body=b"") for name in part))
        assert {connection.read_response().status for _ in part} == {200}


# One channel, several, all


def test_of_one_channel_its_messages_and_subscribers_are_told(start_relay: StartRelay) -> None:
    relay = start_relay(with_statistics(store={"default": {"type": "memory", "max_messages": 2}}))
    relay.publish("room", b"one", b"two", b"three")
    assert told(relay, "room") == {
        "channel": "room",
        "published_messages": 3,
        "stored_messages": 2,
        "subscribers": 0,
    }
    last = relay.publish("room", b"four")[0]
    relay.hold("room", last)
    relay.hold("room", last)
    assert told(relay, "room") == {
        "channel": "room",
        "published_messages": 4,
        "stored_messages": 2,
        "subscribers": 2,
    }


def test_an_unknown_channel_is_404_and_is_not_made(relay: Daemon) -> None:
    response = ask(relay, "room")
    assert response.status == 404
    assert b"no such channel" in response.body
    assert relay.info("room") is None
    relay.put("room")
    assert told(relay, "room")["published_messages"] == 0
    relay.delete("room")
    assert ask(relay, "room").status == 404


def test_of_several_ids_those_that_exist_are_listed(relay: Daemon) -> None:
    create(relay, ["a", "b", "c"])
    answer = told(relay, "a", "absent", "c", "a")
    assert sorted(info["channel"] for info in answer["infos"]) == ["a", "c"]
    assert answer["channels"] == 3
    assert listed(relay, "absent", "gone") == []


def test_all_channels_are_listed_by_the_id_all(relay: Daemon) -> None:
    assert listed(relay, "ALL") == []
    create(relay, ["a", "b", "cc"])
    relay.publish("b", b"x")
    answer = told(relay, "ALL")
    assert answer["channels"] == 3
    assert answer["wildcard_channels"] == 0
    assert answer["truncated"] is False
    assert sorted(answer["infos"], key=lambda info: str(info["channel"])) == [
        {"channel": "a", "published_messages": 0, "stored_messages": 0, "subscribers": 0},
        {"channel": "b", "published_messages": 1, "stored_messages": 1, "subscribers": 0},
        {"channel": "cc", "published_messages": 0, "stored_messages": 0, "subscribers": 0},
    ]
    assert listed(relay, "*") == ["a", "b", "cc"]


def test_a_star_at_the_end_lists_what_begins_so(relay: Daemon) -> None:
    create(relay, ["news", "news-1", "news-2", "old-news", "new"])
    assert listed(relay, "news*") == ["news", "news-1", "news-2"]
    assert listed(relay, "news-*") == ["news-1", "news-2"]
    assert listed(relay, "nothing*") == []
    assert told(relay, "news*")["channels"] == 5


def test_all_or_a_beginning_beside_other_ids_is_400(relay: Daemon) -> None:
    for ids in (("a", "ALL"), ("a*", "b"), ("ALL", "a*")):
        assert ask(relay, *ids).status == 400


def test_ids_may_be_in_the_path_cut_at_slashes(start_relay: StartRelay) -> None:
    settings = config(more=[{"type": "statistics", "url": f"{STATS}/?(.*)", "split": "/"}])
    relay = start_relay(settings)
    create(relay, ["a", "b", "c"])

    def names(path: str) -> list[str]:
        infos = json.loads(relay.request("GET", STATS + path).body)["infos"]
        return sorted(info["channel"] for info in infos)

    assert names("/a/b") == ["a", "b"]
    assert names("/ALL") == ["a", "b", "c"]
    assert json.loads(relay.request("GET", f"{STATS}/a").body)["channel"] == "a"
    for path in ("", "/"):
        assert json.loads(relay.request("GET", STATS + path).body)["by_worker"]


# The summary


def test_without_an_id_the_store_is_summed_up(relay: Daemon, workers: int) -> None:
    relay.publish("a", b"one", b"two")
    relay.publish("b", b"three")
    relay.delete("b")
    last = relay.publish("a", b"four")[0]
    for _ in range(5):
        relay.hold("a", last)
    answer = told(relay)
    by_worker = answer.pop("by_worker")
    hostname, told_at = answer.pop("hostname"), answer.pop("time")
    assert 0 <= answer.pop("uptime") < 60
    assert answer.pop("memory") > 0
    assert answer == {
        "channels": 1,
        "wildcard_channels": 0,
        "published_messages": 4,
        "stored_messages": 3,
        "messages_in_trash": 0,
        "channels_in_delete": 0,
        "channels_in_trash": 0,
        "subscribers": 5,
        "slow_gaps": 0,
        "slow_closes": 0,
    }
    assert hostname == socket.gethostname()
    assert abs(datetime.fromisoformat(told_at) - datetime.now(UTC)) < timedelta(seconds=60)
    assert len(by_worker) == workers
    assert sum(worker["subscribers"] for worker in by_worker) == 5
    assert all(0 <= worker["uptime"] < 60 for worker in by_worker)
    pids = {worker["pid"] for worker in by_worker}
    assert len(pids) == workers
    assert str(relay.process.pid) in pids


def test_a_store_is_told_of_by_its_own_location(start_relay: StartRelay) -> None:
    memory = {"type": "memory"}
    more = [
        {"type": "publisher", "prefix": "/other/", "store": "other"},
        {"type": "statistics", "prefix": STATS, "channel_argument": "id", "store": "other"},
    ]
    relay = start_relay(config(more=more, store={"default": memory, "other": memory}))
    relay.publish("here", b"x")
    relay.post("there", b"x", prefix="/other/")
    assert listed(relay, "ALL") == ["there"]
    assert told(relay)["published_messages"] == 1
    assert ask(relay, "here").status == 404


def test_streams_that_were_too_slow_are_counted(start_relay: StartRelay) -> None:
    for on_slow, field in (("gap", "slow_gaps"), ("close", "slow_closes")):
        settings = with_statistics(store={"default": {"type": "memory", "max_messages": 2}})
        settings["locations"][1]["on_slow"] = on_slow
        relay = start_relay(settings)
        slow = Stream(relay, "room", EVENTS, receive_buffer=4096)
        slow.read_head()
        assert told(relay)[field] == 0
        relay.publish("room", *(b"x" * 900_000 for _ in range(12)))
        slow.widen()
        slow.read_event()
        wait_until(lambda r=relay, f=field: told(r)[f] == 1, what=field)  # type: ignore[misc]
        assert told(relay)["slow_gaps"] + told(relay)["slow_closes"] == 1


# Formats


def test_json_is_the_answer_where_accept_leaves_the_choice(relay: Daemon) -> None:
    relay.put("room")
    for accept in (None, "*/*", "image/png", "application/*", "text/html, */*;q=0.8"):
        response = ask(relay, "room", accept=accept)
        assert response.header("Content-Type") == "application/json"
        assert json.loads(response.body)["channel"] == "room"
        assert "accept" in response.tokens("Vary")


def test_each_format_tells_the_same(relay: Daemon) -> None:
    relay.publish("room", b"x")
    answer = told(relay, "ALL")
    del answer["time"], answer["uptime"]

    response = ask(relay, "ALL", accept="application/yaml")
    assert response.header("Content-Type") == "application/yaml"
    read = yaml.safe_load(response.body)
    del read["time"], read["uptime"]
    assert read == answer

    response = ask(relay, "ALL", accept="text/xml")
    assert response.header("Content-Type") == "application/xml"
    root = ElementTree.fromstring(response.body)
    assert root.tag == "root"
    assert {child.tag for child in root} == {*answer, "time", "uptime"}
    (channel,) = root.findall("infos/channel")
    assert {field.tag: field.text for field in channel} == {
        "name": "room",
        "published_messages": "1",
        "stored_messages": "1",
        "subscribers": "0",
    }

    response = ask(relay, "ALL", accept="text/plain")
    assert response.header("Content-Type") == "text/plain; charset=utf-8"
    lines = [line.strip() for line in response.body.decode().splitlines()]
    assert "channels: 1" in lines
    assert lines[lines.index("channel: room") :][:4] == [
        "channel: room",
        "published_messages: 1",
        "stored_messages: 1",
        "subscribers: 0",
    ]

    summary = yaml.safe_load(ask(relay, accept="text/yaml").body)
    assert {key for key in summary if key != "by_worker"} < set(told(relay))
    assert summary["by_worker"][0]["pid"].isdigit()
    assert ElementTree.fromstring(ask(relay, accept="application/xml").body).tag == "infos"


@pytest.mark.parametrize(
    "channel",
    [
        b'quote"backslash\\',
        b"a<b>&amp;]]>",
        b"line\r\nfeed\n\ttab",
        "ключ \u2028 é \U0001f600".encode(),
        b"\x00\x01\x1f\x7f",
        "\u0085\ufffe".encode(),
        b"not utf-8: \xff\xc3(\xed\xa0\x80",
        b"- yaml: [",
        b"%25",
    ],
)
def test_an_id_is_one_value_in_each_format_whatever_bytes_it_has(
    relay: Daemon, channel: bytes
) -> None:
    """What a format cannot hold is U+FFFD; plain text has the id percent-encoded."""
    relay.put(channel)
    text = channel.decode("utf-8", errors="replace")

    def fits(found: str | None) -> bool:
        # One U+FFFD for each byte, or for each character that XML cannot hold.
        return found is not None and found.replace("\ufffd", "") == "".join(
            c for c in text if c != "\ufffd" and c not in lost
        )

    for ids in ((channel,), (channel, "other")):
        lost = ""
        answer = told(relay, *ids)
        assert fits(answer.get("channel") or answer["infos"][0]["channel"])
        answer = yaml.safe_load(ask(relay, *ids, accept="application/yaml").body)
        assert fits(answer.get("channel") or answer["infos"][0]["channel"])
        lost = "".join(map(chr, range(32))).translate({9: None, 10: None, 13: None}) + "\ufffe"
        root = ElementTree.fromstring(ask(relay, *ids, accept="application/xml").body)
        assert fits(root.findtext("name") or root.findtext("infos/channel/name"))
        plain = ask(relay, *ids, accept="text/plain").body.decode()
        assert f"channel: {quote(channel, safe='')}\n" in plain


# Lists that are long


def test_a_long_list_has_each_channel_once(relay: Daemon) -> None:
    """Far more than a slice of the store, and of a socket."""
    names = [f"channel-{n}" for n in range(5000)]
    create(relay, names)
    assert listed(relay, "ALL") == sorted(names)
    assert listed(relay, "channel-12*") == sorted(n for n in names if n.startswith("channel-12"))

    slow = relay.connect(receive_buffer=4096)
    slow.send_request("GET", f"{STATS}?id=ALL")
    relay.publish("room", b"others are served")
    slow.widen()
    found = {info["channel"] for info in json.loads(slow.read_response().body)["infos"]}
    assert found | {"room"} == {*names, "room"}


def test_channels_come_and_go_while_they_are_listed(relay: Daemon) -> None:
    """Those that stay are listed once."""
    staying = [f"stays-{n}" for n in range(2000)]
    create(relay, staying)
    lister, other = relay.connect(), relay.connect()
    for n in range(20):
        lister.send_request("GET", f"{STATS}?id=*")
        passing = [f"passes-{n}-{k}" for k in range(100)]
        other.send(b"".join(request_bytes("PUT", f"/pub/{name}", body=b"") for name in passing))
        other.send(b"".join(request_bytes("DELETE", f"/pub/{name}") for name in passing[::2]))
        infos = json.loads(lister.read_response().body)["infos"]
        names = [info["channel"] for info in infos]
        assert len(names) == len(set(names))
        assert set(staying) <= set(names)
        for _ in range(150):
            assert other.read_response().status == 200


def test_a_list_is_cut_at_max_listed_and_says_so(start_relay: StartRelay) -> None:
    relay = start_relay(with_statistics({"max_listed": 300}))
    names = [f"c{n}" for n in range(300)]
    create(relay, names)
    response = ask(relay, "ALL")
    assert response.header("X-Push-Truncated") is None
    assert json.loads(response.body)["truncated"] is False
    assert listed(relay, "ALL") == sorted(names)
    relay.put("one-more")
    for accept in ("application/json", "application/yaml"):
        response = ask(relay, "ALL", accept=accept)
        assert response.status == 200
        assert response.header("X-Push-Truncated") == "1"
        answer = yaml.safe_load(response.body)
        assert answer["truncated"] is True
        assert len(answer["infos"]) == 300
        assert answer["channels"] == 301
    response = ask(relay, "one*")
    assert response.header("X-Push-Truncated") is None
    assert listed(relay, "one*") == ["one-more"]


def test_a_list_is_cut_before_it_is_16_megabytes_long(start_relay: StartRelay) -> None:
    """Whatever max_listed allows: ids may be long, and each byte of one six in the answer."""
    settings = with_statistics({"max_listed": 1_000_000}, limits={"id_length": 4000})
    relay = start_relay({**settings, "limits": {"id_length": 4000, "target_size": 16384}})
    create(relay, [f"{n:04}" + "%01" * 3996 for n in range(800)])
    response = ask(relay, "ALL")
    answer = json.loads(response.body)
    assert answer["truncated"] is True
    assert response.header("X-Push-Truncated") == "1"
    assert 600 < len(answer["infos"]) < 800
    assert len(response.body) <= 16 * 2**20 + 4096
    assert listed(relay, "00*") == sorted(f"{n:04}" + "\x01" * 3996 for n in range(100))


def test_what_follows_a_list_on_its_connection_is_answered_after_it(relay: Daemon) -> None:
    create(relay, [f"c{n}" for n in range(3000)])
    connection = relay.connect()
    connection.send(
        request_bytes("GET", f"{STATS}?id=ALL")
        + request_bytes("GET", f"{STATS}?id=c7")
        + request_bytes("GET", f"{STATS}?id=c1*")
        + request_bytes("GET", f"{STATS}?id=none")
    )
    assert len(json.loads(connection.read_response().body)["infos"]) == 3000
    assert json.loads(connection.read_response().body)["channel"] == "c7"
    assert len(json.loads(connection.read_response().body)["infos"]) == 1111
    assert connection.read_response().status == 404
    connection.send(request_bytes("GET", f"{STATS}?id=ALL"))
    connection.half_close()
    assert len(json.loads(connection.read_response().body)["infos"]) == 3000


def test_who_leaves_while_a_list_is_made_costs_nothing(relay: Daemon) -> None:
    create(relay, [f"c{n}" for n in range(3000)])
    for n in range(60):
        connection = relay.connect()
        connection.send_request("GET", f"{STATS}?id=ALL")
        if n % 2:
            connection.reset()
        else:
            connection.close()
    assert len(told(relay, "ALL")["infos"]) == 3000


def test_a_shutdown_lets_a_list_be_finished(relay: Daemon) -> None:
    create(relay, [f"c{n}" for n in range(5000)])
    connections = [relay.connect() for _ in range(8)]
    for connection in connections:
        # A first answer, so that the relay has the connection before the signal.
        assert connection.request("GET", f"{STATS}?id=c1").status == 200
        connection.send_request("GET", f"{STATS}?id=ALL")
    for connection in connections:
        connection.wait_until_read()
    relay.send_signal(15)
    for connection in connections:
        assert len(json.loads(connection.read_response().body)["infos"]) == 5000
    relay.close_connections()
    relay.stop()


# Who may ask, and how


def test_statistics_are_for_this_host_unless_allow_says_otherwise(start_relay: StartRelay) -> None:
    relay = start_relay(with_statistics({"allow": ["10.0.0.0/8"]}))
    response = ask(relay, "ALL")
    assert response.status == 403
    assert b"allow" in response.body
    relay = start_relay(with_statistics())
    assert ask(relay, "ALL").status == 200


def test_statistics_have_get_only(relay: Daemon) -> None:
    for method in ("POST", "PUT", "DELETE", "HEAD"):
        with relay.connect() as connection:
            connection.send_request(method, f"{STATS}?id=room")
            response = connection.read_final(method)
        assert response.status == 405
        assert response.tokens("Allow") == {"get", "options"}
    assert relay.info("room") is None


def test_scripts_of_an_allowed_origin_may_read_statistics(start_relay: StartRelay) -> None:
    origin = "https://admin.example"
    relay = start_relay(with_statistics({"allow_origin": origin}))
    for target in (STATS, f"{STATS}?id=none"):
        response = relay.request("GET", target, {"Origin": origin})
        assert response.header("Access-Control-Allow-Origin") == origin
    relay = start_relay(with_statistics())
    assert relay.request("GET", STATS).header("Access-Control-Allow-Origin") is None
