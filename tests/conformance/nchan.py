"""Run the suite against Nchan, as Debian has it: `python3 tests/conformance/nchan.py`.

Installs nothing: it says what is missing. Starts an nginx of its own on loopback with a
configuration under a temporary folder, runs the suite, stops it by its process id, and ends
with the suite's exit status. What is given on the command line goes to the suite.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import relay
import relay_streams
from hbpr_conformance import __main__ as command

MODULES = ("/usr/lib/nginx/modules", "/usr/share/nginx/modules", "/usr/lib64/nginx/modules")
MODULE = "ngx_nchan_module.so"
INSTALL = "apt-get install nginx-light libnginx-mod-nchan"

# What can be said in Nchan's terms of what the suite asks for. It has no locations that hold
# only one, that make no channel on POST or that notify of long polls, and one memory for all.
CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_header_timeout 4s;
  client_body_timeout 4s;
  keepalive_timeout 5s;
  nchan_message_timeout 0;
  nchan_message_buffer_length 1000;
  nchan_max_reserved_memory 64M;
  nchan_max_channel_id_length 255;
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/pub/(.+)$ {{ nchan_publisher http; nchan_channel_id $1; }}
    location ~ ^/forego-pub/(.+)$ {{
      nchan_publisher http; nchan_channel_id $1; nchan_store_messages off;
    }}
    location ~ ^/closed-pub/(.+)$ {{
      deny all; nchan_publisher http; nchan_channel_id $1;
    }}
    location ~ ^/limited-pub/(.+)$ {{
      nchan_publisher http; nchan_channel_id l/$1; nchan_message_buffer_length 4;
    }}
    location ~ ^/expiring-pub/(.+)$ {{
      nchan_publisher http; nchan_channel_id e/$1; nchan_message_timeout 2s;
    }}
    location ~ ^/sub/(.+)$ {{ nchan_subscriber longpoll; nchan_channel_id $1; }}
    location ~ ^/interval/(.+)$ {{ nchan_subscriber intervalpoll; nchan_channel_id $1; }}
    location ~ ^/existing/(.+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1; nchan_subscribe_existing_channels_only on;
    }}
    location ~ ^/timeout/(.+)$ {{
      nchan_subscriber longpoll; nchan_channel_id $1; nchan_subscriber_timeout 2s;
    }}
    location ~ ^/origin/(.+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1;
      nchan_access_control_allow_origin {origin};
      nchan_access_control_allow_credentials on;
    }}
    location ~ ^/origins/(.+)$ {{
      nchan_subscriber longpoll; nchan_channel_id $1;
      nchan_access_control_allow_origin "http://other.test {origin}";
    }}
    location ~ ^/limited/(.+)$ {{ nchan_subscriber {several}; nchan_channel_id l/$1; }}
    location ~ ^/expiring/(.+)$ {{ nchan_subscriber longpoll; nchan_channel_id e/$1; }}
    # Streams. Of several transports that a location has, the request chooses.
    location ~ ^/streams/(.+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1;
      nchan_deflate_message_for_websocket on;
    }}
    location ~ ^/two/(.+)$ {{ nchan_subscriber longpoll eventsource; nchan_channel_id $1; }}
    location ~ ^/only-eventsource/(.+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1; }}
    location ~ ^/only-websocket/(.+)$ {{ nchan_subscriber websocket; nchan_channel_id $1; }}
    location ~ ^/only-stream/(.+)$ {{ nchan_subscriber http-raw-stream; nchan_channel_id $1; }}
    location ~ ^/only-multipart/(.+)$ {{ nchan_subscriber multipart-mixed; nchan_channel_id $1; }}
    location ~ ^/streams-timeout/(.+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1; nchan_subscriber_timeout 2s;
    }}
    location ~ ^/ping/(.+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1;
      nchan_websocket_ping_interval 1s; nchan_eventsource_ping_interval 1s;
      nchan_eventsource_ping_comment ping;
    }}
    location ~ ^/heartbeat/(.+)$ {{
      nchan_subscriber websocket; nchan_channel_id $1;
      nchan_websocket_client_heartbeat "{heartbeat_in}" "{heartbeat_out}";
    }}
    location ~ ^/event/(.+)$ {{
      nchan_subscriber eventsource; nchan_channel_id $1; nchan_eventsource_event {event};
    }}
    location ~ ^/separator/(.+)$ {{
      nchan_subscriber http-raw-stream; nchan_channel_id $1;
      nchan_subscriber_http_raw_stream_separator "|\n";
    }}
    location ~ ^/publishing/(.+)$ {{
      nchan_subscriber websocket; nchan_publisher websocket; nchan_channel_id $1;
      client_max_body_size {publishing_max_body};
    }}
    location ~ ^/batch-multipart/(.+)$ {{
      nchan_subscriber longpoll; nchan_channel_id $1; nchan_longpoll_multipart_response on;
    }}
    location ~ ^/batch-raw/(.+)$ {{
      nchan_subscriber longpoll; nchan_channel_id $1; nchan_longpoll_multipart_response raw;
    }}
    location ~ ^/split/(.+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1; nchan_channel_id_split_delimiter ",";
    }}
    location ~ ^/groups/([^/]+)/and/([^/]+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1 $2;
    }}
    location ~ ^/newest/(.+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1; nchan_subscriber_first_message newest;
    }}
    location ~ ^/second/(.+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1; nchan_subscriber_first_message 2;
    }}
    location ~ ^/last-two/(.+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1; nchan_subscriber_first_message -2;
    }}
    location ~ ^/full/(.+)$ {{
      nchan_subscriber {several}; nchan_channel_id $1; nchan_max_channel_subscribers 1;
    }}
    location / {{ return 404; }}
  }}
}}
"""

LOCATIONS = {
    "sub": "sub",
    "pub": "pub",
    "interval-sub": "interval",
    "existing-sub": "existing",
    "creating-sub": "sub",
    "timeout-sub": "timeout",
    "origin-sub": "origin",
    "origins-sub": "origins",
    "forego-pub": "forego-pub",
    "closed-pub": "closed-pub",
    "limited-pub": "limited-pub",
    "limited-sub": "limited",
    "expiring-pub": "expiring-pub",
    "expiring-sub": "expiring",
    "nowhere": "nowhere",
    "eventsource-sub": "streams",
    "websocket-sub": "streams",
    "multipart-sub": "streams",
    "only-eventsource-sub": "only-eventsource",
    "only-websocket-sub": "only-websocket",
    "only-stream-sub": "only-stream",
    "only-multipart-sub": "only-multipart",
    "only-longpoll-sub": "sub",
    "two-sub": "two",
    "streams-timeout-sub": "streams-timeout",
    "ping-sub": "ping",
    "heartbeat-sub": "heartbeat",
    "event-sub": "event",
    "separator-sub": "separator",
    "deflate-sub": "streams",
    "publishing-sub": "publishing",
    "batch-multipart-sub": "batch-multipart",
    "batch-raw-sub": "batch-raw",
    "split-sub": "split",
    "groups-sub": "groups/{id}/and/{other}",
    "newest-sub": "newest",
    "second-sub": "second",
    "last-two-sub": "last-two",
    "full-sub": "full",
}
SEVERAL = "longpoll eventsource websocket multipart-mixed"
BOUNDS = {
    "max-messages": 4,
    "message-timeout": 2,
    "hold-timeout": 2,
    "header-timeout": 4,
    "body-timeout": 4,
    "idle-timeout": 5,
    "max-header": 32768,
    "origin": relay.ORIGIN,
    "ping-interval": 1,
    "heartbeat-in": relay_streams.HEARTBEAT[0],
    "heartbeat-out": relay_streams.HEARTBEAT[1],
    "event": relay_streams.EVENT,
    "separator": relay_streams.SEPARATOR,
    "publishing-max-body": relay_streams.PUBLISHING_MAX_BODY,
}


class Missing(Exception):
    """Something that is to be installed first."""


def find() -> tuple[str, str]:
    """Nginx, and the module. Raises Missing."""
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise Missing(f"there is no nginx; on Debian: {INSTALL}")
    for folder in MODULES:
        if Path(folder, MODULE).is_file():
            return nginx, str(Path(folder, MODULE))
    raise Missing(f"{MODULE} is in none of {', '.join(MODULES)}; on Debian: {INSTALL}")


def version() -> str:
    """The versions of Nchan and nginx, as far as Debian's packages tell."""
    nginx, _ = find()
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr
    found = re.search(r"nginx/(\S+)", said)
    try:
        package = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    except OSError:
        package = ""
    nchan = re.sub(r"^\d+:", "", package) or "of unknown version"
    return f"Nchan {nchan} in nginx {found[1] if found else 'of unknown version'}"


@contextlib.contextmanager
def running() -> Iterator[list[str]]:
    """Start nginx; give what the suite must be told. Raises Missing, and relay.Failed."""
    nginx, module = find()
    port = relay.free_port()
    with tempfile.TemporaryDirectory(prefix="nchan") as folder:
        os.chmod(folder, 0o755)  # its worker is another user if this one is root
        path = Path(folder, "nginx.conf")
        path.write_text(
            CONFIGURATION.format(
                module=module,
                folder=folder,
                port=port,
                origin=relay.ORIGIN,
                several=SEVERAL,
                event=relay_streams.EVENT,
                heartbeat_in=relay_streams.HEARTBEAT[0],
                heartbeat_out=relay_streams.HEARTBEAT[1],
                publishing_max_body=relay_streams.PUBLISHING_MAX_BODY,
            )
        )
        process = subprocess.Popen(
            [nginx, "-p", folder, "-c", str(path)], stderr=subprocess.PIPE, text=True
        )
        try:
            relay.wait_for_port(port, process)
            urls = [f"--{name}={relay.url(port, path)}" for name, path in LOCATIONS.items()]
            yield urls + [f"--{name}={value}" for name, value in BOUNDS.items()]
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            said = process.communicate()[1]
            if said:
                print(said, end="", file=sys.stderr)
            log = Path(folder, "error.log")
            for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
                if "[alert]" in line or "[emerg]" in line:
                    print(line, file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    try:
        print(version(), file=sys.stderr)
        start = time.monotonic()
        with running() as given:
            status = command.main([*given, *arguments])
        print(f"in all {time.monotonic() - start:.0f} s", file=sys.stderr)
        return status
    except (Missing, relay.Failed) as error:
        print(error, file=sys.stderr)
        return command.CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
