"""What is built and installed: the package with its client and its daemon."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

from processes import ROOT, daemon_binary

VERSION = (ROOT / "VERSION").read_text().strip()
# A build compiles the daemon, and pip fetches what it depends on.
TIMEOUT = 900.0


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_wheel_holds_the_package_the_client_and_the_daemon(tmp_path: Path) -> None:
    daemon_binary()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"pushserver-{VERSION}-py3-none-")
    assert not wheel.name.endswith("-any.whl"), "it holds a program of this machine's kind"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        source = ROOT / "django_pushserver"
        modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
        assert {name for name in names if name.endswith(".py")} == modules
        assert "pushserver/py.typed" in names
        for script in ("updates.js", "updates.mjs"):
            packed = archive.getinfo(f"pushserver/static/pushserver/{script}")
            assert archive.read(packed) == (ROOT / "js" / script).read_bytes()
        program = archive.getinfo("pushserver/bin/pushserver")
        assert archive.read(program)[:4] == b"\x7fELF"
        assert program.external_attr >> 16 & 0o111, "it can be executed"
        info = archive.read(f"pushserver-{VERSION}.dist-info/METADATA").decode()
        assert "Requires-Dist: django>=5.2" in info
        assert "License-Expression: MIT" in info


def test_pip_install_builds_the_daemon_and_installs_it_with_the_package(tmp_path: Path) -> None:
    # From an sdist, so that nothing but what is packed can be used: neither this checkout's
    # build folder nor a file that nobody added.
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path)
    (sdist,) = tmp_path.glob("*.tar.gz")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--disable-pip-version-check", sdist, cwd=tmp_path)
    script = """
import subprocess
from django.conf import settings
settings.configure(INSTALLED_APPS=["pushserver", "django.contrib.staticfiles"], STATIC_URL="/s/")
import django
django.setup()
from django.contrib.staticfiles import finders
from pushserver import daemon
print(daemon.find())
print(finders.find("pushserver/updates.js"))
print(subprocess.run([daemon.find(), "-V"], capture_output=True, text=True, check=True).stdout)
"""
    # -I: without PYTHONPATH, which leads to this checkout.
    daemon, client, version = run(python, "-I", "-c", script, cwd=tmp_path).split("\n", 2)
    packages = str(tmp_path / "venv" / "lib")
    assert daemon.startswith(packages) and client.startswith(packages)
    assert Path(client).read_bytes() == (ROOT / "js" / "updates.js").read_bytes()
    assert VERSION in version
