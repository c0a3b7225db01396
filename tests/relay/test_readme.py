"""The README's curl transcript, as it is printed, but for the port and what time decides."""

import re
import subprocess
from pathlib import Path

from .conftest import StartRelay

ROOT = Path(__file__).parents[2]
# What differs from run to run: dates, ids, tags.
VOLATILE = (
    (re.compile(r"\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT"), "DATE"),
    (re.compile(r"\b\d{10}:\d+\b"), "ID"),
    (re.compile(r'(Etag: |etag=)"\d+"'), r'\1"TAG"'),
)


def transcript() -> list[tuple[str, str]]:
    """Return the commands of the README's console block, each with what it prints there."""
    block = re.search(r"^```console\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    assert block is not None
    steps = re.split(r"^\$ ", block[1], flags=re.M)[1:]
    return [tuple(step.split("\n", 1)) for step in steps]


def without_time(text: str) -> str:
    for pattern, word in VOLATILE:
        text = pattern.sub(word, text)
    return text.strip()


def test_the_curl_transcript_of_the_readme_runs_as_printed(start_relay: StartRelay) -> None:
    text = (ROOT / "config" / "pushserver.yaml").read_text()
    text = re.sub(r"^port: .*$", "port: 0", text, flags=re.M)
    relay = start_relay(text)
    steps = transcript()
    assert len(steps) >= 3
    for command, printed in steps:
        command = command.replace("127.0.0.1:8001", f"127.0.0.1:{relay.port}")
        assert str(relay.port) in command
        result = subprocess.run(
            ["bash", "-c", command.replace("curl", "curl -s -m 20", 1)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert result.returncode == 0, result.stderr
        assert without_time(result.stdout.replace("\r", "")) == without_time(printed), command
