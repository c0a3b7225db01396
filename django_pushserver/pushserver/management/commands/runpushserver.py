"""manage.py runpushserver: the relay, with the settings of the project."""

import ipaddress
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pushserver import checks, conf, daemon

_ADDRPORT = re.compile(r"(?:(?P<address>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):)?(?P<port>[0-9]+)")

# The relay's exit status when the address is taken or not permitted: pushserver(8).
_CANNOT_BIND = 3

_PASSED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Command(BaseCommand):
    """Run the relay and end with its exit status."""

    help = "Runs the push relay with the settings in PUSH_SERVER."
    # Others' checks may need what a relay does not, a database for one.
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what django-pushserver's command took."""
        parser.add_argument(
            "addrport",
            nargs="?",
            help="Port, or address:port, to listen on instead of what PUSH_SERVER says "
            f"(without either {conf.DEFAULT_ADDRESS}:{conf.DEFAULT_PORT}).",
        )
        parser.add_argument(
            "--ipv6", "-6", action="store_true", dest="use_ipv6", help="Listen on IPv6."
        )
        parser.add_argument("--allrequests", action="store_true", help="Not available yet.")
        parser.add_argument("--forcehost", nargs="?", const=True, help="Not available yet.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Start the relay, hand it the settings, pass signals on and wait for its end."""
        for option in ("allrequests", "forcehost"):
            if options[option]:
                raise CommandError(
                    f"--{option} is not available yet: it comes with a later version. "
                    "Until then run the relay beside Django, without it."
                )
        address, port = _listen_on(options["addrport"], options["use_ipv6"])
        try:
            program = daemon.find()
        except daemon.DaemonNotFoundError as error:
            raise CommandError(str(error)) from error
        settings_json = conf.daemon_json(address=address, port=port)
        status = self._run(program, settings_json)
        if status == _CANNOT_BIND:
            where = _shown(address, port)
            raise CommandError(
                f"the relay cannot listen on {where}: it is in use (by another relay?) or not "
                "permitted. Another port can be given: manage.py runpushserver 8002",
                returncode=status,
            )
        if status != 0:
            sys.exit(status)

    def _run(self, program: Path, settings_json: bytes) -> int:
        command = [str(program), "-c", "-"]
        self.stdout.write(f"{shlex.join(command)}  (with PUSH_SERVER as its input)")
        self.stdout.flush()
        with _SignalsPassedOn() as passed_on:
            try:
                # In a process group of its own Ctrl-C reaches the relay once, through us,
                # and not a second time from the terminal.
                child = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)
            except OSError as error:
                raise CommandError(f"{program} cannot be started: {error.strerror}") from error
            passed_on.to(child)
            child.communicate(settings_json)
        # As shells say it: 128 and the number of the signal that ended it.
        return child.returncode if child.returncode >= 0 else 128 - child.returncode


class _SignalsPassedOn:
    """Pass this process's signals on to a child, also those that come before it is there."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "_SignalsPassedOn":
        # Python lets only the main thread set handlers; in another one, as in tests, signals
        # are its affair.
        if threading.current_thread() is threading.main_thread():
            for number in _PASSED_ON:
                # What is ignored, as SIGHUP under nohup, the relay ignores too.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def to(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        while self._early:
            child.send_signal(self._early.pop(0))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._child is None:
            self._early.append(number)
        else:
            self._child.send_signal(number)


def _listen_on(addrport: str | None, use_ipv6: bool) -> tuple[str | None, int | None]:
    """Return the address and the port of the command line, None for what PUSH_SERVER says."""
    address: str | None = None
    port: int | None = None
    if addrport is not None:
        match = _ADDRPORT.fullmatch(addrport)
        if match is None or not 0 < int(match["port"]) < 65536:
            raise CommandError(f"{addrport!r} is no port and no address:port.")
        port = int(match["port"])
        if match["address"] is not None:
            return _resolved(match["address"], use_ipv6), port
    if use_ipv6:
        own = conf.load().address
        if own in (*conf.EVERYTHING, "0.0.0.0"):
            address = "::"
        elif ":" not in own:
            address = "::1"
    return address, port


def _resolved(name: str, use_ipv6: bool) -> str:
    """Return a name's address, for the relay binds to addresses."""
    if name.startswith("["):
        try:
            return str(ipaddress.IPv6Address(name[1:-1]))
        except ValueError:
            raise CommandError(f"{name} is no IPv6 address.") from None
    family = socket.AF_INET6 if use_ipv6 else socket.AF_INET
    try:
        found = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        version = "IPv6" if use_ipv6 else "IPv4"
        raise CommandError(f"{name!r} has no {version} address: {error.strerror}") from error
    return str(found[0][4][0])


def _shown(address: str | None, port: int | None) -> str:
    config = conf.load()
    host = config.address if address is None else address
    number = config.port if port is None else port
    if number is None:
        return "what PUSH_SERVER['listen'] says"
    if host in conf.EVERYTHING:
        return f"port {number} of all addresses"
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
