"""Build hook of hatchling: the wheel holds the daemon, which make builds."""

import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DAEMON = Path("django_pushserver", "pushserver", "bin", "pushserver")


class CustomBuildHook(BuildHookInterface[BuilderConfig]):
    """Run make and tag the wheel for this platform and any Python 3."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the daemon, also for an editable install."""
        # Within `make test` these would make this one a part of that.
        ours = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
        environment = {name: value for name, value in os.environ.items() if name not in ours}
        subprocess.run(["make"], cwd=self.root, env=environment, check=True)
        if not Path(self.root, DAEMON).is_file():
            raise RuntimeError(f"make has not put the daemon into {DAEMON}")
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
