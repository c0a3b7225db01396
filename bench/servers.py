"""The servers that are compared: ours, the floor, and Debian's Nchan.

Each is started for one measurement, pinned to one processor, with a configuration that
says what the measurement needs and leaves everything else at its default.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELAY = ROOT / "build/pushserver"
FLOOR = ROOT / "build/bench/floor"
LOAD = ROOT / "build/bench/load"

NAMES = ("relay", "floor", "nchan")

NCHAN_MODULES = ("/usr/lib/nginx/modules", "/usr/share/nginx/modules", "/usr/lib64/nginx/modules")
NCHAN_INSTALL = "apt-get install nginx-light libnginx-mod-nchan"

# Requests on a connection and its life have no bound, so that a poll's connection is not
# closed under it; a body of 64 KiB stays in memory; all else is as it comes.
NCHAN_CONFIGURATION = """
load_module {module};
daemon off;
worker_processes {workers};
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 19900; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_buffer_size 256k;
  nchan_max_reserved_memory 256M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location ~ ^/pub/(.+)$ {{ nchan_publisher http; nchan_channel_id $1; }}
    location ~ ^/sub/(.+)$ {{
      nchan_subscriber longpoll eventsource websocket http-chunked; nchan_channel_id $1;
    }}
    location ~ ^/churn-pub/(.+)$ {{
      nchan_publisher http; nchan_channel_id c/$1; nchan_message_timeout 1s;
    }}
    location ~ ^/churn-sub/(.+)$ {{
      nchan_subscriber longpoll eventsource websocket http-chunked; nchan_channel_id c/$1;
    }}
  }}
}}
"""


class Failed(Exception):
    """A server is missing, did not start, or did not end as it should."""


@dataclass
class Server:
    """One that runs: where, and as which processes."""

    port: int
    pids: list[int]


def relay_configuration(workers: int, passthrough: str | None = None) -> dict[str, object]:
    """Ours, with what the measurements need; churn's channels are forgotten soon.

    passthrough: a URL, which is told of the subscribers of /told/.
    """
    forgetful = {"type": "memory", "message_timeout": 1, "channel_timeout": 1}
    told = {"type": "subscriber", "prefix": "/told/", "create_on_get": True}
    return {
        "address": "127.0.0.1",
        "port": 0,
        "workers": workers,
        "store": {"default": {"type": "memory"}, "forgetful": forgetful},
        "locations": [
            {"type": "publisher", "prefix": "/pub/"},
            {"type": "subscriber", "prefix": "/sub/", "create_on_get": True},
            {"type": "publisher", "prefix": "/churn-pub/", "store": "forgetful"},
            {
                "type": "subscriber",
                "prefix": "/churn-sub/",
                "store": "forgetful",
                "create_on_get": True,
            },
            *([] if passthrough is None else [{**told, "passthrough": passthrough}]),
        ],
    }


def find_nchan() -> tuple[str, str]:
    """Nginx, and the module. Raises Failed."""
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    for folder in NCHAN_MODULES:
        module = Path(folder, "ngx_nchan_module.so")
        if nginx is not None and module.is_file():
            return nginx, str(module)
    raise Failed(f"there is no Nchan; on Debian: {NCHAN_INSTALL}")


def nchan_version() -> str:
    nginx, _ = find_nchan()
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr
    found = re.search(r"nginx/(\S+)", said)
    package = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    module = re.sub(r"^\d+:", "", package) or "of unknown version"
    return f"Nchan {module} in nginx {found[1] if found else 'of unknown version'}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def pinned(processor: int | None) -> list[str]:
    return [] if processor is None else ["taskset", "-c", str(processor)]


@contextlib.contextmanager
def running(
    name: str,
    workers: int = 1,
    processor: int | None = None,
    under: tuple[str, ...] = (),
    passthrough: str | None = None,
) -> Iterator[Server]:
    """Start a server on a processor; stop it at the end. Raises Failed.

    under: a command that runs ours instead of the shell, such as Valgrind's.
    passthrough: of ours, see relay_configuration().
    """
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        os.chmod(folder, 0o755)  # nginx's worker is another user if this one is root
        log = Path(folder, "log")
        port = 0 if name == "relay" else free_port()
        command = {
            "relay": [*under, str(RELAY), "-c", "-"],
            "floor": [str(FLOOR), str(port)],
            "nchan": ["nginx", "-p", folder, "-c", f"{folder}/nginx.conf"],
        }[name]
        configuration = relay_configuration(workers, passthrough)
        given = json.dumps(configuration) if name == "relay" else ""
        if name == "nchan":
            command[0], module = find_nchan()
            Path(folder, "nginx.conf").write_text(
                NCHAN_CONFIGURATION.format(module=module, folder=folder, port=port, workers=workers)
            )
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [*pinned(processor), *command], stdin=subprocess.PIPE, stderr=errors
            )
        try:
            assert process.stdin is not None
            process.stdin.write(given.encode())
            process.stdin.close()
            port = _wait_until_it_listens(process, port, log)
            yield Server(port, _processes(process.pid, workers if name == "nchan" else 0))
            process.send_signal(signal.SIGTERM)
            status = process.wait(60)
            if name == "relay" and (status != 0 or " error: " in log.read_text()):
                raise Failed(f"the relay ended with {status}: {log.read_text()[-2000:]}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> int:
    """The port; ours says it in its log."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if port == 0:
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text())
            if found:
                return int(found[1])
        else:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                return port
            except OSError:
                pass
        time.sleep(0.02)
    raise Failed(f"the server does not listen: {log.read_text()[-2000:]}")


def _processes(pid: int, children: int) -> list[int]:
    """A process and its children, when there are that many."""
    end = time.monotonic() + 20
    while True:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(found) >= children or time.monotonic() > end:
            return [pid, *(int(child) for child in found)]
        time.sleep(0.02)


def load(server: Server, arguments: list[str], processor: int | None) -> dict[str, object]:
    """Run the load program against a server. Raises Failed with what it found wrong."""
    command = [*pinned(processor), str(LOAD), "--port", str(server.port)]
    command += ["--pids", ",".join(map(str, server.pids)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(done.stderr.strip() or f"load ended with {done.returncode}")
    result: dict[str, object] = json.loads(done.stdout)
    return result
