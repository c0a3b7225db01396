"""The configuration file: what loads, and what is refused with line and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .client import wait_until
from .conftest import StartRelay
from .daemon import BAD_CONFIGURATION, OK, ROOT, config, run
from .fake_django import FakeDjango

pytestmark = pytest.mark.usefixtures("built")

# As django-pushserver's documentation shows it for Django, written as YAML.
DOCUMENTED = """\
port: 8001
address: 127.0.0.1
store: {type: memory, min_messages: 0, max_messages: 100, message_timeout: 10}
locations:
  - {type: subscriber, url: '/updates/([^/]+)', polling: long, create_on_get: true,
     allow_origin: 'http://127.0.0.1:8000', allow_credentials: true,
     passthrough: 'http://127.0.0.1:8000/passthrough'}
  - {type: publisher, url: '/send-update/([^/]+)'}
"""


def test_the_documented_example_loads_as_it_is() -> None:
    result = run("-t", "-c", "-", stdin=DOCUMENTED)
    assert result.returncode == OK, result.stderr


def test_the_documented_example_works(
    start_relay: StartRelay, django: FakeDjango, workers: int
) -> None:
    """With other ports, which must be free here, and nothing else changed."""
    text = DOCUMENTED.replace("port: 8001", "port: 0")
    text = text.replace("127.0.0.1:8000/passthrough", f"127.0.0.1:{django.port}/passthrough")
    relay = start_relay(text + f"workers: {workers}\n")
    page = {"Origin": "http://127.0.0.1:8000", "Cookie": "sessionid=abc"}
    poll = relay.poll("some_channel", headers=page, prefix="/updates/")
    wait_until(lambda: django.notices, what="the notice")
    response = relay.request(
        "POST",
        "/send-update/some_channel",
        {"Content-Type": "application/json"},
        b'{"type": "answer", "value": 42}',
    )
    assert response.status == 201
    answer = poll.response()
    assert answer.body == b'{"type": "answer", "value": 42}'
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("Access-Control-Allow-Origin") == "http://127.0.0.1:8000"
    assert answer.header("Access-Control-Allow-Credentials") == "true"
    notices = django.wait_for(2)
    assert [notice.body for notice in notices] == [
        b"channel_id=some_channel&subscribe=1",
        b"channel_id=some_channel&unsubscribe=1",
    ]
    assert notices[0].header("Cookie") == b"sessionid=abc"


def test_the_installed_configuration_loads() -> None:
    path = ROOT / "config" / "pushserver.yaml"
    result = run("-t", "-c", str(path))
    assert result.returncode == OK, result.stderr


def test_json_is_a_configuration_too() -> None:
    text = '{"port": 8001, "locations": [{"type": "publisher", "prefix": "/żółw/"}]}'
    assert run("-t", "-c", "-", stdin=text).returncode == OK


@pytest.mark.parametrize("value", ["1", "1000", "8K", "8k", "2M", "1G", "'16K'"])
def test_sizes_are_bytes_or_have_a_unit(value: str) -> None:
    text = f"locations: [{{type: publisher, prefix: /p/, max_body: {value}}}]\n"
    result = run("-t", "-c", "-", stdin=text)
    assert result.returncode == OK, result.stderr


def test_what_the_dump_says_of_every_type_of_location_loads() -> None:
    text = (
        "locations:\n"
        "  - {type: subscriber, url: '/a/(.)/(.)', transports: [websocket, jsonp], split: ','}\n"
        "  - {type: subscriber, prefix: /b, channel_argument: c, transports: [longpoll]}\n"
        "  - {type: publisher, prefix: /c, channel_argument: c}\n"
        "  - {type: statistics, url: '/d/?(.*)', split: /}\n"
    )
    dumped = run("--dump-config", "-c", "-", stdin=text)
    assert dumped.returncode == OK, dumped.stderr
    again = run("--dump-config", "-c", "-", stdin=dumped.stdout)
    assert again.returncode == OK, again.stderr
    assert again.stdout == dumped.stdout


@pytest.mark.parametrize("value", ["0", "1", "0.5", "2.25", "3600"])
def test_times_are_seconds_with_decimals(value: str) -> None:
    text = f"locations: [{{type: subscriber, prefix: /s/, timeout: {value}}}]\n"
    assert run("-t", "-c", "-", stdin=text).returncode == OK


# name: (text, line of the mistake, what must be named)
BAD = {
    "unknown key": ("port: 1\nprot: 2\n", 2, "prot"),
    "unknown key of limits": ("limits:\n  conections: 2\n", 2, "conections"),
    "unknown key of store": ("store:\n  type: memory\n  max_mesages: 2\n", 3, "max_mesages"),
    "unknown key of a location": (
        "locations:\n  - type: publisher\n    prefix: /p/\n    alow: []\n",
        4,
        "alow",
    ),
    "a key that only Django reads": ("publisher_host: x\n", 1, "publisher_host"),
    "a subscriber's key at a publisher": (
        "locations:\n  - type: publisher\n    prefix: /p/\n    polling: long\n",
        4,
        "polling",
    ),
    "a publisher's key at a subscriber": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    create_on_post: true\n",
        4,
        "create_on_post",
    ),
    "a key twice": ("port: 1\naddress: 127.0.0.1\nport: 2\n", 3, "port"),
    "port too large": ("port: 65536\n", 1, "port"),
    "port negative": ("port: -1\n", 1, "port"),
    "port no number": ("port: http\n", 1, "port"),
    "port with rubbish": ("port: 80x\n", 1, "port"),
    "address no address": ("address: not an address\n", 1, "address"),
    "workers none": ("workers: 0\n", 1, "workers"),
    "workers no number": ("workers: many\n", 1, "workers"),
    "log unknown": ("log: loud\n", 1, "log"),
    "size with unknown unit": ("limits:\n  header_size: 12Q\n", 2, "header_size"),
    "size negative": ("limits:\n  header_size: -12\n", 2, "header_size"),
    "size overflows": ("store:\n  max_memory: 99999999999999999999G\n", 2, "max_memory"),
    "time negative": ("limits:\n  body_timeout: -1\n", 2, "body_timeout"),
    "time no number": ("limits:\n  body_timeout: soon\n", 2, "body_timeout"),
    "time no finite number": ("limits:\n  body_timeout: .inf\n", 2, "body_timeout"),
    "bool no bool": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    create_on_get: perhaps\n",
        4,
        "create_on_get",
    ),
    "listen no address": ("listen:\n  - 127.0.0.1\n", 2, "listen"),
    "servername that splits an answer": ('servername: "a\\r\\nX: y"\n', 1, "servername"),
    "store of unknown type": ("store:\n  type: mongodb\n", 2, "type"),
    "store no mapping": ("store: memory\n", 1, "store"),
    "store not defined": (
        "store: {one: {type: memory}}\nlocations:\n"
        "  - {type: publisher, prefix: /p/, store: two}\n",
        3,
        "two",
    ),
    "location without type": ("locations:\n  - {prefix: /p/}\n", 2, "type"),
    "location of unknown type": ("locations:\n  - {type: admin, prefix: /p/}\n", 2, "type"),
    "location without path": ("locations:\n  - {type: publisher}\n", 2, "prefix"),
    "locations no list": ("locations: {type: publisher, prefix: /p/}\n", 1, "locations"),
    "location no mapping": ("locations:\n  - publisher\n", 2, "location"),
    "pattern malformed": ("locations:\n  - {type: publisher, url: '/p/('}\n", 2, "url"),
    "pattern without group": ("locations:\n  - {type: publisher, url: '/p/.+'}\n", 2, "url"),
    "pattern with two groups": (
        "locations:\n  - {type: publisher, url: '/p/(.)/(.)'}\n",
        2,
        "url",
    ),
    "polling unknown": (
        "locations:\n  - {type: subscriber, prefix: /s/, polling: short}\n",
        2,
        "polling",
    ),
    "concurrency unknown": (
        "locations:\n  - {type: subscriber, prefix: /s/, concurrency: lifo}\n",
        2,
        "concurrency",
    ),
    "timeout_status unknown": (
        "locations:\n  - {type: subscriber, prefix: /s/, timeout_status: 200}\n",
        2,
        "timeout_status",
    ),
    "any origin with credentials": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    allow_origin: '*'\n"
        "    allow_credentials: true\n",
        "[2345]",
        "allow_credentials",
    ),
    "the default origin with credentials": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    allow_credentials: true\n",
        "[234]",
        "allow_credentials",
    ),
    "any origin in a list with credentials": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n"
        "    allow_origin: ['http://a.example', '*']\n    allow_credentials: true\n",
        "[2345]",
        "allow_",
    ),
    "origin that splits an answer": (
        'locations:\n  - {type: subscriber, prefix: /s/, allow_origin: "http://a\\r\\nX: y"}\n',
        2,
        "allow_origin",
    ),
    "content type that splits an answer": (
        'locations:\n  - {type: subscriber, prefix: /s/, content_type: "a/b\\r\\nX: y"}\n',
        2,
        "content_type",
    ),
    "allow no network": (
        "locations:\n  - {type: publisher, prefix: /p/, allow: [10.0.0.0/33]}\n",
        2,
        "allow",
    ),
    "allow no address": (
        "locations:\n  - {type: publisher, prefix: /p/, allow: [friends]}\n",
        2,
        "allow",
    ),
    "passthrough neither http nor https": (
        "locations:\n  - {type: subscriber, prefix: /s/, passthrough: 'ftp://127.0.0.1/x'}\n",
        2,
        "passthrough",
    ),
    "passthrough no URL": (
        "locations:\n  - {type: subscriber, prefix: /s/, passthrough: '/passthrough'}\n",
        2,
        "passthrough",
    ),
    "a passthrough_linger that is no time": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    passthrough_linger: -1\n",
        4,
        "passthrough_linger",
    ),
    "a passthrough_identity that is no cookie": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    passthrough_identity: [a, 'b c']\n",
        4,
        "passthrough_identity",
    ),
    "transports unknown": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    transports: [sse]\n",
        4,
        "eventsource",
    ),
    "a key of a transport that is not there": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    transports: [longpoll]\n"
        "    heartbeat: [ping, pong]\n",
        5,
        "websocket",
    ),
    "timeout of an unknown transport": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    timeout:\n      polls: 5\n",
        5,
        "timeout",
    ),
    "jsonp for some origins": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    transports: [jsonp]\n"
        "    allow_origin: 'http://a.example'\n",
        4,
        "jsonp",
    ),
    "a template of a thousand texts": (
        "locations:\n  - type: subscriber\n    prefix: /s/\n    message_template: "
        + "~text~" * 1000
        + "\n",
        4,
        "message_template",
    ),
    "a ping that ends its line": (
        'locations:\n  - {type: subscriber, prefix: /s/, ping_message: "a\\ndata: b"}\n',
        2,
        "ping_message",
    ),
    "split at a letter": (
        "locations:\n  - {type: subscriber, prefix: /s/, split: x}\n",
        2,
        "split",
    ),
    "split for publishers": (
        "locations:\n  - {type: publisher, prefix: /s/, split: ','}\n",
        2,
        "split",
    ),
    "ids in path and query": (
        "locations:\n  - {type: subscriber, url: '/(.+)', channel_argument: id}\n",
        2,
        "url",
    ),
    "no mapping": ("- port: 1\n", 1, ""),
    "no YAML": ("port: 1\naddress: [127.0.0.1\nlog: info\n", "[234]", ""),
    "a tab that indents": ("limits:\n\theader_timeout: 1\n", "[12]", ""),
    "a scalar where a list must be": ("listen: {a: b}\n", 1, "listen"),
    "a list where a scalar must be": ("address: [127.0.0.1]\n", 1, "address"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_refused_with_its_line_and_key(tmp_path: Path, name: str) -> None:
    text, line, key = BAD[name]
    path = tmp_path / "config.yaml"
    path.write_text(text)
    result = run("-t", "-c", str(path))
    assert result.returncode == BAD_CONFIGURATION, result
    assert re.search(rf"(config\.yaml:|line ){line}\b", result.stderr), result.stderr
    assert key in result.stderr


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("adress: 127.0.0.1\n", "address"),
        ("store: {type: memory, message_timout: 5}\n", "message_timeout"),
        ("locations: [{type: subscriber, prefix: /s/, create_on_gett: true}]\n", "create_on_get"),
        ("limits: {header_tmeout: 5}\n", "header_timeout"),
    ],
)
def test_a_misspelt_key_comes_with_a_suggestion(text: str, suggestion: str) -> None:
    result = run("-t", "-c", "-", stdin=text)
    assert result.returncode == BAD_CONFIGURATION
    assert re.search(rf"\b{suggestion}\b", result.stderr), result.stderr


def test_an_alias_bomb_is_refused_or_loaded_quickly() -> None:
    """A file that unfolds to billions of nodes must neither fill memory nor take for ever."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 12):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]")
    assert run("-t", "-c", "-", stdin="\n".join(lines) + "\n").returncode == BAD_CONFIGURATION


def test_a_deeply_nested_file_is_refused() -> None:
    text = "locations: " + "[" * 100_000
    assert run("-t", "-c", "-", stdin=text).returncode == BAD_CONFIGURATION


def test_debug_logging_tells_a_connections_life_but_no_secrets(start_relay: StartRelay) -> None:
    relay = start_relay(config(log="debug"))
    relay.request("GET", "/nowhere", {"Cookie": "topsecret", "Authorization": "topsecret"})
    relay.post("c", b"topsecret body")
    relay.stop()
    assert relay.log_lines("debug: ")
    assert "topsecret" not in relay.log()


def test_each_log_level_is_taken() -> None:
    for level in ("error", "warning", "info", "debug"):
        assert run("-t", "-c", "-", stdin=f"log: {level}\n").returncode == OK
