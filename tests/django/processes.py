"""manage.py runpushserver as a process of its own, with settings of the test's."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE = 30.0  # seconds; only a hang takes as long


def daemon_binary() -> Path:
    """Return the relay that was built; a missing one is a failure, not a reason to skip."""
    binary = Path(os.environ.get("PUSHSERVER_BINARY", ROOT / "build" / "pushserver"))
    assert os.access(binary, os.X_OK), f"{binary} is missing: run make"
    return binary.resolve()


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return condition()'s first true value; fail after the deadline."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {DEADLINE:.0f} s for {what}"
        time.sleep(0.02)
    return value


class RunPushserver:
    """One run of the command; use as a context manager, which ends it."""

    def __init__(
        self,
        folder: Path,
        push_server: Mapping[str, Any] | None,
        *arguments: str,
        binary: Path | None = None,
        **environment: str,
    ) -> None:
        # Only the command's own settings, for it must not need a database.
        module = folder / "command_settings.py"
        lines = ["SECRET_KEY = 'only for tests'", "INSTALLED_APPS = ['pushserver']"]
        if push_server is not None:
            setting = {**push_server, **({"binary": str(binary)} if binary else {})}
            lines.append(f"PUSH_SERVER = {setting!r}")
        module.write_text("\n".join(lines) + "\n")
        self.log_path, self.output_path = folder / "stderr", folder / "stdout"
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "command_settings",
            "PYTHONPATH": os.pathsep.join([str(folder), os.environ["PYTHONPATH"]]),
            **environment,
        }
        command = [sys.executable, "-W", "error", "-m", "django", "runpushserver", *arguments]
        with self.log_path.open("wb") as log, self.output_path.open("wb") as output:
            # Not this process's group: a test sends signals to the whole of it.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def output(self) -> str:
        return self.output_path.read_text()

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def wait_for_log(self, pattern: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.log)
            assert match or self.process.poll() is None, f"ended without {pattern!r}: {self.log}"
            return match

        match = wait_until(found, f"{pattern!r} in the log")
        assert isinstance(match, re.Match)
        return match

    def __enter__(self) -> "RunPushserver":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                raise
