"""The example project, as far as that needs no browser; tests/browser has the rest."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest
import urllib3

from fakes import unused_port
from processes import DEADLINE, ROOT, daemon_binary, wait_until

EXAMPLE = ROOT / "examples" / "django"


def environment(**more: str) -> dict[str, str]:
    """Return what a user's shell has: nothing of the other Django tests."""
    foreign = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in foreign} | more


def manage(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE / "manage.py"), *arguments],
        cwd=EXAMPLE,  # where `test` looks for tests
        env=environment(DEMO_FOLDER=str(folder)),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def descendants(pid: int) -> set[int]:
    """Return the processes below one, as far as they run."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, (task / "children").read_text().split()):
                found |= {child} | descendants(child)
    return found


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class Demo:
    """One run of demo.py, with ports and a folder of its own."""

    def __init__(self, folder: Path, *arguments: str, port: int = 0, relay_port: int = 0) -> None:
        self.port, self.relay_port = port or unused_port(), relay_port or unused_port()
        self.output_path = folder / "output"
        command = [sys.executable, "-W", "error", str(EXAMPLE / "demo.py")]
        command += ["--port", str(self.port), "--relay-port", str(self.relay_port)]
        command += ["--folder", str(folder), "--relay", str(daemon_binary()), *arguments]
        with self.output_path.open("wb") as output:
            # A session of its own, as a terminal gives it: signals can be sent to its group.
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment(), start_new_session=True
            )
        self.all: set[int] = set()

    @property
    def output(self) -> str:
        return self.output_path.read_text()

    def wait_for(self, text: str) -> None:
        def said() -> bool:
            found = text in self.output
            assert found or self.process.poll() is None, f"ended without {text!r}: {self.output}"
            return found

        wait_until(said, f"{text!r} in the output")

    def wait_until_running(self) -> None:
        self.wait_for("Ctrl-C")
        self.all = descendants(self.process.pid)
        # runserver's two processes and the relay
        assert len(self.all) == 3, self.output

    def child(self, word: str) -> int:
        """Return the direct child that has a word in its command line."""
        (found,) = (
            pid
            for pid in self.all
            if word in Path(f"/proc/{pid}/cmdline").read_text()
            and f"PPid:\t{self.process.pid}\n" in Path(f"/proc/{pid}/status").read_text()
        )
        return found

    def wait_until_nothing_runs(self) -> None:
        wait_until(lambda: not any(map(runs, self.all)), "the end of all processes")

    def __enter__(self) -> "Demo":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(DEADLINE)
        self.wait_until_nothing_runs()


class Visitor:
    """A browser's cookies, without the browser."""

    def __init__(self, demo: Demo) -> None:
        self.site = f"http://127.0.0.1:{demo.port}"
        self.http = urllib3.PoolManager(retries=False, timeout=DEADLINE)
        self.cookies: SimpleCookie = SimpleCookie()

    def request(
        self, method: str, path: str, form: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        answer = self.http.request(
            method,
            path if "://" in path else self.site + path,
            body=None if form is None else urlencode(form),
            headers={
                "Cookie": self.cookie_header,
                "Content-Type": "application/x-www-form-urlencoded",
            },
            redirect=False,
        )
        for cookie in answer.headers.getlist("Set-Cookie"):
            self.cookies.load(cookie)
        return answer

    @property
    def cookie_header(self) -> str:
        return "; ".join(f"{name}={morsel.value}" for name, morsel in self.cookies.items())

    def token(self, path: str) -> str:
        html = self.request("GET", path).data.decode()
        match = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', html)
        assert match, html
        return match[1]

    def log_in(self, name: str) -> None:
        form = {"username": name, "password": name, "csrfmiddlewaretoken": self.token("/login")}
        answer = self.request("POST", "/login", form)
        assert (answer.status, answer.headers["Location"]) == (302, "/")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with Demo(tmp_path) as demo:
        demo.wait_until_running()
        yield demo


def test_example_passes_all_checks_and_its_own_tests(tmp_path: Path) -> None:
    for arguments in (
        ["check", "--fail-level", "WARNING"],
        ["migrate", "--verbosity", "0"],
        ["makemigrations", "--check"],
        ["test"],
    ):
        done = manage(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    assert re.search(r"Ran [1-9]\d* tests", done.stderr)


def test_page_is_for_those_who_are_logged_in(demo: Demo) -> None:
    visitor = Visitor(demo)
    answer = visitor.request("GET", "/")
    assert (answer.status, answer.headers["Location"]) == (302, "/login?next=/")
    assert visitor.request("POST", "/publish", {"text": "Hello"}).status == 403


def test_page_says_how_to_publish_as_it_works(demo: Demo, tmp_path: Path) -> None:
    ann = Visitor(demo)
    ann.log_in("ann")
    html = ann.request("GET", "/").data.decode()
    updates = f"http://127.0.0.1:{demo.relay_port}/updates/board"
    assert f'data-updates="{updates}"' in html
    # The two ways, in the page as in the terminal.
    page = html.replace("&gt;", ">").replace("&#x27;", "'").replace("&quot;", '"')
    for text in (page, demo.output):
        curl = re.search(r"curl -d '([^']+)' (\S+/send-update/board)", text)
        assert curl, text
        answer = ann.http.request("POST", curl[2], body=curl[1].encode())
        assert answer.status == 202
        shell = re.search(r"(\S+/python\S*) (\S+manage.py) shell$", text, re.MULTILINE)
        assert shell, text
        lines = re.findall(r">>> (.+?)(?:</code>|$)", text, re.MULTILINE)
        assert len(lines) == 2
        done = subprocess.run(
            [*shell.groups(), "shell", "-c", "\n".join(lines)],
            env=environment(DEMO_RELAY_PORT=str(demo.relay_port), DEMO_FOLDER=str(tmp_path)),
            timeout=DEADLINE,
        )
        assert done.returncode == 0
    stored = ann.http.request("GET", updates)
    assert json.loads(stored.data) == {"type": "message", "user": "curl", "text": "Hello"}


def test_form_publishes_with_its_token_only(demo: Demo) -> None:
    ann = Visitor(demo)
    ann.log_in("ann")
    token = ann.token("/")
    assert ann.request("POST", "/publish", {"text": "Hello"}).status == 403
    sent = ann.request("POST", "/publish", {"text": "Hello", "csrfmiddlewaretoken": token})
    assert sent.status == 204
    empty = ann.request("POST", "/publish", {"text": " ", "csrfmiddlewaretoken": token})
    assert empty.status == 400
    stored = ann.http.request("GET", f"http://127.0.0.1:{demo.relay_port}/updates/board")
    assert json.loads(stored.data) == {"type": "message", "user": "ann", "text": "Hello"}


def test_ctrl_c_ends_the_relay_first_so_that_its_last_notices_find_django(
    demo: Demo, tmp_path: Path
) -> None:
    ann = Visitor(demo)
    ann.log_in("ann")
    with socket.create_connection(("127.0.0.1", demo.relay_port), timeout=DEADLINE) as poll:
        poll.sendall(
            b"GET /updates/another HTTP/1.1\r\nHost: relay\r\n"
            + f"Cookie: {ann.cookie_header}\r\n\r\n".encode()
        )
        demo.wait_for('"POST /passthrough HTTP/1.1" 204')
        # The terminal's Ctrl-C: to its whole foreground group.
        os.killpg(demo.process.pid, signal.SIGINT)
        assert demo.process.wait(DEADLINE) == 0
        assert poll.recv(4096).startswith(b"HTTP/1.1 304")
    demo.wait_until_nothing_runs()
    after = demo.output.partition("demo: ending the relay, then Django")[2]
    assert after.count('"POST /passthrough HTTP/1.1" 204') == 1


def test_killed_demo_leaves_no_process_behind(demo: Demo) -> None:
    demo.process.kill()
    demo.process.wait(DEADLINE)
    demo.wait_until_nothing_runs()


@pytest.mark.parametrize(
    ("word", "name"), [("runserver", "Django"), ("-c", "the relay")], ids=["django", "relay"]
)
def test_end_of_one_process_is_said_and_ends_the_other(demo: Demo, word: str, name: str) -> None:
    os.kill(demo.child(word), signal.SIGKILL)
    assert demo.process.wait(DEADLINE) == 1
    demo.wait_until_nothing_runs()
    assert f"demo: {name} has ended (killed by SIGKILL)" in demo.output


@pytest.mark.parametrize("option", ["--port", "--relay-port"])
def test_port_in_use_is_said_in_one_line(tmp_path: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = {option.strip("-").replace("-", "_"): port}
        with Demo(tmp_path, **ports) as demo:
            assert demo.process.wait(DEADLINE) == 1
            assert demo.output == (
                f"demo: 127.0.0.1:{port}: in use, perhaps by another demo that still runs. "
                f"Choose another port: {option} PORT\n"
            )


def test_second_run_finds_nobody_of_a_killed_one_online(tmp_path: Path) -> None:
    with Demo(tmp_path) as demo:
        demo.wait_until_running()
    listing = (
        "from board.models import Presence; from django.utils import timezone\n"
        "ann = User.objects.get(username='ann')\n"
        "Presence.objects.create(user=ann, held=1, listed=True, heard_at=timezone.now())\n"
    )
    assert manage(tmp_path, "shell", "-c", listing).returncode == 0
    with Demo(tmp_path) as demo:
        demo.wait_until_running()
        bob = Visitor(demo)
        bob.log_in("bob")
        html = bob.request("GET", "/").data.decode()
        assert '<ul id="online">' in html
        assert "<li>" not in html
