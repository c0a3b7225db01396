#!/usr/bin/env python
"""Django's command line for the example."""

import os
import sys
from pathlib import Path

# The package as it lies in this checkout; where it is installed, this line is not needed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "django_pushserver"))

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "board.settings")
    execute_from_command_line(sys.argv)
