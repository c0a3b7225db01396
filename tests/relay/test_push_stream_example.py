"""examples/push-stream.yaml: what is shown for nginx-push-stream-module works here.

The commands are those of the "Lazy Guide to Websockets" and of django-nginx-push-stream's
README, with the port of the test in them; the clients are curl and websocket-client.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml
from websocket import WebSocket, WebSocketTimeoutException, create_connection

from .client import wait_until
from .conftest import StartRelay
from .daemon import ROOT, Daemon, environment

EXAMPLE = ROOT / "examples" / "push-stream.yaml"
PORT = 9080
HTTP_DATE = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")


@pytest.fixture
def relay(start_relay: StartRelay, workers: int) -> Daemon:
    """The example as it is, but for the port and the number of workers."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text.count(f"\nport: {PORT}") == 1
    return start_relay(text.replace(f"\nport: {PORT}", f"\nworkers: {workers}\nport: 0"))


class Curl:
    """A command line of a document, run against the daemon; what it prints as it comes."""

    def __init__(self, relay: Daemon, command: str) -> None:
        args = shlex.split(re.sub(r"localhost(:9080)?/", f"localhost:{relay.port}/", command))
        assert args[0] == "curl"
        self.process = subprocess.Popen(
            args,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        self.out, self.err = b"", b""
        self.readers = [
            threading.Thread(target=self._read, args=(name,)) for name in ("stdout", "stderr")
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, name: str) -> None:
        pipe = getattr(self.process, name)
        while data := pipe.read1():
            if name == "stdout":
                self.out += data
            else:
                self.err += data

    def wait_for(self, text: bytes) -> None:
        wait_until(lambda: text in self.out, what=lambda: f"{text!r} in {self.out!r}, {self.err!r}")

    def end(self) -> bytes:
        """Wait until it ends by itself; return all that it printed."""
        assert self.process.wait(20) == 0, self.err
        for reader in self.readers:
            reader.join(20)
        return self.out

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join(20)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


StartCurl = Callable[[str], Curl]


@pytest.fixture
def curl(relay: Daemon) -> Iterator[StartCurl]:
    running: list[Curl] = []

    def start(command: str) -> Curl:
        running.append(Curl(relay, command))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def subscribe(relay: Daemon) -> Iterator[Callable[[str], WebSocket]]:
    """create_connection() of websocket-client, with the daemon's port."""
    sockets: list[WebSocket] = []

    def start(url: str) -> WebSocket:
        sockets.append(create_connection(url.replace("localhost:9080", relay_host), timeout=20))
        return sockets[-1]

    relay_host = f"localhost:{relay.port}"
    yield start
    for one in sockets:
        one.shutdown()  # type: ignore[no-untyped-call]


def subscribers(relay: Daemon, channel: str) -> int:
    response = relay.request("GET", f"/events/stats/{channel}")
    if response.status == 404:
        return 0
    return int(json.loads(response.body)["subscribers"])


def wait_for_subscribers(relay: Daemon, channel: str, count: int) -> None:
    wait_until(lambda: subscribers(relay, channel) == count, what=f"{count} in {channel}")


def assert_message(text: bytes | str, number: int, channel: str, published: Any) -> None:
    """What the guide's template makes of a message."""
    message = json.loads(text)
    assert HTTP_DATE.fullmatch(message.pop("time"))
    assert message.pop("tag").isdigit()
    assert message == {"id": number, "channel": channel, "text": published}


# The Lazy Guide to Websockets


def test_the_guides_two_lines_as_they_are(relay: Daemon, curl: StartCurl) -> None:
    """Subscribe and publish. Its message is no JSON, nor is what its template makes of it."""
    subscriber = curl("curl -v 'http://localhost/events/sub/channel'")
    wait_for_subscribers(relay, "channel", 1)
    published = curl("curl -X POST 'http://localhost/events/pub/channel' -d 'Hello!'").end()
    assert b"queued messages: 1" in published
    curl("curl -X DELETE 'http://localhost/events/pub/channel'").end()
    head, message, foot, rest = subscriber.end().split(b"\r\n")
    assert (head, foot, rest) == (b'{"text":"hello"}', b'{"text":"bye"}', b"")
    assert message.startswith(b'{"id":1,"channel":"channel","text":Hello!,"tag":"')
    assert b"< Content-Type: application/json; charset=utf-8\r\n" in subscriber.err


@pytest.mark.parametrize("path", ["sub", "ev", "lp"])
def test_what_is_published_as_json_arrives_as_json(
    relay: Daemon, curl: StartCurl, path: str
) -> None:
    subscriber = curl(f"curl -s -v --no-buffer 'http://localhost/events/{path}/channel'")
    wait_for_subscribers(relay, "channel", 1)
    text = '{"user": "é", "n": [1, 2]}'
    curl(f"curl -X POST 'http://localhost/events/pub/channel' -d '{text}'").end()
    if path == "lp":
        answer = subscriber.end()
        assert b"< Content-Type: application/json; charset=utf-8\r\n" in subscriber.err
    else:
        subscriber.wait_for(b"GMT")
        subscriber.wait_for(b"\n\n" if path == "ev" else b'GMT"}\r\n')
        answer = next(line for line in subscriber.out.splitlines() if b'"id"' in line)
        answer = answer.removeprefix(b"data: ")
    assert_message(answer, 1, "channel", {"user": "é", "n": [1, 2]})


def test_a_web_socket_gets_what_is_published_and_cannot_publish(
    relay: Daemon, curl: StartCurl, subscribe: Callable[[str], WebSocket]
) -> None:
    ws = subscribe("ws://localhost:9080/events/ws/channel")
    ws.send("ignored")
    curl("""curl -X POST 'http://localhost/events/pub/channel' -d '"one"'""").end()
    curl("""curl -X POST 'http://localhost/events/pub/channel' -d '{"two": 2}'""").end()
    assert_message(ws.recv(), 1, "channel", "one")
    assert_message(ws.recv(), 2, "channel", {"two": 2})


def test_who_comes_gets_nothing_old_unless_asked_for(
    relay: Daemon, curl: StartCurl, subscribe: Callable[[str], WebSocket]
) -> None:
    for n in range(5):
        curl(f"curl -X POST 'http://localhost/events/pub/channel' -d {n}").end()
    ws = subscribe("ws://localhost:9080/events/ws/channel?backtrack=2")
    assert_message(ws.recv(), 4, "channel", 3)
    assert_message(ws.recv(), 5, "channel", 4)
    newcomer = subscribe("ws://localhost:9080/events/ws/channel")
    newcomer.settimeout(0.2)
    with pytest.raises(WebSocketTimeoutException):
        newcomer.recv()
    newcomer.settimeout(20)
    curl("curl -X POST 'http://localhost/events/pub/channel' -d 5").end()
    assert_message(newcomer.recv(), 6, "channel", 5)


def test_several_channels_are_cut_at_slashes(
    relay: Daemon, curl: StartCurl, subscribe: Callable[[str], WebSocket]
) -> None:
    """Here with those that the guide publishes to for each commit."""
    ws = subscribe("ws://localhost:9080/events/ws/user-1/project-2/global")
    for number, channel in enumerate(("user-1", "global", "project-2", "elsewhere", "user-1")):
        curl(f"curl -X POST 'http://localhost/events/pub/{channel}' -d {number}").end()
    assert_message(ws.recv(), 1, "user-1", 0)
    assert_message(ws.recv(), 1, "global", 1)
    assert_message(ws.recv(), 1, "project-2", 2)
    assert_message(ws.recv(), 2, "user-1", 4)


def test_a_long_poll_goes_on_from_where_the_last_one_was(relay: Daemon, curl: StartCurl) -> None:
    first = curl("curl -s -i 'http://localhost/events/lp/channel'")
    wait_for_subscribers(relay, "channel", 1)
    for n in range(3):
        curl(f"curl -X POST 'http://localhost/events/pub/channel' -d {n}").end()
    head, body = first.end().decode().split("\r\n\r\n")
    for number in (1, 2, 3):
        assert_message(body, number, "channel", number - 1)
        found = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        position = (
            f"-H 'If-Modified-Since: {found['Last-Modified']}' -H 'If-None-Match: {found['Etag']}'"
        )
        if number < 3:
            again = curl(f"curl -s -i {position} 'http://localhost/events/lp/channel'")
            head, body = again.end().decode().split("\r\n\r\n")


def test_pings_are_the_text_of_the_guide(relay: Daemon) -> None:
    """Every 10 seconds, which is not waited for: that they are set is what is looked at."""
    locations = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["locations"]
    pinged = [one for one in locations if one.get("ping_message") is not None]
    assert {one["url"] for one in pinged} == {f"/events/{p}/(.*)" for p in ("ws", "ev", "sub")}
    assert all(one["ping_message"] == '""' and one["ping_interval"] == 10 for one in pinged)


def test_statistics_of_one_all_a_beginning_and_the_summary(relay: Daemon, curl: StartCurl) -> None:
    def ask(command: str) -> Any:
        return json.loads(curl(command).end())

    for channel in ("my_channel_1", "your_channel_1", "your_channel_2"):
        curl(f"curl -s -v -X POST 'http://localhost/pub?id={channel}' -d 'Hello World!'").end()
    wanted = {
        "channel": "my_channel_1",
        "published_messages": 1,
        "stored_messages": 1,
        "subscribers": 0,
    }
    for one, several in (
        ("/events/stats/{}", "/events/stats/my_channel_1/your_channel_2"),
        ("/channels-stats?id={}", "/channels-stats?id=my_channel_1&id=your_channel_2"),
    ):
        ask_for = "curl -s -v 'http://localhost" + one + "'"
        assert ask(ask_for.format("my_channel_1")) == wanted
        assert wanted in ask(ask_for.format("ALL"))["infos"]
        infos = ask(ask_for.format("your_channel_*"))["infos"]
        assert {info["channel"] for info in infos} == {"your_channel_1", "your_channel_2"}
        assert len(ask(f"curl -s 'http://localhost{several}'")["infos"]) == 2
    for summary in ("/events/stats/", "/channels-stats"):
        assert ask(f"curl -s -v 'http://localhost{summary}'")["published_messages"] == 3
    yaml_text = curl("curl -s -H 'Accept: application/yaml' 'http://localhost/events/stats/'").end()
    assert yaml.safe_load(yaml_text)["channels"] == 3


def test_delete_ends_who_is_subscribed(
    relay: Daemon, curl: StartCurl, subscribe: Callable[[str], WebSocket]
) -> None:
    ws = subscribe("ws://localhost:9080/events/ws/channel")
    stream = curl("curl -s --no-buffer 'http://localhost/events/sub/channel'")
    poll = curl("curl -s -o /dev/null -w %{http_code} 'http://localhost/events/lp/channel'")
    wait_for_subscribers(relay, "channel", 3)
    curl("curl -s -v -X DELETE 'http://localhost/events/pub/channel'").end()
    assert stream.end().endswith(b'{"text":"bye"}\r\n')
    assert poll.end() == b"410"
    opcode, data = ws.recv_data()
    assert opcode == 8
    assert data[:2] == (1001).to_bytes(2, "big")


# django-nginx-push-stream


def publish_message(relay: Daemon, channel: str, message: object) -> None:
    """As the package does it: to /pub/ with a slash, in JSON."""
    request = Request(
        f"http://localhost:{relay.port}/pub/?id={channel}", data=json.dumps(message).encode()
    )
    request.add_header("Content-Type", "application/json; charset=utf-8")
    with urlopen(request, timeout=20) as response:
        assert response.status in (201, 202)


def test_the_readmes_curl_line_listens(relay: Daemon, curl: StartCurl) -> None:
    listening = curl("curl -s -v --no-buffer 'http://localhost:9080/sub/my-app__all__'")
    wait_for_subscribers(relay, "my-app__all__", 1)
    publish_message(relay, "my-app__all__", {"message": ["Foobar"]})
    listening.wait_for(b'{"message": ["Foobar"]}\n')


def test_the_readmes_web_socket_listens(
    relay: Daemon, subscribe: Callable[[str], WebSocket]
) -> None:
    ws = subscribe("ws://localhost:9080/ws/my-app__all__")
    publish_message(relay, "my-app__all__", {"message": ["Foobar"]})
    message = json.loads(ws.recv())
    assert HTTP_DATE.fullmatch(message.pop("time"))
    assert message == {
        "id": 1,
        "channel": "my-app__all__",
        "text": {"message": ["Foobar"]},
        "eventid": "",
    }
    ws.close()
    wait_for_subscribers(relay, "my-app__all__", 0)


# The document


NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

NGINX_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen unix:{socket};
{locations}
  }}
}}
"""


@pytest.fixture
def nginx(relay: Daemon, socket_path: Path) -> Iterator[Path]:
    """The document's nginx in front of the relay; the Unix socket where it listens."""
    if NGINX is None:
        pytest.skip("there is no nginx; on Debian: apt-get install nginx-light")
    text = (ROOT / "docs" / "push-stream.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert "$connection_upgrade;  # map $http_upgrade: '' is '', default is upgrade" in snippet
    folder = socket_path.parent
    path = folder / "nginx.conf"
    path.write_text(
        NGINX_CONFIGURATION.format(
            folder=folder,
            socket=socket_path,
            locations=snippet.replace(str(PORT), str(relay.port)),
        )
    )
    folder.chmod(0o755)  # nginx's worker is another user where this one is root
    log = folder / "nginx.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(path)], stderr=stderr)

    def listening() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as tried:
            tried.connect(str(socket_path))
            return True
        return False

    try:
        wait_until(listening, what=lambda: log.read_text())
        yield socket_path
    finally:
        process.terminate()
        process.wait(20)


def test_the_documents_nginx_passes_streams_on_as_they_come(
    relay: Daemon, curl: StartCurl, nginx: Path
) -> None:
    through = f"curl -s -i --no-buffer --unix-socket {nginx} http://site.test"
    streams = [curl(f"{through}{path}") for path in ("/events/sub/a", "/events/ev/a")]
    poll = curl(f"{through}/events/lp/a")
    wait_for_subscribers(relay, "a", 3)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect(str(nginx))
        ws = create_connection("ws://site.test/ws/a", socket=unix, timeout=20)
        curl("""curl -X POST http://localhost/events/pub/a -d '"x"'""").end()
        for stream in streams:
            stream.wait_for(b'"text":"x"')
        assert b'"text":"x"' in poll.end()
        assert json.loads(ws.recv())["text"] == "x"
        ws.close()


def test_the_documents_nginx_lets_nobody_publish(
    relay: Daemon, curl: StartCurl, nginx: Path
) -> None:
    """The relay would: to it whoever comes through nginx comes from this host."""
    through = f"curl -s -o /dev/null -w %{{http_code}} --unix-socket {nginx} http://site.test"
    for path in ("/events/pub/a", "/pub?id=a", "/pub/?id=a", "/events/stats/", "/channels-stats"):
        assert curl(f"{through}{path} -d x").end() == b"404"
        assert curl(f"{through}{path}").end() == b"404"


def test_the_document_names_the_keys_that_there_are() -> None:
    text = Path(ROOT / "docs" / "push-stream.md").read_text(encoding="utf-8")
    manual = (ROOT / "docs" / "pushserver.yaml.5").read_text(encoding="utf-8")
    known = set(re.findall(r"^\.It Ic (\w+)", manual, re.MULTILINE))
    known |= {
        "normal",
        "streaming",
        "json",
        "multipart",
    }  # what the module calls a thing, or a value
    table = re.findall(r"^\| `push_stream_\w+`.*\|$", text, re.MULTILINE)
    assert len(table) > 30
    for row in table:
        ours = row.split("|")[3]
        for key in re.findall(r"`(\w+)[:`]", ours):
            assert key in known, f"{key} in {row}"
