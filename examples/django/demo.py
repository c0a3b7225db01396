#!/usr/bin/env python
"""Run the example: Django and the relay, until Ctrl-C or until one of them ends.

Usage: demo.py [--port 8000] [--relay-port 8001] [--folder build/demo] [--relay PROGRAM]

The same by hand, in two terminals, is `manage.py runserver` and `manage.py runpushserver`.
What is done here besides: the database and its users, one Ctrl-C for both, and no process
that is left behind, however this one ends.
"""

import argparse
import contextlib
import ctypes
import errno
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ADDRESS = "127.0.0.1"

# Seconds. The relay ends within 5; what takes longer is killed.
READY, STOP = 30.0, 8.0

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
libc = ctypes.CDLL(None)

# These are waited for and never handled, so nothing is interrupted in the middle.
ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
AWAITED = ENDING | {signal.SIGCHLD}


def main() -> int:
    """Run the demo; return the exit status."""
    options = arguments()
    for name, port in (("--port", options.port), ("--relay-port", options.relay_port)):
        if problem := listening_problem(port):
            say(f"{ADDRESS}:{port}: {problem}. Choose another port: {name} PORT")
            return 1
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    shell = prepare(options)
    make_database()

    from pushserver import conf, daemon

    try:
        relay_program = options.relay or daemon.find()
    except daemon.DaemonNotFoundError as error:
        say(str(error))
        return 1
    manage_py = [sys.executable, "-u", str(HERE / "manage.py")]
    with contextlib.ExitStack() as children:
        # Ended in the opposite order: the relay first, so that its last notices find Django.
        django = children.enter_context(
            Child("Django", [*manage_py, "runserver", f"{ADDRESS}:{options.port}"])
        )
        # As `manage.py runpushserver` starts it; without a process in between, which could
        # be killed and leave the relay behind.
        relay = children.enter_context(
            Child("the relay", [str(relay_program), "-c", "-"], conf.daemon_json())
        )
        running = [relay, django]
        started = time.monotonic()
        ready = False
        while not any(child.end() for child in running):
            if not ready and answers(options.port) and answers(options.relay_port):
                print(greeting(options, shell), flush=True)
                ready = True
            if not ready and time.monotonic() - started > READY:
                say(f"not ready after {READY:.0f} s")
                return 1
            arrived = signal.sigtimedwait(AWAITED, 3600 if ready else 0.1)
            if arrived is not None and arrived.si_signo in ENDING:
                say("ending the relay, then Django")
                return 0
        for child in running:
            if how := child.end():
                say(f"{child.name} has ended ({how}), and with it the demo. What it said is above")
        return 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the relay and the Django example.")
    parser.add_argument("--port", type=int, default=8000, help="of Django (8000)")
    parser.add_argument("--relay-port", type=int, default=8001, help="of the relay (8001)")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "demo", help="for the database (build/demo)"
    )
    parser.add_argument("--relay", type=Path, help="the relay's program (build/pushserver)")
    return parser.parse_args()


def listening_problem(port: int) -> str | None:
    """Say why nobody can listen on a port; None if one can."""
    with socket.socket() as probe:
        # As both servers do: connections that have just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OverflowError:
            return "no port has this number"
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "in use, perhaps by another demo that still runs"
            return str(error)
        return None


def prepare(options: argparse.Namespace) -> str:
    """Tell the settings, here and in the children, what was chosen; return the shell's command."""
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {
        "DEMO_PORT": str(options.port),
        "DEMO_RELAY_PORT": str(options.relay_port),
        "DEMO_FOLDER": str(folder),
    }
    usual = {"DEMO_PORT": "8000", "DEMO_RELAY_PORT": "8001"}
    usual["DEMO_FOLDER"] = str(ROOT / "build" / "demo")
    words = [f"{name}={value}" for name, value in chosen.items() if value != usual[name]]
    python, manage_py = (shown(Path(path)) for path in (sys.executable, HERE / "manage.py"))
    shell = shlex.join([*words, python, manage_py, "shell"])
    os.environ.update(
        chosen,
        DEMO_SHELL=shell,
        DJANGO_SETTINGS_MODULE="board.settings",
        DJANGO_RUNSERVER_HIDE_WARNING="true",
    )
    sys.path[:0] = [str(HERE), str(ROOT / "django_pushserver")]
    return shell


def shown(path: Path) -> str:
    """Return a path as one would type it here. Links stay: .venv/bin/python is one."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def make_database() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User

    from board.models import Presence

    call_command("migrate", verbosity=0, interactive=False)
    for name, password in settings.DEMO_USERS.items():
        if not User.objects.filter(username=name).exists():
            User.objects.create_user(name, password=password)
    # The relay that will run holds nobody yet. What is left here is of one that was killed.
    Presence.objects.all().delete()


class Child:
    """A process in a group of its own; use as a context manager, which ends it.

    Of its own, because Ctrl-C goes to the whole group of the terminal, and the two are to
    end one after the other.
    """

    def __init__(self, name: str, command: list[str], text: bytes | None = None) -> None:
        self.name = name
        parent = os.getpid()

        def in_child() -> None:
            # Ended with us even if we are killed.
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)

        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                process_group=0,
                preexec_fn=in_child,
            )
        except OSError as error:
            sys.exit(f"demo: {name} cannot be started: {command[0]}: {error.strerror}")
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self.process.stdin as stdin:
                stdin.write(text or b"")

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exc: object) -> None:
        pid = self.process.pid
        if self.end() is None:
            os.kill(pid, signal.SIGTERM)
            give_up = time.monotonic() + STOP
            while self.end() is None and time.monotonic() < give_up:
                signal.sigtimedwait({signal.SIGCHLD}, 0.1)
            if self.end() is None:
                say(f"{self.name} has not ended in {STOP:.0f} s and is killed")
        # Itself if need be, and runserver's own child if that is still there.
        os.killpg(pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> str | None:
        """Say how it ended; None while it runs.

        It stays a zombie until __exit__, so that its number, and its group's, is nobody else's.
        """
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        ended = os.waitid(os.P_PID, self.process.pid, flags)
        if ended is None:
            return None
        if ended.si_code == os.CLD_EXITED:
            return f"exit status {ended.si_status}"
        return f"killed by {signal.Signals(ended.si_status).name}"


def answers(port: int) -> bool:
    try:
        socket.create_connection((ADDRESS, port), timeout=1).close()
    except OSError:
        return False
    return True


def greeting(options: argparse.Namespace, shell: str) -> str:
    from django.conf import settings

    from pushserver.utils import updates

    message = '{"type": "message", "user": "curl", "text": "Hello"}'
    names = ", ".join(settings.DEMO_USERS)
    return f"""
  Open     http://{ADDRESS}:{options.port}/
           Users: {names}; their passwords are their names.
  Publish  curl -d '{message}' {updates.publisher_url("board")}
  Shell    {shell}
           >>> from pushserver.utils import updates
           >>> updates.send_update("board", {{"type": "message", "user": "shell", "text": "Hello"}})
  Stop     Ctrl-C
"""


def say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
