"""Where the relay's program is."""

import os
import shutil
from pathlib import Path

from pushserver import conf

# `make` and the wheel put the program here; beside the module it is found without
# guessing at install schemes.
BUNDLED = Path(__file__).resolve().parent / "bin" / "pushserver"


class DaemonNotFoundError(FileNotFoundError):
    """Say where the program was looked for."""


def find() -> Path:
    """Return the relay's program.

    In this order: PUSH_SERVER['binary'], bin/pushserver beside this module, PATH.
    Raises DaemonNotFoundError; a setting that names no program is not passed over.
    """
    binary = conf.load().binary
    if binary is not None:
        path = Path(binary).expanduser()
        if not _is_program(path):
            raise DaemonNotFoundError(f"PUSH_SERVER['binary'] is {path}, where there is no program")
        return path
    if _is_program(BUNDLED):
        return BUNDLED
    found = shutil.which("pushserver")
    if found is None:
        raise DaemonNotFoundError(
            f"there is no pushserver program: neither {BUNDLED} nor one in PATH "
            "(run `make` in a checkout, `pip install` the package again, "
            "or set PUSH_SERVER['binary'])"
        )
    return Path(found)


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
